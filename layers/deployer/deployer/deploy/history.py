"""What the records of a service say: what is live, what was, and where one can go back to.

Every function takes a service's records newest first, by when they ended (or, in flight, began).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from deployer.deploy.image import Schema, shown
from deployer.deploy.release import Previous, Recorded, schema_grew
from deployer.errors import RequestRejected

type History = Sequence[Recorded]


def good(history: History) -> list[Recorded]:
    """The releases that were live and verified."""
    return [entry for entry in history if was_live(entry)]


def was_live(entry: Recorded) -> bool:
    """Whether a release was live and verified."""
    return entry.get("outcome") == "SUCCEEDED" and entry["trigger"] != "hold"


def live(history: History) -> Recorded | None:
    """The release that is live by our own records."""
    return next(iter(good(history)), None)


def verified_version(history: History, digest: str) -> str | None:
    """Return the version by which an image answered when it was live; None if it never was."""
    return next((entry["version"] for entry in good(history) if entry["digest"] == digest), None)


def unproven(history: History, revision: str) -> bool:
    """Whether a revision is one that our releases put in place and none of them verified."""
    ours = any(entry.get("taskDefinition") == revision for entry in history)
    return ours and all(entry.get("taskDefinition") != revision for entry in good(history))


def began(history: History, rollout_id: str) -> Recorded | None:
    """Return the oldest release that has a rollout: the one that began it, or in whose place it
    was put back."""
    return next((entry for entry in reversed(history) if rollout_id in _rollouts(entry)), None)


def _rollouts(entry: Recorded) -> set[str]:
    back: Mapping[str, Any] = (entry.get("rollback") or {}).get("rollout") or {}
    return {str(made["id"]) for made in (entry.get("rollout") or {}, back) if "id" in made}


def lineage(history: History) -> list[Recorded]:
    """The releases that led to the live one, oldest first: going back takes off what it left."""
    line: list[Recorded] = []
    for entry in reversed(good(history)):
        if entry["trigger"] == "rollback":
            line = line[: _left(line, entry)]
        elif line and _same(line[-1], entry):
            line.pop()  # it changed nothing, and neither would going back to before it
        line.append(entry)
    return line


def _left(line: list[Recorded], back: Recorded) -> int:
    """From where in a line on a rollback left it: from the release to which it went back."""
    named = [i for i, entry in enumerate(line) if entry["id"] == back.get("to")]
    alike = [i for i, entry in enumerate(line) if _content(entry) == _content(back)]
    return (named or alike or [len(line)])[-1]


def _same(one: Recorded, other: Recorded) -> bool:
    """Whether two releases put the same in place; a site's are two folders, whatever is in them."""
    names = ("digest", "taskDefinition", "folder")
    return all(one.get(name) == other.get(name) for name in names)


def _content(entry: Recorded) -> tuple[str, str | None]:
    """Return what a release puts in place, however; a site's builds are several of one digest."""
    return entry["digest"], entry.get("folder")


def target(history: History, to: str, runs: str | None = None) -> Recorded:
    """Return the release that a request to roll back names.

    Args:
        to: `previous` (the last verified one; the one before it if it runs), or a version, tag,
            digest or release id.
        runs: the task definition that the service is set to; None if unknown, which counts as the
            last verified release's.
    Raises:
        RequestRejected: no such release, one that was never live, or several.
    """
    line = lineage(history)
    if not line:
        raise RequestRejected("there is nothing to go back to: no release was ever live")
    now = line[-1]
    if to == "previous":
        if runs not in (None, now.get("taskDefinition")):
            return now
        if len(line) < 2:
            raise RequestRejected(
                f"there is nothing to go back to: {_shown(now)} is the first release that was live"
            )
        return line[-2]
    matching = [
        entry
        for entry in history
        if to in (entry["id"], entry["digest"], entry["version"], entry["tag"])
    ]
    were_live = good(matching)
    if not were_live:
        known = "; ".join(_shown(entry) for entry in good(history)[:10])
        if matching:
            raise RequestRejected(
                f"{_shown(matching[0])} was never live ({matching[0].get('outcome', 'in flight')});"
                f" releases that were: {known}"
            )
        raise RequestRejected(f"no release is named {to!r}; releases that were live: {known}")
    if len({_content(entry) for entry in were_live}) > 1:
        candidates = "; ".join(_shown(entry) for entry in were_live)
        raise RequestRejected(f"{to!r} names several releases, choose one by its id: {candidates}")
    return were_live[0]


def _shown(entry: Recorded) -> str:
    return f"{entry['version']} ({entry['id']}, {entry['digest'][:19]}…)"


def applied_schema(history: History) -> Schema | None:
    """The schema that the database has by our records: that of the newest release that ran.

    A release that began its rollout may have migrated the database, unless it was taken back: that
    is done only where it did not. One that restored a snapshot has taken the database back in
    time, whatever became of it then. Whose turn came last ran last, though its record may have been
    closed before another's.
    """
    for entry in sorted(history, key=_began, reverse=True):
        if was_live(entry) or entry.get("databaseInstance") or _may_have_migrated(entry):
            return entry["schema"]
    return None


def _began(entry: Recorded) -> str:
    return entry.get("lockedAt") or entry.get("endedAt") or entry["startedAt"]


def _may_have_migrated(entry: Recorded) -> bool:
    back = entry.get("rollback") or {}
    taken_back = "rollout" in back or back.get("action") == "STOP"
    return "rollout" in entry and entry.get("outcome") != "FAILED_ROLLED_BACK" and not taken_back


def unknown_schema(history: History, to: Recorded) -> str | None:
    """Why a release can't start on the database as it is; None if it can, or may when what is in
    flight has come to its end."""
    applied = applied_schema([entry for entry in history if "outcome" in entry])
    if not schema_grew(to["schema"], applied):
        return None
    return (
        f"{_shown(to)} knows database schema {shown(to['schema'])} and the database has"
        f" {shown(applied)}, so it would not start"
    )


def expendable(history: History, keep: int) -> list[Recorded]:
    """The releases that were live longer ago than the newest `keep`: nobody need go back there."""
    return good(history)[keep:]


def previous_release(
    steady: str | None, network: Mapping[str, Any] | None, history: History
) -> Previous | None:
    """What to go back to if the release that comes fails.

    Args:
        steady: the task definition that the service runs steadily now; None if it does not.
        network: the service's network configuration now.
    Returns:
        What runs now, unless it is recorded as failed; else the newest release that was live;
        None if there is neither.
    """
    applied = applied_schema(history)
    known = next((entry for entry in history if entry.get("taskDefinition") == steady), None)
    if steady and (known is None or known.get("outcome") == "SUCCEEDED"):
        return _previous(steady, known, network, applied)
    newest = live(history)
    revision = newest.get("taskDefinition") if newest else None
    if newest is None or revision is None:
        return None
    # what is there now may be the network of the release that failed
    ran_in = newest.get("rollout", {}).get("network")
    return _previous(revision, newest, ran_in or network, applied)


def port(history: History, revision: str) -> int | None:
    """Return where the containers of a revision serve, if a release says so."""
    ports = (e["rollout"].get("port") for e in history if _rolls_out(e, revision))
    return next(ports, None)


def _rolls_out(entry: Recorded, revision: str) -> bool:
    return "rollout" in entry and entry["rollout"]["taskDefinition"] == revision


def _previous(
    task_definition: str,
    known: Recorded | None,
    network: Mapping[str, Any] | None,
    applied: Schema | None,
) -> Previous:
    return {
        "taskDefinition": task_definition,
        "release": known["id"] if known else None,
        "version": known["version"] if known else None,
        "schema": known["schema"] if known else None,
        "networkConfiguration": network,
        "databaseSchema": applied,
    }


def newest_held(history: History, since: str) -> Recorded | None:
    """The push that a resumption deploys: the newest held back since the hold began."""
    begun = datetime.fromisoformat(since)
    held = [
        entry
        for entry in history
        if entry.get("outcome") == "HELD"
        and datetime.fromisoformat(entry.get("endedAt", since)) >= begun
    ]
    return max(held, key=lambda entry: (entry["pushedAt"], entry["id"]), default=None)
