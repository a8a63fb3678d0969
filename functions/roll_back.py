"""Roll back: put the previous release back, or say why that can't be."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs, secrets
from deployer.aws.log import Logger
from deployer.deploy import database, rollback, rollout, service, task_definitions
from deployer.deploy.release import Previous, Release, Restoration
from deployer.deploy.rollback import Rollback
from deployer.deploy.rollout import Rollout, Service
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import DatabaseFailed
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str | None
    previous: Previous | None
    wasRunning: bool
    rollout: Rollout | None
    snapshot: str | None
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Rollback:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        decided = _rolled_back(spec, event)
    logger.info("rollback decided", rollback=decided)
    return decided


def _rolled_back(spec: ServiceSpec, event: Request) -> Rollback:
    revision, begun, previous = event["taskDefinition"], event["rollout"], event["previous"]
    wanted = service.network(spec)
    now = ecs.service_after(spec.cluster, spec.service, revision, begun, wanted)
    current = rollout.primary(now) if now else None
    noted = _restoration(event["release"])
    decided = rollback.decide(
        now,
        event["release"],
        revision,
        previous,
        was_running=event["wasRunning"],
        touched=begun is not None,
        ran=_ran(spec, _deployment(now, event)),
        snapshot=event["snapshot"],
        replaced=bool(begun and current and current["id"] != begun["id"]),
        restored=noted is not None,
    )
    if decided["action"] == "STOP":
        ecs.scale_to_zero(spec.cluster, spec.service)
    if noted and not rollback.keeps_database(decided, now, revision, previous):
        decided = {**decided, "database": _switched_back(event["release"], noted)}
    if previous and decided["action"] == "ROLL_BACK":
        settings = _settings(spec, previous, now)
        if noted and previous["taskDefinition"] == revision:
            settings["forceNewDeployment"] = True  # only a new task reads the secret
        now = ecs.update_service(spec.service, settings)
    if previous and now and decided["action"] in ("ROLL_BACK", "AWAIT"):
        deployment = ecs.deployment_of(now, previous["taskDefinition"])
        decided["rollout"] = rollout.started(deployment, spec.timeout, datetime.now(UTC))
    return decided


def _restoration(release: Release) -> Restoration | None:
    """What the release has changed of the database, or was about to."""
    record = releases.find(release["service"], release["id"]) if release.get("restore") else None
    return record.get("restoration") if record else None


def _switched_back(release: Release, noted: Restoration) -> str:
    """Point secret and alarms at the database that was there before; returns its instance.

    Raises:
        DatabaseFailed: the secret leads to neither of the two.
    """
    url, before = secrets.value(noted["secret"]), noted["before"]
    if database.host_of(url) == noted["after"]["host"]:
        secrets.replace(noted["secret"], database.moved(url, before["host"]))
    elif database.host_of(url) != before["host"]:
        raise DatabaseFailed("somebody else has changed where the database's secret leads")
    releases.remember_database_instance(release["service"], before["instance"], noted["replaces"])
    followed = alarms.follow(release["service"], {noted["after"]["instance"]}, before["instance"])
    logger.info("alarms", instance=before["instance"], followed=followed)
    releases.note(release, databaseInstance=None)
    return before["instance"]


def _deployment(now: Service | None, event: Request) -> str | None:
    """The id of the release's rollout, which may have begun although that could not be noted."""
    if event["rollout"]:
        return event["rollout"]["id"]
    current = rollout.primary(now) if now else None
    ours = current is not None and current["taskDefinition"] == event["taskDefinition"]
    return str(current["id"]) if current and ours else None


def _ran(spec: ServiceSpec, deployment: str | None) -> bool:
    """Whether any task of a rollout came to run."""
    if deployment is None:
        return False
    tasks = ecs.running_tasks(spec.cluster, spec.service, deployment)
    tasks += ecs.stopped_tasks(spec.cluster, spec.service, deployment)
    return any(task.get("startedAt") for task in tasks)


def _settings(spec: ServiceSpec, previous: Previous, now: Service | None) -> dict[str, Any]:
    """The previous release as it ran; ECS does not go back from going back."""
    revision, served = previous["taskDefinition"], None
    if spec.load_balancer:
        served = task_definitions.served(ecs.containers(revision), spec)
    settings = service.settings(spec, revision, False, served, now)
    if previous["networkConfiguration"]:
        settings["networkConfiguration"] = previous["networkConfiguration"]
    return settings
