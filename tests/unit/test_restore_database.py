"""A snapshot is restored beside the old instance, and the secret then leads there."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import restore_database
from deployer.aws import client, rds
from deployer.deploy import database
from deployer.errors import DatabaseFailed
from deployer.store import releases
from tests.unit.conftest import Script, refusal
from tests.unit.samples import document, ours, payload, release, service

pytestmark = pytest.mark.usefixtures("lock_held")

BACK = release(restore="deployer-coder-1", trigger="rollback")
NAME = database.instance_name("coder-db", BACK)


def create(name: str, size: str = "db.t4g.micro") -> None:
    client("rds").create_db_instance(
        DBInstanceIdentifier=name, Engine="postgres", DBInstanceClass=size
    )


@pytest.fixture
def secret(aws: None) -> str:
    """The secret of an instance of which there is a snapshot."""
    create("coder-db")
    rds.take_snapshot("coder-db", "deployer-coder-1")
    result = client("secretsmanager").create_secret(
        Name="coder-db", SecretString="postgres://u:p%40ss@old.example.com:5432/coder"
    )
    releases.open_release(BACK)
    return str(result["ARN"])


def restore(secret: str, context: Any, minutes: float = 0) -> Any:
    """As if it had begun some minutes ago."""
    spec = document(database={"instance": "coder-db", "secret": secret})
    since = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    return restore_database.handler(payload(spec=spec, release=BACK, since=since), context)


def value(secret: str) -> str:
    return str(client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])


def record() -> Any:
    (found,) = releases.history("coder")
    return found


def test_the_snapshot_is_restored_beside_the_old_instance_which_stays(
    secret: str, context: Any
) -> None:
    assert restore(secret, context) == {"done": False, "name": NAME}
    assert "old.example.com" in value(secret), "the secret leads nowhere before there is anything"
    assert restore(secret, context) == {"done": True, "name": NAME}
    restored, old = rds.instance(NAME), rds.instance("coder-db")
    assert restored and old
    host = restored["Endpoint"]["Address"]
    assert value(secret) == f"postgres://u:p%40ss@{host}:5432/coder"
    assert releases.database_instance("coder", "coder-db") == NAME
    assert record()["databaseInstance"] == NAME
    noted = {
        "secret": secret,
        "replaces": "coder-db",
        "before": {"instance": "coder-db", "host": "old.example.com"},
        "after": {"instance": NAME, "host": host},
    }
    assert record()["restoration"] == noted
    assert restore(secret, context)["done"], "a retry"
    assert record()["restoration"] == noted, "and what was before it stays known"


FAILING = {
    "a task is about to start": service(ours(), pendingCount=1),
    "one is missing": service(ours(), desiredCount=2),
    "tasks fail": service(ours(failedTasks=2)),
    "the rollout is not complete": service(ours(rolloutState="IN_PROGRESS")),
    "ECS gave the rollout up": service(ours(rolloutState="FAILED")),
}
ZERO = {"desiredCount": 0, "pendingCount": 0}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_a_service_whose_tasks_keep_starting_is_stopped_before_the_secret_changes(
    secret: str, context: Any, script: Script, failing: dict[str, Any]
) -> None:
    """A task of the newer release would migrate the restored database."""
    shown(script, "available")
    ending, gone = ({**failing, **ZERO, "runningCount": count} for count in (1, 0))
    script("ecs", "DescribeServices", *({"services": [s]} for s in (failing, ending, gone)))
    script("ecs", "UpdateService", {"service": ending})
    for _ in range(2):
        assert not restore(secret, context)["done"]
        assert "old.example.com" in value(secret)
    assert restore(secret, context)["done"]
    assert "new.example.com" in value(secret)
    (request,) = script.requests("UpdateService")
    assert request == {"cluster": "coder", "service": "coder", "desiredCount": 0}
    assert record()["restoration"]["stopped"] == {"coder": failing["desiredCount"]}


def test_a_late_second_try_does_not_stop_what_the_rollout_starts(
    secret: str, context: Any, script: Script
) -> None:
    shown(script, "available")
    assert restore(secret, context)["done"]
    script("ecs", "DescribeServices", {"services": [FAILING["the rollout is not complete"]]})
    script("ecs", "UpdateService", {"service": service(ours())})
    assert restore(secret, context)["done"]
    assert not script.requests("UpdateService")


def test_a_service_that_does_not_stop_in_time_fails_the_restoration(
    secret: str, context: Any, script: Script
) -> None:
    shown(script, "available")
    script("ecs", "DescribeServices", {"services": [FAILING["tasks fail"]]})
    script("ecs", "UpdateService", {"service": FAILING["tasks fail"]})
    patience = database.PATIENCE.total_seconds() / 60
    assert not restore(secret, context, patience + 1)["done"]
    with pytest.raises(DatabaseFailed, match="did not stop"):
        restore(secret, context, patience + 11)
    assert "old.example.com" in value(secret)


@pytest.mark.parametrize(
    "there", [service(ours()), service(ours(), **ZERO, runningCount=0)], ids=["steady", "at zero"]
)
def test_a_service_in_which_no_task_starts_stays_as_it_is(
    secret: str, context: Any, script: Script, there: dict[str, Any]
) -> None:
    shown(script, "available")
    script("ecs", "DescribeServices", {"services": [there]})
    assert restore(secret, context)["done"]
    assert "stopped" not in record()["restoration"]


def test_a_second_restoration_is_made_like_the_instance_that_the_first_one_made(
    secret: str, context: Any
) -> None:
    create("restored-before", "db.r6g.large")
    releases.remember_database_instance("coder", "restored-before", "coder-db")
    restore(secret, context)
    result = rds.instance(NAME)
    assert result and result["DBInstanceClass"] == "db.r6g.large"


def shown(script: Script, status: str) -> None:
    """The restored instance as RDS shows it."""
    matches = {"DBInstanceIdentifier": NAME, "DBInstanceStatus": status}
    endpoint = {"Endpoint": {"Address": "new.example.com"}} if status == "available" else {}
    script("rds", "DescribeDBInstances", {"DBInstances": [matches | endpoint]})


@pytest.mark.parametrize("status", ["creating", "backing-up", "modifying"])
def test_an_instance_in_the_making_is_waited_for(
    secret: str, context: Any, script: Script, status: str
) -> None:
    shown(script, status)
    assert not restore(secret, context)["done"]
    assert "old.example.com" in value(secret)
    assert releases.database_instance("coder", "coder-db") == "coder-db"
    with pytest.raises(DatabaseFailed, match=f"{NAME} is still {status}"):
        restore(secret, context, database.PATIENCE.total_seconds() / 60 + 1)


@pytest.mark.parametrize("status", ["failed", "restore-failed", "incompatible-parameters"])
def test_an_instance_that_fails_stops_the_rollback(
    secret: str, context: Any, script: Script, status: str
) -> None:
    shown(script, status)
    with pytest.raises(DatabaseFailed, match=f"{NAME} is {status}"):
        restore(secret, context)
    assert "old.example.com" in value(secret)


def test_an_instance_that_is_there_after_all_is_taken_however_late(
    secret: str, context: Any, script: Script
) -> None:
    shown(script, "available")
    assert restore(secret, context, database.PATIENCE.total_seconds() / 60 + 1)["done"]
    assert "new.example.com" in value(secret)


def test_a_secret_that_holds_no_url_stops_the_rollback_and_stays(
    secret: str, context: Any, script: Script
) -> None:
    client("secretsmanager").put_secret_value(SecretId=secret, SecretString='{"host": "old"}')
    shown(script, "available")
    with pytest.raises(DatabaseFailed, match="not a connection URL"):
        restore(secret, context)
    assert value(secret) == '{"host": "old"}'
    assert "restoration" not in record()
    assert releases.database_instance("coder", "coder-db") == "coder-db"


def differing(script: Script, minutes: float = 0) -> None:
    """The old instance is watched and may grow; the restored one is not and may not."""
    old: dict[str, Any] = {"DBInstanceIdentifier": "coder-db", "DBInstanceStatus": "available"}
    old |= {"MonitoringInterval": 60, "MonitoringRoleArn": "arn:aws:iam::123456789012:role/m"}
    old |= {"MaxAllocatedStorage": 100}
    new: dict[str, Any] = {"DBInstanceIdentifier": NAME, "DBInstanceStatus": "available"}
    new |= {"Endpoint": {"Address": "new.example.com"}}
    new |= {"InstanceCreateTime": datetime.now(UTC) - timedelta(minutes=minutes)}

    def shows(request: dict[str, Any]) -> Any:
        return {"DBInstances": [new if request["DBInstanceIdentifier"] == NAME else old]}

    script("rds", "DescribeDBInstances", shows)


def test_settings_that_a_restoration_does_not_take_are_made_before_the_secret_leads_there(
    secret: str, context: Any, script: Script
) -> None:
    differing(script)
    script("rds", "ModifyDBInstance", {"DBInstance": {}})
    for _ in range(2):  # RDS may take a while to show them, and each call may come twice
        assert not restore(secret, context)["done"]
    assert "old.example.com" in value(secret)
    first, second = script.requests("ModifyDBInstance")
    assert first == second
    assert (first["MaxAllocatedStorage"], first["MonitoringInterval"]) == (100, 60)
    assert first["ApplyImmediately"] is True


def test_settings_that_are_refused_do_not_hold_up_the_data(
    secret: str, context: Any, script: Script
) -> None:
    """A role that may not be passed costs the monitoring, and not the rest."""
    differing(script)
    script("rds", "ModifyDBInstance", refusal("AccessDenied"), {"DBInstance": {}})
    assert not restore(secret, context)["done"]
    assert script.requests("ModifyDBInstance")[-1].keys() == {
        "DBInstanceIdentifier",
        "ApplyImmediately",
        "MaxAllocatedStorage",
    }
    script("rds", "ModifyDBInstance", refusal("InvalidParameterCombination"))
    assert restore(secret, context)["done"]
    assert "new.example.com" in value(secret)


def test_settings_that_never_show_do_not_hold_up_the_data_for_ever(
    secret: str, context: Any, script: Script
) -> None:
    differing(script, minutes=16)
    assert restore(secret, context)["done"]
    assert "new.example.com" in value(secret)


def alarm(name: str, instance: str, **more: Any) -> None:
    client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "AlarmDescription": "The database is busy",
            "Namespace": "AWS/RDS",
            "MetricName": "CPUUtilization",
            "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": instance}],
            "Statistic": "Average",
            "Period": 300,
            "EvaluationPeriods": 3,
            "Threshold": 80.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:alarms"],
            **more,
        }
    )


def alarms() -> dict[str, dict[str, Any]]:
    response = client("cloudwatch").describe_alarms()["MetricAlarms"]
    changing = ("AlarmConfigurationUpdatedTimestamp", "StateUpdatedTimestamp")
    return {a["AlarmName"]: {k: a[k] for k in a if k not in changing} for a in response}


def test_the_alarms_of_the_monitoring_stack_follow_and_no_others(
    secret: str, context: Any, script: Script
) -> None:
    errors = {"Name": "FunctionName", "Value": "deployer-Reconcile"}
    alarm("coder-monitoring-Busy-1", "coder-db")
    alarm("coder-monitoring-Fails-1", "", Namespace="AWS/Lambda", Dimensions=[errors])
    alarm("coder-monitoring-Other-1", "other-db")
    alarm("busy", "coder-db")
    before = alarms()
    shown(script, "available")
    for _ in range(2):  # a retry changes nothing more
        assert restore(secret, context)["done"]
        now = alarms()
        moved = now.pop("coder-monitoring-Busy-1")
        assert moved.pop("Dimensions") == [{"Name": "DBInstanceIdentifier", "Value": NAME}]
        kept = dict(before["coder-monitoring-Busy-1"])
        del kept["Dimensions"]
        assert moved == kept
        assert now == {name: before[name] for name in now}


def test_alarms_that_may_not_be_changed_do_not_hold_up_the_data(
    secret: str, context: Any, script: Script
) -> None:
    alarm("coder-monitoring-Busy-1", "coder-db")
    shown(script, "available")
    script("cloudwatch", "PutMetricAlarm", refusal("AccessDenied"))
    assert restore(secret, context)["done"]
    assert script.requests("PutMetricAlarm")[0]["AlarmName"] == "coder-monitoring-Busy-1"


STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/coder-database/1"


@pytest.mark.parametrize("allowed", [True, False])
def test_the_stack_of_the_secret_may_not_put_the_old_host_back(
    secret: str, context: Any, script: Script, allowed: bool
) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html"""
    tags = {"aws:cloudformation:stack-id": STACK, "aws:cloudformation:logical-id": "Url"}
    client("secretsmanager").tag_resource(
        SecretId=secret, Tags=[{"Key": key, "Value": tags[key]} for key in tags]
    )
    shown(script, "available")
    script("cloudformation", "GetStackPolicy", {})
    script("cloudformation", "SetStackPolicy", {} if allowed else refusal("AccessDenied"))
    assert restore(secret, context)["done"]
    (request,) = script.requests("SetStackPolicy")
    assert request["StackName"] == STACK
    script("cloudformation", "GetStackPolicy", {"StackPolicyBody": request["StackPolicyBody"]})
    assert restore(secret, context)["done"]
    assert len(script.requests("SetStackPolicy")) == 1, "once is enough"
    assert "new.example.com" in value(secret)


@pytest.mark.parametrize("policy", [None, '{"Statement": [{"Effect": "Allow", "Action": "a"}]}'])
def test_a_policy_that_the_stack_has_stays(policy: str | None) -> None:
    statements = json.loads(database.keeping(policy, "Url"))["Statement"]
    assert statements[0]["Effect"] == "Allow"
    assert statements[-1] == {
        "Effect": "Deny",
        "Action": "Update:*",
        "Principal": "*",
        "Resource": "LogicalResourceId/Url",
    }
