"""Diagnose the failure: what the failed tasks, the service's events and the log say."""

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
_LINES = 100  # what tells may stand at the start


class Request(TypedDict):
    spec: Mapping[str, Any]
    rollout: Rollout | None
    failure: Failure
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Diagnosis:
    spec, started = from_document(event["spec"], "the service spec"), event["rollout"]
    service = ecs.service(spec.cluster, spec.service) or {}
    events = [entry["message"] for entry in service.get("events", [])[:_EVENTS]]
    failed: list[Task] = []
    telling: list[Task] = []
    if started:
        stopped = ecs.stopped_tasks(spec.cluster, spec.service, started["id"])
        failed = rollout.failed_tasks(started, stopped)
        telling = failed or ecs.running_tasks(spec.cluster, spec.service, started["id"])
    found = diagnosis.diagnose(event["failure"], failed, events, _log(spec, telling))
    logger.info("failure diagnosed", diagnosis=found)
    return found


def _log(spec: ServiceSpec, tasks: list[Task]) -> list[str]:
    """The last lines of the last of these tasks."""
    if not tasks:
        return []
    task = tasks[-1]["taskArn"].rsplit("/", 1)[-1]
    return logs.last_lines(spec.log_group, f"ecs/{spec.container.name}/{task}", _LINES)
