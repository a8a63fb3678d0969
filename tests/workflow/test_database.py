"""A release that changes the schema: backed up before, and gone back from only with the backup.

RDS on the local AWS keeps instances and snapshots as records; the demo's database is a file, of
which the test keeps the copy that a snapshot would hold.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.stage import Stage


@pytest.fixture
def backed(make: Callable[..., Stage], deployer: Stage) -> Iterator[Stage]:
    """A live service (1.0.0, schema 1) whose spec names an RDS instance, and keeps one backup."""
    rds = deployer.aws.client("rds")
    name = "test-database"
    rds.create_db_instance(
        DBInstanceIdentifier=name,
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="coder",
        ManageMasterUserPassword=True,
    )
    service = make(DatabaseInstance=name, DatabaseSnapshots="1")
    assert service.deployed("1.0.0").status == "SUCCEEDED"
    yield service
    rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def snapshots(stage: Stage) -> list[str]:
    found = stage.aws.client("rds").describe_db_snapshots()["DBSnapshots"]
    mine = f"deployer-{stage.service}-"
    return [s["DBSnapshotIdentifier"] for s in found if s["DBSnapshotIdentifier"].startswith(mine)]


def test_the_database_is_backed_up_and_restored_with_the_release(backed: Stage) -> None:
    url = backed.aws.client("secretsmanager").get_secret_value(
        SecretId=f"{backed.service}/database-url"
    )["SecretString"]
    database = Path(url.removeprefix("file://"))
    assert backed.deployed("1.1.0").status == "SUCCEEDED"
    assert snapshots(backed) == [], "the schema did not grow"

    copy = database.with_suffix(".snapshot")
    shutil.copy(database, copy)
    grown = backed.deployed("2.0.0", schema=2)
    assert grown.status == "SUCCEEDED"
    assert "Back up database" in grown.path
    record = backed.records()[-1]
    assert snapshots(backed) == [record["snapshot"]]

    refused = backed.ended(
        backed.start({"action": "rollback", "to": "1.1.0", "service": backed.service})
    )
    assert (refused.status, refused.error) == ("FAILED", "RequestRejected")
    assert record["snapshot"] in refused.cause
    assert "restoreDatabase" in refused.cause
    assert "would be lost" in refused.cause

    shutil.copy(copy, database)
    order = {
        "action": "rollback",
        "to": "1.1.0",
        "service": backed.service,
        "restoreDatabase": True,
    }
    back = backed.ended(backed.start(order), 200)
    assert back.status == "SUCCEEDED", (back.error, back.cause)
    assert "Restore database" in back.path
    restored = next(r["databaseInstance"] for r in backed.records() if r.get("restore"))
    instances = backed.aws.client("rds").describe_db_instances()["DBInstances"]
    assert {"test-database", restored} <= {i["DBInstanceIdentifier"] for i in instances}
    url = backed.aws.client("secretsmanager").get_secret_value(
        SecretId=f"{backed.service}/database-url"
    )["SecretString"]
    host = next(i for i in instances if i["DBInstanceIdentifier"] == restored)["Endpoint"]
    assert host["Address"] in url
    backed.aws.client("rds").delete_db_instance(
        DBInstanceIdentifier=restored, SkipFinalSnapshot=True
    )


def test_as_many_backups_are_kept_as_the_spec_says(backed: Stage) -> None:
    assert backed.deployed("2.0.0", schema=2).status == "SUCCEEDED"
    (first,) = snapshots(backed)
    assert backed.deployed("3.0.0", schema=3).status == "SUCCEEDED"
    assert snapshots(backed) == [backed.records()[-1]["snapshot"]] != [first]


def test_a_migration_that_fails_names_the_snapshot(backed: Stage) -> None:
    done = backed.deployed("2.0.0", schema=2, fault="wrong-version")
    assert (done.status, done.error) == ("FAILED", "WrongVersion")
    record = backed.records()[-1]
    assert record["snapshot"] in record["rollback"]["reason"]
    assert '"restoreDatabase": true' in record["reason"]
