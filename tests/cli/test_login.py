"""What `deployer login` makes of devices and refusals that the local AWS does not have."""

from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cli.command import Call
from cli.commands import login
from cli.errors import CommandFailed

ANN = "arn:aws:iam::123456789012:user/team/ann"
PASSKEY = "arn:aws:iam::123456789012:u2f/user/ann/key-ABC"
APP = "arn:aws:iam::123456789012:mfa/phone"
TOKEN = "GAHT12345678"  # a hardware token goes by its serial number


class Session:
    """A session whose clients answer as they are told to."""

    def __init__(self) -> None:
        made: Any = boto3.client
        keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s"}
        self.clients = {s: made(s, region_name="us-east-1", **keys) for s in ("iam", "sts")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()

    def client(self, service: str) -> Any:
        return self.clients[service]

    def has(self, *serials: str) -> None:
        devices = [
            {"UserName": "ann", "SerialNumber": serial, "EnableDate": "2026-01-01T00:00:00Z"}
            for serial in serials
        ]
        answer = {"MFADevices": devices, "IsTruncated": False}
        self.stubs["iam"].add_response("list_mfa_devices", answer, {})

    def refuses(self, message: str) -> None:
        self.stubs["sts"].add_client_error("get_session_token", "AccessDenied", message, 403)


@pytest.fixture
def session() -> Session:
    return Session()


def keys(session: Any) -> login._Keys:
    return login._Keys("default", session)


@pytest.fixture
def call() -> Call:
    return Call(None, None, "deployer", None, True)


@pytest.mark.parametrize(
    ("devices", "found"), [((APP,), APP), ((PASSKEY, APP), APP), ((TOKEN, PASSKEY), TOKEN)]
)
def test_a_device_that_gives_codes_is_found(
    session: Session, call: Call, devices: tuple[str, ...], found: str
) -> None:
    session.has(*devices)
    assert login._device(call, keys(session), ANN) == found


def test_a_passkey_gives_no_codes(session: Session, call: Call) -> None:
    session.has(PASSKEY)
    with pytest.raises(CommandFailed, match="passkey or security key") as stopped:
        login._device(call, keys(session), ANN)
    assert any("Authenticator app" in line for line in stopped.value.advice)


def test_the_name_that_is_tried_is_without_the_users_path(session: Session, call: Call) -> None:
    session.stubs["iam"].add_client_error("list_mfa_devices", "AccessDenied", "no", 403)
    assert login._device(call, keys(session), ANN) == "arn:aws:iam::123456789012:mfa/ann"


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (
            "MultiFactorAuthentication failed with invalid MFA one time pass code.",
            1,
            "was used already",
        ),
        (
            "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA"
            " serial number is valid and associated with this user.",
            3,
            "not an MFA device of yours",
        ),
    ],
)
def test_what_a_refusal_is_about(
    session: Session, call: Call, message: str, code: int, said: str
) -> None:
    session.refuses(message)
    with pytest.raises(CommandFailed, match=said) as stopped:
        login._session(call, keys(session), APP, "123456", 12)
    assert stopped.value.code == code


def test_a_roles_credentials_make_no_session(session: Session) -> None:
    answer: Mapping[str, Any] = {"Arn": "arn:aws:sts::123456789012:assumed-role/admin/ann"}
    session.stubs["sts"].add_response("get_caller_identity", answer)
    with pytest.raises(CommandFailed, match="only a user's keys"):
        login._caller(keys(session))
