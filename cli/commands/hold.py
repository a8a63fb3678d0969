"""`deployer hold`."""

import click

from cli.command import Call, command, follows
from cli.requests import Requests


@command(
    epilog="""\b
Examples:
  deployer hold --reason "database maintenance until 18:00"
  deployer resume
"""
)
@click.option("--reason", help="Why, for everyone who pushes meanwhile.")
@follows
def hold(call: Call, reason: str | None, follow: bool) -> None:
    """Hold pushes until `deployer resume`, or until somebody deploys by hand. Held pushes are
    recorded; the newest of them deploys then."""
    Requests(call.target, call.screen, call.result, follow).hold(reason)
