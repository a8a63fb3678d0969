"""Which release an input asks for, and whether it deploys."""

from datetime import UTC, datetime

from deployer import requests
from deployer.deploy import image
from deployer.deploy.image import Document, Image
from deployer.deploy.release import Recorded, Release, Trigger, release_id, variant_of, version_of
from deployer.deploy.spec import ServiceSpec
from deployer.requests import Deploy, Push

OPERATOR = "operator"


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
    by_tag = ignored_tag(push.tag, spec)
    if by_tag:
        return by_tag
    if found is None:
        return "ECR does not show the image; once it does, the reconciler starts the deployment"
    return unfit(found, config, spec)


def ignored_tag(tag: str | None, spec: ServiceSpec) -> str | None:
    """Return why a push under a tag deploys nothing, whatever the image is; None if it may."""
    by_itself = requests.ignored(tag)
    if by_itself or tag is None:
        return by_itself
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
    found: Image | None,
    config: Document | None,
    execution: str,
    now: datetime,
) -> Release:
    """Return the release that a push is of a service: a tag on an image, as of when the tag was put
    there.

    ECR says of an image only when it was pushed first, whatever tags it got since.
    """
    labels = image.labels(config or {})
    moment = push.time.astimezone(UTC)
    return {
        "service": service,
        "id": release_id(moment, push.digest, push.tag),
        "repository": push.repository,
        "digest": push.digest,
        "image": found.uri if found else "",
        "tag": push.tag,
        "version": version_of(push.tag, labels, image.VERSION_LABEL, push.digest),
        "schema": image.schema(config or {}),
        "pushedAt": moment.isoformat(),
        "trigger": "push",
        "startedBy": "push",
        "startedAt": now.isoformat(),
        "execution": execution,
    }


def names_version(release: Release, config: Document | None) -> bool:
    """Return whether the image itself says the release's version, rather than its tag alone."""
    return image.labels(config or {}).get(image.VERSION_LABEL) == release["version"]


def requested(
    request: Deploy,
    spec: ServiceSpec,
    found: Image,
    config: Document | None,
    execution: str,
    now: datetime,
) -> Release:
    """The release that a request to deploy is: a new one each time it is given."""
    tag = request.image if request.image != found.digest else next(iter(found.tags), None)
    push = Push(spec.repository, found.digest, tag, found.pushed_at)
    return {
        **pushed(push, spec.service, found, config, execution, now),
        "id": release_id(now, found.digest, execution),
        "trigger": "deploy",
        "startedBy": request.by or OPERATOR,
    }


def again(
    earlier: Recorded, trigger: Trigger, by: str | None, exact: bool, execution: str, now: datetime
) -> Release:
    """The release that puts an earlier one (back) in place: a rollback, or a resumption.

    Args:
        exact: whether it runs the very task definition of the earlier one, rather than a new
            one from the spec as it is now.
    """
    return {
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


def noted(
    spec: ServiceSpec, trigger: Trigger, by: str | None, execution: str, now: datetime
) -> Release:
    """The record of a request that deploys nothing, such as a hold."""
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
