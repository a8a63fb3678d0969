"""A profile whose role demands MFA: the code is asked for once, by botocore, for all commands."""

import json
import subprocess
from pathlib import Path

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.terminal import terminal
from tests.person import Person

CONFIG = """\
[profile operator]
region = us-east-1
role_arn = {role}
source_profile = default
mfa_serial = {device}
"""


@pytest.mark.walk
def test_a_role_asks_for_a_code_once(deployer: Stage, tmp_path: Path) -> None:
    person, operator = Person(deployer.aws), Operator(deployer)
    role = person.role_for(deployer.outputs["OperatorsPolicy"])
    aws = tmp_path / ".aws"
    aws.mkdir()
    (aws / "config").write_text(CONFIG.format(role=role, device=person.device))
    (aws / "credentials").write_text(
        f"[default]\naws_access_key_id = {person.key['AccessKeyId']}\n"
        f"aws_secret_access_key = {person.key['SecretAccessKey']}\n"
    )
    environment = {
        **{name: value for name, value in operator.env.items() if not name.startswith("AWS_")},
        "AWS_ENDPOINT_URL": operator.env["AWS_ENDPOINT_URL"],
        "HOME": str(tmp_path),
        "AWS_PROFILE": "operator",
    }

    def unattended(**other: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            operator.command("status", "--json"),
            env={**environment, **other},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    nobody = unattended()
    assert (nobody.returncode, "not answered" in nobody.stderr) == (4, True), nobody.stderr
    with terminal(operator.command("status", "--json"), environment) as shown:
        shown.answer(f"Enter MFA code for {person.device}:", person.mfa["TokenCode"])
        assert shown.ended() == 0, shown.screen

    again = unattended()
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["ok"]

    alone = unattended(AWS_PROFILE="default", AWS_REGION="us-east-1")
    assert alone.returncode == 1  # nothing is allowed without the role
