"""A task of the live release that a person runs: see `deployer.deploy.one_off`.

Imports decisions only, no AWS.
"""

from collections.abc import Sequence
from typing import Any

from cli.errors import FAILED, CommandFailed, ProgramFailed
from cli.live import Live
from deployer.deploy import documents, one_off, stop_reasons
from deployer.deploy.stop_reasons import Task

OURS = "deployer run: "  # how the reason of a stop by us begins


def started_by(person: str) -> str:
    """Return the `startedBy` of a person's tasks."""
    return one_off.allowed_in_started_by(f"deployer-run/{person}")


def request(
    live: Live, cluster: str, container: str, command: Sequence[str], by: str, token: str
) -> dict[str, Any]:
    """Return the request of RunTask.

    Args:
        by: the `startedBy` of the task.
        token: makes a repeated call the same call; at most 64 characters.
    """
    return one_off.request(
        one_off.as_of(live.service, live.revision),
        cluster,
        live.revision,
        container,
        command,
        f"deployer-run:{live.record['service']}",
        by,
        token,
    )


def document(task: Task, container: str) -> dict[str, Any]:
    """Return how a task ended, for a script."""
    return {
        "exitCode": one_off.entry(task, container).get("exitCode"),
        "stopCode": task.get("stopCode"),
        "stoppedReason": task.get("stoppedReason"),
    }


def failure(task: Task, container: str) -> CommandFailed | None:
    """Return the failure of a task that ended; None if its command succeeded."""
    code, stop = one_off.entry(task, container).get("exitCode"), stop_reasons.why(task)
    reason = task.get("stoppedReason") or ""
    cut_short = one_off.cut_short(task, OURS)
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
