"""Parse the input of executions: ECR pushes as EventBridge delivers them, and manual requests.

Imports the names of failures only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployer.errors import RequestRejected

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# https://docs.docker.com/reference/cli/docker/image/tag/: at most 128 of these
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# cosign derives the tags of signatures, attestations and SBOMs from the image's digest
COSIGN_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.(sig|att|sbom))?")

# The action types of ECR's events by which an image arrives: pushed, or replicated from another
# account or Region (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html)
_ARRIVALS = {"ECR Image Action": "PUSH", "ECR Replication Action": "REPLICATE"}

# The most time between two tags of one push: `docker push --all-tags` pushes them in turn
ONE_PUSH = timedelta(minutes=1)

EXAMPLES = {
    "deploy": '{"action": "deploy", "image": "<tag or sha256:digest>"}',
    "rollback": '{"action": "rollback", "to": "previous"}',
    "restart": '{"action": "restart"}',
    "hold": '{"action": "hold", "reason": "<why>"}',
    "resume": '{"action": "resume"}',
    "recover": '{"action": "recover", "service": "<service>", "release": "<release id>"}',
}
EXAMPLE = EXAMPLES["deploy"]
SITE_EXAMPLES = {
    "publish": '{"action": "publish", "site": "<site>"}',
    "rollback": '{"action": "rollback", "site": "<site>", "to": "previous"}',
    "hold": '{"action": "hold", "site": "<site>", "reason": "<why>"}',
    "resume": '{"action": "resume", "site": "<site>"}',
    "recover": '{"action": "recover", "site": "<site>", "release": "<release id>"}',
}


@dataclass(frozen=True)
class Push:
    """A push event: a manifest arrived in a repository, by a push or by replication, or an existing
    one got a tag.

    `tag` is None for an untagged manifest. `reconciled` is whether the reconciler noticed the push
    without its event. `time` is then that of the image's first push, the only one that ECR keeps
    (https://github.com/aws/containers-roadmap/issues/2746); otherwise it is the event's.
    """

    repository: str
    digest: str
    tag: str | None
    time: datetime
    reconciled: bool = False

    @property
    def until(self) -> datetime:
        """The latest time of an event, for the same tag and digest, that is about this push."""
        return self.time + ONE_PUSH if self.reconciled else self.time


@dataclass(frozen=True)
class Promotion:
    """A release that was verified elsewhere: its service, id and version.

    `stack` is the deployer's stack that verified it; None for this one.
    """

    service: str
    release: str
    version: str
    stack: str | None = None


@dataclass(frozen=True)
class Deploy:
    """A request to deploy an image that is in the repository.

    In every request, `service` None means the only one, and `by` is the person who made it.
    """

    image: str
    service: str | None
    by: str | None
    promoted_from: Promotion | None = None


@dataclass(frozen=True)
class Publish:
    """A request to build and publish the newest sources of a documentation site again."""

    service: str | None
    by: str | None


@dataclass(frozen=True)
class Rollback:
    """A request to roll back: `to` is `previous`, a version, a tag, a digest or a release's id.

    `hold` keeps later pushes from deploying until someone resumes. `restore_database` restores the
    database's snapshot too.
    """

    to: str
    service: str | None
    by: str | None
    hold: bool
    reason: str | None
    restore_database: bool


@dataclass(frozen=True)
class Restart:
    """A request to run the live release in new tasks, such as after a secret was rotated."""

    service: str | None
    by: str | None


@dataclass(frozen=True)
class Hold:
    """A request to keep pushes from deploying, until someone resumes or deploys by hand."""

    service: str | None
    by: str | None
    reason: str | None


@dataclass(frozen=True)
class Resume:
    """A request to end a hold and to deploy the newest held push."""

    service: str | None
    by: str | None


@dataclass(frozen=True)
class Recover:
    """Our own request to clean up after an execution that ended midway."""

    service: str
    release: str


type Manual = Deploy | Publish | Rollback | Restart | Hold | Resume | Recover


def to_roll_back(
    release: str, *, hold: bool, reason: str | None, restore_database: bool = False
) -> dict[str, object]:
    """Return the request to roll back to a release; see `Rollback`. Who sends it adds `service`
    and `by`, here as below."""
    request: dict[str, object] = {"action": "rollback", "to": release, "hold": hold}
    request |= {"reason": reason} if reason else {}
    return {**request, **({"restoreDatabase": True} if restore_database else {})}


def to_hold(reason: str | None) -> dict[str, object]:
    """Return the request to hold pushes."""
    return {"action": "hold", **({"reason": reason} if reason else {})}


def to_resume() -> dict[str, object]:
    """Return the request to end a hold."""
    return {"action": "resume"}


def fields_of(document: object, example: str) -> Mapping[str, object]:
    """Return the fields of an execution's input.

    Raises:
        RequestRejected: it is not an object.
    """
    if not isinstance(document, dict):
        raise RequestRejected(
            f"the input must be an object, not {type(document).__name__}; for example {example}"
        )
    return document


def parse(document: object) -> Push | Deploy | Rollback | Restart | Hold | Resume | Recover:
    """Read the input of an execution.

    Args:
        document: the `ECR Image Action` event as EventBridge delivers it
            (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html),
            or a request, an object with `action`.
    Raises:
        RequestRejected: the message names the problem and has a valid example.
    """
    document = fields_of(document, EXAMPLE)
    if "action" in document:
        requested = manual(document, EXAMPLES, "service")
        assert not isinstance(requested, Publish)  # not among the examples
        return requested
    if "detail-type" in document:
        return _push(document)
    raise RequestRejected(
        f"the input is neither an ECR event nor a request; a request looks like {EXAMPLE}"
    )


def push(document: object) -> Push | None:
    """Read an ECR event; return None if the document is not a valid one."""
    try:
        parsed = parse(document)
    except RequestRejected:
        return None
    return parsed if isinstance(parsed, Push) else None


def _push(event: Mapping[str, object]) -> Push:
    arrival = _ARRIVALS.get(str(event["detail-type"]))
    if event.get("source") != "aws.ecr" or arrival is None:
        raise RequestRejected(
            f"an event {event['detail-type']!r} from {event.get('source')!r} deploys nothing; "
            f"the rule must pass {' and '.join(map(repr, _ARRIVALS))} from 'aws.ecr' alone"
        )
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise RequestRejected("the ECR event has no detail object")
    action, result = detail.get("action-type"), detail.get("result")
    if (action, result) != (arrival, "SUCCESS"):
        raise RequestRejected(
            f"an ECR event {action} {result} deploys nothing; only {arrival} SUCCESS"
        )
    # a push by digest has no image-tag, or an empty one
    tag = detail.get("image-tag") or None
    return Push(
        repository=text(detail, "repository-name", "ECR event's detail"),
        digest=_matching(detail, "image-digest", DIGEST, "ECR event's detail"),
        tag=None if tag is None else text(detail, "image-tag", "ECR event's detail"),
        time=time_of(event, "ECR event"),
        reconciled=event.get("reconciled") is True,
    )


def manual(request: Mapping[str, object], examples: Mapping[str, str], of: str) -> Manual:
    """Read a request.

    Args:
        examples: an example request of each known action.
        of: the field that names the service or site.
    Raises:
        RequestRejected: the message names the problem and has a valid example.
    """
    action = request["action"]
    if not isinstance(action, str) or action not in examples:
        raise RequestRejected(
            f"unknown action {str(action)[:80]!r}; expected one of: {', '.join(examples)}"
        )
    example, fields = examples[action], _FIELDS[action] | {of}
    unknown = request.keys() - {"action"} - fields
    if unknown:
        raise RequestRejected(
            f"{action} takes no {', '.join(sorted(map(str, unknown)))[:200]}; it takes"
            f" {', '.join(sorted(fields))}, for example {example}"
        )
    where = f"request ({example})"
    service, by, reason = (
        text(request, name, where) if name in request else None for name in (of, "by", "reason")
    )
    match action:
        case "deploy":
            return Deploy(_image(request, where), service, by, _promotion(request))
        case "publish":
            return Publish(service, by)
        case "rollback":
            hold, restore = (
                _boolean(request, "hold", True),
                _boolean(request, "restoreDatabase", False),
            )
            return Rollback(text(request, "to", where), service, by, hold, reason, restore)
        case "restart":
            return Restart(service, by)
        case "hold":
            return Hold(service, by, reason)
        case "resume":
            return Resume(service, by)
        case _:
            return Recover(text(request, of, where), text(request, "release", where))


_FIELDS = {
    "deploy": {"image", "by", "promotedFrom"},
    "publish": {"by"},
    "rollback": {"to", "by", "hold", "reason", "restoreDatabase"},
    "restart": {"by"},
    "hold": {"by", "reason"},
    "resume": {"by"},
    "recover": {"release"},
}


def _promotion(request: Mapping[str, object]) -> Promotion | None:
    if "promotedFrom" not in request:
        return None
    where, source = "request's promotedFrom", request["promotedFrom"]
    if not isinstance(source, dict):
        raise RequestRejected(f"the {where} must be an object, not {str(source)[:80]!r}")
    unknown = source.keys() - {"service", "release", "version", "stack"}
    if unknown:
        raise RequestRejected(f"the {where} takes no {', '.join(sorted(map(str, unknown)))[:200]}")
    service, release, version = (text(source, n, where) for n in ("service", "release", "version"))
    stack = text(source, "stack", where) if "stack" in source else None
    return Promotion(service, release, version, stack)


def _boolean(request: Mapping[str, object], name: str, default: bool) -> bool:
    value = request.get(name, default)
    if not isinstance(value, bool):
        raise RequestRejected(f"{name} must be true or false, not {str(value)[:80]!r}")
    return value


def _image(request: Mapping[str, object], where: str) -> str:
    image = text(request, "image", where)
    if not DIGEST.fullmatch(image) and not TAG.fullmatch(image):
        raise RequestRejected(
            f"image {image[:140]!r} is neither a tag nor a digest (sha256: and 64 hex digits)"
        )
    return image


def time_of(event: Mapping[str, object], what: str) -> datetime:
    """Return the time of an event.

    Raises:
        RequestRejected: it is missing or invalid.
    """
    try:
        return datetime.fromisoformat(text(event, "time", what)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RequestRejected(f"the {what}'s time {event['time']!r} is not ISO 8601") from None


def ignored(tag: str | None) -> str | None:
    """Return why a push with this tag deploys nothing; None if it may deploy."""
    if tag is None:
        return "the push has no tag (a child of an index, an attestation, or a push by digest)"
    if COSIGN_TAG.fullmatch(tag):
        return f"tag {tag} is a signature, attestation or SBOM"
    return None


def text(source: Mapping[str, object], name: str, where: str) -> str:
    """Return a text field of a document.

    Raises:
        RequestRejected: it is missing, not a text, empty or too long.
    """
    value = source.get(name)
    if not isinstance(value, str) or not value or len(value) > 512:
        raise RequestRejected(f"the {where} needs {name}, a text of 1 to 512 characters")
    return value


def _matching(source: Mapping[str, object], name: str, pattern: re.Pattern[str], where: str) -> str:
    value = text(source, name, where)
    if not pattern.fullmatch(value):
        raise RequestRejected(f"the {where} has {name} {value[:80]!r}, not {pattern.pattern}")
    return value


def subject(document: object) -> tuple[str, str | None]:
    """Return the owner of a rejected input's record, and the digest, as far as they are known.

    A record needs an owner even if the input could not be parsed.
    """
    if isinstance(document, dict):
        detail = document.get("detail")
        stored = detail.get("object") if isinstance(detail, dict) else None
        key = stored.get("key") if isinstance(stored, dict) else None
        if isinstance(key, str) and key.startswith("docs/") and key.count("/") > 1:
            return f"docs:{key.split('/')[1][:256]}", None
        if isinstance(document.get("site"), str) and document["site"]:
            return f"docs:{document['site'][:256]}", None
        if isinstance(detail, dict) and isinstance(detail.get("repository-name"), str):
            digest = detail.get("image-digest")
            return f"repository:{detail['repository-name'][:256]}", (
                digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None
            )
        service = document.get("service")
        if isinstance(service, str) and service:
            return service[:256], None
    return "unknown", None
