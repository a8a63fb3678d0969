"""Waking sleeping executions."""

import json

import pytest
from botocore.exceptions import ClientError

from deployer.aws import sfn
from tests.unit.conftest import Script, refusal


def test_an_execution_is_woken_with_what_it_is_told(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    assert sfn.wake("a-token", {"health": "ROLLING"})
    (asked,) = script.asked("SendTaskSuccess")
    assert asked["taskToken"] == "a-token"
    assert json.loads(asked["output"]) == {"health": "ROLLING"}


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_an_execution_that_sleeps_no_more_need_not_be_woken(script: Script, code: str) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal(code))
    assert not sfn.wake("a-token", {})


def test_an_execution_that_may_not_be_woken_is_an_error(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        sfn.wake("a-token", {})
