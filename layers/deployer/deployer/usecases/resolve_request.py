"""Resolve a manual request into a release, from the current images, task definitions and records.

Used by the state machine that carries out the request, and by a dry run.
"""

from datetime import datetime

from botocore.exceptions import ClientError

from deployer.aws import ecr, ecs, refused
from deployer.deploy import database, history, identification, rollout
from deployer.deploy.history import History
from deployer.deploy.image import Document, Image
from deployer.deploy.release import Recorded, Release
from deployer.deploy.spec import ServiceSpec
from deployer.errors import ImageMissing, RequestRejected
from deployer.requests import Deploy, Restart, Rollback
from deployer.usecases import read_documents


def config(image: Image | None, spec: ServiceSpec, platform: str | None) -> Document | None:
    """Return the config of the image that a task would run, or None if a task cannot run it."""
    digest = identification.runnable(image, platform)
    return ecr.config(spec.repository, digest) if digest else None


def to_deploy(request: Deploy, spec: ServiceSpec, execution: str, now: datetime) -> Release:
    """Return the release for a request to deploy.

    Raises:
        ImageMissing: the image does not exist, or the service cannot run it.
    """
    image = ecr.find(spec.repository, request.image)
    if image is None:
        raise ImageMissing(f"{request.image} is not in repository {spec.repository}")
    platform = read_documents.platform(spec)
    image_config = config(image, spec, platform)
    reason = identification.unfit(image, image_config, platform)
    if reason:
        raise ImageMissing(f"{request.image} of {spec.repository} cannot be deployed: {reason}")
    return identification.requested(request, spec, image, image_config, execution, now)


def to_roll_back(
    request: Rollback, spec: ServiceSpec, records: History, execution: str, now: datetime
) -> Release:
    """Return the release for a request to roll back.

    Raises:
        ImageMissing, RequestRejected: no rollback to the target is possible.
    """
    running = _running_revision(spec) if request.to == "previous" else None
    target = history.target(records, request.to, running)
    restore = database.restoration(spec, records, target, requested=request.restore_database)
    if ecr.find(spec.repository, target["digest"]) is None:
        raise ImageMissing(
            f"the image of {target['version']}, {target['digest']}, is gone from ECR"
        )
    exact = spec.rollback == "exact"
    for revision in _revisions(spec, target) if exact else ():
        if ecs.revision(revision or "") is None:
            raise RequestRejected(
                f"{revision} of {target['version']} is no longer ACTIVE; set"
                ' "rollback": "render" in the service spec to run its image with the current task'
                " definition"
            )
    release = identification.again(target, "rollback", request.by, exact, execution, now)
    return {**release, "restore": restore}


def _revisions(spec: ServiceSpec, target: Recorded) -> list[str | None]:
    """Return the task definitions of a release, of each service that the spec still has."""
    parts = target.get("services", {})
    further = [parts[part.service] for part in spec.further if part.service in parts]
    return [target.get("taskDefinition"), *(part.get("taskDefinition") for part in further)]


def to_restart(request: Restart, records: History, execution: str, now: datetime) -> Release:
    """Return the release for a request to restart: the live one, in new tasks.

    Raises:
        RequestRejected: no release is live.
    """
    live = history.live(records)
    if live is None or ecs.revision(live.get("taskDefinition") or "") is None:
        raise RequestRejected("no release is live whose task definition could be restarted")
    return identification.again(live, "restart", request.by, True, execution, now)


def _running_revision(spec: ServiceSpec) -> str | None:
    try:
        return rollout.task_definition(ecs.service(spec.cluster, spec.service))
    except ClientError as error:
        if refused(error):
            raise RequestRejected(
                f"no permission to look at service {spec.service} in cluster {spec.cluster}, to"
                " see what runs: correct cluster in the service spec, or name the release"
            ) from error
        raise
