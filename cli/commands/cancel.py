"""`deployer cancel`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from cli.command import Call, command
from cli.commands import status
from cli.errors import FAILED, INTERRUPTED, REFUSED, WRONG, CommandFailed
from cli.releases import named
from cli.requests import Requests
from cli.screen import brief, printable
from cli.target import Target
from deployer.aws import ecs, sfn
from deployer.build import image_build
from deployer.deploy import history, rollout, serving
from deployer.deploy.release import Recorded, carried_out_by
from deployer.docs import site
from deployer.store import locks, releases

_CLOSED_SECONDS = 60.0  # the end of an execution is told within seconds


@dataclass(frozen=True)
class Flight:
    """A release that is not over, the execution that carries it out, and since when (ISO 8601);
    `has_lock` is whether it may have changed something already."""

    record: Recorded
    execution: str
    since: str
    has_lock: bool


@command(
    epilog="""\b
Examples:
  deployer cancel                  what is in flight; asks
  deployer cancel --yes            without asking
  deployer cancel --all            what waits for the lock too
  deployer cancel 1.2.0            one, by version or release id
  deployer cancel --build          the build that runs
  deployer cancel --docs           the publication of the documentation site
"""
)
@click.argument("release", required=False)
@click.option("--all", "everything", is_flag=True, help="What waits for the lock too.")
@click.option("--build", "of_build", is_flag=True, help="Builds, not deployments.")
@click.option("--docs", "of_docs", is_flag=True, help="Publications of the documentation site.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(
    call: Call, release: str | None, everything: bool, of_build: bool, of_docs: bool, yes: bool
) -> None:
    """Stop the deployment that is in flight, and put the last good release back at once. A RELEASE
    that waits for the lock is only stopped."""
    if release and everything:
        raise CommandFailed(WRONG, "RELEASE and --all are mutually exclusive")
    if of_build and of_docs:
        raise CommandFailed(WRONG, "--build and --docs are mutually exclusive")
    target, requests = call.target, Requests(call.target, call.screen, call.result)
    what = requests.site if of_docs else target.service
    owner = site.owner(what) if of_docs else image_build.partition(what) if of_build else what
    flights = in_flight(owner)
    call.result |= {"inFlight": [f.record["id"] for f in flights], "cancelled": []}
    chosen = _chosen(flights, release, everything)
    if not chosen:
        call.screen.say(f"Nothing of {what} is in flight; nothing was stopped.")
        return
    for flight in chosen:
        at = "is running" if flight.has_lock else "waits for the lock"
        call.screen.say(f"{_shown(flight.record)} by {flight.record['startedBy']} {at}.")
    if not yes:
        _agree(call, len(chosen))
    # who waits goes first: the lock would pass to it
    for flight in sorted(chosen, key=lambda flight: flight.has_lock):
        _cancel(call, requests, flight)
    if of_docs:
        _tell_published(call, owner)
    elif not of_build:
        _tell_live(call, target)


def in_flight(owner: str) -> list[Flight]:
    """The releases of a service that are not over, those that wait for the lock last."""
    holder = locks.queue(owner).holder
    found = [
        Flight(
            record,
            *carried_out_by(record),
            bool(holder and holder["release"] == record["id"]),
        )
        for record in releases.history(owner)
        if "outcome" not in record
    ]
    return sorted(found, key=lambda flight: not flight.has_lock)


def _chosen(flights: list[Flight], release: str | None, everything: bool) -> list[Flight]:
    """The ones that are meant. Raises CommandFailed if that cannot be told."""
    if everything:
        return flights
    if release:
        meant = named([flight.record for flight in flights], release)
        return [flight for flight in flights if flight.record is meant]
    first = [flight for flight in flights if flight.has_lock]
    return first or flights[:1]


def _agree(call: Call, count: int) -> None:
    what = "it" if count == 1 else f"these {count}"
    if not call.interactive:
        raise CommandFailed(REFUSED, "not a terminal; pass --yes to confirm")
    if not call.screen.agreed(f"Stop {what}?"):
        raise CommandFailed(REFUSED, "not agreed to; nothing was stopped")


def _cancel(call: Call, requests: Requests, flight: Flight) -> None:
    """Stop one execution, and see its release to its end: a service's or site's that held the lock,
    perhaps since it was looked at, is recovered from; any other's end is recorded by itself."""
    call.screen.title(f"Stopping {_shown(flight.record)}")
    if sfn.running(flight.execution, flight.since):
        status = requests.stop(flight.execution)
        if status != "ABORTED":
            call.screen.say(f"It had just ended: {status}.", "yellow")
            return
    call.result["cancelled"].append(flight.record["id"])
    try:
        record = _seen_to_its_end(call, requests, flight)
    except KeyboardInterrupt:
        raise CommandFailed(
            INTERRUPTED,
            f"stopped waiting; {_shown(flight.record)} is stopped, and what it left is put right"
            " by itself within minutes",
            ["See what became of it:", f"  deployer history {flight.record['id']}"],
        ) from None
    call.result |= {name: record.get(name) for name in ("outcome", "reason", "rollback")}
    if "outcome" in record:
        call.screen.say(f"{record['outcome']}: {brief(record)}", "yellow")
    else:
        call.screen.say("It is stopped; its record is closed within five minutes.", "yellow")


def _seen_to_its_end(call: Call, requests: Requests, flight: Flight) -> Mapping[str, Any]:
    """The record of a release whose execution is stopped."""
    owner = flight.record["service"]
    holder = locks.queue(owner).holder
    has_lock = holder and holder["release"] == flight.record["id"]
    if has_lock and (site.is_site(owner) or owner == call.target.service):
        return requests.recover(flight.record, flight.execution)
    with call.screen.working("waiting until it is recorded"):
        return _closed(flight.record)


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
    if holder := locks.queue(target.service).holder:
        call.screen.say(f"{holder['release']} is on its way:")
        call.screen.command("deployer status --watch")
    elif good is None:
        now_runs = f"it runs {runs.rpartition('/')[2]}, unverified" if runs else "it runs nothing"
        call.screen.say(f"No release was ever live; {now_runs}.", "yellow")
    elif runs == good.get("taskDefinition"):
        # the recorded address is that of a task which may be gone
        where = status.url(target.spec, ecs.tasks(target.spec.cluster, target.service), good)
        call.result["live"]["url"] = where
        said = f"{good['version']} is live{f': {where}' if where else ''}"
        call.screen.say(printable(said), "green")
    else:
        found = serving.of(target.history, [runs] if runs else [])
        raise CommandFailed(
            FAILED,
            f"the last verified release, {good['version']}, does not serve: the service runs"
            f" {found.what}",
            ["Bring it back:", serving.mend(target.spec, now, found) or "  deployer status"],
        )


def _tell_published(call: Call, owner: str) -> None:
    """Tell what the site shows by its records: a recovery that fails says so in `reason`."""
    good = history.live(releases.history(owner))
    call.result["live"] = good and {name: good.get(name) for name in ("id", "version", "url")}
    if holder := locks.queue(owner).holder:
        call.screen.say(f"{holder['release']} is on its way.")
    elif good is None:
        call.screen.say("Nothing was ever published.", "yellow")
    else:
        call.screen.say(printable(f"{good['version']} is live: {good.get('url')}"), "green")


def _shown(record: Recorded) -> str:
    return f"{record['version']} ({record['id']})"
