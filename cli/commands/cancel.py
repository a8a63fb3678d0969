"""`deployer cancel`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from cli.command import Call, command
from cli.errors import FAILED, REFUSED, WRONG, CommandFailed
from cli.orders import Orders
from cli.releases import named
from cli.screen import brief, printable
from cli.target import Target
from deployer import build, history, rollout
from deployer.aws import ecs, releases, sfn, turns
from deployer.release import Recorded

_CLOSED_SECONDS = 60.0  # the end of an execution is told within seconds


@dataclass(frozen=True)
class Flight:
    """A release that is not over, and the execution that is at it; `has_turn` is whether it may
    have changed something already."""

    record: Recorded
    execution: str
    has_turn: bool


@command(
    epilog="""\b
Examples:
  deployer cancel                  what is in flight; asks
  deployer cancel --yes            without asking
  deployer cancel --all            what waits for its turn too
  deployer cancel 1.2.0            one, by version or release id
  deployer cancel --build          the build that runs
"""
)
@click.argument("release", required=False)
@click.option("--all", "everything", is_flag=True, help="What waits for its turn too.")
@click.option("--build", "of_build", is_flag=True, help="Builds, not deployments.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(call: Call, release: str | None, everything: bool, of_build: bool, yes: bool) -> None:
    """Stop the deployment that is in flight, and put the last good release back at once. A RELEASE
    that waits for its turn is only stopped."""
    if release and everything:
        raise CommandFailed(WRONG, "RELEASE and --all exclude each other")
    target = call.target
    owner = build.partition(target.service) if of_build else target.service
    flights = in_flight(owner)
    call.result |= {"inFlight": [f.record["id"] for f in flights], "cancelled": []}
    chosen = _chosen(flights, release, everything)
    if not chosen:
        call.screen.say(f"Nothing of {target.service} is in flight; nothing was stopped.")
        return
    for flight in chosen:
        at = "is at it" if flight.has_turn else "waits for its turn"
        call.screen.say(f"{_shown(flight.record)} by {flight.record['startedBy']} {at}.")
    if not yes:
        _agree(call, len(chosen))
    orders = Orders(target, call.screen, call.result)
    # who waits goes first: the turn would pass to it
    for flight in sorted(chosen, key=lambda flight: flight.has_turn):
        _cancel(call, orders, flight)
    if not of_build:
        _tell_live(call, target)


def in_flight(owner: str) -> list[Flight]:
    """The releases of a service that are not over, those that wait for their turn last."""
    holder = turns.line(owner).holder
    found = [
        Flight(
            record,
            record.get("recoveredBy") or record["execution"],
            bool(holder and holder["release"] == record["id"]),
        )
        for record in releases.history(owner)
        if "outcome" not in record
    ]
    return sorted(found, key=lambda flight: not flight.has_turn)


def _chosen(flights: list[Flight], release: str | None, everything: bool) -> list[Flight]:
    """The ones that are meant. Raises CommandFailed if that cannot be told."""
    if everything:
        return flights
    if release:
        meant = named([flight.record for flight in flights], release)
        return [flight for flight in flights if flight.record is meant]
    first = [flight for flight in flights if flight.has_turn]
    return first or flights[:1]


def _agree(call: Call, count: int) -> None:
    what = "it" if count == 1 else f"these {count}"
    if not call.interactive:
        raise CommandFailed(REFUSED, "nobody is there to agree to that", ["Add --yes to agree."])
    if not call.screen.agreed(f"Stop {what}?"):
        raise CommandFailed(REFUSED, "not agreed to; nothing was stopped")


def _cancel(call: Call, orders: Orders, flight: Flight) -> None:
    """Stop one execution, and see its release to its end: a service's that had its turn, perhaps
    since it was looked at, is recovered from; the end of any other is recorded by itself."""
    call.screen.title(f"Stopping {_shown(flight.record)}")
    if sfn.running(flight.execution):
        status = orders.stop(flight.execution)
        if status != "ABORTED":
            call.screen.say(f"It had just ended: {status}.", "yellow")
            return
    call.result["cancelled"].append(flight.record["id"])
    owner = flight.record["service"]
    holder = turns.line(owner).holder
    if owner == call.target.service and holder and holder["release"] == flight.record["id"]:
        record: Mapping[str, Any] = orders.recover(flight.record, flight.execution)
    else:
        with call.screen.working("waiting until it is recorded"):
            record = _closed(flight.record)
    call.result |= {name: record.get(name) for name in ("outcome", "reason", "rollback")}
    if "outcome" in record:
        call.screen.say(f"{record['outcome']}: {brief(record)}", "yellow")
    else:
        call.screen.say("It is stopped; its record is closed within five minutes.", "yellow")


def _closed(record: Recorded) -> Recorded:
    """A release's record once its end is recorded, or when that takes too long."""
    deadline = time.monotonic() + _CLOSED_SECONDS
    while True:
        found = releases.find(record["service"], record["id"]) or record
        if "outcome" in found or time.monotonic() > deadline:
            return found
        time.sleep(1)


def _tell_live(call: Call, target: Target) -> None:
    """Tell what the service runs now. Raises CommandFailed if that is not the last good release,
    unless another is on its way."""
    good: Mapping[str, Any] | None = history.live(target.history)
    now = ecs.service(target.spec.cluster, target.service)
    current = rollout.primary(now) if now else None
    runs = str(current["taskDefinition"]) if current and current.get("desiredCount") else None
    call.result["live"] = good and {n: good.get(n) for n in ("id", "version", "digest", "url")}
    call.result["runs"] = runs
    if holder := turns.line(target.service).holder:
        call.screen.say(f"{holder['release']} is on its way:")
        call.screen.command("deployer status --watch")
    elif good is None:
        now_runs = f"it runs {runs.rpartition('/')[2]}, unverified" if runs else "it runs nothing"
        call.screen.say(f"No release was ever live; {now_runs}.", "yellow")
    elif runs == good.get("taskDefinition"):
        where = f": {good['url']}" if good.get("url") else ""
        call.screen.say(printable(f"{good['version']} is live{where}"), "green")
    else:
        name = runs.rpartition("/")[2] if runs else "nothing"
        raise CommandFailed(
            FAILED,
            f"the last good release, {good['version']}, is not back: the service runs {name}",
            [
                "See why, then deploy or roll back:",
                "  deployer history",
                "  deployer status",
            ],
        )


def _shown(record: Recorded) -> str:
    return f"{record['version']} ({record['id']})"
