"""The previous release is put back, or it is said why that can't be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

import roll_back
from deployer.aws import ecs
from deployer.rollout import READ_LAG
from tests.unit.conftest import Clock, Script, refusal
from tests.unit.samples import (
    OLD_REVISION,
    before,
    crashed,
    ours,
    payload,
    previous,
    release,
    service,
    task,
    unpullable,
)

pytestmark = pytest.mark.usefixtures("turn")

IN_PLACE = service(ours(rolloutState="FAILED"), before())
BACK = before(id="ecs-svc/3", status="PRIMARY", rolloutState="IN_PROGRESS")
GROWN = release(schema={"number": 13, "hash": "f01"})


@pytest.fixture
def broken(script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service on which the new release failed, with the tasks that it left."""
    monkeypatch.setattr(ecs, "time", clock)

    def shows(*services: dict[str, Any], tasks: tuple[dict[str, Any], ...] = ()) -> Script:
        script("ecs", "DescribeServices", *({"services": [entry]} for entry in services))
        script("ecs", "UpdateService", {"service": service(BACK, ours(status="ACTIVE"))})
        script("ecs", "ListTasks", {"taskArns": [entry["taskArn"] for entry in tasks]})
        script("ecs", "DescribeTasks", {"tasks": list(tasks)})
        return script

    return shows


def test_the_previous_release_is_put_back_as_it_ran(broken: Any, context: Any) -> None:
    script = broken(IN_PLACE, tasks=(crashed(),))
    decided = roll_back.handler(payload(), context)
    assert decided["action"] == "GO_BACK"
    assert decided["rollout"]["id"] == "ecs-svc/3"
    assert decided["rollout"]["taskDefinition"] == OLD_REVISION
    (asked,) = script.asked("UpdateService")
    assert asked["taskDefinition"] == OLD_REVISION
    assert asked["networkConfiguration"] == previous()["networkConfiguration"]
    assert asked["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] is False
    assert "desiredCount" not in asked


def test_a_release_of_which_nothing_is_known_takes_the_specs_network(
    broken: Any, context: Any
) -> None:
    script = broken(IN_PLACE)
    roll_back.handler(payload(previous=previous(networkConfiguration=None)), context)
    network = script.asked("UpdateService")[0]["networkConfiguration"]["awsvpcConfiguration"]
    assert network["subnets"] == ["subnet-0123456789abcdef0"]


def test_what_ecs_puts_back_itself_is_waited_for(broken: Any, context: Any) -> None:
    script = broken(service(BACK, ours(status="ACTIVE", rolloutState="FAILED")))
    decided = roll_back.handler(payload(), context)
    assert decided["action"] == "AWAIT"
    assert decided["rollout"]["id"] == "ecs-svc/3"
    assert not script.asked("UpdateService")


def test_a_first_release_that_fails_is_stopped(broken: Any, context: Any) -> None:
    script = broken(IN_PLACE, tasks=(crashed(),))
    decided = roll_back.handler(payload(previous=None, wasRunning=False), context)
    assert decided["action"] == "STOP"
    assert "rollout" not in decided
    assert script.asked("UpdateService") == [
        {"cluster": "coder", "service": "coder", "desiredCount": 0}
    ]


@pytest.mark.parametrize(
    ("left", "action"),
    [(crashed(), "LEAVE"), (task(), "LEAVE"), (unpullable(), "GO_BACK")],
    ids=["ran and died", "runs", "never ran"],
)
def test_a_grown_schema_bars_the_way_back_once_a_task_ran(
    broken: Any, context: Any, left: dict[str, Any], action: str
) -> None:
    script = broken(IN_PLACE, tasks=(left,))
    decided = roll_back.handler(payload(release=GROWN), context)
    assert decided["action"] == action
    assert bool(script.asked("UpdateService")) == (action == "GO_BACK")


def test_a_lost_reply_of_the_update_is_seen_in_the_service(broken: Any, context: Any) -> None:
    broken(IN_PLACE)
    assert roll_back.handler(payload(rollout=None), context)["action"] == "GO_BACK"


def test_a_grown_schema_bars_the_way_back_of_a_rollout_that_could_not_be_noted(
    broken: Any, context: Any
) -> None:
    script = broken(IN_PLACE, tasks=(crashed(),))
    decided = roll_back.handler(payload(release=GROWN, rollout=None), context)
    assert decided["action"] == "LEAVE"
    assert not script.asked("UpdateService")


@pytest.mark.parametrize("noted", [True, False])
def test_a_look_that_lags_behind_the_update_is_not_taken_for_the_way_back(
    broken: Any, context: Any, noted: bool
) -> None:
    lagging = service(before(status="PRIMARY", rolloutState="COMPLETED"))
    script = broken(lagging, lagging, IN_PLACE)
    started = {**payload()["rollout"], "startedAt": datetime.now(UTC).isoformat()}
    decided = roll_back.handler(payload(rollout=started if noted else None), context)
    assert decided["action"] == "GO_BACK"
    assert script.asked("UpdateService")


def test_a_service_that_was_never_changed_is_believed_after_the_longest_lag(
    broken: Any, context: Any, clock: Clock
) -> None:
    broken(service(before(status="PRIMARY", rolloutState="COMPLETED")))
    decided = roll_back.handler(payload(rollout=None), context)
    assert decided["action"] == "LEAVE"
    assert sum(clock.sleeps) >= READ_LAG.total_seconds()


@pytest.mark.parametrize(
    "shown",
    [
        service(before(status="PRIMARY", taskDefinition="arn:somebody:1"), ours(status="ACTIVE")),
        service(),
    ],
    ids=["somebody else's", "nothing"],
)
def test_what_is_not_ours_is_not_touched(broken: Any, context: Any, shown: Any) -> None:
    script = broken(shown)
    decided = roll_back.handler(payload(), context)
    assert decided["action"] == "LEAVE"
    assert not script.asked("UpdateService")


def test_a_refusal_is_left_to_the_workflow(broken: Any, context: Any) -> None:
    script = broken(IN_PLACE)
    script("ecs", "UpdateService", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        roll_back.handler(payload(), context)
