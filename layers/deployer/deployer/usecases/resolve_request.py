"""Resolve a manual request into a release, from the current images, task definitions and records.

The state machine that carries it out does so, and so does a dry run.
"""

from datetime import datetime

from deployer.aws import ecr, ecs
from deployer.deploy import database, history, identification, rollout
from deployer.deploy.history import History
from deployer.deploy.image import Document, Image
from deployer.deploy.release import Release
from deployer.deploy.spec import ServiceSpec
from deployer.errors import ImageMissing, RequestRejected
from deployer.requests import Deploy, Rollback


def config(found: Image | None, spec: ServiceSpec) -> Document | None:
    """The config of what a task of the service runs of an image; None if that is nothing."""
    digest = identification.runnable(found, spec.platform)
    return ecr.config(spec.repository, digest) if digest else None


def to_deploy(request: Deploy, spec: ServiceSpec, execution: str, now: datetime) -> Release:
    """The release that a request to deploy is.

    Raises:
        ImageMissing: there is no such image, or it can't run as the service.
    """
    found = ecr.find(spec.repository, request.image)
    if found is None:
        raise ImageMissing(f"{request.image} is not in repository {spec.repository}")
    known = config(found, spec)
    reason = identification.unfit(found, known, spec)
    if reason:
        raise ImageMissing(f"{request.image} of {spec.repository} can't be deployed: {reason}")
    return identification.requested(request, spec, found, known, execution, now)


def to_roll_back(
    request: Rollback, spec: ServiceSpec, past: History, execution: str, now: datetime
) -> Release:
    """The release that puts the one in place to which a request goes back.

    Raises:
        ImageMissing, RequestRejected: it can't be gone back to.
    """
    target = history.target(past, request.to, _runs(spec) if request.to == "previous" else None)
    restore = database.restoration(spec, past, target, asked=request.restore_database)
    if ecr.find(spec.repository, target["digest"]) is None:
        raise ImageMissing(
            f"the image of {target['version']}, {target['digest']}, is gone from ECR"
        )
    exact = spec.rollback == "exact"
    if exact and ecs.revision(target.get("taskDefinition") or "") is None:
        raise RequestRejected(
            f"{target.get('taskDefinition')} of {target['version']} is not ACTIVE any more; set"
            ' "rollback": "render" in the service spec to run its image by the spec as it is now'
        )
    release = identification.again(target, "rollback", request.by, exact, execution, now)
    return {**release, "restore": restore}


def _runs(spec: ServiceSpec) -> str | None:
    return rollout.task_definition(ecs.service(spec.cluster, spec.service))
