"""Stop the tasks of a release whose deployment failed or was stopped, and wait for their end."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs
from deployer.deploy import one_off
from deployer.deploy.one_off import TaskRun, Which
from deployer.deploy.release import Recorded, Release
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.deploy.stop_reasons import Task
from deployer.errors import TaskStopping
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()

_WHICH: tuple[Which, ...] = ("before", "after")
_PAUSE = 2.0  # seconds
_PATIENCE = 35.0  # seconds: more than ECS's default stop timeout


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    execution: str


class Stopped(TypedDict):
    """The ARNs of the tasks that were stopped."""

    stopped: list[str]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Stopped:
    spec, release = from_document(event["spec"], "the service spec"), event["release"]
    record = releases.find(release["service"], release["id"])
    done: Stopped = {"stopped": []}
    for which in _WHICH:
        run = record.get(which) if record else None
        if record and run and "endedAt" not in run:
            with locks.lease(spec.service, event["execution"]):
                done["stopped"] += _stop(spec, record, which, run)
    logger.info("tasks stopped", done=done)
    return done


def _stop(spec: ServiceSpec, record: Recorded, which: Which, run: TaskRun) -> list[str]:
    """Stop a task, wait until it has stopped, and record its end.

    Raises:
        TaskStopping: it still runs.
    """
    deadline = time.monotonic() + _PATIENCE
    stopping = False
    while True:
        task = _find(spec, record, run)
        if task is None and one_off.shown_by_now(run, datetime.now(UTC)):
            break
        if task and task.get("lastStatus") == "STOPPED":
            run = {**run, "task": task["taskArn"]}
            break
        if task and not stopping:
            run = {**run, "task": task["taskArn"]}
            ecs.stop_task(
                spec.cluster, task["taskArn"], f"{one_off.OURS}the deployment of its release ended"
            )
            stopping = True
        if time.monotonic() > deadline:
            raise TaskStopping(f"the task {which} the rollout of {record['version']} still runs")
        time.sleep(_PAUSE)
    failure = f"the task {which} the rollout was stopped with its deployment"
    ended = one_off.ended(run, failure, task, [], datetime.now(UTC))
    if task is None:
        ended["ran"] = "task" in run
    releases.note(record, **{which: ended})
    return [run["task"]] if "task" in run else []


def _find(spec: ServiceSpec, record: Recorded, run: TaskRun) -> Task | None:
    """Return the task; by its `startedBy` if its execution ended before it recorded the ARN."""
    if "task" in run:
        tasks = ecs.existing_tasks(spec.cluster, [run["task"]])
    else:
        revision = record.get("taskDefinition") or ""
        tasks = ecs.started_tasks(spec.cluster, run["startedBy"], revision)
    return next(iter(tasks), None)
