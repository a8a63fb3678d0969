"""Fetch the addresses of the release's own tasks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ec2, ecs
from deployer.deploy import addresses
from deployer.deploy.addresses import Addresses
from deployer.deploy.release import Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import from_document
from deployer.log import Logger
from deployer.store import releases

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    rollout: Rollout
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Addresses:
    spec = from_document(event["spec"], "the service spec")
    tasks = ecs.running_tasks(spec.cluster, spec.service, event["rollout"]["id"])
    inside = bool(ec2.verification_network()[0])
    public = {} if inside else ec2.public_addresses(addresses.interfaces(tasks))
    hosts = addresses.of(spec, tasks, public, event["rollout"].get("port"), inside=inside)
    releases.note(event["release"], steadyAt=datetime.now(UTC).isoformat())
    logger.info("addresses fetched", addresses=hosts)
    return hosts
