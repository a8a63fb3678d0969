"""Services, task definitions and tasks in ECS."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused
from deployer.deploy.rollout import READ_LAG, Rollout, Service, primary, shows
from deployer.deploy.stop_reasons import Task
from deployer.deploy.task_definitions import CONTENT_TAG
from deployer.errors import DeployError, ServiceDraining

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

_DESCRIBE_TASKS_LIMIT = 100
_READS_AFTER_WRITE = 15
_BETWEEN_LOOKS = 2.0  # seconds
_NONE = timedelta(0)


def _ecs() -> "ECSClient":
    return client("ecs")  # type: ignore[no-any-return]


def cluster_status(cluster: str) -> str | None:
    """The cluster's status, ACTIVE if it can run tasks, MISSING if there is none; None if we may
    not look at it."""
    try:
        found = _ecs().describe_clusters(clusters=[cluster])["clusters"]
    except ClientError as error:
        if refused(error):
            return None
        raise
    return found[0]["status"] if found else "MISSING"


def service(cluster: str, name: str) -> Service | None:
    """The service of that name, if it is ACTIVE: one that drains or is INACTIVE is gone, as one is
    whose cluster is not there."""
    try:
        found = _ecs().describe_services(cluster=cluster, services=[name])["services"]
    except _ecs().exceptions.ClusterNotFoundException:
        return None
    active = [dict(entry) for entry in found if entry["status"] == "ACTIVE"]
    return active[0] if active else None


def service_after(
    cluster: str,
    name: str,
    revision: str | None,
    started: Rollout | None,
    network: Mapping[str, Any] | None = None,
) -> Service | None:
    """The service, not as it was before an update of ours that reads do not show yet: looked at
    again for as long as they may lag.

    Args:
        revision: what the update rolls out; None if there was none.
        started: the rollout; None if it was not noted, so the update may be this very moment's.
        network: what network the update asks for; None if only the revision matters.
    """
    age = datetime.now(UTC) - datetime.fromisoformat(started["startedAt"]) if started else _NONE
    give_up = time.monotonic() + (READ_LAG - max(age, _NONE)).total_seconds()
    found = service(cluster, name)
    while revision and not shows(found, revision, started, network):
        if time.monotonic() >= give_up:
            break
        time.sleep(_BETWEEN_LOOKS)
        found = service(cluster, name)
    return found


def create_service(request: Mapping[str, Any]) -> Service:
    """Create a service.

    Raises:
        ServiceDraining: while a deleted one of the same name still drains.
    """
    try:
        return dict(_ecs().create_service(**request)["service"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidParameterException" and _drains(request):
            raise ServiceDraining(
                f"a deleted service {request['serviceName']} still drains in {request['cluster']}"
            ) from error
        raise


def _drains(request: Mapping[str, Any]) -> bool:
    found = _ecs().describe_services(cluster=request["cluster"], services=[request["serviceName"]])[
        "services"
    ]
    return any(entry["status"] == "DRAINING" for entry in found)


def update_service(name: str, request: Mapping[str, Any]) -> Service:
    """Update a service; a repeated call with the same request starts no second deployment."""
    return dict(_ecs().update_service(service=name, **request)["service"])


def deployment_of(answer: Service, revision: str) -> Mapping[str, Any]:
    """The deployment by which a service goes to a task definition.

    Args:
        answer: the service as the call that changed it answered.
    Raises:
        DeployError: ECS does not show it, even after the lag that its reads have.
    """
    for _ in range(_READS_AFTER_WRITE):
        current = primary(answer)
        if current and current["taskDefinition"] == revision:
            return current
        time.sleep(1)
        answer = service(answer["clusterArn"], answer["serviceName"]) or answer
    raise DeployError(f"ECS shows no deployment of {revision} in {answer['serviceName']}")


def scale_to_zero(cluster: str, name: str) -> None:
    """Stop every task of a service and start no new ones."""
    _ecs().update_service(cluster=cluster, service=name, desiredCount=0)


def register(definition: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Register a task definition revision; returns its ARN."""
    registered = _ecs().register_task_definition(
        **definition, tags=[{"key": key, "value": value} for key, value in tags.items()]
    )
    return registered["taskDefinition"]["taskDefinitionArn"]


def revision(name: str) -> tuple[str, Mapping[str, str]] | None:
    """ARN and tags of a task definition: a revision, or a family for its newest ACTIVE one.

    None if there is none such that is ACTIVE.
    """
    try:
        found = _ecs().describe_task_definition(taskDefinition=name, include=["TAGS"])
    except ClientError as error:
        # ECS has no error of its own for "no such task definition"
        if error.response["Error"]["Code"] == "ClientException":
            return None
        raise
    definition = found["taskDefinition"]
    if definition["status"] != "ACTIVE":
        return None
    return definition["taskDefinitionArn"], {t["key"]: t["value"] for t in found.get("tags", [])}


def containers(revision: str) -> list[Mapping[str, Any]]:
    """Return the container definitions of a revision."""
    found = _ecs().describe_task_definition(taskDefinition=revision)
    return [dict(container) for container in found["taskDefinition"]["containerDefinitions"]]


def of_content(names: Sequence[str], content: str) -> str | None:
    """The ARN of the first of these task definitions that says just this; None if none does.

    Args:
        names: revisions, or families for their newest ACTIVE one.
        content: the hash of what a definition says; see `taskdef.content_hash`.
    """
    for name in names:
        found = revision(name)
        if found and found[1].get(CONTENT_TAG) == content:
            return found[0]
    return None


def tasks(cluster: str, name: str) -> list[Task]:
    """The tasks of a service that run or are about to."""
    return _tasks(cluster, name, "RUNNING")


def known_tasks(cluster: str, ids: Sequence[str]) -> list[Task]:
    """Those of these tasks that ECS still knows: it forgets a task an hour after it stopped."""
    found: list[Task] = []
    for start in range(0, len(ids), _DESCRIBE_TASKS_LIMIT):
        batch = ids[start : start + _DESCRIBE_TASKS_LIMIT]
        found += [dict(t) for t in _ecs().describe_tasks(cluster=cluster, tasks=batch)["tasks"]]
    return found


def running_tasks(cluster: str, name: str, rollout_id: str) -> list[Task]:
    """The tasks of one rollout that run or are about to."""
    # ListTasks takes startedBy only as its sole filter, so the rollout is told apart here
    return [task for task in tasks(cluster, name) if task.get("startedBy") == rollout_id]


def stopped_tasks(cluster: str, name: str, rollout_id: str) -> list[Task]:
    """The tasks of one rollout that stopped, oldest first. ECS forgets them after an hour."""
    stopped = [t for t in _tasks(cluster, name, "STOPPED") if t.get("startedBy") == rollout_id]
    return sorted(stopped, key=lambda task: str(task.get("stoppedAt", "")))


def _tasks(cluster: str, name: str, status: str) -> list[Task]:
    pages = (
        _ecs()
        .get_paginator("list_tasks")
        .paginate(cluster=cluster, serviceName=name, desiredStatus=status)  # type: ignore[arg-type]
    )
    try:
        arns = [arn for page in pages for arn in page["taskArns"]]
    except (_ecs().exceptions.ServiceNotFoundException, _ecs().exceptions.ClusterNotFoundException):
        return []
    return known_tasks(cluster, arns)
