"""Executions: waking, starting, and whether one still runs."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from deployer.aws import sfn
from tests.unit.conftest import Machine, Script, refusal
from tests.unit.samples import EXECUTION

LONG_AGO = "2020-01-01T00:00:00+00:00"


def test_an_execution_is_woken_with_what_it_is_told(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    assert sfn.wake("a-token", {"health": "ROLLING"})
    (request,) = script.requests("SendTaskSuccess")
    assert request["taskToken"] == "a-token"
    assert json.loads(request["output"]) == {"health": "ROLLING"}


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_an_execution_that_sleeps_no_more_need_not_be_woken(script: Script, code: str) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal(code))
    assert not sfn.wake("a-token", {})


def test_an_execution_that_may_not_be_woken_is_an_error(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        sfn.wake("a-token", {})


# executions


def test_an_execution_runs_until_it_ends_and_one_that_was_forgotten_does_not(
    machine: Machine,
) -> None:
    execution = machine.start("one")
    assert sfn.running(execution, LONG_AGO)
    machine.stop(execution)
    assert not sfn.running(execution, LONG_AGO)
    assert not sfn.running(execution.replace(":one", ":another"), LONG_AGO)


@pytest.mark.parametrize(("seconds", "runs"), [(0, True), (59, True), (61, False)])
def test_an_execution_that_is_not_found_may_have_just_started(
    script: Script, seconds: int, runs: bool
) -> None:
    """DescribeExecution is eventually consistent."""
    script("stepfunctions", "DescribeExecution", refusal("ExecutionDoesNotExist"))
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    assert sfn.running(EXECUTION, started.isoformat()) == runs


def test_an_execution_of_the_name_that_is_not_found_yet_is_not_started_twice(
    script: Script,
) -> None:
    script("stepfunctions", "StartExecution", refusal("ExecutionAlreadyExists"))
    script("stepfunctions", "DescribeExecution", refusal("ExecutionDoesNotExist"))
    assert not sfn.start("arn:aws:states:us-east-1:1:stateMachine:Deploy", "push-1", {})
    assert len(script.requests("StartExecution")) == 1


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_an_execution_that_ended_anyhow_runs_no_more(script: Script, status: str) -> None:
    described = {
        "executionArn": EXECUTION,
        "stateMachineArn": "arn",
        "status": status,
        "startDate": 0,
    }
    script("stepfunctions", "DescribeExecution", described)
    assert not sfn.running(EXECUTION, LONG_AGO)


def test_whether_an_execution_runs_is_not_guessed(script: Script) -> None:
    script("stepfunctions", "DescribeExecution", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        sfn.running(EXECUTION, LONG_AGO)


def test_an_execution_is_started_with_its_order(machine: Machine) -> None:
    assert sfn.start(machine.arn, "recover-1", {"action": "recover"})
    assert machine.executions() == {"recover-1": {"action": "recover"}}


def test_an_execution_is_not_started_while_one_of_its_name_runs(machine: Machine) -> None:
    machine.start("recover-1")
    assert not sfn.start(machine.arn, "recover-1", {"action": "recover"})
    assert list(machine.executions()) == ["recover-1"]


def test_an_execution_is_started_again_under_a_number_once_those_before_are_over(
    machine: Machine,
) -> None:
    for name in ("recover-1", "recover-1-2"):
        assert sfn.start(machine.arn, "recover-1", {"try": name})
        machine.stop(f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}")
    assert sfn.start(machine.arn, "recover-1", {"try": "third"})
    assert not sfn.start(machine.arn, "recover-1", {"try": "fourth"})
    assert machine.executions() == {"recover-1-3": {"try": "third"}}


def test_a_machine_that_is_not_there_is_an_error(machine: Machine) -> None:
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        sfn.start(f"{machine.arn}s", "recover-1", {})
