"""Give a restored RDS instance the settings of the instance that it replaces.

A snapshot has the data, the engine and the credentials. RDS takes the other settings as parameters
of the restoration, or of a modification after it:
https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceFromDBSnapshot.html
https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html

Instances are as DescribeDBInstances returns them. Imports nothing of the deployer.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

type Instance = Mapping[str, Any]

# Settings take minutes; one that RDS never applies must not hold up a rollback.
PATIENCE = timedelta(minutes=15)

# Parameters of a restoration, by their names in DescribeDBInstances.
_RESTORED = {
    "AllocatedStorage": "AllocatedStorage",
    "AutoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "BackupRetentionPeriod": "BackupRetentionPeriod",
    "BackupTarget": "BackupTarget",
    "CACertificateIdentifier": "CACertificateIdentifier",
    "CopyTagsToSnapshot": "CopyTagsToSnapshot",
    "CustomerOwnedIpEnabled": "EnableCustomerOwnedIp",
    "DBInstanceClass": "DBInstanceClass",
    "DedicatedLogVolume": "DedicatedLogVolume",
    "DeletionProtection": "DeletionProtection",
    "EnabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "EngineLifecycleSupport": "EngineLifecycleSupport",
    "IAMDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "Iops": "Iops",
    "LicenseModel": "LicenseModel",
    "MultiAZ": "MultiAZ",
    "NetworkType": "NetworkType",
    "PreferredBackupWindow": "PreferredBackupWindow",
    "ProcessorFeatures": "ProcessorFeatures",
    "PubliclyAccessible": "PubliclyAccessible",
    "StorageThroughput": "StorageThroughput",
    "StorageType": "StorageType",
}
# Parameters of a modification only. A group is sent as a whole if one of its values differs.
_MODIFIED: tuple[Mapping[str, str], ...] = (
    {"MaxAllocatedStorage": "MaxAllocatedStorage"},
    {"PreferredMaintenanceWindow": "PreferredMaintenanceWindow"},
    {
        "PerformanceInsightsEnabled": "EnablePerformanceInsights",
        "PerformanceInsightsKMSKeyId": "PerformanceInsightsKMSKeyId",
        "PerformanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
        "DatabaseInsightsMode": "DatabaseInsightsMode",
    },
    {"MonitoringInterval": "MonitoringInterval", "MonitoringRoleArn": "MonitoringRoleArn"},
)
# Parameters that need a permission beyond the instance: to pass a role, to use a key.
_NEEDS_OTHER_PERMISSIONS = frozenset((*_MODIFIED[2].values(), *_MODIFIED[3].values()))

# Below this size RDS sets a gp3 volume's IOPS and throughput itself, and accepts none:
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html#gp3-storage
_GP3_FIXED_BELOW_GIB = {"db2": 100, "mariadb": 400, "mysql": 400, "postgres": 400, "oracle": 200}


def restored_settings(old: Instance) -> dict[str, Any]:
    """Return a restoration's parameters, except the names of instance and snapshot."""
    settings = {parameter: old.get(attribute) for attribute, parameter in _RESTORED.items()}
    settings |= {
        "DBSubnetGroupName": (old.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        "DBParameterGroupName": _first_group(old, "DBParameterGroups", "DBParameterGroupName"),
        "OptionGroupName": _first_group(old, "OptionGroupMemberships", "OptionGroupName"),
        "Port": (old.get("Endpoint") or {}).get("Port"),
        "VpcSecurityGroupIds": [
            group["VpcSecurityGroupId"] for group in old.get("VpcSecurityGroups", [])
        ],
        "Tags": [tag for tag in old.get("TagList", []) if not tag["Key"].startswith("aws:")],
    }
    if _has_fixed_iops(old):
        del settings["Iops"], settings["StorageThroughput"]
    if str(old.get("Engine")).startswith("sqlserver"):
        del settings["AllocatedStorage"]
    return {name: value for name, value in settings.items() if value not in (None, "", [])}


def remaining_settings(old: Instance, new: Instance) -> dict[str, Any]:
    """Return a modification's parameters that give a restored instance the old settings."""
    settings: dict[str, Any] = {}
    for group in _MODIFIED:
        if any((old.get(attribute) or None) != (new.get(attribute) or None) for attribute in group):
            settings |= {
                parameter: old[attribute]
                for attribute, parameter in group.items()
                if old.get(attribute)
            }
    return settings


def without_others(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that need no permission beyond the instance."""
    return {name: value for name, value in settings.items() if name not in _NEEDS_OTHER_PERMISSIONS}


def overdue(new: Instance, now: datetime) -> bool:
    """Return whether a restored instance should have its settings by now."""
    created = new.get("InstanceCreateTime")
    return created is not None and now - created > PATIENCE


def _first_group(old: Instance, groups: str, name: str) -> Any:
    """Return the name of the first group, unless RDS chooses it by default."""
    group_name = next((group[name] for group in old.get(groups, [])), None)
    return (
        None
        if groups.startswith("Option") and str(group_name).startswith("default:")
        else group_name
    )


def _has_fixed_iops(old: Instance) -> bool:
    engine = str(old.get("Engine")).partition("-")[0]
    least = _GP3_FIXED_BELOW_GIB.get(engine, 0)
    return old.get("StorageType") == "gp3" and old.get("AllocatedStorage", 0) < least
