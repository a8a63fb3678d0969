"""Results of checks: `deployer doctor` and `make deploy` show them, the preflight fails on them.

Imports nothing of the deployer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

type State = Literal["ok", "warning", "failed"]

OK: State = "ok"
WARNING: State = "warning"
FAILED: State = "failed"


@dataclass(frozen=True)
class Repair:
    """A change that is safe to make once a person agrees: nothing is lost or interrupted.

    Attributes:
        what: the change in words.
        action: its name in `cli.doctor.repairs`.
        about: the action's arguments.
    """

    what: str
    action: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The result of one check, and what to do about it.

    Attributes:
        fix: lines; one that begins with two spaces is a command to copy.
        denied: whether AWS denied the caller the permission to check.
        why: why it matters, if `finding` does not say so.
        evidence: log lines that show it.
        repair: the fix, if a program can make it.
    """

    name: str
    state: State
    finding: str
    fix: tuple[str, ...] = ()
    why: str = ""
    evidence: tuple[str, ...] = ()
    repair: Repair | None = None
    denied: bool = False
