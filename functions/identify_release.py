"""Identify the release: which image, for which service, and whether it deploys."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import identification, request
from deployer.aws import ecr, releases, ssm
from deployer.errors import ImageMissing
from deployer.image import Document, Image
from deployer.release import Release
from deployer.request import Deploy, Push
from deployer.spec import ServiceSpec, for_repository, for_service

logger = Logger()


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """`spec` goes with DEPLOY; IGNORE and DUPLICATE say in `reason` why nothing is deployed."""

    decision: Literal["DEPLOY", "IGNORE", "DUPLICATE"]
    reason: str
    release: Release
    spec: NotRequired[Mapping[str, Any]]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    asked = request.parse(event["input"])
    execution, now = event["execution"], datetime.fromisoformat(event["startedAt"])
    if isinstance(asked, Push):
        identified = _pushed(asked, execution, now)
    else:
        identified = _ordered(asked, execution, now)
    logger.info(
        "release identified",
        release=identified["release"],
        decision=identified["decision"],
        reason=identified["reason"],
    )
    return identified


def _pushed(push: Push, execution: str, now: datetime) -> Identified:
    spec, document = for_repository(ssm.service_specs(), push.repository, push.tag)
    found = ecr.find(push.repository, push.digest)
    config = _config(found, spec)
    release = identification.pushed(push, spec, found, config, execution, now)
    reason = identification.ignored(push, spec, found, config)
    if reason:
        releases.ignore_release(release, reason)
        return {"decision": "IGNORE", "reason": reason, "release": release}
    return _open(release, document)


def _ordered(order: Deploy, execution: str, now: datetime) -> Identified:
    spec, document = for_service(ssm.service_specs(), order.service)
    found = ecr.find(spec.repository, order.image)
    if found is None:
        raise ImageMissing(f"{order.image} is not in repository {spec.repository}")
    config = _config(found, spec)
    reason = identification.unfit(found, config, spec)
    if reason:
        raise ImageMissing(f"{order.image} of {spec.repository} can't be deployed: {reason}")
    release = identification.ordered(order, spec, found, config, execution, now)
    return _open(release, document)


def _config(found: Image | None, spec: ServiceSpec) -> Document | None:
    digest = identification.runnable(found, spec.platform)
    return ecr.config(spec.repository, digest) if digest else None


def _open(release: Release, document: Mapping[str, Any]) -> Identified:
    already = releases.open_release(release)
    if already:
        reason = f"this push is release {already['id']} of execution {already['execution']}"
        return {"decision": "DUPLICATE", "reason": reason, "release": already}
    return {"decision": "DEPLOY", "reason": "", "release": release, "spec": document}
