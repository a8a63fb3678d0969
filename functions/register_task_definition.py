"""Register the task definition revision that runs the release's image."""

import os
from collections.abc import Mapping
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import taskdef
from deployer.aws import ecs, releases, turns
from deployer.aws.log import Logger
from deployer.release import Previous, Release
from deployer.spec import from_document

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    previous: Previous | None
    execution: str


class Registered(TypedDict):
    taskDefinition: str
    new: bool


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Registered:
    with turns.change(event["release"]["service"], event["execution"]):
        registered = _registered(event)
        releases.note(event["release"], taskDefinition=registered["taskDefinition"])
    logger.info("task definition chosen", registered=registered)
    return registered


def _registered(event: Request) -> Registered:
    exact = event["release"].get("taskDefinition")
    if exact:
        return {"taskDefinition": exact, "new": False}
    spec = from_document(event["spec"], "the service spec")
    definition = taskdef.render(spec, event["release"]["image"], os.environ["AWS_REGION"])
    content = taskdef.content_hash(definition)
    # what runs now comes first; the family's newest is ours if an earlier try's reply was lost
    runs = [event["previous"]["taskDefinition"]] if event["previous"] else []
    known = ecs.of_content([*runs, spec.family], content)
    if known:
        return {"taskDefinition": known, "new": False}
    registered = ecs.register(definition, taskdef.tags(event["release"], content))
    return {"taskDefinition": registered, "new": True}
