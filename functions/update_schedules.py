"""Update the service's schedules to the release; or restore them after it has failed.

What they were is recorded before the first change, so any later try and any other execution can
restore it. Only schedules that differ are changed, so a repeated try changes nothing again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs, scheduler
from deployer.deploy import schedules
from deployer.deploy.release import Previous, Release
from deployer.deploy.rollback import Rollback
from deployer.deploy.rollout import Rollout
from deployer.deploy.schedules import Schedules
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.log import Logger
from deployer.store import locks, releases
from deployer.usecases import plan_schedules

logger = Logger()


class Request(TypedDict):
    """`rollback` is None for a release that was verified, else the reaction to its failure."""

    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str | None
    previous: Previous | None
    rollout: Rollout | None
    rollback: Rollback | None
    execution: str


class Updated(TypedDict):
    changed: list[str]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Updated:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        if event["rollback"]:
            changed = _restore(spec, event)
        else:
            changed = [] if _restored(event["release"]) else _follow(spec, event)
    logger.info("schedules updated", changed=changed, rollback=bool(event["rollback"]))
    return {"changed": changed}


def _follow(spec: ServiceSpec, event: Request) -> list[str]:
    """Let the schedules run the release."""
    assert event["taskDefinition"]
    current = scheduler.schedules(schedules.group(spec.service))
    wanted = plan_schedules.planned(spec, event["taskDefinition"], current)
    releases.note_schedules(event["release"], schedules.note(current, wanted))
    return _change(spec, current, wanted)


def _restored(release: Release) -> bool:
    """Return whether the release has failed since this try began: Lambda may run one twice."""
    record = releases.find(release["service"], release["id"])
    return bool(record and record.get("schedulesRestored"))


def _restore(spec: ServiceSpec, event: Request) -> list[str]:
    """Restore what the schedules were; or let them follow a release that failed and stays."""
    assert event["rollback"]
    releases.note(event["release"], schedulesRestored=True)
    revision, previous = event["taskDefinition"], event["previous"]
    live_service = None
    if "failure" in event["rollback"]:  # what it has done is unknown
        live_service = ecs.service_after(spec.cluster, spec.service, revision, event["rollout"])
    before = previous["taskDefinition"] if previous else None
    if schedules.stays(event["rollback"], live_service, revision, before):
        return _follow(spec, event)
    record = releases.find(spec.service, event["release"]["id"])
    note = record.get("schedules") if record else None
    if note is None:
        return []  # none was changed
    current = scheduler.schedules(schedules.group(spec.service))
    return _change(spec, current, schedules.before(note, current, datetime.now(UTC)))


def _change(spec: ServiceSpec, current: Schedules, wanted: Schedules) -> list[str]:
    changes = schedules.changes(current, wanted)
    for change in changes:
        scheduler.change(schedules.group(spec.service), change)
    return [f"{change.name}: {change.what}" for change in changes]
