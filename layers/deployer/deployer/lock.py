"""Decide who gets the lock: one deployment of a service at a time, and the newest push wins.

Executions queue for the lock. Manual requests go first, in the order in which they were made, and
never after one that was made later; of the waiting pushes only the newest deploys. Services, builds
and documentation sites all use this; it imports decisions only, no AWS.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict

from deployer.deploy.history import History, good, was_live
from deployer.deploy.identification import OPERATOR
from deployer.deploy.release import Entry, Recorded
from deployer.requests import ONE_PUSH

# Longer than a deployment may take with the one that it waits for; see the machine's timeout.
PATIENCE = timedelta(hours=2)

_FAILED = ("FAILED", "FAILED_ROLLED_BACK")

_UNSAID = "no reason given"


class LockRequest(TypedDict):
    """An execution that waits for the lock, or holds it; `token` wakes it while it waits.

    `changesUntil` is the holder's lease (microseconds since 1970): until then one of its functions
    may be changing something, even if the execution has ended.
    """

    release: str
    execution: str
    trigger: str
    pushedAt: str
    since: str
    token: NotRequired[str]
    changesUntil: NotRequired[int]


class HoldNote(TypedDict):
    """Who holds a service's pushes, since when and why."""

    by: str
    at: str
    reason: str


type Action = Literal["ACQUIRED", "WAIT", "HELD", "SUPERSEDED", "CLOSED"]


class Decision(TypedDict):
    """The answer to a lock request: ACQUIRED, WAIT, or skipped as HELD, SUPERSEDED or CLOSED (the
    release has an outcome already).

    `by` is the release that goes first, or the person who holds the service.
    """

    action: Action
    by: str
    reason: str


def lock_request(release: Entry, execution: str, since: str, token: str) -> LockRequest:
    """Return a release's request for the lock, made by the execution that carries it out.

    A recovery, which cleans up after another execution, goes first, as a manual request does.
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
    """Return the note of a hold. A service that is held already keeps the time of its hold."""
    since = already["at"] if already else now.isoformat()
    return {"by": by or OPERATOR, "at": since, "reason": reason or _UNSAID}


def decide(
    mine: LockRequest,
    holder: LockRequest | None,
    waiting: Sequence[LockRequest],
    hold: HoldNote | None,
    history: History,
) -> Decision:
    """Decide a lock request.

    Args:
        holder: who holds the lock and is still running; None if nobody.
        waiting: the other lock requests.
        hold: the hold on the service's pushes; None if it is not held.
        history: the service's records.
    """
    own = next((entry for entry in history if entry["id"] == mine["release"]), None)
    ended = own.get("outcome") if own else None
    if own and mine["trigger"] != "recover" and (ended == "HELD" or ended == "SUPERSEDED"):
        # by another try of Acquire lock, which may have overlapped with one that acquired the lock
        return _decision(ended, own.get("by", ""), own.get("reason", ""))
    if holder and holder["execution"] == mine["execution"]:
        return _decision("ACQUIRED", "", "the lock is ours already")
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
        return _decision("WAIT", holder["release"], f"{holder['release']} holds the lock")
    first = min([mine, *waiting], key=_priority)
    if first["release"] != mine["release"]:
        return _decision("WAIT", first["release"], f"{first['release']} goes first")
    return _decision("ACQUIRED", "", "the lock is free")


def _priority(entry: LockRequest) -> tuple[int, float, str]:
    if entry["trigger"] == "push":
        return 1, 0, ""  # of several pushes all but the newest are superseded before this is asked
    return 0, datetime.fromisoformat(entry["since"]).timestamp(), entry["release"]


def _overtaken(mine: LockRequest, holder: LockRequest | None, history: History) -> Recorded | None:
    """The release that makes this push out of date: a newer push whatever became of it, or an
    manual request that was given after this push and was carried out. To resume is to deploy an
    earlier push, which counts as that."""
    pushed = datetime.fromisoformat(mine["pushedAt"])
    for entry in history:
        if entry["trigger"] == "push":
            told, counts = entry["pushedAt"], entry.get("outcome") != "IGNORED"
        else:
            # one in flight goes first anyway; if it fails, the push gets the lock after it
            told, counts = entry["startedAt"], entry.get("outcome") == "SUCCEEDED"
        when = datetime.fromisoformat(told)
        # ECR tells push times in seconds; of those that wait from one second, the ids decide
        waits = "outcome" not in entry and not (holder and holder["release"] == entry["id"])
        tie = when == pushed and waits and entry["id"] > mine["release"]
        if counts and (when > pushed or tie) and entry["trigger"] not in ("hold", "resume"):
            return entry
    return None


def _same_push(own: Recorded, history: History) -> Recorded | None:
    """Return the release that another tag of the same push was, if that held the lock and nothing
    else was asked for between the two tags."""
    earlier = [e for e in history if _asked(e) and (_told(e), e["id"]) < (_told(own), own["id"])]
    last = max(earlier, key=lambda entry: (_told(entry), entry["id"]), default=None)
    if last is None or last["trigger"] != "push" or last["digest"] != own["digest"]:
        return None
    near = _told(own) - _told(last) <= ONE_PUSH and last["tag"] != own["tag"]
    return last if near and last.get("outcome") in ("SUCCEEDED", *_FAILED) else None


def _told(entry: Recorded) -> datetime:
    """When a release was asked for: by a push, or by a request."""
    told = entry["pushedAt"] if entry["trigger"] == "push" else entry["startedAt"]
    return datetime.fromisoformat(told)


def _asked(entry: Recorded) -> bool:
    return entry.get("outcome") != "IGNORED" and entry["trigger"] != "hold"


def _carried_out_since(mine: LockRequest, history: History) -> Recorded | None:
    """The order that was given after this one and came to the lock before."""
    given = datetime.fromisoformat(mine["since"])
    for entry in good(history):
        if entry["trigger"] != "push" and datetime.fromisoformat(entry["startedAt"]) > given:
            return entry
    return None


def _newer_push(mine: LockRequest, history: History) -> Recorded | None:
    """The push that a resumption does not replace: a newer one than it resumes, which was live."""
    pushed = datetime.fromisoformat(mine["pushedAt"])
    for entry in good(history):
        newer = datetime.fromisoformat(entry["pushedAt"]) > pushed
        if newer and entry["trigger"] in ("push", "resume"):
            return entry
    return None


def _later(own: Recorded | None, history: History) -> Recorded | None:
    """The release that changed the service or site after the one that is to be put right did."""
    began = own.get("lockedAt") if own else None
    changed = (e for e in history if "rollout" in e or was_live(e))
    return next((e for e in changed if began and e.get("lockedAt", "") > began), None)


def _decision(action: Action, by: str, reason: str) -> Decision:
    return {"action": action, "by": by, "reason": reason}
