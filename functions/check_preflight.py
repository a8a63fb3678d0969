"""Check, before anything changes, that the deployment can work; record the answers to compare."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ec2, ecs
from deployer.check import WARNING
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
from deployer.deploy.release import Previous, Release
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.deploy.verification import Probes
from deployer.log import Logger
from deployer.store import releases
from deployer.usecases import check_prerequisites

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    execution: str


class Checked(TypedDict):
    """The state of the service before the deployment, for verification and rollback.

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
    spec = from_document(event["spec"], "the service spec")
    place = check_prerequisites.place(spec)
    checks = check_prerequisites.checks_at(place, event["release"])
    for check in checks:
        if check.state == WARNING:
            logger.warning("preflight warns", look=check.name, finding=check.finding)
    preflight.check(checks)
    records = releases.history(spec.service)
    newest = history.live(records)
    last_rollout = newest.get("rollout") if newest else None
    revision = last_rollout["taskDefinition"] if last_rollout else None
    service = ecs.service_after(spec.cluster, spec.service, revision, last_rollout)
    preflight.check(list(check_prerequisites.service(spec, service, place.definition)))
    if newest and newest.get("cluster", spec.cluster) != spec.cluster:
        there = ecs.service(newest["cluster"], spec.service)
        preflight.check(list(prerequisites.moved(spec, newest, there)))
    preflight.check_schema(event["release"], records)
    previous = history.previous_release(
        rollout.steady_task_definition(service),
        rollout.network(service) if service else None,
        records,
    )
    due = one_off.due(spec, event["release"])
    checked: Checked = {
        "before": due["before"],
        "after": due["after"],
        "schedules": schedules.may_exist(spec, records),
        "desiredCount": preflight.desired_count(spec, service, records, datetime.now(UTC)),
        "previous": previous,
        "database": database.work(spec, event["release"], previous),
        "probes": _remembered(records),
        "addresses": _addresses(spec, service, records, place.served),
        "wasRunning": bool(service and service["runningCount"]),
    }
    if service:
        request = services.update(spec, service, "", False, place.definition)
        differences = [asdict(change) for change in services.differences(service, request)]
        logger.info("the update changes the service", differences=differences)
    releases.note(
        event["release"],
        cluster=spec.cluster,
        previous=checked["previous"],
        wasRunning=checked["wasRunning"],
        **({"scheduled": True} if checked["schedules"] else {}),
    )
    logger.info("preflight passed", checked=checked)
    return checked


def _remembered(records: History) -> Probes:
    """Return the probes of the last verification, for those that do not respond now."""
    live = history.live(records)
    return dict(verification.remembered(live.get("probes", {}))) if live else {}


def _addresses(
    spec: ServiceSpec, service: Service | None, records: History, served: tuple[str, int] | None
) -> Addresses | None:
    """Return where the `unchanged` probes of the running release are read; None without any."""
    current = rollout.primary(service) if service else None
    if not spec.verify or not spec.verify.unchanged or not current:
        return None
    if _remembered(records) and history.unproven(records, current["taskDefinition"]):
        return None  # a stopped execution left this revision running: its data may be wrong
    inside = bool(ec2.verification_network()[0])
    tasks = ecs.running_tasks(spec.cluster, spec.service, current["id"])
    public = {} if inside else ec2.public_addresses(addresses.interfaces(tasks))
    port = history.port(records, current["taskDefinition"]) or (served and served[1])
    hosts = addresses.of(spec, tasks, public, port, inside=inside)
    return hosts if addresses.to_ask(spec, hosts) else None
