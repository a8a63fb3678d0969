"""The connection secret is changed where that changes it."""

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, secrets


@pytest.fixture
def secret(aws: None) -> str:
    made = client("secretsmanager").create_secret(Name="coder-db", SecretString="postgres://old/db")
    return str(made["ARN"])


def versions(arn: str) -> int:
    found = client("secretsmanager").list_secret_version_ids(SecretId=arn, IncludeDeprecated=True)
    return len(found["Versions"])


def value(arn: str) -> str:
    return str(client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])


def test_a_secret_is_changed_once(secret: str) -> None:
    for _ in range(2):
        secrets.change(secret, lambda text: text.replace("old", "new"))
    assert value(secret) == "postgres://new/db"
    assert versions(secret) == 2


def test_a_secret_that_needs_no_change_gets_no_version(secret: str) -> None:
    secrets.change(secret, str)
    assert versions(secret) == 1


def test_a_change_that_fails_leaves_the_secret(secret: str) -> None:
    with pytest.raises(ZeroDivisionError):
        secrets.change(secret, lambda _: str(1 // 0))
    assert value(secret) == "postgres://old/db"


def test_a_secret_that_is_not_there_is_an_error(aws: None) -> None:
    with pytest.raises(ClientError, match="ResourceNotFound"):
        secrets.change("nobody", str)


def test_a_secret_is_described_without_its_value(secret: str) -> None:
    assert "postgres" not in str(secrets.description(secret))
    assert secrets.description(secret.replace("coder-db", "other")) is None


def test_a_secret_may_have_a_policy_of_its_own(secret: str) -> None:
    assert not secrets.has_policy(secret)
    client("secretsmanager").put_resource_policy(
        SecretId=secret, ResourcePolicy='{"Version": "2012-10-17", "Statement": []}'
    )
    assert secrets.has_policy(secret)
