"""Check, before anything changes, that the deployment can work; record the answers to compare."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ec2, ecs
from deployer.check import WARNING, Check
from deployer.deploy import (
    addresses,
    database,
    history,
    one_off,
    preflight,
    prerequisites,
    rollout,
    schedules,
    verification,
)
from deployer.deploy import service as services
from deployer.deploy.addresses import Addresses
from deployer.deploy.database import Work
from deployer.deploy.history import History
from deployer.deploy.release import Part, Previous, Release
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.deploy.verification import Probes
from deployer.log import Logger
from deployer.store import releases
from deployer.usecases import check_prerequisites
from deployer.usecases.check_prerequisites import Place

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    execution: str


class Checked(TypedDict):
    """The state of the service before the deployment, for verification and rollback. The record has
    that of further services.

    `desiredCount` is the task count for the update; None keeps the service's current one.
    `addresses` is where to read the probes; None if there are none to read. `before` and `after`
    are whether the release runs these tasks, `schedules` whether it may change the service's.
    """

    previous: Previous | None
    probes: Probes
    addresses: Addresses | None
    wasRunning: bool
    desiredCount: int | None
    database: Work
    before: bool
    after: bool
    schedules: bool


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Checked:
    spec, release = from_document(event["spec"], "the service spec"), event["release"]
    places = [check_prerequisites.place(part) for part in spec.parts]
    checks = check_prerequisites.checks_at(places, release)
    for check in checks:
        if check.state == WARNING:
            logger.warning("preflight warns", look=check.name, finding=check.finding)
    preflight.check(checks)
    records = releases.history(spec.service)
    current = [_service(at.spec, history.of_service(records, at.spec)) for at in places]
    problems = [
        _problems(at, service, records) for at, service in zip(places, current, strict=True)
    ]
    preflight.check([check for checks in problems for check in checks])
    preflight.check_schema(release, records)
    leading, *further = [
        _checked(at, service, records) for at, service in zip(places, current, strict=True)
    ]
    due = one_off.due(spec, release)
    checked: Checked = {
        "before": due["before"],
        "after": due["after"],
        "schedules": schedules.may_exist(spec, records),
        "desiredCount": leading["desiredCount"],
        "previous": leading["previous"],
        "database": database.work(spec, release, leading["previous"]),
        "probes": _remembered(records),
        "addresses": _addresses(places, current, records),
        "wasRunning": leading["wasRunning"],
    }
    for at, service in zip(places, current, strict=True):
        if service:
            request = services.update(at.spec, service, "", False, at.definition)
            differences = [asdict(change) for change in services.differences(service, request)]
            logger.info(
                "the update changes the service", of=at.spec.service, differences=differences
            )
    parts = {part.service: own for part, own in zip(spec.further, further, strict=True)}
    runs = {"runs": leading["runs"]} if parts and "runs" in leading else {}
    releases.note_before(
        release,
        cluster=spec.cluster,
        previous=checked["previous"],
        wasRunning=checked["wasRunning"],
        **({"servicesBefore": parts, **runs} if parts else {}),
        **({"scheduled": True} if checked["schedules"] else {}),
    )
    logger.info("preflight passed", checked=checked, services=parts)
    return checked


def _service(spec: ServiceSpec, records: History) -> Service | None:
    """Return a service as its last release left it."""
    newest = history.live(records)
    last_rollout = newest.get("rollout") if newest else None
    revision = last_rollout["taskDefinition"] if last_rollout else None
    return ecs.service_after(spec.cluster, spec.service, revision, last_rollout)


def _problems(at: Place, service: Service | None, records: History) -> list[Check]:
    """Return the checks of a service itself."""
    spec = at.spec
    checks = list(check_prerequisites.service(spec, service, at.definition))
    newest = history.live(history.of_service(records, spec))
    if newest and newest.get("cluster", spec.cluster) != spec.cluster:
        there = ecs.service(newest["cluster"], spec.service)
        checks += prerequisites.moved(spec, newest, there)
    return check_prerequisites.of_part(spec, checks)


def _checked(at: Place, service: Service | None, records: History) -> Part:
    """Return the state of a service before the deployment."""
    own = history.of_service(records, at.spec)
    previous = history.previous_release(
        rollout.steady_task_definition(service),
        rollout.network(service) if service else None,
        own,
    )
    if previous and at.spec.lead:
        applied = history.applied_schema(records)
        # what runs without a record runs on the database as it is
        schema = previous["schema"] if previous["release"] else applied
        previous = {**previous, "schema": schema, "databaseSchema": applied}
    part: Part = {
        "previous": previous,
        "wasRunning": bool(service and service["runningCount"]),
        "desiredCount": preflight.desired_count(at.spec, service, own, datetime.now(UTC)),
    }
    runs = rollout.task_definition(service)
    if runs and previous and runs != previous["taskDefinition"] and history.unproven(own, runs):
        part["runs"] = runs
    return part


def _remembered(records: History) -> Probes:
    """Return the probes of the last verification, for those that do not respond now."""
    live = history.live(records)
    return dict(verification.remembered(live.get("probes", {}))) if live else {}


def _addresses(
    places: Sequence[Place], current: Sequence[Service | None], records: History
) -> Addresses | None:
    """Return where the `unchanged` probes of the running release are read; None without any."""
    hosts = {
        at.spec.service: own
        for at, service in zip(places, current, strict=True)
        if (own := _own_addresses(at, service, records))
    }
    lead = places[0].spec.service
    nowhere: Addresses = {"url": None, "tasks": []}
    leading, further = hosts.get(lead), {n: own for n, own in hosts.items() if n != lead}
    return {**(leading or nowhere), "services": further} if further else leading


def _own_addresses(at: Place, service: Service | None, records: History) -> Addresses | None:
    spec, own = at.spec, history.of_service(records, at.spec)
    current = rollout.primary(service) if service else None
    if not spec.verify or not spec.verify.unchanged or not current:
        return None
    remembered = verification.of_service(_remembered(records), spec.lead and spec.service)
    if remembered and history.unproven(own, current["taskDefinition"]):
        return None  # a stopped execution left this revision running: its data may be wrong
    inside = bool(ec2.verification_network()[0])
    tasks = ecs.running_tasks(spec.cluster, spec.service, current["id"])
    public = {} if inside else ec2.public_addresses(addresses.interfaces(tasks))
    port = history.port(own, current["taskDefinition"]) or (at.served and at.served[1])
    hosts = addresses.of(spec, tasks, public, port, inside=inside)
    return hosts if addresses.to_ask(spec, hosts) else None
