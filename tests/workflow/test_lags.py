"""Everything that AWS documents as eventually consistent, at once, around real deployments."""

import time
from collections.abc import Iterator

import pytest

from demo.stage import Stage
from local_aws.aws import LocalAws

_SETTINGS = {"ECS_HEALTH_CHECK_SCALE": "0.2", "READ_LAG_SECONDS": "6", "WRITE_CONFLICTS": "1"}


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    with LocalAws.start(settings=_SETTINGS) as running:
        yield running


def await_lock(stage: Stage, execution: str) -> None:
    deadline = time.monotonic() + 180
    while not any(
        item["id"] == "#lock" and item["execution"] == execution for item in stage.items()
    ):
        assert time.monotonic() < deadline, stage.items()
        time.sleep(0.02)


def test_pushes_go_live_though_reads_lag_and_writes_meet_transactions(aws: LocalAws) -> None:
    stage = Stage.set_up(aws, "lagging", kept=True)
    first = stage.deployed("1.0.0")
    assert first.status == "SUCCEEDED", (first.error, first.cause)
    newer = stage.release("1.1.0")
    assert stage.ended(stage.started_by(newer)).status == "SUCCEEDED"
    # The second begins while DescribeExecution does not show the first yet, which has the lock.
    requests = []
    for number in ("1.0.0", "1.1.0"):
        command = {"action": "deploy", "service": stage.service, "image": number}
        requests.append(stage.start(command))
        if len(requests) == 1:
            await_lock(stage, requests[0])
    ends = [stage.ended(command) for command in requests]
    assert [end.status for end in ends] == ["SUCCEEDED"] * 2, [end.cause for end in ends]
    records = stage.records()
    assert [record["outcome"] for record in records] == ["SUCCEEDED"] * 4
    assert records[-1]["taskDefinition"] == stage.described()["taskDefinition"]
    log = aws.log.read_text()
    for befell in ("DescribeExecution does not", "DescribeImages does not", "meets a transaction"):
        assert befell in log
