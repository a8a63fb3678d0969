"""Identify the release: which image, for which service, and whether it deploys."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import database, history, identification, request
from deployer.aws import ecr, ecs, events, releases, ssm, turns
from deployer.diagnosis import Failure
from deployer.errors import ImageMissing, RequestRejected
from deployer.image import Document, Image
from deployer.release import Previous, Recorded, Release
from deployer.request import Deploy, Hold, Push, Recover, Resume, Rollback
from deployer.rollout import Rollout
from deployer.spec import ServiceSpec, for_repository, for_service

logger = Logger()

NOBODY = "nobody said why"


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """What is to be done: DEPLOY a release, RECOVER from one whose execution ended, or NOTHING.

    All but `decision`, `reason` and `release` is for what comes after: what an execution that
    ended had found out already, for a recovery; else nothing yet.
    """

    decision: Literal["DEPLOY", "RECOVER", "NOTHING"]
    reason: str
    release: Release
    spec: Mapping[str, Any] | None
    taskDefinition: str | None
    previous: Previous | None
    wasRunning: bool
    rollout: Rollout | None
    failure: Failure | None


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    asked = request.parse(event["input"])
    execution, now = event["execution"], datetime.fromisoformat(event["startedAt"])
    match asked:
        case Push():
            identified = _pushed(asked, execution, now)
        case Deploy():
            identified = _ordered(asked, execution, now)
        case Rollback():
            identified = _rolled_back(asked, execution, now)
        case Hold():
            identified = _held(asked, execution, now)
        case Resume():
            identified = _resumed(asked, execution, now)
        case Recover():
            identified = _recovered(asked, execution)
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
        return _nothing(release, reason)
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
    opened = _open(identification.ordered(order, spec, found, config, execution, now), document)
    turns.release_hold(spec.service)
    return opened


def _rolled_back(order: Rollback, execution: str, now: datetime) -> Identified:
    spec, document = for_service(ssm.service_specs(), order.service)
    past = [entry for entry in releases.history(spec.service) if entry["execution"] != execution]
    target = history.target(past, order.to)
    restore = _restore(order, spec, past, target)
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
    opened = _open({**release, "restore": restore}, document)
    if order.hold:
        reason = order.reason or f"rolled back to {target['version']}"
        _hold(spec, order.by, reason, now)
    return opened


def _restore(
    order: Rollback, spec: ServiceSpec, past: list[Recorded], target: Recorded
) -> str | None:
    """The snapshot to restore, if that is asked for; a refusal if it would be needed."""
    problem = history.unknown_schema(past, target)
    if order.restore_database:
        if spec.database is None or spec.database.secret is None:
            raise RequestRejected('the service spec names no "database" with its "secret"')
        return database.to_restore(past, target)["snapshot"]
    if problem is None:
        return None
    try:
        since = database.to_restore(past, target)
    except RequestRejected as error:
        raise RequestRejected(f"{problem}. {error}") from None
    raise RequestRejected(
        f"{problem}. "
        + database.how_to_restore(spec.service, target["id"], since["snapshot"], since["version"])
    )


def _held(order: Hold, execution: str, now: datetime) -> Identified:
    spec, _ = for_service(ssm.service_specs(), order.service)
    _hold(spec, order.by, order.reason or NOBODY, now)
    return _noted(spec, order.by, f"held: {order.reason or NOBODY}", execution, now)


def _resumed(order: Resume, execution: str, now: datetime) -> Identified:
    spec, document = for_service(ssm.service_specs(), order.service)
    hold = turns.line(spec.service).hold
    begun = releases.of_execution(execution)
    if hold is None and begun is None:
        raise RequestRejected(f"service {spec.service} is not held")
    if hold is None and begun and begun["trigger"] == "resume":
        return _open(begun, document)
    held = history.newest_held(releases.history(spec.service), hold["at"] if hold else "")
    if held is None:
        turns.release_hold(spec.service)
        return _noted(spec, order.by, "resumed; no push was held back", execution, now)
    opened = _open(identification.again(held, "resume", order.by, False, execution, now), document)
    turns.release_hold(spec.service)
    return opened


def _recovered(order: Recover, execution: str) -> Identified:
    record = releases.find(order.service, order.release)
    if record is None:
        raise RequestRejected(f"service {order.service} has no release {order.release}")
    releases.carry_out(execution, record)
    if "outcome" in record:
        return _nothing(record, f"release {record['id']} has its outcome: {record['outcome']}")
    releases.note(record, recoveredBy=execution)
    _, document = for_service(ssm.service_specs(), order.service)
    cause = f"the execution {record['execution']} ended before the release had an outcome"
    return {
        **_identified("RECOVER", cause, record, document),
        "taskDefinition": record.get("taskDefinition"),
        "previous": record.get("previous"),
        "wasRunning": record.get("wasRunning", True),
        "rollout": record.get("rollout"),
        "failure": {"Error": "ExecutionEnded", "Cause": cause},
    }


def _config(found: Image | None, spec: ServiceSpec) -> Document | None:
    digest = identification.runnable(found, spec.platform)
    return ecr.config(spec.repository, digest) if digest else None


def _open(release: Release, document: Mapping[str, Any]) -> Identified:
    already = releases.open_release(release)
    if already:
        reason = f"this push is release {already['id']} of execution {already['execution']}"
        return _nothing(already, reason)
    return _identified("DEPLOY", "", release, document)


def _hold(spec: ServiceSpec, by: str | None, reason: str, now: datetime) -> None:
    note = {"by": by or identification.OPERATOR, "at": now.isoformat(), "reason": reason}
    turns.hold(spec.service, {"by": note["by"], "at": note["at"], "reason": note["reason"]})


def _noted(
    spec: ServiceSpec, by: str | None, reason: str, execution: str, now: datetime
) -> Identified:
    release = identification.noted(spec, "hold", by, execution, now)
    releases.open_release(release)
    releases.close_release(release, "SUCCEEDED", {"endedAt": now.isoformat(), "reason": reason})
    events.announce(release, "SUCCEEDED", reason)
    return _nothing(release, reason)


def _nothing(release: Release | Recorded, reason: str) -> Identified:
    return _identified("NOTHING", reason, release, None)


def _identified(
    decision: Literal["DEPLOY", "RECOVER", "NOTHING"],
    reason: str,
    release: Release,
    spec: Mapping[str, Any] | None,
) -> Identified:
    return {
        "decision": decision,
        "reason": reason,
        "release": release,
        "spec": spec,
        "taskDefinition": None,
        "previous": None,
        "wasRunning": False,
        "rollout": None,
        "failure": None,
    }
