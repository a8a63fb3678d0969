"""Identify the docs release: which sources, for which site, and whether to publish them."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events, s3, ssm
from deployer.deploy import history
from deployer.deploy.diagnosis import Failure
from deployer.docs import publication, site
from deployer.docs.addresses import Pair
from deployer.docs.site import DocsRelease, SiteSpec, Upload
from deployer.errors import RequestRejected, SourcesRejected
from deployer.log import Logger
from deployer.requests import Hold, Publish, Recover, Resume, Rollback
from deployer.store import locks, publications, releases

logger = Logger()


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """The decision: BUILD and publish, ROLL_BACK to a kept release, RECOVER a release, or NOTHING.

    `back` and `failure` are set only for a recovery. `back` is the switch that makes the last
    live release live again; empty if there is none.
    """

    decision: Literal["BUILD", "ROLL_BACK", "RECOVER", "NOTHING"]
    reason: str
    release: DocsRelease
    spec: Mapping[str, Any] | None
    back: list[Pair]
    failure: Failure | None


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    request = site.parse(event["input"])
    execution, now = event["execution"], datetime.fromisoformat(event["startedAt"])
    match request:
        case Upload():
            _, document = site.from_parameters(ssm.site_specs(), request.site)
            release = publications.of_execution(execution) or site.uploaded(
                _describe_upload(request), execution, now
            )
            identified = _open("BUILD", release, document)
        case Publish():
            identified = _handle_publish(request, execution, now)
        case Rollback():
            identified = _handle_rollback(request, execution, now)
        case Hold():
            identified = _handle_hold(request, execution, now)
        case Resume():
            identified = _handle_resume(request, execution, now)
        case Recover():
            identified = _handle_recover(request, execution, now)
    logger.info(
        "docs identified",
        release=identified["release"],
        decision=identified["decision"],
        reason=identified["reason"],
    )
    return identified


def _describe_upload(upload: Upload) -> Upload:
    """Return the upload with its version and time from S3, the same for an event and a retry."""
    stored = s3.describe(upload.bucket, upload.key, upload.version)
    if stored is None:
        raise SourcesRejected(f"s3://{upload.bucket}/{upload.key} is gone; upload it again")
    return replace(upload, version=stored["version"], time=datetime.fromisoformat(stored["at"]))


def _handle_publish(request: Publish, execution: str, now: datetime) -> Identified:
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    # keep the choice of an earlier try: the newest upload may be another by now
    release = publications.of_execution(execution) or _newest_upload(request, spec, execution, now)
    if locks.release_hold(site.owner(spec.site)) and not publications.of_execution(execution):
        release = _newest_upload(request, spec, execution, now)  # uploads held back count now
    return _open("BUILD", release, document)


def _newest_upload(request: Publish, spec: SiteSpec, execution: str, now: datetime) -> DocsRelease:
    bucket, folder = os.environ["SOURCES"], f"docs/{spec.site}/"
    newest = s3.newest(bucket, folder)
    if newest is None:
        raise SourcesRejected(f"s3://{bucket}/{folder} holds no archive; upload one there")
    key, version, uploaded = newest
    upload = Upload(site.site_of(key), bucket, key, version, uploaded)
    return site.requested(upload, request.by, execution, now)


def _handle_rollback(request: Rollback, execution: str, now: datetime) -> Identified:
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    release = publications.of_execution(execution) or _rollback_release(
        request, spec, execution, now
    )
    identified = _open("ROLL_BACK", release, document)
    if request.hold:
        reason = request.reason or f"rolled back to {release['version']}"
        locks.hold_back(site.owner(spec.site), request.by, reason, now)
    return identified


def _rollback_release(
    request: Rollback, spec: SiteSpec, execution: str, now: datetime
) -> DocsRelease:
    records = publications.history(site.owner(spec.site))
    earlier = [entry for entry in records if entry["execution"] != execution]
    target = history.target(earlier, request.to)
    if s3.document(spec.bucket, publication.manifest_key(target["folder"])) is None:
        raise RequestRejected(
            f"release {target['id']} is no longer kept: only the newest {spec.keep_releases} are"
            f" ({', '.join(site.kept(earlier, spec.keep_releases))})"
        )
    return site.again(target, "rollback", request.by, execution, now)


def _handle_hold(request: Hold, execution: str, now: datetime) -> Identified:
    spec, _ = site.from_parameters(ssm.site_specs(), request.service)
    note = locks.hold_back(site.owner(spec.site), request.by, request.reason, now)
    release = site.no_op(spec, "hold", request.by, execution, now)
    return _record_hold(release, f"held: {note['reason']}", now)


def _handle_resume(request: Resume, execution: str, now: datetime) -> Identified:
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    release = publications.of_execution(execution) or _resumed_release(
        request, spec, execution, now
    )
    if release["trigger"] == "resume":
        return _open("BUILD", release, document)
    return _record_hold(release, "resumed; no upload was held back", now)


def _resumed_release(request: Resume, spec: SiteSpec, execution: str, now: datetime) -> DocsRelease:
    """Return a release of the newest held upload, or a no-op record if there is none.

    End the hold first: every upload is then either recorded as held, or not held at all.
    """
    hold = locks.end_hold(site.owner(spec.site), execution)
    if hold is None:
        raise RequestRejected(f"site {spec.site} is not held")
    held = history.newest_held(publications.history(site.owner(spec.site)), hold["at"])
    if held is None:
        return site.no_op(spec, "hold", request.by, execution, now)
    return site.again(held, "resume", request.by, execution, now)


def _handle_recover(request: Recover, execution: str, now: datetime) -> Identified:
    owner = site.owner(request.service)
    record = publications.find(owner, request.release)
    if record is None:
        raise RequestRejected(f"site {request.service} has no release {request.release}")
    releases.carry_out(execution, record)
    if "outcome" in record:
        return _nothing(
            record, f"release {record['id']} already has an outcome: {record['outcome']}"
        )
    releases.note(record, recoveredBy=execution, recoveredAt=now.isoformat())
    spec, document = site.from_parameters(ssm.site_specs(), request.service)
    cause = f"the execution {record['execution']} ended before the release had an outcome"
    return {
        **_result("RECOVER", cause, record, document),
        "back": _switch_back(spec),
        "failure": {"Error": "ExecutionEnded", "Cause": cause},
    }


def _switch_back(spec: SiteSpec) -> list[Pair]:
    """Return the switch that makes the last live release live again."""
    folders = site.kept(publications.history(site.owner(spec.site)), spec.keep_releases)
    key = publication.manifest_key(folders[0]) if folders else ""
    manifest = s3.document(spec.bucket, key) if key else None
    contents = publication.contents_of(manifest)
    return site.switch(folders, contents.pairs, contents.slash)


def _open(
    decision: Literal["BUILD", "ROLL_BACK"], release: DocsRelease, document: Mapping[str, Any]
) -> Identified:
    record = publications.open_release(release)
    if record:
        reason = f"this upload is release {record['id']} of execution {record['execution']}"
        return _nothing(record, reason)
    return _result(decision, "", release, document)


def _record_hold(release: DocsRelease, reason: str, now: datetime) -> Identified:
    if releases.record_hold(release, reason, now):
        events.announce(release, "SUCCEEDED", reason)
    return _nothing(release, reason)


def _nothing(release: DocsRelease, reason: str) -> Identified:
    return _result("NOTHING", reason, release, None)


def _result(
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
        "back": [],
        "failure": None,
    }
