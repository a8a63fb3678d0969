"""Decide when a release's database is backed up or restored, and how.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_CreateSnapshot.html
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_RestoreFromSnapshot.html

Imports decisions only, no AWS.
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
    """A snapshot that we took; `status` is RDS's, `made` its time, None until it begins."""

    name: str
    status: str
    created_at: datetime | None


class Request(TypedDict):
    """What backing up and restoring need; `since` is when the first call began."""

    spec: Mapping[str, Any]
    release: Release
    since: str
    execution: str


class Done(TypedDict):
    """Whether the database is ready; `name` is the snapshot or the instance."""

    done: bool
    name: str


def work(spec: ServiceSpec, release: Release, previous: Previous | None) -> Work:
    """Return what the database needs before a release starts."""
    if release.get("restore"):
        return "RESTORE"
    if spec.database is None or previous is None:
        return "NONE"  # without a previous release there is no data to lose
    unknown = release["schema"] is None
    return "BACK_UP" if unknown or schema_grew(previous["schema"], release["schema"]) else "NONE"


def late(since: str, now: datetime) -> bool:
    """Return whether the database is overdue, if the work began at `since`."""
    return now - datetime.fromisoformat(since) > PATIENCE


def snapshot_name(release: Release) -> str:
    """Return the name of the snapshot before a release; always the same one."""
    return f"{prefix(release['service'])}{release['id'].lower()}"


def prefix(service: str) -> str:
    """Return the prefix of a service's snapshots, unique among services of the same instance.

    RDS allows letters, digits and single hyphens, and ignores case:
    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html
    """
    readable = re.sub(r"[^a-z0-9]+", "-", service.lower())[:100].strip("-")
    return f"deployer-{readable}-{hashlib.sha256(service.encode()).hexdigest()[:8]}-"


def instance_name(instance: str, release: Release) -> str:
    """Return the name of a restoration's new instance: at most 63 characters.

    A release's id has up to 34.
    """
    return f"{instance[:28].rstrip('-')}-{release['id']}".lower()


def expendable(snapshots: Sequence[Snapshot], keep: int) -> list[str]:
    """Return the complete snapshots beyond the newest `keep`."""
    complete = [
        (s.created_at, s.name) for s in snapshots if s.status == "available" and s.created_at
    ]
    return [name for _, name in sorted(complete, reverse=True)[keep:]]


def to_restore(history: History, target: Recorded) -> Recorded:
    """Return the release whose snapshot has a database that `target` can run on.

    The schema of the database counts, not that of the previous release: a failed release may have
    migrated it. Without schemas, it is the first snapshot that was taken after `target` ran.

    Raises:
        RequestRejected: no snapshot has that schema.
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
        f"no snapshot was taken that fits {target['version']} (schema {shown(target['schema'])})"
    )


def _follows(entry: Recorded, target: Recorded) -> bool:
    before = entry.get("previous")
    return before is not None and before["release"] == target["id"]


def restoration(
    spec: ServiceSpec, history: History, target: Recorded, *, requested: bool
) -> str | None:
    """Return the snapshot that a rollback restores; None if the database stays as it is.

    Args:
        requested: whether the request asks for the database to be restored.
    Raises:
        RequestRejected: no snapshot fits, or the release would not start on the current database.
    """
    if requested:
        if spec.database is None or spec.database.secret is None:
            raise RequestRejected('the service spec has no "database" with its "secret"')
        return to_restore(history, target)["snapshot"]
    problem = unknown_schema(history, target, spec.database is not None)
    if problem is None:
        return None
    try:
        since = to_restore(history, target)
    except RequestRejected as error:
        raise RequestRejected(f"{problem}. {error}") from None
    if spec.database is None or spec.database.secret is None:
        raise RequestRejected(f'{problem}. The service spec has no "database" with its "secret"')
    way = how_to_restore(spec.service, target["id"], since["snapshot"], since["version"])
    raise RequestRejected(f"{problem}. {way}")


def how_to_restore(service: str, to: str, snapshot: str | None, taken_before: str) -> str:
    """Return how a person can roll back to a release with an older database."""
    if snapshot is None:
        return "No snapshot exists; restore from your own backup"
    return (
        f"Snapshot {snapshot} has the database from before {taken_before}; what was written"
        ' since would be lost. To restore it and roll back: {"action": "rollback", "service": '
        f'"{service}", "to": "{to}", "restoreDatabase": true}}'
    )


def host_of(url: str) -> str | None:
    """Return the host of a connection URL; None if it is not such a URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    return parts.netloc.rpartition("@")[2].removesuffix(port) or None


def keeping(policy: str | None, resource: str) -> str:
    """Return a stack policy that denies updates of a resource.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html

    Args:
        policy: the current policy; None if the stack has none, which allows every update.
        resource: the resource's logical id.
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
    """Return an alarm moved from one of the instances to another; None if it watches none."""
    watched = [
        {**dimension, "Value": instance}
        if dimension["Name"] == "DBInstanceIdentifier" and dimension["Value"] in instances
        else dimension
        for dimension in alarm.get("Dimensions", [])
    ]
    return {**alarm, "Dimensions": watched} if watched != alarm.get("Dimensions", []) else None


def moved(url: str, host: str) -> str:
    """Return a connection URL with another host.

    Raises:
        DatabaseFailed: it is not a connection URL. The message does not show it: it is a secret.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise DatabaseFailed("the database's secret has an invalid connection URL") from None
    if not parts.scheme:
        raise DatabaseFailed("the database's secret is not a connection URL")
    credentials, _, _ = parts.netloc.rpartition("@")
    netloc = f"{credentials}@{host}{port}" if credentials else f"{host}{port}"
    return urlunsplit(parts._replace(netloc=netloc))
