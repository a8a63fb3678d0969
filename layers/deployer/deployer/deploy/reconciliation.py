"""Find missed pushes and uploads, and describe recoveries. Imports decisions only, no AWS."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer.deploy.history import History
from deployer.deploy.identification import ignored_tag
from deployer.deploy.release import Record, Recorded, Unidentified, release_id
from deployer.deploy.spec import ServiceSpec
from deployer.docs import site

# An event may still arrive; ECR's usually take seconds.
GRACE = timedelta(seconds=30)
AGAIN = timedelta(minutes=5)


@dataclass(frozen=True)
class PushedImage:
    """An image as the repository lists it."""

    digest: str
    tags: tuple[str, ...]
    pushed_at: datetime


@dataclass(frozen=True)
class MissedPush:
    """A push without a record: a tag on an image, and its time.

    `first` is whether `at` is when the image itself was pushed, under this tag; an event of that
    push may carry a slightly later time. Otherwise `at` is the earliest possible time, if the image
    was there before the tag, or that of an event. An event with a later time is then a push of its
    own: only its time says whether another push came before it.
    """

    repository: str
    digest: str
    tag: str
    at: datetime
    first: bool

    @property
    def event(self) -> Mapping[str, Any]:
        """The event that was lost."""
        return {
            "detail-type": "ECR Image Action",
            "source": "aws.ecr",
            "time": self.at.astimezone(UTC).isoformat(),
            "reconciled": self.first,
            "detail": {
                "action-type": "PUSH",
                "result": "SUCCESS",
                "repository-name": self.repository,
                "image-digest": self.digest,
                "image-tag": self.tag,
            },
        }

    @property
    def id(self) -> str:
        """The id of its release."""
        return release_id(self.at, self.digest, self.tag)


def tries(undecided: Iterable[Unidentified]) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    """Return when each undecided push took place and was last tried, by digest and tag."""
    last_tries = {}
    for push in sorted(undecided, key=lambda push: push["startedAt"]):
        digest, tag, pushed_at = push["digest"], push.get("tag"), push.get("pushedAt")
        if digest and tag and pushed_at:
            tried_at = datetime.fromisoformat(push["startedAt"])
            last_tries[digest, tag] = datetime.fromisoformat(pushed_at), tried_at
    return last_tries


def missed(
    service: ServiceSpec,
    images: Collection[PushedImage],
    records: History,
    undecided: Iterable[Unidentified],
    since: datetime,
    now: datetime,
) -> list[MissedPush]:
    """Return the pushes without a record, oldest first.

    ECR has an image's tags and the time of its first push, but not the time of each tag. So a new
    tag on an old image is noticed only if another image had the tag before.

    Args:
        images: the repository's tagged images.
        records: the service's records.
        undecided: pushes that could not be read as a release; retried at doubling intervals.
        since: older images without a record do not count as missed.
    """
    pushes = [
        e for e in records if e["trigger"] == "push" and e["repository"] == service.repository
    ]
    newest: dict[str, Recorded] = {}
    recorded_at: dict[tuple[str, str | None], datetime] = {}
    for entry in sorted(pushes, key=lambda entry: (entry["pushedAt"], entry["id"])):
        newest[entry["tag"] or ""] = entry
        recorded_at[entry["digest"], entry["tag"]] = datetime.fromisoformat(entry["pushedAt"])
    tags_of: dict[str, set[str | None]] = {}
    for digest, known_tag in recorded_at:
        tags_of.setdefault(digest, set()).add(known_tag)
    tried_before = tries(undecided)
    missed_pushes = []
    for image in images:
        for tag in image.tags:
            last = newest.get(tag)
            moved = last is not None and last["digest"] != image.digest
            pushed_at, tried_at = tried_before.get((image.digest, tag), (None, None))
            if pushed_at and tried_at and now - tried_at < max(tried_at - pushed_at, AGAIN):
                continue
            at = pushed_at or image.pushed_at
            if last and moved:
                at = max(at, datetime.fromisoformat(last["pushedAt"]) + timedelta(seconds=1))
            has_record = (image.digest, tag) in recorded_at and not moved
            if has_record and pushed_at:  # the tag may have been put back on the image since
                has_record = recorded_at[image.digest, tag] >= pushed_at
            if has_record or not (pushed_at or moved or image.pushed_at > since):
                continue
            if now - at >= GRACE and ignored_tag(tag, service) is None:
                only_tag = {*image.tags, *tags_of.get(image.digest, ())} == {tag}
                first = only_tag and at == image.pushed_at
                missed_pushes.append(MissedPush(service.repository, image.digest, tag, at, first))
    return sorted(missed_pushes, key=lambda push: (push.at, push.digest, push.tag))


def missed_upload(
    bucket: str, stored: Mapping[str, Any], now: datetime
) -> Mapping[str, Any] | None:
    """Return the lost event of an upload; None if it may still arrive.

    Args:
        stored: the archive as S3 lists it.
    """
    if now - datetime.fromisoformat(stored["at"]) < GRACE:
        return None
    description = {name: stored[name] for name in ("key", "etag", "size")}
    return {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": stored["at"],
        "detail": {"bucket": {"name": bucket}, "object": description},
    }


def upload_name(stored: Mapping[str, Any]) -> str:
    """Return the name of an upload's only execution; at most 80 characters."""
    upload = f"{stored['key']} {stored['etag']} {stored['at']}"
    return f"upload-{hashlib.sha256(upload.encode()).hexdigest()[:40]}"


def from_where(names: Sequence[str], first: str | None) -> list[str]:
    """Return the names in the order to check: first the one that the last round did not reach."""
    start = names.index(first) if first in names else 0
    return [*names[start:], *names[:start]]


def document(text: object) -> object:
    """Return the input of an execution from its status change; None if it is missing or invalid."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def is_event(text: object) -> bool:
    """Return whether the input of an execution was the event of a push or an upload."""
    event = document(text)
    return isinstance(event, dict) and event.get("source") in ("aws.ecr", "aws.s3")


def began(detail: Mapping[str, Any]) -> str:
    """Return when an execution began, from its status change (milliseconds since 1970)."""
    return datetime.fromtimestamp(detail["startDate"] / 1000, UTC).isoformat()


def recovery(record: Record) -> Mapping[str, str]:
    """Return the request to clean up after the ended execution of a release."""
    owner = record["service"]
    whose = {"site": site.of_owner(owner)} if site.is_site(owner) else {"service": owner}
    return {"action": "recover", "release": record["id"], **whose}


def recovery_name(release: str, ended: str) -> str:
    """Return the name of the only execution that recovers an ended one; at most 80 characters."""
    return f"recover-{release}-{hashlib.sha256(ended.encode()).hexdigest()[:12]}"
