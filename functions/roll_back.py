"""Roll back: put the previous release back, or say why that can't be."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import rollback, rollout, service
from deployer.aws import ecs, turns
from deployer.release import Previous, Release
from deployer.rollback import Rollback
from deployer.rollout import Rollout, Service
from deployer.spec import ServiceSpec, from_document

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str | None
    previous: Previous | None
    wasRunning: bool
    rollout: Rollout | None
    snapshot: str | None
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Rollback:
    spec = from_document(event["spec"], "the service spec")
    with turns.change(spec.service, event["execution"]):
        decided = _rolled_back(spec, event)
    logger.info("rollback decided", rollback=decided)
    return decided


def _rolled_back(spec: ServiceSpec, event: Request) -> Rollback:
    now = ecs.service_after(spec.cluster, spec.service, event["taskDefinition"], event["rollout"])
    decided = rollback.decide(
        now,
        event["release"],
        event["taskDefinition"],
        event["previous"],
        was_running=event["wasRunning"],
        touched=event["rollout"] is not None,
        ran=_ran(spec, _deployment(now, event)),
        snapshot=event["snapshot"],
    )
    if decided["action"] == "STOP":
        ecs.scale_to_zero(spec.cluster, spec.service)
    if event["previous"] and decided["action"] == "GO_BACK":
        now = ecs.update_service(spec.service, _settings(spec, event["previous"]))
    if event["previous"] and now and decided["action"] in ("GO_BACK", "AWAIT"):
        deployment = ecs.deployment_of(now, event["previous"]["taskDefinition"])
        decided["rollout"] = rollout.started(deployment, spec.timeout, datetime.now(UTC))
    return decided


def _deployment(now: Service | None, event: Request) -> str | None:
    """The id of the release's rollout, which may have begun although that could not be noted."""
    if event["rollout"]:
        return event["rollout"]["id"]
    current = rollout.primary(now) if now else None
    ours = current is not None and current["taskDefinition"] == event["taskDefinition"]
    return str(current["id"]) if current and ours else None


def _ran(spec: ServiceSpec, deployment: str | None) -> bool:
    """Whether any task of a rollout came to run."""
    if deployment is None:
        return False
    tasks = ecs.running_tasks(spec.cluster, spec.service, deployment)
    tasks += ecs.stopped_tasks(spec.cluster, spec.service, deployment)
    return any(task.get("startedAt") for task in tasks)


def _settings(spec: ServiceSpec, previous: Previous) -> dict[str, Any]:
    """The previous release as it ran; ECS does not go back from going back."""
    settings = service.settings(spec, previous["taskDefinition"], automatic_rollback=False)
    if previous["networkConfiguration"]:
        settings["networkConfiguration"] = previous["networkConfiguration"]
    return settings
