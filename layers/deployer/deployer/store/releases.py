"""The records of the releases: each release has one, and each record exactly one outcome, once.

Decisions must see what matters to them, however many releases came after. So pushes that deploy
nothing are kept apart, under `ignored:<service>`, and each release has a `standing`, by which the
table's index finds it when the newest records do not reach back to it:

    open#<id>             in flight
    live#<end>#<id>       was live and verified
    ran#<end>#<id>        failed, and may have changed the service or its database
    held#<id>             held back
    over#<id>             anything else: nobody looks for it there

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from deployer.deploy.release import Entry, Outcome, Recorded, Release, Unidentified
from deployer.deploy.rollout import Rollout
from deployer.errors import AwsUnavailable
from deployer.redaction import redact_all
from deployer.store import table

_POINTER_LIFE = 90 * 24 * 3600  # seconds; Step Functions keeps an execution as long
# For an older push every round of a week has looked, and there may be more of those than one could.
_LOOK_BACK = timedelta(days=7)
_TOKEN_LIFE = 24 * 3600  # seconds; longer than any execution may run
_NEWEST = 200
_LASTING = ("open", "live", "ran", "held")

# what others wrote, in whole or in part
_TEXTS = ("reason", "diagnosis", "rollback")
_OPEN = "attribute_not_exists(#outcome)"
_WAITS = f"{_OPEN} AND attribute_not_exists(#lockedAt)"
_OURS = "attribute_not_exists(#id) OR #execution = :me"
# Tags are moved: what was put on an image after the event that is known is another push.
_NEW_TAG = f"{_OURS} OR #until < :at"


def open_release(release: Entry) -> Recorded | None:
    """Write down that a release is in flight; done again by the same execution, it changes nothing.

    Returns:
        None, or the record that it already has from another execution.
    """
    carry_out(release["execution"], release)
    already = table.put_if(_opened(release), "attribute_not_exists(#id)")
    if already is None or already["execution"] == release["execution"]:
        return None  # what later steps noted, and an outcome, must not be lost to a late retry
    return _record(already)


def open_push(release: Release, until: datetime) -> Recorded | None:
    """Write down that the release of a push is in flight, as `open_release` does.

    A tag that was put on an image is one push, whatever events tell of it.

    Args:
        until: an event of the same tag on the same image is of this push if it is no later.
    Returns:
        None, or the record that this push already has from another execution.
    Raises:
        AwsUnavailable: another execution writes it down at this moment.
    """
    carry_out(release["execution"], release)
    return _claimed(release, _opened(release), until)


def _opened(release: Entry) -> Mapping[str, Any]:
    return {**release, "standing": f"open#{release['id']}"}


def _claimed(release: Release, record: Mapping[str, Any], until: datetime) -> Recorded | None:
    """Write a push's record together with the claim of its tag on its image."""
    began = _moment(release["startedAt"])
    claim: dict[str, Any] = {
        **_tag_key(release["service"], release["digest"], release["tag"] or ""),
        "release": release["id"],
        "execution": release["execution"],
        "until": _microseconds(until),
        "expiresAt": int(began.timestamp()) + _POINTER_LIFE,
    }
    at = _microseconds(_moment(release["pushedAt"]))
    if table.put_both(claim, record, _NEW_TAG, me=release["execution"], at=at):
        return None
    there = table.get(claim["service"], claim["id"]) or claim
    already = _find_push(release["service"], release["id"]) or _find_push(
        release["service"], there["release"]
    )
    if already is None:
        raise AwsUnavailable(f"push {there['release']} is written down at this moment")
    return None if already["execution"] == release["execution"] else already


def _tag_key(service: str, digest: str, tag: str) -> dict[str, str]:
    return {"service": f"tag:{service}", "id": f"{digest}#{tag}"}


def knows_tag(service: str, digest: str, tag: str, at: datetime) -> bool:
    """Return whether it is written down that a tag was put on an image at that time or later."""
    key = _tag_key(service, digest, tag)
    found = table.get(key["service"], key["id"])
    return found is not None and bool(found["until"] >= _microseconds(at))


def notice_tag(service: str, push: str, now: datetime) -> datetime | None:
    """Write down when a push without a record was noticed first.

    Args:
        push: the id of the release that it would be.
    Returns:
        None, or when it was noticed before.
    """
    note = {"at": now.isoformat(), "expiresAt": int(now.timestamp()) + _POINTER_LIFE}
    there = table.update_if(f"noticed:{service}", push, note, "attribute_not_exists(#id)")
    return _moment(there["at"]) if there and there["at"] != note["at"] else None


def carry_out(execution: str, release: Entry) -> None:
    """Write down which release an execution carries out."""
    pointer = {"service": f"execution:{execution}", "id": "release"}
    of = {"of": release["service"], "release": release["id"]}
    table.put({**pointer, **of, "expiresAt": int(time.time()) + _POINTER_LIFE})


def ignore_push(release: Release, reason: str, until: datetime | None) -> None:
    """Write down that a push deploys nothing, unless it has a record from another execution.

    Args:
        until: as for `open_push`; None if it may deploy yet: then it is not known as decided.
    """
    carry_out(release["execution"], release)
    record = _aside(release, "IGNORED", {"reason": reason})
    if until and release["tag"]:
        _claimed(release, record, until)
    else:
        table.put_if(record, _OURS, me=release["execution"])


def put_off(release: Release, details: Mapping[str, Any]) -> bool:
    """Write down that a push failed before it could be read as a release, and may deploy yet.

    Returns:
        False if it is written down already.
    """
    carry_out(release["execution"], release)
    record = _aside(release, "FAILED", details)
    return table.put_if(record, "attribute_not_exists(#id)") is None


def _aside(release: Release, outcome: Outcome, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a push that no decision need see."""
    return {
        **release,
        "service": _ignored(release["service"]),
        "outcome": outcome,
        "endedAt": release["startedAt"],
        "expiresAt": _expiry(_moment(release["startedAt"])),
        **redact_all(details),
    }


def _ignored(service: str) -> str:
    return f"ignored:{service}"


def _find_push(service: str, release_id: str) -> Recorded | None:
    found = table.get(service, release_id) or table.get(_ignored(service), release_id)
    return _record({**found, "service": service}) if found else None


def note(release: Entry, **found: Any) -> None:
    """Note on a record in flight what a step found."""
    table.update_if(release["service"], release["id"], found, "attribute_not_exists(#outcome)")


def note_lock(release: Entry, now: str) -> bool:
    """Record when a release acquired the lock, unless its rollout has begun already.

    Returns:
        False if the release was held or superseded already.
    """
    unchanged = f"{_OPEN} AND attribute_not_exists(#rollout)"
    there = table.update_if(release["service"], release["id"], {"lockedAt": now}, unchanged)
    return there is None or there.get("outcome") not in ("HELD", "SUPERSEDED")


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
    fields = _outcome(release, outcome, details)
    there = table.update_if(release["service"], release["id"], fields, _OPEN)
    return there is None or _same_outcome(there, fields)


def close_superseded(release: Entry, details: Mapping[str, Any]) -> bool | None:
    """Give a release the outcome SUPERSEDED that has not taken the lock.

    Returns:
        True or False as `close_release` does; None if it has taken the lock.
    """
    fields = _outcome(release, "SUPERSEDED", details)
    there = table.update_if(release["service"], release["id"], fields, _WAITS)
    if there is None:
        return True
    return _same_outcome(there, fields) if "outcome" in there else None


def close_held(release: Entry, details: Mapping[str, Any]) -> bool | None:
    """Give a release the outcome HELD, while its service is held.

    Returns:
        True or False as `close_release` does; None if the hold has ended, so that whoever ends a
        hold and then looks for what was held back misses nothing, or if it has taken the lock.
    """
    fields = _outcome(release, "HELD", details)
    if table.update_with(release["service"], release["id"], fields, _WAITS, "#hold"):
        return True
    record = find(release["service"], release["id"])
    return _same_outcome(record, fields) if record and "outcome" in record else None


def _outcome(
    release: Entry | Unidentified, outcome: Outcome, details: Mapping[str, Any]
) -> dict[str, Any]:
    texts = {name: redact_all(details[name]) for name in _TEXTS if name in details}
    fields = {**release, "outcome": outcome, **details, **texts}
    if outcome != "SUCCEEDED" or release.get("trigger") == "hold":
        fields["expiresAt"] = _expiry(datetime.now(UTC))
    fields["standing"] = _standing(fields)
    return {name: value for name, value in fields.items() if name not in ("service", "id")}


def _same_outcome(record: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(record.get(name) == fields.get(name) for name in ("outcome", "reason"))


def _standing(record: Mapping[str, Any]) -> str:
    """How a record that is closed is found later; see the module."""
    ended = record.get("endedAt") or record["startedAt"]
    if record["outcome"] == "SUCCEEDED" and record.get("trigger") != "hold":
        return f"live#{ended}#{record['id']}"
    if record["outcome"] == "FAILED" and (record.get("taskDefinition") or record.get("restore")):
        return f"ran#{ended}#{record['id']}"
    return f"{'held' if record['outcome'] == 'HELD' else 'over'}#{record['id']}"


def find(service: str, release_id: str) -> Recorded | None:
    """A release's record; None if there is none."""
    found = table.get(service, release_id)
    return _record(found) if found else None


def _record(item: Mapping[str, Any]) -> Recorded:
    """A record as decisions know it, without what the table sorts it by."""
    return cast(Recorded, {name: value for name, value in item.items() if name != "standing"})


def rollout(release: Release) -> Rollout | None:
    """The rollout that was noted of a release; None if none was."""
    record = find(release["service"], release["id"])
    return record.get("rollout") if record else None


def of_execution(execution: str) -> Recorded | None:
    """The record of the release that an execution carries out; None if it opened none."""
    pointer = table.get(f"execution:{execution}", "release")
    return find(pointer["of"], pointer["release"]) if pointer else None


def found_by(execution: str) -> Recorded | None:
    """Return the record of the push or order that an execution took on, also of a push that
    deployed nothing; None if it wrote none down."""
    pointer = table.get(f"execution:{execution}", "release")
    return _find_push(pointer["of"], pointer["release"]) if pointer else None


def history(service: str) -> list[Recorded]:
    """Return what decisions about a service rest on, newest first by when it ended or, in flight,
    began: its newest releases, and all older ones that still matter (see the module).

    Pushes that deploy nothing are not among them. Orders that were refused have records too, but
    never were releases.
    """
    records = table.query(service, "#id >= :first", _NEWEST, first="0")
    if len(records) == _NEWEST:
        for standing in _LASTING:
            condition, prefix = "begins_with(#standing, :prefix)", f"{standing}#"
            records += table.query(service, condition, _NEWEST, by="standing", prefix=prefix)
    return _releases({record["id"]: record for record in records}.values())


def newest(service: str, limit: int) -> list[Recorded]:
    """Return a service's newest releases for a person to read, pushes that deployed nothing
    included, in the order of `history`."""
    records = table.query(service, "#id >= :first", limit, first="0")
    ignored = table.query(_ignored(service), "#id >= :first", limit, first="0")
    # a push that was ignored for want of its image may have been tried again
    found = {record["id"]: {**record, "service": service} for record in [*ignored, *records]}
    return _releases(found.values())[:limit]


def _releases(records: Iterable[Mapping[str, Any]]) -> list[Recorded]:
    found = [_record(record) for record in records if "version" in record]
    return sorted(found, key=lambda entry: entry.get("endedAt") or entry["startedAt"], reverse=True)


def undecided(repository: str) -> list[Unidentified]:
    """Return the newest pushes to a repository that could not be read as a release."""
    records = table.query(f"repository:{repository}", "#id >= :first", _NEWEST, first="0")
    return [cast(Unidentified, record) for record in records]


def database_instance(service: str, instance: str) -> str:
    """Return the instance that is a service's database.

    Args:
        instance: the one that the spec names; a restoration may have put another in its place.
    """
    found = table.get(service, "#database")
    return str(found["instance"]) if found and found["replaces"] == instance else instance


def remember_database_instance(service: str, instance: str, replaces: str) -> None:
    """Keep which instance is the service's database for as long as the spec names another."""
    item = {"service": service, "id": "#database", "instance": instance, "replaces": replaces}
    table.put(item)


def expire(record: Recorded) -> None:
    """Let a record go after the days that records are kept, counted from its end."""
    if "expiresAt" in record:
        return
    ended = datetime.fromisoformat(record.get("endedAt") or record["startedAt"])
    table.update_if(
        record["service"],
        record["id"],
        {"expiresAt": _expiry(ended)},
        "attribute_not_exists(#expiresAt)",
    )


def left_off() -> str | None:
    """Which service or site the last round of the reconciler did not come to; None for none."""
    found = table.get("reconcile", "next")
    return str(found["name"]) if found else None


def leave_off(name: str) -> None:
    """Keep which service or site the next round begins with."""
    table.put({"service": "reconcile", "id": "next", "name": name})


def missed_since() -> datetime:
    """Since when a push without a record is one that was missed: its record is not gone yet."""
    return max(table.created(), datetime.now(UTC) - min(_kept(), _LOOK_BACK))


def _expiry(ended: datetime) -> int:
    return int((ended + _kept()).timestamp())


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _microseconds(moment: datetime) -> int:
    """Since 1970: numbers are compared whatever way a time is written."""
    return round(moment.timestamp() * 1e6)


def _kept() -> timedelta:
    return timedelta(days=int(os.environ["HISTORY_DAYS"]))


def remember_token(rollout_id: str, token: str) -> None:
    """Keep the token of the execution that waits for a rollout; the newest counts."""
    expires = int(time.time()) + _TOKEN_LIFE
    item = {"service": f"rollout:{rollout_id}", "id": "token"}
    table.put({**item, "token": token, "expiresAt": expires})
