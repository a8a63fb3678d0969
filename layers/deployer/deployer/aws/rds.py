"""Database snapshots and instances in RDS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused
from deployer.deploy.database import Snapshot

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

_OURS = [{"Key": "deployer:managed", "Value": "true"}]
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
_BAD_SETTINGS = (
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "KMSKeyNotAccessibleFault",
    "StorageQuotaExceeded",
)


def _rds() -> "RDSClient":
    return client("rds")  # type: ignore[no-any-return]


def snapshots(instance: str, prefix: str) -> list[Snapshot]:
    """Our snapshots of an instance."""
    pages = (
        _rds()
        .get_paginator("describe_db_snapshots")
        .paginate(DBInstanceIdentifier=instance, SnapshotType="manual")
    )
    return [
        Snapshot(found["DBSnapshotIdentifier"], found["Status"], found.get("SnapshotCreateTime"))
        for page in pages
        for found in page["DBSnapshots"]
        if found["DBSnapshotIdentifier"].startswith(prefix)
    ]


def take_snapshot(instance: str, name: str) -> None:
    """Begin a snapshot, unless there is one of that name, or the instance is busy (with its own
    nightly backup, say): then a later call begins it."""
    try:
        _rds().create_db_snapshot(
            DBInstanceIdentifier=instance,
            DBSnapshotIdentifier=name,
            Tags=_OURS,  # type: ignore[arg-type]
        )
    except (
        _rds().exceptions.DBSnapshotAlreadyExistsFault,
        _rds().exceptions.InvalidDBInstanceStateFault,
    ):
        return


def delete_snapshot(name: str) -> None:
    """Delete a snapshot, unless it is gone."""
    try:
        _rds().delete_db_snapshot(DBSnapshotIdentifier=name)
    except _rds().exceptions.DBSnapshotNotFoundFault:
        return


def instance(name: str) -> dict[str, Any] | None:
    """An instance as DescribeDBInstances gives it; None if there is none."""
    try:
        found = _rds().describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    except _rds().exceptions.DBInstanceNotFoundFault:
        return None
    return dict(found[0])


def restore(snapshot: str, name: str, settings: Mapping[str, Any]) -> None:
    """Begin to restore a snapshot into a new instance; unless there is one of that name."""
    tags = [*(tag for tag in settings.get("Tags", []) if tag not in _OURS), *_OURS]
    try:
        _rds().restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=name, DBSnapshotIdentifier=snapshot, **{**settings, "Tags": tags}
        )
    except _rds().exceptions.DBInstanceAlreadyExistsFault:
        return


def modify(name: str, settings: Mapping[str, Any]) -> str | None:
    """Change an instance's settings at once; a later call changes those of a busy one.

    Returns:
        Why RDS refuses these settings, or None.
    """
    try:
        _rds().modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, **settings)
    except _rds().exceptions.InvalidDBInstanceStateFault:
        return None
    except ClientError as error:
        if not refused(error) and error.response["Error"]["Code"] not in _BAD_SETTINGS:
            raise
        return str(error)
    return None
