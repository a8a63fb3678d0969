"""Answer questions from a service's records: which release is live, and which can be restored.

Each function takes the records newest first, by the time when they ended (in flight: began).
Imports decisions only, no AWS.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from deployer.deploy import one_off
from deployer.deploy.image import Schema, shown
from deployer.deploy.release import Part, Previous, Record, Recorded, parts, schema_grew
from deployer.errors import RequestRejected

if TYPE_CHECKING:
    from deployer.deploy.spec import ServiceSpec
    from deployer.docs.site import RecordedDocs

type History = Sequence[Recorded]


def of_service(history: History, spec: "ServiceSpec") -> History:
    """Return the records of the releases to a further service, as if they were its own.

    Those of the leading service are as they are.
    """
    if spec.lead is None:
        return history
    own = list[Recorded]()
    for entry in history:
        part = parts(entry).get(spec.service)
        if part is not None:
            rollback = (entry.get("rollback") or {}).get("services", {}).get(spec.service)
            fields = {name: entry[name] for name in entry.keys() - _OF_ONE_SERVICE}  # type: ignore[literal-required]
            own.append(cast(Recorded, {**fields, **part, "rollback": rollback}))
    return own


_OF_ONE_SERVICE = {*Part.__annotations__, "rollback", "deployed", "services", "servicesBefore"}


def good[R: Record](history: Sequence[R]) -> list[R]:
    """Return the releases that were live and verified, newest first."""
    return [entry for entry in history if was_live(entry)]


def was_live(entry: Record) -> bool:
    """Return whether a release was live and verified."""
    return entry.get("outcome") == "SUCCEEDED" and entry["trigger"] != "hold"


def live[R: Record](history: Sequence[R]) -> R | None:
    """Return the release that is live according to our records; None if none ever was."""
    return next(iter(good(history)), None)


def verified_version(history: History, digest: str) -> str | None:
    """Return the version of an image when it was live; None if it never was."""
    return next((entry["version"] for entry in good(history) if entry["digest"] == digest), None)


def unproven(history: History, revision: str) -> bool:
    """Return whether our releases deployed a revision and none of them was verified."""
    deployed = any(entry.get("taskDefinition") == revision for entry in history)
    return deployed and all(entry.get("taskDefinition") != revision for entry in good(history))


def began(history: History, rollout_id: str) -> Recorded | None:
    """Return the oldest release with a rollout: the release that began it, or whose failure it
    rolled back. None if no record has it."""
    return next((entry for entry in reversed(history) if rollout_id in _rollouts(entry)), None)


def _rollouts(entry: Recorded) -> set[str]:
    rollback: Mapping[str, Any] = entry.get("rollback") or {}
    parts = (entry, *entry.get("services", {}).values())
    reactions = (rollback, *rollback.get("services", {}).values())
    rollouts = [one.get("rollout") or {} for one in (*parts, *reactions)]
    return {str(rollout["id"]) for rollout in rollouts if "id" in rollout}


def lineage[R: (Recorded, "RecordedDocs")](history: Sequence[R]) -> list[R]:
    """Return the releases that led to the live one, oldest first, without those rolled back."""
    releases: list[R] = []
    for entry in reversed(good(history)):
        if entry["trigger"] == "rollback":
            releases = releases[: _kept_length(releases, entry)]
        elif releases and _same(releases[-1], entry):
            releases.pop()  # it changed nothing, so a rollback to before it would not either
        releases.append(entry)
    return releases


def _kept_length[R: (Recorded, "RecordedDocs")](releases: list[R], rollback: R) -> int:
    """Return how many of the releases a rollback keeps: those before the one it deploys again."""
    by_id = [i for i, entry in enumerate(releases) if entry["id"] == rollback.get("to")]
    by_content = [i for i, entry in enumerate(releases) if _content(entry) == _content(rollback)]
    return (by_id or by_content or [len(releases)])[-1]


def _same(first: "Recorded | RecordedDocs", second: "Recorded | RecordedDocs") -> bool:
    """Return whether two releases deploy the same."""
    return (_content(first), _revision(first)) == (_content(second), _revision(second))


def _content(entry: "Recorded | RecordedDocs") -> tuple[str, str | None]:
    """Return what a release deploys; several builds of a site have the same digest."""
    if "folder" in entry:
        return entry["digest"], entry["folder"]
    return entry["digest"], None


def _revision(entry: "Recorded | RecordedDocs") -> str | None:
    return None if "folder" in entry else entry.get("taskDefinition")


def target[R: (Recorded, "RecordedDocs")](
    history: Sequence[R], to: str, runs: str | None = None
) -> R:
    """Return the release that a request to roll back names.

    Args:
        to: `previous` (the last verified release, or the one before it if that is running), or a
            version, tag, digest or release id.
        runs: the service's task definition; None if unknown, which counts as that of the last
            verified release.
    Raises:
        RequestRejected: no release matches, it was never live, or several match.
    """
    releases = lineage(history)
    if not releases:
        raise RequestRejected("nothing to roll back to: no release was ever live")
    current = releases[-1]
    if to == "previous":
        if runs not in (None, _revision(current)):
            return current
        if len(releases) < 2:
            raise RequestRejected(
                f"nothing to roll back to: {_described(current)} is the first release that was live"
            )
        return releases[-2]
    matching = [
        entry
        for entry in history
        if to in (entry["id"], entry["digest"], entry["version"], entry["tag"])
    ]
    were_live = good(matching)
    if not were_live:
        live_releases = "; ".join(_described(entry) for entry in good(history)[:10])
        if matching:
            raise RequestRejected(
                f"{_described(matching[0])} was never live"
                f" ({matching[0].get('outcome', 'in flight')}); releases that were: {live_releases}"
            )
        raise RequestRejected(
            f"no release is named {to!r}; releases that were live: {live_releases}"
        )
    if len({_content(entry) for entry in were_live}) > 1:
        candidates = "; ".join(_described(entry) for entry in were_live)
        raise RequestRejected(f"{to!r} names several releases, choose one by its id: {candidates}")
    return were_live[0]


def _described(entry: Record) -> str:
    return f"{entry['version']} ({entry['id']}, {entry['digest'][:19]}…)"


def applied_schema(history: History) -> Schema | None:
    """Return the database's schema by our records: that of the last release that ran.

    A release that began its rollout may have migrated the database, unless it was rolled back: a
    rollback happens only if it did not migrate. So may one whose task before the rollout ran. A
    release that restored a snapshot set the schema, whatever its outcome. The last release to
    acquire the lock ran last, even if another record was closed after its own.
    """
    for entry in sorted(history, key=_acquired_at, reverse=True):
        if was_live(entry) or entry.get("databaseInstance") or _may_have_migrated(entry):
            return entry["schema"]
    return None


def _acquired_at(entry: Recorded) -> str:
    return entry.get("lockedAt") or entry.get("endedAt") or entry["startedAt"]


def _may_have_migrated(entry: Recorded) -> bool:
    if one_off.may_have_run(entry.get("before")):
        return True
    rollback = entry.get("rollback") or {}
    own, further = entry.get("services", {}), rollback.get("services", {})
    services = [(entry, rollback), *((part, further.get(name)) for name, part in own.items())]
    return entry.get("outcome") != "FAILED_ROLLED_BACK" and any(
        "rollout" in updated and not _rolled_back(reaction or {}) for updated, reaction in services
    )


def _rolled_back(rollback: Mapping[str, Any]) -> bool:
    return "rollout" in rollback or rollback.get("action") == "STOP"


def unknown_schema(history: History, release: Recorded, database: bool = True) -> str | None:
    """Return why a release can't start on the current database.

    Args:
        database: whether the service spec names the database.
    Returns:
        None if it can. Releases in flight do not count: their schema is not certain yet.
    """
    applied = applied_schema([entry for entry in history if "outcome" in entry])
    if not schema_grew(release["schema"], applied, database):
        return None
    return (
        f"{_described(release)} knows database schema {shown(release['schema'])} and the database"
        f" has {shown(applied)}, so it would not start"
    )


def expendable[R: Record](history: Sequence[R], keep: int) -> list[R]:
    """Return the live releases beyond the newest `keep`: no longer needed as rollback targets."""
    return good(history)[keep:]


def previous_release(
    steady: str | None, network: Mapping[str, Any] | None, history: History
) -> Previous | None:
    """Return the rollback target if the next release fails.

    Args:
        steady: the task definition that the service runs steadily now; None if it does not.
        network: the service's current network configuration.
    Returns:
        The running revision, unless its release is recorded as failed; else the newest release
        that was live; None if there is neither.
    """
    applied = applied_schema(history)
    record = next((entry for entry in history if entry.get("taskDefinition") == steady), None)
    if steady and (record is None or record.get("outcome") == "SUCCEEDED"):
        return _previous(steady, record, network, applied)
    newest = live(history)
    revision = newest.get("taskDefinition") if newest else None
    if newest is None or revision is None:
        return None
    # the current network may be that of the release that failed
    ran_in = newest.get("rollout", {}).get("network")
    return _previous(revision, newest, ran_in or network, applied)


def port(history: History, revision: str) -> int | None:
    """Return the port of a revision's containers; None if no record has it."""
    ports = (e["rollout"].get("port") for e in history if _rolls_out(e, revision))
    return next(ports, None)


def _rolls_out(entry: Recorded, revision: str) -> bool:
    return "rollout" in entry and entry["rollout"]["taskDefinition"] == revision


def _previous(
    task_definition: str,
    record: Recorded | None,
    network: Mapping[str, Any] | None,
    applied: Schema | None,
) -> Previous:
    return {
        "taskDefinition": task_definition,
        "release": record["id"] if record else None,
        "version": record["version"] if record else None,
        "schema": record["schema"] if record else None,
        "networkConfiguration": network,
        "databaseSchema": applied,
    }


def newest_held[R: Record](history: Sequence[R], since: str) -> R | None:
    """Return the push that a resumption deploys: the newest one held since the hold began."""
    held = [entry for entry in history if _was_held(entry, since)]
    return max(held, key=lambda entry: (entry["pushedAt"], entry["id"]), default=None)


def _was_held(entry: Record, since: str) -> bool:
    ended = datetime.fromisoformat(entry.get("endedAt") or since)
    return entry.get("outcome") == "HELD" and ended >= datetime.fromisoformat(since)
