"""An execution is followed: its states, and what the rollout's tasks say meanwhile."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from cli.executions import Execution, State, states
from cli.follow import BuildWatch, Watch, conclude, follow
from cli.screen import Screen, standing, steps

BEFORE = (State("Identify release", 0.1, left=0.2), State("Update service", 0.3))
DURING = (*BEFORE, State("Poll health", 1.0))
AFTER = (*DURING, State("Diagnose failure", 4.0))


def execution(states: Sequence[State], status: str = "RUNNING") -> Execution:
    return Execution("arn:e", status, {}, "", "", None, states, 5.0)


def followed(*seen: Execution, news: Iterator[list[str]]) -> str:
    looks, stream = iter(seen), io.StringIO()
    follow(lambda: next(looks), Screen(stream), 60, pause=0, news=lambda: next(news))
    return stream.getvalue()


def test_lines_are_told_while_the_rollout_goes_on_and_once_after() -> None:
    news = iter([["a: starts"], ["a: crashes"], ["never asked for"]])
    ended = execution(AFTER, "FAILED")
    shown = followed(execution(BEFORE), execution(DURING), execution(AFTER), ended, news=news)
    assert "a: starts" in shown
    assert shown.index("Poll health") < shown.index("a: crashes") < shown.index("Diagnose failure")
    assert next(news) == ["never asked for"]


def test_what_was_said_last_is_told_where_the_rollout_was_the_end() -> None:
    news = iter([["a: starts"], ["a: last words"]])
    ended = execution([*DURING, State("Failed", 4.0, "Fail")], "FAILED")
    assert "a: last words" in followed(execution(DURING), ended, news=news)


class Logs:
    """CloudWatch Logs with one stream, which gives its lines bit by bit."""

    class exceptions:
        ResourceNotFoundException = KeyError

    def __init__(self, *given: list[str]) -> None:
        self.given, self.asked = list(given), list[tuple[str, str]]()

    def client(self, service: str) -> "Logs":
        assert service == "logs"
        return self

    def get_log_events(self, **asked: Any) -> dict[str, Any]:
        self.asked.append((asked["logGroupName"], asked["logStreamName"]))
        number = int(asked.get("nextToken", 0))
        if not self.given[number]:
            raise KeyError
        events = [{"message": f"{line}\n"} for line in self.given[number]]
        return {"events": events, "nextForwardToken": str(number + 1)}


def test_a_build_tells_its_phases_and_what_its_commands_print() -> None:
    submitted = {"Build": {"Id": "docs:1-2", "Logs": {"CloudWatchLogs": {"GroupName": "builds"}}}}
    building = State("Build docs", 1.0, submitted=submitted)
    done = replace(building, left=9.0)
    stamp = "[Container] 2026/11/29 18:00:00.000000"
    logs = Logs(
        [f"{stamp} Entering phase INSTALL", f"{stamp} Running command npm ci", "added 9 packages"],
        [f"{stamp} Entering phase BUILD", *(f"page {number}" for number in range(20))],
        ["last words"],
        ["never asked for"],
    )
    looks = iter(
        [execution([building]), execution([building]), execution([done]), execution([done], "OK")]
    )
    stream = io.StringIO()
    follow(lambda: next(looks), Screen(stream), 60, pause=0, build=BuildWatch(logs))  # type: ignore[arg-type]
    shown = stream.getvalue()
    assert "added 9 packages" in shown and "last words" in shown
    assert "8 more lines" in shown and "page 19" in shown and "page 3\n" not in shown
    assert "npm ci" not in shown and "never asked for" not in shown
    assert shown.index("phase install") < shown.index("added 9") < shown.index("phase build")
    assert set(logs.asked) == {("builds", "1-2")}


def test_the_counts_of_a_rollout() -> None:
    ours = {"taskDefinition": "arn:aws:ecs:x:1:task-definition/demo:2", "status": "PRIMARY"}
    counts = {"runningCount": 1, "desiredCount": 3, "pendingCount": 2, "failedTasks": 1}
    before = {"status": "ACTIVE", "runningCount": 3}
    output = standing({"deployments": [ours | counts, before]})
    assert output == "demo:2, 1 of 3 running, 2 pending, 3 from before, 1 failed"


def concluded(output: object, **record: object) -> str:
    stream = io.StringIO()
    ended = Execution("arn:e", "SUCCEEDED", {}, "", "", output, AFTER, 0.0)
    conclude({"outcome": "SUCCEEDED", **record}, ended, Screen(stream))
    return stream.getvalue()


def test_an_execution_that_deploys_nothing_says_so_and_why() -> None:
    """Its pointer may lead to another execution's record, which was deployed."""
    output = {"decision": "NOTHING", "reason": "this push is release 1"}
    assert concluded(output) == "Nothing was deployed: this push is release 1\n"
    why = "nothing was deployed, since coder:7 runs already, of 1.2.0 (1); it serves version 1.2.0"
    ran = concluded({"outcome": "SUCCEEDED"}, deployed=False, reason=why, url="http://a")
    assert ran == f"N{why[1:]}\n".replace("deployed, since", "deployed: since")
    assert concluded({"outcome": "SUCCEEDED"}, deployed=True) == concluded({})
    assert concluded({"outcome": "SUCCEEDED"}) == "Live and verified after 0.0 s\n"
    assert concluded({}, url="http://a").endswith("Live and verified after 0.0 s: http://a\n")


def test_how_often_a_state_was_tried_is_shown() -> None:
    begun = datetime(2026, 11, 23, tzinfo=UTC)
    entered = {"stateEnteredEventDetails": {"name": "Check preflight"}}
    kinds = ["TaskStateEntered", *["LambdaFunctionScheduled", "LambdaFunctionFailed"] * 3]
    events = [{"type": kind, "timestamp": begun} for kind in kinds]
    (state,) = states([events[0] | entered, *events[1:]], begun)
    assert state.tries == 3
    failed = replace(state, output={"Error": "AwsUnavailable", "Cause": "no answer"})
    (step,) = steps(execution([failed]))
    assert (step.note, step.tries) == ("AwsUnavailable: no answer; 3 tries", 3)
    (step,) = steps(execution([replace(state, tries=1)]))
    assert (step.note, step.tries) == ("", 1)


def test_a_rollback_that_was_not_steady_is_said() -> None:
    rollback = {
        **{"action": "ROLL_BACK", "reason": "rolling back to 1.0.0"},
        "failure": {"Error": "RolloutTimedOut", "Cause": "0 of 1 running"},
    }
    matches = {"cause": "it crashed", "stops": [], "log": [], "advice": "mend it"}
    record = {"outcome": "FAILED", "service": "coder", "diagnosis": matches, "rollback": rollback}
    stream = io.StringIO()
    conclude(record, execution(AFTER, "FAILED"), Screen(stream))
    assert "The rollback failed too: 0 of 1 running." in stream.getvalue()


def test_a_state_without_an_answer_is_not_shown_as_done() -> None:
    answers = ({"verdict": "PENDING", "reason": "no answer on /"}, {"verdict": "VERIFIED"})
    states = [State("Verify release", at, left=at + 1, output=o) for at, o in enumerate(answers)]
    between = State("Poll health", 1.5, left=1.6, output={"health": "ROLLING"})
    shown = steps(execution([states[0], between, states[1]]))
    assert [step.pending for step in shown] == [True, True, False]


def test_the_tasks_before_and_after_a_rollout_are_followed_to_their_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = {"before": {"task": "arn:1"}, "after": {"startedBy": "x"}}
    holder = iter([{"release": "r"}, None])
    monkeypatch.setattr("cli.follow.locks.queue", lambda _: SimpleNamespace(holder=next(holder)))
    monkeypatch.setattr("cli.follow.releases.find", lambda *_: runs)
    monkeypatch.setattr(
        "cli.follow.ecs.existing_tasks", lambda _, arns: [{"taskArn": a} for a in arns]
    )
    spec = SimpleNamespace(cluster="coder", before=object(), after=None, parts=())
    target: Any = SimpleNamespace(service="coder", spec=spec)
    watch = Watch(target, datetime.now(UTC))
    own: list[Any] = [(spec, {"taskArn": "arn:1"})]
    assert [*watch._tasks()] == own
    assert [*watch._tasks()] == own, "once more after the lock was released"
