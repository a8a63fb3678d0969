"""A release: one image offered to one service, and what became of it."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict

from deployer import requests
from deployer.deploy.image import Schema
from deployer.deploy.rollout import Rollout

_VERSION_TAG = re.compile(r"v?[0-9]+(\.[0-9]+)+")
# What builds put behind a version for its variants: a platform as docker or uname names it, or an
# index for lazy loading (https://github.com/awslabs/soci-snapshotter)
_VARIANT = re.compile(
    r"(?P<base>.+?)([-_.](linux|soci|x86_64|amd64|i?386|aarch64|arm(64)?([-_.]?v?[5-9])?|ppc64le"
    r"|s390x|riscv64))+"
)

Outcome = Literal["SUCCEEDED", "FAILED_ROLLED_BACK", "FAILED", "SUPERSEDED", "HELD", "IGNORED"]
Trigger = Literal["push", "deploy", "rollback", "resume", "hold"]


class Entry(TypedDict):
    """What a release of anything is: whose, which, and who asked for it. Times are ISO 8601, UTC.

    A rollback goes to the release in `to`.
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


class Release(Entry):
    """A release of a service as the states pass it on and the table keeps it.

    A rollback runs the earlier one's very `taskDefinition` where it has one, and restores the
    database snapshot in `restore` where it names one.
    """

    repository: str
    image: str
    schema: Schema | None
    restore: NotRequired[str | None]
    taskDefinition: NotRequired[str | None]


class Recorded(Release):
    """A release as the table gives it back; `outcome` is absent while it is in flight.

    `deployed` is False if it was verified and nothing was deployed: it ran already.

    What the steps of the deployment found is noted as they find it, so that another execution can
    put the service right if this one is stopped.
    """

    outcome: NotRequired[Outcome]
    deployed: NotRequired[bool]
    lockedAt: NotRequired[str]
    endedAt: NotRequired[str]
    reason: NotRequired[str]
    by: NotRequired[str]
    probes: NotRequired[dict[str, str]]
    previous: NotRequired["Previous | None"]
    wasRunning: NotRequired[bool]
    rollout: NotRequired[Rollout]
    rollback: NotRequired[Mapping[str, Any] | None]
    recoveredBy: NotRequired[str]
    recoveredAt: NotRequired[str]
    snapshot: NotRequired[str]
    restoration: NotRequired["Restoration"]
    databaseInstance: NotRequired[str | None]
    folder: NotRequired[str]


class Endpoint(TypedDict):
    """A database instance, and the host under which the application finds it."""

    instance: str
    host: str


class Restoration(TypedDict):
    """The change of the database that a release restores: written down before the secret is
    changed, so that it can be undone. `replaces` is the spec's own instance."""

    secret: str
    replaces: str
    before: Endpoint
    after: Endpoint


def carried_out_by(record: Recorded) -> tuple[str, str]:
    """Return the execution that carries out a release in flight, and when it started (ISO 8601)."""
    if "recoveredBy" in record:
        return record["recoveredBy"], record["recoveredAt"]
    return record["execution"], record["startedAt"]


class Unidentified(TypedDict):
    """What is kept of an input that could not be read as a release.

    `tag` and `pushedAt` are of a push, which the reconciler then tries again.
    """

    service: str
    id: str
    digest: str | None
    tag: str | None
    pushedAt: str | None
    startedAt: str
    execution: str


class Previous(TypedDict):
    """What the service ran before this release, and what going back to it takes.

    `release` and `schema` are None where the table does not know the task definition.
    `databaseSchema` is what the database had by the records; a failed release may have brought it.
    """

    taskDefinition: str
    release: str | None
    version: str | None
    schema: Schema | None
    networkConfiguration: Mapping[str, Any] | None
    databaseSchema: NotRequired[Schema | None]


def release_id(pushed_at: datetime, digest: str, source: str | None = None) -> str:
    """Return the id of a release: it sorts by push time, and one push always has the same one.

    Args:
        pushed_at: when the image was pushed or tagged, or when the request was given.
        digest: `sha256:…`
        source: what else makes it a release of its own: the tag of a push, the execution of an
            order.
    Returns:
        Such as `20261123T142502Z-3f2a9c1b7d10-5fd9`.
    """
    moment = pushed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{moment}-{digest.removeprefix('sha256:')[:12]}"
    if source is None:
        return name
    return f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:4]}"


def unidentified(document: object, execution: str, started_at: str) -> Unidentified:
    """The record of an input that could not be read as a release."""
    service, digest = requests.subject(document)
    push = requests.push(document)
    return {
        "service": service,
        "id": release_id(datetime.fromisoformat(started_at), digest or "unknown", execution),
        "digest": digest,
        "tag": push.tag if push else None,
        "pushedAt": push.time.isoformat() if push else None,
        "startedAt": started_at,
        "execution": execution,
    }


def as_tag(version: str) -> str:
    """The tag for a version: tags cannot contain `+`."""
    return version.replace("+", "-")


def variant_of(tag: str) -> str | None:
    """Return the tag from which a build derived this one for one variant of an image, such as
    `1.2.0` of `1.2.0-arm64`; None if it names no variant."""
    found = _VARIANT.fullmatch(tag)
    return found["base"] if found else None


def version_of(tag: str | None, labels: Mapping[str, str], label: str, digest: str) -> str:
    """Return the version by which people know the image.

    A tag that reads as a version is the version that was pushed; where the image's own label says
    the same with a `+` that no tag can carry, the label is the original. A variant has the version
    of what it is a variant of. Under a tag that is only a name, such as `latest`, or under none,
    the label tells. An image that nothing names goes by its digest.
    """
    labelled = labels.get(label)
    if tag is None or not _VERSION_TAG.match(tag):
        return labelled or tag or digest.removeprefix("sha256:")[:12]
    base = variant_of(tag) or tag
    names = (tag, tag.removeprefix("v"), base, base.removeprefix("v"))
    return labelled if labelled and as_tag(labelled) in names else base


def schema_grew(before: Schema | None, after: Schema | None) -> bool:
    """Whether going back from `after` to `before` would meet a schema that `before` does not know.

    Releases that name no schema have no database of their own to migrate.
    """
    if before is None and after is None:
        return False
    return before != after


def outdated(knows: Schema | None, applied: Schema | None) -> bool:
    """Whether a release is known not to start on a database: its schema is newer than it knows."""
    return knows is not None and applied is not None and knows["number"] < applied["number"]
