"""Acquire the lock: one deployment of a service at a time, and the newest push wins.

The function stores the lock request with its task token before it reads the queue: an execution
that releases the lock after the read finds the token. `poll_health` keeps the same order.
"""

import time
from datetime import UTC, datetime
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import lock
from deployer.aws import events, sfn
from deployer.deploy.release import Entry, Record
from deployer.errors import LockTimedOut
from deployer.lock import Decision, LockRequest
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()

# A try fails if another execution changed the queue; after the last, the slow poll tries again.
_TRIES = 20
_MAX_SLEEP = 20.0  # seconds; the function times out after 50


class Request(TypedDict):
    release: Entry
    token: str
    startedAt: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Decision:
    release = event["release"]
    request = lock.lock_request(release, event["execution"], event["startedAt"], event["token"])
    locks.enqueue(release["service"], request)
    decision, seconds = _decide(release, request)
    logger.info("lock request decided", decision=decision, seconds=seconds)
    if decision["action"] == "WAIT":
        _check_timeout(release, request, decision)
        if seconds > 0:
            time.sleep(min(seconds, _MAX_SLEEP))
            sfn.wake(event["token"], decision)
        return decision
    if decision["action"] == "ACQUIRED":
        events.announce(release, "STARTED", decision["reason"])
    else:
        locks.dequeue(release["service"], release["id"])
    if decision["action"] == "SUPERSEDED":
        decision = _close_superseded(release, request, decision)
    woken = sfn.wake(event["token"], decision)
    if woken and decision["action"] != "ACQUIRED" and request["trigger"] != "push":
        # wake the pushes that waited for this request
        locks.release(release["service"], event["execution"])
    return decision


def _decide(release: Entry, request: LockRequest) -> tuple[Decision, float]:
    """Decide, and acquire the lock if it is free; retry while others change the queue.

    Returns:
        The decision, and the seconds after which to check the queue again unasked: a function of an
        execution that has ended may still be changing the service.
    """
    for _ in range(_TRIES):
        queue = locks.queue(release["service"])
        dead = queue.holder if queue.holder and not _is_running(queue.holder) else None
        seconds = dead.get("changesUntil", 0) / 1e6 - time.time() if dead else 0
        if seconds > 0:
            dead = None
        holder = None if dead else queue.holder
        records = _history(release)
        decision = lock.decide(request, holder, queue.waiting, queue.hold, records)
        if request["trigger"] == "push":
            _wake_older_pushes(request, queue.waiting)
        if (
            holder
            and holder["execution"] == request["execution"]
            and decision["action"] != "ACQUIRED"
        ):
            # an overlapping try of this function acquired the lock
            locks.dequeue(release["service"], release["id"])
            locks.release(release["service"], request["execution"])
        if decision["action"] == "ACQUIRED":
            if holder:  # an earlier try acquired it; a hold placed since does not matter
                locks.dequeue(release["service"], release["id"])
            elif not locks.acquire(release["service"], request, dead["execution"] if dead else ""):
                continue
            if request["trigger"] == "recover":  # of a release that keeps its original lockedAt
                if _is_open(release):
                    return decision, 0
                # a function of the ended execution closed it after the history was read
                locks.release(release["service"], request["execution"])
            elif releases.note_lock(release, _now()):
                return decision, 0
        elif decision["action"] == "HELD":
            recorded = releases.close_held(release, _outcome_details(decision))
            if recorded is not None:  # otherwise the hold has just ended: decide again
                _announce(release, decision, recorded)
                return decision, 0
        elif decision["action"] != "WAIT" or holder:
            return decision, seconds
        else:
            first = next(r for r in queue.waiting if r["release"] == decision["by"])
            if locks.wake(first) or _is_running(first):
                return decision, 0
            locks.dequeue(release["service"], first["release"])
    return {"action": "WAIT", "by": "", "reason": "the queue keeps changing"}, 0


def _close_superseded(release: Entry, request: LockRequest, decision: Decision) -> Decision:
    """Close a skipped release, unless an overlapping try of this function acquired the lock."""
    details = _outcome_details(decision)
    if request["trigger"] == "recover":
        recorded: bool | None = releases.close_release(release, "SUPERSEDED", details)
    else:
        recorded = releases.close_superseded(release, details)
    if recorded is None:
        return {"action": "ACQUIRED", "by": "", "reason": "this execution already holds the lock"}
    _announce(release, decision, recorded)
    return decision


def _is_running(lock_request: LockRequest) -> bool:
    return sfn.running(lock_request["execution"], lock_request["since"])


def _history(release: Entry) -> list[Record]:
    """Return the service's records, always including that of the release itself."""
    records = releases.of_any_kind.history(release["service"])
    if any(entry["id"] == release["id"] for entry in records):
        return records
    own = releases.of_any_kind.find(release["service"], release["id"])
    return [*records, own] if own else records


def _is_open(release: Entry) -> bool:
    record = releases.of_any_kind.find(release["service"], release["id"])
    return record is None or "outcome" not in record


def _outcome_details(decision: Decision) -> dict[str, str]:
    return {"endedAt": _now(), "reason": decision["reason"], "by": decision["by"]}


def _announce(release: Entry, decision: Decision, recorded: bool) -> None:
    if recorded and decision["action"] in ("HELD", "SUPERSEDED"):
        events.announce(release, decision["action"], decision["reason"])


def _wake_older_pushes(request: LockRequest, waiting: list[LockRequest]) -> None:
    for other in waiting:
        if other["trigger"] == "push" and other["pushedAt"] < request["pushedAt"]:
            locks.wake(other)


def _check_timeout(release: Entry, request: LockRequest, decision: Decision) -> None:
    waited = datetime.now(UTC) - datetime.fromisoformat(request["since"])
    if waited > lock.PATIENCE:
        locks.dequeue(release["service"], release["id"])
        raise LockTimedOut(
            f"gave up waiting for the lock after {lock.PATIENCE}: {decision['reason']}"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat()
