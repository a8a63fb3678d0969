"""Log lines from CloudWatch Logs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


class Line(NamedTuple):
    """A line of a log; `id` is CloudWatch's unique event id."""

    id: str
    at: datetime
    stream: str
    text: str


def _logs() -> "CloudWatchLogsClient":
    return client("logs")  # type: ignore[no-any-return]


def last_lines(group: str, stream: str, count: int = 20) -> list[str]:
    """Return the last lines of a log stream; none if it does not exist (nothing was logged)."""
    return _read(group, stream, count, from_head=False)


def first_lines(group: str, stream: str, count: int) -> list[str]:
    """Return the first lines of a log stream; none if it does not exist."""
    return _read(group, stream, count, from_head=True)


def _read(group: str, stream: str, count: int, *, from_head: bool) -> list[str]:
    try:
        response = _logs().get_log_events(
            logGroupName=group, logStreamName=stream, limit=count, startFromHead=from_head
        )
    except _logs().exceptions.ResourceNotFoundException:
        return []
    return [event["message"].rstrip() for event in response["events"]]


def lines(
    group: str, prefix: str, since: datetime, until: datetime | None = None
) -> Iterator[Line]:
    """Yield the lines of the streams with a name prefix, in order of time.

    Args:
        since, until: the inclusive range, to the millisecond; None means until now.
    Raises:
        ResourceNotFoundException: the group does not exist.
    """
    pages = (
        _logs()
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=group,
            logStreamNamePrefix=prefix,
            startTime=_milliseconds(since),
            **({"endTime": _milliseconds(until)} if until else {}),  # type: ignore[arg-type]
        )
    )
    for page in pages:
        for event in page["events"]:
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield Line(event["eventId"], at, event["logStreamName"], event["message"].rstrip())


def begun(group: str, stream: str) -> datetime | None:
    """Return when the oldest kept line of a stream was written, or None if it has no line."""
    response = _logs().get_log_events(
        logGroupName=group, logStreamName=stream, limit=1, startFromHead=True
    )
    events = response["events"]
    return datetime.fromtimestamp(events[0]["timestamp"] / 1000, UTC) if events else None


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def group_exists(group: str) -> bool:
    """Return whether a log group exists."""
    try:
        _logs().describe_log_streams(logGroupName=group, limit=1)
    except _logs().exceptions.ResourceNotFoundException:
        return False
    return True
