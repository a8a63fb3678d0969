"""`deployer login`: a session with a code, in a file of profiles, against the local AWS."""

import configparser
import contextlib
import json
import stat
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.terminal import Terminal, terminal
from tests.person import Person

MAY_LIST = {"Effect": "Allow", "Action": "iam:ListMFADevices", "Resource": "*"}
ONLY_WITH_MFA = {
    "Effect": "Deny",
    "NotAction": ["iam:ListMFADevices", "sts:GetSessionToken"],
    "Resource": "*",
    "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
}


@dataclass
class Home:
    """Somebody's AWS files, and the command as they type it."""

    person: Person
    operator: Operator
    directory: Path

    @property
    def credentials(self) -> Path:
        return self.directory / "credentials"

    @property
    def environment(self) -> dict[str, str]:
        """With the files alone to find credentials and a Region in."""
        given = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
        return {
            **{name: value for name, value in self.operator.env.items() if name not in given},
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_CONFIG_FILE": str(self.directory / "config"),
        }

    @property
    def keys(self) -> str:
        key = self.person.key
        return (
            f"aws_access_key_id = {key['AccessKeyId']}\n"
            f"aws_secret_access_key = {key['SecretAccessKey']}\n"
        )

    @property
    def code(self) -> str:
        return self.person.mfa["TokenCode"]

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.operator.command(*words),
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def terminal(self, *words: str) -> "contextlib.AbstractContextManager[Terminal]":
        return terminal(self.operator.command(*words), self.environment)

    def profile(self, name: str) -> dict[str, str]:
        parser = configparser.RawConfigParser()
        parser.read(self.credentials)
        return dict(parser[name])

    def may(self, *statements: dict[str, Any]) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        self.person.aws.client("iam").put_user_policy(
            UserName=self.person.name, PolicyName="own", PolicyDocument=json.dumps(document)
        )


@pytest.fixture
def home(deployer: Stage, tmp_path: Path) -> Home:
    person = Person(deployer.aws, deployer.outputs["OperatorsPolicy"])
    made = Home(person, Operator(deployer), tmp_path)
    made.credentials.write_text(f"# mine\n[default]\n{made.keys}region = us-east-1\n")
    made.may(MAY_LIST)
    return made


@pytest.mark.walk
def test_a_code_makes_a_session_that_the_other_commands_work_with(home: Home) -> None:
    may = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    home.may(may, ONLY_WITH_MFA)
    before = home.credentials.read_text()
    without = home.run("status")
    assert without.returncode == 1
    assert "not MFA-authenticated" in without.stderr
    assert "  deployer login\n" in without.stderr
    assert "Traceback" not in without.stderr

    done = home.run("login", "--code", home.code, "--hours", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    left = datetime.fromisoformat(told["expires"]) - datetime.now(UTC)
    assert timedelta(hours=1.9) < left < timedelta(hours=2.1)
    assert (told["device"], told["user"]) == (home.person.device, home.person.arn)
    written = home.profile("mfa-session")
    assert written["aws_session_token"] not in done.stdout + done.stderr
    assert written["region"] == "us-east-1"
    assert home.credentials.read_text().startswith(before)
    assert stat.S_IMODE(home.credentials.stat().st_mode) == 0o600

    served = home.run("status", "--json", AWS_PROFILE="mfa-session")
    assert served.returncode == 0, served.stderr

    # and it is renewed with the keys that it was made with, though the profile set is its own
    again = home.run("login", "--code", home.code, AWS_PROFILE="mfa-session")
    assert again.returncode == 0, again.stderr
    assert home.profile("mfa-session")["aws_access_key_id"] != written["aws_access_key_id"]
    assert "export AWS_PROFILE" not in again.stdout  # it is set already
    assert "export AWS_PROFILE=mfa-session" in home.run("login", "--code", home.code).stdout


def test_at_a_terminal_it_asks_and_takes_a_second_code(home: Home) -> None:
    used = home.code
    assert home.run("login", "--code", used).returncode == 0
    with home.terminal("login") as shown:
        shown.answer(f"Code of {home.person.device}:", "12345")
        shown.answer("six digits", used)
        shown.expect("AWS does not take this code")
        code = home.code
        shown.answer(f"Code of {home.person.device}:", f"{code[:3]} {code[3:]}")
        shown.expect("A session of")
        assert shown.ended() == 0, shown.screen
    with home.terminal("login") as shown:
        for _ in range(3):
            shown.answer(f"Code of {home.person.device}:", code)
        shown.expect("error: AWS does not take this code")
        assert shown.ended() == 1
    with home.terminal("login") as shown:
        shown.expect("Code of")
        shown.interrupt()
        assert shown.ended() == 130
        assert "Traceback" not in shown.screen


def test_a_code_that_was_used_is_refused_and_nothing_is_written(home: Home) -> None:
    code, before = home.code, home.credentials.read_bytes()
    home.person.session(SerialNumber=home.person.device, TokenCode=code)
    done = home.run("login", "--code", code)
    assert done.returncode == 1
    assert "used already" in done.stderr
    assert home.credentials.read_bytes() == before


def test_of_several_devices_one_is_chosen(home: Home) -> None:
    iam = home.person.aws.client("iam")
    second = iam.create_virtual_mfa_device(VirtualMFADeviceName=f"{home.person.name}-2")
    serial = second["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(
        UserName=home.person.name,
        SerialNumber=serial,
        AuthenticationCode1="123456",
        AuthenticationCode2="654321",
    )
    refused = home.run("login", "--code", home.code)
    assert refused.returncode == 4
    assert f"deployer login --device {serial}" in refused.stderr
    assert home.run("login", "--code", home.code, "--device", serial).returncode == 0
    with home.terminal("login", "--code", home.code) as shown:
        shown.answer("1 to 2 [1]:", "3")
        shown.answer("1 to 2 [1]:", "2")
        assert shown.ended() == 0, shown.screen


def test_without_permission_to_list_devices_the_usual_name_is_tried(home: Home) -> None:
    home.may({"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"})
    done = home.run("login", "--code", home.code)
    assert done.returncode == 0, done.stderr
    assert f"trying {home.person.device}" in done.stdout


def test_nobody_is_there_to_type_the_code(home: Home) -> None:
    done = home.run("login")
    assert done.returncode == 4
    assert "deployer login --code" in done.stderr


def test_no_device(home: Home) -> None:
    home.person.aws.client("iam").deactivate_mfa_device(
        UserName=home.person.name, SerialNumber=home.person.device
    )
    done = home.run("login", "--code", "123456")
    assert (done.returncode, "has no MFA device" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("config", "words", "said", "advice"),
    [
        (
            "[profile corp]\nsso_session = c\n[sso-session c]\nsso_start_url = https://c\n",
            ("--profile", "corp"),
            "IAM Identity Center",
            "aws sso login --profile corp",
        ),
        (
            "[profile admin]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = work\n",
            ("--profile", "admin"),
            "assumes a role",
            "deployer login --profile work",
        ),
        (
            "[profile p]\ncredential_process = vault\n",
            ("--profile", "p"),
            "another program",
            "deployer login --profile",
        ),
        ("", ("--profile", "nobody"), "no profile nobody", "aws configure list-profiles"),
        ("", ("--profile-name", "default"), "would be lost", "--profile-name mfa-session"),
        ("", ("--profile-name", "a]\n[b"), "--profile-name", ""),
        ("", ("--code", "12345"), "six digits", ""),
        ("[profile", (), "", "nothing in it was changed"),
    ],
)
def test_what_cannot_be_logged_in_with(
    home: Home, config: str, words: tuple[str, ...], said: str, advice: str
) -> None:
    (home.directory / "config").write_text(config)
    before = home.credentials.read_bytes()
    done = home.run("login", *words)
    assert done.returncode in (2, 3)
    assert said in done.stderr
    assert advice in done.stderr
    assert "Traceback" not in done.stderr
    assert home.credentials.read_bytes() == before


def test_whose_keys_where_there_are_several(home: Home) -> None:
    home.credentials.write_text(f"[work]\n{home.keys}\n[home]\n{home.keys}")
    done = home.run("login", "--code", home.code)
    assert (done.returncode, "work, home" in done.stderr) == (2, True)
    assert home.run("login", "--profile", "work", "--code", home.code).returncode == 0
    assert home.profile("mfa-session")["deployer_made_from"] == "work"
    assert home.run("login", "--code", home.code).returncode == 0  # it knows now
    home.credentials.write_text("")
    assert "no access key" in home.run("login", "--code", "123456").stderr


def test_keys_in_the_environment_hide_the_session(home: Home) -> None:
    key = home.person.key
    environment = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    done = home.run("login", "--code", home.code, **environment)
    assert done.returncode == 0, done.stderr
    assert "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY" in done.stdout


def test_a_session_is_no_key(home: Home) -> None:
    given = home.person.session(**home.person.mfa)
    home.credentials.write_text(
        f"[old]\naws_access_key_id = {given['AccessKeyId']}\n"
        f"aws_secret_access_key = {given['SecretAccessKey']}\n"
        f"aws_session_token = {given['SessionToken']}\n"
    )
    done = home.run("login", "--profile", "old", "--code", home.code)
    assert (done.returncode, "cannot make another" in done.stderr) == (3, True)


def test_an_expired_session_says_so_and_offers_login(home: Home) -> None:
    sts = home.person.client("sts", config=Config(parameter_validation=False))
    given = sts.get_session_token(**home.person.mfa, DurationSeconds=0)["Credentials"]
    home.credentials.write_text(
        f"[mfa-session]\naws_access_key_id = {given['AccessKeyId']}\n"
        f"aws_secret_access_key = {given['SecretAccessKey']}\n"
        f"aws_session_token = {given['SessionToken']}\nregion = us-east-1\n"
    )
    done = home.run("status", AWS_PROFILE="mfa-session")
    assert done.returncode == 1
    assert "your AWS session has expired" in done.stderr
    assert "  deployer login\n" in done.stderr
