"""Check, before anything changes, that the deployment can work; note what must not change."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.aws import ec2, ecs
from deployer.aws.log import Logger
from deployer.check import WARNING
from deployer.deploy import addresses, database, history, preflight, rollout, verification
from deployer.deploy import prerequisites as around
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
    """What the service was before: the way back, its probes' answers, and whether it ran.

    `desiredCount` is what to set with the update; None to leave the service's own.
    """

    previous: Previous | None
    probes: Mapping[str, str]
    wasRunning: bool
    desiredCount: int | None
    database: Work


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Checked:
    spec = from_document(event["spec"], "the service spec")
    looked = check_prerequisites.before(event["release"], spec)
    for check in looked:
        if check.state == WARNING:
            logger.warning("preflight warns", look=check.name, found=check.found)
    preflight.check(looked)
    past = releases.history(spec.service)
    newest = history.live(past)
    started = newest.get("rollout") if newest else None
    revision = started["taskDefinition"] if started else None
    service = ecs.service_after(spec.cluster, spec.service, revision, started)
    preflight.check(list(around.service(spec, service)))
    preflight.check_schema(event["release"], past)
    previous = history.previous_release(
        rollout.steady_task_definition(service),
        rollout.network(service) if service else None,
        past,
    )
    checked: Checked = {
        "desiredCount": preflight.desired_count(spec, service, past, datetime.now(UTC)),
        "previous": previous,
        "database": database.work(spec, event["release"], previous),
        "probes": _probes(spec, service, past),
        "wasRunning": bool(service and service["runningCount"]),
    }
    releases.note(event["release"], previous=checked["previous"], wasRunning=checked["wasRunning"])
    logger.info("preflight passed", checked=checked)
    return checked


def _probes(spec: ServiceSpec, service: Service | None, past: History) -> Mapping[str, str]:
    """What the probes that must not change answer now, or answered when last verified."""
    live = history.live(past)
    values = dict(verification.remembered(live.get("probes", {}))) if live else {}
    current = rollout.primary(service) if service else None
    if not spec.verify or not current:
        return values
    if values and history.unproven(past, current["taskDefinition"]):
        return values  # left by a stopped execution: its data may be the wrong ones
    tasks = ecs.running_tasks(spec.cluster, spec.service, current["id"])
    public = ec2.public_addresses(addresses.interfaces(tasks))
    found = addresses.of(spec, tasks, public, history.port(past, current["taskDefinition"]))
    for url in addresses.to_ask(spec, found)[:1]:
        values |= http.probe(url, spec.verify.unchanged)
    return values
