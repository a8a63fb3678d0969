"""Read what a person sees of a service, for the command and the widget."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from deployer.aws import ec2, ecs, refused, sfn
from deployer.deploy import addresses, history, overview, serving
from deployer.deploy.history import History
from deployer.deploy.overview import Document
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task
from deployer.store import locks
from deployer.store.locks import Queue


def serves(spec: ServiceSpec, records: History) -> Document:
    """Return the last verified release, and the release that serves; see `serving.summary`."""
    service: Service | None = None
    revisions: set[str] | None = None
    try:
        service = ecs.service(spec.cluster, spec.service)
        revisions = serving.running(service)
    except ClientError as error:
        if not refused(error):
            raise
    in_flight = any("outcome" not in entry for entry in records)
    return serving.summary(spec, service, serving.of(records, revisions), in_flight)


def brief(spec: ServiceSpec, records: History) -> Document:
    """Return what a table of all services says of one."""
    known, queue, live = serves(spec, records), locks.queue(spec.service), history.live(records)
    return {
        "service": spec.service,
        "problem": known["alarm"],
        "verified": live and {**overview.release(live), "since": live["endedAt"]},
        # the address of a task changes with the task; that of one service alone is looked up
        "url": spec.url,
        "serves": known["serves"],
        "inFlight": [overview.claim(holder, records) for holder in (queue.holder,) if holder],
        "hold": queue.hold and {name: queue.hold.get(name) for name in ("by", "at", "reason")},
    }


def full(
    spec: ServiceSpec, records: History, queue: Queue, service: Service | None, seen: bool
) -> Document:
    """Return what `status --json` says of a service, as far as the widget shows it.

    Args:
        service: as ECS shows it; None if it does not exist.
        seen: whether ECS showed it; False without permission.
    """
    tasks: list[Task] = []
    if service:
        tasks = _permitted(lambda: ecs.tasks(spec.cluster, spec.service), [])
    live = history.live(records)
    state = serving.of(records, serving.running(service) if seen else None)
    verified = live and {**overview.release(live), "since": live["endedAt"]}
    in_flight = [
        {**one, "phase": sfn.current_state(one["execution"])}
        for one in overview.in_flight(queue.holder, queue.waiting, records)
    ]
    summary = serving.summary(spec, service, state, bool(in_flight))
    counts = ("desired", "running", "pending")
    return {
        "service": spec.service,
        "cluster": spec.cluster,
        "live": verified if state.verified else None,
        "verified": verified,
        **{name: summary[name] for name in ("serves", "alarm", "mend")},
        "url": _permitted(lambda: url(spec, tasks, live), live and live.get("url")),
        "tasks": service and {name: service[f"{name}Count"] for name in counts},
        "inFlight": in_flight,
        "waiting": [overview.claim(lock_request, records) for lock_request in queue.waiting],
        "hold": overview.hold(queue.hold, records),
        "lastFailure": overview.last_failure(records),
    }


def service(spec: ServiceSpec) -> tuple[Service | None, bool]:
    """Return the service as ECS shows it, and whether the caller has permission to see it."""
    try:
        return ecs.service(spec.cluster, spec.service), True
    except ClientError as error:
        if not refused(error):
            raise
        return None, False


def url(spec: ServiceSpec, tasks: Sequence[Task], live: Mapping[str, Any] | None) -> str | None:
    """Return the service's current URL; a replaced task has a new public address."""
    running = [task for task in tasks if task["lastStatus"] == "RUNNING"]
    port = ((live or {}).get("rollout") or {}).get("port")
    if spec.url or port:
        inside = bool(ec2.verification_network()[0])
        by_public_ip = not (spec.url or inside)
        public = ec2.public_addresses(addresses.interfaces(running)) if by_public_ip else {}
        return addresses.of(spec, running, public, port, inside=inside)["url"]
    return live.get("url") if live else None


def _permitted[T](look: Callable[[], T], otherwise: T) -> T:
    try:
        return look()
    except ClientError as error:
        if refused(error):
            return otherwise
        raise
