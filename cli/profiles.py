"""The profiles of AWS's shared files: which have keys of a user, and writing a session into one.

https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Kind = Literal["keys", "session", "sso", "role", "other", "none"]
"""What a profile's credentials are: a user's long-lived keys; a session written into the file;
IAM Identity Center's; a role that is assumed; another program's; or none."""

MADE_FROM = "deployer_made_from"
"""A session that `write` wrote names here the profile of the keys that it was made with; other
tools pass over names that they do not know."""

_HEADER = re.compile(r"\s*\[(?P<name>[^\]]*)\]")
_ENTRY = re.compile(r"(?P<key>[^\s=:#;\[][^=:]*?)\s*[=:]")


def kind(profile: Mapping[str, Any]) -> Kind:
    """What the credentials of a profile are, from its settings in both files together."""
    if "sso_session" in profile or "sso_start_url" in profile:
        return "sso"
    if "role_arn" in profile:
        return "role"
    if "aws_session_token" in profile:
        return "session"
    if "aws_access_key_id" in profile:
        return "keys"
    return "other" if profile.keys() & {"credential_process", "login_session"} else "none"


def file() -> Path:
    """The file of credentials: AWS_SHARED_CREDENTIALS_FILE, or ~/.aws/credentials."""
    named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    return Path(named or "~/.aws/credentials").expanduser()


def write(path: Path, name: str, values: Mapping[str, str]) -> None:
    """Set values of a profile; everything else in the file stays as it is, byte for byte.

    The file is replaced as a whole, so that it is never half written, and only its owner may read
    it. Where it is a link, what it leads to is replaced.

    Raises:
        OSError: it cannot be read or written, or is no file.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is no file")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # every byte is kept, whatever the encoding
    there = target.read_bytes().decode("utf-8", "surrogateescape") if target.exists() else ""
    content = with_profile(there, name, values).encode("utf-8", "surrogateescape")
    made, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")  # mode 0600
    try:
        with os.fdopen(made, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def with_profile(text: str, name: str, values: Mapping[str, str]) -> str:
    """A file's text with values of a profile set, at their place or at the end of the profile."""
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    begin = next((i for i, line in enumerate(lines) if _names(line) == name), None)
    if begin is None:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += newline
        gap = [newline] if lines and lines[-1].strip() else []
        lines += [*gap, f"[{name}]{newline}"]
        begin = len(lines) - 1
    end = next(
        (i for i in range(begin + 1, len(lines)) if _names(lines[i]) is not None), len(lines)
    )
    kept, left = [], dict(values)
    for line in lines[begin + 1 : end]:
        match = _ENTRY.match(line)
        key = match["key"].lower() if match else ""
        if key in left:
            line = f"{key} = {left.pop(key)}{newline}"
        elif key in values:
            continue  # said twice
        kept.append(line)
    after = len(kept)
    while after and not kept[after - 1].strip():
        after -= 1  # blank lines go on separating it from the next
    if after and not kept[after - 1].endswith("\n"):
        kept[after - 1] += newline
    if not after and not lines[begin].endswith("\n"):
        lines[begin] += newline
    kept[after:after] = [f"{key} = {value}{newline}" for key, value in left.items()]
    return "".join([*lines[: begin + 1], *kept, *lines[end:]])


def _names(line: str) -> str | None:
    """The profile whose section a line begins; None if it begins none."""
    match = _HEADER.match(line)
    return match["name"].strip() if match else None
