"""Update the service to the new revision, or create it; one call starts one rollout."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs
from deployer.aws.log import Logger
from deployer.deploy import rollout, service, task_definitions
from deployer.deploy.release import Previous, Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
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
    exact = event["release"].get("taskDefinition")
    target = task_definitions.served(ecs.containers(exact), spec) if exact else None
    live_service = ecs.service(spec.cluster, spec.service)
    rolls_back = service.may_roll_back(event["release"], previous, live_service)
    settings = service.settings(spec, revision, rolls_back, target, live_service)
    if live_service:
        if event["desiredCount"] is not None:
            settings["desiredCount"] = event["desiredCount"]
        primary = rollout.primary(live_service)
        if event["release"].get("restore") and primary and primary["taskDefinition"] == revision:
            settings["forceNewDeployment"] = True  # only a new task reads the secret
        updated = ecs.update_service(spec.service, settings)
    else:
        token = hashlib.sha256(event["release"]["id"].encode()).hexdigest()[:32]
        updated = ecs.create_service(service.creation(spec, settings, token))
    deployment = ecs.deployment_of(updated, revision)
    started = rollout.started(deployment, spec.timeout, datetime.now(UTC))
    port = target[1] if target else spec.container.port
    return {
        **started,
        "bake": service.bake_seconds(spec),
        "alarms": alarms.quiet(spec.alarms),
        "port": port,
        "network": settings["networkConfiguration"],
    }
