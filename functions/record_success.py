"""Record that the release is live and verified."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events
from deployer.deploy import history
from deployer.deploy.addresses import Addresses
from deployer.deploy.history import History
from deployer.deploy.release import Part, Recorded, Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import from_document
from deployer.deploy.verification import Probes
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    rollout: Rollout
    addresses: Addresses
    probes: Probes
    reason: str
    execution: str


class Success(TypedDict):
    outcome: str
    release: str
    version: str
    url: str | None


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Success:
    release, spec = event["release"], from_document(event["spec"], "the service spec")
    record, records = releases.find(spec.service, release["id"]), releases.history(spec.service)
    since = _ran_before(event["rollout"], record, records)
    reason = f"nothing was deployed, {since}; {event['reason']}" if since else event["reason"]
    details = {
        "endedAt": datetime.now(UTC).isoformat(),
        "deployed": not since,
        "taskDefinition": event["rollout"]["taskDefinition"],
        "rollout": event["rollout"],
        "url": event["addresses"]["url"],
        "probes": event["probes"],
        "reason": reason,
    }
    if record and spec.further:
        details["services"] = _with_urls(record, event["addresses"])
    if record and "schedules" in record:  # nobody needs what they were any more
        details["schedules"] = {"before": {}, "names": record["schedules"]["names"]}
    recorded = record is not None and record.get("outcome") == "SUCCEEDED"  # by an earlier try
    if not recorded:
        with locks.lease(spec.service, event["execution"]):
            recorded = releases.close_release(release, "SUCCEEDED", details)
    for entry in history.expendable(releases.history(spec.service), spec.keep_releases):
        releases.expire(entry)
    # a second run of Acquire lock may have queued the request again
    locks.dequeue(spec.service, release["id"])
    locks.release(release["service"], event["execution"])
    if recorded:
        url = event["addresses"]["url"]
        events.announce(release, "SUCCEEDED", reason, url, deployed=not since)
    logger.info("release succeeded", release=release["id"], url=details["url"])
    return {
        "outcome": "SUCCEEDED",
        "release": release["id"],
        "version": release["version"],
        "url": event["addresses"]["url"],
    }


def _with_urls(record: Recorded, addresses: Addresses) -> dict[str, Part]:
    """Return what the release has done with its further services, with their addresses."""
    hosts = addresses.get("services", {})
    return {
        name: {**part, "url": hosts[name]["url"]} if name in hosts else part
        for name, part in record.get("services", {}).items()
    }


def _ran_before(rollout: Rollout, record: Recorded | None, records: History) -> str:
    """Return why the rollout is not new, naming the release that started it; "" if this one did."""
    if record is None or not record.get("wasRunning"):
        return ""  # starting tasks again is not a new rollout to ECS
    others = [entry for entry in records if entry["id"] != record["id"]]
    first = history.began(others, rollout["id"])
    further = [part["rollout"]["id"] for part in record.get("services", {}).values()]
    if first is None or not all(history.began(others, one) for one in further):
        return ""
    revision = rollout["taskDefinition"].rpartition("/")[2]
    return f"since {revision} runs already, of {first['version']} ({first['id']})"
