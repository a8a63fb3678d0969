"""Update the service to the new revision, or create it; one call starts one rollout."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs
from deployer.deploy import documents, rollout, service
from deployer.deploy.release import Previous, Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import PreflightFailed
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str
    previous: Previous | None
    desiredCount: int | None
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Rollout:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        recorded = releases.rollout(event["release"])
        if recorded:
            return recorded  # by an earlier try; ECS may have given up on it since
        started = _start(spec, event)
        releases.note(event["release"], rollout=started)
    logger.info("rollout started", rollout=started)
    return started


def _start(spec: ServiceSpec, event: Request) -> Rollout:
    revision, previous = event["taskDefinition"], event["previous"]
    definition = ecs.registered(revision)
    live_service = ecs.service(spec.cluster, spec.service)
    if live_service:
        rolls_back = service.may_roll_back(spec, event["release"], previous, live_service)
        settings = service.update(spec, live_service, revision, rolls_back, definition)
        if event["desiredCount"] is not None:
            settings["desiredCount"] = event["desiredCount"]
        primary = rollout.primary(live_service)
        anew = event["release"].get("restore") or event["release"]["trigger"] == "restart"
        if anew and primary and primary["taskDefinition"] == revision:
            settings["forceNewDeployment"] = True  # only a new task reads a secret
        updated = ecs.update_service(spec.service, settings)
    elif spec.service_definition is None:
        raise PreflightFailed(
            f"service {spec.service} is gone, and no serviceDefinition creates it"
        )
    else:
        token = hashlib.sha256(event["release"]["id"].encode()).hexdigest()[:32]
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
