"""The connection secret is changed where that changes it."""

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, secrets


@pytest.fixture
def secret(aws: None) -> str:
    result = client("secretsmanager").create_secret(
        Name="coder-db", SecretString="postgres://old/db"
    )
    return str(result["ARN"])


def test_a_secrets_value_is_replaced(secret: str) -> None:
    assert secrets.value(secret) == "postgres://old/db"
    secrets.replace(secret, "postgres://new/db")
    assert secrets.value(secret) == "postgres://new/db"


def test_a_secret_that_is_not_there_is_an_error(aws: None) -> None:
    with pytest.raises(ClientError, match="ResourceNotFound"):
        secrets.value("nobody")


def test_a_secret_is_described_without_its_value(secret: str) -> None:
    assert "postgres" not in str(secrets.description(secret))
    assert secrets.description(secret.replace("coder-db", "other")) is None


def test_a_secret_may_have_a_policy_of_its_own(secret: str) -> None:
    assert not secrets.has_policy(secret)
    client("secretsmanager").put_resource_policy(
        SecretId=secret, ResourcePolicy='{"Version": "2012-10-17", "Statement": []}'
    )
    assert secrets.has_policy(secret)
