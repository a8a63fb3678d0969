"""Looking on where AWS does not answer for a while, as when a laptop changes its network."""

import time
from collections.abc import Callable

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from cli.screen import Screen
from deployer.aws.sfn import START_LAG
from deployer.errors import AwsUnavailable

# How a look fails that AWS did not answer.
UNANSWERED = (AwsUnavailable, NoConnectionError, HTTPClientError)
PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 2.0


def patiently[T](
    look: Callable[[], T],
    screen: Screen,
    patience: float = PATIENCE_SECONDS,
    pause: float = _PAUSE_SECONDS,
) -> T:
    """What a look finds, which is taken again where AWS does not answer, or where
    DescribeExecution does not find yet what has just started. It must change nothing.

    Args:
        patience: seconds after which its error is raised.
        pause: seconds between two looks.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return look()
        except UNANSWERED:
            if time.monotonic() - began > patience:
                raise
        except ClientError as error:
            just_started = error.response["Error"]["Code"] == "ExecutionDoesNotExist"
            if not just_started or time.monotonic() - began > START_LAG.total_seconds():
                raise
            time.sleep(pause)
            continue
        if not told:
            screen.say("AWS does not answer; trying again", style="yellow")
            told = True
        time.sleep(pause)
