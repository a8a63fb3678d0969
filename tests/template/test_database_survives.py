"""What is in the database outlives every change of its stack, and the stack.

CloudFormation replaces a resource when a property that can only be set at its creation changes, and
refuses to replace one that has a name of its own and keeps it:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
"""

from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.template.cloudformation import Stack
from tests.template.conftest import ROOT, load
from tests.template.test_infrastructure import BALANCED, stacks

TEMPLATE = load(ROOT / "infrastructure" / "database.yaml")
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
INSTANCE = RESOURCES["Instance"]


def set_at_creation(kind: str) -> set[str]:
    """The properties whose change replaces a resource."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return {path.split("/")[2] for path in schema["createOnlyProperties"]}


def names(node: Any) -> Iterator[str]:
    """Everything that a value refers to: parameters, resources, and those in texts."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("Ref", "Fn::GetAtt"):
                yield value if isinstance(value, str) else value[0]
            elif key == "Fn::Sub":
                text, given = value if isinstance(value, list) else (value, {})
                yield from (part.split("}")[0].split(".")[0] for part in text.split("${")[1:])
                yield from names(given)
            elif key == "Fn::If":
                yield value[0]
                yield from names(value[1:])
            else:
                yield from names(value)
    elif isinstance(node, list):
        for item in node:
            yield from names(item)


def parameters_behind(node: Any) -> set[str]:
    """The parameters that a change of which can change a value. A reference to a resource is its
    id, which changes only if that resource is replaced."""
    matches: set[str] = set()
    for name in names(node):
        if name in TEMPLATE["Parameters"]:
            matches.add(name)
        elif name in TEMPLATE["Conditions"]:
            matches |= parameters_behind(TEMPLATE["Conditions"][name])
        elif name in RESOURCES:
            properties = RESOURCES[name]["Properties"]
            for key in set_at_creation(RESOURCES[name]["Type"]) & properties.keys():
                matches |= parameters_behind(properties[key])
    return matches


def test_no_parameter_is_in_what_only_a_new_instance_could_change() -> None:
    fixed = set_at_creation("AWS::RDS::DBInstance") & INSTANCE["Properties"].keys()
    assert {"DBInstanceIdentifier", "DBName", "MasterUsername", "StorageEncrypted"} <= fixed
    for name in fixed:
        assert parameters_behind(INSTANCE["Properties"][name]) == set(), name


def test_the_instance_has_a_name_of_its_own_so_that_nothing_replaces_it() -> None:
    """Also not what may be replaced under circumstances, which the schema calls conditional."""
    assert stacks(BALANCED)["database"].resources["Instance"]["DBInstanceIdentifier"] == "coder-db"
    other = BALANCED | {"ServiceName": "shop", "DatabaseClass": "db.m7g.large"}
    stack = Stack("database", other, stacks(BALANCED)["network"].exports | renamed())
    stack.name = "coder-database"  # the stack that is there, with another service's settings
    assert stack.resources["Instance"]["DBInstanceIdentifier"] == "coder-db"


def renamed() -> dict[str, str]:
    exports = stacks(BALANCED)["network"].exports
    return {name.replace("coder", "shop"): value for name, value in exports.items()}


@pytest.mark.parametrize("policy", ["DeletionPolicy", "UpdateReplacePolicy"])
def test_an_instance_that_goes_leaves_a_snapshot(policy: str) -> None:
    assert INSTANCE[policy] == "Snapshot"


def test_a_deletion_is_refused_unless_somebody_allows_it_first() -> None:
    result = stacks(BALANCED)["database"].resources["Instance"]
    assert result["DeletionProtection"] == "true"
    assert result["DeleteAutomatedBackups"] is False


def test_backups_are_kept_for_a_week_at_least() -> None:
    assert TEMPLATE["Parameters"]["DatabaseBackupDays"]["MinValue"] == 7
    assert stacks(BALANCED)["database"].resources["Instance"]["BackupRetentionPeriod"] == "7"


def test_it_is_encrypted_at_rest_and_on_its_way() -> None:
    result = stacks(BALANCED)["database"].resources
    assert result["Instance"]["StorageEncrypted"] is True
    assert result["Settings"]["Parameters"]["rds.force_ssl"] == "1"
    assert result["Url"]["SecretString"].endswith(":5432/app?sslmode=require")


def test_the_password_is_nowhere_but_in_its_secret() -> None:
    result = stacks(BALANCED)["database"].resources
    reference = "{{resolve:secretsmanager:" + made_arn() + ":SecretString}}"
    assert result["Instance"]["MasterUserPassword"] == reference
    assert f"postgresql://app:{reference}@" in result["Url"]["SecretString"]
    assert result["Password"]["GenerateSecretString"]["ExcludePunctuation"] is True
    outputs = str(TEMPLATE["Outputs"])
    assert "resolve" not in outputs and "SecretString" not in outputs


def made_arn() -> str:
    stack = stacks(BALANCED)["database"]
    return str(stack.value({"Ref": "Password"}))


def test_the_url_leads_to_the_host_that_a_restoration_made() -> None:
    host = "coder-db-2.abcdefghijkl.us-east-1.rds.amazonaws.com"
    result = stacks(BALANCED | {"DatabaseHost": host})["database"].resources
    assert result["Url"]["SecretString"].endswith(f"@{host}:5432/app?sslmode=require")
    monitoring = stacks(BALANCED | {"DatabaseInstance": "coder-db-2"})["monitoring"].resources
    for alarm in ("DatabaseIsFull", "DatabaseIsBusy", "DatabaseIsCrowded"):
        assert monitoring[alarm]["Dimensions"][0]["Value"] == "coder-db-2"


def test_the_url_has_its_port_once() -> None:
    """An endpoint's address is without it."""
    url = stacks(BALANCED)["database"].resources["Url"]["SecretString"]
    assert url.rpartition("@")[2] == "Instance.Endpoint.Address:5432/app?sslmode=require"
