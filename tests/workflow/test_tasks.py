"""A migration before the rollout and a smoke test after it, from the release's own image."""

import time
from collections.abc import Callable

import pytest

from demo.stage import Stage

# what the image of a version does with them, by the version that lies in it
MIGRATE = "echo migrating; if grep -q 1.1.1 release.json; then echo no such column; exit 3; fi"
SMOKE = "echo password=hunter2hunter2; ! grep -q 1.1.2 release.json"


def left(stage: Stage) -> list[str]:
    """What started the tasks of releases that still run."""
    ecs = stage.aws.client("ecs")
    arns = ecs.list_tasks(cluster=stage.cluster, family=f"{stage.service}-releases")["taskArns"]
    described = ecs.describe_tasks(cluster=stage.cluster, tasks=arns)["tasks"]
    return [t["startedBy"] for t in described if t["startedBy"].startswith("deployer-release/")]


@pytest.mark.walk
def test_a_migration_comes_before_the_rollout_and_a_smoke_test_after_it(live: Stage) -> None:
    live.specify(
        before={"command": ["sh", "-c", MIGRATE], "timeout": 60},
        after={"command": ["sh", "-c", SMOKE], "timeout": 60},
    )
    done = live.deployed("1.1.0")
    assert done.status == "SUCCEEDED", (done.error, done.cause)
    steps = ("Run task before", "Update service", "Verify release", "Run task after")
    assert tuple(name for name in dict.fromkeys(done.path) if name in steps) == steps
    record = live.records()[-1]
    assert (record["before"]["exitCode"], record["before"]["log"]) == (0, ["migrating"])
    assert (record["after"]["exitCode"], record["after"]["log"]) == (0, ["password=***"])
    good = record["taskDefinition"]

    # the migration fails: the service is untouched
    rollout = live.described()["deployments"][0]["id"]
    failed = live.deployed("1.1.1")
    assert (failed.status, failed.error) == ("FAILED", "TaskFailed")
    assert "Update service" not in failed.path
    record = live.records()[-1]
    assert record["outcome"] == "FAILED"
    assert record["reason"].startswith("the task before the rollout exited with 3.")
    assert "the service was not changed" in record["reason"]
    assert record["diagnosis"]["log"] == ["migrating", "no such column"]
    assert live.described()["deployments"][0]["id"] == rollout

    # the smoke test fails: the release goes back, without its tasks
    failed = live.deployed("1.1.2")
    assert (failed.status, failed.error) == ("FAILED", "TaskFailed")
    record = live.records()[-1]
    assert (record["outcome"], record["after"]["exitCode"]) == ("FAILED_ROLLED_BACK", 1)
    assert record["diagnosis"]["log"] == ["password=***"]
    assert live.described()["taskDefinition"] == good
    assert left(live) == []


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 180
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_deployment_stopped_meanwhile_leaves_no_task_running(live: Stage) -> None:
    live.specify(before={"command": ["sh", "-c", "exec sleep 600"], "timeout": 600})
    arn = live.started_by(live.release("1.1.0"))
    until(lambda: left(live))
    live.aws.client("stepfunctions").stop_execution(executionArn=arn)
    until(lambda: "outcome" in live.records()[-1])
    first, record = live.records()
    assert record["outcome"] == "FAILED"
    assert "the service was not changed" in record["reason"]
    failure = "the task before the rollout was stopped with its deployment"
    assert record["before"]["failure"] == failure
    assert left(live) == []
    assert live.described()["taskDefinition"] == first["taskDefinition"]
