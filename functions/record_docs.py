"""Record the docs: the release is live and verified."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events
from deployer.deploy import history
from deployer.docs import site
from deployer.docs.site import DocsRelease
from deployer.log import Logger
from deployer.store import locks, publications, releases

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: DocsRelease
    progress: Mapping[str, int]
    reason: str
    warnings: list[str]
    execution: str


class Success(TypedDict):
    outcome: str
    release: str
    version: str
    url: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Success:
    release, spec = event["release"], site.from_document(event["spec"])
    ended = datetime.now(UTC).isoformat()
    details = {"endedAt": ended, "url": spec.url, "reason": event["reason"], **event["progress"]}
    details |= {"warnings": event["warnings"]} if event["warnings"] else {}
    record = publications.find(release["service"], release["id"])
    recorded = record is not None and record.get("outcome") == "SUCCEEDED"  # by an earlier try
    if not recorded:
        with locks.lease(release["service"], event["execution"]):
            recorded = releases.close_release(release, "SUCCEEDED", details)
    for entry in history.expendable(publications.history(release["service"]), spec.keep_releases):
        releases.expire(entry)
    # a second run of Acquire lock may have queued the request again
    locks.dequeue(release["service"], release["id"])
    locks.release(release["service"], event["execution"])
    if recorded:
        events.announce(release, "SUCCEEDED", event["reason"], spec.url)
    logger.info("docs live", release=release["id"], url=spec.url)
    return {
        "outcome": "SUCCEEDED",
        "release": release["id"],
        "version": release["version"],
        "url": spec.url,
    }
