"""The graph of a deployment's stages: those that it passed, the one it is in, those that follow.

What it passed comes from the history of its execution, so a stage that this module does not know
is shown all the same, where it was entered. Decides only: no AWS.
"""

from collections.abc import Collection, Sequence
from typing import Any

from cli.executions import Execution
from cli.screen import Step

# Of each deployment that succeeds, and of one that fails after it has begun to change the service
AHEAD = (
    *("Identify release", "Acquire lock", "Check preflight", "Register task definition"),
    *("Update service", "Poll health", "Fetch addresses", "Verify release", "Record success"),
)
FAILURE = (*("Diagnose failure", "Roll back", "Poll health of previous release", "Record failure"),)


def graph(execution: Execution, steps: Sequence[Step]) -> dict[str, Any]:
    """Return the stages of a deployment.

    Args:
        steps: those of the execution, by `screen.steps`.
    Returns:
        `stages`: on the way to a live release, in order; `failure`: from the failure on, empty
        without one. Each has `name`, `state` (`done`; `failed`; `again`, for one that had no
        result and is tried again; `now`; `ahead`), `note`, `at`, when it was entered first, and
        `seconds`, the sum of its visits; null while it lasts or lies ahead. Times are in seconds
        since the execution started.
    """
    running = execution.status == "RUNNING"
    stages: dict[str, dict[str, Any]] = {}
    failure: dict[str, dict[str, Any]] = {}
    for index, step in enumerate(steps):
        back = failure or step.name in FAILURE or _failed(stages)
        row = failure if back else stages
        earlier = row.get(step.name)
        stage = _stage(step.name, _state(step, running and index == len(steps) - 1), step.note)
        stage["at"] = earlier["at"] if earlier else step.at
        if step.left is not None and stage["state"] != "now":
            before = (earlier and earlier["seconds"]) or 0.0
            stage["seconds"] = round(before + step.left - step.at, 1)
        row[step.name] = stage  # where it was entered first
    if not (running or failure or execution.status == "SUCCEEDED"):
        _fail_last(stages)  # it was stopped there
    ahead = _following(AHEAD, stages) if running and not failure else []
    after = _following(FAILURE, failure) if running and failure else []
    return {
        "stages": [*stages.values(), *(_stage(name, "ahead") for name in ahead)],
        "failure": [*failure.values(), *(_stage(name, "ahead") for name in after)],
    }


def _following(names: Sequence[str], entered: Collection[str]) -> Sequence[str]:
    """Return the names after the last one that was entered."""
    passed = [index for index, name in enumerate(names) if name in entered]
    return names[passed[-1] + 1 :] if passed else names


def _stage(name: str, state: str, note: str = "") -> dict[str, Any]:
    return {"name": name, "state": state, "note": note, "at": None, "seconds": None}


def _state(step: Step, current: bool) -> str:
    if current:
        return "now"
    return "failed" if step.failed else "again" if step.pending else "done"


def _failed(stages: dict[str, dict[str, Any]]) -> bool:
    """Return whether the last stage failed: what follows leads back."""
    return any(stage["state"] == "failed" for stage in [*stages.values()][-1:])


def _fail_last(stages: dict[str, dict[str, Any]]) -> None:
    """Mark the stage whose result led to the failure, if none is marked already."""
    if stages and not any(stage["state"] == "failed" for stage in stages.values()):
        last = next(reversed(stages.values()))
        last["state"] = "failed"
