"""Log lines from CloudWatch Logs."""

import time

import pytest

from deployer.aws import client, logs


@pytest.fixture
def stream(aws: None) -> str:
    client("logs").create_log_group(logGroupName="/ecs/coder")
    client("logs").create_log_stream(logGroupName="/ecs/coder", logStreamName="ecs/coder/t1")
    return "ecs/coder/t1"


def write(stream: str, *lines: str) -> None:
    now = int(time.time() * 1000)
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


def test_a_log_group_is_there_or_not(stream: str) -> None:
    assert logs.group_exists("/ecs/coder")
    assert not logs.group_exists("/ecs/code")
