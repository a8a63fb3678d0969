"""A service with a PostgreSQL database: its data stays, and goes back only when asked to."""

import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg2
import pytest

from demo.stage import Stage

USER = {"email": "ada@example.com", "username": "ada", "password": "secret"}
PASSWORD = "correct/horse"
WINDOW = "tue:04:00-tue:04:30"  # which a restoration does not take: a modification makes it so


class Instance:
    """An RDS instance for a service, and the secret with the URL of its database."""

    def __init__(self, stage: Stage) -> None:
        self.rds, self.secrets = stage.aws.client("rds"), stage.aws.client("secretsmanager")
        self.name, self.secret = stage.make_database(), f"{stage.service}/database-url"
        self.rds.modify_db_instance(
            DBInstanceIdentifier=self.name,
            MasterUserPassword=PASSWORD,
            DeletionProtection=True,
            PreferredMaintenanceWindow=WINDOW,
        )
        self.host = self.describe()["Endpoint"]["Address"]
        self.point(self.url(self.host))

    def url(self, host: str, password: str = PASSWORD) -> str:
        return f"postgresql://app:{quote(password, safe='')}@{host}:5432/app?sslmode=require"

    def point(self, url: str) -> None:
        """Let the secret hold another URL."""
        self.secrets.put_secret_value(SecretId=self.secret, SecretString=url)

    @property
    def current(self) -> str:
        """The URL in the secret."""
        return str(self.secrets.get_secret_value(SecretId=self.secret)["SecretString"])

    def describe(self, name: str | None = None) -> dict[str, Any]:
        response = self.rds.describe_db_instances(DBInstanceIdentifier=name or self.name)
        return dict(response["DBInstances"][0])

    def remove(self, name: str | None = None) -> None:
        name = name or self.name
        self.rds.modify_db_instance(DBInstanceIdentifier=name, DeletionProtection=False)
        self.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)

    def snapshots(self) -> list[str]:
        response = self.rds.describe_db_snapshots(DBInstanceIdentifier=self.name)["DBSnapshots"]
        return [snapshot["DBSnapshotIdentifier"] for snapshot in response]


def query(url: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def ask(stage: Stage, path: str, body: object = None) -> Any:
    """What the newest release answers at its URL."""
    url = next(r["url"] for r in reversed(stage.records()) if r.get("url"))
    content = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(f"{url}{path}", content, timeout=30) as answer:
        return json.loads(answer.read())


def watch(stage: Stage, instance: str) -> str:
    """An alarm as the service's monitoring stack makes it; its name."""
    alarm = f"{stage.service}-monitoring-DatabaseIsBusy-1A2B3C"
    stage.aws.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm,
        Namespace="AWS/RDS",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "DBInstanceIdentifier", "Value": instance}],
        Statistic="Average",
        Period=300,
        EvaluationPeriods=3,
        Threshold=80,
        ComparisonOperator="GreaterThanThreshold",
    )
    return alarm


def watched(stage: Stage, alarm: str) -> str:
    """The database instance that an alarm watches."""
    response = stage.aws.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    return str(response[0]["Dimensions"][0]["Value"])


@pytest.fixture
def unused(deployer: Stage) -> Stage:
    """A service that has no stack yet."""
    return Stage(deployer.aws, f"test-{uuid.uuid4().hex[:6]}", deployer.cluster, deployer.stack)


@pytest.fixture
def instance(unused: Stage) -> Iterator[Instance]:
    result = Instance(unused)
    yield result
    result.remove()


@pytest.fixture
def backed(instance: Instance, unused: Stage, deployer: Stage) -> Iterator[Stage]:
    """A live service (1.0.0, schema 1) with a user in its database."""
    service = deployer.beside(unused.service, DatabaseInstance=instance.name, DatabaseSnapshots="1")
    done = service.deployed("1.0.0")
    assert done.status == "SUCCEEDED", (done.error, done.cause)
    ask(service, "/api/v2/users/first", USER)
    yield service
    service.end()


def test_a_redeployment_keeps_the_data(backed: Stage, instance: Instance) -> None:
    before = ask(backed, "/api/v2/buildinfo")

    assert backed.deployed("1.1.0").status == "SUCCEEDED"

    after = ask(backed, "/api/v2/buildinfo")
    assert after["version"].startswith("v1.1.0")
    assert after["deployment_id"] == before["deployment_id"]
    assert query(instance.current, "SELECT username FROM users") == [("ada",)]
    assert instance.snapshots() == [], "the schema did not grow"


@pytest.mark.walk
def test_the_database_is_backed_up_and_restored_with_the_release(
    backed: Stage, instance: Instance
) -> None:
    grown = backed.deployed("2.0.0", schema=2)
    assert grown.status == "SUCCEEDED"
    assert "Back up database" in grown.path
    record = backed.records()[-1]
    assert instance.snapshots() == [record["snapshot"]]
    newer = instance.current
    query(newer, "INSERT INTO workspaces SELECT 'w', id, 'late' FROM users")

    command = {"action": "rollback", "to": "1.0.0", "service": backed.service}
    refused = backed.ended(backed.start(command))
    assert (refused.status, refused.error) == ("FAILED", "RequestRejected")
    assert record["snapshot"] in refused.cause
    assert "restoreDatabase" in refused.cause
    assert "would be lost" in refused.cause

    alarm = watch(backed, instance.name)
    back = backed.ended(backed.start(command | {"restoreDatabase": True}), 200)
    assert back.status == "SUCCEEDED", (back.error, back.cause)
    assert "Restore database" in back.path
    restored = next(r["databaseInstance"] for r in backed.records() if r.get("restore"))
    address = instance.describe(restored)["Endpoint"]["Address"]
    assert instance.current == instance.url(address)
    assert ask(backed, "/api/v2/users/first")["message"].endswith("has already been created!")
    assert query(instance.current, "SELECT version FROM schema_migrations") == [(1,)]
    assert query(instance.current, "SELECT to_regclass('workspaces')") == [(None,)]
    assert instance.describe(restored)["PreferredMaintenanceWindow"] == WINDOW
    assert watched(backed, alarm) == restored
    # The instance that was left is as it was, and both are as hard to delete as the first one.
    assert query(newer, "SELECT name FROM workspaces") == [("late",)]
    for name in (instance.name, restored):
        with pytest.raises(instance.rds.exceptions.ClientError, match="disable deletion protec"):
            instance.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    instance.remove(restored)


def test_as_many_backups_are_kept_as_the_spec_says(backed: Stage, instance: Instance) -> None:
    assert backed.deployed("2.0.0", schema=2).status == "SUCCEEDED"
    (first,) = instance.snapshots()
    assert backed.deployed("3.0.0", schema=3).status == "SUCCEEDED"
    assert instance.snapshots() == [backed.records()[-1]["snapshot"]] != [first]


def test_a_migration_that_fails_names_the_snapshot(backed: Stage) -> None:
    done = backed.deployed("2.0.0", schema=2, fault="wrong-version")
    assert (done.status, done.error) == ("FAILED", "WrongVersion")
    record = backed.records()[-1]
    assert record["snapshot"] in record["rollback"]["reason"]
    assert '"restoreDatabase": true' in record["reason"]


def test_a_release_that_keeps_failing_is_stopped_before_its_database_is_restored(
    backed: Stage, instance: Instance
) -> None:
    """Its next task would migrate the restored database."""
    assert backed.deployed("2.0.0", schema=2, fault="never-healthy").status == "FAILED"
    assert query(instance.current, "SELECT version FROM schema_migrations") == [(2,)]
    command = {"action": "rollback", "to": "1.0.0", "service": backed.service}
    back = backed.ended(backed.start(command | {"restoreDatabase": True}), 200)
    assert back.status == "SUCCEEDED", (back.error, back.cause)
    record = backed.records()[-1]
    assert record["restoration"]["stopped"] == {backed.service: 1}
    assert backed.described()["desiredCount"] == 1
    assert query(instance.current, "SELECT version FROM schema_migrations") == [(1,)]
    assert ask(backed, "/api/v2/users/first")["message"].endswith("has already been created!")
    instance.remove(record["databaseInstance"])


@pytest.mark.parametrize("what", ["password", "port"])
def test_a_database_that_lets_nobody_in_is_diagnosed(
    what: str, instance: Instance, unused: Stage, deployer: Stage
) -> None:
    if what == "password":
        instance.point(instance.url(instance.host, "wrong"))
        kind, message = "database-password", 'pq: password authentication failed for user "app"'
    else:
        instance.point(instance.url(instance.host).replace(":5432/", ":5431/"))
        kind, message = "database-unreachable", f"dial tcp {instance.host}:5431: connection refused"
    service = deployer.beside(unused.service)
    try:
        assert service.deployed("1.0.0").status == "FAILED"
        diagnosis = service.records()[-1]["diagnosis"]
        assert diagnosis["kind"] == kind
        assert f"error: connect to postgres failed: {message}" in diagnosis["log"]
    finally:
        service.end()
