"""Identify the release: which image, for which service, and whether it deploys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import requests
from deployer.aws import ecr, events, ssm
from deployer.aws.log import Logger
from deployer.deploy import diagnosis, history, identification
from deployer.deploy.diagnosis import Failure
from deployer.deploy.image import Image
from deployer.deploy.release import Previous, Recorded, Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, Unread, ambiguous, for_push, for_service
from deployer.errors import RequestRejected, SpecInvalid
from deployer.requests import Deploy, Hold, Push, Recover, Resume, Rollback
from deployer.store import locks, releases
from deployer.usecases import resolve_request

logger = Logger()


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
    asked = requests.parse(event["input"])
    execution, now = event["execution"], datetime.fromisoformat(event["startedAt"])
    match asked:
        case Push():
            identified = _pushed(asked, execution, now)
        case Deploy():
            identified = _requested(asked, execution, now)
        case Rollback():
            identified = _rolled_back(asked, execution, now)
        case Hold():
            identified = _held(asked, execution, now)
        case Resume():
            identified = _resumed(asked, execution, now)
        case Recover():
            identified = _recovered(asked, execution, now)
    logger.info(
        "release identified",
        release=identified["release"],
        decision=identified["decision"],
        reason=identified["reason"],
    )
    return identified


def _pushed(push: Push, execution: str, now: datetime) -> Identified:
    fitting, unread = for_push(ssm.service_specs(), push.repository, push.tag)
    if not fitting and (reason := requests.ignored(push.tag)):
        release = identification.pushed(push, unread[0].service, None, None, execution, now)
        releases.ignore_push(release, reason, push.until)
        return _nothing(release, reason)
    for service in unread:
        _put_off(push, service, execution, now)
    if not fitting:
        raise SpecInvalid(unread[0].why)
    found = ecr.find_pushed(push.repository, push.digest, push.time)
    if len(fitting) > 1 and push.tag:
        services = [spec for spec, _ in fitting]
        refusal = ambiguous(push.repository, push.tag, [spec.service for spec in services])
        _record_refusal(push, services, found, refusal, execution, now)
        raise RequestRejected(refusal)
    spec, document = fitting[0]
    config = resolve_request.config(found, spec)
    release = identification.pushed(push, spec.service, found, config, execution, now)
    reason = identification.ignored(push, spec, found, config)
    if reason:
        missing = found is None and not identification.ignored_tag(push.tag, spec)
        releases.ignore_push(release, reason, None if missing else push.until)
        return _nothing(release, reason)
    if spec.verify and spec.verify.version and not identification.names_version(release, config):
        # whatever its new tag reads as, it answers as it did when it was live
        known = history.verified_version(releases.history(spec.service), push.digest)
        release["version"] = known or release["version"]
    return _open(release, document, push.until)


def _put_off(push: Push, unread: Unread, execution: str, now: datetime) -> None:
    """Record a push under a service that it may be for, whose spec is invalid."""
    release = identification.pushed(push, unread.service, None, None, execution, now)
    if releases.put_off(release, _refusal("SpecInvalid", unread.why)):
        events.announce(release, "FAILED", unread.why)


def _refusal(error: str, reason: str) -> dict[str, Any]:
    cause: Failure = {"Error": error, "Cause": reason}
    return {"reason": reason, "diagnosis": diagnosis.diagnose(cause, [], [], [])}


def _record_refusal(
    push: Push,
    specs: Sequence[ServiceSpec],
    found: Image | None,
    reason: str,
    execution: str,
    now: datetime,
) -> None:
    """Record a push that is refused under each service that it fits."""
    details = {"endedAt": now.isoformat(), **_refusal("RequestRejected", reason)}
    for spec in specs:
        if push.tag and releases.knows_tag(spec.service, push.digest, push.tag, push.time):
            continue  # it was deployed before the tag fitted others too
        config = resolve_request.config(found, spec)
        release = identification.pushed(push, spec.service, found, config, execution, now)
        releases.carry_out(execution, release)
        if releases.close_release(release, "FAILED", details):
            events.announce(release, "FAILED", reason)


def _requested(request: Deploy, execution: str, now: datetime) -> Identified:
    spec, document = for_service(ssm.service_specs(), request.service)
    # an earlier try has chosen already, and what a tag names may have changed since
    already = releases.of_execution(execution)
    release = already or resolve_request.to_deploy(request, spec, execution, now)
    opened = _open(release, document)
    locks.release_hold(spec.service)
    return opened


def _rolled_back(request: Rollback, execution: str, now: datetime) -> Identified:
    spec, document = for_service(ssm.service_specs(), request.service)
    past = [entry for entry in releases.history(spec.service) if entry["execution"] != execution]
    already = releases.of_execution(execution)
    release = already or resolve_request.to_roll_back(request, spec, past, execution, now)
    opened = _open(release, document)
    if request.hold:
        reason = request.reason or f"rolled back to {release['version']}"
        locks.hold_back(spec.service, request.by, reason, now)
    return opened


def _held(request: Hold, execution: str, now: datetime) -> Identified:
    spec, _ = for_service(ssm.service_specs(), request.service)
    note = locks.hold_back(spec.service, request.by, request.reason, now)
    release = identification.noted(spec, "hold", request.by, execution, now)
    return _noted(release, f"held: {note['reason']}", now)


def _resumed(request: Resume, execution: str, now: datetime) -> Identified:
    spec, document = for_service(ssm.service_specs(), request.service)
    release = releases.of_execution(execution) or _held_back(request, spec, execution, now)
    if release["trigger"] == "resume":
        return _open(release, document)
    return _noted(release, "resumed; no push was held back", now)


def _held_back(request: Resume, spec: ServiceSpec, execution: str, now: datetime) -> Release:
    """Return a release of the newest push that was held back, or a mere note if none was.

    The hold ends first: a push is then either held back already, and found, or not held back.
    """
    hold = locks.end_hold(spec.service, execution)
    if hold is None:
        raise RequestRejected(f"service {spec.service} is not held")
    held = history.newest_held(releases.history(spec.service), hold["at"])
    if held is None:
        return identification.noted(spec, "hold", request.by, execution, now)
    return identification.again(held, "resume", request.by, False, execution, now)


def _recovered(request: Recover, execution: str, now: datetime) -> Identified:
    record = releases.find(request.service, request.release)
    if record is None:
        raise RequestRejected(f"service {request.service} has no release {request.release}")
    releases.carry_out(execution, record)
    if "outcome" in record:
        return _nothing(record, f"release {record['id']} has its outcome: {record['outcome']}")
    releases.note(record, recoveredBy=execution, recoveredAt=now.isoformat())
    _, document = for_service(ssm.service_specs(), request.service)
    cause = f"the execution {record['execution']} ended before the release had an outcome"
    return {
        **_identified("RECOVER", cause, record, document),
        "taskDefinition": record.get("taskDefinition"),
        "previous": record.get("previous"),
        "wasRunning": record.get("wasRunning", True),
        "rollout": record.get("rollout"),
        "failure": {"Error": "ExecutionEnded", "Cause": cause},
    }


def _open(
    release: Release, document: Mapping[str, Any], until: datetime | None = None
) -> Identified:
    already = releases.open_push(release, until) if until else releases.open_release(release)
    if already:
        reason = f"this push is release {already['id']} of execution {already['execution']}"
        return _nothing(already, reason)
    return _identified("DEPLOY", "", release, document)


def _noted(release: Release, reason: str, now: datetime) -> Identified:
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
