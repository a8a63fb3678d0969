"""What was asked: an ECR push as EventBridge delivers it, or an order given by hand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from deployer.errors import RequestRejected

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# https://docs.docker.com/reference/cli/docker/image/tag/: at most 128 of these
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# cosign keeps signatures, attestations and SBOMs under a tag made from the digest they speak of
COSIGN_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.(sig|att|sbom))?")

EXAMPLE = '{"action": "deploy", "image": "<tag or sha256:digest>", "service": "<service>"}'


@dataclass(frozen=True)
class Push:
    """A push event: one manifest arrived in a repository. `tag` is None for an untagged one."""

    repository: str
    digest: str
    tag: str | None
    time: datetime


@dataclass(frozen=True)
class Deploy:
    """An order to deploy an image that is in the repository. `service` None: the only one."""

    image: str
    service: str | None
    by: str | None


def parse(document: object) -> Push | Deploy:
    """Read the input of an execution.

    Args:
        document: the `ECR Image Action` event as EventBridge delivers it
            (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html),
            or an order, an object with `action`.
    Raises:
        RequestRejected: naming what is wrong, with an example of what is right.
    """
    if not isinstance(document, dict):
        raise RequestRejected(
            f"the input must be an object, not {type(document).__name__}; for example {EXAMPLE}"
        )
    if "action" in document:
        return _order(document)
    if "detail-type" in document:
        return _push(document)
    raise RequestRejected(
        f"the input is neither an ECR event nor an order; an order looks like {EXAMPLE}"
    )


def _push(event: Mapping[str, object]) -> Push:
    if event.get("source") != "aws.ecr" or event["detail-type"] != "ECR Image Action":
        raise RequestRejected(
            f"an event {event['detail-type']!r} from {event.get('source')!r} deploys nothing; "
            "the rule must pass 'ECR Image Action' from 'aws.ecr' alone"
        )
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise RequestRejected("the ECR event has no detail object")
    action, result = detail.get("action-type"), detail.get("result")
    if (action, result) != ("PUSH", "SUCCESS"):
        raise RequestRejected(f"an ECR event {action} {result} deploys nothing; only PUSH SUCCESS")
    # a push by digest has no image-tag, or an empty one
    tag = detail.get("image-tag") or None
    return Push(
        repository=_text(detail, "repository-name", "ECR event's detail"),
        digest=_matching(detail, "image-digest", DIGEST, "ECR event's detail"),
        tag=None if tag is None else _text(detail, "image-tag", "ECR event's detail"),
        time=_time(event),
    )


def _order(order: Mapping[str, object]) -> Deploy:
    if order["action"] != "deploy":
        raise RequestRejected(
            f"unknown action {order['action']!r}; the one known is 'deploy': {EXAMPLE}"
        )
    unknown = order.keys() - {"action", "image", "service", "by"}
    if unknown:
        raise RequestRejected(f"unknown field(s) {', '.join(sorted(unknown))}; use {EXAMPLE}")
    image = _text(order, "image", "order")
    if not DIGEST.fullmatch(image) and not TAG.fullmatch(image):
        raise RequestRejected(
            f"image {image[:140]!r} is neither a tag nor a digest (sha256: and 64 hex digits)"
        )
    return Deploy(
        image=image,
        service=_text(order, "service", "order") if "service" in order else None,
        by=_text(order, "by", "order") if "by" in order else None,
    )


def _time(event: Mapping[str, object]) -> datetime:
    try:
        return datetime.fromisoformat(_text(event, "time", "ECR event")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RequestRejected(f"the ECR event's time {event['time']!r} is not ISO 8601") from None


def ignored(push: Push) -> str | None:
    """Why a push by its tag alone deploys no service; None if it may."""
    if push.tag is None:
        return "the push has no tag (a child of an index, an attestation, or a push by digest)"
    if COSIGN_TAG.fullmatch(push.tag):
        return f"tag {push.tag} is a signature, attestation or SBOM"
    return None


def _text(source: Mapping[str, object], name: str, where: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value or len(value) > 512:
        raise RequestRejected(f"the {where} needs {name}, a text of 1 to 512 characters")
    return value


def _matching(source: Mapping[str, object], name: str, pattern: re.Pattern[str], where: str) -> str:
    value = _text(source, name, where)
    if not pattern.fullmatch(value):
        raise RequestRejected(f"the {where} has {name} {value[:80]!r}, not {pattern.pattern}")
    return value


def subject(document: object) -> tuple[str, str | None]:
    """What a rejected input was about, as well as it can be told: (who it is filed under, digest).

    A record must be filed under something also when the input could not be read.
    """
    if isinstance(document, dict):
        detail = document.get("detail")
        if isinstance(detail, dict) and isinstance(detail.get("repository-name"), str):
            digest = detail.get("image-digest")
            return f"repository:{detail['repository-name'][:256]}", (
                digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None
            )
        service = document.get("service")
        if isinstance(service, str) and service:
            return service[:256], None
    return "unknown", None
