"""Close the record of a build whose execution was stopped or ran out of time, and pass the turn on.

Step Functions runs no Catch then, but tells of the end on EventBridge.
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import events, releases, turns
from deployer.aws.log import Logger

logger = Logger()


class Closed(TypedDict):
    """The outcome that the build has; None if the execution carried out none."""

    outcome: str | None


@logger.inject_lambda_context(correlation_id_path="detail.executionArn")
def handler(event: dict[str, Any], context: LambdaContext) -> Closed:
    execution, status = event["detail"]["executionArn"], event["detail"]["status"]
    record = releases.of_execution(execution)
    if record is None:
        return {"outcome": None}
    reason = f"its execution ended before the build did: {status}"
    if "outcome" not in record:
        details = {"endedAt": datetime.now(UTC).isoformat(), "reason": reason}
        releases.close_release(record, "FAILED", details)
        events.announce(record, "FAILED", reason)
        logger.info("build closed", release=record["id"], reason=reason)
    turns.leave(record["service"], record["id"])
    turns.pass_on(record["service"], execution)
    return {"outcome": record.get("outcome", "FAILED")}
