"""What the buttons do: each is a command of `deployer`, shown before it runs.

Decides only: no AWS.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.nextstep import Given

_NAME = re.compile(r"[A-Za-z0-9][\w.:+@-]{0,200}")  # of a release or image; never an option
_LONGEST_REASON = 300  # characters
_FIELDS = {
    "rollback": {"release", "reason", "hold"},
    "hold": {"reason"},
    "resume": {"release"},
    "cancel": {"release"},
    "doctor": set[str](),
}


class ActionInvalid(Exception):
    """The page asked for something that none of its buttons does; the message says what."""


@dataclass(frozen=True)
class Action:
    """A button: the command that it runs, and the one that shows what that would change.

    Attributes:
        words: the command and its arguments, such as `("rollback", "1.1.0")`.
        preview: the command that shows beforehand what would change; () if there is none.
        detached: whether it only starts an execution, which the page then follows.
        reads: whether it only reads, so that no one needs to hear of it.
    """

    words: tuple[str, ...]
    preview: tuple[str, ...] = ()
    detached: bool = False
    reads: bool = False

    def shown(self, given: Given) -> str:
        """Return the command to copy.

        Args:
            given: the options that it must repeat.
        """
        return given.command(f"deployer {shlex.join(self.words)}")


def parse(request: Any) -> Action:
    """Return the action that the page asks for.

    Args:
        request: `{"action": …, "release": …, "reason": …, "hold": …}`; `release` is an id, or, to
            resume, the digest of the newest held push.
    Raises:
        ActionInvalid: a field is unknown, missing, or not of its type.
    """
    if not isinstance(request, Mapping) or request.get("action") not in _FIELDS:
        raise ActionInvalid(f"unknown action; expected one of: {', '.join(_FIELDS)}")
    action = str(request["action"])
    unknown = sorted(request.keys() - _FIELDS[action] - {"action", "service"})
    if unknown:
        raise ActionInvalid(f"unknown fields of {action}: {', '.join(unknown)}")
    release, reason = _release(request.get("release")), _reason(request.get("reason"))
    because = ["--reason", reason] if reason else []
    match action:
        case "cancel" if not release:
            raise ActionInvalid("cancel needs a release")
        case "rollback" if not release:
            return Action(
                ("rollback",), ("rollback",), reads=True
            )  # lists them; nobody is there to choose
        case "rollback":
            hold = [] if request.get("hold", True) is True else ["--no-hold"]
            words = ["rollback", release, *hold]
            return Action((*words, *because), (*words, "--dry-run"), detached=True)
        case "hold":
            return Action(("hold", *because), detached=True)
        case "resume":
            preview = ("deploy", release, "--dry-run") if release else ()
            return Action(("resume",), preview, detached=True)
        case "cancel":
            return Action(("cancel", release, "--yes"))
    return Action(("doctor",), reads=True)


def _release(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ActionInvalid("release must be an id, a version, a tag or a digest")
    return value


def _reason(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST_REASON or not _printable(value):
        raise ActionInvalid(f"reason must be a line of at most {_LONGEST_REASON} characters")
    return value.strip()


def _printable(text: str) -> bool:
    return all(character.isprintable() for character in text)
