"""The previous release is put back, or it is said why that can't be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

import roll_back
from deployer.aws import client, ecs
from deployer.deploy import database
from deployer.deploy.rollout import READ_LAG
from deployer.errors import DatabaseFailed
from deployer.store import releases
from tests.unit.conftest import Clock, Script, refusal
from tests.unit.samples import (
    BALANCER,
    OLD_REVISION,
    REVISION,
    before,
    crashed,
    document,
    ours,
    payload,
    previous,
    release,
    service,
    task,
    unpullable,
)

pytestmark = pytest.mark.usefixtures("lock_held")

IN_PLACE = service(ours(rolloutState="FAILED"), before())
BACK = before(id="ecs-svc/3", status="PRIMARY", rolloutState="IN_PROGRESS")
GROWN = release(schema={"number": 13, "hash": "f01"})


@pytest.fixture
def broken(script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service on which the new release failed, with the tasks that it left."""
    monkeypatch.setattr(ecs, "time", clock)
    monkeypatch.setattr(roll_back, "time", clock)  # the machine's may be behind it

    def shows(*services: dict[str, Any], tasks: tuple[dict[str, Any], ...] = ()) -> Script:
        script("ecs", "DescribeServices", *({"services": [entry]} for entry in services))
        script("ecs", "DescribeTaskDefinition", {"taskDefinition": document()["taskDefinition"]})
        script("ecs", "UpdateService", {"service": service(BACK, ours(status="ACTIVE"))})
        script("ecs", "ListTasks", {"taskArns": [entry["taskArn"] for entry in tasks]})
        script("ecs", "DescribeTasks", {"tasks": list(tasks)})
        return script

    return shows


def test_the_previous_release_is_put_back_as_it_ran(broken: Any, context: Any) -> None:
    script = broken(IN_PLACE, tasks=(crashed(),))
    decided = roll_back.handler(payload(), context)
    assert decided["action"] == "ROLL_BACK"
    assert decided["rollout"]["id"] == "ecs-svc/3"
    assert decided["rollout"]["taskDefinition"] == OLD_REVISION
    (request,) = script.requests("UpdateService")
    assert request["taskDefinition"] == OLD_REVISION
    assert request["networkConfiguration"] == previous()["networkConfiguration"]
    assert request["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] is False
    assert "desiredCount" not in request


def test_an_execution_that_began_before_an_upgrade_rolls_back(broken: Any, context: Any) -> None:
    broken(IN_PLACE, tasks=(crashed(),))
    old: Any = {name: value for name, value in payload().items() if name != "before"}
    assert roll_back.handler(old, context)["action"] == "ROLL_BACK"


def test_a_release_of_which_nothing_is_known_takes_the_specs_network(
    broken: Any, context: Any
) -> None:
    script = broken(IN_PLACE)
    roll_back.handler(payload(previous=previous(networkConfiguration=None)), context)
    network = script.requests("UpdateService")[0]["networkConfiguration"]["awsvpcConfiguration"]
    assert network["subnets"] == ["subnet-0123456789abcdef0"]


def test_what_ecs_puts_back_itself_is_waited_for(broken: Any, context: Any) -> None:
    script = broken(service(BACK, ours(status="ACTIVE", rolloutState="FAILED")))
    decided = roll_back.handler(payload(), context)
    assert decided["action"] == "AWAIT"
    assert decided["rollout"]["id"] == "ecs-svc/3"
    assert not script.requests("UpdateService")


def test_a_first_release_that_fails_is_stopped(broken: Any, context: Any) -> None:
    script = broken(IN_PLACE, tasks=(crashed(),))
    decided = roll_back.handler(payload(previous=None, wasRunning=False), context)
    assert decided["action"] == "STOP"
    assert "rollout" not in decided
    assert script.requests("UpdateService") == [
        {"cluster": "coder", "service": "coder", "desiredCount": 0}
    ]


@pytest.mark.parametrize(
    ("left", "action"),
    [(crashed(), "LEAVE"), (task(), "LEAVE"), (unpullable(), "ROLL_BACK")],
    ids=["ran and died", "runs", "never ran"],
)
def test_a_grown_schema_bars_the_way_back_once_a_task_ran(
    broken: Any, context: Any, left: dict[str, Any], action: str
) -> None:
    script = broken(IN_PLACE, tasks=(left,))
    decided = roll_back.handler(payload(release=GROWN), context)
    assert decided["action"] == action
    assert bool(script.requests("UpdateService")) == (action == "ROLL_BACK")


def test_a_lost_reply_of_the_update_is_seen_in_the_service(broken: Any, context: Any) -> None:
    broken(IN_PLACE)
    assert roll_back.handler(payload(rollout=None), context)["action"] == "ROLL_BACK"


def test_a_grown_schema_bars_the_way_back_of_a_rollout_that_could_not_be_noted(
    broken: Any, context: Any
) -> None:
    script = broken(IN_PLACE, tasks=(crashed(),))
    decided = roll_back.handler(payload(release=GROWN, rollout=None), context)
    assert decided["action"] == "LEAVE"
    assert not script.requests("UpdateService")


RUN: Any = {"startedBy": "x", "container": "coder", "command": ["migrate"], "timeout": 60}
RUN |= {"requestedAt": "2026-11-23T14:26:00+00:00", "task": "arn:task"}


@pytest.mark.parametrize(
    "end", [{}, {"endedAt": "2026-11-23T14:27:00+00:00", "failure": "it exited with 1"}]
)
def test_a_task_before_the_rollout_that_is_not_done_leaves_the_service_as_it_is(
    broken: Any, context: Any, end: Any
) -> None:
    script = broken(IN_PLACE)
    releases.open_release(release())
    releases.note(release(), before={**RUN, **end})
    decided = roll_back.handler(payload(rollout=None, before=True), context)
    assert decided == {"action": "LEAVE", "reason": "the service was not changed"}
    assert not script.requests("UpdateService")


def test_a_task_before_the_rollout_may_have_grown_the_schema(broken: Any, context: Any) -> None:
    broken(IN_PLACE, tasks=(unpullable(),))
    releases.open_release(GROWN)
    releases.note(GROWN, before={**RUN, "endedAt": "2026-11-23T14:27:00+00:00", "failure": None})
    event = payload(release=GROWN, before=True)
    assert roll_back.handler(event, context)["action"] == "LEAVE"


@pytest.mark.parametrize("noted", [True, False])
def test_a_look_that_lags_behind_the_update_is_not_taken_for_the_way_back(
    broken: Any, context: Any, noted: bool
) -> None:
    lagging = service(before(status="PRIMARY", rolloutState="COMPLETED"))
    script = broken(lagging, lagging, IN_PLACE)
    started = {**payload()["rollout"], "startedAt": datetime.now(UTC).isoformat()}
    decided = roll_back.handler(payload(rollout=started if noted else None), context)
    assert decided["action"] == "ROLL_BACK"
    assert script.requests("UpdateService")


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
    assert not script.requests("UpdateService")


def test_a_refusal_is_left_to_the_workflow(broken: Any, context: Any) -> None:
    script = broken(IN_PLACE)
    script("ecs", "UpdateService", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        roll_back.handler(payload(), context)


# the container, and the database

LISTED = {
    "taskDefinition": {
        "containerDefinitions": [
            {"name": "proxy", "image": "envoy:1", "portMappings": [{"containerPort": 80}]},
            {
                "name": "renamed-since",
                "image": "1.dkr.ecr.us-east-1.amazonaws.com/coder@sha256:1",
                "portMappings": [{"containerPort": 9000}],
            },
        ]
    }
}


def test_the_load_balancer_leads_to_the_container_of_the_revision_that_is_put_back(
    broken: Any, context: Any
) -> None:
    script = broken(IN_PLACE)
    script("ecs", "DescribeTaskDefinition", LISTED)
    roll_back.handler(payload(spec=document(**BALANCER)), context)
    ((target,),) = (request["loadBalancers"] for request in script.requests("UpdateService"))
    assert (target["containerName"], target["containerPort"]) == ("renamed-since", 9000)
    assert script.requests("DescribeTaskDefinition")[0]["taskDefinition"] == OLD_REVISION


BACK_IN_TIME = release(restore="a-snapshot", trigger="rollback")
OLD, RESTORED, URL = "old.example.com", "restored.example.com", "postgres://u:p@{}:5432/coder"


@pytest.fixture
def restored(broken: Any) -> Any:
    """A release that switched the service to a restored database, and failed."""

    def made(leads_to: str, *services: Any, **more: Any) -> tuple[Script, str]:
        secret = client("secretsmanager").create_secret(
            Name="coder-db", SecretString=URL.format(leads_to)
        )["ARN"]
        noted = {
            "secret": secret,
            "replaces": "coder-db",
            "before": {"instance": "coder-db", "host": OLD},
            "after": {"instance": "coder-db-restored", "host": RESTORED},
            **more,
        }
        releases.open_release(BACK_IN_TIME)
        releases.note(BACK_IN_TIME, restoration=noted, databaseInstance="coder-db-restored")
        releases.remember_database_instance("coder", "coder-db-restored", "coder-db")
        return broken(*(services or (IN_PLACE,))), secret

    return made


def instance() -> str:
    return releases.database_instance("coder", "coder-db")


def leads_to(secret: str) -> Any:
    value = client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    return database.host_of(value)


def test_a_restoration_is_undone_before_the_previous_release_is_put_back(
    restored: Any, context: Any
) -> None:
    script, secret = restored(RESTORED)
    watching = {"AlarmName": "coder-monitoring-Busy-1", "Namespace": "AWS/RDS", "Period": 300}
    watching |= {"MetricName": "CPUUtilization", "Statistic": "Average", "Threshold": 80.0}
    watching |= {"EvaluationPeriods": 3, "ComparisonOperator": "GreaterThanThreshold"}
    name = "DBInstanceIdentifier"
    client("cloudwatch").put_metric_alarm(
        **watching, Dimensions=[{"Name": name, "Value": "coder-db-restored"}]
    )
    for _ in range(2):  # as after a kill midway
        decided = roll_back.handler(payload(release=BACK_IN_TIME), context)
        assert (decided["action"], decided["database"]) == ("ROLL_BACK", "coder-db")
        assert (leads_to(secret), instance()) == (OLD, "coder-db")
    assert releases.history("coder")[0]["databaseInstance"] is None
    (alarm,) = client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarm["Dimensions"] == [{"Name": name, "Value": "coder-db"}]
    assert "forceNewDeployment" not in script.requests("UpdateService")[0]


def test_the_same_revision_reads_the_secret_again_in_new_tasks(restored: Any, context: Any) -> None:
    script, _ = restored(RESTORED)
    script("ecs", "UpdateService", {"service": IN_PLACE})
    same = previous(taskDefinition=REVISION, networkConfiguration=None)
    roll_back.handler(payload(release=BACK_IN_TIME, previous=same), context)
    assert script.requests("UpdateService")[0]["forceNewDeployment"] is True


def test_a_restoration_is_undone_though_the_service_was_never_changed(
    restored: Any, context: Any
) -> None:
    unchanged = service(before(status="PRIMARY"))
    script, secret = restored(RESTORED, unchanged)
    given = payload(release=BACK_IN_TIME, rollout=None, taskDefinition=None)
    decided = roll_back.handler(given, context)
    assert (decided["action"], decided["database"]) == ("LEAVE", "coder-db")
    assert leads_to(secret) == OLD
    assert not script.requests("UpdateService")


STOPPED = {"stopped": {"coder": 3}}


def test_a_service_that_was_stopped_for_the_restoration_is_started_again(
    restored: Any, context: Any
) -> None:
    """Also if ECS shows its count from before the stop."""
    script, secret = restored(RESTORED, service(before(status="PRIMARY")), **STOPPED)
    given = payload(release=BACK_IN_TIME, rollout=None, taskDefinition=None)
    assert roll_back.handler(given, context)["action"] == "LEAVE"
    assert leads_to(secret) == OLD
    (request,) = script.requests("UpdateService")
    assert request == {"cluster": "coder", "service": "coder", "desiredCount": 3}


@pytest.mark.parametrize("noted", [True, False])
def test_the_previous_release_starts_where_the_service_was_stopped(
    restored: Any, context: Any, noted: bool
) -> None:
    """Unless the rollout has set its count, which somebody may have changed since."""
    script, _ = restored(RESTORED, **STOPPED)
    given: Any = payload(release=BACK_IN_TIME)
    if not noted:
        given["rollout"] = None
    assert roll_back.handler(given, context)["action"] == "ROLL_BACK"
    assert script.requests("UpdateService")[0].get("desiredCount") == (None if noted else 3)


def test_a_service_is_started_again_where_the_secret_cannot_be_switched_back(
    restored: Any, context: Any
) -> None:
    script, _ = restored("elsewhere.example.com", **STOPPED)
    with pytest.raises(DatabaseFailed, match="somebody else"):
        roll_back.handler(payload(release=BACK_IN_TIME, rollout=None), context)
    assert script.requests("UpdateService")[0]["desiredCount"] == 3


def test_the_secret_stays_where_somebody_elses_release_uses_it(restored: Any, context: Any) -> None:
    theirs = service(before(status="PRIMARY", taskDefinition=f"{REVISION}9"))
    _, secret = restored(RESTORED, theirs)
    decided = roll_back.handler(payload(release=BACK_IN_TIME), context)
    assert "database" not in decided
    assert (leads_to(secret), instance()) == (RESTORED, "coder-db-restored")


def test_a_secret_that_somebody_else_has_changed_is_not_changed_again(
    restored: Any, context: Any
) -> None:
    script, secret = restored("elsewhere.example.com")
    with pytest.raises(DatabaseFailed, match="somebody else"):
        roll_back.handler(payload(release=BACK_IN_TIME), context)
    assert leads_to(secret) == "elsewhere.example.com"
    assert not script.requests("UpdateService")
