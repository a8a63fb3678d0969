"""A restored instance is like the old one in everything that RDS lets us set."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, StructureShape
from botocore.validate import validate_parameters

from deployer.deploy.database_settings import (
    PATIENCE,
    overdue,
    remaining_settings,
    restored_settings,
    without_others,
)

NOW = datetime(2026, 11, 23, 14, 25, tzinfo=UTC)
MODEL = ServiceModel(Loader().load_service_model("rds", "service-2"), "rds")
OLD: dict[str, Any] = {
    "DBInstanceIdentifier": "coder-db",
    "DBInstanceStatus": "available",
    "Engine": "postgres",
    "EngineVersion": "16.4",
    "DBInstanceClass": "db.m7g.large",
    "AllocatedStorage": 500,
    "MaxAllocatedStorage": 1000,
    "AutoMinorVersionUpgrade": False,
    "BackupRetentionPeriod": 35,
    "BackupTarget": "region",
    "CACertificateIdentifier": "rds-ca-rsa4096-g1",
    "CopyTagsToSnapshot": True,
    "CustomerOwnedIpEnabled": False,
    "DBParameterGroups": [{"DBParameterGroupName": "tuned", "ParameterApplyStatus": "in-sync"}],
    "DBSubnetGroup": {"DBSubnetGroupName": "private"},
    "DatabaseInsightsMode": "advanced",
    "DedicatedLogVolume": True,
    "DeletionProtection": True,
    "EnabledCloudwatchLogsExports": ["postgresql", "upgrade"],
    "Endpoint": {"Address": "old.example.com", "Port": 5433},
    "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
    "IAMDatabaseAuthenticationEnabled": True,
    "Iops": 12000,
    "LicenseModel": "postgresql-license",
    "MonitoringInterval": 60,
    "MonitoringRoleArn": "arn:aws:iam::123456789012:role/rds-monitoring-role",
    "MultiAZ": True,
    "NetworkType": "DUAL",
    "OptionGroupMemberships": [{"OptionGroupName": "team", "Status": "in-sync"}],
    "PerformanceInsightsEnabled": True,
    "PerformanceInsightsKMSKeyId": "arn:aws:kms:us-east-1:123456789012:key/1",
    "PerformanceInsightsRetentionPeriod": 465,
    "PreferredBackupWindow": "03:00-03:30",
    "PreferredMaintenanceWindow": "sun:04:00-sun:04:30",
    "ProcessorFeatures": [{"Name": "coreCount", "Value": "1"}],
    "PubliclyAccessible": False,
    "StorageThroughput": 500,
    "StorageType": "gp3",
    "TagList": [
        {"Key": "team", "Value": "platform"},
        {"Key": "aws:cloudformation:stack-name", "Value": "coder-database"},
    ],
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}],
}
BARE = {"Engine": "postgres", "DBInstanceStatus": "available"}

# What is not asked of RestoreDBInstanceFromDBSnapshot, and why.
NOT_RESTORED = {
    "AdditionalStorageVolumes": "of Oracle and SQL Server; a snapshot holds them",
    "AvailabilityZone": "the old one's may be what failed; RDS chooses one of the subnet group's",
    "CustomIamInstanceProfile": "RDS Custom, whose snapshots are restored by hand",
    "DBClusterSnapshotIdentifier": "a snapshot of a cluster, which the deployer does not take",
    "DBName": "the snapshot has it",
    "Domain": "a directory takes a role to pass; by hand, as docs/infrastructure.md says",
    "DomainAuthSecretArn": "as Domain",
    "DomainDnsIps": "as Domain",
    "DomainFqdn": "as Domain",
    "DomainIAMRoleName": "as Domain",
    "DomainOu": "as Domain",
    "Engine": "the snapshot has it",
    "ManageMasterUserPassword": "of Oracle; the URL in the secret has the snapshot's password",
    "MasterUserSecretKmsKeyId": "as ManageMasterUserPassword",
    "TagSpecifications": "tags of other resources than the instance",
    "TdeCredentialArn": "of Oracle and SQL Server; the option group has it",
    "TdeCredentialPassword": "as TdeCredentialArn",
    "UseDefaultProcessorFeatures": "ProcessorFeatures says it where they are not the default",
}
# What is not asked of ModifyDBInstance beside what the restoration was asked for.
NOT_MODIFIED = {
    "AllowMajorVersionUpgrade": "the engine stays the snapshot's",
    "AutomationMode": "RDS Custom",
    "AwsBackupRecoveryPointArn": "AWS Backup manages its own",
    "CertificateRotationRestart": "nothing is rotated: the restoration was asked for the CA",
    "CloudwatchLogsExportConfiguration": "the restoration was asked for the logs",
    "DBPortNumber": "the restoration was asked for the port",
    "DBSecurityGroups": "of EC2-Classic, which is gone",
    "DisableDomain": "it is in none",
    "EngineVersion": "the snapshot's; AutoMinorVersionUpgrade renews it in the window",
    "MasterUserAuthenticationType": "the URL in the secret has the snapshot's password",
    "MasterUserPassword": "as MasterUserAuthenticationType",
    "MultiTenant": "of Oracle; the snapshot has it",
    "NewDBInstanceIdentifier": "the old instance keeps its name",
    "PromotionTier": "Aurora",
    "ReplicaMode": "a restored instance is no replica",
    "ResumeFullAutomationModeMinutes": "RDS Custom",
    "RotateMasterUserPassword": "as MasterUserAuthenticationType",
}


def shape(operation: str) -> StructureShape:
    result = MODEL.operation_model(operation).input_shape
    assert result
    return result


def members(operation: str) -> set[str]:
    return set(shape(operation).members)


def test_every_setting_of_a_restoration_is_set_or_left_out_on_purpose() -> None:
    requests = restored_settings(OLD)
    given = requests.keys() | {"DBInstanceIdentifier", "DBSnapshotIdentifier"}
    assert given | NOT_RESTORED.keys() == members("RestoreDBInstanceFromDBSnapshot")
    assert not given & NOT_RESTORED.keys()
    request = {"DBInstanceIdentifier": "new", "DBSnapshotIdentifier": "s", **requests}
    validate_parameters(request, shape("RestoreDBInstanceFromDBSnapshot"))


def test_every_setting_of_a_modification_is_set_or_left_out_on_purpose() -> None:
    requests = remaining_settings(OLD, BARE)
    given = requests.keys() | {"DBInstanceIdentifier", "ApplyImmediately"}
    restored = members("RestoreDBInstanceFromDBSnapshot")
    assert given | (NOT_MODIFIED.keys() - restored) == members("ModifyDBInstance") - restored | {
        "DBInstanceIdentifier"
    }
    assert not given & NOT_MODIFIED.keys()
    assert not requests.keys() & restored
    request = {"DBInstanceIdentifier": "new", "ApplyImmediately": True, **requests}
    validate_parameters(request, shape("ModifyDBInstance"))


def test_each_setting_is_the_old_instances() -> None:
    assert validated(OLD)
    request = restored_settings(OLD)
    assert request["EnableCloudwatchLogsExports"] == ["postgresql", "upgrade"]
    assert request["EnableIAMDatabaseAuthentication"] is True
    assert request["AutoMinorVersionUpgrade"] is False
    assert request["Port"] == 5433
    assert request["VpcSecurityGroupIds"] == ["sg-1"]
    assert request["DBParameterGroupName"] == "tuned"
    assert request["Tags"] == [{"Key": "team", "Value": "platform"}], "aws: is CloudFormation's"
    rest = remaining_settings(OLD, BARE)
    assert rest["EnablePerformanceInsights"] is True
    assert (rest["MaxAllocatedStorage"], rest["MonitoringInterval"]) == (1000, 60)


def validated(instance: dict[str, Any]) -> bool:
    """So that no test rests on an instance that RDS could not show."""
    validate_parameters(instance, MODEL.shape_for("DBInstance"))
    return True


def test_nothing_is_asked_of_an_instance_that_is_gone() -> None:
    assert restored_settings({}) == {}
    assert remaining_settings({}, BARE) == {}


@pytest.mark.parametrize(
    ("engine", "size", "fixed"),
    [
        ("postgres", 399, True),
        ("postgres", 400, False),
        ("mysql", 20, True),
        ("oracle-ee", 199, True),
        ("oracle-ee", 200, False),
        ("sqlserver-ex", 20, False),
    ],
)
def test_a_small_gp3_volume_has_the_iops_that_rds_gives_it(
    engine: str, size: int, fixed: bool
) -> None:
    """RDS shows them, and refuses them in a request."""
    request = restored_settings(OLD | {"Engine": engine, "AllocatedStorage": size})
    assert ("Iops" not in request) == fixed
    assert ("StorageThroughput" not in request) == fixed
    assert restored_settings(OLD | {"StorageType": "io2", "AllocatedStorage": 100})["Iops"]


def test_a_default_option_group_is_rdss_own_choice() -> None:
    default = [{"OptionGroupName": "default:postgres-16", "Status": "in-sync"}]
    assert "OptionGroupName" not in restored_settings(OLD | {"OptionGroupMemberships": default})


@pytest.mark.parametrize(
    ("differs", "requested"),
    [
        ({}, set()),
        ({"MaxAllocatedStorage": None}, {"MaxAllocatedStorage"}),
        ({"MonitoringInterval": 0}, {"MonitoringInterval", "MonitoringRoleArn"}),
        (
            {"PerformanceInsightsRetentionPeriod": 7},
            {
                "EnablePerformanceInsights",
                "PerformanceInsightsKMSKeyId",
                "PerformanceInsightsRetentionPeriod",
                "DatabaseInsightsMode",
            },
        ),
    ],
)
def test_only_what_differs_is_modified(differs: dict[str, Any], requested: set[str]) -> None:
    assert remaining_settings(OLD, OLD | differs).keys() == requested


def test_what_is_off_is_not_turned_on() -> None:
    off = {"PerformanceInsightsEnabled": False, "MonitoringInterval": 0}
    assert remaining_settings(BARE | off, BARE) == {}


def test_what_takes_more_rights_can_be_left_out() -> None:
    assert without_others(remaining_settings(OLD, BARE)).keys() == {
        "MaxAllocatedStorage",
        "PreferredMaintenanceWindow",
    }


def test_settings_that_never_show_are_not_waited_for() -> None:
    assert not overdue({}, NOW)
    assert not overdue({"InstanceCreateTime": NOW - PATIENCE}, NOW)
    assert overdue({"InstanceCreateTime": NOW - PATIENCE - timedelta(seconds=1)}, NOW)
