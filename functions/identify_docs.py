"""Identify the docs: which sources, for which site, and whether they are published."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events, s3, ssm
from deployer.aws.log import Logger
from deployer.deploy import history
from deployer.deploy.diagnosis import Failure
from deployer.docs import publication, site
from deployer.docs.site import DocsRelease, SiteSpec, Upload
from deployer.errors import RequestRejected, SourcesRejected
from deployer.requests import Hold, Publish, Recover, Resume, Rollback
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """What is to be done: BUILD and publish, ROLL_BACK to a release that is kept, RECOVER from one
    whose execution ended, or NOTHING.

    `back` is what the switch has to say for the release that is live by our records; empty if none
    is. It is for a recovery, as `failure` is.
    """

    decision: Literal["BUILD", "ROLL_BACK", "RECOVER", "NOTHING"]
    reason: str
    release: DocsRelease
    spec: Mapping[str, Any] | None
    back: str
    failure: Failure | None


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    asked = site.parse(event["input"])
    execution, now = event["execution"], datetime.fromisoformat(event["startedAt"])
    match asked:
        case Upload():
            _, document = site.from_parameters(ssm.site_specs(), asked.site)
            release = _of_execution(execution) or site.uploaded(_stored(asked), execution, now)
            identified = _open("BUILD", release, document)
        case Publish():
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
        "docs identified",
        release=identified["release"],
        decision=identified["decision"],
        reason=identified["reason"],
    )
    return identified


def _stored(upload: Upload) -> Upload:
    """Return the upload as S3 has it, which is the same whoever tells of it."""
    found = s3.describe(upload.bucket, upload.key, upload.version)
    if found is None:
        raise SourcesRejected(f"s3://{upload.bucket}/{upload.key} is gone; upload it again")
    return replace(upload, version=found["version"], time=datetime.fromisoformat(found["at"]))


def _requested(request: Publish, execution: str, now: datetime) -> Identified:
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    # an earlier try has chosen already, and what is newest may have changed since
    release = _of_execution(execution) or _newest(request, spec, execution, now)
    if locks.release_hold(site.owner(spec.site)) and not _of_execution(execution):
        release = _newest(request, spec, execution, now)  # with what was held back until now
    return _open("BUILD", release, document)


def _newest(request: Publish, spec: SiteSpec, execution: str, now: datetime) -> DocsRelease:
    bucket, folder = os.environ["SOURCES"], f"docs/{spec.site}/"
    found = s3.newest(bucket, folder)
    if found is None:
        raise SourcesRejected(f"s3://{bucket}/{folder} holds no archive; upload one there")
    key, version, uploaded = found
    upload = Upload(site.site_of(key), bucket, key, version, uploaded)
    return site.requested(upload, request.by, execution, now)


def _rolled_back(request: Rollback, execution: str, now: datetime) -> Identified:
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    release = _of_execution(execution) or _earlier(request, spec, execution, now)
    opened = _open("ROLL_BACK", release, document)
    if request.hold:
        reason = request.reason or f"rolled back to {release['version']}"
        locks.hold_back(site.owner(spec.site), request.by, reason, now)
    return opened


def _earlier(request: Rollback, spec: SiteSpec, execution: str, now: datetime) -> DocsRelease:
    everything = releases.history(site.owner(spec.site))
    past = [entry for entry in everything if entry["execution"] != execution]
    target = history.target(past, request.to)
    folder = str(target.get("folder"))
    if s3.document(spec.bucket, publication.manifest_key(folder)) is None:
        raise RequestRejected(
            f"release {target['id']} is not kept any more: only the newest {spec.keep_releases} are"
            f" ({', '.join(site.kept(past, spec.keep_releases))})"
        )
    return site.again(target, "rollback", request.by, execution, now)


def _held(request: Hold, execution: str, now: datetime) -> Identified:
    spec, _ = site.from_parameters(ssm.site_specs(), request.service)
    note = locks.hold_back(site.owner(spec.site), request.by, request.reason, now)
    release = site.noted(spec, "hold", request.by, execution, now)
    return _noted(release, f"held: {note['reason']}", now)


def _resumed(request: Resume, execution: str, now: datetime) -> Identified:
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    release = _of_execution(execution) or _held_back(request, spec, execution, now)
    if release["trigger"] == "resume":
        return _open("BUILD", release, document)
    return _noted(release, "resumed; no upload was held back", now)


def _held_back(request: Resume, spec: SiteSpec, execution: str, now: datetime) -> DocsRelease:
    """Return a release of the newest upload that was held back, or a mere note if none was.

    The hold ends first: an upload is then either held back already, and found, or not held back.
    """
    hold = locks.end_hold(site.owner(spec.site), execution)
    if hold is None:
        raise RequestRejected(f"site {spec.site} is not held")
    found = history.newest_held(releases.history(site.owner(spec.site)), hold["at"])
    if found is None:
        return site.noted(spec, "hold", request.by, execution, now)
    return site.again(found, "resume", request.by, execution, now)


def _recovered(request: Recover, execution: str, now: datetime) -> Identified:
    owner = site.owner(request.service)
    record = releases.find(owner, request.release)
    if record is None:
        raise RequestRejected(f"site {request.service} has no release {request.release}")
    releases.carry_out(execution, record)
    release = cast(DocsRelease, record)
    if "outcome" in record:
        return _nothing(release, f"release {record['id']} has its outcome: {record['outcome']}")
    releases.note(record, recoveredBy=execution, recoveredAt=now.isoformat())
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    cause = f"the execution {record['execution']} ended before the release had an outcome"
    return {
        **_identified("RECOVER", cause, release, document),
        "back": site.switch(site.kept(releases.history(owner), spec.keep_releases)),
        "failure": {"Error": "ExecutionEnded", "Cause": cause},
    }


def _of_execution(execution: str) -> DocsRelease | None:
    return cast(DocsRelease | None, releases.of_execution(execution))


def _open(
    decision: Literal["BUILD", "ROLL_BACK"], release: DocsRelease, document: Mapping[str, Any]
) -> Identified:
    already = releases.open_release(release)
    if already:
        reason = f"this upload is release {already['id']} of execution {already['execution']}"
        return _nothing(cast(DocsRelease, already), reason)
    return _identified(decision, "", release, document)


def _noted(release: DocsRelease, reason: str, now: datetime) -> Identified:
    releases.open_release(release)
    releases.close_release(release, "SUCCEEDED", {"endedAt": now.isoformat(), "reason": reason})
    events.announce(release, "SUCCEEDED", reason)
    return _nothing(release, reason)


def _nothing(release: DocsRelease, reason: str) -> Identified:
    return _identified("NOTHING", reason, release, None)


def _identified(
    decision: Literal["BUILD", "ROLL_BACK", "RECOVER", "NOTHING"],
    reason: str,
    release: DocsRelease,
    spec: Mapping[str, Any] | None,
) -> Identified:
    return {
        "decision": decision,
        "reason": reason,
        "release": release,
        "spec": spec,
        "back": "",
        "failure": None,
    }
