"""`deployer docs`."""

from pathlib import Path

import click

from cli.command import Call, command, follows
from cli.errors import WRONG, CommandFailed
from cli.requests import Requests


@command(
    epilog="""\b
Examples:
  deployer docs ../coder           a directory, packed as git sees it
  deployer docs docs.tar.gz        an archive: .tar.gz, .tgz or .zip
  deployer docs                    what was uploaded last, built again
  deployer docs rollback           to what was live before
  deployer docs rollback 1.2.0     to a release that is kept
  deployer docs hold               keep uploads back, until: deployer docs resume
"""
)
@click.argument("what", required=False)
@click.argument("to", required=False)
@follows
def docs(call: Call, what: str | None, to: str | None, follow: bool) -> None:
    """Build and publish the documentation site from WHAT, a directory or an archive, and follow it
    to its URL. `rollback`, `hold` and `resume` do to the site what they do to the service."""
    requests = Requests(call.target, call.screen, call.result, follow)
    if to and what != "rollback":
        raise CommandFailed(WRONG, f"{to!r} is one too many", ["  deployer docs --help"])
    if what == "rollback":
        requests.roll_docs_back(to or "previous")
    elif what in ("hold", "resume"):
        requests.hold_docs(what)
    elif what is None or Path(what).exists():
        requests.publish(Path(what) if what else None)
    else:
        raise CommandFailed(WRONG, f"there is no file or directory {what}")
