"""What becomes of a service's schedules with a release, and without it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.deploy import schedules
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import SchedulesFailed
from tests.unit.samples import NOW, OLD_REVISION, REVISION, document

NIGHTLY = {"schedule": "cron(0 3 * * ? *)", "command": ["tidy"], "timezone": "Europe/Berlin"}
VPC = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
PLACEMENT: Any = {
    "launchType": "FARGATE",
    "platformVersion": "1.4.0",
    "networkConfiguration": {"awsvpcConfiguration": VPC},
}
DEFINITION: Any = {"containerDefinitions": [{"name": "coder"}, {"name": "proxy"}]}


def spec(**by_name: Any) -> ServiceSpec:
    text = document(schedules=by_name or {"nightly": NIGHTLY})
    text["taskDefinition"]["containerDefinitions"].append({"name": "proxy", "image": "proxy"})
    return from_document({**text, "container": "coder"}, "the spec")


def planned(
    by: ServiceSpec, current: Any = None, revision: str = REVISION, placement: Any = PLACEMENT
) -> dict[str, Any]:
    result: Any = schedules.planned(by, current or {}, placement, DEFINITION, revision, NOW)
    return dict(result)


def test_a_schedule_runs_the_revision_as_the_services_tasks_run() -> None:
    (schedule,) = planned(spec()).values()
    assert schedule["ScheduleExpression"] == "cron(0 3 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert schedule["State"] == "ENABLED"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert target["Arn"] == "arn:aws:ecs:us-east-1:123456789012:cluster/coder"
    assert target["RoleArn"] == "arn:aws:iam::123456789012:role/coder-schedules"
    overrides = {"containerOverrides": [{"name": "coder", "command": ["tidy"]}]}
    assert json.loads(target["Input"]) == overrides
    assert target["EcsParameters"] == {
        "TaskCount": 1,
        "LaunchType": "FARGATE",
        "PlatformVersion": "1.4.0",
        "NetworkConfiguration": {
            "awsvpcConfiguration": {
                "Subnets": ["subnet-1"],
                "SecurityGroups": ["sg-1"],
                "AssignPublicIp": "DISABLED",
            }
        },
        "Group": "deployer-schedule:nightly",
        "TaskDefinitionArn": REVISION,
    }


def test_providers_take_the_place_of_a_launch_type() -> None:
    providers = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    placement = {**PLACEMENT, "capacityProviderStrategy": providers}
    first = planned(spec())
    (schedule,) = planned(spec(), first, placement=placement).values()
    parameters = schedule["Target"]["EcsParameters"]
    assert parameters["CapacityProviderStrategy"] == providers
    assert "LaunchType" not in parameters


def test_what_a_team_has_set_by_hand_stays() -> None:
    (first,) = planned(spec()).values()
    queue = {"Arn": "arn:aws:sqs:us-east-1:123456789012:failed"}
    theirs = {
        **first,
        "State": "DISABLED",
        "EndDate": "2027-01-01T00:00:00+00:00",
        "StartDate": "2020-01-01T00:00:00+00:00",
        "Target": {**first["Target"], "DeadLetterConfig": queue},
    }
    (then,) = planned(spec(), {"nightly": theirs}, OLD_REVISION).values()
    assert (then["State"], then["EndDate"]) == ("DISABLED", theirs["EndDate"])
    assert then["Target"]["DeadLetterConfig"] == queue
    assert then["Target"]["EcsParameters"]["TaskDefinitionArn"] == OLD_REVISION
    assert "StartDate" not in then  # it is over, and Scheduler takes none that is


def test_only_what_differs_is_changed() -> None:
    current = planned(spec(nightly=NIGHTLY, old=NIGHTLY, same=NIGHTLY), revision=REVISION)
    # Scheduler tells more than it was sent
    current = {name: {**one, "ActionAfterCompletion": "NONE"} for name, one in current.items()}
    other = {**NIGHTLY, "command": ["tidy", "--all"]}
    wanted = planned(spec(new=NIGHTLY, nightly=other, same=NIGHTLY), current)
    changes = schedules.changes(current, wanted)
    done = {change.name: change.what for change in changes}
    assert done == {"new": "created", "nightly": "updated", "old": "deleted"}
    assert schedules.changes(wanted, wanted) == []


def test_a_container_that_is_not_there_is_named() -> None:
    by = spec(nightly={**NIGHTLY, "container": "proxy"})
    assert planned(by)["nightly"]["Target"]["Input"].count("proxy") == 1
    lacks: Any = {"containerDefinitions": [{"name": "coder"}]}
    with pytest.raises(SchedulesFailed, match=r"schedules.nightly.container: 'proxy' is not"):
        schedules.planned(by, {}, PLACEMENT, lacks, REVISION, NOW)


def test_a_rollback_restores_what_was_there() -> None:
    before = planned(spec(hourly=NIGHTLY, nightly=NIGHTLY), revision=OLD_REVISION)
    wanted = planned(spec(new=NIGHTLY, nightly={**NIGHTLY, "command": ["other"]}), before)
    note = schedules.note(before, wanted)
    by_hand = planned(spec(theirs=NIGHTLY))
    restored = schedules.before(note, {**wanted, **by_hand}, NOW)
    assert restored == {**before, **by_hand}
    assert schedules.before(note, before, NOW) == before  # nothing was changed yet


def test_no_record_holds_a_credential_and_the_command_comes_back_with_it() -> None:
    secret = {**NIGHTLY, "command": ["tidy", "--password=hunter2hunter2"]}
    before = planned(spec(nightly=secret), revision=OLD_REVISION)
    wanted = planned(spec(nightly=secret), before)
    note = schedules.note(before, wanted)
    assert "hunter2hunter2" not in json.dumps(note)
    assert schedules.before(note, wanted, NOW) == before
    changed = planned(spec(), before)
    with pytest.raises(SchedulesFailed, match="schedule nightly had a credential"):
        schedules.before(note, changed, NOW)


@pytest.mark.parametrize(
    ("action", "runs", "previous", "stays"),
    [
        ("ROLL_BACK", REVISION, OLD_REVISION, True),
        ("ROLL_BACK", REVISION, None, True),
        ("ROLL_BACK", REVISION, REVISION, False),  # a restart
        ("ROLL_BACK", OLD_REVISION, OLD_REVISION, False),
    ],
)
def test_schedules_stay_with_a_release_that_stays(
    action: Any, runs: str, previous: str | None, stays: bool
) -> None:
    """The rollback has failed, so what ECS runs counts."""
    decision: Any = {"action": action, "reason": "", "failure": {}}
    service = {"deployments": [{"status": "PRIMARY", "taskDefinition": runs}]}
    assert schedules.stays(decision, service, REVISION, previous) == stays
    assert not schedules.stays(decision, None, REVISION, previous)


def test_a_rollback_says_itself_whether_its_release_stays() -> None:
    stays: Any = {"action": "LEAVE", "reason": "", "stays": True}
    leaves: Any = {"action": "LEAVE", "reason": ""}
    assert schedules.stays(stays, None, REVISION, OLD_REVISION)
    assert not schedules.stays(leaves, None, REVISION, OLD_REVISION)


def test_a_service_may_have_schedules_by_its_spec_or_by_its_records() -> None:
    without = from_document(document(), "the spec")
    emptied: Any = {"schedules": {"before": {}, "names": []}}
    with_some: Any = {"schedules": {"before": {}, "names": ["nightly"]}}
    assert schedules.may_exist(spec(), [])
    assert not schedules.may_exist(without, [{}, {}])
    assert schedules.may_exist(without, [{}, with_some, emptied])
    assert not schedules.may_exist(without, [{}, emptied, with_some])


def test_drift_is_named() -> None:
    wanted = planned(spec(a=NIGHTLY, b=NIGHTLY, c=NIGHTLY, d=NIGHTLY, e=NIGHTLY))
    other = {**NIGHTLY, "schedule": "rate(1 day)", "timezone": "UTC"}
    target = {**wanted["e"]["Target"], "RoleArn": "another"}
    current = {
        **planned(spec(a=NIGHTLY), revision=OLD_REVISION),
        **planned(spec(b=other)),
        **planned(spec(c={**NIGHTLY, "command": ["--token", "abcdefgh12345678"]})),
        "e": {**wanted["e"], "Target": target},
        "f": wanted["e"],
    }
    old, new = (name.rpartition("/")[2] for name in (OLD_REVISION, REVISION))
    assert [*schedules.drift(current, wanted)] == [
        f"schedule a runs {old}, and {new} is live",
        "schedule b is rate(1 day), and the spec says cron(0 3 * * ? *) Europe/Berlin",
        "schedule c runs '--token ***', and the spec says 'tidy'",
        "schedule d is missing",
        "schedule e has another target than the service's tasks",
        "schedule f is not in the service spec",
    ]
    assert [*schedules.drift(wanted, wanted)] == []
    assert schedules.command({"Target": {"Input": "no JSON"}}) == ""


def test_a_release_s_outlook() -> None:
    current = planned(spec(old=NIGHTLY, nightly=NIGHTLY))
    assert schedules.outlook(spec(new=NIGHTLY, nightly=NIGHTLY), current) == {
        "old": "would be deleted",
        "new": "would be created: cron(0 3 * * ? *) Europe/Berlin, 'tidy'",
        "nightly": "would run the release: cron(0 3 * * ? *) Europe/Berlin, 'tidy'",
    }


def test_a_start_to_come_stays() -> None:
    (first,) = planned(spec()).values()
    later = datetime(2030, 1, 1, tzinfo=UTC).isoformat()
    (then,) = planned(spec(), {"nightly": {**first, "StartDate": later}}).values()
    assert then["StartDate"] == later
