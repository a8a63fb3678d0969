"""The records of the releases: each release has one, and each record exactly one outcome, once.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from deployer.aws import table
from deployer.release import Entry, Outcome, Recorded, Release, Unidentified
from deployer.rollout import Rollout

_POINTER_LIFE = 90 * 24 * 3600  # seconds; Step Functions keeps an execution as long
# For an older push every round of a week has looked, and there may be more of those than one could.
_LOOK_BACK = timedelta(days=7)
_TOKEN_LIFE = 24 * 3600  # seconds; longer than any execution may run

_OURS = "attribute_not_exists(#id) OR #execution = :me"


def open_release(release: Entry) -> Recorded | None:
    """Write down that a release is in flight; done again by the same execution, it changes nothing.

    Returns:
        None, or the record that this push already has from another execution. A push recorded
        as IGNORED (untagged, or under another tag) is open to the tag that deploys it.
    """
    carry_out(release["execution"], release)
    condition = "attribute_not_exists(#id) OR #outcome = :ignored"
    already = table.put_if(release, condition, ignored="IGNORED")
    if already is None or already["execution"] == release["execution"]:
        return None  # what later steps noted, and an outcome, must not be lost to a late retry
    return cast(Recorded, already)


def carry_out(execution: str, release: Entry) -> None:
    """Write down which release an execution carries out."""
    pointer = {"service": f"execution:{execution}", "id": "release"}
    of = {"of": release["service"], "release": release["id"]}
    table.put({**pointer, **of, "expiresAt": int(time.time()) + _POINTER_LIFE})


def ignore_release(release: Entry, reason: str) -> None:
    """Write down that a push deploys nothing, unless it has a record from another execution."""
    ended: dict[str, Any] = {
        "outcome": "IGNORED",
        "reason": reason,
        "endedAt": release["startedAt"],
    }
    ended["expiresAt"] = _expiry(datetime.fromisoformat(release["startedAt"]))
    table.put_if({**release, **ended}, _OURS, me=release["execution"])


def note(release: Entry, **found: Any) -> None:
    """Note on a record in flight what a step found."""
    table.update_if(release["service"], release["id"], found, "attribute_not_exists(#outcome)")


def close_release(
    release: Entry | Unidentified, outcome: Outcome, details: Mapping[str, Any]
) -> bool:
    """Give a release its one outcome; it makes the record where there is none.

    A record of anything but a success goes after the days that records are kept; one can go back
    to a success, so how many of those are kept, the service spec says. Nobody goes back to a hold.

    Returns:
        False if the release has another outcome already, or for another reason, which then stays;
        an earlier try's is ours.
    """
    fields = {**release, "outcome": outcome, **details}
    if outcome != "SUCCEEDED" or release.get("trigger") == "hold":
        fields["expiresAt"] = _expiry(datetime.now(UTC))
    fields = {name: value for name, value in fields.items() if name not in ("service", "id")}
    condition = "attribute_not_exists(#outcome)"
    there = table.update_if(release["service"], release["id"], fields, condition)
    same = there and all(there.get(name) == fields.get(name) for name in ("outcome", "reason"))
    return there is None or bool(same)


def find(service: str, release_id: str) -> Recorded | None:
    """A release's record; None if there is none."""
    return cast(Recorded | None, table.get(service, release_id))


def rollout(release: Release) -> Rollout | None:
    """The rollout that was noted of a release; None if none was."""
    record = find(release["service"], release["id"])
    return record.get("rollout") if record else None


def of_execution(execution: str) -> Recorded | None:
    """The record of the release that an execution carries out; None if it opened none."""
    pointer = table.get(f"execution:{execution}", "release")
    return find(pointer["of"], pointer["release"]) if pointer else None


def history(service: str, limit: int = 200) -> list[Recorded]:
    """A service's newest releases, newest first by when they ended or, in flight, began.

    Orders that were refused have records too, but never were releases.
    """
    records = table.query(service, "#id >= :first", limit, first="0")
    found = [record for record in records if "version" in record]
    return sorted(found, key=lambda entry: entry.get("endedAt") or entry["startedAt"], reverse=True)


def refused(repository: str) -> set[str]:
    """The digests of a repository whose push was refused before a service was found for it."""
    records = table.query(f"repository:{repository}", "#id >= :first", first="0")
    return {str(record.get("digest")) for record in records}


def database_instance(service: str) -> str | None:
    """The instance that a restoration made the service's database; None if none did."""
    found = table.get(service, "#database")
    return str(found["instance"]) if found else None


def remember_database_instance(service: str, instance: str) -> None:
    """Keep which instance is the service's database from now on."""
    table.put({"service": service, "id": "#database", "instance": instance})


def expire(record: Recorded) -> None:
    """Let a record go after the days that records are kept, counted from its end."""
    ended = datetime.fromisoformat(record.get("endedAt") or record["startedAt"])
    table.update_if(
        record["service"],
        record["id"],
        {"expiresAt": _expiry(ended)},
        "attribute_not_exists(#expiresAt)",
    )


def missed_since() -> datetime:
    """Since when a push without a record is one that was missed: its record is not gone yet."""
    return max(table.created(), datetime.now(UTC) - min(_kept(), _LOOK_BACK))


def _expiry(ended: datetime) -> int:
    return int((ended + _kept()).timestamp())


def _kept() -> timedelta:
    return timedelta(days=int(os.environ["HISTORY_DAYS"]))


def remember_token(rollout_id: str, token: str) -> None:
    """Keep the token of the execution that waits for a rollout; the newest counts."""
    expires = int(time.time()) + _TOKEN_LIFE
    item = {"service": f"rollout:{rollout_id}", "id": "token"}
    table.put({**item, "token": token, "expiresAt": expires})


def token(rollout_id: str) -> str | None:
    """The token of the execution that waits for a rollout; None if none does."""
    found = table.get(f"rollout:{rollout_id}", "token")
    return str(found["token"]) if found else None
