"""Retry reads while AWS does not answer, as when a laptop changes its network."""

import time
from collections.abc import Callable

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from cli.screen import Screen
from deployer.aws.sfn import START_LAG
from deployer.errors import AwsUnavailable

# Errors of a request that AWS did not answer.
UNANSWERED = (AwsUnavailable, NoConnectionError, HTTPClientError)
PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 2.0


def patiently[T](
    look: Callable[[], T],
    screen: Screen,
    patience: float = PATIENCE_SECONDS,
    pause: float = _PAUSE_SECONDS,
) -> T:
    """Return the result of a read, retried while AWS does not answer.

    Also retries if DescribeExecution does not find an execution that has just started.

    Args:
        look: the read; it must change nothing.
        patience: seconds after which its error is raised.
        pause: seconds between two attempts.
    """
    started, announced = time.monotonic(), False
    while True:
        try:
            return look()
        except UNANSWERED:
            if time.monotonic() - started > patience:
                raise
        except ClientError as error:
            just_started = error.response["Error"]["Code"] == "ExecutionDoesNotExist"
            if not just_started or time.monotonic() - started > START_LAG.total_seconds():
                raise
            time.sleep(pause)
            continue
        if not announced:
            screen.say("AWS does not answer; trying again", style="yellow")
            announced = True
        time.sleep(pause)
