"""Turns: one deployment of a service at a time, and the newest push wins.

A claim is an execution that wants the turn. Orders given by hand go first, in the order in which
they were given; of pushes only the newest counts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict

from deployer.history import History
from deployer.release import Recorded, Release

# Longer than a deployment may take with the one that it waits for; see the machine's timeout.
PATIENCE = timedelta(hours=2)


class Claim(TypedDict):
    """An execution's claim to the turn; `token` wakes it where it sleeps."""

    release: str
    execution: str
    trigger: str
    pushedAt: str
    since: str
    token: NotRequired[str]


class HoldNote(TypedDict):
    """Who holds a service's pushes back, since when and why."""

    by: str
    at: str
    reason: str


class Decision(TypedDict):
    """What a claim comes to: TAKE the turn, WAIT, or stand aside as HELD or SUPERSEDED.

    `by` is the release that goes first, or who holds.
    """

    action: Literal["TAKE", "WAIT", "HELD", "SUPERSEDED"]
    by: str
    reason: str


def claim(release: Release, execution: str, since: str, token: str) -> Claim:
    """A release's claim, by the execution that carries it out.

    An execution that puts right what another left goes first, as an order does.
    """
    ours = release["execution"] == execution
    return {
        "release": release["id"],
        "execution": execution,
        "trigger": release["trigger"] if ours else "recover",
        "pushedAt": release["pushedAt"],
        "since": since,
        "token": token,
    }


def decide(
    mine: Claim,
    holder: Claim | None,
    waiting: Sequence[Claim],
    hold: HoldNote | None,
    history: History,
) -> Decision:
    """Decide what a claim comes to.

    Args:
        holder: who has the turn and lives; None if nobody.
        waiting: the other claims.
        hold: the hold on the service's pushes; None if there is none.
        history: the service's records.
    """
    if holder and holder["execution"] == mine["execution"]:
        return _decision("TAKE", "", "the turn is ours already")
    if mine["trigger"] == "push":
        if hold:
            return _decision("HELD", hold["by"], f"held by {hold['by']}: {hold['reason']}")
        newer = _overtaken(mine, history)
        if newer:
            return _decision("SUPERSEDED", newer["id"], f"superseded by {newer['version']}")
    if holder:
        return _decision("WAIT", holder["release"], f"{holder['release']} has the turn")
    first = min([mine, *(c for c in waiting if c["release"] != mine["release"])], key=_order)
    if first["release"] != mine["release"]:
        return _decision("WAIT", first["release"], f"{first['release']} goes first")
    return _decision("TAKE", "", "the turn is free")


def _order(entry: Claim) -> tuple[int, float]:
    if entry["trigger"] == "push":
        return 1, 0  # of several pushes all but the newest are superseded before this is asked
    return 0, datetime.fromisoformat(entry["since"]).timestamp()


def _overtaken(mine: Claim, history: History) -> Recorded | None:
    """The release that makes this push out of date: a newer push whatever became of it, or an
    order by hand that was given after this push and is in flight or was carried out."""
    # ECR tells push times in seconds; within one, the ids decide, alike for everyone
    pushed = datetime.fromisoformat(mine["pushedAt"]), mine["release"]
    for entry in history:
        if entry["trigger"] == "push":
            when, counts = entry["pushedAt"], entry.get("outcome") != "IGNORED"
        else:
            when, counts = entry["startedAt"], entry.get("outcome") in (None, "SUCCEEDED")
        later = (datetime.fromisoformat(when), entry["id"]) > pushed
        if later and counts and entry["trigger"] != "hold":
            return entry
    return None


def _decision(
    action: Literal["TAKE", "WAIT", "HELD", "SUPERSEDED"], by: str, reason: str
) -> Decision:
    return {"action": action, "by": by, "reason": reason}
