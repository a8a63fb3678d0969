"""Roll back: restore the previous release, or return why that is impossible."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs, secrets
from deployer.deploy import database, one_off, rollback, rollout, service
from deployer.deploy.one_off import TaskRun
from deployer.deploy.release import Previous, Release, Restoration
from deployer.deploy.rollback import Rollback
from deployer.deploy.rollout import Rollout, Service
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import DatabaseFailed
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    """`before` is whether the release may have run a task before its rollout; an execution that
    began before an upgrade of the deployer does not say."""

    spec: Mapping[str, Any]
    release: Release
    taskDefinition: str | None
    previous: Previous | None
    wasRunning: bool
    before: NotRequired[bool]
    rollout: Rollout | None
    snapshot: str | None
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Rollback:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        decision = _roll_back(spec, event)
    logger.info("rollback decided", rollback=decision)
    return decision


def _roll_back(spec: ServiceSpec, event: Request) -> Rollback:
    revision, own_rollout, previous = event["taskDefinition"], event["rollout"], event["previous"]
    before = _task_before(event["release"]) if event.get("before") else None
    if before and not one_off.succeeded(before):
        return rollback.unchanged()  # the service is updated only after it
    network = (spec.service_definition or {}).get("networkConfiguration")
    live_service = ecs.service_after(spec.cluster, spec.service, revision, own_rollout, network)
    primary = rollout.primary(live_service) if live_service else None
    restoration = _restoration(event["release"])
    decision = rollback.decide(
        live_service,
        event["release"],
        revision,
        previous,
        # the deployer stops no service that it did not create
        was_running=event["wasRunning"] or spec.service_definition is None,
        touched=own_rollout is not None,
        ran=one_off.may_have_run(before) or _has_run(spec, _deployment_id(live_service, event)),
        snapshot=event["snapshot"],
        replaced=bool(own_rollout and primary and primary["id"] != own_rollout["id"]),
        restored=restoration is not None,
        database=spec.database is not None,
    )
    if decision["action"] == "STOP":
        ecs.scale_to_zero(spec.cluster, spec.service)
    if restoration and not rollback.keeps_database(decision, live_service, revision, previous):
        decision = {**decision, "database": _switch_database_back(event["release"], restoration)}
    if previous and live_service and decision["action"] == "ROLL_BACK":
        settings = _settings(spec, previous, live_service)
        if restoration and previous["taskDefinition"] == revision:
            settings["forceNewDeployment"] = True  # only a new task reads the secret
        live_service = ecs.update_service(spec.service, settings)
    if previous and live_service and decision["action"] in ("ROLL_BACK", "AWAIT"):
        deployment = ecs.deployment_of(live_service, previous["taskDefinition"])
        decision["rollout"] = rollout.started(deployment, spec.timeout, datetime.now(UTC))
    return decision


def _task_before(release: Release) -> TaskRun | None:
    """Return the task that the release has run before its rollout, or was about to."""
    record = releases.find(release["service"], release["id"])
    return record.get("before") if record else None


def _restoration(release: Release) -> Restoration | None:
    """Return the database change that the release has made, or was about to make."""
    record = releases.find(release["service"], release["id"]) if release.get("restore") else None
    return record.get("restoration") if record else None


def _switch_database_back(release: Release, restoration: Restoration) -> str:
    """Point the secret and the alarms at the previous database instance, and return its name.

    Raises:
        DatabaseFailed: the secret points at neither of the two instances.
    """
    url, before = secrets.value(restoration["secret"]), restoration["before"]
    if database.host_of(url) == restoration["after"]["host"]:
        secrets.replace(restoration["secret"], database.moved(url, before["host"]))
    elif database.host_of(url) != before["host"]:
        raise DatabaseFailed("somebody else has changed the host in the database's secret")
    releases.remember_database_instance(
        release["service"], before["instance"], restoration["replaces"]
    )
    alarms_moved = alarms.follow(
        release["service"], {restoration["after"]["instance"]}, before["instance"]
    )
    logger.info("alarms", instance=before["instance"], followed=alarms_moved)
    releases.note(release, databaseInstance=None)
    return before["instance"]


def _deployment_id(live_service: Service | None, event: Request) -> str | None:
    """Return the id of the release's rollout, even if the release failed to record it."""
    if event["rollout"]:
        return event["rollout"]["id"]
    primary = rollout.primary(live_service) if live_service else None
    is_ours = primary is not None and primary["taskDefinition"] == event["taskDefinition"]
    return str(primary["id"]) if primary and is_ours else None


def _has_run(spec: ServiceSpec, deployment: str | None) -> bool:
    """Return whether any task of a rollout has run."""
    if deployment is None:
        return False
    tasks = ecs.running_tasks(spec.cluster, spec.service, deployment)
    tasks += ecs.stopped_tasks(spec.cluster, spec.service, deployment)
    return any(task.get("startedAt") for task in tasks)


def _settings(spec: ServiceSpec, previous: Previous, live_service: Service) -> dict[str, Any]:
    """Return the settings of the previous release; ECS does not roll back a rollback."""
    revision, network = previous["taskDefinition"], previous["networkConfiguration"]
    described = ecs.task_definition(revision)
    definition = described[0] if described else {}
    settings = service.update(spec, live_service, revision, False, definition)
    # an update of the release may have changed it, or one that failed before
    changed = "networkConfiguration" in settings
    if network and (changed or not rollout.same_network(network, rollout.network(live_service))):
        settings["networkConfiguration"] = network
    return settings
