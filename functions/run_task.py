"""Run the task before or after the rollout, once. While it runs, the execution sleeps on the token.

As in Poll health, the function stores the token before it reads the task, so no event is lost. It
records the task before it runs it: a later try finds it, by its ARN or its client token.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs, logs, sfn
from deployer.deploy import documents, one_off
from deployer.deploy.one_off import Progress, TaskRun, Which
from deployer.deploy.release import Release
from deployer.deploy.spec import OneOff, ServiceSpec, from_document
from deployer.deploy.stop_reasons import Task
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()

_LINES = 20


class Request(TypedDict):
    """`which` is `before` or `after`."""

    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str
    which: Which
    token: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Progress:
    spec, which = from_document(event["spec"], "the service spec"), event["which"]
    with locks.lease(spec.service, event["execution"]):
        releases.remember_token(one_off.started_by(event["release"], which), event["token"])
        progress = one_off.progress(_run(spec, event), which)
    if progress["health"] != "ROLLING":
        sfn.wake(event["token"], progress)
    logger.info("task polled", which=which, progress=progress)
    return progress


def _run(spec: ServiceSpec, event: Request) -> TaskRun:
    """Run the task, or look at it; return its record."""
    release, which = event["release"], event["which"]
    settings = spec.before if which == "before" else spec.after
    assert settings
    record = releases.find(release["service"], release["id"])
    run = record.get(which) if record else None
    if run is None or ("task" not in run and "endedAt" not in run):
        run = _start(spec, settings, event, run)
    if "endedAt" in run:
        return run  # by an earlier try
    task = next(iter(ecs.existing_tasks(spec.cluster, [run["task"]])), None)
    step = one_off.judge(run, which, task, datetime.now(UTC))
    if step.late and not run.get("late"):
        run = {**run, "late": True}
        _note(release, which, run)
    if step.stop:
        ecs.stop_task(spec.cluster, run["task"], f"{one_off.OURS}{step.stop}")
    if step.ended:
        run = one_off.ended(run, step.failure, task, _log(run, task), datetime.now(UTC))
        _note(release, which, run)
    return run


def _start(spec: ServiceSpec, settings: OneOff, event: Request, run: TaskRun | None) -> TaskRun:
    """Run the task, and record it.

    Args:
        run: the record of an earlier try, which does not know whether it ran the task.
    """
    release, which, now = event["release"], event["which"], datetime.now(UTC)
    definition = ecs.registered(event["taskDefinition"])
    container = settings.container or documents.release_container(spec, definition)
    request = one_off.request(
        one_off.as_it_will_be(spec, ecs.service(spec.cluster, spec.service)),
        spec.cluster,
        event["taskDefinition"],
        container,
        settings.command,
        f"deployer-release:{spec.service}",
        one_off.started_by(release, which),
        one_off.token(release, which),
    )
    if run and not one_off.may_ask_again(run, now):
        unknown = f"whether the task {which} the rollout ran is unknown, so it is not run again"
        return _failed(release, which, run, unknown, ran=True)
    first = run or one_off.begun(settings, release, which, container, now)
    run = {**first, "triedAt": now.isoformat()}
    _note(release, which, run)
    task, why = ecs.run_once(request)
    if task is None:
        failure = f"ECS did not run the task {which} the rollout: {why}"
        return _failed(release, which, run, failure, ran=False)
    run = one_off.running(run, task, datetime.now(UTC))
    _note(release, which, run)
    return run


def _failed(release: Release, which: Which, run: TaskRun, failure: str, *, ran: bool) -> TaskRun:
    """Record that the task could not be run, or that nobody knows."""
    run = {**one_off.ended(run, failure, None, [], datetime.now(UTC)), "ran": ran}
    _note(release, which, run)
    return run


def _note(release: Release, which: Which, run: TaskRun) -> None:
    releases.note(release, **{which: run})


def _log(run: TaskRun, task: Task | None) -> list[str]:
    """Return the last lines of the command's container.

    An error here must not prevent the record of its end.
    """
    if task is None:
        return []
    try:
        described = ecs.task_definition(task["taskDefinitionArn"])
        log = documents.log(
            documents.container(described[0] if described else {}, run["container"])
        )
        if log is None:
            return []
        stream = f"{log.prefix}{task['taskArn'].rpartition('/')[2]}"
        return logs.last_lines(log.group, stream, _LINES)
    except Exception:
        logger.exception("could not read the task's log")
        return []
