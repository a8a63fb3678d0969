"""A session goes into the file of credentials, and nothing else in it changes."""

import configparser
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import profiles
from cli.profiles import kind, with_profile

VALUES = {"aws_access_key_id": "ASIANEW", "aws_session_token": "tok=en/+=="}
SET = "aws_access_key_id = ASIANEW\naws_session_token = tok=en/+==\n"

BEFORE = """\
# keys of mine
[default]
aws_access_key_id=AKIA1   ; a comment
aws_secret_access_key = s3cr=t

[mfa-session]   # made by hand
# until noon
AWS_ACCESS_KEY_ID = ASIAOLD
output = json
aws_session_token=old
aws_session_token=twice

[other]
region = eu-west-1"""

AFTER = """\
# keys of mine
[default]
aws_access_key_id=AKIA1   ; a comment
aws_secret_access_key = s3cr=t

[mfa-session]   # made by hand
# until noon
aws_access_key_id = ASIANEW
output = json
aws_session_token = tok=en/+==

[other]
region = eu-west-1"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BEFORE, AFTER),
        ("", f"[mfa-session]\n{SET}"),
        ("[a]\nx=1", f"[a]\nx=1\n\n[mfa-session]\n{SET}"),
        ("[a]\nx=1\n\n\n", f"[a]\nx=1\n\n\n[mfa-session]\n{SET}"),
        ("[mfa-session]", f"[mfa-session]\n{SET}"),
        ("[mfa-session]\n\n[a]\n", f"[mfa-session]\n{SET}\n[a]\n"),
        ("[mfa-session]\nregion = x", f"[mfa-session]\nregion = x\n{SET}"),
        ("[mfa-session-2]\nx=1\n", f"[mfa-session-2]\nx=1\n\n[mfa-session]\n{SET}"),
    ],
)
def test_where_the_values_go(before: str, after: str) -> None:
    assert with_profile(before, "mfa-session", VALUES) == after
    windows = with_profile(before.replace("\n", "\r\n"), "mfa-session", VALUES)
    assert not before.count("\n") or windows == after.replace("\n", "\r\n")


_LINES = st.sampled_from(
    [
        "[default]",
        "[other]",
        "[p]",
        " [ p2 ]",
        "a = 1",
        "b=2",
        "# c",
        "; d",
        "",
        "  e = f",
        "é\udcff",
    ]
)


@given(st.lists(_LINES), st.sampled_from(["", "\n", "\r\n"]))
def test_every_other_byte_stays(lines: list[str], ending: str) -> None:
    text = "\n".join(lines) + (ending if lines else "")
    once = with_profile(text, "p", VALUES)
    kept = [line for line in once.splitlines() if not line.startswith(tuple(VALUES))]
    there = [line for line in text.splitlines() if line]
    assert [line for line in kept if line and line != "[p]"] == [x for x in there if x != "[p]"]
    assert with_profile(once, "p", VALUES) == once  # and again it changes nothing


def test_the_file_is_its_owners_alone_and_replaced_as_a_whole(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "credentials", tmp_path / "credentials"
    real.parent.mkdir()
    real.write_bytes(b"[default]\naws_access_key_id = AKIA\n# caf\xe9 \xff\n")
    real.chmod(0o644)
    link.symlink_to(real)
    profiles.write(link, "s", VALUES)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    content = real.read_bytes()
    assert content.startswith(b"[default]\naws_access_key_id = AKIA\n# caf\xe9 \xff\n")
    assert [path.name for path in real.parent.iterdir()] == ["credentials"]
    parser = configparser.RawConfigParser()
    parser.read_string(content.decode("latin-1"))
    assert dict(parser["s"]) == VALUES


def test_a_first_file_and_a_place_where_none_can_be(tmp_path: Path) -> None:
    file = tmp_path / "home" / ".aws" / "credentials"
    profiles.write(file, "s", VALUES)
    assert file.read_text() == f"[s]\n{SET}"
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with pytest.raises(OSError, match="is no file"):
        profiles.write(Path(os.devnull), "s", VALUES)


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ({"aws_access_key_id": "AKIA"}, "keys"),
        ({"aws_access_key_id": "ASIA", "aws_session_token": "t"}, "session"),
        ({"sso_session": "corp", "sso_account_id": "1"}, "sso"),
        ({"role_arn": "arn:…", "source_profile": "default"}, "role"),
        ({"credential_process": "vault"}, "other"),
        ({"region": "us-east-1"}, "none"),
    ],
)
def test_what_a_profile_has(profile: dict[str, str], found: str) -> None:
    assert kind(profile) == found
