"""CloudWatch Logs: lines of many streams in order, by the beginning of their names, in pages."""

import time
from typing import Any

import pytest

from local_aws.aws import LocalAws


@pytest.fixture
def group(aws: LocalAws, name: str) -> str:
    aws.client("logs").create_log_group(logGroupName=name)
    return name


def write(aws: LocalAws, group: str, stream: str, *lines: tuple[int, str]) -> None:
    logs = aws.client("logs")
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": at, "message": text} for at, text in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def pages(aws: LocalAws, group: str, **request: Any) -> list[list[str]]:
    response = aws.client("logs").get_paginator("filter_log_events")
    return [
        [event["message"] for event in page["events"]]
        for page in response.paginate(logGroupName=group, **request)
    ]


def test_streams_are_found_by_the_beginning_of_their_names(aws: LocalAws, group: str) -> None:
    now = int(time.time() * 1000)
    write(aws, group, "ecs/app/one", (now, "a"), (now + 2, "c"))
    write(aws, group, "ecs/app/two", (now + 1, "b"))
    write(aws, group, "ecs/proxy/one", (now, "x"))
    assert pages(aws, group, logStreamNamePrefix="ecs/app/") == [["a", "b", "c"]]
    assert pages(aws, group, logStreamNamePrefix="ecs/none/") == [[]]


def test_pages_lose_and_repeat_nothing(aws: LocalAws, group: str) -> None:
    now = int(time.time() * 1000)
    lines = [(now + index // 3, f"{index:02}") for index in range(20)]
    write(aws, group, "one", *lines)
    result = pages(aws, group, PaginationConfig={"PageSize": 4})
    assert [len(page) for page in result[:5]] == [4, 4, 4, 4, 4]
    assert [text for page in result for text in page] == [text for _, text in lines]
    write(aws, group, "large", *((now + 100, "x" * 200_000) for _ in range(7)))
    assert [len(page) for page in pages(aws, group, startTime=now + 100)] == [5, 2]
