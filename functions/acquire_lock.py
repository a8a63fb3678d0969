"""Acquire the lock: one deployment of a service at a time, and the newest push wins.

The request with its task token is written down before looking, so that whoever releases the lock
after the look finds it; see `poll_health` for the same order.
"""

import time
from datetime import UTC, datetime
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import lock
from deployer.aws import events, sfn
from deployer.aws.log import Logger
from deployer.deploy.history import History
from deployer.deploy.release import Entry
from deployer.errors import LockTimedOut
from deployer.lock import Decision, LockRequest
from deployer.store import locks, releases

logger = Logger()

# Each try but the last is answered by somebody else's change; then the slow poll tries again.
_TRIES = 20
_NAP = 20.0  # seconds, of the 50 that the function has


class Request(TypedDict):
    release: Entry
    token: str
    startedAt: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Decision:
    release = event["release"]
    mine = lock.lock_request(release, event["execution"], event["startedAt"], event["token"])
    locks.enqueue(release["service"], mine)
    decision, seconds = _decide(release, mine)
    logger.info("turn decided", decision=decision, seconds=seconds)
    if decision["action"] == "WAIT":
        _check_patience(release, mine, decision)
        if seconds > 0:
            time.sleep(min(seconds, _NAP))
            sfn.wake(event["token"], decision)
        return decision
    if decision["action"] == "ACQUIRED":
        events.announce(release, "STARTED", decision["reason"])
    else:
        locks.dequeue(release["service"], release["id"])
    if decision["action"] == "SUPERSEDED":
        decision = _superseded(release, mine, decision)
    told = sfn.wake(event["token"], decision)
    if told and decision["action"] != "ACQUIRED" and mine["trigger"] != "push":
        # whoever waited for it to go first; if one of them has woken it meanwhile, it looks again
        locks.release(release["service"], event["execution"])
    return decision


def _decide(release: Entry, mine: LockRequest) -> tuple[Decision, float]:
    """Decide, and acquire the lock if it is ours; again for as long as others change the line.

    Returns:
        The decision, and after how many seconds to look again although nobody wakes us: a function
        of an execution that is over may change something still.
    """
    for _ in range(_TRIES):
        found = locks.queue(release["service"])
        over = found.holder if found.holder and not _lives(found.holder) else None
        seconds = over.get("changesUntil", 0) / 1e6 - time.time() if over else 0
        if seconds > 0:
            over = None
        holder = None if over else found.holder
        past = _past(release)
        decision = lock.decide(mine, holder, found.waiting, found.hold, past)
        if mine["trigger"] == "push":
            _let_older_stand_aside(mine, found.waiting)
        if holder and holder["execution"] == mine["execution"] and decision["action"] != "ACQUIRED":
            # a try of this that overlapped has taken it
            locks.dequeue(release["service"], release["id"])
            locks.release(release["service"], mine["execution"])
        if decision["action"] == "ACQUIRED":
            if holder:  # by an earlier try; a hold that came since does not take it away
                locks.dequeue(release["service"], release["id"])
            elif not locks.acquire(release["service"], mine, over["execution"] if over else ""):
                continue
            # of a recovered release, which changed something, when that was stays
            if mine["trigger"] == "recover" or releases.note_lock(release, _now()):
                return decision, 0
        elif decision["action"] == "HELD":
            recorded = releases.close_held(release, _ended(decision))
            if recorded is not None:  # else the hold has ended meanwhile: decide again
                _announce(release, decision, recorded)
                return decision, 0
        elif decision["action"] != "WAIT" or holder:
            return decision, seconds
        else:
            first = next(c for c in found.waiting if c["release"] == decision["by"])
            if locks.wake(first) or _lives(first):
                return decision, 0
            locks.dequeue(release["service"], first["release"])
    return {"action": "WAIT", "by": "", "reason": "the line changes all the time"}, 0


def _superseded(release: Entry, mine: LockRequest, decision: Decision) -> Decision:
    """Close a skipped release, unless an overlapping try of this function acquired the lock."""
    if mine["trigger"] == "recover":
        recorded: bool | None = releases.close_release(release, "SUPERSEDED", _ended(decision))
    else:
        recorded = releases.close_superseded(release, _ended(decision))
    if recorded is None:
        return {"action": "ACQUIRED", "by": "", "reason": "the lock is ours already"}
    _announce(release, decision, recorded)
    return decision


def _lives(lock_request: LockRequest) -> bool:
    return sfn.running(lock_request["execution"], lock_request["since"])


def _past(release: Entry) -> History:
    """The service's records, with that of the release itself, however many came after it."""
    past = releases.history(release["service"])
    if any(entry["id"] == release["id"] for entry in past):
        return past
    own = releases.find(release["service"], release["id"])
    return [*past, own] if own else past


def _ended(decision: Decision) -> dict[str, str]:
    return {"endedAt": _now(), "reason": decision["reason"], "by": decision["by"]}


def _announce(release: Entry, decision: Decision, recorded: bool) -> None:
    if recorded and decision["action"] in ("HELD", "SUPERSEDED"):
        events.announce(release, decision["action"], decision["reason"])


def _let_older_stand_aside(mine: LockRequest, waiting: list[LockRequest]) -> None:
    for other in waiting:
        if other["trigger"] == "push" and other["pushedAt"] < mine["pushedAt"]:
            locks.wake(other)


def _check_patience(release: Entry, mine: LockRequest, decision: Decision) -> None:
    waited = datetime.now(UTC) - datetime.fromisoformat(mine["since"])
    if waited > lock.PATIENCE:
        locks.dequeue(release["service"], release["id"])
        raise LockTimedOut(f"the lock after {lock.PATIENCE}: {decision['reason']}")


def _now() -> str:
    return datetime.now(UTC).isoformat()
