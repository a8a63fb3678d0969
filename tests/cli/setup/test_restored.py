"""After a restoration, `make deploy` keeps the alarms on the restored instance."""

import pytest
from botocore.stub import Stubber

from cli.aws import Account
from setup.infrastructure import Infrastructure
from tests.cli.setup.conftest import infrastructure

STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/coder-deployer/1"
RESTORED = "coder-db-20260101t000000z-1"


def made(account: Account, **values: str) -> Infrastructure:
    result = infrastructure(account, "service", "deployer", "monitoring", ServiceName="coder")
    result.values = {"ServiceName": "coder", "Database": "managed", **values}
    return result


@pytest.mark.parametrize(
    ("values", "replaces", "instance"),
    [
        ({}, "coder-db", RESTORED),
        ({"DatabaseInstance": "theirs", "Database": "existing"}, "theirs", RESTORED),
        ({"DatabaseInstance": RESTORED}, "coder-db", None),  # the stacks have been told
        ({}, None, None),
    ],
)
def test_the_alarms_get_the_restored_instance(
    account: Account, values: dict[str, str], replaces: str | None, instance: str | None
) -> None:
    described = {
        "StackName": "coder-deployer",
        "StackId": STACK,
        "StackStatus": "CREATE_COMPLETE",
        "CreationTime": "2026-01-01T00:00:00Z",
        "Outputs": [{"OutputKey": "ReleasesTable", "OutputValue": "releases"}],
    }
    item = {"replaces": {"S": replaces}, "instance": {"S": RESTORED}}
    key = {"service": {"S": "coder"}, "id": {"S": "#database"}}
    infrastructure = made(account, **values)
    _, _, monitoring = infrastructure.needed
    with (
        Stubber(account.client("cloudformation")) as stacks,
        Stubber(account.client("dynamodb")) as table,
    ):
        stacks.add_response("describe_stacks", {"Stacks": [described]})
        answer = {"Item": item} if replaces else {}
        table.add_response("get_item", answer, {"TableName": "releases", "Key": key})
        assert infrastructure.settings_of(monitoring).get("DatabaseInstance") == instance
        table.assert_no_pending_responses()


@pytest.mark.parametrize("missing", ["deployer", "database"])
def test_without_a_deployer_or_a_database_there_is_none(account: Account, missing: str) -> None:
    result = made(account, Database="none" if missing == "database" else "managed")
    if missing == "deployer":
        result.needed = [stack for stack in result.needed if stack.kind != "deployer"]
    with Stubber(account.client("dynamodb")):  # a call would not be foreseen
        assert "DatabaseInstance" not in result.settings_of(result.needed[-1])
