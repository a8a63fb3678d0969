"""Waking a sleeping execution."""

import json
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

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
