"""Snapshots and instances in RDS."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, rds
from deployer.deploy import database_settings
from tests.unit.conftest import Script, refusal

OURS = {"Key": "deployer:managed", "Value": "true"}


@pytest.fixture
def instance(aws: None) -> str:
    """An instance in a network of its own."""
    vpc = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]
    client("rds").create_db_subnet_group(
        DBSubnetGroupName="private", DBSubnetGroupDescription="x", SubnetIds=[subnet["SubnetId"]]
    )
    client("rds").create_db_parameter_group(
        DBParameterGroupName="tuned", DBParameterGroupFamily="postgres16", Description="x"
    )
    client("rds").create_db_instance(
        DBInstanceIdentifier="coder-db",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="coder",
        MasterUserPassword="correct-horse",
        DBSubnetGroupName="private",
        DBParameterGroupName="tuned",
        VpcSecurityGroupIds=["sg-0123456789abcdef0"],
        MultiAZ=True,
        PubliclyAccessible=False,
        DeletionProtection=True,
    )
    return "coder-db"


def names(described: list[Any]) -> list[str]:
    return sorted(snapshot.name for snapshot in described)


# snapshots


def test_a_snapshot_is_taken_once_and_is_known_as_ours(instance: str) -> None:
    rds.take_snapshot(instance, "deployer-coder-1")
    rds.take_snapshot(instance, "deployer-coder-1")
    (response,) = client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert response["DBInstanceIdentifier"] == instance
    assert OURS in response["TagList"]
    (ours,) = rds.snapshots(instance, "deployer-coder-")
    assert (ours.name, ours.status) == ("deployer-coder-1", "available")
    assert ours.created_at


def test_snapshots_of_others_and_of_other_instances_are_not_ours(instance: str) -> None:
    rds.take_snapshot(instance, "deployer-coder-1")
    rds.take_snapshot(instance, "before-the-move")
    client("rds").create_db_instance(
        DBInstanceIdentifier="other", Engine="postgres", DBInstanceClass="db.t4g.micro"
    )
    rds.take_snapshot("other", "deployer-coder-2")
    assert names(rds.snapshots(instance, "deployer-coder-")) == ["deployer-coder-1"]


def test_every_page_of_snapshots_is_read_and_one_in_the_making_has_no_time(script: Script) -> None:
    def page(request: dict[str, Any]) -> Any:
        number = request.get("Marker", "1")
        created = {"DBSnapshotIdentifier": f"deployer-coder-{number}", "Status": "creating"}
        return {"DBSnapshots": [created]} | ({"Marker": "2"} if number == "1" else {})

    script("rds", "DescribeDBSnapshots", page)
    result = rds.snapshots("coder-db", "deployer-coder-")
    assert names(result) == ["deployer-coder-1", "deployer-coder-2"]
    assert result[0].created_at is None
    assert script.requests("DescribeDBSnapshots")[0]["SnapshotType"] == "manual"


def test_a_snapshot_of_an_instance_that_is_not_there_is_an_error(aws: None) -> None:
    with pytest.raises(ClientError, match="DBInstanceNotFound"):
        rds.take_snapshot("nobody", "deployer-coder-1")


def test_a_busy_instance_is_asked_again_later(script: Script) -> None:
    script("rds", "CreateDBSnapshot", refusal("InvalidDBInstanceState"))
    rds.take_snapshot("coder-db", "deployer-coder-1")


def test_a_snapshot_is_deleted_and_may_be_gone(instance: str) -> None:
    rds.take_snapshot(instance, "deployer-coder-1")
    rds.take_snapshot(instance, "deployer-coder-2")
    rds.delete_snapshot("deployer-coder-1")
    rds.delete_snapshot("deployer-coder-1")
    assert names(rds.snapshots(instance, "deployer-coder-")) == ["deployer-coder-2"]


# instances


def test_an_instance_that_is_not_there_is_none(instance: str) -> None:
    result = rds.instance(instance)
    assert result and result["DBInstanceStatus"] == "available"
    assert rds.instance("nobody") is None


def test_a_restored_instance_is_made_as_the_old_one_is(instance: str) -> None:
    rds.take_snapshot(instance, "deployer-coder-1")
    old = rds.instance(instance)
    assert old
    rds.restore("deployer-coder-1", "restored", database_settings.restored_settings(old))
    new = rds.instance("restored")
    assert new
    assert new["DBSubnetGroup"]["DBSubnetGroupName"] == "private"
    for same in ("DBInstanceClass", "Engine", "MultiAZ", "DeletionProtection"):
        assert new[same] == old[same], same
    assert OURS in new["TagList"]


def test_an_instance_is_restored_once(script: Script) -> None:
    script("rds", "RestoreDBInstanceFromDBSnapshot", refusal("DBInstanceAlreadyExists"))
    rds.restore("deployer-coder-1", "restored", {})
    script("rds", "RestoreDBInstanceFromDBSnapshot", refusal("DBSnapshotNotFound"))
    with pytest.raises(ClientError, match="DBSnapshotNotFound"):
        rds.restore("deployer-coder-1", "restored", {})


def test_an_instance_that_was_restored_before_is_known_as_ours_once(script: Script) -> None:
    script("rds", "RestoreDBInstanceFromDBSnapshot", {"DBInstance": {}})
    rds.restore("deployer-coder-1", "restored", {"Tags": [OURS, {"Key": "team", "Value": "a"}]})
    (request,) = script.requests("RestoreDBInstanceFromDBSnapshot")
    assert request["Tags"] == [{"Key": "team", "Value": "a"}, OURS]


def test_settings_are_changed_at_once(instance: str) -> None:
    assert rds.modify(instance, {"PreferredMaintenanceWindow": "tue:04:00-tue:04:30"}) is None
    result = rds.instance(instance)
    assert result and result["PreferredMaintenanceWindow"] == "tue:04:00-tue:04:30"


def test_a_busy_instance_is_modified_by_a_later_call(script: Script) -> None:
    script("rds", "ModifyDBInstance", refusal("InvalidDBInstanceState"))
    assert rds.modify("coder-db", {"MaxAllocatedStorage": 100}) is None


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidParameterCombination"])
def test_why_settings_are_refused_is_told(script: Script, code: str) -> None:
    script("rds", "ModifyDBInstance", refusal(code))
    assert code in (rds.modify("coder-db", {"MonitoringInterval": 60}) or "")
    script("rds", "ModifyDBInstance", refusal("DBInstanceNotFound"))
    with pytest.raises(ClientError, match="DBInstanceNotFound"):
        rds.modify("coder-db", {"MonitoringInterval": 60})
