"""`deployer follow`."""

from cli.command import Call, command
from cli.requests import Requests


@command(
    epilog="""\b
Examples:
  deployer follow                  what is on its way now, or comes next
  deployer follow --json | jq .outcome
"""
)
def follow(call: Call) -> None:
    """Follow the deployment in flight to its end. If there is none, wait for the next."""
    Requests(call.target, call.screen, call.result).follow_next()
