"""What the operator's commands have in common: options, the account and service, how they end."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import click

from cli.aws import Account
from cli.ending import carried_out
from cli.screen import Screen
from cli.target import Target, find

DEFAULT_STACK = "deployer"


@dataclass
class Call:
    """One call of a command. `result` is what --json prints; fill it as things become known.

    interactive: whether a person is there to answer questions.
    """

    profile: str | None
    region: str | None
    stack: str
    service: str | None
    json: bool
    result: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def screen(self) -> Screen:
        return Screen(sys.stderr if self.json else sys.stdout)

    @cached_property
    def account(self) -> Account:
        """Raises CommandFailed if there is no such profile or no Region."""
        return Account(self.profile, self.region)

    @cached_property
    def target(self) -> Target:
        """The deployer and the service that the command is about. Raises CommandFailed."""
        return find(self.account, self.stack, self.service)

    @property
    def interactive(self) -> bool:
        return sys.stdin.isatty() and not self.json


def command(**settings: Any) -> Callable[[Callable[..., None]], click.Command]:
    """A command of the operator's: `function(call, …)` with the common options and endings.

    settings: of click.command; `epilog` holds the examples.
    """

    def made(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(
            profile: str | None,
            region: str | None,
            stack: str,
            service: str | None,
            as_json: bool,
            **given: Any,
        ) -> None:
            call = Call(profile, region, stack, service, as_json)
            work = functools.partial(function, call, **given)
            sys.exit(carried_out(work, call.result, as_json=as_json))

        options = (
            click.option("--profile", help="An AWS profile (AWS_PROFILE)."),
            click.option("--region", help="An AWS Region (AWS_REGION)."),
            click.option(
                "--stack",
                default=DEFAULT_STACK,
                envvar="DEPLOYER_STACK",
                show_default=True,
                help="The deployer's stack (DEPLOYER_STACK).",
            ),
            click.option(
                "--service",
                envvar="DEPLOYER_SERVICE",
                help="The service, where the deployer has several (DEPLOYER_SERVICE).",
            ),
            click.option(
                "--json", "as_json", is_flag=True, help="Print JSON; progress goes to stderr."
            ),
        )
        decorated: Any = run
        for option in reversed(options):
            decorated = option(decorated)
        done: click.Command = click.command(**settings)(decorated)
        return done

    return made
