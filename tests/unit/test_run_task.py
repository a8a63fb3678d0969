"""A task before or after the rollout is run once, whatever befalls the function."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import run_task
import stop_task
from deployer.aws import client, ecs
from deployer.errors import AwsUnavailable, TaskStopping
from deployer.store import releases
from tests.unit.conftest import Clock, Script, refusal
from tests.unit.samples import REVISION, document, ours, payload, release, service, task

pytestmark = pytest.mark.usefixtures("lock_held")

SPEC = document(before={"command": ["migrate"], "timeout": 60}, after={"command": ["smoke"]})
BY = f"deployer-release/before/{release()['id']}"
RUNS = task(
    startedBy=BY,
    taskDefinitionArn=REVISION,
    desiredStatus="RUNNING",
    containers=[{"name": "coder"}],
)
DONE = RUNS | {
    "lastStatus": "STOPPED",
    "desiredStatus": "STOPPED",
    "stopCode": "EssentialContainerExited",
    "containers": [{"name": "coder", "exitCode": 0}],
}
FAILED = DONE | {"containers": [{"name": "coder", "exitCode": 3}]}


@pytest.fixture
def cluster(script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A cluster in which a task is about to run; its log has a line."""
    monkeypatch.setattr(ecs, "time", clock)
    monkeypatch.setattr(stop_task, "time", clock)
    releases.open_release(release())
    definition = {**document()["taskDefinition"], "family": "coder"}
    script("ecs", "DescribeTaskDefinition", {"taskDefinition": definition})
    script("ecs", "DescribeServices", {"services": [service(ours())]})
    script("ecs", "RunTask", {"tasks": [RUNS], "failures": []})
    script("ecs", "DescribeTasks", {"tasks": [RUNS]})
    script("ecs", "StopTask", {"task": RUNS})
    script("ecs", "ListTasks", {"taskArns": []})
    script("stepfunctions", "SendTaskSuccess", {})
    client("logs").create_log_group(logGroupName="/ecs/coder")
    names = {"logGroupName": "/ecs/coder", "logStreamName": "ecs/coder/t1"}
    client("logs").create_log_stream(**names)
    line = {"timestamp": int(time.time() * 1000), "message": "password=hunter2hunter2"}
    client("logs").put_log_events(**names, logEvents=[line])
    return script


def recorded(which: str = "before") -> Any:
    record: Any = releases.find("coder", release()["id"])
    return record[which]


def note(**changes: Any) -> None:
    """An earlier try has noted the task."""
    now = datetime.now(UTC).isoformat()
    run = {"startedBy": BY, "container": "coder", "command": ["migrate"], "timeout": 60}
    moments = {"requestedAt": now, "triedAt": now}
    releases.note(release(), before={**run, **moments, **changes})


def test_a_task_is_run_and_slept_on(cluster: Script, context: Any) -> None:
    progress = run_task.handler(payload(spec=SPEC), context)
    assert progress["health"] == "ROLLING"
    (request,) = cluster.requests("RunTask")
    assert request["taskDefinition"] == REVISION
    overrides = [{"name": "coder", "command": ["migrate"]}]
    assert request["overrides"] == {"containerOverrides": overrides}
    assert request["startedBy"] == BY
    assert recorded()["task"] == RUNS["taskArn"]
    assert not cluster.requests("SendTaskSuccess")


def test_a_later_poll_finds_the_task_and_records_its_end(cluster: Script, context: Any) -> None:
    run_task.handler(payload(spec=SPEC), context)
    cluster("ecs", "DescribeTasks", {"tasks": [DONE]})
    assert run_task.handler(payload(spec=SPEC), context)["health"] == "DONE"
    assert run_task.handler(payload(spec=SPEC), context)["health"] == "DONE"
    assert len(cluster.requests("RunTask")) == 1
    run = recorded()
    assert (run["exitCode"], run["failure"], run["log"]) == (0, None, ["password=***"])
    (first, *_) = cluster.requests("SendTaskSuccess")
    assert first["taskToken"] == "a-token"


def test_a_task_that_fails_is_named_for_the_diagnosis(cluster: Script, context: Any) -> None:
    cluster("ecs", "DescribeTasks", {"tasks": [FAILED]})
    progress = run_task.handler(payload(spec=SPEC), context)
    assert progress["error"] == "TaskFailed"
    assert progress["reason"] == "the task before the rollout exited with 3"
    assert progress["task"] == RUNS["taskArn"]


def test_a_lost_answer_is_asked_for_again_with_the_same_token(
    cluster: Script, context: Any
) -> None:
    cluster("ecs", "RunTask", refusal("ThrottlingException"), {"tasks": [RUNS], "failures": []})
    with pytest.raises(AwsUnavailable):
        run_task.handler(payload(spec=SPEC), context)
    run_task.handler(payload(spec=SPEC), context)
    first, second = cluster.requests("RunTask")
    assert first["clientToken"] == second["clientToken"]


def test_a_retry_with_other_parameters_finds_the_task_too(cluster: Script, context: Any) -> None:
    note()
    conflict = refusal("ConflictException")
    conflict.response["resourceIds"] = [RUNS["taskArn"]]  # type: ignore[typeddict-unknown-key]
    cluster("ecs", "RunTask", conflict)
    assert run_task.handler(payload(spec=SPEC), context)["health"] == "ROLLING"
    assert recorded()["task"] == RUNS["taskArn"]


def test_a_task_that_may_have_run_long_ago_is_not_run_again(cluster: Script, context: Any) -> None:
    note(requestedAt=(datetime.now(UTC) - timedelta(hours=2)).isoformat())
    progress = run_task.handler(payload(spec=SPEC), context)
    assert (progress["health"], cluster.requests("RunTask")) == ("FAILED", [])
    assert "not run again" in progress["reason"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (refusal("AccessDeniedException"), "TaskFamilyPattern"),
        (refusal("InvalidParameterException", "no subnet"), "no subnet"),
        ({"tasks": [], "failures": [{"reason": "Capacity is unavailable"}]}, "Capacity"),
    ],
    ids=["denied", "refused", "not placed"],
)
def test_what_ecs_does_not_run_fails(cluster: Script, context: Any, answer: Any, why: str) -> None:
    cluster("ecs", "RunTask", answer)
    progress = run_task.handler(payload(spec=SPEC), context)
    assert (progress["health"], progress["error"]) == ("FAILED", "TaskFailed")
    assert why in progress["reason"]
    assert recorded()["ran"] is False


def test_a_task_is_stopped_when_its_time_is_over(cluster: Script, context: Any) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    note(task=RUNS["taskArn"], deadline=past)
    assert run_task.handler(payload(spec=SPEC), context)["health"] == "ROLLING"
    (request,) = cluster.requests("StopTask")
    assert request["reason"] == "deployer: its time is over"
    cluster("ecs", "DescribeTasks", {"tasks": [DONE]})
    assert run_task.handler(payload(spec=SPEC), context)["error"] == "TaskTimedOut"


def test_the_log_need_not_be_readable(cluster: Script, context: Any) -> None:
    cluster("logs", "GetLogEvents", refusal("AccessDeniedException"))
    cluster("ecs", "DescribeTasks", {"tasks": [DONE]})
    assert run_task.handler(payload(spec=SPEC), context)["health"] == "DONE"
    assert recorded()["log"] == []


# Stop task


def test_a_task_that_runs_on_is_stopped_and_waited_for(cluster: Script, context: Any) -> None:
    run_task.handler(payload(spec=SPEC), context)
    cluster("ecs", "DescribeTasks", {"tasks": [RUNS]}, {"tasks": [DONE]})
    assert stop_task.handler(payload(spec=SPEC), context)["stopped"] == [RUNS["taskArn"]]
    assert len(cluster.requests("StopTask")) == 1
    assert recorded()["failure"] == "the task before the rollout was stopped with its deployment"
    assert stop_task.handler(payload(spec=SPEC), context)["stopped"] == []


def test_a_task_that_does_not_stop_is_waited_for_again(cluster: Script, context: Any) -> None:
    run_task.handler(payload(spec=SPEC), context)
    with pytest.raises(TaskStopping, match="before the rollout"):
        stop_task.handler(payload(spec=SPEC), context)
    assert "endedAt" not in recorded()


def test_a_task_whose_arn_was_not_recorded_is_found_by_its_release(
    cluster: Script, context: Any
) -> None:
    note()
    cluster("ecs", "ListTasks", {"taskArns": []}, {"taskArns": []}, {"taskArns": [RUNS["taskArn"]]})
    cluster("ecs", "DescribeTasks", {"tasks": [RUNS]}, {"tasks": [DONE]})
    assert stop_task.handler(payload(spec=SPEC), context)["stopped"] == [RUNS["taskArn"]]


def test_a_task_that_was_never_run_is_not_waited_for(cluster: Script, context: Any) -> None:
    note(triedAt=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())
    assert stop_task.handler(payload(spec=SPEC), context)["stopped"] == []
    assert recorded()["ran"] is False
