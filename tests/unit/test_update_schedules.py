"""The schedules follow the release, and go back with it, whatever befalls the function."""

from collections.abc import Mapping
from typing import Any

import pytest

import update_schedules
from deployer.aws import client, scheduler
from deployer.deploy.schedules import Change
from deployer.errors import AwsUnavailable, SchedulesFailed
from deployer.store import releases
from tests.unit.conftest import Script, refusal
from tests.unit.samples import (
    OLD_REVISION,
    REVISION,
    before,
    document,
    ours,
    payload,
    previous,
    release,
    service,
)

pytestmark = pytest.mark.usefixtures("lock_held")

HOURLY = {"schedule": "rate(1 hour)", "command": ["sync"]}
NIGHTLY = {"schedule": "cron(0 3 * * ? *)", "command": ["tidy"]}
SPEC = document(schedules={"hourly": HOURLY, "nightly": NIGHTLY})
BACK = {"action": "ROLL_BACK", "reason": "rolling back to 1.0.0"}


@pytest.fixture
def cluster(script: Script) -> Script:
    releases.open_release(release())
    client("scheduler").create_schedule_group(Name="deployer-coder")
    definition = {**document()["taskDefinition"], "family": "coder"}
    script("ecs", "DescribeTaskDefinition", {"taskDefinition": definition})
    script("ecs", "DescribeServices", {"services": [service(ours(), before())]})
    return script


def handled(context: Any, spec: Any = SPEC, revision: str = REVISION, rollback: Any = None) -> Any:
    event = payload(spec=spec, previous=previous(), rollback=rollback)
    return run({**event, "taskDefinition": revision}, context)


def run(event: Any, context: Any) -> list[str]:
    return update_schedules.handler(event, context)["changed"]


def runs() -> Mapping[str, str]:
    """The revision of each schedule."""
    return {
        name: one["Target"]["EcsParameters"]["TaskDefinitionArn"]
        for name, one in scheduler.schedules("deployer-coder").items()
    }


def test_schedules_are_made_and_follow(cluster: Script, context: Any) -> None:
    assert handled(context, revision=OLD_REVISION) == ["hourly: created", "nightly: created"]
    assert runs() == {"hourly": OLD_REVISION, "nightly": OLD_REVISION}
    assert handled(context) == ["hourly: updated", "nightly: updated"]
    assert handled(context) == []  # a second try
    assert runs() == {"hourly": REVISION, "nightly": REVISION}


def test_a_group_that_is_missing_is_made(cluster: Script) -> None:
    missing = refusal("ResourceNotFoundException")
    cluster("scheduler", "ListSchedules", missing)
    assert scheduler.schedules("deployer-coder") == {}
    cluster("scheduler", "CreateSchedule", missing, {"ScheduleArn": "a"})
    cluster("scheduler", "CreateScheduleGroup", refusal("ConflictException"))  # by another try
    scheduler.change("deployer-coder", Change("nightly", _schedule("nightly"), exists=False))
    assert cluster.requests("CreateScheduleGroup")[0]["Name"] == "deployer-coder"
    assert [request["Name"] for request in cluster.requests("CreateSchedule")] == 2 * ["nightly"]


def test_what_the_spec_no_longer_names_is_deleted(cluster: Script, context: Any) -> None:
    handled(context)
    assert handled(context, document(schedules={"nightly": NIGHTLY})) == ["hourly: deleted"]
    assert handled(context, document()) == ["nightly: deleted"]
    assert handled(context, document()) == []
    assert runs() == {}


def test_what_they_were_is_recorded_before_the_first_change_alone(
    cluster: Script, context: Any
) -> None:
    handled(context, revision=OLD_REVISION)
    releases.open_release(release(id="20261123T150000Z-next"))
    event = {**payload(spec=SPEC, rollback=None), "previous": previous()}
    event["release"] = release(id="20261123T150000Z-next")
    event["taskDefinition"] = REVISION
    cluster("scheduler", "UpdateSchedule", {"ScheduleArn": "a"}, refusal("ThrottlingException"))
    with pytest.raises(AwsUnavailable):
        run(event, context)
    first: Any = releases.find("coder", "20261123T150000Z-next")
    cluster("scheduler", "UpdateSchedule", {"ScheduleArn": "a"})
    run(event, context)
    assert releases.find("coder", "20261123T150000Z-next") == first
    note = first["schedules"]
    assert note["names"] == ["hourly", "nightly"]
    targets = [
        one["Target"]["EcsParameters"]["TaskDefinitionArn"] for one in note["before"].values()
    ]
    assert targets == [OLD_REVISION, OLD_REVISION]


def test_a_rollback_restores_them(cluster: Script, context: Any) -> None:
    other = {**NIGHTLY, "command": ["tidy", "--all"]}
    releases.note(release(), schedules=None)
    scheduler.change("deployer-coder", Change("theirs", _schedule("theirs"), exists=False))
    scheduler.change("deployer-coder", Change("nightly", _schedule("nightly"), exists=False))
    assert handled(context, rollback=BACK) == []  # nothing was noted, so nothing was changed
    as_it_was = scheduler.schedules("deployer-coder")
    releases.open_release(release(id="20261123T150000Z-next"))
    spec = document(schedules={"hourly": HOURLY, "nightly": other})
    event = {**payload(spec=spec, rollback=None, previous=previous()), "taskDefinition": REVISION}
    event["release"] = release(id="20261123T150000Z-next")
    done = run(event, context)
    assert done == ["hourly: created", "nightly: updated", "theirs: deleted"]
    event["rollback"] = BACK
    done = run(event, context)
    assert sorted(done) == ["hourly: deleted", "nightly: updated", "theirs: created"]
    assert scheduler.schedules("deployer-coder") == as_it_was
    assert run(event, context) == []


def _schedule(name: str) -> dict[str, Any]:
    return {
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "DISABLED",
        "Target": {
            "Arn": "arn:aws:ecs:us-east-1:123456789012:cluster/coder",
            "RoleArn": "arn:aws:iam::123456789012:role/coder-schedules",
            "EcsParameters": {"TaskDefinitionArn": OLD_REVISION},
            "Input": name,
        },
    }


def test_a_late_try_changes_nothing(cluster: Script, context: Any) -> None:
    handled(context, revision=OLD_REVISION)
    assert handled(context, rollback=BACK) == ["hourly: deleted", "nightly: deleted"]
    assert handled(context) == []
    assert runs() == {}


def test_they_follow_a_release_that_stays_although_it_failed(cluster: Script, context: Any) -> None:
    handled(context, revision=OLD_REVISION)
    stays = {"action": "LEAVE", "reason": "its schema", "stays": True}
    assert handled(context, rollback=stays) == ["hourly: updated", "nightly: updated"]
    assert runs() == {"hourly": REVISION, "nightly": REVISION}


def test_they_follow_what_runs_after_a_rollback_that_failed(cluster: Script, context: Any) -> None:
    handled(context, revision=OLD_REVISION)
    failed = {**BACK, "failure": {"Error": "AwsUnavailable", "Cause": "no answer"}}
    assert handled(context, rollback=failed) == ["hourly: updated", "nightly: updated"]


@pytest.mark.parametrize(
    ("code", "raised", "message"),
    [
        ("ConflictException", AwsUnavailable, "schedule nightly is being changed"),
        ("ResourceNotFoundException", AwsUnavailable, "schedule nightly is being changed"),
        ("ThrottlingException", AwsUnavailable, "ThrottlingException"),
        ("ValidationException", SchedulesFailed, "schedule nightly was refused: refused"),
        ("ServiceQuotaExceededException", SchedulesFailed, "schedule nightly was refused"),
    ],
)
def test_refusals_are_named(
    cluster: Script, context: Any, code: str, raised: type[Exception], message: str
) -> None:
    handled(context, document(schedules={"nightly": NIGHTLY}), OLD_REVISION)
    cluster("scheduler", "UpdateSchedule", refusal(code))
    with pytest.raises(raised, match=message):
        handled(context, document(schedules={"nightly": NIGHTLY}))


def test_a_schedule_deleted_meanwhile_is_none(cluster: Script, context: Any) -> None:
    entry = {"Name": "nightly", "GroupName": "deployer-coder"}
    cluster("scheduler", "ListSchedules", {"Schedules": [entry]})
    cluster("scheduler", "GetSchedule", refusal("ResourceNotFoundException"))
    assert scheduler.schedules("deployer-coder") == {}
    cluster("scheduler", "DeleteSchedule", refusal("ResourceNotFoundException"))
    scheduler.change("deployer-coder", Change("nightly", None, exists=True))
