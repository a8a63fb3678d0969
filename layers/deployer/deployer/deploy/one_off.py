"""A task that belongs to no service: its request, and what its end means.

Each release may run one before and one after its rollout; `deployer run` runs one by hand. Its
`startedBy` is not of the form `ecs-svc/…` and its group not `service:…`, so ECS does not count it
as the service's, and no rollout is judged by it.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html

Imports decisions only, no AWS.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from deployer.deploy import service, stop_reasons
from deployer.deploy.documents import Document
from deployer.deploy.rollout import READ_LAG, Service
from deployer.deploy.stop_reasons import Task
from deployer.redaction import clip, redact, redact_all

if TYPE_CHECKING:
    from deployer.deploy.release import Release
    from deployer.deploy.spec import OneOff, ServiceSpec

Which = Literal["before", "after"]

# What RunTask takes as a service has it
_AS_THE_SERVICE = (
    *("capacityProviderStrategy", "launchType", "networkConfiguration"),
    *("platformVersion", "volumeConfigurations"),
)
# A task stopped from outside: its command was cut short, whatever its exit code
_STOPPED = (
    *("ServiceSchedulerInitiated", "SpotInterruption", "TerminationNotice", "UserInitiated"),
)
_NOT_IN_STARTED_BY = re.compile(r"[^A-Za-z0-9/_-]")
# A rollback runs the code of before; no older release may migrate the database.
_BEFORE = ("push", "deploy", "resume")
# A token is forgotten an hour after its task has stopped, and a task may stop at once:
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html
_TOKEN_LIFE = timedelta(minutes=50)
_LINE_LIMIT = 500  # characters, as in a diagnosis
# Fargate's longest stop timeout, and a minute
_STOP_PATIENCE = timedelta(minutes=3)


# Of any such task ---------------------------------------------------------------------------------


def request(
    described: Document,
    cluster: str,
    revision: str,
    container: str,
    command: Sequence[str],
    group: str,
    by: str,
    token: str,
) -> dict[str, Any]:
    """Return the request of RunTask.

    Args:
        described: the service whose network and capacity the task has.
        by: the `startedBy` of the task.
        token: makes a repeated call the same call; at most 64 characters.
    """
    fields = {name: described[name] for name in _AS_THE_SERVICE if described.get(name)}
    if "capacityProviderStrategy" in fields:  # which ECS takes instead of a launch type
        fields.pop("launchType", None)
    return {
        **fields,
        "cluster": cluster,
        "taskDefinition": revision,
        "overrides": {"containerOverrides": [{"name": container, "command": [*command]}]},
        "group": group,
        "startedBy": by,
        "clientToken": token,
    }


def as_of(live_service: Service, revision: str) -> Mapping[str, Any]:
    """Return what a task has as the service's tasks of a revision have it."""
    rollouts = live_service.get("deployments", ())
    own: Mapping[str, Any] = next(
        (one for one in rollouts if one["taskDefinition"] == revision), {}
    )
    return {name: own.get(name) or service.current(live_service, name) for name in _AS_THE_SERVICE}


def entry(task: Task, container: str) -> Mapping[str, Any]:
    """Return what ECS shows of a container of a task; {} before it shows any."""
    return next((c for c in task.get("containers", ()) if c.get("name") == container), {})


def outlived(task: Task, container: str) -> bool:
    """Return whether the command has ended, but others, more essential, keep the task running."""
    ended = entry(task, container).get("exitCode") is not None
    return ended and task.get("desiredStatus") == "RUNNING"


def cut_short(task: Task, ours: str) -> bool:
    """Return whether somebody else stopped a task.

    Args:
        ours: how the reason of a stop by us begins.
    """
    reason = task.get("stoppedReason") or ""
    return task.get("stopCode") in _STOPPED and not reason.startswith(ours)


def allowed_in_started_by(text: str) -> str:
    """Return a text as ECS takes it in `startedBy`: 128 letters, digits, `-`, `/` and `_`."""
    return _NOT_IN_STARTED_BY.sub("-", text)[:128]


# Before and after a rollout -----------------------------------------------------------------------

STARTED_BY = "deployer-release/"
"""How the `startedBy` of a release's tasks begins; a rule wakes the execution when they stop."""

OURS = "deployer: "
"""How the reason of a stop by the deployer begins."""


class TaskRun(TypedDict):
    """A task of a release, as its record keeps it. Times are ISO 8601, UTC.

    It is recorded before it is run, so that a retry runs no second one; `triedAt` is when ECS was
    last asked to run it. Once it runs, it has `task` and `deadline`. `late` is whether it was
    stopped at its deadline. Once it has ended, it has `endedAt`, and `failure`: in words, or None.
    `ran` is False if its containers never started. `log` has its last lines.
    """

    startedBy: str
    container: str
    command: Sequence[str]
    timeout: int
    requestedAt: str
    triedAt: str
    task: NotRequired[str]
    deadline: NotRequired[str]
    late: NotRequired[bool]
    endedAt: NotRequired[str]
    exitCode: NotRequired[int | None]
    failure: NotRequired[str | None]
    ran: NotRequired[bool]
    log: NotRequired[Sequence[str]]


class Progress(TypedDict):
    """Whether a task runs, is done or has failed; in the shape of a rollout's verdict.

    `error` is the failure's name in the execution; it is empty unless FAILED. `task` is the ARN.
    """

    health: Literal["ROLLING", "DONE", "FAILED"]
    ended: bool
    error: str
    reason: str
    task: str | None


@dataclass(frozen=True)
class Step:
    """What to do about a task: stop it, for this reason; note that it has ended, and how.

    `late` is whether it is stopped because its time is over.
    """

    stop: str = ""
    late: bool = False
    ended: bool = False
    failure: str | None = None


def due(spec: "ServiceSpec", release: "Release") -> dict[Which, bool]:
    """Return which tasks a release runs.

    The one before the rollout runs for new code only, never on a rollback or a restart. The one
    after it is a check like `verify`, so it runs on them too.
    """
    new = release["trigger"] in _BEFORE
    return {"before": spec.before is not None and new, "after": spec.after is not None}


def started_by(release: "Release", which: Which) -> str:
    """Return the `startedBy` of a release's task; always the same one."""
    return allowed_in_started_by(f"{STARTED_BY}{which}/{release['id']}")


def token(release: "Release", which: Which) -> str:
    """Return the client token of a release's task; always the same one."""
    name = f"{release['service']} {release['id']} {which}"
    return hashlib.sha256(name.encode()).hexdigest()


def as_it_will_be(spec: "ServiceSpec", live_service: Service | None) -> Mapping[str, Any]:
    """Return what a task has as the service's tasks have it after the update."""
    becomes = service.effective(spec, live_service)
    return {
        name: becomes.get(name) or service.current(live_service or {}, name)
        for name in _AS_THE_SERVICE
    }


def begun(
    settings: "OneOff", release: "Release", which: Which, container: str, now: datetime
) -> TaskRun:
    """Return the record of a task that is about to be run."""
    return {
        "startedBy": started_by(release, which),
        "container": container,
        "command": redact_all([*settings.command]),
        "timeout": settings.timeout,
        "requestedAt": now.isoformat(),
        "triedAt": now.isoformat(),
    }


def running(run: TaskRun, task: str, now: datetime) -> TaskRun:
    """Return the record of a task that runs, by its ARN."""
    deadline = now + timedelta(seconds=run["timeout"])
    return {**run, "task": task, "deadline": deadline.isoformat()}


def may_ask_again(run: TaskRun, now: datetime) -> bool:
    """Return whether ECS still knows the client token, so that asking again runs no second task."""
    return now - _moment(run["requestedAt"]) < _TOKEN_LIFE


def shown_by_now(run: TaskRun, now: datetime) -> bool:
    """Return whether reads of ECS show the task, if it was run."""
    return now - _moment(run["triedAt"]) >= READ_LAG


def judge(run: TaskRun, which: Which, task: Task | None, now: datetime) -> Step:
    """Decide about a task that was run.

    Args:
        task: as ECS describes it; None if it does not show it.
    """
    name, deadline = f"the task {which} the rollout", _moment(run["deadline"])
    if task is None:
        if not shown_by_now(run, now):
            return Step()
        return Step(ended=True, failure=f"ECS no longer shows {name}: its exit code is lost")
    if task.get("lastStatus") == "STOPPED":
        return Step(ended=True, failure=_failure(run, name, task))
    if outlived(task, run["container"]):
        return Step(stop="its command has ended")
    if now >= deadline + _STOP_PATIENCE:
        return Step(ended=True, failure=f"{name} was not done in time, and does not stop")
    return Step(stop="its time is over", late=True) if now >= deadline else Step()


def _failure(run: TaskRun, name: str, task: Task) -> str | None:
    """Return why a stopped task failed; None if its command succeeded."""
    code, reason = entry(task, run["container"]).get("exitCode"), stop_reasons.why(task).reason
    reason = reason.removesuffix(".")
    if run.get("late"):
        return f"{name} was not done within {run['timeout']} s, and was stopped"
    if cut_short(task, OURS):
        return f"{name} was stopped before its command was done: {reason}"
    if code is None:
        began = "ended without an exit code" if task.get("startedAt") else "could not start"
        return f"{name} {began}: {reason}"
    return f"{name} exited with {code}" if code else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def ended(
    run: TaskRun, failure: str | None, task: Task | None, log: Sequence[str], now: datetime
) -> TaskRun:
    """Return the record of a task that has ended."""
    return {
        **run,
        "endedAt": now.isoformat(),
        "exitCode": entry(task or {}, run["container"]).get("exitCode"),
        "failure": redact_all(failure),
        "ran": task is None or bool(task.get("startedAt")),
        "log": [clip(redact(line), _LINE_LIMIT) for line in log],
    }


def progress(run: TaskRun, which: Which) -> Progress:
    """Return how a task stands, for the execution."""
    task = run.get("task")
    if "endedAt" not in run:
        reason = f"the task {which} the rollout runs"
        return {"health": "ROLLING", "ended": False, "error": "", "reason": reason, "task": task}
    failure = run.get("failure")
    if failure is None:
        reason = f"the task {which} the rollout exited with 0"
        return {"health": "DONE", "ended": False, "error": "", "reason": reason, "task": task}
    error = "TaskTimedOut" if run.get("late") else "TaskFailed"
    return {"health": "FAILED", "ended": False, "error": error, "reason": failure, "task": task}


def succeeded(run: TaskRun) -> bool:
    """Return whether a task has ended well."""
    return "endedAt" in run and run.get("failure") is None


def may_have_run(run: TaskRun | None) -> bool:
    """Return whether a task's command may have run, and so have changed the database."""
    return run is not None and run.get("ran", True)
