"""Completion where AWS offers nothing: it says nothing, soon."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError

from cli import completion, main
from cli.aws import Account
from demo import ROOT

ROLE = """[profile operator]
role_arn = arn:aws:iam::123456789012:role/operator
source_profile = source
mfa_serial = arn:aws:iam::123456789012:mfa/ann
region = us-east-1
[profile source]
aws_access_key_id = false
aws_secret_access_key = false
"""


def complete(line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What the shell is offered at the end of a line."""
    words = line.split(" ")
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/deployer")])
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return subprocess.run(
        [sys.executable, "-m", "cli"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "_DEPLOYER_COMPLETE": "bash_complete"}
        | asked
        | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_credentials_nothing_is_offered(tmp_path: Path) -> None:
    own = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_EC2_METADATA_DISABLED": "true"}
    own |= {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    for line in ("deployer wait ", "deployer wait --profile nobody "):
        done = complete(line, **own)
        assert (done.stdout.strip(), done.stderr) == ("", "")


def test_no_code_of_an_mfa_device_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(ROLE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoCredentialsError):
        Account("operator", asks=False)


def test_if_aws_does_not_answer_nothing_is_offered_after_seconds() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "false", "AWS_SECRET_ACCESS_KEY": "false"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        done = complete(
            "deployer status --service ", AWS_ENDPOINT_URL=endpoint, AWS_REGION="us-east-1", **keys
        )
        assert time.monotonic() - began < 30, "of at least 60 s that a request may take"
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_what_has_names_completes() -> None:
    """An argument that is named as those that complete must complete, too."""
    named = {"image": completion.tags, "--service": completion.services}
    named |= {"--container": completion.containers, "--release": completion.releases}
    for verb in main.COMMANDS:
        command = main.deployer.get_command(main.deployer.make_context("deployer", [verb]), verb)
        assert command
        for parameter in command.params:
            name = parameter.opts[0]
            if (expected := named.get(name)) and (verb, name) != ("init", "--container"):
                assert parameter._custom_shell_complete is expected, (verb, name)
