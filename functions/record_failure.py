"""Record that the release failed, why, and what became of the service or site."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs, events
from deployer.aws.log import Logger
from deployer.deploy import diagnosis, release, serving
from deployer.deploy.diagnosis import Diagnosis, Failure
from deployer.deploy.release import Entry, Outcome, Unidentified
from deployer.deploy.rollback import Rollback
from deployer.deploy.spec import from_document
from deployer.docs import site
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    """What is known by then: a failure before the release was identified has no `release`."""

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


_BACK = ("ROLL_BACK", "AWAIT")


def _serving(event: Request) -> Mapping[str, Any] | None:
    """Return what serves now and what was verified last; None if that is unknown.

    The failure is recorded also where it cannot be seen.
    """
    document, decided, entry = event["spec"], event["rollback"], event["release"]
    if document is None or entry is None or site.is_site(entry["service"]):
        return None
    try:
        spec = from_document(document, "the service spec")
        service = ecs.service(spec.cluster, spec.service)
        revisions = serving.running(service)
        if event["restored"] and decided and "rollout" in decided:
            revisions = {decided["rollout"]["taskDefinition"]}  # seen steady; reads may lag
        found = serving.of(releases.history(spec.service), revisions)
        return serving.told(spec, service, found, in_flight=False)
    except Exception:
        logger.exception("could not see what serves")
        return None


def _of_database(record: Entry | Unidentified, decided: Rollback | None) -> str:
    """Say where the secret of a database leads that the release restored; empty if it did not."""
    if not record.get("restore"):
        return ""
    if decided and decided.get("database"):
        return f" The database's secret leads back to {decided['database']}."
    found = releases.find(record["service"], record["id"])
    noted = found.get("restoration") if found else None
    if found is None or noted is None:
        return ""
    leads = "leads" if found.get("databaseInstance") else "may lead"
    return (
        f" The database's secret {leads} to the restored {noted['after']['instance']};"
        f" before, it led to {noted['before']['instance']}."
    )


class Recorded(TypedDict):
    outcome: str
    error: str
    cause: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Recorded:
    found = event["diagnosis"] or diagnosis.diagnose(event["failure"], [], [], [])
    outcome: Outcome = "FAILED_ROLLED_BACK" if event["restored"] else "FAILED"
    record = event["release"] or release.unidentified(
        event["input"], event["execution"], event["startedAt"]
    )
    what = site.kind(record["service"])
    reason = diagnosis.summary(found, event["rollback"], event["restored"], what)
    reason += _of_database(record, event["rollback"])
    told = _serving(event)
    if told and told["alarm"]:
        reason += f" {told['alarm']}"
        reason += f" Bring it back: {told['mend'].strip()}" if told["mend"] else ""
    facts = {name: told[name] for name in ("verified", "serves")} if told else {}
    details = {
        **facts,
        "endedAt": datetime.now(UTC).isoformat(),
        "diagnosis": found,
        "rollback": event["rollback"],
        "taskDefinition": event["taskDefinition"],
        "reason": reason,
    }
    # a push that was refused has its records under the services that it concerns
    known = None if event["release"] else releases.found_by(event["execution"])
    recorded = releases.close_release(record, outcome, details)
    locks.dequeue(record["service"], record["id"])
    locks.release(record["service"], event["execution"])
    if recorded and not (known and "outcome" in known):
        decided = event["rollback"]
        failed = outcome == "FAILED" and decided and decided["action"] in _BACK
        more = {"rollback": "FAILED"} if failed else {}
        events.announce(record, outcome, reason, **facts, **more)
    logger.info("release failed", outcome=outcome, diagnosis=found, recorded=recorded)
    return {"outcome": outcome, "error": found["error"], "cause": reason}
