"""Executions of the deployer's state machines: wake, start, stop, and see what one does."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

START_LAG = timedelta(seconds=60)
"""How long DescribeExecution may not find an execution that has started."""

_EVENTS_OF_A_STATE = 100  # more than all tries of one state write

# The execution woke by itself, was stopped, or was woken already.
_ASLEEP_NO_MORE = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")


def _sfn() -> "SFNClient":
    return client("stepfunctions")  # type: ignore[no-any-return]


def wake(token: str, output: Any) -> bool:
    """Complete the task that sleeps on a token; return False if it no longer sleeps."""
    try:
        _sfn().send_task_success(taskToken=token, output=json.dumps(output))
    except _sfn().exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _ASLEEP_NO_MORE:
            return False
        raise
    return True


def running(execution: str, started: str) -> bool:
    """Return whether an execution still runs.

    DescribeExecution is eventually consistent: a missing execution that started within START_LAG
    counts as running, an older one as ended.
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html

    Args:
        started: when it started, or an earlier moment; ISO 8601.
    """
    try:
        response = _sfn().describe_execution(executionArn=execution)
    except _sfn().exceptions.ExecutionDoesNotExist:
        return datetime.now(UTC) - datetime.fromisoformat(started) < START_LAG
    return response["status"] == "RUNNING"


def start(machine: str, name: str, request: Any, once: bool = False) -> bool:
    """Start an execution with a name; append a number if earlier ones of the name have ended.

    Args:
        once: do not start another if one of the name has ended.
    Returns:
        False if one of the name runs. One with exactly the same input may count as
        started (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html).
    """
    executions, execution_name, number = machine.replace(":stateMachine:", ":execution:"), name, 1
    now = datetime.now(UTC).isoformat()
    while True:
        try:
            _sfn().start_execution(
                stateMachineArn=machine, name=execution_name, input=json.dumps(request)
            )
        except _sfn().exceptions.ExecutionAlreadyExists:
            # one that exists but cannot be described has just started
            if once or running(f"{executions}:{execution_name}", now):
                return False
            number += 1
            execution_name = f"{name}-{number}"
        else:
            return True


def stop(execution: str, by: str) -> str:
    """Stop an execution.

    Args:
        by: who stops it.
    Returns:
        Its status afterwards: ABORTED, unless it had ended already.
    """
    _sfn().stop_execution(executionArn=execution, error="Cancelled", cause=f"by {by}")
    return str(_sfn().describe_execution(executionArn=execution)["status"])


def current_state(execution: str) -> str | None:
    """Return the state that an execution entered last; None if it is gone, or has just started."""
    try:
        history = _sfn().get_execution_history(
            executionArn=execution, reverseOrder=True, maxResults=_EVENTS_OF_A_STATE
        )
    except _sfn().exceptions.ExecutionDoesNotExist:
        return None
    entered = (event.get("stateEnteredEventDetails") for event in history["events"])
    return next((str(details["name"]) for details in entered if details), None)
