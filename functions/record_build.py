"""Record the outcome of a build, the pushed image or the failure, and release the lock."""

from datetime import UTC, datetime
from typing import Any, TypedDict, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events
from deployer.build import image_build
from deployer.build.image_build import Build, BuildDocument, Diagnosis
from deployer.deploy.diagnosis import Failure
from deployer.deploy.release import Ending, Outcome, Unidentified
from deployer.log import Logger
from deployer.store import builds, locks, releases

logger = Logger()

_ANNOUNCED = ("version", "digest")


class Request(TypedDict):
    """The state so far; `release` is None if the failure came before the source was identified."""

    input: Any
    release: Build | None
    build: BuildDocument | None
    diagnosis: Diagnosis | None
    failure: Failure | None
    execution: str
    startedAt: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Ending:
    release = event["release"] or image_build.unidentified(
        event["input"], event["execution"], event["startedAt"]
    )
    image = image_build.result(event["build"]) if event["build"] else None
    if event["failure"] is None and image:
        reason = image_build.summary(release["service"].partition(":")[2], image)
        return _record(event, release, "SUCCEEDED", "", reason, dict(image))
    result = event["diagnosis"] or image_build.explain(event["failure"])
    details: dict[str, Any] = {"diagnosis": result, **(image or {})}
    if result["error"] == "BuildStopped" and event["release"]:
        newer = image_build.newer(event["release"], builds.history(release["service"]))
        if newer:
            details["by"] = newer["id"]
            reason = f"superseded by {newer['version']}"
            return _record(event, release, "SUPERSEDED", "", reason, details)
    return _record(event, release, "FAILED", result["error"], image_build.reason(result), details)


def _record(
    event: Request,
    release: Build | Unidentified,
    outcome: Outcome,
    error: str,
    reason: str,
    details: dict[str, Any],
) -> Ending:
    ended = {"endedAt": datetime.now(UTC).isoformat(), "reason": reason}
    recorded = releases.close_release(release, outcome, {**details, **ended})
    locks.dequeue(release["service"], release["id"])
    locks.release(release["service"], event["execution"])
    announced = {**release, **{name: details[name] for name in _ANNOUNCED if name in details}}
    if recorded:
        events.announce(cast(Build, announced), outcome, reason)
    logger.info("build recorded", outcome=outcome, reason=reason)
    return {"outcome": outcome, "error": error, "cause": reason}
