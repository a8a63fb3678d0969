"""Diagnose a failed image build: the command, the lines that tell why, and whether to retry."""

import json
from typing import TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import build
from deployer.aws import logs
from deployer.build import BuildDocument, Diagnosis
from deployer.diagnosis import Failure

logger = Logger()

_LINES = 200


class Request(TypedDict):
    failure: Failure
    execution: str


class Diagnosed(TypedDict):
    build: BuildDocument
    diagnosis: Diagnosis


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Diagnosed:
    failed: BuildDocument = json.loads(event["failure"]["Cause"])["Build"]
    where = failed.get("Logs") or {}
    stream = where.get("StreamName")
    lines = logs.last_lines(where["GroupName"], stream, _LINES) if stream else []
    diagnosis = build.diagnose(failed, lines)
    logger.info("build diagnosed", build=failed.get("Arn"), diagnosis=diagnosis)
    return {"build": failed, "diagnosis": diagnosis}
