"""Log lines from CloudWatch Logs."""

from typing import TYPE_CHECKING

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


def _logs() -> "CloudWatchLogsClient":
    return client("logs")  # type: ignore[no-any-return]


def last_lines(group: str, stream: str, count: int = 20) -> list[str]:
    """The last lines of a log stream; none if it does not exist (the container never wrote)."""
    return _some(group, stream, count, from_head=False)


def first_lines(group: str, stream: str, count: int) -> list[str]:
    """The first lines of a log stream; none if it does not exist."""
    return _some(group, stream, count, from_head=True)


def _some(group: str, stream: str, count: int, *, from_head: bool) -> list[str]:
    try:
        found = _logs().get_log_events(
            logGroupName=group, logStreamName=stream, limit=count, startFromHead=from_head
        )
    except _logs().exceptions.ResourceNotFoundException:
        return []
    return [event["message"].rstrip() for event in found["events"]]


def group_exists(group: str) -> bool:
    """Whether there is a log group of that name."""
    try:
        _logs().describe_log_streams(logGroupName=group, limit=1)
    except _logs().exceptions.ResourceNotFoundException:
        return False
    return True
