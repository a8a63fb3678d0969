"""RDS instances with a PostgreSQL server in them, as a client of the database sees them."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local_aws.aws import LocalAws

PASSWORD = "it's/secret"


class Rds:
    """The instances of one test."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws, self.name, self.client = aws, name, aws.client("rds")

    def begin(self, name: str | None = None, **settings: Any) -> dict[str, Any]:
        """Create an instance; what the call answers."""
        request = {
            "DBInstanceIdentifier": name or self.name,
            "Engine": "postgres",
            "DBInstanceClass": "db.t4g.micro",
            "AllocatedStorage": 20,
            "MasterUsername": "owner",
            "MasterUserPassword": PASSWORD,
            "DBName": "app",
        }
        return dict(self.client.create_db_instance(**request | settings)["DBInstance"])

    def create(self, name: str | None = None, **settings: Any) -> dict[str, Any]:
        """Create an instance and wait for it."""
        self.begin(name, **settings)
        return self.available(name)

    def describe(self, name: str | None = None) -> dict[str, Any]:
        response = self.client.describe_db_instances(DBInstanceIdentifier=name or self.name)
        return dict(response["DBInstances"][0])

    def waited(self, status: str, name: str | None = None) -> dict[str, Any]:
        return until(lambda: self.describe(name), lambda i: i["DBInstanceStatus"] == status)

    def available(self, name: str | None = None) -> dict[str, Any]:
        return self.waited("available", name)

    def gone(self, name: str | None = None) -> None:
        with pytest.raises(self.client.exceptions.DBInstanceNotFoundFault):
            until(lambda: self.describe(name), lambda _: False)

    def snapshot(self, snapshot: str) -> None:
        self.client.create_db_snapshot(
            DBInstanceIdentifier=self.name, DBSnapshotIdentifier=snapshot
        )
        self.taken(snapshot)

    def taken(self, snapshot: str) -> None:
        def look() -> Any:
            response = self.client.describe_db_snapshots(DBSnapshotIdentifier=snapshot)
            return response["DBSnapshots"][0]["Status"]

        until(look, lambda status: status == "available")

    def restore(self, snapshot: str, name: str, **settings: Any) -> dict[str, Any]:
        self.client.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=name, DBSnapshotIdentifier=snapshot, **settings
        )
        return self.available(name)

    def connect(self, **other: Any) -> Any:
        """A connection, by default as the master user to the one instance of the test."""
        name = other.pop("name", None)
        endpoint = self.describe(name)["Endpoint"]
        request = {
            "host": endpoint["Address"],
            "port": endpoint["Port"],
            "user": "owner",
            "password": PASSWORD,
            "dbname": "app",
            "sslmode": "require",
        }
        return psycopg2.connect(**request | other)

    def query(self, statement: str, **other: Any) -> list[tuple[Any, ...]]:
        with (
            closing(self.connect(**other)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def refused(self, action: str, code: str, message: str, **request: Any) -> None:
        """The action must be refused so."""
        with pytest.raises(self.client.exceptions.ClientError) as refusal:
            getattr(self.client, action)(**request)
        output = refusal.value.response["Error"]
        assert (output["Code"], output["Message"]) == (code, message)


def until[T](look: Callable[[], T], good: Callable[[T], bool], within: float = 120) -> T:
    deadline = time.monotonic() + within
    while not good(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    return seen


def remove_all(client: Any, prefix: str) -> None:
    for instance in client.describe_db_instances()["DBInstances"]:
        name = instance["DBInstanceIdentifier"]
        if name.startswith(prefix) and instance["DBInstanceStatus"] != "deleting":
            if instance["DeletionProtection"]:
                client.modify_db_instance(DBInstanceIdentifier=name, DeletionProtection=False)
            client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


@pytest.fixture
def rds(aws: LocalAws, name: str) -> Iterator[Rds]:
    yield Rds(aws, name)
    remove_all(aws.client("rds"), name)


# An instance


def test_an_instance_is_a_server_once_it_is_available(rds: Rds) -> None:
    created = rds.begin(EngineVersion="16.4")
    assert created["DBInstanceStatus"] == "creating"

    endpoint = rds.available()["Endpoint"]

    assert endpoint["Address"].startswith("127.11.")
    assert endpoint["Port"] == 5432
    output = rds.query("SELECT current_user, current_setting('server_version_num')::int / 10000")
    assert output == [("owner", 16)]
    may = "SELECT rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE rolname = current_user"
    assert rds.query(may, dbname="postgres") == [(True, True, False)]
    with closing(rds.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE big AS SELECT repeat('x', 1000) t FROM generate_series(1, 9999)"
        )
        cursor.execute("SELECT * FROM big")
        assert len(cursor.fetchall()) == 9999


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"password": "wrong"}, 'password authentication failed for user "owner"'),
        ({"user": "rdsadmin"}, 'password authentication failed for user "rdsadmin"'),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"sslmode": "disable"}, "no pg_hba.conf entry for this host, no encryption"),
    ],
)
def test_who_may_not_come_in_is_told_why(shared: Rds, other: dict[str, str], message: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match=message):
        shared.connect(**other)


@pytest.fixture(scope="module")
def shared(aws: LocalAws) -> Iterator[Rds]:
    """An instance that no test changes."""
    result = Rds(aws, "test-shared")
    result.create(Port=5433)
    yield result
    remove_all(result.client, result.name)


def test_each_instance_has_an_address_of_its_own_and_the_port_that_was_asked_for(
    rds: Rds, shared: Rds
) -> None:
    one, other = rds.create(Port=5433)["Endpoint"], shared.describe()["Endpoint"]
    assert one["Address"] != other["Address"]
    assert one["Port"] == other["Port"] == 5433
    rds.query("CREATE TABLE here (x int)")
    assert shared.query("SELECT to_regclass('here')") == [(None,)]


def test_settings_and_the_password_are_modified(rds: Rds) -> None:
    rds.create()
    rds.client.modify_db_instance(
        DBInstanceIdentifier=rds.name,
        MasterUserPassword="another",
        BackupRetentionPeriod=14,
        ApplyImmediately=True,
    )
    assert rds.describe()["BackupRetentionPeriod"] == 14
    assert rds.query("SELECT 1", password="another") == [(1,)]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        rds.connect()


# Its end


def test_a_protected_instance_is_not_deleted(rds: Rds) -> None:
    rds.create(DeletionProtection=True)
    rds.refused(
        "delete_db_instance",
        "InvalidParameterCombination",
        "Cannot delete protected DB Instance, please disable deletion protection and try again.",
        DBInstanceIdentifier=rds.name,
        SkipFinalSnapshot=True,
    )
    assert rds.query("SELECT 1") == [(1,)]

    rds.client.modify_db_instance(DBInstanceIdentifier=rds.name, DeletionProtection=False)
    rds.client.delete_db_instance(DBInstanceIdentifier=rds.name, SkipFinalSnapshot=True)
    rds.gone()


def test_a_final_snapshot_outlives_its_instance(rds: Rds) -> None:
    rds.create()
    rds.query("CREATE TABLE kept AS SELECT 42 x")
    final = f"{rds.name}-final"
    rds.client.delete_db_instance(DBInstanceIdentifier=rds.name, FinalDBSnapshotIdentifier=final)
    rds.gone()

    rds.taken(final)
    rds.restore(final, rds.name)
    assert rds.query("SELECT x FROM kept") == [(42,)]


# Snapshots


def test_a_snapshot_is_the_data_of_its_time_and_restored_beside_the_instance(rds: Rds) -> None:
    rds.create(DeletionProtection=True, Tags=[{"Key": "team", "Value": "a"}])
    rds.query("CREATE TABLE kept AS SELECT 1 x")
    snapshot, restored = f"{rds.name}-s", f"{rds.name}-restored"
    rds.snapshot(snapshot)
    rds.query("UPDATE kept SET x = 2")

    result = rds.restore(
        snapshot,
        restored,
        VpcSecurityGroupIds=["sg-1"],
        Tags=[{"Key": "team:managed", "Value": "true"}],
    )

    assert result["Endpoint"]["Port"] == 5432
    assert result["DBName"] == "app"
    assert result["DeletionProtection"] is False, "nothing but the data comes from the snapshot"
    assert result["VpcSecurityGroups"] == [{"VpcSecurityGroupId": "sg-1", "Status": "active"}]
    assert result["TagList"] == [{"Key": "team:managed", "Value": "true"}]
    assert rds.query("SELECT x FROM kept", name=restored) == [(1,)]
    rds.query("UPDATE kept SET x = 3", name=restored)
    assert rds.query("SELECT x FROM kept") == [(2,)]

    rds.client.delete_db_snapshot(DBSnapshotIdentifier=snapshot)
    assert rds.query("SELECT x FROM kept", name=restored) == [(3,)]
    rds.refused(
        "restore_db_instance_from_db_snapshot",
        "DBSnapshotNotFound",
        f"DBSnapshot {snapshot} not found.",
        DBInstanceIdentifier=f"{rds.name}-late",
        DBSnapshotIdentifier=snapshot,
    )


def test_a_snapshot_is_taken_while_others_write(rds: Rds) -> None:
    rds.create()
    rds.query("CREATE TABLE kept (x int)")
    with closing(rds.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO kept SELECT generate_series(1, 50000)")
        rds.snapshot(f"{rds.name}-s")  # in the middle of a transaction, which does not count
        connection.commit()
    rds.restore(f"{rds.name}-s", f"{rds.name}-restored")
    assert rds.query("SELECT count(*) FROM kept", name=f"{rds.name}-restored") == [(0,)]
    assert rds.query("SELECT count(*) FROM kept") == [(50000,)]


# CloudFormation

_STACK: dict[str, Any] = {
    "Password": {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {
            "GenerateSecretString": {
                "SecretStringTemplate": '{"username": "owner"}',
                "GenerateStringKey": "password",
                "PasswordLength": 40,
                "ExcludePunctuation": True,
            }
        },
    },
    "Database": {
        "Type": "AWS::RDS::DBInstance",
        "DeletionPolicy": "Snapshot",
        "Properties": {
            "Engine": "postgres",
            "DBInstanceClass": "db.t4g.micro",
            "AllocatedStorage": "20",
            "DBName": "app",
            "MasterUsername": "owner",
            "MasterUserPassword": {
                "Fn::Sub": "{{resolve:secretsmanager:${Password}:SecretString:password}}"
            },
            "DeletionProtection": True,
        },
    },
    "Url": {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {
            "SecretString": {
                "Fn::Sub": "postgresql://owner:{{resolve:secretsmanager:${Password}:SecretString"
                ":password}}@${Database.Endpoint.Address}:${Database.Endpoint.Port}/app"
                "?sslmode=require"
            }
        },
    },
}


@pytest.fixture
def stack(aws: LocalAws, name: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Creates the test's stack of these resources, or updates it."""
    client = aws.client("cloudformation")

    def deploy(resources: dict[str, Any]) -> None:
        body = json.dumps({"Resources": resources})
        try:
            client.create_stack(StackName=name, TemplateBody=body)
            done = "stack_create_complete"
        except client.exceptions.AlreadyExistsException:
            client.update_stack(StackName=name, TemplateBody=body)
            done = "stack_update_complete"
        client.get_waiter(done).wait(StackName=name, WaiterConfig={"Delay": 0.05})

    yield deploy
    with contextlib.suppress(client.exceptions.ClientError):
        client.delete_stack(StackName=name)


def test_a_stack_makes_the_database_and_its_url_and_leaves_a_snapshot(
    aws: LocalAws, rds: Rds, stack: Callable[[dict[str, Any]], None], name: str
) -> None:
    stack(_STACK)
    cloudformation = aws.client("cloudformation")
    response = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    ids = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in response}
    secrets = aws.client("secretsmanager")
    url = secrets.get_secret_value(SecretId=ids["Url"])["SecretString"]
    password = json.loads(secrets.get_secret_value(SecretId=ids["Password"])["SecretString"])
    assert password["password"].isalnum()
    assert len(password["password"]) == 40
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 x")

    cloudformation.delete_stack(StackName=name)
    until(
        lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"],
        lambda status: bool(status == "DELETE_FAILED"),
    )
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [e.get("ResourceStatusReason", "") for e in events]
    assert any("disable deletion protection" in reason for reason in reasons)
    psycopg2.connect(url).close()

    rds.client.modify_db_instance(DBInstanceIdentifier=ids["Database"], DeletionProtection=False)
    cloudformation.delete_stack(StackName=name)
    rds.gone(ids["Database"])
    (snapshot,) = rds.client.describe_db_snapshots(DBInstanceIdentifier=ids["Database"])[
        "DBSnapshots"
    ]

    restored = {**_STACK["Database"], "DeletionPolicy": "Delete"}
    restored["Properties"] = {
        "DBInstanceIdentifier": rds.name,
        "DBInstanceClass": "db.t4g.micro",
        "DBSnapshotIdentifier": snapshot["DBSnapshotIdentifier"],
        "Engine": "postgres",
    }
    stack_name = f"{name}-again"
    cloudformation.create_stack(
        StackName=stack_name, TemplateBody=json.dumps({"Resources": {"Database": restored}})
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=stack_name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
    )
    assert rds.query("SELECT x FROM kept", password=password["password"]) == [(42,)]
    cloudformation.delete_stack(StackName=stack_name)
    rds.gone()


def test_a_stack_whose_database_cannot_be_made_fails_and_leaves_none(
    aws: LocalAws, rds: Rds
) -> None:
    properties = {
        **_STACK["Database"]["Properties"],
        "DBInstanceIdentifier": rds.name,
        "DeletionProtection": False,
        "MasterUsername": "rdsadmin",  # is taken
        "MasterUserPassword": "password",
    }
    body = {"Resources": {"Database": {"Type": "AWS::RDS::DBInstance", "Properties": properties}}}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=rds.name, TemplateBody=json.dumps(body))
    until(
        lambda: cloudformation.describe_stacks(StackName=rds.name)["Stacks"][0]["StackStatus"],
        lambda status: bool(status == "ROLLBACK_COMPLETE"),
    )
    events = cloudformation.describe_stack_events(StackName=rds.name)["StackEvents"]
    assert any("failed; the log" in e.get("ResourceStatusReason", "") for e in events)
    rds.gone()
    assert 'role "rdsadmin" already exists' in aws.log.read_text()


# The servers


def servers(directory: Path) -> set[int]:
    """The PostgreSQL processes that work in an instance's directory."""
    matches = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(directory):
                name = (entry / "comm").read_text().strip()
                matches |= {int(entry.name)} if name == "postgres" else set()
    return matches


def segments(owners: set[int]) -> set[str]:
    """The System V shared memory segments that these processes made."""
    rows = [row.split() for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {row[1] for row in rows if int(row[4]) in owners}


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGKILL], ids=lambda order: order.name)
def test_a_server_ends_with_the_local_aws_and_leaves_nothing(order: signal.Signals) -> None:
    with LocalAws.start() as aws:
        Rds(aws, "test").create()
        mine = servers(aws.directory)
        assert segments(mine)
        os.kill(aws.pid, order)
        aws.wait()
        until(lambda: servers(aws.directory), lambda described: not described)
        until(lambda: segments(mine), lambda left: not left)
