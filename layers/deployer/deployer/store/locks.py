"""Locks, their queues and holds, as items of the releases table.

`deployer.lock` decides; this module writes under conditions. Imported by functions and the command.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from botocore.exceptions import ClientError

from deployer.aws import sfn
from deployer.errors import AwsUnavailable, LockLost
from deployer.lock import HoldNote, LockRequest, held
from deployer.store import table

CHANGE_SECONDS = 60
"""Lease length; must exceed the timeout of any function that holds it (template.yaml)."""

_HOLD_LIFE = 90 * 24 * 3600  # seconds; an execution can be redriven for less
_PATIENCE = 30.0  # seconds to wait for an earlier try of the same function, which may run for 50
_IDLE = (
    "#execution = {0} AND attribute_not_exists(#changesUntil)"
    " OR #execution = {0} AND #changesUntil <= :now"
)
_HELD_IDLE = _IDLE.format(":me")

LOOK = {"action": "WAIT", "by": "", "reason": "woken to check the queue"}
"""What wakes a waiting execution: not a decision, only a reason to check the queue again."""


@dataclass(frozen=True)
class Queue:
    """The holder of the lock, the requests that wait for it, and the hold on pushes."""

    holder: LockRequest | None
    waiting: list[LockRequest]
    hold: HoldNote | None


def queue(service: str) -> Queue:
    """Return the queue for a service's lock."""
    items = {item["id"]: item for item in table.query(service, "begins_with(#id, :hash)", hash="#")}
    waiting = [item for name, item in items.items() if name.startswith("#waiting#")]
    return Queue(
        holder=cast(LockRequest | None, items.get("#lock")),
        waiting=cast(list[LockRequest], waiting),
        hold=cast(HoldNote | None, items.get("#hold")),
    )


def enqueue(service: str, lock_request: LockRequest) -> None:
    """Join the queue."""
    table.put({"service": service, "id": f"#waiting#{lock_request['release']}", **lock_request})


def dequeue(service: str, release_id: str, execution: str | None = None) -> None:
    """Leave the queue; if an execution is named, only its own request is removed."""
    name = f"#waiting#{release_id}"
    if execution is None:
        table.delete_if(service, name, "attribute_exists(#id)")
    else:
        table.delete_if(service, name, "#execution = :it", it=execution)


def acquire(service: str, lock_request: LockRequest, instead_of: str = "") -> bool:
    """Acquire the lock if it is free, or take it from an ended execution whose lease is over.

    A push acquires it only while the service is not held.

    Args:
        instead_of: the ended execution.
    Returns:
        False if another execution holds the lock, or the service is held.
    """
    item = {"service": service, "id": "#lock", **lock_request}
    free = f"attribute_not_exists(#id) OR #execution = :me OR {_IDLE.format(':dead')}"
    values = {"me": lock_request["execution"], "dead": instead_of, "now": _microseconds()}
    if lock_request["trigger"] == "push":
        acquired = table.put_without(item, "#hold", free, **values)
    else:
        acquired = table.put_if(item, free, **values) is None
    if acquired:
        dequeue(service, lock_request["release"])
    return acquired


@contextmanager
def lease(service: str, execution: str) -> Iterator[Callable[[], None]]:
    """Hold a lease on the lock while one function of the execution changes the service.

    No other execution can take the lock during the lease: a function keeps running although its
    execution is stopped, or Step Functions retries it.

    Yields:
        A function that extends the lease; to call regularly if it takes over CHANGE_SECONDS.
    Raises:
        LockLost: the execution lost the lock: it ended, another cleaned up, then it was redriven.
        AwsUnavailable: another function of the execution keeps its lease.
    """
    end = _start_lease(service, execution)

    def extend() -> None:
        nonlocal end
        end = _extend_lease(service, execution, end)

    try:
        yield extend
    except Exception:  # a killed function does not get here: its lease has to run out
        _end_lease(service, execution, end)
        raise
    _end_lease(service, execution, end)


def _start_lease(service: str, execution: str) -> int:
    """Start a lease, and return its end, which identifies it."""
    deadline = time.time() + _PATIENCE
    while True:
        now = _microseconds()
        end = now + CHANGE_SECONDS * 1_000_000
        note = {"changesUntil": end}
        current = table.update_if(service, "#lock", note, _HELD_IDLE, me=execution, now=now)
        if current is None or current.get("changesUntil") == end:  # botocore sent it twice
            return end
        if current.get("execution") != execution:
            raise LockLost(_lost_message(service, execution))
        if time.time() > deadline:
            raise AwsUnavailable(f"an earlier try is still changing {service}")
        time.sleep(1)


def _extend_lease(service: str, execution: str, end: int) -> int:
    """Extend a lease, and return its new end."""
    new_end = _microseconds() + CHANGE_SECONDS * 1_000_000
    condition = "#execution = :me AND #changesUntil = :end"
    note = {"changesUntil": new_end}
    current = table.update_if(service, "#lock", note, condition, me=execution, end=end)
    if current is not None and current.get("changesUntil") != new_end:  # botocore sent it twice
        raise LockLost(_lost_message(service, execution))
    return new_end


def _lost_message(service: str, execution: str) -> str:
    return (
        f"execution {execution} has lost the lock: after it ended, another execution cleaned up"
        f" {service}. Push or deploy again instead of redriving it"
    )


def _microseconds() -> int:
    return int(time.time() * 1_000_000)


def _end_lease(service: str, execution: str, end: int) -> None:
    condition = "#execution = :me AND #changesUntil = :end"
    with suppress(ClientError, AwsUnavailable):  # the lease runs out in a minute anyway
        table.update_if(service, "#lock", {"changesUntil": 0}, condition, me=execution, end=end)


def release(service: str, execution: str) -> None:
    """Release the lock if the execution holds it, and wake all executions in the queue.

    During a lease of another try, the lock stays until another execution takes it.
    """
    table.delete_if(service, "#lock", _HELD_IDLE, me=execution, now=_microseconds())
    for lock_request in queue(service).waiting:
        wake(lock_request)


def wake(lock_request: LockRequest) -> bool:
    """Wake a waiting execution to check the queue; return False if it no longer waits."""
    return sfn.wake(lock_request.get("token", ""), LOOK)


def hold(service: str, note: HoldNote) -> None:
    """Hold a service's pushes."""
    table.put({"service": service, "id": "#hold", **note})


def hold_back(service: str, by: str | None, reason: str | None, now: datetime) -> HoldNote:
    """Hold a service's pushes, and return the hold."""
    note = held(by, reason, now, queue(service).hold)
    hold(service, note)
    return note


def end_hold(service: str, execution: str) -> HoldNote | None:
    """End a hold, and return it; a retry of the same execution gets the same hold.

    Later pushes are not held.

    Returns:
        None if the service was not held.
    """
    note = cast(HoldNote | None, table.get(f"execution:{execution}", "hold"))
    if note is None:
        note = queue(service).hold
        if note is None:
            return None
        table.put({**note, "service": f"execution:{execution}", "id": "hold", **_expiring()})
    table.delete_if(service, "#hold", "#at = :at", at=note["at"])
    return note


def _expiring() -> dict[str, int]:
    return {"expiresAt": int(time.time()) + _HOLD_LIFE}


def release_hold(service: str) -> bool:
    """End a hold; return False if there was none."""
    return table.delete_if(service, "#hold", "attribute_exists(#id)")
