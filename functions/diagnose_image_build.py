"""Diagnose a failed image build: the command, the lines that tell why, and whether to retry."""

from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import logs
from deployer.aws.log import Logger
from deployer.build import image_build
from deployer.build.image_build import BuildDocument, Diagnosis
from deployer.deploy import diagnosis
from deployer.deploy.diagnosis import Failure

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
    found = image_build.explain(event["failure"], logs.last_lines(*log, _LINES) if log else [])
    failed = diagnosis.build_of(event["failure"])
    logger.info("build diagnosed", build=failed.get("Arn"), diagnosis=found)
    return {"build": failed or None, "diagnosis": found}
