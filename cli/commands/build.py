"""`deployer build`."""

import re
from pathlib import Path

import click

from cli.command import Call, command, follows
from cli.errors import WRONG, CommandFailed
from cli.requests import Requests
from cli.target import Target

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@command(
    epilog="""\b
Examples:
  deployer build                   the current checkout
  deployer build ../app            a directory, without the files that git ignores
  deployer build source.tar.gz     an archive: .tar.gz, .tgz or .zip
  deployer build e0f93fb88         a commit of the connected repository
"""
)
@click.argument("source", default=".")
@follows
def build(call: Call, source: str, follow: bool) -> None:
    """Build the service's image from SOURCE, a directory, an archive or a commit of the connected
    repository; follow the build, then the deployment that its push starts."""
    requests, path = Requests(call.target, call.screen, call.result, follow), Path(source)
    if path.exists():
        requests.build(path)
    elif not _COMMIT.fullmatch(source):
        raise CommandFailed(
            WRONG,
            f"{source} is not a file, a directory or a commit (7 to 40 hex digits)",
            ["For a branch or tag, give its commit:", f"  git rev-parse {source}"],
        )
    elif not _connected(call.target):
        raise CommandFailed(
            WRONG,
            f"can't fetch {source}: no repository is connected for {call.target.service}",
            ["Connect one (docs/build.md), or build a checkout of it:", "  deployer build ."],
        )
    else:
        requests.fetch(source)


def _connected(target: Target) -> bool:
    """Return whether the connected repository is the service's; a stack connects one."""
    parameters = target.parameters
    service = parameters.get("SourceService") or parameters["ServicePattern"]
    return bool(parameters.get("SourceConnectionArn")) and service == target.service
