"""`deployer cancel`."""

import time
from collections.abc import Mapping
from typing import Any

import click

from cli import completion
from cli.command import Call, command
from cli.errors import FAILED, INTERRUPTED, WRONG, CommandFailed
from cli.releases import Flight, in_flight, named
from cli.requests import Requests
from cli.screen import brief, printable
from cli.target import Target
from deployer.aws import ecs, sfn
from deployer.build import image_build
from deployer.deploy import history, rollout, serving
from deployer.deploy.release import Record
from deployer.docs import site
from deployer.store import locks, publications, releases
from deployer.usecases import read_overview

_CLOSED_SECONDS = 60.0  # EventBridge reports the end of an execution within seconds


@command(
    epilog="""\b
Examples:
  deployer cancel                  the deployment in flight, after asking
  deployer cancel --yes            without asking
  deployer cancel --all            those that wait for the lock, too
  deployer cancel 1.2.0            one, by version or release id
  deployer cancel --build          the running build
  deployer cancel --docs           the publication of the documentation site
"""
)
@click.argument("release", shell_complete=completion.in_flight, required=False)
@click.option("--all", "everything", is_flag=True, help="Include those that wait for the lock.")
@click.option("--build", "of_build", is_flag=True, help="Builds, not deployments.")
@click.option("--docs", "of_docs", is_flag=True, help="Publications of the documentation site.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(
    call: Call, release: str | None, everything: bool, of_build: bool, of_docs: bool, yes: bool
) -> None:
    """Stop the deployment in flight, and roll back to the last good release at once. A RELEASE
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
        call.screen.say(f"{_label(flight.record)} by {flight.record['startedBy']} {at}.")
    if not yes:
        them = "it" if len(chosen) == 1 else f"these {len(chosen)}"
        call.confirm(f"Stop {them}?", "nothing was stopped")
    # waiting releases first: the lock would pass to them
    for flight in sorted(chosen, key=lambda flight: flight.has_lock):
        _cancel(call, requests, flight)
    if of_docs:
        _report_published(call, owner)
    elif not of_build:
        _report_live(call, target)


def _chosen(flights: list[Flight], release: str | None, everything: bool) -> list[Flight]:
    """Return the releases to cancel.

    Raises:
        CommandFailed: no release, or more than one, is named so.
    """
    if everything:
        return flights
    if release:
        record = named([flight.record for flight in flights], release)
        return [flight for flight in flights if flight.record is record]
    first = [flight for flight in flights if flight.has_lock]
    return first or flights[:1]


def _cancel(call: Call, requests: Requests, flight: Flight) -> None:
    """Stop an execution, and follow its release to its end.

    If the release holds the lock by now, it is recovered; otherwise the deployer records its end.
    """
    call.screen.title(f"Stopping {_label(flight.record)}")
    if sfn.running(flight.execution, flight.since):
        status = requests.stop(flight.execution)
        if status != "ABORTED":
            call.screen.say(f"It had just ended: {status}.", "yellow")
            return
    call.result["cancelled"].append(flight.record["id"])
    try:
        record = _wait_for_end(call, requests, flight)
    except KeyboardInterrupt:
        raise CommandFailed(
            INTERRUPTED,
            f"stopped waiting; {_label(flight.record)} is stopped, and the deployer recovers it"
            " within minutes",
            ["See its outcome:", f"  deployer history {flight.record['id']}"],
        ) from None
    call.result |= {name: record.get(name) for name in ("outcome", "reason", "rollback")}
    if "outcome" in record:
        call.screen.say(f"{record['outcome']}: {brief(record)}", "yellow")
    else:
        call.screen.say("Stopped; the deployer closes its record within five minutes.", "yellow")


def _wait_for_end(call: Call, requests: Requests, flight: Flight) -> Mapping[str, Any]:
    """Wait for the end of a release whose execution is stopped, and return its record."""
    owner = flight.record["service"]
    holder = locks.queue(owner).holder
    has_lock = holder and holder["release"] == flight.record["id"]
    if has_lock and (site.is_site(owner) or owner == call.target.service):
        return requests.recover(flight.record, flight.execution)
    with call.screen.working("waiting until it is recorded"):
        return _closed(flight.record)


def _closed(record: Record) -> Record:
    """Return a release's record once its end is recorded, or as it is after a timeout."""
    deadline = time.monotonic() + _CLOSED_SECONDS
    while True:
        current = releases.of_any_kind.find(record["service"], record["id"]) or record
        if "outcome" in current or time.monotonic() > deadline:
            return current
        time.sleep(1)


def _report_live(call: Call, target: Target) -> None:
    """Report what the service runs now.

    Raises:
        CommandFailed: the last good release does not serve, and no deployment is in flight.
    """
    good: Mapping[str, Any] | None = history.live(target.history)
    service = ecs.service(target.spec.cluster, target.service)
    current = rollout.primary(service) if service else None
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
        # the recorded address belongs to a task that may be gone
        where = read_overview.url(target.spec, ecs.tasks(target.spec.cluster, target.service), good)
        call.result["live"]["url"] = where
        text = f"{good['version']} is live{f': {where}' if where else ''}"
        call.screen.say(printable(text), "green")
    else:
        state = serving.of(target.history, [runs] if runs else [])
        raise CommandFailed(
            FAILED,
            f"the last verified release, {good['version']}, does not serve: the service runs"
            f" {state.what}",
            [
                "To make it serve again:",
                serving.mend(target.spec, service, state) or "  deployer status",
            ],
        )


def _report_published(call: Call, owner: str) -> None:
    """Report which release of the site is live, by its records."""
    good = history.live(publications.history(owner))
    call.result["live"] = good and {name: good.get(name) for name in ("id", "version", "url")}
    if holder := locks.queue(owner).holder:
        call.screen.say(f"{holder['release']} is on its way.")
    elif good is None:
        call.screen.say("Nothing was ever published.", "yellow")
    else:
        call.screen.say(printable(f"{good['version']} is live: {good.get('url')}"), "green")


def _label(record: Record) -> str:
    return f"{record['version']} ({record['id']})"
