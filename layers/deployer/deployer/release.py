"""A release: one image offered to one service, and what became of it."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict

from deployer import request
from deployer.image import Schema

_VERSION_TAG = re.compile(r"v?[0-9]+(\.[0-9]+)+")

Outcome = Literal["SUCCEEDED", "FAILED_ROLLED_BACK", "FAILED", "SUPERSEDED", "HELD", "IGNORED"]
Trigger = Literal["push", "deploy"]


class Identity(TypedDict):
    """What a release is, whoever asked for it and when."""

    service: str
    repository: str
    digest: str
    image: str
    tag: str | None
    version: str
    schema: Schema | None


class Release(Identity):
    """A release as the states pass it on and the table keeps it. Times are ISO 8601, UTC."""

    id: str
    pushedAt: str
    trigger: Trigger
    startedBy: str
    startedAt: str
    execution: str


class Recorded(Release):
    """A release as the table gives it back; `outcome` is absent while it is in flight."""

    outcome: NotRequired[Outcome]
    taskDefinition: NotRequired[str]
    probes: NotRequired[dict[str, str]]


class Unidentified(TypedDict):
    """What is kept of an input that could not be read as a release."""

    service: str
    id: str
    digest: str | None
    startedAt: str
    execution: str


class Previous(TypedDict):
    """What the service ran before this release, and what going back to it takes.

    `release` and `schema` are None where the table does not know the task definition.
    """

    taskDefinition: str
    release: str | None
    version: str | None
    schema: Schema | None
    networkConfiguration: Mapping[str, Any] | None


def release_id(pushed_at: datetime, digest: str, execution: str | None = None) -> str:
    """The id of a release: it sorts by push time, and one push always has the same one.

    Args:
        pushed_at: when the image was pushed, or when the order was given.
        digest: `sha256:…`
        execution: for an order by hand, which is a release of its own each time.
    Returns:
        Such as `20261123T142502Z-3f2a9c1b7d10`.
    """
    moment = pushed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{moment}-{digest.removeprefix('sha256:')[:12]}"
    if execution is None:
        return name
    return f"{name}-{hashlib.sha256(execution.encode()).hexdigest()[:4]}"


def unidentified(document: object, execution: str, started_at: str) -> Unidentified:
    """The record of an input that could not be read as a release."""
    service, digest = request.subject(document)
    return {
        "service": service,
        "id": release_id(datetime.fromisoformat(started_at), digest or "unknown", execution),
        "digest": digest,
        "startedAt": started_at,
        "execution": execution,
    }


def as_tag(version: str) -> str:
    """The tag that carries a version: `+` is no character of a tag."""
    return version.replace("+", "-")


def version_of(tag: str | None, labels: Mapping[str, str], label: str, digest: str) -> str:
    """The version by which people know the image.

    A tag that reads as a version is the version that was pushed; where the image's own label says
    the same with a `+` that no tag can carry, the label is the original. Under a tag that is only
    a name, such as `latest`, or under none, the label tells. An image that nothing names goes by
    its digest.
    """
    labelled = labels.get(label)
    if tag is None or not _VERSION_TAG.match(tag):
        return labelled or tag or digest.removeprefix("sha256:")[:12]
    if labelled and as_tag(labelled) in (tag, tag.removeprefix("v")):
        return labelled
    return tag


def previous(
    steady: str | None, network: Mapping[str, Any] | None, history: list[Recorded]
) -> Previous | None:
    """What to go back to if the release that comes fails.

    Args:
        steady: the task definition that the service runs steadily now; None if it does not.
        network: the service's network configuration now.
        history: the service's releases, newest first.
    Returns:
        What runs now, unless it is recorded as failed; else the newest release that succeeded;
        None if there is neither.
    """
    known = next((entry for entry in history if entry.get("taskDefinition") == steady), None)
    if steady and (known is None or known.get("outcome") == "SUCCEEDED"):
        return _way_back(steady, known, network)
    good = next((entry for entry in history if entry.get("outcome") == "SUCCEEDED"), None)
    return _way_back(good["taskDefinition"], good, network) if good else None


def _way_back(
    task_definition: str, known: Recorded | None, network: Mapping[str, Any] | None
) -> Previous:
    return {
        "taskDefinition": task_definition,
        "release": known["id"] if known else None,
        "version": known["version"] if known else None,
        "schema": known["schema"] if known else None,
        "networkConfiguration": network,
    }


def schema_grew(before: Schema | None, after: Schema | None) -> bool:
    """Whether going back from `after` to `before` would meet a schema that `before` does not know.

    Releases that name no schema have no database of their own to migrate.
    """
    if before is None and after is None:
        return False
    return before != after
