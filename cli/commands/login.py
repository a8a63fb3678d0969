"""`deployer login`."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import click
from botocore.exceptions import ClientError, ConfigParseError

from cli import profiles
from cli.aws import DENIED, code_of
from cli.command import Call, command
from cli.errors import FAILED, REFUSED, UNREADY, WRONG, CommandFailed
from cli.screen import printable, span

_CODE = re.compile(r"[0-9]{6}")
_NAME = re.compile(r"[A-Za-z0-9_.@/+-]+")
_TRIES = 3
_ANYWHERE = "us-east-1"  # where STS is asked if no Region is set: sessions are good for all
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

type Settings = Mapping[str, Mapping[str, Any]]
"""The profiles of both shared files, by name."""


@dataclass(frozen=True)
class _Keys:
    """A user's long-lived keys: those of a profile, or of the environment if `profile` is None."""

    profile: str | None
    session: boto3.Session


@command(
    epilog="""\b
Examples:
  deployer login                        asks for the code
  deployer login --code 123456
  deployer login --profile work --hours 1
  export AWS_PROFILE=mfa-session        then use the session, here and in every AWS tool

\b
The session's profile is written into ~/.aws/credentials (AWS_SHARED_CREDENTIALS_FILE); nothing else
in that file changes. Profiles of IAM Identity Center need no code: aws sso login.
""",
)
@click.option("--code", help="The six digits that the device shows; asked for if not given.")
@click.option(
    "--profile-name",
    default="mfa-session",
    show_default=True,
    help="The profile that the session is written to.",
)
@click.option(
    "--hours",
    type=click.IntRange(1, 36),
    default=12,
    show_default=True,
    help="How long the session is good for.",
)
@click.option("--device", help="The MFA device's ARN or serial number; found if not given.")
def login(call: Call, code: str | None, profile_name: str, hours: int, device: str | None) -> None:
    """Get a session with a code of your MFA device.

    --profile names the profile of your long-lived keys, where there are several.
    """
    if not _NAME.fullmatch(profile_name):
        raise click.UsageError(f"--profile-name {profile_name!r}: letters, digits and -_.@/+ only.")
    if code is not None and not _CODE.fullmatch(_digits(code)):
        raise click.UsageError("--code is the six digits that the device shows.")
    settings, file = _settings(), profiles.file()
    _must_be_free(settings.get(profile_name, {}), profile_name)
    keys = _keys(call, settings, profile_name)
    caller = _caller(keys)
    serial = device or _device(call, keys, caller)
    given = _session(call, keys, serial, code, hours)
    _keep(file, profile_name, given, keys, settings)
    _tell(call, file, profile_name, given, caller, serial)


# Whose keys --------------------------------------------------------------------------------------


_THEN = ("then:", "  deployer login")


def _settings() -> Settings:
    try:
        found: Settings = botocore.session.Session().full_config["profiles"]
        return found
    except ConfigParseError as error:
        raise CommandFailed(
            UNREADY, f"{error}", ["Correct the file first; nothing in it was changed."]
        ) from error


def _must_be_free(there: Mapping[str, Any], name: str) -> None:
    """Raises CommandFailed if a profile has something that a session must not take the place of."""
    if profiles.kind(there) in ("session", "none"):
        return
    raise CommandFailed(
        WRONG,
        f"the profile {name} is not one of a session: its credentials would be lost",
        ["Name another for the session:", "  deployer login --profile-name mfa-session"],
    )


def _keys(call: Call, settings: Settings, target: str) -> _Keys:
    """The keys to log in with: those of the profile that is named or set; of the one that a session
    was made with; else the environment's, the default profile's, or the only ones there are."""
    named = call.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    key, token = (os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"))
    if key and not token and not call.profile:
        return _Keys(None, _made(call, None))
    if named and named != target:
        if named not in settings:
            raise CommandFailed(
                UNREADY, f"there is no profile {named}", ["  aws configure list-profiles"]
            )
        origin = settings[named].get(profiles.MADE_FROM)
        if profiles.kind(settings[named]) == "session" and origin in settings:
            named = str(origin)
        _must_be_keys(settings[named], named, settings)
        return _Keys(named, _made(call, named))
    having = [name for name, profile in settings.items() if profiles.kind(profile) == "keys"]
    origin = settings.get(target, {}).get(profiles.MADE_FROM)
    for name in (origin, "default", having[0] if len(having) == 1 else None):
        if name in having:
            return _Keys(name, _made(call, name))
    if having:
        raise CommandFailed(
            WRONG,
            f"several profiles have keys: {', '.join(having)}",
            ["Name yours:", f"  deployer login --profile {having[0]}"],
        )
    for name, profile in settings.items():
        if profiles.kind(profile) != "none" and name != target:
            _must_be_keys(profile, name, settings)
    raise CommandFailed(
        UNREADY,
        "no access key of a user was found to log in with",
        ["Make a profile with yours:", "  aws configure", *_THEN],
    )


def _own(settings: Settings) -> list[str]:
    """How to log in with a profile that has a user's keys."""
    having = [name for name, profile in settings.items() if profiles.kind(profile) == "keys"]
    if not having:
        return ["Make a profile with your own keys:", "  aws configure", *_THEN]
    return [
        "Name the profile that has your own keys:",
        *(f"  deployer login --profile {shlex.quote(name)}" for name in having),
    ]


def _must_be_keys(profile: Mapping[str, Any], name: str, settings: Settings) -> None:
    """Raises CommandFailed, with what to do instead, unless a profile has a user's keys."""
    keys = _own(settings)
    match profiles.kind(profile):
        case "keys":
            return
        case "sso":
            said = f"the profile {name} is IAM Identity Center's, which asks for MFA by itself"
            advice = [f"  aws sso login --profile {name}", f"  export AWS_PROFILE={name}"]
        case "role":
            source = profile.get("source_profile")
            said = f"the profile {name} assumes a role; a session is made with a user's keys"
            advice = keys
            if source:
                advice = ["Log in with the profile it is based on:"]
                advice += [f"  deployer login --profile {shlex.quote(source)}"]
        case "session":
            said, advice = f"the profile {name} has a session, which cannot make another", keys
        case "other":
            said = f"the profile {name} gets its credentials from another program"
            advice = [*keys, "or log in with that program."]
        case _:
            said, advice = f"the profile {name} has no keys", keys
    raise CommandFailed(UNREADY, said, advice)


def _made(call: Call, profile: str | None) -> boto3.Session:
    region = call.region or os.environ.get("AWS_REGION")
    made = boto3.Session(profile_name=profile, region_name=region)
    if made.region_name:
        return made
    return boto3.Session(profile_name=profile, region_name=_ANYWHERE)


def _caller(keys: _Keys) -> str:
    """The ARN of who the keys are of. Raises CommandFailed for a role's."""
    arn = str(keys.session.client("sts").get_caller_identity()["Arn"])
    if ":user/" in arn or arn.endswith(":root"):
        return arn
    raise CommandFailed(
        UNREADY,
        f"these are credentials of {arn}, and only a user's keys can make a session",
        _own(_settings()),
    )


# The device and its code -------------------------------------------------------------------------


def _device(call: Call, keys: _Keys, caller: str) -> str:
    """The caller's MFA device; a person chooses where there are several."""
    try:
        found = keys.session.client("iam").list_mfa_devices()["MFADevices"]
    except ClientError as error:
        if code_of(error) not in DENIED:
            raise
        guess = re.sub(":user/(.*/)?", ":mfa/", caller)
        call.screen.say(f"You may not list your MFA devices; trying {guess} (or name it: --device)")
        return guess
    serials = [str(device["SerialNumber"]) for device in found]
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_fido_supported_configurations.html
    coding = [serial for serial in serials if ":u2f/" not in serial]
    if len(coding) == 1:
        return coding[0]
    add = "IAM console, Security credentials, Assign MFA device, Authenticator app."
    if not serials:
        raise CommandFailed(
            UNREADY, f"{caller} has no MFA device", [f"Add one: {add}", "  deployer login"]
        )
    if not coding:
        raise CommandFailed(
            UNREADY,
            "your only MFA device is a passkey or security key, which gives no codes:"
            " AWS takes it at its console alone",
            [f"Add an authenticator app beside it: {add}", "  deployer login"],
        )
    return _chosen(call, coding)


def _chosen(call: Call, serials: Sequence[str]) -> str:
    if not call.interactive:
        advice = [f"  deployer login --device {serial}" for serial in serials]
        raise CommandFailed(REFUSED, "you have several MFA devices: name one", advice)
    call.screen.say("Which MFA device?")
    for number, serial in enumerate(serials, 1):
        call.screen.say(f"  {number}  {serial}")
    while True:
        answer = call.screen.ask(f"1 to {len(serials)} [1]:") or "1"
        if answer.isdecimal() and 1 <= int(answer) <= len(serials):
            return serials[int(answer) - 1]
        call.screen.say(f"Please type a number from 1 to {len(serials)}.")


def _digits(code: str) -> str:
    """A code without the spaces that devices show in it."""
    return re.sub(r"\s", "", code)


def _session(
    call: Call, keys: _Keys, serial: str, code: str | None, hours: int
) -> Mapping[str, Any]:
    """The credentials that STS gives for a code. A person may try again."""
    sts = keys.session.client("sts")
    if code is None and not call.interactive:
        raise CommandFailed(
            REFUSED, "nobody is there to type the code", ["  deployer login --code 123456"]
        )
    for tries_left in reversed(range(_TRIES if code is None else 1)):
        typed = _digits(code) if code is not None else _asked(call, serial)
        try:
            found: Mapping[str, Any] = sts.get_session_token(
                SerialNumber=serial, TokenCode=typed, DurationSeconds=hours * 3600
            )["Credentials"]
            return found
        except ClientError as error:
            said = printable(str(error.response["Error"].get("Message", "")))
            if code_of(error) not in DENIED or "MultiFactorAuthentication" not in said:
                raise
            if not tries_left:
                raise _refused(serial, said) from error
            call.screen.say("AWS does not take this code. Wait for the next one: each counts once.")
    raise AssertionError("every way out of the loop is in it")


def _asked(call: Call, serial: str) -> str:
    # shown as it is typed: it is worth nothing once it is used, or in half a minute
    while True:
        typed = _digits(call.screen.ask(f"Code of {serial}:"))
        if _CODE.fullmatch(typed):
            return typed
        call.screen.say("Please type the six digits that the device shows.")


def _refused(serial: str, said: str) -> CommandFailed:
    if "serial number" in said:  # which says that it knows no such device of the user's
        advice = [
            "Name one of your devices with --device:",
            "  aws iam list-mfa-devices --query 'MFADevices[].SerialNumber' --output text",
        ]
        return CommandFailed(UNREADY, f"{serial} is not an MFA device of yours", advice)
    return CommandFailed(
        FAILED,
        "AWS does not take this code: it is wrong, too old, or was used already",
        ["Wait for the device to show the next one:", "  deployer login"],
    )


# What becomes of it ------------------------------------------------------------------------------


def _keep(file: Path, name: str, given: Mapping[str, Any], keys: _Keys, settings: Settings) -> None:
    values = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
        "expiration": given["Expiration"].astimezone(UTC).isoformat(timespec="seconds"),
    }
    source = settings.get(keys.profile or "", {})
    if (region := source.get("region")) and "region" not in settings.get(name, {}):
        values["region"] = region
    if keys.profile:
        values[profiles.MADE_FROM] = keys.profile
    try:
        profiles.write(file, name, values)
    except OSError as error:
        raise CommandFailed(
            UNREADY,
            f"the session cannot be written to {file}: {error.strerror or error}",
            [
                "Name a file that you may write:",
                '  export AWS_SHARED_CREDENTIALS_FILE="$HOME/aws-credentials"',
            ],
        ) from error


def _tell(
    call: Call, file: Path, name: str, given: Mapping[str, Any], caller: str, serial: str
) -> None:
    expires = given["Expiration"].astimezone(UTC)
    call.result |= {
        "profile": name,
        "file": str(file),
        "expires": expires.isoformat(timespec="seconds"),
        "user": caller,
        "device": serial,
    }
    left = span((expires - datetime.now(UTC)).total_seconds())
    call.screen.say(f"A session of {caller}", style="green")
    call.screen.facts(
        [
            ("until", f"{expires.astimezone():%Y-%m-%d %H:%M %Z}, for {left}"),
            ("profile", f"{name} in {file}"),
        ]
    )
    if hiding := [key for key in _KEYS if os.environ.get(key)]:
        call.screen.say("Keys in the environment come before any profile. Take them away:")
        call.screen.command(f"unset {' '.join(hiding)}")
    if hiding or os.environ.get("AWS_PROFILE") != name:
        call.screen.say("Use it, here and in every AWS tool:")
        call.screen.command(f"export AWS_PROFILE={name}")
