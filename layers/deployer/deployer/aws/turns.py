"""Turns, claims and holds in the releases table."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from botocore.exceptions import ClientError

from deployer.aws import sfn, table
from deployer.errors import AwsUnavailable, TurnLost
from deployer.turns import Claim, HoldNote, held

CHANGE_SECONDS = 60
"""Longer than a function may run that changes something (its Timeout in template.yaml)."""

_REMEMBERED = 90 * 24 * 3600  # seconds; an execution can be redriven for less
_PATIENCE = 30.0  # seconds that a function waits for another try of it, of the 50 that it has
_IDLE = (
    "#execution = {0} AND attribute_not_exists(#changesUntil)"
    " OR #execution = {0} AND #changesUntil <= :now"
)
_MINE = _IDLE.format(":me")

LOOK = {"action": "WAIT", "by": "", "reason": "woken to look"}
"""What a waiting claim is woken with: no decision, only that it should look."""


@dataclass(frozen=True)
class Line:
    """Who has the turn, who waits for it, and who holds pushes back."""

    holder: Claim | None
    waiting: list[Claim]
    hold: HoldNote | None


def line(service: str) -> Line:
    """The line for a service's turn."""
    items = {item["id"]: item for item in table.query(service, "begins_with(#id, :hash)", hash="#")}
    waiting = [item for name, item in items.items() if name.startswith("#waiting#")]
    return Line(
        holder=cast(Claim | None, items.get("#turn")),
        waiting=cast(list[Claim], waiting),
        hold=cast(HoldNote | None, items.get("#hold")),
    )


def wait(service: str, claim: Claim) -> None:
    """Stand in line."""
    table.put({"service": service, "id": f"#waiting#{claim['release']}", **claim})


def leave(service: str, release_id: str, execution: str | None = None) -> None:
    """Stand in line no more; if an execution is named, only its claim is taken out."""
    name = f"#waiting#{release_id}"
    if execution is None:
        table.delete_if(service, name, "attribute_exists(#id)")
    else:
        table.delete_if(service, name, "#execution = :it", it=execution)


def take(service: str, claim: Claim, instead_of: str = "") -> bool:
    """Take the turn if nobody has it, or from an execution that is known to be over and changes
    nothing any more; for a push, only while the service is not held.

    Returns:
        False if somebody else has it, or a hold has come between.
    """
    item = {"service": service, "id": "#turn", **claim}
    free = f"attribute_not_exists(#id) OR #execution = :me OR {_IDLE.format(':dead')}"
    compared = {"me": claim["execution"], "dead": instead_of, "now": _microseconds()}
    if claim["trigger"] == "push":
        taken = table.put_without(item, "#hold", free, **compared)
    else:
        taken = table.put_if(item, free, **compared) is None
    if taken:
        leave(service, claim["release"])
    return taken


@contextmanager
def change(service: str, execution: str) -> Iterator[Callable[[], None]]:
    """Change what only the execution that has the turn may, one function at a time.

    Until it is done nobody takes the turn over: a function goes on although its execution is
    stopped, or although Step Functions tries it again.

    Yields:
        What a function that takes longer than CHANGE_SECONDS calls every now and then.
    Raises:
        TurnLost: it has not the turn: it ended, and was redriven after what it left had been put
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
        there = table.update_if(service, "#turn", note, _MINE, me=execution, now=now)
        if there is None or there.get("changesUntil") == end:  # botocore tried it twice
            return end
        if there.get("execution") != execution:
            raise TurnLost(_lost(service, execution))
        if time.time() > give_up:
            raise AwsUnavailable(f"an earlier try still changes something of {service}")
        time.sleep(1)


def _extend(service: str, execution: str, end: int) -> int:
    """Note that the change goes on; until when."""
    later = _microseconds() + CHANGE_SECONDS * 1_000_000
    mine = "#execution = :me AND #changesUntil = :end"
    note = {"changesUntil": later}
    there = table.update_if(service, "#turn", note, mine, me=execution, end=end)
    if there is not None and there.get("changesUntil") != later:  # botocore tried it twice
        raise TurnLost(_lost(service, execution))
    return later


def _lost(service: str, execution: str) -> str:
    return (
        f"execution {execution} has lost its turn: after it ended, what it left of {service} was"
        " put right. Push or deploy again instead of redriving it"
    )


def _microseconds() -> int:
    return int(time.time() * 1_000_000)


def _is_done(service: str, execution: str, end: int) -> None:
    mine = "#execution = :me AND #changesUntil = :end"
    with suppress(ClientError, AwsUnavailable):  # what was to be said is out of date in a minute
        table.update_if(service, "#turn", {"changesUntil": 0}, mine, me=execution, end=end)


def pass_on(service: str, execution: str) -> None:
    """Give the turn up if the execution has it, and wake everyone who waits for it.

    While another try of a function changes something, the turn stays until it is taken over.
    """
    table.delete_if(service, "#turn", _MINE, me=execution, now=_microseconds())
    for claim in line(service).waiting:
        wake(claim)


def wake(claim: Claim) -> bool:
    """Wake a waiting claim to look again; False if it sleeps no more."""
    return sfn.wake(claim.get("token", ""), LOOK)


def hold(service: str, note: HoldNote) -> None:
    """Hold a service's pushes back."""
    table.put({"service": service, "id": "#hold", **note})


def hold_back(service: str, by: str | None, reason: str | None, now: datetime) -> HoldNote:
    """Hold a service's pushes back, as `turns.held` notes it."""
    note = held(by, reason, now, line(service).hold)
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
        note = line(service).hold
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
