"""`deployer wait`."""

import click

from cli import completion
from cli.command import Call, command, times_out
from cli.requests import Requests


@command(
    epilog="""\b
Examples:
  docker push "$IMAGE:1.2.0" && deployer wait 1.2.0     in a CI job
  deployer wait sha256:3f2a… --timeout 900
  deployer wait 1.2.0 --json | jq -r .url

\b
Exit codes, beside the usual ones:
  0  live and verified, also if nothing had to be deployed for it
  1  it failed, or was not done in time
  5  held, or superseded by a newer push
  6  the push deploys nothing, such as of a tag that the service spec does not name
"""
)
@click.argument("image", shell_complete=completion.tags)
@times_out("Seconds after which to stop waiting; the deployment goes on.")
def wait(call: Call, image: str, timeout: int) -> None:
    """Wait for what the push of IMAGE, a tag or digest, becomes: show it, and end as it ends."""
    Requests(call.target, call.screen, call.result).wait(image, timeout)
