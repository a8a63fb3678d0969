"""Look, then sleep: the token is kept before the look, and a verdict wakes at once."""

import json
from typing import Any

import pytest

import poll_health
from deployer.store import table
from tests.unit.conftest import Clock, Script, refusal
from tests.unit.samples import (
    GROUP,
    before,
    crashed,
    document,
    ours,
    payload,
    rollout,
    service,
    task,
    unpullable,
)

pytestmark = pytest.mark.usefixtures("releases_table")

ROLLING = service(ours(rolloutState="IN_PROGRESS", runningCount=0), before(runningCount=1))
STEADY = service(ours(), before())
BALANCED = {
    "loadBalancers": [{"targetGroupArn": GROUP}],
    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
}


@pytest.fixture
def aws_shows(script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Scripts what each look shows: the services in turn, the running and the stopped tasks."""
    monkeypatch.setattr(poll_health, "time", clock)
    script("stepfunctions", "SendTaskSuccess", {})

    def shows(
        *services: dict[str, Any] | None,
        running: tuple[dict[str, Any], ...] = (),
        stopped: tuple[dict[str, Any], ...] = (),
    ) -> Script:
        by_status = {"RUNNING": running, "STOPPED": stopped}
        script(
            "ecs",
            "DescribeServices",
            *({"services": [described] if described else []} for described in services),
        )
        script(
            "ecs",
            "ListTasks",
            lambda request: {
                "taskArns": [t["taskArn"] for t in by_status[request["desiredStatus"]]]
            },
        )
        script(
            "ecs",
            "DescribeTasks",
            lambda request: {
                "tasks": [t for t in (*running, *stopped) if t["taskArn"] in request["tasks"]]
            },
        )
        return script

    return shows


def woken(script: Script) -> list[Any]:
    return [json.loads(call["output"]) for call in script.requests("SendTaskSuccess")]


def test_a_rollout_that_still_rolls_lets_the_execution_sleep(aws_shows: Any, context: Any) -> None:
    script = aws_shows(ROLLING)
    verdict = poll_health.handler(payload(), context)
    assert verdict["health"] == "ROLLING"
    assert woken(script) == []
    assert len(script.requests("DescribeServices")) == 1


def kept_token() -> Any:
    """Where statemachine/wake.asl.json looks for the token of rollout ecs-svc/1."""
    result = table.get("rollout:ecs-svc/1", "token")
    return result["token"] if result else None


def test_whoever_brings_the_news_finds_the_token(aws_shows: Any, context: Any) -> None:
    aws_shows(ROLLING)
    poll_health.handler(payload(token="the-newest"), context)
    assert kept_token() == "the-newest"


def test_the_token_is_kept_before_the_look(aws_shows: Any, context: Any) -> None:
    """Else an event that comes between the look and the keeping would be lost."""
    script = aws_shows(ROLLING)
    kept: list[Any] = []

    def look(_: dict[str, Any]) -> dict[str, Any]:
        kept.append(kept_token())
        return {"services": [ROLLING]}

    script("ecs", "DescribeServices", look)
    poll_health.handler(payload(), context)
    assert kept == ["a-token"]


@pytest.mark.parametrize(
    ("shown", "health", "error"),
    [
        (STEADY, "STEADY", ""),
        (service(ours(rolloutState="FAILED")), "FAILED", "RolloutFailed"),
        (None, "FAILED", "ServiceMissing"),
        (service(ours(), desiredCount=0), "FAILED", "ServiceScaledDown"),
    ],
    ids=["steady", "failed", "deleted", "scaled to zero"],
)
def test_a_verdict_wakes_the_execution_at_once(
    aws_shows: Any, context: Any, shown: Any, health: str, error: str
) -> None:
    script = aws_shows(shown)
    verdict = poll_health.handler(payload(), context)
    assert (verdict["health"], verdict["error"]) == (health, error)
    assert woken(script) == [verdict]
    assert script.requests("SendTaskSuccess")[0]["taskToken"] == "a-token"


def test_tasks_that_die_are_counted_by_ourselves(aws_shows: Any, context: Any) -> None:
    aws_shows(ROLLING, stopped=tuple(crashed(f"t{number}") for number in range(3)))
    verdict = poll_health.handler(payload(spec=document(failureThreshold=3)), context)
    assert (verdict["health"], verdict["error"]) == ("FAILED", "RolloutFailed")


def test_a_failure_that_cannot_heal_is_called_at_the_first_look(
    aws_shows: Any, context: Any
) -> None:
    script = aws_shows(ROLLING, stopped=(unpullable(),))
    assert poll_health.handler(payload(), context)["health"] == "FAILED"
    assert len(woken(script)) == 1


def test_a_rollout_that_takes_too_long_is_over(aws_shows: Any, context: Any) -> None:
    aws_shows(ROLLING)
    late = rollout(deadline="2020-01-01T00:00:00+00:00")
    assert poll_health.handler(payload(rollout=late), context)["error"] == "RolloutTimedOut"


# looking again, where ECS has told that the rollout ended


def test_an_event_that_is_ahead_of_the_read_is_insisted_on(
    aws_shows: Any, context: Any, clock: Clock
) -> None:
    script = aws_shows(ROLLING, ROLLING, ROLLING, STEADY)
    verdict = poll_health.handler(payload(ended=True), context)
    assert verdict["health"] == "STEADY"
    assert len(script.requests("DescribeServices")) == 4
    assert len(clock.sleeps) == 3


def test_insisting_has_an_end(aws_shows: Any, context: Any, clock: Clock) -> None:
    script = aws_shows(ROLLING)
    assert poll_health.handler(payload(ended=True), context)["health"] == "ROLLING"
    assert 1 < len(script.requests("DescribeServices")) < 20
    assert sum(clock.sleeps) < 10


# baking


def test_a_rollout_that_bakes_wakes_the_execution_to_wait(aws_shows: Any, context: Any) -> None:
    script = aws_shows(STEADY, running=(task("t1"), task("t9", startedBy="ecs-svc/0")))
    verdict = poll_health.handler(payload(rollout=rollout(bake=10**9)), context)
    assert (verdict["health"], woken(script)) == ("BAKING", [verdict])
    assert poll_health.handler(payload(rollout=rollout(bake=1)), context)["health"] == "STEADY"


def test_the_alarms_of_a_rollout_are_looked_at(aws_shows: Any, context: Any) -> None:
    script = aws_shows(ROLLING)
    errors = {"AlarmName": "errors", "StateValue": "ALARM", "StateReason": "5 of 5"}
    script("cloudwatch", "DescribeAlarms", {"CompositeAlarms": [errors]})
    verdict = poll_health.handler(payload(rollout=rollout(alarms=["errors"])), context)
    assert (verdict["error"], verdict["reason"]) == (
        "AlarmRaised",
        "alarm errors is raised: 5 of 5",
    )
    (request,) = script.requests("DescribeAlarms")
    assert request["AlarmNames"] == ["errors"]


# behind a load balancer


@pytest.mark.parametrize(
    ("healthy", "health"), [(["10.0.0.5"], "STEADY"), ([], "ROLLING"), (["10.0.0.9"], "ROLLING")]
)
def test_the_rollouts_own_tasks_must_be_healthy_targets(
    aws_shows: Any, context: Any, healthy: list[str], health: str
) -> None:
    running = (task("t1"), task("t9", startedBy="ecs-svc/0"))
    script = aws_shows(STEADY | BALANCED, running=running)
    targets = [
        {"Target": {"Id": address}, "TargetHealth": {"State": "healthy"}} for address in healthy
    ]
    script("elbv2", "DescribeTargetHealth", {"TargetHealthDescriptions": targets})
    verdict = poll_health.handler(payload(), context)
    assert verdict["health"] == health
    if health == "ROLLING":
        assert "t1" in verdict["reason"] and "t9" not in verdict["reason"]


def test_an_execution_that_was_woken_meanwhile_is_left_alone(aws_shows: Any, context: Any) -> None:
    script = aws_shows(STEADY)
    script("stepfunctions", "SendTaskSuccess", refusal("TaskDoesNotExist"))
    assert poll_health.handler(payload(), context)["health"] == "STEADY"
