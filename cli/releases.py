"""Find the release that the user names, that of a push, or those in flight."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from cli.errors import WRONG, CommandFailed
from deployer.deploy import history
from deployer.deploy.identification import NOT_SHOWN
from deployer.deploy.release import Record, Recorded, carried_out_by
from deployer.store import locks, releases

_NEWEST = 200  # records, among which is that of a push that was just made


@dataclass(frozen=True)
class Flight:
    """A release in flight, the execution that carries it out, and since when (ISO 8601).

    Attributes:
        has_lock: whether it holds the lock, so may have changed something already.
    """

    record: Record
    execution: str
    since: str
    has_lock: bool


def in_flight(owner: str) -> list[Flight]:
    """Return the releases of a service in flight, those that wait for the lock last."""
    holder = locks.queue(owner).holder
    flights = [
        Flight(
            record,
            *carried_out_by(record),
            bool(holder and holder["release"] == record["id"]),
        )
        for record in releases.of_any_kind.history(owner)
        if "outcome" not in record
    ]
    return sorted(flights, key=lambda flight: not flight.has_lock)


def of_push(service: str, digest: str, tag: str | None) -> Recorded | None:
    """Return the record of the newest push of an image; None if there is none yet.

    Args:
        tag: None for any; then one that deploys is preferred.
    """
    pushes = [
        record
        for record in releases.newest(service, _NEWEST)
        if record["trigger"] == "push"
        and record["digest"] == digest
        and record.get("reason") != NOT_SHOWN  # it will be tried again
    ]
    of_tag = [record for record in pushes if tag in (None, record["tag"])]
    return max(
        of_tag,
        key=lambda record: (record.get("outcome") != "IGNORED", record["pushedAt"], record["id"]),
        default=None,
    )


def named[R: Record](records: Sequence[R], name: str) -> R:
    """Return the release that the user names.

    Args:
        records: newest first.
        name: `last` (the newest), `live`, or an id, version, tag, digest, or the beginning of an
            id or digest.
    Raises:
        CommandFailed: no release matches, or several; its advice lists similar ones.
    """
    if name == "last" and records:
        return records[0]
    if name == "live" and (live := history.live(records)):
        return live
    if name in ("last", "live"):
        raise CommandFailed(WRONG, f"there is no {name} release", ["  deployer history"])
    exact = [r for r in records if name in (r["id"], r["version"], r["tag"], r["digest"])]
    digits = name.removeprefix("sha256:")
    prefixed = [
        r
        for r in records
        if len(digits) >= 6
        and (r["id"].startswith(name) or r["digest"].removeprefix("sha256:").startswith(digits))
    ]
    matches = exact or prefixed
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise CommandFailed(
            WRONG,
            f"{name!r} names {len(matches)} releases; choose one by its id",
            [f"  {_shown(record)}" for record in matches[:10]],
        )
    names = {text: r for r in records for text in (r["id"], r["version"], r["tag"]) if text}
    close = [text for text in names if text.startswith(name)]
    close += difflib.get_close_matches(name, names, 5, cutoff=0.5)
    similar = {names[text]["id"]: names[text] for text in close} or {r["id"]: r for r in records}
    advice = [f"  {_shown(record)}" for record in list(similar.values())[:5]]
    raise CommandFailed(
        WRONG,
        f"there is no release {name!r}",
        ["Similar ones:" if close else "The newest are:", *advice] if records else [],
    )


def _shown(record: Record) -> str:
    return f"{record['id']}  {record['version']}  {record.get('outcome', 'in flight')}"
