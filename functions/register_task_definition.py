"""Register the task definition revision that runs the release's image."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs
from deployer.deploy import task_definitions
from deployer.deploy.release import Previous, Release
from deployer.deploy.spec import from_document
from deployer.log import Logger
from deployer.store import locks, releases
from deployer.usecases import read_documents

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
    with locks.lease(event["release"]["service"], event["execution"]):
        registered = _register(event)
        releases.note(event["release"], taskDefinition=registered["taskDefinition"])
    logger.info("task definition chosen", registered=registered)
    return registered


def _register(event: Request) -> Registered:
    exact = event["release"].get("taskDefinition")
    if exact:
        return {"taskDefinition": exact, "new": False}
    spec = from_document(event["spec"], "the service spec")
    base = read_documents.base(spec)
    definition = task_definitions.render(spec, base, event["release"]["image"])
    if base.adopted and base.arn and definition == base.definition:
        return {"taskDefinition": base.arn, "new": False}  # it runs already
    content = task_definitions.content_hash(definition)
    # prefer the running revision; the newest is ours if an earlier try's response was lost
    candidates = [event["previous"]["taskDefinition"]] if event["previous"] else []
    existing = ecs.of_content([*candidates, definition["family"]], content)
    if existing:
        return {"taskDefinition": existing, "new": False}
    tags = task_definitions.tags(definition, event["release"], content)
    return {"taskDefinition": ecs.register(definition, tags), "new": True}
