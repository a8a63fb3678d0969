"""What was left open or missed, as far as it can be told without asking AWS."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer import site
from deployer.release import Recorded, release_id
from deployer.spec import ServiceSpec

# An event may be on its way still; ECR's usually take seconds.
GRACE = timedelta(seconds=30)


@dataclass(frozen=True)
class PushedImage:
    """An image as the repository lists it."""

    digest: str
    tags: tuple[str, ...]
    pushed_at: datetime


def push_id(image: PushedImage) -> str:
    """The id of the release that the push of an image is."""
    return release_id(image.pushed_at, image.digest)


def missed(
    service: ServiceSpec, image: PushedImage, refused: Collection[str], now: datetime
) -> Mapping[str, Any] | None:
    """The event that should have told of a push; None if it need not be started.

    Args:
        refused: the digests whose push was refused before a service was found for it.
    """
    tag = next((tag for tag in image.tags if service.deploys(tag)), None)
    if tag is None or image.digest in refused or now - image.pushed_at < GRACE:
        return None
    return {
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "time": image.pushed_at.astimezone(UTC).isoformat(),
        "detail": {
            "action-type": "PUSH",
            "result": "SUCCESS",
            "repository-name": service.repository,
            "image-digest": image.digest,
            "image-tag": tag,
        },
    }


def document(text: object) -> object:
    """The input of an execution, as its status change tells it; None if it does not."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def is_push(text: object) -> bool:
    """Whether the input of an execution was a push event."""
    found = document(text)
    return isinstance(found, dict) and found.get("source") == "aws.ecr"


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
