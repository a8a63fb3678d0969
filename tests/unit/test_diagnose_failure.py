"""Why did it fail: what the failed tasks, the service's events and the log say."""

import time
from typing import Any

import pytest

import diagnose_failure
from deployer.aws import client
from tests.unit.conftest import Script
from tests.unit.samples import (
    REVISION,
    crashed,
    document,
    ours,
    payload,
    service,
    task,
    unpullable,
)


@pytest.fixture
def failed(script: Script) -> Any:
    """Scripts the tasks that the rollout left; each has a log that says who wrote it."""
    client("logs").create_log_group(logGroupName="/ecs/coder")

    def tasks(*described: dict[str, Any]) -> None:
        for entry in described:
            name = entry["taskArn"].rsplit("/", 1)[-1]
            stream = f"ecs/coder/{name}"
            client("logs").create_log_stream(logGroupName="/ecs/coder", logStreamName=stream)
            event = {"timestamp": int(time.time() * 1000), "message": f"{name}: password=hunter2"}
            client("logs").put_log_events(
                logGroupName="/ecs/coder", logStreamName=stream, logEvents=[event]
            )
        script(
            "ecs",
            "ListTasks",
            lambda request: {
                "taskArns": [
                    entry["taskArn"]
                    for entry in described
                    if entry["lastStatus"] == request["desiredStatus"]
                ]
            },
        )
        script(
            "ecs",
            "DescribeTasks",
            lambda request: {"tasks": [e for e in described if e["taskArn"] in request["tasks"]]},
        )
        script("ecs", "DescribeTaskDefinition", {"taskDefinition": document()["taskDefinition"]})
        events = [{"message": f"event {number}"} for number in range(9)]
        script("ecs", "DescribeServices", {"services": [service(ours(), events=events)]})

    return tasks


def test_a_crash_is_explained_by_the_last_failed_tasks_log(failed: Any, context: Any) -> None:
    failed(crashed("t1"), crashed("t2"), task("t3"))
    began_before_an_upgrade: Any = {k: v for k, v in payload().items() if k != "task"}
    result = diagnose_failure.handler(began_before_an_upgrade, context)
    assert result["kind"] == "crash"
    assert result["log"] == ["t2: password=***"]
    assert result["events"][0] == "event 0"
    assert len(result["events"]) <= 10


def test_a_release_that_runs_and_fails_is_explained_by_its_own_log(
    failed: Any, context: Any
) -> None:
    failed(task("t1"), task("t2", startedBy="ecs-svc/0"))
    failure = {"Error": "WrongVersion", "Cause": "it serves 1"}
    result = diagnose_failure.handler(payload(failure=failure), context)
    assert result["kind"] == "WrongVersion"
    assert result["log"] == ["t1: password=***"]


def test_a_sidecar_that_failed_is_explained_by_its_own_log(
    failed: Any, script: Script, context: Any
) -> None:
    (app,) = document()["taskDefinition"]["containerDefinitions"]
    logging = {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/proxy"}}
    logging["options"]["awslogs-stream-prefix"] = "side"  # type: ignore[index]
    proxy = {"name": "proxy", "image": "proxy", "essential": False, "logConfiguration": logging}
    containers = [{"name": "coder", "exitCode": 0}, {"name": "proxy", "exitCode": 1}]
    failed(crashed("t1", containers=containers))
    definition = {"containerDefinitions": [app, proxy]}
    script("ecs", "DescribeTaskDefinition", {"taskDefinition": definition})
    client("logs").create_log_group(logGroupName="/ecs/proxy")
    client("logs").create_log_stream(logGroupName="/ecs/proxy", logStreamName="side/proxy/t1")
    event = {"timestamp": int(time.time() * 1000), "message": "no upstream"}
    client("logs").put_log_events(
        logGroupName="/ecs/proxy", logStreamName="side/proxy/t1", logEvents=[event]
    )
    assert diagnose_failure.handler(payload(), context)["log"] == ["no upstream"]


def test_a_task_before_or_after_the_rollout_is_explained_by_its_own_log(
    failed: Any, context: Any
) -> None:
    one_off = crashed("t2", taskDefinitionArn=REVISION, startedBy="deployer-release/after/x")
    failed(crashed("t1"), one_off)
    failure = {"Error": "TaskFailed", "Cause": "the task after the rollout exited with 1"}
    event = payload(failure=failure, task=one_off["taskArn"])
    result = diagnose_failure.handler(event, context)
    assert (result["error"], result["kind"], result["cause"]) == (
        "TaskFailed",
        "crash",
        failure["Cause"],
    )
    assert result["log"] == ["t2: password=***"]


def test_a_task_that_never_started_has_no_log(failed: Any, context: Any) -> None:
    failed(unpullable("t1"))
    client("logs").delete_log_stream(logGroupName="/ecs/coder", logStreamName="ecs/coder/t1")
    result = diagnose_failure.handler(payload(), context)
    assert (result["kind"], result["log"]) == ("image", [])


def test_a_failure_without_a_rollout_is_explained_by_its_error(
    script: Script, context: Any
) -> None:
    script("ecs", "DescribeServices", {"services": []})
    failure = {"Error": "ServiceDraining", "Cause": "it drains"}
    result = diagnose_failure.handler(payload(rollout=None, failure=failure), context)
    assert (result["kind"], result["cause"], result["log"]) == ("ServiceDraining", "it drains", [])
