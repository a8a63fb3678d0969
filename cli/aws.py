"""The account that a command uses, and explanations of AWS's errors."""

import os
import shlex
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.utils import JSONFileCache

from cli.errors import FAILED, UNREADY, CommandFailed

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_INVALID = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "InvalidAccessKeyId",
)
DENIED = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "Forbidden",
    "403",
)

AWS_ERRORS = (ClientError, BotoCoreError)


class Account:
    """A session with boto3's usual credential chain, and its clients, created once each."""

    def __init__(
        self, profile: str | None = None, region: str | None = None, *, asks: bool = True
    ) -> None:
        """Open the session. A role's profile with `mfa_serial` asks for the code at the terminal.

        Args:
            asks: whether it may ask for that code; otherwise the session has no credentials.

        Raises:
            CommandFailed: the profile does not exist, or no Region is set.
        """
        try:
            # boto3 reads only AWS_DEFAULT_REGION, but the AWS CLI reads both
            region_name = region or os.environ.get("AWS_REGION")
            core = botocore.session.Session(profile=profile)
            # the cache that `sam` uses too: a role that requires MFA asks for a code only once
            roles = core.get_component("credential_provider").get_provider("assume-role")
            roles.cache = JSONFileCache()
            if not asks:
                roles._prompter = _unasked
            self._session = boto3.Session(botocore_session=core, region_name=region_name)
        except ProfileNotFound as error:
            raise stopped_by(error, UNREADY) from error
        self.profile = profile
        keys = self._session.get_credentials()
        if keys and keys.method == "assume-role":
            keys.get_frozen_credentials()  # asks for the code here, before any thread or spinner
        if not (session_region := self._session.region_name):
            raise stopped_by(NoRegionError(), UNREADY)
        self.region: str = session_region
        self._clients: dict[str, Any] = {}

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the client of a service, in another Region if the service has only one."""
        key = f"{service} {region}" if region else service
        if key not in self._clients:
            create: Callable[..., Any] = partial(self._session.client, config=_CONFIG)
            self._clients[key] = create(service, region_name=region)
        return self._clients[key]

    def as_default(self) -> None:
        """Make `boto3.client` use this account and its credentials."""
        # a second boto3 session around the same botocore session could make no client of S3
        boto3.DEFAULT_SESSION = self._session

    def for_threads(self) -> None:
        """Let several threads create clients, which boto3's sessions do not."""
        create, lock = self._session.client, threading.Lock()

        def one_by_one(*names: Any, **settings: Any) -> Any:
            with lock:
                return create(*names, **settings)

        self._session.client = one_by_one  # type: ignore[method-assign]

    @property
    def temporary(self) -> bool:
        """Return whether the credentials belong to a session: MFA, a role or Identity Center."""
        credentials = self._session.get_credentials()
        return bool(credentials and credentials.token)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment for a child process that uses the same account."""
        programs = str(Path(sys.executable).parent)  # `sam`, and the Python that it builds with
        return {
            **os.environ,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
            "SAM_CLI_TELEMETRY": "0",
        }

    @property
    def signed_environment(self) -> dict[str, str]:
        """Return the environment for a child process that gets these credentials themselves.

        So it asks for no code of an MFA device: the AWS CLI does not share our cache of sessions.
        """
        keys = self._session.get_credentials()
        frozen = keys.get_frozen_credentials() if keys else None
        own = {
            "AWS_ACCESS_KEY_ID": frozen and frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen and frozen.secret_key,
            "AWS_SESSION_TOKEN": frozen and frozen.token,
        }
        given = {name: str(value) for name, value in own.items() if value}
        others = {n: v for n, v in os.environ.items() if n not in ("AWS_PROFILE", *own)}
        return {**others, "AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region, **given}


def _unasked(prompt: str) -> str:
    raise NoCredentialsError


def code_of(error: Exception) -> str:
    """Return AWS's code of an error; for other errors, the name of the class."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def mfa_session(user: str = "") -> list[str]:
    """Return the commands for an MFA session.

    Args:
        user: the ARN of the IAM user, if known; the commands can then be copied as they are.
    """
    first_device = "$(aws iam list-mfa-devices --query 'MFADevices[0].SerialNumber' --output text)"
    device = user.replace(":user/", ":mfa/") if ":user/" in user else f'"{first_device}"'
    return [
        "Get a session with a code of your MFA device, by AWS CLI version 2 (it lasts 12 hours):",
        "  unset AWS_PROFILE",
        f"  aws configure mfa-login --serial-number {device} --duration-seconds 43200"
        " --update-profile mfa-session",
        "  export AWS_PROFILE=mfa-session",
        "A profile with role_arn and mfa_serial needs none: the code is asked for when it is used.",
    ]


def unanswered() -> str:
    """Return what to check if AWS does not answer."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return f"AWS_ENDPOINT_URL is {endpoint}: is it up?" if endpoint else "Is there a network?"


def explained(
    error: Exception, account: Account | None = None, user: str = ""
) -> tuple[str, list[str]]:
    """Return what an error of AWS means, and what to do.

    Args:
        account: whose credentials were used, if any were found.
        user: the ARN of the caller, if known.
    """
    code = code_of(error)
    if isinstance(error, ProfileNotFound):
        return f"{error}", [
            "List the profiles:",
            "  aws configure list-profiles",
            "or, if it is to hold an MFA session, make it:",
            "  aws configure mfa-login --update-profile NAME",
        ]
    if isinstance(error, NoRegionError):
        return "no Region is set", ["  export AWS_REGION=us-east-1"]
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        profiles = botocore.session.Session().available_profiles[:5]
        advice = ["Name a profile:", *(f"  export AWS_PROFILE={shlex.quote(n)}" for n in profiles)]
        advice += ["or make one:"]
        return "no AWS credentials were found", [
            *(advice if profiles else ["Make a profile:"]),
            "  aws configure",
            *mfa_session(user),
        ]
    if isinstance(error, (UnauthorizedSSOTokenError, SSOTokenLoadError, TokenRetrievalError)):
        name = (account and account.profile) or os.environ.get("AWS_PROFILE", "default")
        return "your IAM Identity Center session is over", [f"  aws sso login --profile {name}"]
    if isinstance(error, (NoConnectionError, HTTPClientError)):
        text = str(error).splitlines()[0] if str(error) else code
        return f"AWS does not answer: {text}", [unanswered()]
    reason = (
        str(error.response["Error"].get("Message", "")) if isinstance(error, ClientError) else ""
    )
    if code in _EXPIRED:
        return f"your AWS session has expired ({code})", mfa_session(user)
    if code in _INVALID:
        return f"AWS does not know these credentials ({code}: {reason})", [
            "A session needs all three: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and"
            " AWS_SESSION_TOKEN. GovCloud and China have credentials of their own: is the Region"
            " right?",
            *mfa_session(user),
        ]
    if code in DENIED and "explicit deny" in reason and not (account and account.temporary):
        return (
            f"{reason} These credentials are not MFA-authenticated, and the account demands it",
            mfa_session(user),
        )
    if code in DENIED and "explicit deny" in reason:
        return f"{reason}", [
            "A policy forbids it. If it demands MFA, the session was made without a code, or the"
            " code is too old:",
            *mfa_session(user),
        ]
    if code in DENIED:
        return f"you may not do this: {reason}", [
            "Ask for this permission, or take another profile."
        ]
    return (f"{code}: {reason}" if reason else str(error)), []


def stopped_by(
    error: Exception, code: int = FAILED, account: Account | None = None
) -> CommandFailed:
    """Return the failure of a command because of an error of AWS.

    Args:
        account: whose credentials were used, if any were found.
    """
    return CommandFailed(code, *explained(error, account))
