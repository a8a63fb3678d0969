"""Results of checks: `deployer doctor` and `make deploy` show them, a preflight stops at them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

type State = Literal["ok", "warning", "failed"]

OK: State = "ok"
WARNING: State = "warning"
FAILED: State = "failed"


@dataclass(frozen=True)
class Repair:
    """A change that is safe to make for whoever agrees: it loses and interrupts nothing.

    Attributes:
        what: what it changes, in words.
        action: its name, which `cli.doctor.repairs` knows.
        about: what it takes.
    """

    what: str
    action: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The result of one check, and what to do about it.

    Attributes:
        fix: lines; one that begins with two spaces is a command to copy.
        denied: whether AWS denied the caller the permission to look.
        why: why it matters, where `found` does not say so.
        evidence: log lines that show it.
        repair: the fix, where a program may make it.
    """

    name: str
    state: State
    found: str
    fix: tuple[str, ...] = ()
    why: str = ""
    evidence: tuple[str, ...] = ()
    repair: Repair | None = None
    denied: bool = False
