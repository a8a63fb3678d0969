"""A rollout is judged by its own id, from what one look at the service and its tasks shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deploy import rollout
from deployer.deploy.rollout import READ_LAG, Verdict
from tests.unit.samples import (
    NOW,
    OLD_REVISION,
    REVISION,
    before,
    crashed,
    ours,
    service,
    task,
    unpullable,
)
from tests.unit.samples import rollout as started

LATER = NOW + timedelta(seconds=900)
SOMEBODY = before(
    id="ecs-svc/2",
    status="PRIMARY",
    taskDefinition=f"{REVISION}9",
    createdAt=NOW - timedelta(seconds=5),
)


def judge(
    described: dict[str, Any] | None,
    *stopped: dict[str, Any],
    unready: tuple[str, ...] = (),
    threshold: int = 3,
    now: datetime = NOW,
    running: tuple[dict[str, Any], ...] = (),
    alarms: tuple[str, ...] = (),
    **changes: Any,
) -> Verdict:
    begun = started(**changes)
    return rollout.judge(described, begun, stopped, unready, threshold, now, running, alarms)


@dataclass(frozen=True)
class Look:
    """What one look at the service shows, and what it must be called."""

    says: str
    service: dict[str, Any] | None
    health: str
    error: str = ""
    begun: timedelta = timedelta(seconds=60)


ROLLING = ours(rolloutState="IN_PROGRESS", runningCount=0, pendingCount=1)
NOT_YET = service(before(status="PRIMARY", runningCount=1))
LOOKS = (
    Look("ours is complete and alone", service(ours(), before()), "STEADY"),
    Look("ours is complete and the old one gone", service(ours()), "STEADY"),
    Look("nothing of ours runs yet", service(ROLLING, before(runningCount=1)), "ROLLING"),
    Look("ours runs but ECS is not done", service(ours(rolloutState="IN_PROGRESS")), "ROLLING"),
    Look("ours is complete, old tasks remain", service(ours(), before(runningCount=1)), "ROLLING"),
    Look("ours is complete with nothing running", service(ours(runningCount=0)), "ROLLING"),
    Look(
        "autoscaling wants more than runs",
        service(ours(desiredCount=3, runningCount=1), desiredCount=3),
        "STEADY",
    ),
    Look(
        "autoscaling wants less than runs",
        service(ours(desiredCount=1, runningCount=3), desiredCount=1),
        "STEADY",
    ),
    Look(
        "the breaker gave ours up, with nothing to go back to",
        service(ours(rolloutState="FAILED", runningCount=0)),
        "FAILED",
        "RolloutFailed",
    ),
    Look(
        "the breaker gave ours up and went back",
        service(
            before(status="PRIMARY", rolloutState="IN_PROGRESS"),
            ours(status="ACTIVE", rolloutState="FAILED"),
        ),
        "FAILED",
        "RolledBackByECS",
    ),
    Look(
        "ECS went back and ours is listed",
        service(before(status="PRIMARY"), ours(status="ACTIVE", rolloutState="IN_PROGRESS")),
        "FAILED",
        "RolledBackByECS",
    ),
    Look("ECS went back and ours is gone", NOT_YET, "FAILED", "RolledBackByECS"),
    Look(
        "the read is as old as before the update",
        NOT_YET,
        "ROLLING",
        begun=READ_LAG - timedelta(seconds=1),
    ),
    Look("the read is old for too long", NOT_YET, "FAILED", "RolledBackByECS", begun=READ_LAG),
    Look(
        "somebody else deployed after us",
        service(SOMEBODY, ours(status="ACTIVE")),
        "FAILED",
        "RolloutReplaced",
    ),
    Look("somebody else's is all there is", service(SOMEBODY), "FAILED", "RolloutReplaced"),
    Look(
        "somebody scaled it to zero",
        service(ours(desiredCount=0, runningCount=0), desiredCount=0),
        "FAILED",
        "ServiceScaledDown",
    ),
    Look("the service is gone", None, "FAILED", "ServiceMissing"),
    Look("a new service is not shown yet", None, "ROLLING", begun=timedelta(seconds=9)),
)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.says)
def test_a_look_at_the_service_is_judged(look: Look) -> None:
    verdict = judge(look.service, startedAt=(NOW - look.begun).isoformat())
    assert (verdict["health"], verdict["error"]) == (look.health, look.error)
    assert verdict["reason"]
    assert not verdict["ended"]


def test_a_rollout_that_is_not_ours_is_never_called_steady() -> None:
    complete = ours(id="ecs-svc/9", createdAt=NOW - timedelta(seconds=90))
    assert judge(service(complete))["health"] == "FAILED"


def test_the_reason_of_the_circuit_breaker_is_passed_on() -> None:
    failed = ours(rolloutState="FAILED", rolloutStateReason="tasks failed to start.")
    assert "tasks failed to start." in judge(service(failed))["reason"]


@pytest.mark.parametrize(
    ("crashes", "threshold", "health"),
    [(0, 1, "ROLLING"), (1, 1, "FAILED"), (2, 3, "ROLLING"), (3, 3, "FAILED"), (4, 3, "FAILED")],
)
def test_tasks_that_run_and_die_are_counted(crashes: int, threshold: int, health: str) -> None:
    dead = [crashed(f"t{number}") for number in range(crashes)]
    verdict = judge(service(ROLLING), *dead, threshold=threshold)
    assert verdict["health"] == health
    if health == "FAILED":
        assert verdict["error"] == "RolloutFailed"
        assert f"{crashes} new tasks failed" in verdict["reason"]
        assert "exited with 1" in verdict["reason"]


def test_a_task_that_can_never_start_is_called_at_once() -> None:
    verdict = judge(service(ROLLING), unpullable(), threshold=200)
    assert (verdict["health"], verdict["error"]) == ("FAILED", "RolloutFailed")
    assert "not found" in verdict["reason"]


@pytest.mark.parametrize(
    ("dead", "health"),
    [
        (crashed(stoppedAt=NOW - timedelta(seconds=61)), "ROLLING"),
        (unpullable(stoppedAt=NOW - timedelta(seconds=61)), "ROLLING"),
        (crashed(stoppedAt=NOW - timedelta(seconds=60)), "FAILED"),
        (crashed(stopCode="UserInitiated"), "ROLLING"),
        (crashed(stopCode="ServiceSchedulerInitiated"), "ROLLING"),
    ],
    ids=["died before", "unpullable before", "died since", "stopped by hand", "scaled away"],
)
def test_only_failures_since_the_rollout_began_count(dead: dict[str, Any], health: str) -> None:
    assert judge(service(ROLLING), dead, threshold=1)["health"] == health


def test_a_task_without_a_stop_time_counts() -> None:
    dead = crashed()
    del dead["stoppedAt"]
    assert judge(service(ROLLING), dead, threshold=1)["health"] == "FAILED"


def test_a_rollout_that_is_steady_is_not_failed_by_tasks_that_crashed_on_the_way() -> None:
    dead = [crashed(f"t{number}") for number in range(5)]
    assert judge(service(ours()), *dead)["health"] == "STEADY"


def test_a_target_that_is_not_healthy_is_waited_for() -> None:
    verdict = judge(service(ours()), unready=("task t1 is not healthy in the target group",))
    assert verdict["health"] == "ROLLING"
    assert "t1 is not healthy" in verdict["reason"]


def test_a_target_that_stays_unhealthy_fails_at_the_deadline() -> None:
    verdict = judge(service(ours()), unready=("task t1 is not healthy",), now=LATER)
    assert (verdict["health"], verdict["error"]) == ("FAILED", "RolloutTimedOut")
    assert "t1 is not healthy" in verdict["reason"]


@pytest.mark.parametrize(
    ("ran", "bake", "health", "seconds"),
    [
        ((30,), 60, "BAKING", 30),
        ((300, 30), 60, "BAKING", 30),  # one of them was restarted
        ((), 60, "BAKING", 60),
        ((0.5,), 3600, "BAKING", rollout.BAKE_STEP),
        ((60,), 60, "STEADY", None),
        ((1,), 0, "STEADY", None),
    ],
)
def test_a_steady_rollout_bakes_until_all_of_its_tasks_have_run_long_enough(
    ran: tuple[float, ...], bake: int, health: str, seconds: int | None
) -> None:
    running = tuple(task(startedAt=NOW - timedelta(seconds=each)) for each in ran)
    verdict = judge(service(ours()), running=running, bake=bake)
    assert (verdict["health"], verdict.get("seconds")) == (health, seconds)


def test_a_task_that_is_about_to_start_has_not_run_yet() -> None:
    starting = {name: value for name, value in task().items() if name != "startedAt"}
    verdict = judge(service(ours()), running=(starting,), bake=20)
    assert (verdict["health"], verdict["seconds"]) == ("BAKING", 20)


def test_tasks_that_crash_while_a_rollout_bakes_are_counted() -> None:
    dead = [crashed(f"t{number}") for number in range(3)]
    verdict = judge(service(ours()), *dead, running=(task(),), bake=60)
    assert (verdict["health"], verdict["error"]) == ("FAILED", "RolloutFailed")


@pytest.mark.parametrize("late", [-1, 0])
def test_a_bake_has_its_own_time_beside_that_of_the_rollout(late: int) -> None:
    now = datetime.fromisoformat(started()["deadline"]) + timedelta(seconds=60 + late)
    verdict = judge(service(ours()), running=(task(startedAt=now),), bake=60, now=now)
    assert verdict["error"] == ("RolloutTimedOut" if late == 0 else "")


@pytest.mark.parametrize("described", [ours(), ROLLING], ids=["baking", "rolling"])
def test_an_alarm_fails_a_rollout_until_it_is_live(described: dict[str, Any]) -> None:
    message = "alarm errors is raised: 5 of 5"
    verdict = judge(service(described), running=(task(),), bake=60, alarms=(message,))
    assert (verdict["health"], verdict["error"], verdict["reason"]) == (
        "FAILED",
        "AlarmRaised",
        message,
    )


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_a_rollout_has_until_its_deadline(seconds: int) -> None:
    now = datetime.fromisoformat(started()["deadline"]) + timedelta(seconds=seconds)
    verdict = judge(service(ROLLING), now=now)
    assert verdict["error"] == ("" if seconds < 0 else "RolloutTimedOut")


def test_a_rollout_that_is_steady_at_its_deadline_is_steady() -> None:
    assert judge(service(ours()), now=LATER)["health"] == "STEADY"


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.says)
def test_no_rollout_is_waited_for_after_its_deadline(look: Look) -> None:
    late = datetime.fromisoformat(started()["deadline"])
    assert judge(look.service, now=late)["health"] != "ROLLING"


deployments: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["ecs-svc/0", "ecs-svc/1", "ecs-svc/2"]),
            "status": st.sampled_from(["PRIMARY", "ACTIVE", "INACTIVE"]),
            "taskDefinition": st.sampled_from([REVISION, OLD_REVISION]),
            "rolloutState": st.sampled_from(["COMPLETED", "IN_PROGRESS", "FAILED"]),
            "runningCount": st.integers(0, 3),
            "desiredCount": st.integers(0, 3),
            "createdAt": st.integers(-100, 0).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        }
    ),
    max_size=3,
    unique_by=lambda deployment: deployment["id"],
)


@given(deployments, st.integers(0, 3))
def test_steady_is_said_of_nothing_but_our_own_completed_primary_alone(
    described: list[dict[str, Any]], desired: int
) -> None:
    verdict = judge(service(*described, desiredCount=desired))
    if verdict["health"] == "STEADY":
        current = rollout.primary(service(*described))
        assert current and current["id"] == "ecs-svc/1"
        assert current["rolloutState"] == "COMPLETED" and current["runningCount"] > 0
        assert desired > 0
        assert not any(d["runningCount"] for d in described if d["id"] != "ecs-svc/1")
    assert (verdict["error"] != "") == (verdict["health"] == "FAILED")


# started


def test_a_rollout_knows_what_it_rolls_out_and_until_when() -> None:
    result = rollout.started(ours(createdAt=NOW), 900, NOW)
    assert result == {
        "id": "ecs-svc/1",
        "taskDefinition": REVISION,
        "startedAt": NOW.isoformat(),
        "since": NOW.isoformat(),
        "deadline": (NOW + timedelta(seconds=900)).isoformat(),
    }


def test_failures_of_long_before_the_order_are_not_the_rollouts() -> None:
    """The service was on that task definition already: the deployment is an old one."""
    result = rollout.started(ours(createdAt=NOW - timedelta(days=2)), 900, NOW)
    assert datetime.fromisoformat(result["startedAt"]) == NOW - timedelta(days=2)
    assert datetime.fromisoformat(result["since"]) == NOW - READ_LAG
    assert datetime.fromisoformat(result["deadline"]) == NOW + timedelta(seconds=900)


# what runs now


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (None, None),
        (service(), None),
        (service(ours()), REVISION),
        (service(before(runningCount=1), ours()), REVISION),
        (service(ours(rolloutState="IN_PROGRESS")), None),
        (service(ours(rolloutState="FAILED")), None),
        (service(ours(runningCount=0)), None),
        (service(before(runningCount=1)), None),
    ],
    ids=["none", "empty", "steady", "not first", "rolling", "failed", "nothing runs", "no primary"],
)
def test_what_runs_steadily_is_the_completed_primary(
    described: dict[str, Any] | None, expected: str | None
) -> None:
    assert rollout.steady_task_definition(described) == expected


def test_failed_tasks_keep_their_order_and_leave_out_the_others() -> None:
    first, second = crashed("t1"), unpullable("t2")
    alive = task("t3")
    scaled = crashed("t4", stopCode="ServiceSchedulerInitiated")
    assert rollout.failed_tasks(started(), [first, alive, second, scaled]) == [first, second]


def test_a_start_that_failed_once_fails_no_rollout_that_ecs_completed() -> None:
    assert judge(service(ours(), before()), unpullable())["health"] == "STEADY"
    assert judge(service(ROLLING, before()), unpullable())["health"] == "FAILED"
