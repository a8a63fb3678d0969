"""What was left open or missed, as far as it can be told without asking AWS."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer.deploy.history import History
from deployer.deploy.identification import ignored_tag
from deployer.deploy.release import Recorded, Unidentified, release_id
from deployer.deploy.spec import ServiceSpec
from deployer.docs import site

# An event may be on its way still; ECR's usually take seconds.
GRACE = timedelta(seconds=30)
AGAIN = timedelta(minutes=5)
_FRESH = timedelta(minutes=10)


@dataclass(frozen=True)
class PushedImage:
    """An image as the repository lists it."""

    digest: str
    tags: tuple[str, ...]
    pushed_at: datetime


@dataclass(frozen=True)
class MissedPush:
    """A push without a record: a tag on an image, and since when, as far as can be told.

    `certain` is whether that is when the tag was put there; else it is the earliest moment at
    which that can have been.
    """

    repository: str
    digest: str
    tag: str
    at: datetime
    certain: bool

    @property
    def event(self) -> Mapping[str, Any]:
        """The event that should have told of it."""
        return {
            "detail-type": "ECR Image Action",
            "source": "aws.ecr",
            "time": self.at.astimezone(UTC).isoformat(),
            "reconciled": not self.certain,
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
        """The id of the release that it is."""
        return release_id(self.at, self.digest, self.tag)

    def may_be_recent(self, now: datetime) -> bool:
        """Return whether the tag may have been put there a moment ago, on an older image: its
        event, which has the real time, may still arrive."""
        return not self.certain and now - self.at >= _FRESH


def tries(undecided: Iterable[Unidentified]) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    """Return when each push took place that could not be read as a release, and when that was
    tried last, by digest and tag."""
    found = {}
    for push in sorted(undecided, key=lambda push: push["startedAt"]):
        digest, tag, at = push["digest"], push.get("tag"), push.get("pushedAt")
        if digest and tag and at:
            tried = datetime.fromisoformat(push["startedAt"])
            found[digest, tag] = datetime.fromisoformat(at), tried
    return found


def missed(
    service: ServiceSpec,
    images: Collection[PushedImage],
    past: History,
    undecided: Iterable[Unidentified],
    since: datetime,
    now: datetime,
) -> list[MissedPush]:
    """Return the pushes that have no record among these, oldest first.

    ECR tells which tags an image has and when it was pushed first, but not when it got a tag. So
    one that was put on an image of old is only noticed if the tag was on another image before.

    Args:
        images: the repository's tagged images.
        past: the service's records.
        undecided: pushes that could not be read as a release: tried again as they grow older, each
            time after twice as long.
        since: older images without a record are no missed pushes.
    """
    pushes = [e for e in past if e["trigger"] == "push" and e["repository"] == service.repository]
    newest: dict[str, Recorded] = {}
    for entry in sorted(pushes, key=lambda entry: (entry["pushedAt"], entry["id"])):
        newest[entry["tag"] or ""] = entry
    known = {(entry["digest"], entry["tag"]) for entry in pushes}
    tried_before = tries(undecided)
    found = []
    for image in images:
        for tag in image.tags:
            last = newest.get(tag)
            moved = last is not None and last["digest"] != image.digest
            told, tried = tried_before.get((image.digest, tag), (None, None))
            if told and tried and now - tried < max(tried - told, AGAIN):
                continue
            at = told or image.pushed_at
            if last and moved:
                at = max(at, datetime.fromisoformat(last["pushedAt"]) + timedelta(seconds=1))
            known_already = (image.digest, tag) in known and not moved
            if known_already or not (told or moved or image.pushed_at > since):
                continue
            if now - at >= GRACE and ignored_tag(tag, service) is None:
                found.append(MissedPush(service.repository, image.digest, tag, at, at == told))
    return sorted(found, key=lambda push: (push.at, push.digest, push.tag))


def missed_upload(
    bucket: str, stored: Mapping[str, Any], now: datetime
) -> Mapping[str, Any] | None:
    """The event that should have told of an upload; None if it is too early to say.

    Args:
        stored: the archive as S3 lists it.
    """
    if now - datetime.fromisoformat(stored["at"]) < GRACE:
        return None
    named = {name: stored[name] for name in ("key", "etag", "size")}
    return {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": stored["at"],
        "detail": {"bucket": {"name": bucket}, "object": named},
    }


def upload_name(stored: Mapping[str, Any]) -> str:
    """The name of the one execution that is started for an upload; at most 80 characters."""
    told = f"{stored['key']} {stored['etag']} {stored['at']}"
    return f"upload-{hashlib.sha256(told.encode()).hexdigest()[:40]}"


def from_where(names: Sequence[str], first: str | None) -> list[str]:
    """The names in the order in which to look after them: from the one that the last round did not
    come to."""
    start = names.index(first) if first in names else 0
    return [*names[start:], *names[:start]]


def document(text: object) -> object:
    """The input of an execution, as its status change tells it; None if it does not."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def is_event(text: object) -> bool:
    """Whether the input of an execution was the event of a push or an upload."""
    found = document(text)
    return isinstance(found, dict) and found.get("source") in ("aws.ecr", "aws.s3")


def began(detail: Mapping[str, Any]) -> str:
    """When an execution began, by its status change (which has milliseconds since 1970)."""
    return datetime.fromtimestamp(detail["startDate"] / 1000, UTC).isoformat()


def recovery(record: Recorded) -> Mapping[str, str]:
    """The order that puts right what the ended execution of a release left."""
    owner = record["service"]
    whose = {"site": site.of_owner(owner)} if site.is_site(owner) else {"service": owner}
    return {"action": "recover", "release": record["id"], **whose}


def recovery_name(release: str, ended: str) -> str:
    """The name of the one execution that recovers from an ended one; at most 80 characters."""
    return f"recover-{release}-{hashlib.sha256(ended.encode()).hexdigest()[:12]}"
