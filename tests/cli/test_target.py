"""A stack that is not there: what there is instead, and whose settings made it."""

from typing import Any

import pytest
from botocore.stub import Stubber

from cli import target
from cli.aws import Account
from cli.errors import UNREADY, CommandFailed


def stack(name: str, **outputs: str) -> dict[str, Any]:
    return {
        "StackName": name,
        "StackStatus": "CREATE_COMPLETE",
        "CreationTime": "2026-01-01T00:00:00Z",
        "Parameters": [{"ParameterKey": "SpecPath", "ParameterValue": "/deployer/services"}],
        "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()],
    }


@pytest.mark.parametrize(
    ("stacks", "message", "lines"),
    [
        (
            [stack("team-deployer", ReleasesTable="t"), stack("coder-network")],
            "the deployers in this Region: team-deployer",
            {"  deployer status --stack team-deployer", "  make deploy MODE=infrastructure"},
        ),
        (
            [stack("coder-network")],
            "nor any deployer",
            {"  deployer status --region us-west-2", "  make deploy"},
        ),
    ],
)
def test_what_there_is_instead_is_listed(
    account: Account, stacks: list[dict[str, Any]], message: str, lines: set[str]
) -> None:
    with Stubber(account.client("cloudformation")) as stub:
        stub.add_client_error(
            "describe_stacks", "ValidationError", "Stack with id deployer does not exist"
        )
        stub.add_response("describe_stacks", {"Stacks": stacks[:1], "NextToken": "2"}, {})
        stub.add_response("describe_stacks", {"Stacks": stacks[1:]}, {"NextToken": "2"})
        with pytest.raises(CommandFailed) as failed:
            target.find(account, "deployer", None)
    assert failed.value.code == UNREADY
    assert failed.value.message.startswith("there is no stack deployer in us-east-1")
    assert message in failed.value.message
    assert lines <= set(failed.value.advice)


def test_without_permission_to_list_that_is_said(account: Account) -> None:
    with Stubber(account.client("cloudformation")) as stub:
        stub.add_client_error("describe_stacks", "AccessDenied")
        failed = target.missing(account, "deployer")
    assert "no permission to list the others" in failed.message


@pytest.mark.parametrize(
    ("name", "tags", "environment"),
    [
        ("deployer", {}, "default"),
        ("deployer-production", {}, "production"),
        ("team", {}, None),
        ("team", {"environment": "staging"}, "staging"),
    ],
)
def test_the_environment_of_a_deployer(
    name: str, tags: dict[str, str], environment: str | None
) -> None:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    assert target.environment_of(name, listed) == environment
