"""Check, before anything changes, that the deployment can work; record the answers to compare."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.aws import ec2, ecs
from deployer.aws.log import Logger
from deployer.check import WARNING
from deployer.deploy import (
    addresses,
    database,
    history,
    preflight,
    prerequisites,
    rollout,
    verification,
)
from deployer.deploy import service as services
from deployer.deploy.database import Work
from deployer.deploy.history import History
from deployer.deploy.release import Previous, Release
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec, from_document
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
    """

    previous: Previous | None
    probes: Mapping[str, str]
    wasRunning: bool
    desiredCount: int | None
    database: Work


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
    checked: Checked = {
        "desiredCount": preflight.desired_count(spec, service, records, datetime.now(UTC)),
        "previous": previous,
        "database": database.work(spec, event["release"], previous),
        "probes": _probes(spec, service, records, place.served),
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
    )
    logger.info("preflight passed", checked=checked)
    return checked


def _probes(
    spec: ServiceSpec, service: Service | None, records: History, served: tuple[str, int] | None
) -> Mapping[str, str]:
    """Return the answers of the `unchanged` probes: from now, or from the last verification."""
    live = history.live(records)
    values = dict(verification.remembered(live.get("probes", {}))) if live else {}
    current = rollout.primary(service) if service else None
    if not spec.verify or not current:
        return values
    if values and history.unproven(records, current["taskDefinition"]):
        return values  # a stopped execution left this revision running: its data may be wrong
    tasks = ecs.running_tasks(spec.cluster, spec.service, current["id"])
    public = ec2.public_addresses(addresses.interfaces(tasks))
    port = history.port(records, current["taskDefinition"]) or (served and served[1])
    hosts = addresses.of(spec, tasks, public, port)
    for url in addresses.to_ask(spec, hosts)[:1]:
        values |= http.probe(url, spec.verify.unchanged)
    return values
