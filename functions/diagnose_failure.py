"""Diagnose the failure from the failed tasks, the service's events and the log."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs, logs
from deployer.aws.log import Logger
from deployer.deploy import diagnosis, rollout
from deployer.deploy.diagnosis import Diagnosis, Failure
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.deploy.stop_reasons import Task

logger = Logger()

_EVENTS = 5
_LINES = 100  # the cause may be logged at the start


class Request(TypedDict):
    spec: Mapping[str, Any]
    rollout: Rollout | None
    failure: Failure
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Diagnosis:
    spec, deployment = from_document(event["spec"], "the service spec"), event["rollout"]
    service = ecs.service(spec.cluster, spec.service) or {}
    events = [entry["message"] for entry in service.get("events", [])[:_EVENTS]]
    failed: list[Task] = []
    logged: list[Task] = []
    if deployment:
        stopped = ecs.stopped_tasks(spec.cluster, spec.service, deployment["id"])
        failed = rollout.failed_tasks(deployment, stopped)
        logged = failed or ecs.running_tasks(spec.cluster, spec.service, deployment["id"])
    result = diagnosis.diagnose(event["failure"], failed, events, _log(spec, logged))
    logger.info("failure diagnosed", diagnosis=result)
    return result


def _log(spec: ServiceSpec, tasks: list[Task]) -> list[str]:
    """Return the last log lines of the last task."""
    if not tasks:
        return []
    task = tasks[-1]["taskArn"].rsplit("/", 1)[-1]
    return logs.last_lines(spec.log_group, f"ecs/{spec.container.name}/{task}", _LINES)
