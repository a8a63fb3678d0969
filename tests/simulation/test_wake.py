"""ECS's events, as its documents show them, wake the execution that waits for their rollout.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation import asl, runtime, worlds
from tests.simulation.engine import Box
from tests.simulation.world import World

COMPLETED = {
    "detail-type": "ECS Deployment State Change",
    "source": "aws.ecs",
    "resources": ["arn:aws:ecs:us-east-1:123456789012:service/coder/coder"],
    "detail": {
        "eventType": "INFO",
        "eventName": "SERVICE_DEPLOYMENT_COMPLETED",
        "deploymentId": "ecs-svc/1",
        "updatedAt": "2026-11-23T14:25:02Z",
        "reason": "ECS deployment ecs-svc/1 completed.",
    },
}
STOPPED = {
    "detail-type": "ECS Task State Change",
    "source": "aws.ecs",
    "detail": {"startedBy": "ecs-svc/1", "lastStatus": "STOPPED"},
}
EXITED = {
    **STOPPED,
    "detail": {**STOPPED["detail"], "stoppedReason": "Essential container in task exited"},  # type: ignore[dict-item]
}


@pytest.fixture
def world() -> Iterator[World]:
    result = worlds.world("checked", live=True)
    with runtime.within(result):
        yield result


@pytest.fixture
def waiting(world: World) -> Box:
    """Where an execution waits for rollout ecs-svc/1."""
    item = {"service": "rollout:ecs-svc/1", "id": "token", "token": "a-token"}
    world.table.put_item({"Item": {name: {"S": value} for name, value in item.items()}})
    box = world.sfn.tokens["a-token"] = Box()
    return box


def wake(world: World, event: Any) -> str:
    """How the workflow ends on an event."""
    box = Box()
    world.invoke("Wake", asl.packed(event), box)
    world.engine.run(world.engine.now + 60, lambda: box.full)
    return str(box.value[0])


@pytest.mark.parametrize(
    ("event", "ended", "reason"),
    [
        (COMPLETED, True, "SERVICE_DEPLOYMENT_COMPLETED: ECS deployment ecs-svc/1 completed."),
        (EXITED, False, "task stopped: Essential container in task exited"),
        (STOPPED, False, "task stopped: "),
    ],
)
def test_an_event_wakes_the_execution_to_look_and_is_no_verdict_itself(
    world: World, waiting: Box, event: Any, ended: bool, reason: str
) -> None:
    assert wake(world, event) == "done"
    output = {"health": "ROLLING", "ended": ended, "error": "", "reason": reason}
    assert waiting.value == ("done", output)


def test_an_event_of_a_rollout_that_nobody_waits_for_wakes_nobody(
    world: World, waiting: Box
) -> None:
    detail = {**STOPPED["detail"], "startedBy": "ecs-svc/2"}  # type: ignore[dict-item]
    assert wake(world, {**STOPPED, "detail": detail}) == "done"
    assert not waiting.full


@pytest.mark.parametrize("token", ["over", "unknown"])
def test_an_event_that_comes_late_or_twice_does_no_harm(
    world: World, waiting: Box, token: str
) -> None:
    if token == "over":
        world.sfn.tokens["a-token"] = None
    else:
        del world.sfn.tokens["a-token"]
    assert wake(world, COMPLETED) == "done"
    assert not waiting.full
