"""Register the task definition revision of each service that runs the release's image."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import ecs
from deployer.deploy import task_definitions
from deployer.deploy.release import Previous, Release, parts
from deployer.deploy.spec import ServiceSpec, from_document
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
        spec, release = from_document(event["spec"], "the service spec"), event["release"]
        registered = _register(spec, release, release.get("taskDefinition"), event["previous"])
        notes: dict[str, Any] = {"taskDefinition": registered["taskDefinition"]}
        if spec.further:
            record = releases.find(release["service"], release["id"])
            exact, known = release.get("taskDefinitions", {}), parts(record)
            own = dict(record.get("services", {})) if record else {}
            for part in spec.further:
                name, previous = part.service, known.get(part.service, {}).get("previous")
                chosen = _register(part, release, exact.get(name), previous)
                own[name] = {**own.get(name, {}), "taskDefinition": chosen["taskDefinition"]}
                logger.info("task definition chosen", of=name, registered=chosen)
            notes["services"] = own
        releases.note(release, **notes)
    logger.info("task definition chosen", registered=registered)
    return registered


def _register(
    spec: ServiceSpec, release: Release, exact: str | None, previous: Previous | None
) -> Registered:
    if exact:
        return {"taskDefinition": exact, "new": False}
    base = read_documents.base(spec)
    definition = task_definitions.render(spec, base, release["image"])
    if base.adopted and base.arn and definition == base.definition:
        return {"taskDefinition": base.arn, "new": False}  # it runs already
    content = task_definitions.content_hash(definition)
    # prefer the running revision; the newest is ours if an earlier try's response was lost
    candidates = [previous["taskDefinition"]] if previous else []
    existing = ecs.of_content([*candidates, definition["family"]], content)
    if existing:
        return {"taskDefinition": existing, "new": False}
    tags = task_definitions.tags(definition, release, content)
    return {"taskDefinition": ecs.register(definition, tags), "new": True}
