"""Decide who gets the lock: one deployment of a service at a time, and the newest push wins.

Executions queue for the lock. Manual requests go first, in the order in which they were made, and
never after one that was made later; of the waiting pushes only the newest deploys. Services, builds
and documentation sites all use this; it imports decisions only, no AWS.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict

from deployer.deploy.history import good, live, was_live
from deployer.deploy.identification import OPERATOR
from deployer.deploy.release import Entry, Record
from deployer.deploy.spec import LOCK_PATIENCE
from deployer.requests import ONE_PUSH

# More than a deployment and the one before it may take; see the state machine's timeout.
PATIENCE = timedelta(seconds=LOCK_PATIENCE)

_FAILED = ("FAILED", "FAILED_ROLLED_BACK")

_NO_REASON = "no reason given"


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
    owns_release = release["execution"] == execution
    return {
        "release": release["id"],
        "execution": execution,
        "trigger": release["trigger"] if owns_release else "recover",
        "pushedAt": release["pushedAt"],
        "since": since,
        "token": token,
    }


def held(
    by: str | None, reason: str | None, now: datetime, already: HoldNote | None = None
) -> HoldNote:
    """Return the note of a hold; a second hold keeps the time of the first."""
    since = already["at"] if already else now.isoformat()
    return {"by": by or OPERATOR, "at": since, "reason": reason or _NO_REASON}


def decide(
    request: LockRequest,
    holder: LockRequest | None,
    waiting: Sequence[LockRequest],
    hold: HoldNote | None,
    history: Sequence[Record],
) -> Decision:
    """Decide a lock request.

    Args:
        holder: the request that holds the lock, if its execution still runs; else None.
        waiting: the other requests in the queue.
        hold: the hold on the service's pushes; None if it is not held.
        history: the service's records.
    """
    release = next((entry for entry in history if entry["id"] == request["release"]), None)
    ended = release.get("outcome") if release else None
    if release and request["trigger"] != "recover" and (ended == "HELD" or ended == "SUPERSEDED"):
        # by another try of Acquire lock, which may have overlapped with one that acquired it
        return _decision(ended, release.get("by", ""), release.get("reason", ""))
    if holder and holder["execution"] == request["execution"]:
        return _decision("ACQUIRED", "", "the lock is ours already")
    if release and ended and ended not in ("HELD", "SUPERSEDED"):
        # closed by a recovery before a redrive, or by the execution before its recovery
        why = f"{request['release']} is {ended} already: {release.get('reason', '')}"
        return _decision("CLOSED", "", why)
    if request["trigger"] == "recover":
        later = _later(release, history)
        if later:
            why = "its execution ended midway, and another release has taken its place since"
            return _decision("SUPERSEDED", later["id"], why)
    if request["trigger"] == "push":
        if hold:
            why = f"held by {hold['by']} since {hold['at']}: {hold['reason']}"
            return _decision("HELD", hold["by"], why)
        newer = _overtaken(request, release, holder, history)
        if newer:
            return _decision("SUPERSEDED", newer["id"], f"superseded by {newer['version']}")
        same = _same_push(release, history) if release else None
        if same:
            why = f"the same image was pushed as {same['tag']} too, and that is {same['outcome']}"
            return _decision("SUPERSEDED", same["id"], why)
    elif request["trigger"] != "recover":
        newer = _carried_out_since(request, history)
        if newer:
            why = f"a later request, for {newer['version']}, was carried out first"
            return _decision("SUPERSEDED", newer["id"], why)
        newer = _newer_push(request, history) if _of_newest(request, release) else None
        if newer:
            return _decision(
                "SUPERSEDED", newer["id"], f"{newer['version']}, pushed later, is live"
            )
        newer = live(history) if release and request["trigger"] == "restart" else None
        if release and newer and newer["id"] != release.get("to"):
            why = f"{newer['version']} went live meanwhile, in new tasks"
            return _decision("SUPERSEDED", newer["id"], why)
    if holder:
        return _decision("WAIT", holder["release"], f"{holder['release']} holds the lock")
    first = min([request, *waiting], key=_priority)
    if first["release"] != request["release"]:
        return _decision("WAIT", first["release"], f"{first['release']} goes first")
    return _decision("ACQUIRED", "", "the lock is free")


def _priority(entry: LockRequest) -> tuple[int, float, str]:
    if entry["trigger"] == "push":
        return 1, 0, ""  # all pushes but the newest are superseded before this is called
    return 0, datetime.fromisoformat(entry["since"]).timestamp(), entry["release"]


_NOT_NEWER = ("hold", "restart", "resume")


def _overtaken(
    request: LockRequest,
    release: Record | None,
    holder: LockRequest | None,
    history: Sequence[Record],
) -> Record | None:
    """Return the release that supersedes this push; None if none does.

    That is a newer push with any outcome, or a manual request made after this push that succeeded.
    A resumption counts as the push that it deploys, and a restart is for whatever is live.
    """
    pushed = datetime.fromisoformat(request["pushedAt"])
    for entry in history:
        if entry["trigger"] == "push":
            timestamp, counts = entry["pushedAt"], entry.get("outcome") != "IGNORED"
        else:
            # a request in flight goes first anyway; if it fails, the push gets the lock after it
            timestamp, counts = entry["startedAt"], entry.get("outcome") == "SUCCEEDED"
        time = datetime.fromisoformat(timestamp)
        is_waiting = "outcome" not in entry and not (holder and holder["release"] == entry["id"])
        newer = time > pushed or (time == pushed and _wins_tie(entry, request, release, is_waiting))
        if counts and newer and entry["trigger"] not in _NOT_NEWER:
            return entry
    return None


def _wins_tie(
    entry: Record, request: LockRequest, release: Record | None, is_waiting: bool
) -> bool:
    """Return whether another push of the same second is newer: ECR rounds push times to seconds.

    Of pushes of one tag it is the one that has it; of others, while both wait, the ids decide.
    """
    if release and release["tag"] == entry["tag"] and release["id"] != entry["id"]:
        moved, others = release.get("tagMoved", False), entry.get("tagMoved", False)
        if moved != others:
            return moved
    return is_waiting and entry["id"] > request["release"]


def _same_push(release: Record, history: Sequence[Record]) -> Record | None:
    """Return the release of another tag of the same push, if it held the lock; None otherwise.

    Two tags belong to one push only if nothing else was pushed or requested between them.
    """
    earlier = [
        e
        for e in history
        if _may_deploy(e) and (_requested_at(e), e["id"]) < (_requested_at(release), release["id"])
    ]
    previous = max(earlier, key=lambda entry: (_requested_at(entry), entry["id"]), default=None)
    if previous is None or previous["trigger"] != "push" or previous["digest"] != release["digest"]:
        return None
    same_push = (
        _requested_at(release) - _requested_at(previous) <= ONE_PUSH
        and previous["tag"] != release["tag"]
    )
    return previous if same_push and previous.get("outcome") in ("SUCCEEDED", *_FAILED) else None


def _requested_at(entry: Record) -> datetime:
    """Return when a release was pushed or requested."""
    timestamp = entry["pushedAt"] if entry["trigger"] == "push" else entry["startedAt"]
    return datetime.fromisoformat(timestamp)


def _may_deploy(entry: Record) -> bool:
    return entry.get("outcome") != "IGNORED" and entry["trigger"] != "hold"


def _carried_out_since(request: LockRequest, history: Sequence[Record]) -> Record | None:
    """Return the request that was made after this one but carried out before it."""
    requested = datetime.fromisoformat(request["since"])
    for entry in good(history):
        if entry["trigger"] != "push" and datetime.fromisoformat(entry["startedAt"]) > requested:
            return entry
    return None


def _of_newest(request: LockRequest, release: Record | None) -> bool:
    """Return whether a request is for the newest push there was when it was made.

    A resumption is, and a request to publish a site: it names no archive.
    """
    publishes = request["trigger"] == "deploy" and release is not None and "source" in release
    return publishes or request["trigger"] == "resume"


def _newer_push(request: LockRequest, history: Sequence[Record]) -> Record | None:
    """Return a newer push than that of the request that was live, so that it stays deployed."""
    pushed = datetime.fromisoformat(request["pushedAt"])
    for entry in good(history):
        newer = datetime.fromisoformat(entry["pushedAt"]) > pushed
        if newer and entry["trigger"] in ("push", "resume"):
            return entry
    return None


def _later(release: Record | None, history: Sequence[Record]) -> Record | None:
    """Return a release that changed the service or site after the one to recover did."""
    acquired = release.get("lockedAt") if release else None
    changed = (e for e in history if "rollout" in e or was_live(e))
    return next((e for e in changed if acquired and e.get("lockedAt", "") > acquired), None)


def _decision(action: Action, by: str, reason: str) -> Decision:
    return {"action": action, "by": by, "reason": reason}
