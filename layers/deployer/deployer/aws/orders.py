"""What an order by hand comes to, by the images, task definitions and records that there are now.

The state machine that carries it out asks, and so does a dry run.
"""

from datetime import datetime

from deployer import database, history, identification, rollout
from deployer.aws import ecr, ecs
from deployer.errors import ImageMissing, RequestRejected
from deployer.history import History
from deployer.image import Document, Image
from deployer.release import Release
from deployer.request import Deploy, Rollback
from deployer.spec import ServiceSpec


def config(found: Image | None, spec: ServiceSpec) -> Document | None:
    """The config of what a task of the service runs of an image; None if that is nothing."""
    digest = identification.runnable(found, spec.platform)
    return ecr.config(spec.repository, digest) if digest else None


def to_deploy(order: Deploy, spec: ServiceSpec, execution: str, now: datetime) -> Release:
    """The release that an order to deploy is.

    Raises:
        ImageMissing: there is no such image, or it can't run as the service.
    """
    found = ecr.find(spec.repository, order.image)
    if found is None:
        raise ImageMissing(f"{order.image} is not in repository {spec.repository}")
    known = config(found, spec)
    reason = identification.unfit(found, known, spec)
    if reason:
        raise ImageMissing(f"{order.image} of {spec.repository} can't be deployed: {reason}")
    return identification.ordered(order, spec, found, known, execution, now)


def to_go_back(
    order: Rollback, spec: ServiceSpec, past: History, execution: str, now: datetime
) -> Release:
    """The release that puts the one in place to which an order goes back.

    Raises:
        ImageMissing, RequestRejected: it can't be gone back to.
    """
    target = history.target(past, order.to, _runs(spec) if order.to == "previous" else None)
    restore = database.restoration(spec, past, target, asked=order.restore_database)
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
    release = identification.again(target, "rollback", order.by, exact, execution, now)
    return {**release, "restore": restore}


def _runs(spec: ServiceSpec) -> str | None:
    return rollout.task_definition(ecs.service(spec.cluster, spec.service))
