"""Record what became of a build: the image it pushed, or why it failed; and release the lock."""

from datetime import UTC, datetime
from typing import Any, TypedDict, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events
from deployer.aws.log import Logger
from deployer.build import image_build
from deployer.build.image_build import Build, BuildDocument, Diagnosis
from deployer.deploy.diagnosis import Failure
from deployer.deploy.release import Outcome, Unidentified
from deployer.store import locks, releases

logger = Logger()

_TOLD = ("version", "digest")


class Request(TypedDict):
    """What is known by then; a failure before the source was identified has no `release`."""

    input: Any
    release: Build | None
    build: BuildDocument | None
    diagnosis: Diagnosis | None
    failure: Failure | None
    execution: str
    startedAt: str


class Recorded(TypedDict):
    outcome: str
    error: str
    cause: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Recorded:
    mine = event["release"] or image_build.unidentified(
        event["input"], event["execution"], event["startedAt"]
    )
    made = image_build.result(event["build"]) if event["build"] else None
    if event["failure"] is None and made:
        service = mine["service"].partition(":")[2]
        return _record(event, mine, "SUCCEEDED", "", image_build.summary(service, made), dict(made))
    found = event["diagnosis"] or image_build.explain(event["failure"])
    details: dict[str, Any] = {"diagnosis": found, **(made or {})}
    if found["error"] == "BuildStopped" and event["release"]:
        newer = image_build.newer(event["release"], releases.history(mine["service"]))
        if newer:
            details["by"] = newer["id"]
            reason = f"superseded by {newer['version']}"
            return _record(event, mine, "SUPERSEDED", "", reason, details)
    return _record(event, mine, "FAILED", found["error"], image_build.reason(found), details)


def _record(
    event: Request,
    mine: Build | Unidentified,
    outcome: Outcome,
    error: str,
    reason: str,
    details: dict[str, Any],
) -> Recorded:
    ended = {"endedAt": datetime.now(UTC).isoformat(), "reason": reason}
    recorded = releases.close_release(mine, outcome, {**details, **ended})
    locks.dequeue(mine["service"], mine["id"])
    locks.release(mine["service"], event["execution"])
    told = {**mine, **{name: details[name] for name in _TOLD if name in details}}
    if recorded:
        events.announce(cast(Build, told), outcome, reason)
    logger.info("build recorded", outcome=outcome, reason=reason)
    return {"outcome": outcome, "error": error, "cause": reason}
