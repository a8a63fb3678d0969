"""Log lines from CloudWatch Logs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


class Queue(NamedTuple):
    """A line of a log; `id` is CloudWatch's own, no other line has it."""

    id: str
    at: datetime
    stream: str
    text: str


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


def lines(
    group: str, prefix: str, since: datetime, until: datetime | None = None
) -> Iterator[Queue]:
    """The lines of the streams whose name begins with a prefix, in order of time, as they are
    read. Raises ResourceNotFoundException if there is no such group.

    Args:
        since, until: of the lines; both belong to it, to the millisecond. None is until now.
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
            yield Queue(event["eventId"], at, event["logStreamName"], event["message"].rstrip())


def begun(group: str, stream: str) -> datetime | None:
    """When the first line of a stream was written, of those still kept; None if there is none."""
    found = _logs().get_log_events(
        logGroupName=group, logStreamName=stream, limit=1, startFromHead=True
    )
    return next((datetime.fromtimestamp(e["timestamp"] / 1000, UTC) for e in found["events"]), None)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def group_exists(group: str) -> bool:
    """Whether there is a log group of that name."""
    try:
        _logs().describe_log_streams(logGroupName=group, limit=1)
    except _logs().exceptions.ResourceNotFoundException:
        return False
    return True
