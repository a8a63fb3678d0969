"""Stop a running build for a newer upload, unless the build may have pushed to ECR already."""

import os
from typing import TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import codebuild
from deployer.build import image_build
from deployer.build.image_build import Build
from deployer.log import Logger
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
    build = codebuild.running(os.environ["PROJECT"], "EXECUTION", holder["execution"])
    if build is None or not image_build.may_be_stopped(build):
        return {"stopped": None}
    codebuild.stop(build["id"])
    logger.info("older build stopped", build=build["id"], release=holder["release"])
    return {"stopped": build["id"]}
