"""Diagnose the failure from the failed tasks, the service's events and the log."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import presets
from deployer.aws import ecs, logs
from deployer.deploy import diagnosis, documents, rollout, waves
from deployer.deploy.diagnosis import Diagnosis, Failure
from deployer.deploy.release import Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.deploy.stop_reasons import Task
from deployer.log import Logger
from deployer.store import releases

logger = Logger()

_EVENTS = 5
_LINES = 100  # the cause may be logged at the start


class Request(TypedDict):
    """`task` is the ARN of the task before or after the rollout, if that has failed; an execution
    that began before an upgrade of the deployer has none, and no `release`."""

    spec: Mapping[str, Any]
    release: NotRequired[Release | None]
    rollout: Rollout | None
    failure: Failure
    task: NotRequired[str | None]
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Diagnosis:
    spec, deployment, named = _failed_service(event)
    service = ecs.service(spec.cluster, spec.service) or {}
    events = [entry["message"] for entry in service.get("events", [])[:_EVENTS]]
    failed: list[Task] = []
    logged: list[Task] = []
    revision = deployment["taskDefinition"] if deployment else None
    if failed_task := event.get("task"):
        events = []
        failed = logged = ecs.existing_tasks(spec.cluster, [failed_task])
        revision = next((task["taskDefinitionArn"] for task in logged), None)
    elif deployment:
        stopped = ecs.stopped_tasks(spec.cluster, spec.service, deployment["id"])
        failed = rollout.failed_tasks(deployment, stopped)
        logged = failed or ecs.running_tasks(spec.cluster, spec.service, deployment["id"])
    symptoms = presets.named(event["spec"].get("preset")).symptoms
    result = diagnosis.diagnose(event["failure"], failed, events, _log(revision, logged), symptoms)
    if named:
        result["service"] = spec.service
    logger.info("failure diagnosed", diagnosis=result)
    return result


def _failed_service(event: Request) -> tuple[ServiceSpec, Rollout | None, bool]:
    """Return the service that the failure is of, its rollout, and whether it is one of several.

    If none is known, that is the leading one.
    """
    spec, release = from_document(event["spec"], "the service spec"), event.get("release")
    record = releases.find(release["service"], release["id"]) if spec.further and release else None
    if record is None:
        return spec, event["rollout"], False
    failed = event["failure"].get("Service") or waves.refused(spec, record)
    part = next((part for part in spec.parts if part.service == failed), spec)
    rollouts = waves.recorded(spec, record)
    return part, rollouts.get(part.service), part.service == failed


def _log(revision: str | None, tasks: list[Task]) -> list[str]:
    """Return the last log lines of the last task: of the container that failed, or else its own."""
    if revision is None or not tasks:
        return []
    described = ecs.task_definition(revision)
    if described is None:
        return []
    task = tasks[-1]["taskArn"].rsplit("/", 1)[-1]
    for name in diagnosis.failed_containers(tasks[-1], described[0]):
        if log := documents.log(documents.container(described[0], name)):
            return logs.last_lines(log.group, f"{log.prefix}{task}", _LINES)
    return []
