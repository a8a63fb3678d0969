"""ECS's events wake the execution that sleeps on their rollout, and nobody else."""

import json
from typing import Any

import pytest

import wake_execution
from deployer.aws import releases
from tests.unit.conftest import Script, refusal
from tests.unit.test_events import deployment_event, task_event

pytestmark = pytest.mark.usefixtures("releases_table")

DONE = deployment_event("SERVICE_DEPLOYMENT_COMPLETED", "done")


@pytest.mark.parametrize(("event", "told"), [(DONE, True), (task_event(), False)])
def test_an_event_wakes_the_execution_that_waits(
    script: Script, context: Any, event: Any, told: bool
) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    releases.remember_token("ecs-svc/1", "a-token")
    assert wake_execution.handler(event, context)
    (asked,) = script.asked("SendTaskSuccess")
    assert asked["taskToken"] == "a-token"
    output = json.loads(asked["output"])
    assert (output["health"], output["told"]) == ("ROLLING", told)


def test_an_event_of_a_rollout_that_nobody_waits_for_wakes_nobody(
    script: Script, context: Any
) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    releases.remember_token("ecs-svc/2", "a-token")
    assert not wake_execution.handler(DONE, context)
    assert script.asked("SendTaskSuccess") == []


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist"])
def test_an_event_that_comes_twice_or_late_does_no_harm(
    script: Script, context: Any, code: str
) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal(code))
    releases.remember_token("ecs-svc/1", "a-token")
    assert not wake_execution.handler(DONE, context)
