"""Fetch the addresses of the release's own tasks, in each of its services."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ec2, ecs
from deployer.deploy import addresses, waves
from deployer.deploy.addresses import Addresses
from deployer.deploy.release import Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, from_document
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
    spec, release = from_document(event["spec"], "the service spec"), event["release"]
    hosts = _addresses(spec, event["rollout"])
    if spec.further:
        rollouts = waves.recorded(spec, releases.find(release["service"], release["id"]))
        hosts["deadline"] = max(one["deadline"] for one in rollouts.values())
        hosts["services"] = {
            part.service: _addresses(part, rollouts[part.service]) for part in spec.further
        }
    releases.note(event["release"], steadyAt=datetime.now(UTC).isoformat())
    logger.info("addresses fetched", addresses=hosts)
    return hosts


def _addresses(spec: ServiceSpec, rollout: Rollout) -> Addresses:
    """Return the addresses of the tasks of one service."""
    tasks = ecs.running_tasks(spec.cluster, spec.service, rollout["id"])
    inside = bool(ec2.verification_network()[0])
    public = {} if inside else ec2.public_addresses(addresses.interfaces(tasks))
    return addresses.of(spec, tasks, public, rollout.get("port"), inside=inside)
