"""The service-linked roles that a new account lacks are there before the first stack."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from cli.aws import Account
from cli.errors import UNREADY, CommandFailed
from setup.infrastructure import Infrastructure
from tests.cli.setup.conftest import infrastructure

ECS, RDS = "/aws-service-role/ecs.amazonaws.com/", "/aws-service-role/rds.amazonaws.com/"


@pytest.fixture
def iam(account: Account) -> Iterator[Stubber]:
    with Stubber(account.client("iam")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def made(account: Account) -> Infrastructure:
    return infrastructure(account)


def role(path: str) -> dict[str, Any]:
    return {
        "Path": path,
        "RoleName": "AWSServiceRoleForECS",
        "RoleId": "AROA0123456789012345",
        "Arn": "arn:aws:iam::123456789012:role/aws-service-role/x",
        "CreateDate": "2026-01-01T00:00:00Z",
    }


def test_what_is_missing_is_created_and_said(made: Infrastructure, iam: Stubber) -> None:
    iam.add_response("list_roles", {"Roles": []}, {"PathPrefix": ECS, "MaxItems": 1})
    iam.add_response("create_service_linked_role", {}, {"AWSServiceName": "ecs.amazonaws.com"})
    iam.add_response("list_roles", {"Roles": [role(RDS)]}, {"PathPrefix": RDS, "MaxItems": 1})
    made.create_service_roles(["service", "database", "network"])
    message = made.screen.console.file.getvalue()  # type: ignore[attr-defined]
    assert message == "Created the service-linked role AWSServiceRoleForECS.\n"


def test_one_that_came_meanwhile_or_cannot_be_seen_is_as_good(
    made: Infrastructure, iam: Stubber
) -> None:
    iam.add_client_error("list_roles", "AccessDenied")
    iam.add_client_error(
        "create_service_linked_role",
        "InvalidInput",
        "Service role name AWSServiceRoleForECS has been taken in this account, please try a"
        " different suffix.",
    )
    made.create_service_roles(["service"])


def test_without_permission_somebody_else_can_create_it(made: Infrastructure, iam: Stubber) -> None:
    iam.add_response("list_roles", {"Roles": []})
    iam.add_client_error("create_service_linked_role", "AccessDenied", "no")
    with pytest.raises(CommandFailed) as failed:
        made.create_service_roles(["service"])
    assert failed.value.code == UNREADY
    assert "  aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com" in (
        failed.value.advice
    )
