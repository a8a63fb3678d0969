"""One module per command of `deployer`; `cli.main` lists them."""
