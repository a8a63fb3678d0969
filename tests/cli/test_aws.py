"""What AWS's refusals mean to a person: expired, missing MFA, unknown keys, no network."""

from pathlib import Path

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    UnauthorizedSSOTokenError,
)

from cli.aws import Account, explained
from cli.errors import CommandFailed

USER = "arn:aws:iam::123456789012:user/ann"
RENEW = "  aws configure mfa-login --serial-number arn:aws:iam::123456789012:mfa/ann"


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


DENIED = "ann is not authorized to perform: x with an explicit deny in an identity-based policy"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, Region or profile of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "false")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize(
    ("error", "message", "advice"),
    [
        (refused("ExpiredToken"), "your AWS session has expired (ExpiredToken)", RENEW),
        (refused("ExpiredTokenException"), "your AWS session has expired", RENEW),
        (refused("InvalidClientTokenId"), "AWS does not know these credentials", RENEW),
        (refused("AccessDenied", DENIED), "not MFA-authenticated, and the account demands", RENEW),
        (refused("AccessDenied", "no"), "you may not do this: no", "Ask for this permission"),
        (NoCredentialsError(), "no AWS credentials were found", "  aws configure"),
        (NoRegionError(), "no Region is set", "  export AWS_REGION=us-east-1"),
        (
            UnauthorizedSSOTokenError(),
            "your IAM Identity Center session is over",
            "  aws sso login --profile default",
        ),
        (
            EndpointConnectionError(endpoint_url="https://x"),
            "AWS does not answer: Could not connect",
            "Is there a network?",
        ),
        (refused("Throttling", "Rate exceeded"), "Throttling: Rate exceeded", ""),
    ],
)
def test_an_error_is_explained_with_what_to_do(
    error: ClientError | BotoCoreError, message: str, advice: str
) -> None:
    what, lines = explained(error, Account(region="us-east-1"), USER)
    assert message in what
    assert (not advice and lines == []) or any(line.startswith(advice) for line in lines)


def test_a_session_without_mfa_is_told_apart_from_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "false")
    what, lines = explained(refused("AccessDenied", DENIED), Account(region="us-east-1"))
    assert "not MFA-authenticated" not in what
    assert any("made without a code" in line for line in lines)


@pytest.mark.parametrize(
    ("profile", "region", "message"),
    [(None, None, "no Region is set"), ("nobody", "us-east-1", "(nobody) could not be found")],
)
def test_no_region_and_no_profile_end_the_command(
    profile: str | None, region: str | None, message: str
) -> None:
    with pytest.raises(CommandFailed) as stopped:
        Account(profile, region)
    assert message in stopped.value.message
    assert (stopped.value.code, bool(stopped.value.advice)) == (3, True)


def test_what_is_run_speaks_to_the_same_region() -> None:
    environment = Account(region="eu-west-1").environment
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_clients_of_the_command_and_of_the_adapters_stand_beside_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """boto3 puts the transfer methods into the client of S3 once per botocore session."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    account = Account(region="us-east-1")
    account.as_default()
    for client in (boto3.client("s3"), account.client("s3")):
        assert hasattr(client, "upload_file")
