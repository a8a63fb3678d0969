"""`deployer status` tells what was verified apart from what serves."""

from typing import Any

import pytest

from cli.commands.status import _alarm, _facts

VERIFIED = {"version": "1.1.0", "digest": "sha256:ab", "since": "2026-11-23T14:25:02+00:00"}


def found(verified: Any, serves: Any, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("url", "tasks", "hold", "lastFailure", "docs", "build", "mend"))
    live = verified if serves and serves["verified"] else None
    lists: dict[str, Any] = {"inFlight": [], "waiting": [], "unseen": {}}
    return {"verified": verified, "serves": serves, "live": live, **nothing, **lists, **more}


@pytest.mark.parametrize(
    ("verified", "what", "is_verified", "said"),
    [
        (VERIFIED, "1.1.0", True, None),
        (VERIFIED, "1.4.0", False, ("1.4.0 serves", "not verified", "1.1.0")),
        (VERIFIED, None, False, ("Nothing serves", "1.1.0")),
        (None, "1.4.0", False, ("1.4.0 serves", "no release was ever verified")),
        (None, None, False, None),
    ],
)
def test_what_serves_unverified_is_said_first(
    verified: Any, what: str | None, is_verified: bool, said: tuple[str, ...] | None
) -> None:
    now = found(verified, {"what": what, "verified": is_verified, "taskDefinitions": []})
    alarm = _alarm(now)
    assert alarm is None if said is None else all(part in str(alarm) for part in said)
    names = [name for name, _ in _facts(now)]
    assert (names[0] == "NOT VERIFIED") == (said is not None)
    assert ("live" in names) == (is_verified or verified is None)


def test_what_cannot_be_seen_is_not_called_live() -> None:
    facts = dict(_facts(found(VERIFIED, None)))
    assert "live" not in facts and "1.1.0" in facts["verified last"]
    assert "unknown" in facts["serves"]
