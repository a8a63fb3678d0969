"""A release: one image offered to one service, and what became of it."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NotRequired, TypedDict

from deployer.image import Schema

Outcome = Literal["SUCCEEDED", "FAILED_ROLLED_BACK", "FAILED", "SUPERSEDED", "HELD", "IGNORED"]
Trigger = Literal["push", "deploy"]


class Release(TypedDict):
    """A release as the states pass it on and the table keeps it. Times are ISO 8601, UTC."""

    service: str
    id: str
    repository: str
    digest: str
    image: str
    tag: str | None
    version: str
    schema: Schema | None
    pushedAt: str
    trigger: Trigger
    startedBy: str
    startedAt: str
    execution: str


class Recorded(Release):
    """A release as the table gives it back; `outcome` is absent while it is in flight."""

    outcome: NotRequired[Outcome]
    taskDefinition: NotRequired[str]


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


def as_tag(version: str) -> str:
    """The tag that carries a version: `+` is no character of a tag."""
    return version.replace("+", "-")


def version_of(tag: str | None, labels: Mapping[str, str], label: str, digest: str) -> str:
    """The version by which people know the image.

    The tag is what was pushed. Where the image's own label says the same with a `+` that no tag
    can carry, the label is the original. An image without a tag goes by its digest.
    """
    labelled = labels.get(label)
    if labelled and (tag is None or as_tag(labelled) in (tag, tag.removeprefix("v"))):
        return labelled
    return tag or digest.removeprefix("sha256:")[:12]


def previous(
    running: str | None, history: list[Recorded], excluding: str | None = None
) -> Recorded | None:
    """The release to go back to.

    Args:
        running: the task definition that the service runs steadily now, if it does.
        history: the service's releases, newest first.
        excluding: a task definition that is no way back (the one being deployed).
    Returns:
        The succeeded release whose task definition is running, else the newest that succeeded.
    """
    good = [
        entry
        for entry in history
        if entry.get("outcome") == "SUCCEEDED"
        and entry.get("taskDefinition") not in (None, excluding)
    ]
    for entry in good:
        if entry.get("taskDefinition") == running:
            return entry
    return good[0] if good else None


def known_bad(task_definition: str, history: list[Recorded]) -> bool:
    """Whether the newest release that used this task definition failed."""
    for entry in history:
        if entry.get("taskDefinition") == task_definition:
            return entry.get("outcome") in ("FAILED", "FAILED_ROLLED_BACK")
    return False


def schema_grew(before: Schema | None, after: Schema | None) -> bool:
    """Whether going back from `after` to `before` would meet a schema that `before` does not know.

    Releases that name no schema have no database of their own to migrate.
    """
    if before is None and after is None:
        return False
    return before != after
