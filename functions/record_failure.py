"""Record that the release failed, why, and what became of the service or site."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.aws import ecs, events
from deployer.deploy import diagnosis, history, release, rollback, serving
from deployer.deploy.diagnosis import Diagnosis, Failure
from deployer.deploy.history import History
from deployer.deploy.release import Ending, Entry, Outcome, Unidentified
from deployer.deploy.rollback import Rollback
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.docs import serving as docs_serving
from deployer.docs import site
from deployer.docs.site import SiteSpec
from deployer.log import Logger
from deployer.store import locks, publications, releases

logger = Logger()


class Request(TypedDict):
    """The state so far; `release` is None if the failure came before the release was identified."""

    input: Any
    spec: Mapping[str, Any] | None
    release: Entry | None
    taskDefinition: str | None
    failure: Failure
    diagnosis: Diagnosis | None
    rollback: Rollback | None
    restored: bool
    execution: str
    startedAt: str


def _serving(event: Request) -> dict[str, Mapping[str, Any] | None]:
    """Return what each service or the site serves and what was verified last; None if unknown.

    An error here must not prevent the record of the failure.
    """
    document, entry = event["spec"], event["release"]
    if document is None or entry is None:
        return {}
    name = entry["service"]
    try:
        if site.is_site(name):
            return {name: _site_serving(event, site.from_document(document))}
        spec = from_document(document, "the service spec")
        records = releases.history(spec.service)
        return {part.service: _service_serving(event, part, records) for part in spec.parts}
    except Exception:
        logger.exception("could not describe what the service runs")
        return {}


def _service_serving(event: Request, spec: ServiceSpec, records: History) -> Mapping[str, Any]:
    service = ecs.service(spec.cluster, spec.service)
    revisions = serving.running(service)
    reactions = rollback.rollouts(spec.lead or spec.service, event["rollback"] or {})
    if event["restored"] and spec.service in reactions:
        # Poll health saw it steady; reads may lag
        revisions = {reactions[spec.service]["taskDefinition"]}
    live = serving.of(history.of_service(records, spec), revisions)
    return serving.summary(spec, service, live, in_flight=False)


def _site_serving(event: Request, spec: SiteSpec) -> Mapping[str, Any] | None:
    """Return what the site serves and what was verified last; None if it was not switched."""
    if event["rollback"] is None and not event["restored"]:
        return None
    records = publications.history(site.owner(spec.site))
    live = history.live(records)
    folder: str | None
    if event["restored"] and live:
        folder = live["folder"]  # the write succeeded; the edge lags
    else:
        folder = docs_serving.served(http.get(f"{spec.url}/"))
    return docs_serving.summary(records, folder, in_flight=False)


def _database_note(record: Entry | Unidentified, rollback: Rollback | None) -> str:
    """Return a note on where the secret of a restored database points; "" if none was restored."""
    if not record.get("restore"):
        return ""
    if rollback and rollback.get("database"):
        return f" The database's secret points to {rollback['database']} again."
    stored = releases.find(record["service"], record["id"])
    restoration = stored.get("restoration") if stored else None
    if stored is None or restoration is None:
        return ""
    points = "points" if stored.get("databaseInstance") else "may point"
    return (
        f" The database's secret {points} to the restored {restoration['after']['instance']};"
        f" before, it pointed to {restoration['before']['instance']}."
    )


def _task_note(spec: Mapping[str, Any] | None, record: Entry | Unidentified) -> str:
    """Return a note on a task of the release that could not be stopped; "" if none runs on."""
    if spec is None or not (spec.get("before") or spec.get("after")):
        return ""
    stored = releases.find(record["service"], record["id"])
    runs = (stored.get("before"), stored.get("after")) if stored else ()
    return "".join(
        " A task of it may still run. Stop it: aws ecs stop-task --cluster"
        f" {spec['cluster']} --task {run['task']}."
        for run in runs
        if run and "endedAt" not in run and "task" in run
    )


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Ending:
    result = event["diagnosis"] or diagnosis.diagnose(event["failure"], [], [], [])
    reaction = event["rollback"]
    restored = event["restored"] and (reaction is None or rollback.complete(reaction))
    back = restored and not (reaction and "schedules" in reaction)
    outcome: Outcome = "FAILED_ROLLED_BACK" if back else "FAILED"
    record = event["release"] or release.unidentified(
        event["input"], event["execution"], event["startedAt"]
    )
    what = site.kind(record["service"])
    reason = diagnosis.summary(result, reaction, restored, what)
    reason += _database_note(record, reaction) + _task_note(event["spec"], record)
    by_service = _serving(event)
    for name, one in by_service.items():
        if one and one["alarm"]:
            reason += f" {name}: {one['alarm']}" if len(by_service) > 1 else f" {one['alarm']}"
            reason += f" Bring it back: {one['mend'].strip()}" if one["mend"] else ""
    serving_now = by_service.get(record["service"])
    facts = {name: serving_now[name] for name in ("verified", "serves")} if serving_now else {}
    details = {
        **facts,
        "endedAt": datetime.now(UTC).isoformat(),
        "diagnosis": result,
        "rollback": reaction,
        "taskDefinition": event["taskDefinition"],
        "reason": reason,
    }
    # a refused push has its records under the services that it matches
    recorded_push = None if event["release"] else releases.handled_by(event["execution"])
    recorded = releases.close_release(record, outcome, details)
    locks.dequeue(record["service"], record["id"])
    locks.release(record["service"], event["execution"])
    if recorded and not (recorded_push and "outcome" in recorded_push):
        failed = outcome == "FAILED" and reaction and rollback.restores(reaction)
        more = {"rollback": "FAILED"} if failed else {}
        events.announce(record, outcome, reason, **facts, **more)
    logger.info("release failed", outcome=outcome, diagnosis=result, recorded=recorded)
    return {"outcome": outcome, "error": result["error"], "cause": reason}
