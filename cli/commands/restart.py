"""`deployer restart`."""

from cli.command import Call, command, follows
from cli.requests import Requests


@command(
    epilog="""\b
Examples:
  deployer restart                 new tasks read the secrets as they are now
"""
)
@follows
def restart(call: Call, follow: bool) -> None:
    """Run the live release in new tasks, such as after a secret was rotated. It is rolled out and
    verified as any release is."""
    Requests(call.target, call.screen, call.result, follow).restart()
