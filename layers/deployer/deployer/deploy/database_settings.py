"""What makes a restored RDS instance like the one that it replaces.

A snapshot holds the data, the engine and the credentials. What else RDS does not take from the
instance that the snapshot is of is given to the restoration, or to a modification after it:
https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceFromDBSnapshot.html
https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html

An instance is what DescribeDBInstances says of it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

type Instance = Mapping[str, Any]

# Settings take minutes; a value that RDS never shows as asked must not hold up a rollback.
PATIENCE = timedelta(minutes=15)

# What a restoration takes, by what DescribeDBInstances calls it.
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
# What only a modification takes. Those of a group go together, and each is sent only if one of
# them differs.
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
# What takes a right over something else than the instance: a role to pass, a key to use.
_OTHERS = frozenset((*_MODIFIED[2].values(), *_MODIFIED[3].values()))

# Up to this size RDS sets a gp3 volume's IOPS and throughput itself, and takes none:
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html#gp3-storage
_GP3_FIXED_BELOW_GIB = {"db2": 100, "mariadb": 400, "mysql": 400, "postgres": 400, "oracle": 200}


def restored_settings(old: Instance) -> dict[str, Any]:
    """Return what to ask of a restoration, beside the names of instance and snapshot."""
    given = {asked: old.get(shown) for shown, asked in _RESTORED.items()}
    given |= {
        "DBSubnetGroupName": (old.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        "DBParameterGroupName": _first(old, "DBParameterGroups", "DBParameterGroupName"),
        "OptionGroupName": _first(old, "OptionGroupMemberships", "OptionGroupName"),
        "Port": (old.get("Endpoint") or {}).get("Port"),
        "VpcSecurityGroupIds": [
            group["VpcSecurityGroupId"] for group in old.get("VpcSecurityGroups", [])
        ],
        "Tags": [tag for tag in old.get("TagList", []) if not tag["Key"].startswith("aws:")],
    }
    if _has_fixed_iops(old):
        del given["Iops"], given["StorageThroughput"]
    if str(old.get("Engine")).startswith("sqlserver"):
        del given["AllocatedStorage"]
    return {name: value for name, value in given.items() if value not in (None, "", [])}


def remaining_settings(old: Instance, new: Instance) -> dict[str, Any]:
    """Return what to ask of a modification, so that a restored instance is like the old one."""
    wanted: dict[str, Any] = {}
    for group in _MODIFIED:
        if any((old.get(shown) or None) != (new.get(shown) or None) for shown in group):
            wanted |= {a: old[shown] for shown, a in group.items() if old.get(shown)}
    return wanted


def without_others(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that take no right over anything but the instance."""
    return {name: value for name, value in settings.items() if name not in _OTHERS}


def overdue(new: Instance, now: datetime) -> bool:
    """Return whether a restored instance should have its settings by now."""
    made = new.get("InstanceCreateTime")
    return made is not None and now - made > PATIENCE


def _first(old: Instance, groups: str, name: str) -> Any:
    """The name of the first of some groups, unless it is a default that RDS chooses by itself."""
    found = next((group[name] for group in old.get(groups, [])), None)
    return None if groups.startswith("Option") and str(found).startswith("default:") else found


def _has_fixed_iops(old: Instance) -> bool:
    engine = str(old.get("Engine")).partition("-")[0]
    least = _GP3_FIXED_BELOW_GIB.get(engine, 0)
    return old.get("StorageType") == "gp3" and old.get("AllocatedStorage", 0) < least
