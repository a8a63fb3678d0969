"""Diagnose the docs build: which phase failed, and its last log lines."""

from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import logs
from deployer.deploy import diagnosis
from deployer.deploy.diagnosis import Diagnosis, Failure
from deployer.log import Logger

logger = Logger()


class Request(TypedDict):
    failure: Failure
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Diagnosis:
    log = diagnosis.build_log(event["failure"])
    lines = logs.last_lines(*log, count=60) if log else []
    result = diagnosis.diagnose_docs_build(event["failure"], lines)
    logger.info("docs build diagnosed", diagnosis=result)
    return result
