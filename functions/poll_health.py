"""Poll the health of a rollout. While it is rolling, the execution sleeps on the task token.

The function stores the token before it reads the service. An event after the read finds the token;
the read shows the change of an event before it. So no event is lost in between.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs, elb, sfn
from deployer.deploy import addresses, documents, rollback, rollout, waves
from deployer.deploy.release import Release
from deployer.deploy.rollback import Rollback
from deployer.deploy.rollout import Rollout, Service, Verdict
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.deploy.stop_reasons import Task
from deployer.log import Logger
from deployer.store import releases

logger = Logger()

# An event may be ahead of DescribeServices: read again for a few seconds.
_READS = 8
_READ_PAUSE = 0.5  # seconds


class Request(TypedDict):
    """`ended`: whether the event that woke the execution said that the rollout has ended.

    `rollout` is None while the leading service is not updated; the record of `release` has the
    rollouts of further ones. To poll the previous release, `rollback` has them all. An execution
    that began before an upgrade of the deployer has neither.
    """

    spec: Mapping[str, Any]
    rollout: NotRequired[Rollout | None]
    release: NotRequired[Release]
    rollback: NotRequired[Rollback | None]
    token: str
    ended: bool
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Verdict:
    spec = from_document(event["spec"], "the service spec")
    rollouts = _rollouts(spec, event)
    for one in rollouts.values():
        releases.remember_token(one["id"], event["token"])
    verdict = _judge_all(spec, rollouts, event)
    for _ in range(_READS if event["ended"] else 0):
        if verdict["health"] != "ROLLING":
            break
        time.sleep(_READ_PAUSE)
        verdict = _judge_all(spec, rollouts, event)
    if verdict["health"] != "ROLLING":
        sfn.wake(event["token"], verdict)
    logger.info("rollout polled", verdict=verdict)
    return verdict


def _rollouts(spec: ServiceSpec, event: Request) -> Mapping[str, Rollout]:
    """Return the rollouts to poll, by their services."""
    if reaction := event.get("rollback"):
        return rollback.rollouts(spec.service, reaction)
    if spec.further and "release" in event:
        release = event["release"]
        return waves.recorded(spec, releases.find(release["service"], release["id"]))
    own = event.get("rollout")
    return {spec.service: own} if own else {}


def _judge_all(spec: ServiceSpec, rollouts: Mapping[str, Rollout], event: Request) -> Verdict:
    verdicts = {part.service: _judge(part, own) for part, own in waves.polled(spec, rollouts)}
    if not spec.further:
        return verdicts[spec.service]
    back = bool(event.get("rollback"))
    more = not back and len(rollouts) < len(spec.parts)
    return waves.together(verdicts, more=more, to_the_end=back)


def _judge(spec: ServiceSpec, deployment: Rollout) -> Verdict:
    service = ecs.service(spec.cluster, spec.service)
    running: list[Task] = []
    completed = service is not None and rollout.completed(service, deployment)
    if service and completed and (documents.target_groups(service) or deployment.get("bake")):
        running = ecs.running_tasks(spec.cluster, spec.service, deployment["id"])
    return rollout.judge(
        service,
        deployment,
        ecs.stopped_tasks(spec.cluster, spec.service, deployment["id"]) if service else [],
        _unready(service, running) if service and completed else [],
        spec.failure_threshold,
        datetime.now(UTC),
        running,
        alarms.raised(deployment.get("alarms", ())),
    )


def _unready(service: Service, tasks: Sequence[Task]) -> list[str]:
    """Return a message for each of the rollout's tasks that a load balancer finds unhealthy."""
    groups = documents.target_groups(service)
    # targets of type instance have no addresses of their own; ECS checks them
    if not groups or documents.vpc(service) is None:
        return []
    healthy = {group: elb.healthy_addresses(group) for group in groups}
    return [
        f"task {task['taskArn'].rsplit('/', 1)[-1]} is not healthy in the target group"
        f" {group.split('/')[-2]}"
        for task in tasks
        for group in groups
        if addresses.private_address(task) not in healthy[group]
    ]
