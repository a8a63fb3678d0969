"""Update the services of the next wave to their new revisions, or create them.

One call of ECS starts one rollout.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs
from deployer.deploy import documents, rollout, service, waves
from deployer.deploy.release import Part, Previous, Release, parts
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import PreflightFailed
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    """`wave` is which services to update, counted from 1; an execution that began before an upgrade
    of the deployer has one service."""

    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str
    previous: Previous | None
    desiredCount: int | None
    wave: NotRequired[int]
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Rollout | None:
    spec, release = from_document(event["spec"], "the service spec"), event["release"]
    with locks.lease(spec.service, event["execution"]):
        if spec.further:
            return _start_wave(spec, event)
        recorded = releases.rollout(release)
        if recorded:
            return recorded  # by an earlier try; ECS may have given up on it since
        started = _start(spec, release, _leading(event))
        releases.note(release, rollout=started)
    logger.info("rollout started", rollout=started)
    return started


def _leading(event: Request) -> Part:
    """Return what the execution knows of the leading service."""
    return {
        "taskDefinition": event["taskDefinition"],
        "previous": event["previous"],
        "desiredCount": event["desiredCount"],
    }


def _start_wave(spec: ServiceSpec, event: Request) -> Rollout | None:
    """Update the services of a wave; return the leading one's rollout, if it was updated.

    Each is recorded before and after its update: a retry goes on with the rest, and a rollback
    knows which may have been updated.
    """
    release = event["release"]
    record = releases.find(spec.service, release["id"])
    assert record, "Identify release opens the record"
    own, updating = dict(record.get("services", {})), [*record.get("updating", ())]
    known = parts(record)
    leading = record.get("rollout")
    for part in waves.due(spec, event.get("wave", 1), waves.recorded(spec, record)):
        if part.service not in updating:
            updating.append(part.service)
            releases.note(release, updating=updating)
        if part.lead is None:
            leading = _start(part, release, _leading(event))
            releases.note(release, rollout=leading)
        else:
            name = part.service
            own[name] = {**own[name], "rollout": _start(part, release, known[name])}
            releases.note(release, services=own)
        logger.info("rollout started", of=part.service)
    return leading


def _start(spec: ServiceSpec, release: Release, own: Part) -> Rollout:
    revision, previous = own["taskDefinition"], own["previous"]
    definition = ecs.registered(revision)
    live_service = ecs.service(spec.cluster, spec.service)
    if live_service:
        restoration = releases.restoration(release)
        stopped = restoration.get("stopped", {}) if restoration else {}
        count = own["desiredCount"] or stopped.get(spec.service)
        rolls_back = service.may_roll_back(spec, release, previous, live_service)
        settings = service.update(spec, live_service, revision, rolls_back, definition)
        if count is not None:
            settings["desiredCount"] = count
        primary = rollout.primary(live_service)
        anew = release.get("restore") or release["trigger"] == "restart"
        if anew and primary and primary["taskDefinition"] == revision:
            settings["forceNewDeployment"] = True  # only a new task reads a secret
        updated = ecs.update_service(spec.service, settings)
    elif spec.service_definition is None:
        raise PreflightFailed(
            f"service {spec.service} is gone, and no serviceDefinition creates it"
        )
    else:
        token = hashlib.sha256(_creation(spec, release).encode()).hexdigest()[:32]
        settings = service.creation(spec, revision, definition, token)
        updated = ecs.create_service(settings)
    deployment = ecs.deployment_of(updated, revision)
    started = rollout.started(deployment, spec.timeout, datetime.now(UTC))
    balancers = settings.get("loadBalancers") or updated.get("loadBalancers", ())
    served = documents.served(definition, spec.container, spec.repository, balancers)
    network = settings.get("networkConfiguration") or rollout.network(updated)
    started |= {
        "bake": service.bake_seconds(spec, updated, definition),
        "alarms": alarms.quiet(spec.alarms),
    }
    if served:
        started["port"] = served[1]
    if network:
        started["network"] = network
    return started


def _creation(spec: ServiceSpec, release: Release) -> str:
    """Return what tells the creation of a service from others; a retry of it has the same."""
    return f"{release['id']} {spec.service}" if spec.lead else release["id"]
