"""Poll the health of a rollout, and sleep on the task token until ECS's events or the clock wake.

The token is written down before looking: an event that comes after the look then finds it, and
one that came before is seen by the look. Nothing falls between.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs, elb, sfn
from deployer.aws.log import Logger
from deployer.deploy import addresses, rollout
from deployer.deploy.rollout import Rollout, Verdict
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.store import releases

logger = Logger()

# An event may be ahead of what DescribeServices shows: then look again, briefly.
_LOOKS = 8
_BETWEEN_LOOKS = 0.5  # seconds


class Request(TypedDict):
    """`told` says whether ECS has said that the rollout ended, by the event that woke us."""

    spec: Mapping[str, Any]
    rollout: Rollout
    token: str
    told: bool
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Verdict:
    spec = from_document(event["spec"], "the service spec")
    releases.remember_token(event["rollout"]["id"], event["token"])
    verdict = _look(spec, event["rollout"])
    for _ in range(_LOOKS if event["told"] else 0):
        if verdict["health"] != "ROLLING":
            break
        time.sleep(_BETWEEN_LOOKS)
        verdict = _look(spec, event["rollout"])
    if verdict["health"] != "ROLLING":
        sfn.wake(event["token"], verdict)
    logger.info("rollout polled", verdict=verdict)
    return verdict


def _look(spec: ServiceSpec, started: Rollout) -> Verdict:
    service = ecs.service(spec.cluster, spec.service)
    return rollout.judge(
        service,
        started,
        ecs.stopped_tasks(spec.cluster, spec.service, started["id"]) if service else [],
        _unready(spec, started) if service else [],
        spec.failure_threshold,
        datetime.now(UTC),
    )


def _unready(spec: ServiceSpec, started: Rollout) -> list[str]:
    """The rollout's own tasks that the load balancer does not call healthy, in words."""
    if not spec.load_balancer:
        return []
    healthy = elb.healthy_addresses(spec.load_balancer.target_group)
    tasks = ecs.running_tasks(spec.cluster, spec.service, started["id"])
    return [
        f"task {task['taskArn'].rsplit('/', 1)[-1]} is not healthy in the target group"
        for task in tasks
        if addresses.private_address(task) not in healthy
    ]
