"""`deployer docs`."""

from pathlib import Path

import click

from cli.command import Call, command, follows
from cli.errors import WRONG, CommandFailed
from cli.requests import Requests
from deployer.docs import site


@command(
    epilog="""\b
Examples:
  deployer docs ../app             a directory, without the files that git ignores
  deployer docs ../app --folder docs
                                   the site is in docs, and needs files from beside it
  deployer docs ../app --dry-run   what would be sent and built; nothing is uploaded
  deployer docs docs.tar.gz        an archive: .tar.gz, .tgz or .zip
  deployer docs                    build the last upload again
  deployer docs rollback           roll back to the previous release
  deployer docs rollback 1.2.0     roll back to a release that is kept
  deployer docs hold               hold uploads until: deployer docs resume
"""
)
@click.argument("what", required=False)
@click.argument("to", required=False)
@click.option("--folder", default="", help="The site's folder in WHAT. Default: it is found.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent and built, and stop.")
@follows
def docs(
    call: Call, what: str | None, to: str | None, folder: str, dry_run: bool, follow: bool
) -> None:
    """Build and publish the documentation site from WHAT, a directory or an archive, and follow it
    to its URL. `rollback`, `hold` and `resume` work as for the service."""
    requests = Requests(call.target, call.screen, call.result, follow)
    folder = folder.removeprefix("./").rstrip("/")
    if to and what != "rollback":
        raise CommandFailed(WRONG, f"unexpected argument {to!r}", ["  deployer docs --help"])
    if (folder or dry_run) and (what is None or not Path(what).exists()):
        what = what or "(none given)"
        raise CommandFailed(
            WRONG, f"--folder and --dry-run need a directory or an archive, not {what}"
        )
    if folder and not site.is_folder(folder):
        raise CommandFailed(WRONG, f"--folder {folder} is not the path of a folder in {what}")
    if what == "rollback":
        requests.roll_docs_back(to or "previous")
    elif what in ("hold", "resume"):
        requests.hold_docs(what)
    elif what is None or Path(what).exists():
        requests.publish(Path(what) if what else None, folder, dry_run=dry_run)
    else:
        raise CommandFailed(WRONG, f"no such file or directory: {what}")
