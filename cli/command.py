"""Common parts of the operator's commands: options, the account and service, how they end."""

import functools
import inspect
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import click

from cli import completion
from cli.aws import AWS_ERRORS, Account, stopped_by
from cli.ending import carried_out, document, failure_of
from cli.errors import NOT_RUN, REFUSED, WRONG, CommandFailed
from cli.nextstep import DEFAULT_STACK, Given, of_the_checkout, unless_set
from cli.screen import Screen
from cli.target import Target, environment_of, find
from deployer.redaction import redact_all

_COMMON = ("profile", "region", "stack", "service", "as_json")  # options of every command


@dataclass
class Call:
    """One call of a command.

    Attributes:
        result: what --json prints; commands fill it as they go.
        interactive: whether a user can answer questions.
    """

    profile: str | None
    region: str | None
    stack: str
    service: str | None
    json: bool
    result: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def screen(self) -> Screen:
        return Screen(sys.stderr if self.json else sys.stdout, given=lambda: self.given)

    @property
    def given(self) -> Given:
        """The options that a printed command must repeat for the same account and service."""
        target: Target | None = self.__dict__.get("target")
        return Given(
            unless_set(self.profile, "AWS_PROFILE"),
            unless_set(self.region, "AWS_REGION", "AWS_DEFAULT_REGION"),
            unless_set(self.stack, "DEPLOYER_STACK", default=DEFAULT_STACK),
            unless_set(self.service, "DEPLOYER_SERVICE"),
            target.environment if target else environment_of(self.stack, ()),
            "" if shutil.which("deployer") else of_the_checkout(),
        )

    @cached_property
    def account(self) -> Account:
        """The account.

        Raises:
            CommandFailed: the profile does not exist, or no Region is set.
        """
        return Account(self.profile, self.region)

    @property
    def opened_account(self) -> Account | None:
        """The account, if the command has opened it already."""
        return self.__dict__.get("account")

    @cached_property
    def target(self) -> Target:
        """The deployer and the service of the command.

        Raises:
            CommandFailed: the deployer's stack is missing.
        """
        return find(self.account, self.stack, self.service)

    def tell(self, document: Mapping[str, Any]) -> None:
        """Print a line of JSON for a script, in a command that `streams`."""
        print(json.dumps(redact_all(document, by_name=False)), flush=True)

    @property
    def interactive(self) -> bool:
        return sys.stdin.isatty() and not self.json

    def confirm(self, question: str, unchanged: str = "nothing was changed") -> None:
        """Ask the user to agree.

        Args:
            unchanged: what a refusal leaves as it is.
        Raises:
            CommandFailed: the user does not agree, or cannot be asked.
        """
        if not self.interactive:
            raise CommandFailed(REFUSED, "not a terminal; pass --yes to confirm")
        if not self.screen.agreed(question):
            raise CommandFailed(REFUSED, f"not confirmed; {unchanged}")


class _Runs(click.Command):
    """A command that ends with the exit code of a program: wrong usage has not run it."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*args, **more)
        except click.UsageError as error:
            error.exit_code = NOT_RUN
            raise


def _work(function: Callable[..., None], call: Call, arguments: Mapping[str, Any]) -> None:
    try:
        function(call, **arguments)
    except AWS_ERRORS as error:
        raise stopped_by(error, account=call.opened_account) from error


def answer(call: Call, made: click.Command, words: Sequence[str]) -> dict[str, Any]:
    """Carry out a command in this process, and return the document that it prints with --json.

    Args:
        made: the command, as `command` made it.
        words: its arguments and options, without the common ones, which `call` has.
    """
    began = time.monotonic()
    function = inspect.unwrap(made.callback or (lambda: None))

    def work() -> None:
        try:
            arguments = made.make_context(made.name, [*words]).params
        except click.UsageError as error:
            raise CommandFailed(WRONG, error.format_message()) from error
        own = {name: value for name, value in arguments.items() if name not in _COMMON}
        _work(function, call, own)

    failure = failure_of(work)
    if failure:
        failure.advice = call.given.lines(failure.advice)
    return document(call.result, failure, time.monotonic() - began)


def follows(function: Callable[..., None]) -> Callable[..., None]:
    """Add the option `follow`: whether to follow what the command starts to its end."""
    option = click.option(
        "--follow/--no-follow",
        " /--detach",
        "follow",
        default=True,
        help="Follow it to its end (the default), or only start it.",
    )
    decorated: Callable[..., None] = option(function)
    return decorated


def times_out(meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the option `timeout`: in how many seconds what the command does must be done."""
    return click.option(
        "--timeout",
        type=click.IntRange(1, 24 * 3600),
        default=3600,
        show_default=True,
        help=meaning,
    )


def command(
    streams: Callable[[Mapping[str, Any]], bool] = lambda given: False,
    runs: bool = False,
    **settings: Any,
) -> Callable[[Callable[..., None]], click.Command]:
    """Make `function(call, …)` an operator's command, with the common options and endings.

    Args:
        streams: whether, with these options, --json prints a line for each result (see
            `Call.tell`) instead of a document at the end.
        runs: whether it ends with the exit code of a program that it runs (see `carried_out`).
        settings: of click.command; `epilog` has the examples.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(
            profile: str | None,
            region: str | None,
            stack: str,
            service: str | None,
            as_json: bool,
            **arguments: Any,
        ) -> None:
            call = Call(profile, region, stack, service, as_json)

            one_document = as_json and not streams(arguments)
            ending = carried_out(
                lambda: _work(function, call, arguments),
                call.result,
                as_json=one_document,
                given=lambda: call.given,
                runs=runs,
            )
            sys.exit(ending)

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
                shell_complete=completion.services,
                help="The service, where the deployer has several (DEPLOYER_SERVICE).",
            ),
            click.option(
                "--json", "as_json", is_flag=True, help="Print JSON; progress goes to stderr."
            ),
        )
        decorated: Any = run
        for option in reversed(options):
            decorated = option(decorated)
        made_of = _Runs if runs else click.Command
        done: click.Command = click.command(cls=made_of, **settings)(decorated)
        return done

    return decorate
