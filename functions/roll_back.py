"""Roll back: restore the previous release, or return why that is impossible."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, ecs, secrets
from deployer.deploy import database, one_off, rollback, rollout, service
from deployer.deploy.one_off import TaskRun
from deployer.deploy.release import Previous, Release, Restoration, parts
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


@dataclass(frozen=True)
class _Left:
    """A service as the release left it, and what the release had established of it."""

    spec: ServiceSpec
    revision: str | None
    previous: Previous | None
    was_running: bool
    rollout: Rollout | None
    live: Service | None


def _roll_back(spec: ServiceSpec, event: Request) -> Rollback:
    before = _task_before(event["release"]) if event.get("before") else None
    if before and not one_off.succeeded(before):
        return rollback.unchanged()  # the service is updated only after it
    services = _services(spec, event)
    restoration = releases.restoration(event["release"])
    ran = one_off.may_have_run(before) or any(
        _has_run(one.spec, _deployment_id(one)) for one in services
    )
    decisions = [_decide(one, event, restoration is not None, ran) for one in services]
    for one, decision in zip(services, decisions, strict=True):
        if decision["action"] == "STOP":
            ecs.scale(one.spec.cluster, one.spec.service, 0)
    if restoration and not any(
        rollback.keeps_database(decision, one.live, one.revision, one.previous)
        for one, decision in zip(services, decisions, strict=True)
    ):
        try:
            database_back = _switch_database_back(event["release"], restoration)
        except DatabaseFailed:
            for one in services:
                _start_again(one, restoration)
            raise
        decisions = [{**decision, "database": database_back} for decision in decisions]
    errors = list[Exception]()
    for one, decision in zip(services, decisions, strict=True):
        try:
            if started := _restore(one, decision, restoration):
                decision["rollout"] = started
        except Exception as error:  # the others are restored nevertheless
            errors.append(error)
    if errors:
        raise errors[0]
    by_service = {one.spec.service: own for one, own in zip(services, decisions, strict=True)}
    own = by_service.pop(spec.service, rollback.unchanged())
    further = {
        part.service: by_service.get(part.service, rollback.unchanged()) for part in spec.further
    }
    return {**own, "services": further} if further else own


def _services(spec: ServiceSpec, event: Request) -> list[_Left]:
    """Return the services that may run what is not to stay."""
    own = {
        "taskDefinition": event["taskDefinition"],
        "previous": event["previous"],
        "wasRunning": event["wasRunning"],
        "rollout": event["rollout"],
    }
    left: dict[str, Any] = {spec.service: own}
    release, updating = event["release"], [spec.service]
    record = releases.find(release["service"], release["id"]) if spec.further else None
    if record:
        updating = [*record.get("updating", ())]
        own |= {"rollout": own["rollout"] or record.get("rollout"), "runs": record.get("runs")}
        left |= parts(record)
    began, services = time.monotonic(), []
    for part in spec.parts if updating else ():
        one, updated = left.get(part.service, {}), part.service in updating
        # what an earlier release left unverified goes back with what this one has updated
        revision = one.get("taskDefinition") if updated else one.get("runs")
        if revision is None and not updated:
            continue
        started = one.get("rollout") if updated else None
        network = (part.service_definition or {}).get("networkConfiguration")
        awaited = revision if updated else None
        live = ecs.service_after(part.cluster, part.service, awaited, started, network, since=began)
        was_running, previous = one.get("wasRunning", True), one.get("previous")
        services.append(_Left(part, revision, previous, was_running, started, live))
    return services


def _decide(one: _Left, event: Request, restored: bool, ran: bool) -> Rollback:
    primary = rollout.primary(one.live) if one.live else None
    return rollback.decide(
        one.live,
        event["release"],
        one.revision,
        one.previous,
        # the deployer stops no service that it did not create
        was_running=one.was_running or one.spec.service_definition is None,
        touched=one.rollout is not None,
        ran=ran,
        snapshot=event["snapshot"],
        replaced=bool(one.rollout and primary and primary["id"] != one.rollout["id"]),
        restored=restored,
        database=one.spec.database is not None,
    )


def _restore(one: _Left, decision: Rollback, restoration: Restoration | None) -> Rollout | None:
    """Bring a service back to its previous release, if that is decided; return the rollout.

    Otherwise only start a service again that was stopped for a restoration.
    """
    live, previous = one.live, one.previous
    count = _stopped_count(one, restoration)
    if previous and live and decision["action"] == "ROLL_BACK":
        settings = _settings(one.spec, previous, live)
        if restoration and previous["taskDefinition"] == one.revision:
            settings["forceNewDeployment"] = True  # only a new task reads the secret
        if count is not None:
            settings["desiredCount"] = count
        live = ecs.update_service(one.spec.service, settings)
    elif decision["action"] != "STOP":
        _start_again(one, restoration)
    if previous and live and decision["action"] in ("ROLL_BACK", "AWAIT"):
        deployment = ecs.deployment_of(live, previous["taskDefinition"])
        return rollout.started(deployment, one.spec.timeout, datetime.now(UTC))
    return None


def _stopped_count(one: _Left, restoration: Restoration | None) -> int | None:
    """Return how many tasks ran in a service that was stopped for a restoration and is so still.

    A release that has begun its rollout has started the service already.
    """
    stopped = restoration.get("stopped", {}) if restoration and one.rollout is None else {}
    return stopped.get(one.spec.service)


def _start_again(one: _Left, restoration: Restoration | None) -> None:
    count = _stopped_count(one, restoration)
    if one.live and count is not None:
        ecs.scale(one.spec.cluster, one.spec.service, count)


def _task_before(release: Release) -> TaskRun | None:
    """Return the task that the release has run before its rollout, or was about to."""
    record = releases.find(release["service"], release["id"])
    return record.get("before") if record else None


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


def _deployment_id(one: _Left) -> str | None:
    """Return the id of the release's rollout, even if the release failed to record it."""
    if one.rollout:
        return one.rollout["id"]
    primary = rollout.primary(one.live) if one.live else None
    is_ours = primary is not None and primary["taskDefinition"] == one.revision
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
