"""The records of the releases: each release has one, and each record gets exactly one outcome.

Decisions must see all records that matter, however many releases followed. So ignored pushes are
stored apart, under `ignored:<service>`, and each release has a `standing`, by which the table's
index finds a release older than the newest records:

    open#<id>             in flight
    live#<end>#<id>       was live and verified
    ran#<end>#<id>        failed, and may have changed the service or its database
    held#<id>             held
    over#<id>             anything else; never queried

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from deployer.deploy.release import (
    Entry,
    Outcome,
    Record,
    Recorded,
    Release,
    Restoration,
    Unidentified,
)
from deployer.deploy.rollout import Rollout
from deployer.errors import AwsUnavailable
from deployer.redaction import redact_all
from deployer.store import table

if TYPE_CHECKING:
    from deployer.deploy.schedules import Note

_POINTER_LIFE = 90 * 24 * 3600  # seconds; Step Functions keeps an execution as long
# The reconciler has had a week for older pushes, and there may be too many to check.
_LOOK_BACK = timedelta(days=7)
_TOKEN_LIFE = 24 * 3600  # seconds; longer than any execution may run
_NEWEST = 200
_LASTING = ("open", "live", "ran", "held")

_NOTED_BY_STEPS = Recorded.__annotations__.keys() - Release.__annotations__.keys()

# fields with text from elsewhere: redacted
_TEXTS = ("reason", "diagnosis", "rollback")
_OPEN = "attribute_not_exists(#outcome)"
_UNCHANGED = f"{_OPEN} AND attribute_not_exists(#rollout) AND attribute_not_exists(#updating)"
_WAITING = f"{_OPEN} AND attribute_not_exists(#lockedAt)"
_NEW_OR_OURS = "attribute_not_exists(#id) OR #execution = :me"
# Tags move: putting a tag on an image again, after the known event, is another push.
_NEW_TAG = f"{_NEW_OR_OURS} OR #until < :at"


class Records[R: Record]:
    """Reads the records of one kind, which the caller knows by the name that they are kept under:
    a service, the builds of one, or a site."""

    def open_release(self, release: Entry) -> R | None:
        """Record that a release is in flight. A repeat by the same execution changes nothing.

        Returns:
            None, or the existing record of another execution.
        """
        carry_out(release["execution"], release)
        existing = table.put_if(_open_item(release), "attribute_not_exists(#id)")
        if existing is None or existing["execution"] == release["execution"]:
            return None  # a late retry must not overwrite later fields or the outcome
        return self._record(existing)

    def find(self, service: str, release_id: str) -> R | None:
        """Return a release's record, or None if there is none."""
        item = table.get(service, release_id)
        return self._record(item) if item else None

    def find_push(self, service: str, release_id: str) -> R | None:
        """Return a release's record, also if the push deployed nothing."""
        item = table.get(service, release_id) or table.get(_ignored(service), release_id)
        return self._record({**item, "service": service}) if item else None

    def of_execution(self, execution: str) -> R | None:
        """Return the record of the release that an execution carries out, or None if it opened
        none."""
        pointer = table.get(f"execution:{execution}", "release")
        return self.find(pointer["of"], pointer["release"]) if pointer else None

    def handled_by(self, execution: str) -> R | None:
        """Return the record of the push or request that an execution handled, or None.

        Includes pushes that deployed nothing.
        """
        pointer = table.get(f"execution:{execution}", "release")
        return self.find_push(pointer["of"], pointer["release"]) if pointer else None

    def history(self, service: str) -> list[R]:
        """Return what decisions about a service rest on, newest first by when it ended or, in
        flight, began: its newest releases, and all older ones that still matter (see the module).

        Pushes that deploy nothing are not among them. Requests that were refused have records too,
        but never were releases.
        """
        records = table.query(service, "#id >= :first", _NEWEST, first="0")
        if len(records) == _NEWEST:
            for standing in _LASTING:
                condition, prefix = "begins_with(#standing, :prefix)", f"{standing}#"
                records += table.query(service, condition, _NEWEST, by="standing", prefix=prefix)
        return self._releases({record["id"]: record for record in records}.values())

    def newest(self, service: str, limit: int) -> list[R]:
        """Return a service's newest releases for a person to read, pushes that deployed nothing
        included, in the order of `history`."""
        records = table.query(service, "#id >= :first", limit, first="0")
        ignored = table.query(_ignored(service), "#id >= :first", limit, first="0")
        # a push ignored because its image was missing may have a later record
        by_id = {record["id"]: {**record, "service": service} for record in [*ignored, *records]}
        return self._releases(by_id.values())[:limit]

    def _releases(self, items: Iterable[Mapping[str, Any]]) -> list[R]:
        records = [self._record(item) for item in items if "version" in item]
        return sorted(records, key=_sort_time, reverse=True)

    def _record(self, item: Mapping[str, Any]) -> R:
        """Return an item as a record, without the attribute of the index."""
        return cast(R, {name: value for name, value in item.items() if name != "standing"})


def _sort_time(record: Record) -> str:
    return record.get("endedAt") or record["startedAt"]


def _ignored(service: str) -> str:
    return f"ignored:{service}"


of_any_kind = Records[Record]()
_records = Records[Recorded]()
open_release, find, find_push = _records.open_release, _records.find, _records.find_push
of_execution, handled_by = _records.of_execution, _records.handled_by
history, newest = _records.history, _records.newest


def open_push(release: Release, until: datetime) -> Recorded | None:
    """Record that the release of a push is in flight, as `open_release` does.

    Putting a tag on an image is one push, however many events report it.

    Args:
        until: an event of the same tag and image belongs to this push if it is not later.
    Returns:
        None, or this push's existing record of another execution.
    Raises:
        AwsUnavailable: another execution is recording the push right now.
    """
    carry_out(release["execution"], release)
    return _put_claimed(release, _open_item(release), until)


def _open_item(release: Entry) -> Mapping[str, Any]:
    return {**release, "standing": f"open#{release['id']}"}


def _put_claimed(release: Release, record: Mapping[str, Any], until: datetime) -> Recorded | None:
    """Write a push's record together with its claim on the tag and image."""
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
    claimed = table.get(claim["service"], claim["id"]) or claim
    existing = find_push(release["service"], release["id"]) or find_push(
        release["service"], claimed["release"]
    )
    if existing is None:
        raise AwsUnavailable(f"another execution is recording push {claimed['release']} right now")
    return None if existing["execution"] == release["execution"] else existing


def _tag_key(service: str, digest: str, tag: str) -> dict[str, str]:
    return {"service": f"tag:{service}", "id": f"{digest}#{tag}"}


def knows_tag(service: str, digest: str, tag: str, at: datetime) -> bool:
    """Return whether a push of a tag on an image at that time or later is recorded."""
    key = _tag_key(service, digest, tag)
    claim = table.get(key["service"], key["id"])
    return claim is not None and bool(claim["until"] >= _microseconds(at))


def carry_out(execution: str, release: Entry) -> None:
    """Record which release an execution carries out."""
    pointer = {"service": f"execution:{execution}", "id": "release"}
    target = {"of": release["service"], "release": release["id"]}
    table.put({**pointer, **target, "expiresAt": int(time.time()) + _POINTER_LIFE})


def ignore_push(release: Release, reason: str, until: datetime | None) -> None:
    """Record that a push deploys nothing, unless another execution has recorded it.

    Args:
        until: as for `open_push`; None if a later try may deploy the push: the tag is not claimed.
    """
    carry_out(release["execution"], release)
    record = _ignored_item(release, "IGNORED", {"reason": reason})
    if until and release["tag"]:
        _put_claimed(release, record, until)
    else:
        table.put_if(record, _NEW_OR_OURS, me=release["execution"])


def put_off(release: Release, details: Mapping[str, Any]) -> bool:
    """Record that a push failed before it became a release; a later try may deploy it.

    Returns:
        False if it is recorded already.
    """
    carry_out(release["execution"], release)
    record = _ignored_item(release, "FAILED", details)
    return table.put_if(record, "attribute_not_exists(#id)") is None


def _ignored_item(release: Release, outcome: Outcome, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a push that does not matter for decisions."""
    return {
        **release,
        "service": _ignored(release["service"]),
        "outcome": outcome,
        "endedAt": release["startedAt"],
        "expiresAt": _expiry(_moment(release["startedAt"])),
        **redact_all(details),
    }


def note(release: Entry, **fields: Any) -> None:
    """Set fields of a record in flight."""
    table.update_if(release["service"], release["id"], fields, "attribute_not_exists(#outcome)")


def note_before(release: Entry, **fields: Any) -> None:
    """Set what a release found, unless it has begun to change that: a late second try sees it."""
    table.update_if(release["service"], release["id"], fields, _UNCHANGED)


def note_schedules(release: Entry, note: "Note") -> None:
    """Record a service's schedules before the first change; what an earlier try recorded stays."""
    condition = f"{_OPEN} AND attribute_not_exists(#schedules)"
    table.update_if(release["service"], release["id"], {"schedules": note}, condition)


def note_lock(release: Entry, now: str) -> bool:
    """Record when a release acquired the lock, unless its rollout has begun already.

    Returns:
        False if the release was held or superseded already.
    """
    current = table.update_if(release["service"], release["id"], {"lockedAt": now}, _UNCHANGED)
    return current is None or current.get("outcome") not in ("HELD", "SUPERSEDED")


def close_release(
    release: Entry | Unidentified, outcome: Outcome, details: Mapping[str, Any]
) -> bool:
    """Give a release its one outcome; create the record if there is none.

    Records expire after the retention days, except successes: they are rollback targets, and the
    service spec says how many are kept. A hold's record expires too.

    Returns:
        False if the release already has another outcome or reason, which then stays. True if an
        earlier try set the same.
    """
    fields = _outcome(release, outcome, details)
    current = table.update_if(release["service"], release["id"], fields, _OPEN)
    return current is None or _same_outcome(current, fields)


def record_hold(release: Entry, reason: str, now: datetime) -> bool:
    """Record a hold or the end of one with its outcome at once, so that nobody finds it open.

    Returns:
        As `close_release` does.
    """
    carry_out(release["execution"], release)
    details = {"endedAt": now.isoformat(), "reason": reason}
    return close_release(release, "SUCCEEDED", details)


def close_superseded(release: Entry, details: Mapping[str, Any]) -> bool | None:
    """Give a release the outcome SUPERSEDED, unless it acquired the lock.

    Returns:
        True or False as `close_release` does; None if it acquired the lock.
    """
    fields = _outcome(release, "SUPERSEDED", details)
    current = table.update_if(release["service"], release["id"], fields, _WAITING)
    if current is None:
        return True
    return _same_outcome(current, fields) if "outcome" in current else None


def close_held(release: Entry, details: Mapping[str, Any]) -> bool | None:
    """Give a release the outcome HELD, while its service is held.

    After the end of a hold no release gets this outcome, so a resume finds all held releases.

    Returns:
        True or False as `close_release` does; None if the hold has ended or the release acquired
        the lock.
    """
    fields = _outcome(release, "HELD", details)
    if table.update_with(release["service"], release["id"], fields, _WAITING, "#hold"):
        return True
    record = of_any_kind.find(release["service"], release["id"])
    return _same_outcome(record, fields) if record and "outcome" in record else None


def _outcome(
    release: Entry | Unidentified, outcome: Outcome, details: Mapping[str, Any]
) -> dict[str, Any]:
    texts = {name: redact_all(details[name]) for name in _TEXTS if name in details}
    # a recovery passes on the record as it was; what steps have noted since stays
    own = {name: value for name, value in release.items() if name not in _NOTED_BY_STEPS}
    fields = {**own, "outcome": outcome, **details, **texts}
    if outcome != "SUCCEEDED" or release.get("trigger") == "hold":
        fields["expiresAt"] = _expiry(datetime.now(UTC))
    fields["standing"] = _standing(fields)
    return {name: value for name, value in fields.items() if name not in ("service", "id")}


def _same_outcome(record: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(record.get(name) == fields.get(name) for name in ("outcome", "reason"))


def _standing(record: Mapping[str, Any]) -> str:
    """Return a closed record's standing; see the module."""
    ended = record.get("endedAt") or record["startedAt"]
    if record["outcome"] == "SUCCEEDED" and record.get("trigger") != "hold":
        return f"live#{ended}#{record['id']}"
    if record["outcome"] == "FAILED" and (record.get("taskDefinition") or record.get("restore")):
        return f"ran#{ended}#{record['id']}"
    return f"{'held' if record['outcome'] == 'HELD' else 'over'}#{record['id']}"


def rollout(release: Release) -> Rollout | None:
    """Return the recorded rollout of a release, or None."""
    record = find(release["service"], release["id"])
    return record.get("rollout") if record else None


def restoration(release: Release) -> Restoration | None:
    """Return the database change that a release has made, or was about to make; None without."""
    record = find(release["service"], release["id"]) if release.get("restore") else None
    return record.get("restoration") if record else None


def undecided(repository: str) -> list[Unidentified]:
    """Return the newest pushes to a repository that did not become a release."""
    records = table.query(f"repository:{repository}", "#id >= :first", _NEWEST, first="0")
    return [cast(Unidentified, record) for record in records]


def database_instance(service: str, instance: str) -> str:
    """Return the instance that is a service's database.

    Args:
        instance: the instance in the spec; a restoration may have replaced it.
    """
    item = table.get(service, "#database")
    return str(item["instance"]) if item and item["replaces"] == instance else instance


def remember_database_instance(service: str, instance: str, replaces: str) -> None:
    """Record which instance is the service's database while the spec names the replaced one."""
    item = {"service": service, "id": "#database", "instance": instance, "replaces": replaces}
    table.put(item)


def expire(record: Record) -> None:
    """Let a record expire after the retention days, counted from its end."""
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
    """Return the first service or site that the reconciler's last round skipped, or None."""
    item = table.get("reconcile", "next")
    return str(item["name"]) if item else None


def leave_off(name: str) -> None:
    """Record the service or site that the next round starts with."""
    table.put({"service": "reconcile", "id": "next", "name": name})


def missed_since() -> datetime:
    """Return since when a push without a record was missed: its record has not expired yet."""
    return max(table.created(), datetime.now(UTC) - min(_retention(), _LOOK_BACK))


def _expiry(ended: datetime) -> int:
    return int((ended + _retention()).timestamp())


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _microseconds(moment: datetime) -> int:
    """Return microseconds since 1970: numbers compare, whatever the format of a time."""
    return round(moment.timestamp() * 1e6)


def _retention() -> timedelta:
    return timedelta(days=int(os.environ["HISTORY_DAYS"]))


def remember_token(rollout_id: str, token: str) -> None:
    """Store the token of the execution that waits for a rollout, replacing an older one."""
    expires = int(time.time()) + _TOKEN_LIFE
    item = {"service": f"rollout:{rollout_id}", "id": "token"}
    table.put({**item, "token": token, "expiresAt": expires})
