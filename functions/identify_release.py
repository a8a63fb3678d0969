"""Identify the release: which image, for which service, and whether to deploy it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import requests
from deployer.aws import ecr, events
from deployer.deploy import diagnosis, history, identification
from deployer.deploy.diagnosis import Failure
from deployer.deploy.image import Image
from deployer.deploy.release import Previous, Recorded, Release, parts
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import ServiceSpec, Unread, ambiguous, with_services
from deployer.errors import RequestRejected, SpecInvalid
from deployer.log import Logger
from deployer.requests import Deploy, Hold, Push, Recover, Restart, Resume, Rollback
from deployer.store import locks, releases
from deployer.usecases import find_spec, read_documents, resolve_request

logger = Logger()


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """The decision: DEPLOY a release, RECOVER one whose execution ended, or do NOTHING.

    The fields after `spec` are set only for a recovery: what the interrupted execution had
    established. `before` and `after` are whether it may have run these tasks, `schedules` whether
    it may have changed the service's.
    """

    decision: Literal["DEPLOY", "RECOVER", "NOTHING"]
    reason: str
    release: Release
    spec: Mapping[str, Any] | None
    taskDefinition: str | None
    previous: Previous | None
    wasRunning: bool
    before: bool
    after: bool
    schedules: bool
    rollout: Rollout | None
    failure: Failure | None


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    request = requests.parse(event["input"])
    execution, now = event["execution"], datetime.fromisoformat(event["startedAt"])
    match request:
        case Push():
            identified = _handle_push(request, execution, now)
        case Deploy():
            identified = _handle_deploy(request, execution, now)
        case Rollback():
            identified = _handle_rollback(request, execution, now)
        case Restart():
            identified = _handle_restart(request, execution, now)
        case Hold():
            identified = _handle_hold(request, execution, now)
        case Resume():
            identified = _handle_resume(request, execution, now)
        case Recover():
            identified = _handle_recover(request, execution, now)
    logger.info(
        "release identified",
        release=identified["release"],
        decision=identified["decision"],
        reason=identified["reason"],
    )
    return identified


def _handle_push(push: Push, execution: str, now: datetime) -> Identified:
    matches, invalid = find_spec.for_push(push.repository, push.tag)
    if not matches and (reason := requests.ignored(push.tag)):
        release = identification.pushed(push, invalid[0].service, None, None, execution, now)
        releases.ignore_push(release, reason, push.until)
        return _nothing(release, reason)
    for service in invalid:
        _record_invalid(push, service, execution, now)
    if not matches:
        raise SpecInvalid(invalid[0].why)
    image = ecr.find_pushed(push.repository, push.digest, push.time)
    if len(matches) > 1 and push.tag:
        services = [spec for spec, _ in matches]
        refusal = ambiguous(push.repository, push.tag, [spec.service for spec in services])
        _record_refusal(push, services, image, refusal, execution, now)
        raise RequestRejected(refusal)
    spec, document = matches[0]
    platform = read_documents.platform(spec)
    config = resolve_request.config(image, spec, platform)
    release = identification.pushed(push, spec.service, image, config, execution, now)
    reason = identification.ignored(push, spec, image, config, platform)
    if reason:
        missing = image is None and not identification.ignored_tag(push.tag, spec)
        releases.ignore_push(release, reason, None if missing else push.until)
        return _nothing(release, reason)
    if spec.verify and spec.verify.version and not identification.names_version(release, config):
        # under a new tag too, the image still reports the version that was verified
        verified = history.verified_version(releases.history(spec.service), push.digest)
        release["version"] = verified or release["version"]
    return _open(release, document, push.until)


def _record_invalid(push: Push, invalid: Unread, execution: str, now: datetime) -> None:
    """Record a push as failed under a service with an invalid spec, which it may belong to."""
    release = identification.pushed(push, invalid.service, None, None, execution, now)
    if releases.put_off(release, _refusal("SpecInvalid", invalid.why)):
        events.announce(release, "FAILED", invalid.why)


def _refusal(error: str, reason: str) -> dict[str, Any]:
    cause: Failure = {"Error": error, "Cause": reason}
    return {"reason": reason, "diagnosis": diagnosis.diagnose(cause, [], [], [])}


def _record_refusal(
    push: Push,
    specs: Sequence[ServiceSpec],
    image: Image | None,
    reason: str,
    execution: str,
    now: datetime,
) -> None:
    """Record a refused push under each service that it matches."""
    details = {"endedAt": now.isoformat(), **_refusal("RequestRejected", reason)}
    for spec in specs:
        if push.tag and releases.knows_tag(spec.service, push.digest, push.tag, push.time):
            continue  # deployed before the tag matched several services
        config = resolve_request.config(image, spec, read_documents.platform(spec))
        release = identification.pushed(push, spec.service, image, config, execution, now)
        releases.carry_out(execution, release)
        if releases.close_release(release, "FAILED", details):
            events.announce(release, "FAILED", reason)


def _handle_deploy(request: Deploy, execution: str, now: datetime) -> Identified:
    spec, document = find_spec.for_service(request.service)
    # keep the choice of an earlier try: the tag may have moved since
    recorded = releases.of_execution(execution)
    release = recorded or _requested_release(request, spec, execution, now)
    identified = _open(release, document)
    locks.release_hold(spec.service)
    return identified


def _requested_release(
    request: Deploy, spec: ServiceSpec, execution: str, now: datetime
) -> Release:
    release = resolve_request.to_deploy(request, spec, execution, now)
    source = request.promoted_from
    if source and not source.stack:  # another deployer's records are not ours to read
        record = releases.find(source.service, source.release)
        if refusal := identification.unpromotable(source, record, release["digest"]):
            raise RequestRejected(refusal)
    return release


def _handle_rollback(request: Rollback, execution: str, now: datetime) -> Identified:
    spec, document = find_spec.for_service(request.service)
    earlier = [entry for entry in releases.history(spec.service) if entry["execution"] != execution]
    recorded = releases.of_execution(execution)
    release = recorded or resolve_request.to_roll_back(request, spec, earlier, execution, now)
    identified = _open(release, document)
    if request.hold:
        reason = request.reason or f"rolled back to {release['version']}"
        locks.hold_back(spec.service, request.by, reason, now)
    return identified


def _handle_restart(request: Restart, execution: str, now: datetime) -> Identified:
    spec, document = find_spec.for_service(request.service)
    release = releases.of_execution(execution) or resolve_request.to_restart(
        request, releases.history(spec.service), execution, now
    )
    return _open(release, document)


def _handle_hold(request: Hold, execution: str, now: datetime) -> Identified:
    spec, _ = find_spec.for_service(request.service)
    note = locks.hold_back(spec.service, request.by, request.reason, now)
    release = identification.no_op(spec, "hold", request.by, execution, now)
    return _record_hold(release, f"held: {note['reason']}", now)


def _handle_resume(request: Resume, execution: str, now: datetime) -> Identified:
    spec, document = find_spec.for_service(request.service)
    release = releases.of_execution(execution) or _resumed_release(request, spec, execution, now)
    if release["trigger"] == "resume":
        return _open(release, document)
    return _record_hold(release, "resumed; no push was held back", now)


def _resumed_release(request: Resume, spec: ServiceSpec, execution: str, now: datetime) -> Release:
    """Return a release of the newest held push, or a no-op record if there is none.

    End the hold first: every push is then either recorded as held, or not held at all.
    """
    hold = locks.end_hold(spec.service, execution)
    if hold is None:
        raise RequestRejected(f"service {spec.service} is not held")
    held = history.newest_held(releases.history(spec.service), hold["at"])
    if held is None:
        return identification.no_op(spec, "hold", request.by, execution, now)
    return identification.again(held, "resume", request.by, False, execution, now)


def _handle_recover(request: Recover, execution: str, now: datetime) -> Identified:
    record = releases.find(request.service, request.release)
    if record is None:
        raise RequestRejected(f"service {request.service} has no release {request.release}")
    releases.carry_out(execution, record)
    if "outcome" in record:
        reason = f"release {record['id']} already has an outcome: {record['outcome']}"
        return _nothing(record, reason)
    releases.note(record, recoveredBy=execution, recoveredAt=now.isoformat())
    _, current = find_spec.for_service(request.service)
    # what is to be cleaned up is where the release was deployed, whatever the spec names by now
    there = {**current, "cluster": record.get("cluster", current["cluster"])}
    document = with_services(there, parts(record))
    cause = f"the execution {record['execution']} ended before the release had an outcome"
    return {
        **_result("RECOVER", cause, record, document),
        "taskDefinition": record.get("taskDefinition"),
        "previous": record.get("previous"),
        "wasRunning": record.get("wasRunning", True),
        # its last function may be about to record one
        "before": "before" in record or current.get("before") is not None,
        "after": "after" in record or current.get("after") is not None,
        "schedules": record.get("scheduled", False),
        "rollout": record.get("rollout"),
        "failure": {"Error": "ExecutionEnded", "Cause": cause},
    }


def _open(
    release: Release, document: Mapping[str, Any], until: datetime | None = None
) -> Identified:
    record = releases.open_push(release, until) if until else releases.open_release(release)
    if record:
        reason = f"this push is release {record['id']} of execution {record['execution']}"
        return _nothing(record, reason)
    return _result("DEPLOY", "", release, document)


def _record_hold(release: Release, reason: str, now: datetime) -> Identified:
    if releases.record_hold(release, reason, now):
        events.announce(release, "SUCCEEDED", reason)
    return _nothing(release, reason)


def _nothing(release: Release | Recorded, reason: str) -> Identified:
    return _result("NOTHING", reason, release, None)


def _result(
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
        "before": False,
        "after": False,
        "schedules": False,
        "rollout": None,
        "failure": None,
    }
