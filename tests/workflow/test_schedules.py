"""Scheduled tasks follow the release, and go back with it."""

import json
from typing import Any

import pytest

from demo.stage import Stage

# which the image of a version does, by the version that lies in it
SMOKE = "! grep -q 1.1.2 release.json"
NIGHTLY = {"schedule": "cron(0 3 1 1 ? *)", "timezone": "Europe/Berlin", "command": ["tidy"]}
YEARLY = {"schedule": "cron(0 4 1 1 ? *)", "command": ["report"]}


def scheduled(stage: Stage) -> dict[str, Any]:
    """The service's schedules, by name."""
    client = stage.aws.client("scheduler")
    group = f"deployer-{stage.service}"
    listed = client.list_schedules(GroupName=group)["Schedules"]
    return {one["Name"]: client.get_schedule(GroupName=group, Name=one["Name"]) for one in listed}


def revisions(stage: Stage) -> dict[str, str]:
    return {
        name: one["Target"]["EcsParameters"]["TaskDefinitionArn"]
        for name, one in scheduled(stage).items()
    }


@pytest.mark.walk
def test_schedules_follow_the_release_and_go_back_with_it(service: Stage) -> None:
    after = {"command": ["sh", "-c", SMOKE], "timeout": 60}
    service.specify(schedules={"nightly": NIGHTLY, "yearly": YEARLY}, after=after)
    done = service.deployed("1.1.0")
    assert done.status == "SUCCEEDED", (done.error, done.cause)
    steps = ("Verify release", "Run task after", "Update schedules", "Record success")
    assert tuple(name for name in dict.fromkeys(done.path) if name in steps) == steps
    first = service.records()[-1]["taskDefinition"]
    assert revisions(service) == {"nightly": first, "yearly": first}
    nightly = scheduled(service)["nightly"]
    assert nightly["ScheduleExpressionTimezone"] == "Europe/Berlin"
    overrides = {"containerOverrides": [{"name": service.service, "command": ["tidy"]}]}
    assert json.loads(nightly["Target"]["Input"]) == overrides

    # the next one moves them, with what the spec has changed; one is paused by hand
    names = ("FlexibleTimeWindow", "GroupName", "Name", "ScheduleExpression", "Target")
    paused = {name: nightly[name] for name in names}
    service.aws.client("scheduler").update_schedule(**paused, State="DISABLED")
    daily = {"schedule": "cron(0 5 1 1 ? *)", "command": ["daily"]}
    service.specify(schedules={"nightly": NIGHTLY, "daily": daily}, after=after)
    assert service.deployed("1.1.1").status == "SUCCEEDED"
    second = service.records()[-1]["taskDefinition"]
    assert second != first
    assert revisions(service) == {"daily": second, "nightly": second}
    assert scheduled(service)["nightly"]["State"] == "DISABLED"

    # the smoke test fails: they never moved
    assert service.deployed("1.1.2").status == "FAILED"
    assert revisions(service) == {"daily": second, "nightly": second}

    # Scheduler cannot assume the role any more: nothing is changed
    iam, role = service.aws.client("iam"), f"{service.service}-schedules"
    trust: Any = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    trust["Statement"][0]["Principal"] = {"Service": "ecs-tasks.amazonaws.com"}
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    failed = service.deployed("1.1.3")
    assert failed.error == "PreflightFailed"
    assert f"role {role} does not trust scheduler.amazonaws.com" in failed.cause
    assert revisions(service) == {"daily": second, "nightly": second}
