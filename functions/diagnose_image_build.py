"""Diagnose a failed image build: the command, the lines with the cause, and whether to retry."""

from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import logs
from deployer.build import image_build
from deployer.build.image_build import BuildDocument, Diagnosis
from deployer.deploy import diagnosis
from deployer.deploy.diagnosis import Failure
from deployer.log import Logger

logger = Logger()

_LINES = 200


class Request(TypedDict):
    failure: Failure
    execution: str


class Diagnosed(TypedDict):
    build: BuildDocument | None
    diagnosis: Diagnosis


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Diagnosed:
    log = diagnosis.build_log(event["failure"])
    result = image_build.explain(event["failure"], logs.last_lines(*log, _LINES) if log else [])
    build = diagnosis.build_of(event["failure"])
    logger.info("build diagnosed", build=build.get("Arn"), diagnosis=result)
    return {"build": build or None, "diagnosis": result}
