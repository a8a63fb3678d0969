"""`deployer docs`."""

from pathlib import Path

import click

from cli.command import Call, command, follows
from cli.errors import WRONG, CommandFailed
from cli.requests import Requests


@command(
    epilog="""\b
Examples:
  deployer docs ../app             a directory, without the files that git ignores
  deployer docs docs.tar.gz        an archive: .tar.gz, .tgz or .zip
  deployer docs                    build the last upload again
  deployer docs rollback           roll back to the previous release
  deployer docs rollback 1.2.0     roll back to a release that is kept
  deployer docs hold               hold uploads until: deployer docs resume
"""
)
@click.argument("what", required=False)
@click.argument("to", required=False)
@follows
def docs(call: Call, what: str | None, to: str | None, follow: bool) -> None:
    """Build and publish the documentation site from WHAT, a directory or an archive, and follow it
    to its URL. `rollback`, `hold` and `resume` work as for the service."""
    requests = Requests(call.target, call.screen, call.result, follow)
    if to and what != "rollback":
        raise CommandFailed(WRONG, f"unexpected argument {to!r}", ["  deployer docs --help"])
    if what == "rollback":
        requests.roll_docs_back(to or "previous")
    elif what in ("hold", "resume"):
        requests.hold_docs(what)
    elif what is None or Path(what).exists():
        requests.publish(Path(what) if what else None)
    else:
        raise CommandFailed(WRONG, f"no such file or directory: {what}")
