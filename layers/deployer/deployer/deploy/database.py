"""The database around a release: when it is backed up, and what going back in time takes.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_CreateSnapshot.html
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_RestoreFromSnapshot.html
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict
from urllib.parse import urlsplit, urlunsplit

from deployer.deploy.history import History, unknown_schema
from deployer.deploy.image import shown
from deployer.deploy.release import Previous, Recorded, Release, schema_grew
from deployer.deploy.spec import ServiceSpec
from deployer.errors import DatabaseFailed, RequestRejected

# Snapshots of a few hundred GB take minutes, restores up to an hour.
PATIENCE = timedelta(hours=2)

Work = Literal["NONE", "BACK_UP", "RESTORE"]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of ours; `status` is RDS's word, `made` None until it begins."""

    name: str
    status: str
    made: datetime | None


class Done(TypedDict):
    """Whether the database's work is done; `name` is the snapshot or the instance."""

    done: bool
    name: str


def work(spec: ServiceSpec, release: Release, previous: Previous | None) -> Work:
    """What is to be done with the database before a release starts."""
    if release.get("restore"):
        return "RESTORE"
    if spec.database is None or previous is None:
        return "NONE"  # without a release before there is nothing to lose
    unknown = release["schema"] is None
    return "BACK_UP" if unknown or schema_grew(previous["schema"], release["schema"]) else "NONE"


def late(since: str, now: datetime) -> bool:
    """Whether the database's work, begun at `since`, should have been done by now."""
    return now - datetime.fromisoformat(since) > PATIENCE


def snapshot_name(release: Release) -> str:
    """The name of the snapshot taken before a release: one each, however often it is asked for."""
    return f"{prefix(release['service'])}{release['id'].lower()}"


def prefix(service: str) -> str:
    """How the names of a service's snapshots begin, and of no other's on the same instance.

    RDS takes letters, digits and single hyphens, and does not tell capitals apart:
    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html
    """
    readable = re.sub(r"[^a-z0-9]+", "-", service.lower())[:100].strip("-")
    return f"deployer-{readable}-{hashlib.sha256(service.encode()).hexdigest()[:8]}-"


def instance_name(instance: str, release: Release) -> str:
    """The name of the instance that a restoration makes, beside the old one; at most 63 letters,
    of which a release's id takes up to 34."""
    return f"{instance[:28].rstrip('-')}-{release['id']}".lower()


def expendable(snapshots: Sequence[Snapshot], keep: int) -> list[str]:
    """The snapshots beyond the newest `keep` that are complete."""
    complete = [(s.made, s.name) for s in snapshots if s.status == "available" and s.made]
    return [name for _, name in sorted(complete, reverse=True)[keep:]]


def to_restore(history: History, target: Recorded) -> Recorded:
    """Return the release before which the database was as `target` knows it.

    What counts is the schema that the database had, not that of the release which ran: a release
    that failed may have migrated it. Where nothing names schemas, it is the first snapshot that
    was taken since `target` ran.

    Raises:
        RequestRejected: no snapshot of that schema was taken.
    """
    taken = [entry for entry in history if entry.get("snapshot")]
    if target["schema"] is None:
        taken = [entry for entry in taken if _follows(entry, target)][-1:]
    for entry in taken:
        before = entry.get("previous")
        if before is None:
            continue
        had = before.get("databaseSchema", before["schema"])
        if not schema_grew(target["schema"], had):
            return entry
    raise RequestRejected(
        f"no snapshot was taken of the database as {target['version']} knows it"
        f" (schema {shown(target['schema'])})"
    )


def _follows(entry: Recorded, target: Recorded) -> bool:
    before = entry.get("previous")
    return before is not None and before["release"] == target["id"]


def restoration(
    spec: ServiceSpec, history: History, target: Recorded, *, asked: bool
) -> str | None:
    """The snapshot that going back to a release restores; None if it leaves the database alone.

    Args:
        asked: whether the request asks for the database to be restored.
    Raises:
        RequestRejected: there is none, or the release would not start on the database as it is.
    """
    if asked:
        if spec.database is None or spec.database.secret is None:
            raise RequestRejected('the service spec names no "database" with its "secret"')
        return to_restore(history, target)["snapshot"]
    problem = unknown_schema(history, target)
    if problem is None:
        return None
    try:
        since = to_restore(history, target)
    except RequestRejected as error:
        raise RequestRejected(f"{problem}. {error}") from None
    if spec.database is None or spec.database.secret is None:
        raise RequestRejected(f'{problem}. The service spec names no "database" with its "secret"')
    way = how_to_restore(spec.service, target["id"], since["snapshot"], since["version"])
    raise RequestRejected(f"{problem}. {way}")


def how_to_restore(service: str, to: str, snapshot: str | None, taken_before: str) -> str:
    """What a refusal to go back says of the way that there is."""
    if snapshot is None:
        return "No snapshot exists; restore from your own backup"
    return (
        f"Snapshot {snapshot} holds the database as it was before {taken_before}; what was written"
        ' since would be lost. To restore it and go back: {"action": "rollback", "service": '
        f'"{service}", "to": "{to}", "restoreDatabase": true}}'
    )


def host_of(url: str) -> str | None:
    """Return the host to which a connection URL leads; None if it is not such a URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    return parts.netloc.rpartition("@")[2].removesuffix(port) or None


def keeping(policy: str | None, resource: str) -> str:
    """A stack's policy under which no update of the stack changes a resource.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html

    Args:
        policy: what it is now; None if it has none, which allows every update.
        resource: its logical id.
    """
    everything = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}
    keep = {**everything, "Effect": "Deny", "Resource": f"LogicalResourceId/{resource}"}
    statements = json.loads(policy)["Statement"] if policy else [everything]
    if keep in statements:
        return policy or ""
    return json.dumps({"Statement": [*statements, keep]})


def watching(
    alarm: Mapping[str, Any], instances: Collection[str], instance: str
) -> dict[str, Any] | None:
    """Return an alarm on one of some instances as an alarm on another; None if it watches none."""
    watched = [
        {**dimension, "Value": instance}
        if dimension["Name"] == "DBInstanceIdentifier" and dimension["Value"] in instances
        else dimension
        for dimension in alarm.get("Dimensions", [])
    ]
    return {**alarm, "Dimensions": watched} if watched != alarm.get("Dimensions", []) else None


def moved(url: str, host: str) -> str:
    """A connection URL that leads to another host; everything else stays.

    Raises:
        DatabaseFailed: it is no such URL, of which nothing is told here: it is a secret.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise DatabaseFailed("the database's secret holds a broken connection URL") from None
    if not parts.scheme:
        raise DatabaseFailed("the database's secret holds no connection URL")
    credentials, _, _ = parts.netloc.rpartition("@")
    netloc = f"{credentials}@{host}{port}" if credentials else f"{host}{port}"
    return urlunsplit(parts._replace(netloc=netloc))
