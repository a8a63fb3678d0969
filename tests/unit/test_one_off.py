"""A task before or after a rollout: when it runs, what its end means, and the request to ECS."""

from datetime import timedelta
from typing import Any

import pytest

from deployer.deploy import one_off
from deployer.deploy.one_off import Step, TaskRun
from deployer.deploy.spec import OneOff
from tests.unit.samples import NOW, REVISION, ours, release, service, spec, task

ARN = "arn:aws:ecs:us-east-1:123456789012:task/coder/t1"
MIGRATE = OneOff(command=("migrate", "--token=hunter2hunter2"), container=None, timeout=60)
BEGUN = one_off.begun(MIGRATE, release(), "before", "coder", NOW)
RUNS = one_off.running(BEGUN, ARN, NOW)
EXITED = {"lastStatus": "STOPPED", "desiredStatus": "STOPPED"}


def shown(code: int | None = None, **changes: Any) -> dict[str, Any]:
    container = {"name": "coder"} | ({} if code is None else {"exitCode": code})
    return task(desiredStatus="RUNNING", containers=[container]) | changes


def stopped(code: int | None, stop_code: str, reason: str, **changes: Any) -> dict[str, Any]:
    return shown(code, **EXITED, stopCode=stop_code, stoppedReason=reason) | changes


@pytest.mark.parametrize(
    ("trigger", "before"),
    [("push", True), ("deploy", True), ("resume", True), ("rollback", False), ("restart", False)],
)
def test_the_task_before_is_for_new_code_and_the_one_after_for_every_release(
    trigger: Any, before: bool
) -> None:
    both = spec(before={"command": ["a"]}, after={"command": ["b"]})
    due = one_off.due(both, release(trigger=trigger))
    assert due == {"before": before, "after": True}
    assert one_off.due(spec(), release(trigger=trigger)) == {"before": False, "after": False}


EXIT = ("EssentialContainerExited", "Essential container in task exited")
BY_US = ("UserInitiated", f"{one_off.OURS}its command has ended")
BY_HAND = ("UserInitiated", "Task stopped by user")
UNPULLABLE = ("TaskFailedToStart", "CannotPullContainerError: no image.")


@pytest.mark.parametrize(
    ("task_shown", "failure"),
    [
        (stopped(0, *EXIT), None),
        (stopped(0, *BY_US), None),
        (stopped(3, *EXIT), "the task before the rollout exited with 3"),
        (
            stopped(0, *BY_HAND),
            "the task before the rollout was stopped before its command was done: Task stopped by"
            " user; container coder exited with 0",
        ),
        (
            stopped(None, *UNPULLABLE, startedAt=None),
            "the task before the rollout could not start: CannotPullContainerError: no image",
        ),
    ],
    ids=["done", "done beside a sidecar", "exit code", "stopped by hand", "not started"],
)
def test_a_task_that_stopped_is_judged_by_its_exit_code_and_who_stopped_it(
    task_shown: dict[str, Any], failure: str | None
) -> None:
    assert one_off.judge(RUNS, "before", task_shown, NOW) == Step(ended=True, failure=failure)


@pytest.mark.parametrize(
    ("task_shown", "after", "step"),
    [
        (shown(), 59, Step()),
        (shown(), 60, Step(stop="its time is over", late=True)),
        (shown(0), 5, Step(stop="its command has ended")),
        (None, 29, Step()),
    ],
    ids=["runs", "late", "a sidecar runs on", "not shown yet"],
)
def test_a_task_that_runs_is_stopped_in_time(
    task_shown: dict[str, Any] | None, after: float, step: Step
) -> None:
    assert one_off.judge(RUNS, "before", task_shown, NOW + timedelta(seconds=after)) == step


def test_reads_lag_behind_the_last_try_and_not_behind_the_first() -> None:
    later = NOW + timedelta(minutes=1)
    tried: TaskRun = {**RUNS, "triedAt": later.isoformat()}
    assert one_off.judge(tried, "before", None, later) == Step()


@pytest.mark.parametrize(
    ("task_shown", "why"), [(None, "its exit code is lost"), (shown(), "does not stop")]
)
def test_no_task_is_waited_for_without_end(task_shown: dict[str, Any] | None, why: str) -> None:
    step = one_off.judge(RUNS, "before", task_shown, NOW + timedelta(seconds=60 + 180))
    assert step.ended and why in str(step.failure)


def test_a_task_that_was_late_failed_whatever_its_exit_code() -> None:
    late: TaskRun = {**RUNS, "late": True}
    step = one_off.judge(late, "after", stopped(0, *BY_US), NOW)
    assert step.failure == "the task after the rollout was not done within 60 s, and was stopped"
    ended = one_off.ended(late, step.failure, None, [], NOW)
    assert one_off.progress(ended, "after")["error"] == "TaskTimedOut"


def test_the_record_holds_the_end_without_credentials() -> None:
    lines = ["password=hunter2hunter2", "x" * 900]
    ended = one_off.ended(RUNS, None, stopped(0, *EXIT), lines, NOW)
    assert "hunter2" not in repr(ended)
    assert (ended["exitCode"], len(ended["log"][1])) == (0, 500)
    assert one_off.progress(ended, "before")["health"] == "DONE"
    assert one_off.succeeded(ended) and not one_off.succeeded(RUNS)


@pytest.mark.parametrize(
    ("run", "may"),
    [
        (None, False),
        (BEGUN, True),
        (one_off.ended(RUNS, "exited with 1", stopped(1, *EXIT), [], NOW), True),
        (
            one_off.ended(RUNS, "no image", stopped(None, *UNPULLABLE, startedAt=None), [], NOW),
            False,
        ),
        (one_off.ended(RUNS, "its exit code is lost", None, [], NOW), True),
    ],
    ids=["none", "begun", "failed", "not started", "lost"],
)
def test_what_may_have_migrated_the_database(run: TaskRun | None, may: bool) -> None:
    assert one_off.may_have_run(run) is may


def test_a_retry_asks_ecs_again_only_while_it_remembers_the_token() -> None:
    assert one_off.token(release(), "before") == one_off.token(release(), "before")
    assert one_off.token(release(), "before") != one_off.token(release(), "after")
    assert len(one_off.token(release(), "after")) <= 64
    assert one_off.may_ask_again(BEGUN, NOW + timedelta(minutes=49))
    assert not one_off.may_ask_again(BEGUN, NOW + timedelta(minutes=51))


def test_the_task_runs_as_the_service_will() -> None:
    network = {"awsvpcConfiguration": {"subnets": ["subnet-2"]}}
    live = service(ours(networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}}))
    adopted = spec(serviceDefinition=None, strategy=None)
    same = one_off.as_it_will_be(adopted, live)
    assert same["networkConfiguration"] == {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    moved = spec(serviceDefinition={"networkConfiguration": network, "launchType": "FARGATE"})
    for before in (live, None):
        described = one_off.as_it_will_be(moved, before)
        by = one_off.started_by(release(), "before")
        asked = one_off.request(described, "coder", REVISION, "app", ["a"], "g", by, "token")
        assert asked["networkConfiguration"] == network
        assert asked["launchType"] == "FARGATE"
        assert asked["startedBy"] == f"deployer-release/before/{release()['id']}"
