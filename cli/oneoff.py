"""A task of the live release that belongs to no service: its request, and what its end means.

Its `startedBy` is not of the form `ecs-svc/…` and its group not `service:…`, so neither ECS nor the
deployer counts it as the service's: its end wakes no execution, and no rollout is judged by it.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html

Imports decisions only, no AWS.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cli.errors import FAILED, CommandFailed, ProgramFailed
from cli.live import Live
from deployer.deploy import documents, service, stop_reasons
from deployer.deploy.stop_reasons import Task

# What RunTask takes as a service has it
_AS_THE_SERVICE = (
    *("capacityProviderStrategy", "launchType", "networkConfiguration"),
    *("platformVersion", "volumeConfigurations"),
)
OURS = "deployer run: "  # how the reason of a stop by us begins
# A task stopped from outside: its command was cut short, whatever its exit code
_STOPPED = (
    *("ServiceSchedulerInitiated", "SpotInterruption", "TerminationNotice", "UserInitiated"),
)
_NOT_IN_STARTED_BY = re.compile(r"[^A-Za-z0-9/_-]")


def started_by(person: str) -> str:
    """Return the `startedBy` of a person's tasks; ECS takes 128 letters, digits, `-`, `/`, `_`."""
    return _NOT_IN_STARTED_BY.sub("-", f"deployer-run/{person}")[:128]


def request(
    live: Live, cluster: str, container: str, command: Sequence[str], by: str, token: str
) -> dict[str, Any]:
    """Return the request of RunTask.

    Args:
        by: the `startedBy` of the task.
        token: makes a repeated call the same call; at most 64 characters.
    """
    rollouts = live.service.get("deployments", ())
    own: Mapping[str, Any] = next(
        (one for one in rollouts if one["taskDefinition"] == live.revision), {}
    )
    described = {n: own.get(n) or service.current(live.service, n) for n in _AS_THE_SERVICE}
    fields = {name: value for name, value in described.items() if value}
    if "capacityProviderStrategy" in fields:  # which ECS takes instead of a launch type
        fields.pop("launchType", None)
    return {
        **fields,
        "cluster": cluster,
        "taskDefinition": live.revision,
        "overrides": {"containerOverrides": [{"name": container, "command": [*command]}]},
        "group": f"deployer-run:{live.record['service']}",
        "startedBy": by,
        "clientToken": token,
    }


def entry(task: Task, container: str) -> Mapping[str, Any]:
    """Return what ECS shows of a container of a task; {} before it shows any."""
    return next((c for c in task.get("containers", ()) if c.get("name") == container), {})


def outlived(task: Task, container: str) -> bool:
    """Return whether the command has ended, but others, more essential, keep the task running."""
    ended = entry(task, container).get("exitCode") is not None
    return ended and task.get("desiredStatus") == "RUNNING"


def document(task: Task, container: str) -> dict[str, Any]:
    """Return how a task ended, for a script."""
    return {
        "exitCode": entry(task, container).get("exitCode"),
        "stopCode": task.get("stopCode"),
        "stoppedReason": task.get("stoppedReason"),
    }


def failure(task: Task, container: str) -> CommandFailed | None:
    """Return the failure of a task that ended; None if its command succeeded."""
    code, stop = entry(task, container).get("exitCode"), stop_reasons.why(task)
    reason = task.get("stoppedReason") or ""
    cut_short = task.get("stopCode") in _STOPPED and not reason.startswith(OURS)
    if code == 0 and not cut_short:
        return None
    if cut_short and not code:
        text = f"the task was stopped before its command was done: {stop.reason}"
        return CommandFailed(FAILED, text)
    if code is None:
        began = "ended without an exit code" if task.get("startedAt") else "could not start"
        return CommandFailed(FAILED, f"the task {began}: {stop.reason}", [stop.advice])
    # the reason of a crash is its exit code, and the log has been shown
    more = [] if stop.kind in ("crash", "unknown") else [f"{stop.reason}. {stop.advice}"]
    text = f"the command exited with {code}" + (f": it was stopped, {reason}" * cut_short)
    return ProgramFailed(code if 0 < code < 256 else FAILED, text, more)


def permissions(live: Live) -> list[str]:
    """Return what the caller must be allowed in order to run a task."""
    roles = documents.roles(live.definition)
    return [
        "Attach the policy in the stack's output RunPolicy, or allow:",
        f"- ecs:RunTask for {live.revision.rpartition(':')[0]}:*, and ecs:StopTask for its tasks",
        *(f"- iam:PassRole for {role}, to ecs-tasks.amazonaws.com" for role in roles),
    ]
