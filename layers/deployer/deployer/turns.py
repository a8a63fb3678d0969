"""Turns: one deployment of a service at a time, and the newest push wins.

A claim is an execution that wants the turn. Orders given by hand go first, in the order in which
they were given, and not after one that was given later; of pushes only the newest counts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict

from deployer.history import History, good, was_live
from deployer.identification import OPERATOR
from deployer.release import Entry, Recorded
from deployer.request import ONE_PUSH

# Longer than a deployment may take with the one that it waits for; see the machine's timeout.
PATIENCE = timedelta(hours=2)

_FAILED = ("FAILED", "FAILED_ROLLED_BACK")

_UNSAID = "nobody said why"


class Claim(TypedDict):
    """An execution's claim to the turn; `token` wakes it where it sleeps.

    `changesUntil` is of who has the turn: until then (microseconds since 1970) a function of it may
    change something, even if the execution is over.
    """

    release: str
    execution: str
    trigger: str
    pushedAt: str
    since: str
    token: NotRequired[str]
    changesUntil: NotRequired[int]


class HoldNote(TypedDict):
    """Who holds a service's pushes back, since when and why."""

    by: str
    at: str
    reason: str


type Action = Literal["TAKE", "WAIT", "HELD", "SUPERSEDED", "CLOSED"]


class Decision(TypedDict):
    """What a claim comes to: TAKE the turn, WAIT, or stand aside as HELD or SUPERSEDED, or because
    the release is CLOSED already.

    `by` is the release that goes first, or who holds.
    """

    action: Action
    by: str
    reason: str


def claim(release: Entry, execution: str, since: str, token: str) -> Claim:
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


def held(
    by: str | None, reason: str | None, now: datetime, already: HoldNote | None = None
) -> HoldNote:
    """The note of a hold; since when pushes are held stays as it was if they are already."""
    since = already["at"] if already else now.isoformat()
    return {"by": by or OPERATOR, "at": since, "reason": reason or _UNSAID}


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
    own = next((entry for entry in history if entry["id"] == mine["release"]), None)
    ended = own.get("outcome") if own else None
    if own and mine["trigger"] != "recover" and (ended == "HELD" or ended == "SUPERSEDED"):
        # by another try of Take turn, which may have overlapped with one that took the turn
        return _decision(ended, own.get("by", ""), own.get("reason", ""))
    if holder and holder["execution"] == mine["execution"]:
        return _decision("TAKE", "", "the turn is ours already")
    if own and ended and ended not in ("HELD", "SUPERSEDED"):
        # by a recovery before its execution was redriven, or by that before the recovery
        why = f"{mine['release']} is {ended} already: {own.get('reason', '')}"
        return _decision("CLOSED", "", why)
    if mine["trigger"] == "recover":
        later = _later(own, history)
        if later:
            why = "its execution ended midway, and another release has taken its place since"
            return _decision("SUPERSEDED", later["id"], why)
    if mine["trigger"] == "push":
        if hold:
            why = f"held by {hold['by']} since {hold['at']}: {hold['reason']}"
            return _decision("HELD", hold["by"], why)
        newer = _overtaken(mine, holder, history)
        if newer:
            return _decision("SUPERSEDED", newer["id"], f"superseded by {newer['version']}")
        same = _same_push(own, history) if own else None
        if same:
            why = f"the same image was pushed as {same['tag']} too, and that is {same['outcome']}"
            return _decision("SUPERSEDED", same["id"], why)
    elif mine["trigger"] != "recover":
        newer = _carried_out_since(mine, history)
        if newer:
            why = f"the order for {newer['version']}, given later, was carried out before"
            return _decision("SUPERSEDED", newer["id"], why)
        newer = _newer_push(mine, history) if mine["trigger"] == "resume" else None
        if newer:
            return _decision(
                "SUPERSEDED", newer["id"], f"{newer['version']}, pushed later, is live"
            )
    if holder:
        return _decision("WAIT", holder["release"], f"{holder['release']} has the turn")
    first = min([mine, *waiting], key=_order)
    if first["release"] != mine["release"]:
        return _decision("WAIT", first["release"], f"{first['release']} goes first")
    return _decision("TAKE", "", "the turn is free")


def _order(entry: Claim) -> tuple[int, float, str]:
    if entry["trigger"] == "push":
        return 1, 0, ""  # of several pushes all but the newest are superseded before this is asked
    return 0, datetime.fromisoformat(entry["since"]).timestamp(), entry["release"]


def _overtaken(mine: Claim, holder: Claim | None, history: History) -> Recorded | None:
    """The release that makes this push out of date: a newer push whatever became of it, or an
    order by hand that was given after this push and was carried out. To resume is to deploy an
    earlier push, which counts as that."""
    pushed = datetime.fromisoformat(mine["pushedAt"])
    for entry in history:
        if entry["trigger"] == "push":
            told, counts = entry["pushedAt"], entry.get("outcome") != "IGNORED"
        else:
            # one in flight goes first anyway; if it fails, the push has its turn after it
            told, counts = entry["startedAt"], entry.get("outcome") == "SUCCEEDED"
        when = datetime.fromisoformat(told)
        # ECR tells push times in seconds; of those that wait from one second, the ids decide
        waits = "outcome" not in entry and not (holder and holder["release"] == entry["id"])
        tie = when == pushed and waits and entry["id"] > mine["release"]
        if counts and (when > pushed or tie) and entry["trigger"] not in ("hold", "resume"):
            return entry
    return None


def _same_push(own: Recorded, history: History) -> Recorded | None:
    """Return the release that another tag of the same push was, if that had its turn and nothing
    else was asked for between the two tags."""
    earlier = [e for e in history if _asked(e) and (_told(e), e["id"]) < (_told(own), own["id"])]
    last = max(earlier, key=lambda entry: (_told(entry), entry["id"]), default=None)
    if last is None or last["trigger"] != "push" or last["digest"] != own["digest"]:
        return None
    near = _told(own) - _told(last) <= ONE_PUSH and last["tag"] != own["tag"]
    return last if near and last.get("outcome") in ("SUCCEEDED", *_FAILED) else None


def _told(entry: Recorded) -> datetime:
    """When a release was asked for: by a push, or by an order."""
    told = entry["pushedAt"] if entry["trigger"] == "push" else entry["startedAt"]
    return datetime.fromisoformat(told)


def _asked(entry: Recorded) -> bool:
    return entry.get("outcome") != "IGNORED" and entry["trigger"] != "hold"


def _carried_out_since(mine: Claim, history: History) -> Recorded | None:
    """The order that was given after this one and came to its turn before."""
    given = datetime.fromisoformat(mine["since"])
    for entry in good(history):
        if entry["trigger"] != "push" and datetime.fromisoformat(entry["startedAt"]) > given:
            return entry
    return None


def _newer_push(mine: Claim, history: History) -> Recorded | None:
    """The push that a resumption does not replace: a newer one than it resumes, which was live."""
    pushed = datetime.fromisoformat(mine["pushedAt"])
    for entry in good(history):
        newer = datetime.fromisoformat(entry["pushedAt"]) > pushed
        if newer and entry["trigger"] in ("push", "resume"):
            return entry
    return None


def _later(own: Recorded | None, history: History) -> Recorded | None:
    """The release that changed the service or site after the one that is to be put right did."""
    began = own.get("turnAt") if own else None
    changed = (e for e in history if "rollout" in e or was_live(e))
    return next((e for e in changed if began and e.get("turnAt", "") > began), None)


def _decision(action: Action, by: str, reason: str) -> Decision:
    return {"action": action, "by": by, "reason": reason}
