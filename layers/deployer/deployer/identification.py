"""Which release an input asks for, and whether it deploys."""

from datetime import datetime

from deployer import image, request
from deployer.image import Document, Image
from deployer.release import Identity, Release, release_id, version_of
from deployer.request import Deploy, Push
from deployer.spec import ServiceSpec


def runnable(found: Image | None, platform: str) -> str | None:
    """The digest of the manifest that a task on this platform runs: an index's child, or the
    image itself; None if there is none."""
    if found is None or image.not_an_image(found):
        return None
    return image.child_for(found.manifest, platform) if found.is_index else found.digest


def unfit(found: Image, config: Document | None, spec: ServiceSpec) -> str | None:
    """Why an image can't run as this service; None if it can.

    Args:
        config: the config of what `runnable` names; None if it names nothing.
    """
    reason = image.not_an_image(found)
    if reason:
        return reason
    if config is None:
        return f"the index has no image for {spec.platform}"
    return image.wrong_platform(config, spec.platform)


def ignored(
    push: Push, spec: ServiceSpec, found: Image | None, config: Document | None
) -> str | None:
    """Why a push deploys nothing; None if it deploys."""
    by_tag = request.ignored(push)
    if by_tag:
        return by_tag
    if push.tag is None or not spec.deploys(push.tag):
        return f"the service's tags {spec.tags!r} do not name {push.tag}"
    if found is None:
        return "the image is gone again"
    return unfit(found, config, spec)


def pushed(
    push: Push,
    spec: ServiceSpec,
    found: Image | None,
    config: Document | None,
    execution: str,
    now: datetime,
) -> Release:
    """The release that a push is. One push is one release, whatever event tells of it."""
    moment = found.pushed_at if found else push.time
    return {
        **_common(spec, push.digest, push.tag, found, config),
        "id": release_id(moment, push.digest),
        "pushedAt": moment.isoformat(),
        "trigger": "push",
        "startedBy": "push",
        "startedAt": now.isoformat(),
        "execution": execution,
    }


def ordered(
    order: Deploy,
    spec: ServiceSpec,
    found: Image,
    config: Document | None,
    execution: str,
    now: datetime,
) -> Release:
    """The release that an order by hand is: a new one each time it is given."""
    tag = order.image if order.image != found.digest else next(iter(found.tags), None)
    return {
        **_common(spec, found.digest, tag, found, config),
        "id": release_id(now, found.digest, execution),
        "pushedAt": found.pushed_at.isoformat(),
        "trigger": "deploy",
        "startedBy": order.by or "operator",
        "startedAt": now.isoformat(),
        "execution": execution,
    }


def _common(
    spec: ServiceSpec, digest: str, tag: str | None, found: Image | None, config: Document | None
) -> Identity:
    labels = image.labels(config or {})
    return {
        "service": spec.service,
        "repository": spec.repository,
        "digest": digest,
        "image": found.uri if found else "",
        "tag": tag,
        "version": version_of(tag, labels, image.VERSION_LABEL, digest),
        "schema": image.schema(config or {}),
    }
