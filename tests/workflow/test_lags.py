"""Everything that AWS documents as eventually consistent, at once, around real deployments."""

from collections.abc import Iterator

import pytest

from demo.stage import Stage
from local_aws.aws import LocalAws

_SETTINGS = {"ECS_HEALTH_CHECK_SCALE": "0.2", "READ_LAG_SECONDS": "3", "WRITE_CONFLICTS": "1"}


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    with LocalAws.start(settings=_SETTINGS) as running:
        yield running


def test_pushes_go_live_though_reads_lag_and_writes_meet_transactions(aws: LocalAws) -> None:
    stage = Stage.set_up(aws, "lagging", kept=True)
    first = stage.deployed("1.0.0")
    assert first.status == "SUCCEEDED", (first.error, first.cause)
    # The second waits for the lock of an execution that DescribeExecution does not show yet.
    digests = [stage.release(version) for version in ("1.1.0", "1.2.0")]
    ends = [stage.ended(stage.started_by(digest)) for digest in digests]
    assert [end.status for end in ends] == ["SUCCEEDED"] * 2, [end.cause for end in ends]
    outcomes = [stage.record(digest)["outcome"] for digest in digests]
    assert "FAILED" not in outcomes and "IGNORED" not in outcomes
    served = stage.described()["taskDefinition"]
    assert stage.record(digests[outcomes.index("SUCCEEDED")])["taskDefinition"] == served
    log = aws.log.read_text()
    for befell in ("DescribeExecution does not", "DescribeImages does not", "meets a transaction"):
        assert befell in log
