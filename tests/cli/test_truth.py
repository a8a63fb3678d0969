"""`deployer status` tells what was verified apart from what serves."""

import io
from typing import Any

import pytest

from cli.commands.status import _rows, say_alarm
from cli.screen import Screen

VERIFIED = {"version": "1.1.0", "digest": "sha256:ab", "since": "2026-11-23T14:25:02+00:00"}


def found(verified: Any, serves: Any, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("url", "tasks", "hold", "lastFailure", "docs", "build", "mend", "alarm", "differs")
    )
    live = verified if serves and serves["verified"] else None
    lists: dict[str, Any] = {"inFlight": [], "waiting": [], "schedules": [], "further": []}
    lists["unseen"] = {}
    return {"verified": verified, "serves": serves, "live": live, **nothing, **lists, **more}


@pytest.mark.parametrize("alarm", [None, "1.4.0 serves, and is not verified"])
def test_what_serves_unverified_is_said_first(alarm: str | None) -> None:
    serves = {"what": "1.4.0", "verified": alarm is None, "taskDefinitions": []}
    now = found(VERIFIED, serves, alarm=alarm, mend=alarm and "  deployer rollback 1")
    names = [name for name, _ in _rows(now)]
    assert (names[0] == "NOT VERIFIED") == (alarm is not None)
    assert ("live" in names) == (alarm is None)
    stream = io.StringIO()
    say_alarm(Screen(stream), now)
    assert stream.getvalue() == (f"{alarm}\n  deployer rollback 1\n" if alarm else "")


def test_what_cannot_be_seen_is_not_called_live() -> None:
    facts = dict(_rows(found(VERIFIED, None)))
    assert "live" not in facts and "1.1.0" in facts["verified last"]
    assert "unknown" in facts["serves"]
