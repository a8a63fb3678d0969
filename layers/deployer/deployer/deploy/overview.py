"""What a person sees of a service: the documents of `status`, the page and the widget.

Imports decisions only, no AWS.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from deployer.deploy import diagnosis, history
from deployer.deploy.history import History
from deployer.lock import HoldNote, LockRequest
from deployer.wording import brief

type Document = dict[str, Any]


def release(record: Mapping[str, Any]) -> Document:
    """Return what identifies a release, and who started it."""
    names = ("version", "tag", "digest", "trigger", "startedBy", "taskDefinition")
    return {"release": record["id"], **{name: record.get(name) for name in names}}


def claim(lock_request: LockRequest, records: History) -> Document:
    """Return a release that holds the lock or waits for it."""
    entry = next((entry for entry in records if entry["id"] == lock_request["release"]), None)
    return {
        "release": lock_request["release"],
        "version": entry["version"] if entry else None,
        "trigger": lock_request["trigger"],
        "startedBy": entry["startedBy"] if entry else None,
        "since": lock_request["since"],
        "execution": lock_request["execution"],
    }


def in_flight(
    holder: LockRequest | None, waiting: Sequence[LockRequest], records: History
) -> list[Document]:
    """Return the lock's holder, and the releases that neither hold the lock nor wait for it."""
    holders = [holder] if holder else []
    names = {lock_request["release"] for lock_request in (*holders, *waiting)}
    begun = [e for e in records if "outcome" not in e and e["id"] not in names]
    return [*(claim(one, records) for one in holders), *map(_started, begun)]


def _started(entry: Mapping[str, Any]) -> Document:
    names = ("version", "trigger", "startedBy", "execution")
    fields = {name: entry.get(name) for name in names}
    return {"release": entry["id"], **fields, "since": entry["startedAt"]}


def hold(note: HoldNote | None, records: History) -> Document | None:
    """Return who holds the pushes, and the newest one held; None if they are not held."""
    if not note:
        return None
    held = history.newest_held(records, note["at"])
    names = {name: note.get(name) for name in ("by", "at", "reason")}
    return {**names, "newestHeld": release(held) if held else None}


def last_failure(records: History) -> Document | None:
    """Return the newest release that failed, with its cause and fix; None if none did."""
    failed = next((e for e in records if str(e.get("outcome")).startswith("FAILED")), None)
    if not failed:
        return None
    failure: Mapping[str, Any] = failed.get("diagnosis") or {}
    rollback, restored = failed.get("rollback"), failed.get("outcome") == "FAILED_ROLLED_BACK"
    return {
        **release(failed),
        "outcome": failed.get("outcome"),
        "endedAt": failed.get("endedAt"),
        "reason": brief(failed),
        "rollback": diagnosis.of_rollback(rollback, restored, "service") if rollback else None,
        "advice": failure.get("advice"),
    }
