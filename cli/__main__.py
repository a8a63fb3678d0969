"""`python -m cli` is `deployer`."""

from cli.main import deployer

deployer(prog_name="deployer")
