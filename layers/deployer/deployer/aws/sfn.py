"""Executions of our state machine: waking, starting, and whether one still runs."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

START_LAG = timedelta(seconds=60)
"""How long DescribeExecution may not find an execution that has started."""

# The execution woke by itself, was stopped, or was woken already: none needs a second waking.
_ASLEEP_NO_MORE = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")


def _sfn() -> "SFNClient":
    return client("stepfunctions")  # type: ignore[no-any-return]


def wake(token: str, output: Any) -> bool:
    """Complete the task that sleeps on a token; False if it sleeps no more."""
    try:
        _sfn().send_task_success(taskToken=token, output=json.dumps(output))
    except _sfn().exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _ASLEEP_NO_MORE:
            return False
        raise
    return True


def running(execution: str, started: str) -> bool:
    """Return whether an execution still runs.

    DescribeExecution is eventually consistent: an execution that is not found and started within
    START_LAG runs. One that Step Functions has forgotten does not.
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html

    Args:
        started: when it started, or an earlier moment; ISO 8601.
    """
    try:
        found = _sfn().describe_execution(executionArn=execution)
    except _sfn().exceptions.ExecutionDoesNotExist:
        return datetime.now(UTC) - datetime.fromisoformat(started) < START_LAG
    return found["status"] == "RUNNING"


def start(machine: str, name: str, request: Any, once: bool = False) -> bool:
    """Start an execution under a name of our choice; numbered, where earlier ones are over.

    Args:
        once: whether one that is over is enough.
    Returns:
        False if one of the name runs. One that was given the very same input may count as
        started (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html).
    """
    executions, numbered, number = machine.replace(":stateMachine:", ":execution:"), name, 1
    now = datetime.now(UTC).isoformat()
    while True:
        try:
            _sfn().start_execution(
                stateMachineArn=machine, name=numbered, input=json.dumps(request)
            )
        except _sfn().exceptions.ExecutionAlreadyExists:
            # one that exists and is not found has only just started
            if once or running(f"{executions}:{numbered}", now):
                return False
            number += 1
            numbered = f"{name}-{number}"
        else:
            return True
