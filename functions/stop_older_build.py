"""Stop an older build that runs, if nothing of it is in ECR yet: a newer upload has come."""

import os
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import codebuild
from deployer.aws.log import Logger
from deployer.build import image_build
from deployer.build.image_build import Build
from deployer.store import locks

logger = Logger()


class Request(TypedDict):
    release: Build
    execution: str


class Stopped(TypedDict):
    stopped: str | None


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Stopped:
    holder = locks.queue(event["release"]["service"]).holder
    if holder is None or not image_build.overtakes(event["release"], holder):
        return {"stopped": None}
    running = codebuild.running(os.environ["PROJECT"], "EXECUTION", holder["execution"])
    if running is None or not image_build.may_be_stopped(running):
        return {"stopped": None}
    codebuild.stop(running["id"])
    logger.info("older build stopped", build=running["id"], release=holder["release"])
    return {"stopped": running["id"]}
