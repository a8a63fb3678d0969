"""Database snapshots and instances in RDS."""

from typing import TYPE_CHECKING, Any

from deployer.aws import client
from deployer.database import Snapshot

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

_OURS = [{"Key": "deployer:managed", "Value": "true"}]


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


def restore(snapshot: str, name: str, like: dict[str, Any]) -> None:
    """Begin to restore a snapshot into a new instance beside the old one, made as that one is;
    unless there is one of that name.

    RDS takes neither network nor parameter group from the snapshot.
    """
    request: dict[str, Any] = {
        "DBInstanceClass": like.get("DBInstanceClass"),
        "DBSubnetGroupName": (like.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        "VpcSecurityGroupIds": [g["VpcSecurityGroupId"] for g in like.get("VpcSecurityGroups", [])],
        "DBParameterGroupName": next(
            (g["DBParameterGroupName"] for g in like.get("DBParameterGroups", [])), None
        ),
        "MultiAZ": like.get("MultiAZ"),
        "PubliclyAccessible": like.get("PubliclyAccessible"),
        "DeletionProtection": like.get("DeletionProtection"),
    }
    known = {key: value for key, value in request.items() if value not in (None, [])}
    try:
        _rds().restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=name,
            DBSnapshotIdentifier=snapshot,
            Tags=_OURS,  # type: ignore[arg-type]
            **known,
        )
    except _rds().exceptions.DBInstanceAlreadyExistsFault:
        return
