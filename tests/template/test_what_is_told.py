"""What the states hand to Record failure: whether the previous release is back, and what was tried.

The state machine's own expressions are evaluated, from the state in question on.
"""

import marshal
from collections.abc import Callable
from typing import Any

import pytest

from deployer.deploy import diagnosis
from tests.simulation.asl import Machine, Run, StateError
from tests.template.conftest import MACHINES, States, definition

BACK = {"action": "ROLL_BACK", "reason": "rolling back to 1.0.0", "rollout": {"id": "ecs-svc/1"}}
FAILURE = {"Error": "RolloutFailed", "Cause": "3 new tasks failed"}


class Functions:
    """Functions that answer as a test says: with a result, or with a failure."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers, self.recorded = answers, dict[str, Any]()

    def now_text(self) -> str:
        return "2026-11-23T14:25:04Z"

    def sleep(self, seconds: float) -> None: ...

    def entered(self, name: str) -> None: ...

    def jitter(self) -> float:
        return 1.0

    def integrate(self, action: str, arguments: Any, timeout: float) -> Any:
        raise AssertionError(action)

    def call(self, function: str, payload: bytes, timeout: float) -> Any:
        if function == "RecordFailure":
            self.recorded = marshal.loads(payload)
            return {"outcome": "FAILED", "error": "an error", "cause": "a cause"}
        return self._answer(function)

    def call_back(self, function: str, arguments: Callable[[str], bytes], timeout: float) -> Any:
        arguments("a-token")
        return self._answer(function)

    def _answer(self, function: str) -> Any:
        answer = self.answers[function].pop(0)
        if isinstance(answer, StateError):
            raise answer
        return answer


def recorded(states: States, start: str, functions: Functions, **variables: Any) -> dict[str, Any]:
    """What Record failure is given by an execution that goes on from a state."""
    initial = states["Initialise"]["Assign"]
    machine = {"QueryLanguage": "JSONata", "TimeoutSeconds": 9, "StartAt": start, "States": states}
    run = Run(Machine(machine), functions, {"Id": "one", "StartTime": "now"}, {})
    run.variables = {name: None for name in initial} | {"restored": False} | variables
    with pytest.raises(StateError, match="a cause"):
        run()
    return functions.recorded


def verdict(health: str, error: str = "", reason: str = "1 of 1 new tasks running") -> Any:
    return {"health": health, "ended": False, "error": error, "reason": reason}


TIMED_OUT = verdict("FAILED", "RolloutTimedOut", "not steady in time: 0 of 1 running")
TRIED = (
    "{% $merge([$states.errorOutput, {'State': $states.context.State.Name,"
    " 'Tries': $sum([$states.context.State.RetryCount, 1])}]) %}"
)
UNAVAILABLE = StateError("AwsUnavailable", '{"errorMessage": "ECS throttles"}')


@pytest.mark.parametrize(
    ("looks", "restored", "why"),
    [
        ([verdict("STEADY")], True, None),
        ([verdict("ROLLING"), StateError("States.Timeout"), verdict("STEADY")], True, None),
        ([TIMED_OUT], False, "not steady in time: 0 of 1 running"),
        ([verdict("ROLLING"), TIMED_OUT], False, "not steady in time: 0 of 1 running"),
        ([StateError("Broken", "bad")], False, "bad"),
        (
            [UNAVAILABLE] * 7,
            False,
            "ECS throttles (Poll health of previous release was tried 7 times)",
        ),
    ],
    ids=["steady", "steady later", "not steady", "rolls and fails", "broken", "no answer"],
)
def test_the_previous_release_is_back_only_if_it_was_seen_steady(
    deploying: States, looks: list[Any], restored: bool, why: str | None
) -> None:
    result = recorded(
        deploying,
        "Poll health of previous release",
        Functions(PollHealth=looks),
        rollback=BACK,
        failure=FAILURE,
    )
    assert result["restored"] is restored
    assert result["failure"] == FAILURE, "what failed first is what is recorded"
    message = diagnosis.of_rollback(result["rollback"], restored, "service")
    assert message == (
        f"The rollback failed too: {why}. The service needs manual attention."
        if why
        else "The previous release is back and steady."
    )


@pytest.mark.parametrize(("tries", "message"), [(1, "bad"), (7, "was tried 7 times")])
def test_how_often_a_state_was_tried_is_told(deploying: States, tries: int, message: str) -> None:
    answers = [UNAVAILABLE] * 7 if tries > 1 else [StateError("PreflightFailed", "bad")]
    result = recorded(deploying, "Check preflight", Functions(CheckPreflight=answers))
    assert (result["failure"]["State"], result["failure"]["Tries"]) == ("Check preflight", tries)
    assert diagnosis.explain(result["failure"])[1].endswith(f"{message})" if tries > 1 else message)


def test_a_rollback_that_could_not_begin_says_why_and_how_often(deploying: States) -> None:
    functions = Functions(RollBack=[UNAVAILABLE] * 7)
    result = recorded(deploying, "Roll back", functions, failure=FAILURE)
    assert result["restored"] is False
    message = diagnosis.of_rollback(result["rollback"], False, "service")
    assert "ECS throttles (Roll back was tried 7 times)" in message


def test_every_failure_that_is_caught_tells_how_often_it_was_tried() -> None:
    output = 0
    for path in MACHINES:
        for name, state in definition(path)["States"].items():
            for catch in state.get("Catch", []):
                if failure := catch.get("Assign", {}).get("failure"):
                    fixed = failure != TRIED
                    assert not fixed or failure["Error"] == "LockLost", name
                    output += not fixed
    assert output > 20
