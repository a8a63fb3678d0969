"""Log lines from CloudWatch Logs."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from deployer.aws import client, logs
from tests.unit.conftest import Script


@pytest.fixture
def stream(aws: None) -> str:
    client("logs").create_log_group(logGroupName="/ecs/coder")
    client("logs").create_log_stream(logGroupName="/ecs/coder", logStreamName="ecs/coder/t1")
    return "ecs/coder/t1"


def write(stream: str, *lines: str, after: int = 0) -> None:
    """Write lines, a millisecond between two; the first so many milliseconds from now."""
    now = int(time.time() * 1000) + after
    client("logs").put_log_events(
        logGroupName="/ecs/coder",
        logStreamName=stream,
        logEvents=[
            {"timestamp": now + number, "message": line} for number, line in enumerate(lines)
        ],
    )


def test_the_last_lines_come_in_order(stream: str) -> None:
    write(stream, *[f"line {number}\n" for number in range(30)])
    assert logs.last_lines("/ecs/coder", stream, 3) == ["line 27", "line 28", "line 29"]
    assert len(logs.last_lines("/ecs/coder", stream)) == 20


def test_a_container_that_never_wrote_has_no_lines(stream: str) -> None:
    assert logs.last_lines("/ecs/coder", stream) == []
    assert logs.last_lines("/ecs/coder", "ecs/coder/another") == []
    assert logs.last_lines("/ecs/nobody", stream) == []


def test_lines_of_several_streams_come_in_order_of_time(stream: str) -> None:
    began = datetime.now(UTC)
    client("logs").create_log_stream(logGroupName="/ecs/coder", logStreamName="ecs/coder/t2")
    write(stream, "a ", "b")
    write("ecs/coder/t2", "c", after=100)  # moto does not order streams by time
    matches = list(logs.lines("/ecs/coder", "ecs/coder/", began - timedelta(seconds=1)))
    assert sorted(line.text for line in matches) == ["a", "b", "c"]
    assert [line.at for line in matches] == sorted(line.at for line in matches)
    assert {line.stream for line in matches} == {stream, "ecs/coder/t2"}
    assert len({line.id for line in matches}) == 3
    assert all(abs(line.at - began) < timedelta(minutes=1) for line in matches)
    assert list(logs.lines("/ecs/coder", "ecs/coder/", began + timedelta(hours=1))) == []
    long_ago = began - timedelta(days=2)
    assert list(logs.lines("/ecs/coder", "ecs/", long_ago, long_ago + timedelta(days=1))) == []


def test_when_a_stream_began(stream: str) -> None:
    assert logs.begun("/ecs/coder", stream) is None
    now = datetime.now(UTC)
    write(stream, "first", "second")
    began = logs.begun("/ecs/coder", stream)
    assert began is not None
    assert abs(began - now) < timedelta(minutes=1)


def test_only_streams_that_begin_so_are_asked_for(script: Script) -> None:
    page = {"events": [], "nextToken": "more"}  # a page may be empty and not the last
    line = {"eventId": "1", "timestamp": 1000, "message": "a\n", "logStreamName": "ecs/coder/t1"}
    script("logs", "FilterLogEvents", page, {"events": [line]})
    second = datetime.fromtimestamp(1, UTC)
    matches = list(logs.lines("/ecs/coder", "ecs/coder/", second, second))
    assert matches == [("1", second, "ecs/coder/t1", "a")]
    first, then = script.requests("FilterLogEvents")
    assert first["logStreamNamePrefix"] == "ecs/coder/"
    assert (first["startTime"], first["endTime"], then["nextToken"]) == (1000, 1000, "more")


def test_a_log_group_is_there_or_not(stream: str) -> None:
    assert logs.group_exists("/ecs/coder")
    assert not logs.group_exists("/ecs/code")
