"""Database snapshots and instances in RDS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused
from deployer.deploy.database import Snapshot

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

_TAGS = [{"Key": "deployer:managed", "Value": "true"}]
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
    """Return the deployer's snapshots of an instance."""
    pages = (
        _rds()
        .get_paginator("describe_db_snapshots")
        .paginate(DBInstanceIdentifier=instance, SnapshotType="manual")
    )
    return [
        Snapshot(
            snapshot["DBSnapshotIdentifier"], snapshot["Status"], snapshot.get("SnapshotCreateTime")
        )
        for page in pages
        for snapshot in page["DBSnapshots"]
        if snapshot["DBSnapshotIdentifier"].startswith(prefix)
    ]


def take_snapshot(instance: str, name: str) -> None:
    """Start a snapshot, unless it exists already or the instance is busy.

    If the instance is busy, with its nightly backup for example, a later call starts the snapshot.
    """
    try:
        _rds().create_db_snapshot(
            DBInstanceIdentifier=instance,
            DBSnapshotIdentifier=name,
            Tags=_TAGS,  # type: ignore[arg-type]
        )
    except (
        _rds().exceptions.DBSnapshotAlreadyExistsFault,
        _rds().exceptions.InvalidDBInstanceStateFault,
    ):
        return


def delete_snapshot(name: str) -> None:
    """Delete a snapshot if it exists."""
    try:
        _rds().delete_db_snapshot(DBSnapshotIdentifier=name)
    except _rds().exceptions.DBSnapshotNotFoundFault:
        return


def instance(name: str) -> dict[str, Any] | None:
    """Return an instance as DescribeDBInstances describes it, or None if it does not exist."""
    try:
        instances = _rds().describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    except _rds().exceptions.DBInstanceNotFoundFault:
        return None
    return dict(instances[0])


def restore(snapshot: str, name: str, settings: Mapping[str, Any]) -> None:
    """Start to restore a snapshot into a new instance, unless the instance exists already."""
    tags = [*(tag for tag in settings.get("Tags", []) if tag not in _TAGS), *_TAGS]
    try:
        _rds().restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=name, DBSnapshotIdentifier=snapshot, **{**settings, "Tags": tags}
        )
    except _rds().exceptions.DBInstanceAlreadyExistsFault:
        return


def modify(name: str, settings: Mapping[str, Any]) -> str | None:
    """Change an instance's settings immediately; if it is busy, a later call changes them.

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
