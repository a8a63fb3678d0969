"""A release: an image for a service, its record, its id and its version.

Imports decisions only, no AWS.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, final

from deployer import requests
from deployer.deploy.image import Commit, Schema
from deployer.deploy.rollout import Rollout

if TYPE_CHECKING:
    from deployer.deploy.diagnosis import Diagnosis
    from deployer.deploy.one_off import TaskRun
    from deployer.deploy.schedules import Note

_VERSION_TAG = re.compile(r"v?[0-9]+(\.[0-9]+)+")
# What builds append to a version for a variant: a platform by docker's or uname's name, or an index
# for lazy loading (https://github.com/awslabs/soci-snapshotter)
_VARIANT = re.compile(
    r"(?P<base>.+?)([-_.](linux|soci|x86_64|amd64|i?386|aarch64|arm(64)?([-_.]?v?[5-9])?|ppc64le"
    r"|s390x|riscv64))+"
)

Outcome = Literal["SUCCEEDED", "FAILED_ROLLED_BACK", "FAILED", "SUPERSEDED", "HELD", "IGNORED"]
Trigger = Literal["push", "deploy", "rollback", "restart", "resume", "hold"]


class Entry(TypedDict):
    """The fields of every release, of services and sites, and of builds. Times are ISO 8601, UTC.

    `to` is the target of a rollback. `tagMoved` is set where the image had lost the pushed tag by
    the time that the registry was asked.
    """

    service: str
    id: str
    digest: str
    tag: str | None
    version: str
    pushedAt: str
    trigger: Trigger
    startedBy: str
    startedAt: str
    execution: str
    to: NotRequired[str]
    tagMoved: NotRequired[bool]


class Record(Entry):
    """The fields of every record in the table: of a release of a service or a site, or of a build.

    `outcome` is absent while it is in flight, `by` names the release that superseded it or the
    person who holds the service.
    """

    outcome: NotRequired[Outcome]
    lockedAt: NotRequired[str]
    endedAt: NotRequired[str]
    reason: NotRequired[str]
    by: NotRequired[str]
    recoveredBy: NotRequired[str]
    recoveredAt: NotRequired[str]


class PromotedFrom(TypedDict):
    """The release of another service whose verified image is deployed.

    `stack` is that of the deployer which verified it, if it is another one.
    """

    service: str
    release: str
    version: str
    stack: NotRequired[str]


class Release(Entry):
    """A release of a service as the states pass it on and the table keeps it.

    A rollback reuses the earlier release's `taskDefinition` if it has one, and restores the
    database snapshot in `restore` if it is set. `taskDefinitions` has those of its further
    services, by their names.
    """

    repository: str
    image: str
    schema: Schema | None
    restore: NotRequired[str | None]
    taskDefinition: NotRequired[str | None]
    taskDefinitions: NotRequired[Mapping[str, str]]
    promotedFrom: NotRequired[PromotedFrom]
    builtFrom: NotRequired[Commit]


class Part(TypedDict, total=False):
    """What a release has done with a further service, in the fields that `Recorded` has for the
    leading one. `runs` is the revision that ran before it, if that was left unverified."""

    runs: str
    taskDefinition: str
    previous: "Previous | None"
    wasRunning: bool
    desiredCount: int | None
    rollout: Rollout
    url: str | None


@final
class Recorded(Release, Record):
    """The record of a service's release.

    `deployed` is False if it was verified but not deployed, because it was running already.
    `cluster` is that of the spec which it was deployed by; the spec may name another one since.

    The deployment's steps record their results, so that another execution can clean up if this one
    is stopped. `before` and `after` are the tasks before and after the rollout; `schedules` what
    the service's schedules were before they were changed, `scheduled` whether they may be, and
    `schedulesRestored` that they are, or need no restoration. Of a release to several services,
    `services` has the further ones by name, `servicesBefore` what the preflight found of them, and
    `updating` the names of those that ECS was asked to update, or was about to be.
    """

    deployed: NotRequired[bool]
    cluster: NotRequired[str]
    probes: NotRequired[dict[str, str]]
    previous: NotRequired["Previous | None"]
    wasRunning: NotRequired[bool]
    rollout: NotRequired[Rollout]
    rollback: NotRequired[Mapping[str, Any] | None]
    snapshot: NotRequired[str]
    restoration: NotRequired["Restoration"]
    databaseInstance: NotRequired[str | None]
    before: NotRequired["TaskRun"]
    after: NotRequired["TaskRun"]
    scheduled: NotRequired[bool]
    schedules: NotRequired["Note"]
    schedulesRestored: NotRequired[bool]
    diagnosis: NotRequired["Diagnosis"]
    url: NotRequired[str | None]
    services: NotRequired[Mapping[str, Part]]
    servicesBefore: NotRequired[Mapping[str, Part]]
    updating: NotRequired[Sequence[str]]
    runs: NotRequired[str]


def parts(record: Recorded | None) -> dict[str, Part]:
    """Return all that is recorded of a release's further services, by their names."""
    if record is None:
        return {}
    before, own = record.get("servicesBefore", {}), record.get("services", {})
    return {name: {**before.get(name, {}), **own.get(name, {})} for name in {**before, **own}}


class Ending(TypedDict):
    """The outcome of an execution; `error` and `cause` are those that it fails with."""

    outcome: str
    error: str
    cause: str


class Endpoint(TypedDict):
    """A database instance, and the host that the application connects to."""

    instance: str
    host: str


class Restoration(TypedDict):
    """The switch to a restored database, recorded before the secret changes, to undo it.

    `replaces` is the instance in the spec. `stopped` has the task counts of the services that were
    scaled to zero meanwhile, by their names.
    """

    secret: str
    replaces: str
    before: Endpoint
    after: Endpoint
    stopped: NotRequired[Mapping[str, int]]


def carried_out_by(record: Record) -> tuple[str, str]:
    """Return the execution that carries out a release in flight, and when it started (ISO 8601)."""
    if "recoveredBy" in record:
        return record["recoveredBy"], record["recoveredAt"]
    return record["execution"], record["startedAt"]


class Unidentified(TypedDict):
    """The record of an input that could not be read as a release.

    `tag` and `pushedAt` are set for a push, which the reconciler tries again.
    """

    service: str
    id: str
    digest: str | None
    tag: str | None
    pushedAt: str | None
    startedAt: str
    execution: str


class Previous(TypedDict):
    """The rollback target: what the service ran before this release.

    `release` and `schema` are None if no record has the task definition. `databaseSchema` is the
    database's schema by the records; a failed release may have migrated to it.
    """

    taskDefinition: str
    release: str | None
    version: str | None
    schema: Schema | None
    networkConfiguration: Mapping[str, Any] | None
    databaseSchema: NotRequired[Schema | None]


def release_id(pushed_at: datetime, digest: str, source: str | None = None) -> str:
    """Return the id of a release: ids sort by push time, and the same push has the same id.

    Args:
        pushed_at: when the image was pushed or tagged, or when the request was made.
        digest: `sha256:…`
        source: what else identifies it: the tag of a push, or the execution of a request.
    Returns:
        Such as `20261123T142502Z-3f2a9c1b7d10-5fd9`.
    """
    moment = pushed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{moment}-{digest.removeprefix('sha256:')[:12]}"
    if source is None:
        return name
    return f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:4]}"


def unidentified(document: object, execution: str, started_at: str) -> Unidentified:
    """Return the record of an input that could not be read as a release.

    The tries of a push sort by the time of the push: the reconciler reads the newest, and those of
    the newest push must be among them, however often others were tried.
    """
    service, digest = requests.subject(document)
    push = requests.push(document)
    moment = push.time if push else datetime.fromisoformat(started_at)
    return {
        "service": service,
        "id": release_id(moment, digest or "unknown", execution),
        "digest": digest,
        "tag": push.tag if push else None,
        "pushedAt": push.time.isoformat() if push else None,
        "startedAt": started_at,
        "execution": execution,
    }


def as_tag(version: str) -> str:
    """Return the tag for a version: tags cannot contain `+`."""
    return version.replace("+", "-")


def variant_of(tag: str) -> str | None:
    """Return the tag without its variant, such as `1.2.0` for `1.2.0-arm64`; None without one."""
    match = _VARIANT.fullmatch(tag)
    return match["base"] if match else None


def version_of(tag: str | None, labels: Mapping[str, str], label: str, digest: str) -> str:
    """Return the version of an image, by its tag, label or digest.

    A tag that is a version is the image's version. If the label is the same version with a `+`,
    which tags cannot contain, the label is used. A variant has the version without its variant.
    If the tag is a name, such as `latest`, or missing, the label is used; without a label, the tag
    or the digest.
    """
    labelled = labels.get(label)
    if tag is None or not _VERSION_TAG.match(tag):
        return labelled or tag or digest.removeprefix("sha256:")[:12]
    base = variant_of(tag) or tag
    names = (tag, tag.removeprefix("v"), base, base.removeprefix("v"))
    return labelled if labelled and as_tag(labelled) in names else base


def schema_grew(before: Schema | None, after: Schema | None, database: bool = True) -> bool:
    """Return whether a rollback from `after` to `before` would meet an unknown schema.

    Releases without a schema have no database to migrate.

    Args:
        database: whether the service spec names the database. If not, an image whose schema is
            unknown is no obstacle.
    """
    if before is None and after is None:
        return False
    if not database and (before is None or after is None):
        return False
    return before != after


def outdated(knows: Schema | None, applied: Schema | None) -> bool:
    """Return whether a release cannot start because the database's schema is newer."""
    return knows is not None and applied is not None and knows["number"] < applied["number"]
