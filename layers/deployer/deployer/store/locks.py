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

_REMEMBERED = 90 * 24 * 3600  # seconds; an execution can be redriven for less
_PATIENCE = 30.0  # seconds to wait for an earlier try of the same function, which may run for 50
_IDLE = (
    "#execution = {0} AND attribute_not_exists(#changesUntil)"
    " OR #execution = {0} AND #changesUntil <= :now"
)
_MINE = _IDLE.format(":me")

LOOK = {"action": "WAIT", "by": "", "reason": "woken to check the queue"}
"""What wakes a waiting execution: not a decision, only a reason to check the queue again."""


@dataclass(frozen=True)
class Queue:
    """Who holds the lock, who waits for it, and who holds pushes back."""

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
    """Acquire the lock if nobody has it, or from an execution that is known to be over and changes
    nothing any more; for a push, only while the service is not held.

    Returns:
        False if somebody else has it, or a hold has come between.
    """
    item = {"service": service, "id": "#lock", **lock_request}
    free = f"attribute_not_exists(#id) OR #execution = :me OR {_IDLE.format(':dead')}"
    compared = {"me": lock_request["execution"], "dead": instead_of, "now": _microseconds()}
    if lock_request["trigger"] == "push":
        taken = table.put_without(item, "#hold", free, **compared)
    else:
        taken = table.put_if(item, free, **compared) is None
    if taken:
        dequeue(service, lock_request["release"])
    return taken


@contextmanager
def lease(service: str, execution: str) -> Iterator[Callable[[], None]]:
    """Change what only the execution that holds the lock may, one function at a time.

    Until it is done nobody takes the lock over: a function goes on although its execution is
    stopped, or although Step Functions tries it again.

    Yields:
        What a function that takes longer than CHANGE_SECONDS calls every now and then.
    Raises:
        LockLost: it has not the lock: it ended, and was redriven after what it left had been put
            right.
        AwsUnavailable: another function of it does not come to its end.
    """
    end = _begin(service, execution)

    def go_on() -> None:
        nonlocal end
        end = _extend(service, execution, end)

    try:
        yield go_on
    except Exception:  # a function that is killed says nothing: its time then has to run out
        _is_done(service, execution, end)
        raise
    _is_done(service, execution, end)


def _begin(service: str, execution: str) -> int:
    """Note that something changes; until when it may, which no other function has said."""
    give_up = time.time() + _PATIENCE
    while True:
        now = _microseconds()
        end = now + CHANGE_SECONDS * 1_000_000
        note = {"changesUntil": end}
        there = table.update_if(service, "#lock", note, _MINE, me=execution, now=now)
        if there is None or there.get("changesUntil") == end:  # botocore tried it twice
            return end
        if there.get("execution") != execution:
            raise LockLost(_lost(service, execution))
        if time.time() > give_up:
            raise AwsUnavailable(f"an earlier try still changes something of {service}")
        time.sleep(1)


def _extend(service: str, execution: str, end: int) -> int:
    """Note that the change goes on; until when."""
    later = _microseconds() + CHANGE_SECONDS * 1_000_000
    mine = "#execution = :me AND #changesUntil = :end"
    note = {"changesUntil": later}
    there = table.update_if(service, "#lock", note, mine, me=execution, end=end)
    if there is not None and there.get("changesUntil") != later:  # botocore tried it twice
        raise LockLost(_lost(service, execution))
    return later


def _lost(service: str, execution: str) -> str:
    return (
        f"execution {execution} has lost the lock: after it ended, what it left of {service} was"
        " put right. Push or deploy again instead of redriving it"
    )


def _microseconds() -> int:
    return int(time.time() * 1_000_000)


def _is_done(service: str, execution: str, end: int) -> None:
    mine = "#execution = :me AND #changesUntil = :end"
    with suppress(ClientError, AwsUnavailable):  # what was to be said is out of date in a minute
        table.update_if(service, "#lock", {"changesUntil": 0}, mine, me=execution, end=end)


def release(service: str, execution: str) -> None:
    """Release the lock if the execution has it, and wake everyone who waits for it.

    While another try of a function changes something, the lock stays until it is taken over.
    """
    table.delete_if(service, "#lock", _MINE, me=execution, now=_microseconds())
    for lock_request in queue(service).waiting:
        wake(lock_request)


def wake(lock_request: LockRequest) -> bool:
    """Wake a waiting execution to check the queue; return False if it no longer waits."""
    return sfn.wake(lock_request.get("token", ""), LOOK)


def hold(service: str, note: HoldNote) -> None:
    """Hold a service's pushes back."""
    table.put({"service": service, "id": "#hold", **note})


def hold_back(service: str, by: str | None, reason: str | None, now: datetime) -> HoldNote:
    """Hold a service's pushes, with the note that `lock.held` makes."""
    note = held(by, reason, now, queue(service).hold)
    hold(service, note)
    return note


def end_hold(service: str, execution: str) -> HoldNote | None:
    """End a hold, and return what it was; the same again to a later try of the same execution.

    Pushes that come from now on are not held back.

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
    return {"expiresAt": int(time.time()) + _REMEMBERED}


def release_hold(service: str) -> bool:
    """End a hold; False if there was none."""
    return table.delete_if(service, "#hold", "attribute_exists(#id)")
