"""Decide which release an input requests, and whether it deploys.

Imports decisions only, no AWS.
"""

from datetime import UTC, datetime

from deployer import requests
from deployer.deploy import image as images
from deployer.deploy.history import was_live
from deployer.deploy.image import Document, Image
from deployer.deploy.release import (
    PromotedFrom,
    Recorded,
    Release,
    Trigger,
    release_id,
    variant_of,
    version_of,
)
from deployer.deploy.spec import ServiceSpec
from deployer.requests import Deploy, Promotion, Push

OPERATOR = "operator"
NOT_SHOWN = "ECR does not show the image; once it does, the reconciler starts the deployment"


def runnable(image: Image | None, platform: str | None) -> str | None:
    """Return the digest of the manifest that a task on this platform runs.

    Args:
        platform: None if it is not known yet.
    Returns:
        The matching child of an index, or the image's own digest; None if no task can run it.
    """
    if image is None or images.not_an_image(image):
        return None
    return images.child_for(image.manifest, platform) if image.is_index else image.digest


def unfit(image: Image, config: Document | None, platform: str | None) -> str | None:
    """Return why an image can't run as this service; None if it can.

    Args:
        config: the config of the manifest that `runnable` returns; None if it returns none.
        platform: of the service's tasks; None if it is not known yet.
    """
    reason = images.not_an_image(image)
    if reason:
        return reason
    if config is None:
        return f"the index has no image for {platform or 'any platform'}"
    return images.wrong_platform(config, platform)


def ignored(
    push: Push,
    spec: ServiceSpec,
    image: Image | None,
    config: Document | None,
    platform: str | None,
) -> str | None:
    """Return why a push deploys nothing; None if it deploys."""
    by_tag = ignored_tag(push.tag, spec)
    if by_tag:
        return by_tag
    if image is None:
        return NOT_SHOWN
    return unfit(image, config, platform)


def ignored_tag(tag: str | None, spec: ServiceSpec) -> str | None:
    """Return why a push under a tag deploys nothing, whatever the image is; None if it may."""
    reason = requests.ignored(tag)
    if reason or tag is None:
        return reason
    if not spec.deploys(tag):
        return f"the service's tags {spec.tags} do not name {tag}"
    base = variant_of(tag)
    if base and spec.deploys(base):
        return (
            f"tag {tag} is a variant of {base}, which the service's tags {spec.tags} name too:"
            f" a push of {base} deploys. To deploy the variant, let the tags name it alone"
        )
    return None


def pushed(
    push: Push,
    service: str,
    image: Image | None,
    config: Document | None,
    execution: str,
    now: datetime,
) -> Release:
    """Return the release for a push to a service's repository.

    Its time is the push event's: ECR keeps only the time of an image's first push, not that of a
    later tag.
    """
    labels = images.labels(config or {})
    moment = push.time.astimezone(UTC)
    moved = image is not None and push.tag is not None and push.tag not in image.tags
    release: Release = {
        "service": service,
        "id": release_id(moment, push.digest, push.tag),
        "repository": push.repository,
        "digest": push.digest,
        "image": image.uri if image else "",
        "tag": push.tag,
        "version": version_of(push.tag, labels, images.VERSION_LABEL, push.digest),
        "schema": images.schema(config or {}),
        "pushedAt": moment.isoformat(),
        "trigger": "push",
        "startedBy": "push",
        "startedAt": now.isoformat(),
        "execution": execution,
    }
    if commit := images.commit(config or {}):
        release["builtFrom"] = commit
    return {**release, "tagMoved": True} if moved else release


def names_version(release: Release, config: Document | None) -> bool:
    """Return whether the image's own label, not only its tag, has the release's version."""
    return images.labels(config or {}).get(images.VERSION_LABEL) == release["version"]


def requested(
    request: Deploy,
    spec: ServiceSpec,
    image: Image,
    config: Document | None,
    execution: str,
    now: datetime,
) -> Release:
    """Return the release for a request to deploy: a new one for each request."""
    tag = request.image if request.image != image.digest else next(iter(image.tags), None)
    push = Push(spec.repository, image.digest, tag, image.pushed_at)
    release: Release = {
        **pushed(push, spec.service, image, config, execution, now),
        "id": release_id(now, image.digest, execution),
        "trigger": "deploy",
        "startedBy": request.by or OPERATOR,
    }
    if source := request.promoted_from:
        origin: PromotedFrom = {
            "service": source.service,
            "release": source.release,
            "version": source.version,
        }
        if source.stack:
            origin["stack"] = source.stack
        # its tags here may not name a version; the version that was verified is this one
        release |= {"promotedFrom": origin, "version": source.version}
    return release


def unpromotable(promotion: Promotion, record: Recorded | None, digest: str) -> str | None:
    """Return why a release cannot be promoted; None if its image was live and verified.

    Args:
        record: the release's own; None if there is none.
        digest: of the image that the request deploys.
    """
    what = f"release {promotion.release} of {promotion.service}"
    if record is None:
        return f"there is no {what}"
    if not was_live(record):
        outcome = record.get("outcome", "in flight")
        return f"{what} is {outcome}; only a release that was verified is promoted"
    if record["digest"] != digest:
        return f"{what} is image {record['digest']}, not {digest}"
    return None


def again(
    earlier: Recorded, trigger: Trigger, by: str | None, exact: bool, execution: str, now: datetime
) -> Release:
    """Return the release that deploys an earlier one again: a rollback, or a resumption.

    Args:
        exact: whether it reuses the earlier release's task definition, rather than a new one
            from the current spec.
    """
    release: Release = {
        "service": earlier["service"],
        "id": release_id(now, earlier["digest"], execution),
        "repository": earlier["repository"],
        "digest": earlier["digest"],
        "image": earlier["image"],
        "tag": earlier["tag"],
        "version": earlier["version"],
        "schema": earlier["schema"],
        "pushedAt": earlier["pushedAt"],
        "trigger": trigger,
        "startedBy": by or OPERATOR,
        "startedAt": now.isoformat(),
        "execution": execution,
        "to": earlier["id"],
        "taskDefinition": earlier.get("taskDefinition") if exact else None,
    }
    if "builtFrom" in earlier:
        release["builtFrom"] = earlier["builtFrom"]
    return release


def no_op(
    spec: ServiceSpec, trigger: Trigger, by: str | None, execution: str, now: datetime
) -> Release:
    """Return the record of a request that deploys nothing, such as a hold."""
    return {
        "service": spec.service,
        "id": release_id(now, trigger, execution),
        "repository": spec.repository,
        "digest": "",
        "image": "",
        "tag": None,
        "version": "",
        "schema": None,
        "pushedAt": now.isoformat(),
        "trigger": trigger,
        "startedBy": by or OPERATOR,
        "startedAt": now.isoformat(),
        "execution": execution,
    }
