"""Update the service to the new revision, or create it; one call starts one rollout."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs
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
        begun = releases.rollout(event["release"])
        if begun:
            return begun  # by an earlier try; ECS may have given it up meanwhile
        started = _started(spec, event)
        releases.note(event["release"], rollout=started)
    logger.info("rollout started", rollout=started)
    return started


def _started(spec: ServiceSpec, event: Request) -> Rollout:
    revision, previous = event["taskDefinition"], event["previous"]
    exact = event["release"].get("taskDefinition")
    served = task_definitions.served(ecs.containers(exact), spec) if exact else None
    there = ecs.service(spec.cluster, spec.service)
    rolls_back = service.may_roll_back(event["release"], previous, there)
    settings = service.settings(spec, revision, rolls_back, served, there)
    if there:
        if event["desiredCount"] is not None:
            settings["desiredCount"] = event["desiredCount"]
        current = rollout.primary(there)
        if event["release"].get("restore") and current and current["taskDefinition"] == revision:
            settings["forceNewDeployment"] = True  # only a new task reads the secret
        answer = ecs.update_service(spec.service, settings)
    else:
        token = hashlib.sha256(event["release"]["id"].encode()).hexdigest()[:32]
        answer = ecs.create_service(service.creation(spec, settings, token))
    deployment = ecs.deployment_of(answer, revision)
    started = rollout.started(deployment, spec.timeout, datetime.now(UTC))
    port = served[1] if served else spec.container.port
    return {**started, "port": port, "network": settings["networkConfiguration"]}
