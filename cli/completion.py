"""Complete the names of services, images, releases and containers in the shell.

A completion never prints, asks or fails: without credentials, or if AWS takes too long, it offers
nothing.
"""

import contextlib
import io
import threading
from collections.abc import Callable, Iterable

import click

from cli.aws import Account
from cli.nextstep import DEFAULT_STACK
from cli.target import Target, find

SECONDS = 2.0  # a user who waits for the shell types on
_NEWEST = 50

type Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def _from(names: Callable[[Target], Iterable[str | None]]) -> Completion:
    """Return a completion that offers the names of what a deployer has."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        given, found = context.params, list[str]()

        def look() -> None:
            with contextlib.suppress(BaseException), contextlib.redirect_stderr(io.StringIO()):
                account = Account(given.get("profile"), given.get("region"), asks=False)
                stack = given.get("stack") or DEFAULT_STACK
                found.extend(filter(None, names(find(account, stack, given.get("service")))))

        thread = threading.Thread(target=look, daemon=True)  # which the process does not wait for
        thread.start()
        thread.join(SECONDS)
        return [name for name in dict.fromkeys(found) if name.startswith(incomplete)]

    return complete


def _tags(target: Target) -> Iterable[str | None]:
    from cli import images

    return images.tags(target)[:_NEWEST]


def _releases(target: Target) -> Iterable[str | None]:
    from deployer.store import releases

    return ["live", "last", *(one["version"] for one in releases.newest(target.service, _NEWEST))]


def _earlier(target: Target) -> Iterable[str | None]:
    from deployer.deploy import history

    return ["previous", *(one["version"] for one in history.good(target.history)[:_NEWEST])]


def _in_flight(target: Target) -> Iterable[str | None]:
    from cli.releases import in_flight

    return [flight.record["version"] for flight in in_flight(target.service)]


def _containers(target: Target) -> Iterable[str | None]:
    from deployer.aws import ecs
    from deployer.deploy import documents, rollout

    service = ecs.service(target.spec.cluster, target.spec.service)
    described = ecs.task_definition(rollout.task_definition(service) or "")
    return [str(one.get("name")) for one in documents.containers(described[0] if described else {})]


services = _from(lambda target: target.services)
tags, releases = _from(_tags), _from(_releases)
earlier, in_flight, containers = _from(_earlier), _from(_in_flight), _from(_containers)
