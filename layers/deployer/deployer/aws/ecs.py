"""Services, task definitions and tasks in ECS."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from deployer.aws import client, refused
from deployer.deploy.rollout import READ_LAG, Rollout, Service, primary, shows
from deployer.deploy.stop_reasons import Task
from deployer.deploy.task_definitions import CONTENT_TAG
from deployer.errors import DeployError, PreflightFailed, ServiceDraining

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

_DESCRIBE_TASKS_LIMIT = 100
_READS_AFTER_WRITE = 15
_READ_PAUSE = 2.0  # seconds
_NONE = timedelta(0)
_JSON_TYPES = {
    "<class 'str'>": "a text",
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'list'>": "a list",
    "<class 'tuple'>": "a list",
    "<class 'dict'>": "an object",
}


def _ecs() -> "ECSClient":
    return client("ecs")  # type: ignore[no-any-return]


def cluster_status(cluster: str) -> str | None:
    """Return the cluster's status: ACTIVE if it can run tasks, MISSING if it does not exist.

    None means no permission to describe it.
    """
    try:
        clusters = _ecs().describe_clusters(clusters=[cluster])["clusters"]
    except ClientError as error:
        if refused(error):
            return None
        raise
    return clusters[0]["status"] if clusters else "MISSING"


def service(cluster: str, name: str) -> Service | None:
    """Return the service, or None if it is not ACTIVE or its cluster does not exist."""
    try:
        services = _ecs().describe_services(cluster=cluster, services=[name])["services"]
    except _ecs().exceptions.ClusterNotFoundException:
        return None
    active = [dict(entry) for entry in services if entry["status"] == "ACTIVE"]
    return active[0] if active else None


def service_after(
    cluster: str,
    name: str,
    revision: str | None,
    started: Rollout | None,
    network: Mapping[str, Any] | None = None,
    since: float | None = None,
) -> Service | None:
    """Return the service as it is after our last update. Retry while reads may lag behind it.

    Args:
        revision: the revision that the update rolls out; None if there was no update.
        started: the rollout; None if it was not recorded, so the update may have just happened.
        network: the network configuration of the update; None if only the revision matters.
        since: when the reads of several services began, by time.monotonic(); by default now.
    """
    age = datetime.now(UTC) - datetime.fromisoformat(started["startedAt"]) if started else _NONE
    began = time.monotonic() if since is None else since
    deadline = began + (READ_LAG - max(age, _NONE)).total_seconds()
    current = service(cluster, name)
    while revision and not shows(current, revision, started, network):
        if time.monotonic() >= deadline:
            break
        time.sleep(_READ_PAUSE)
        current = service(cluster, name)
    return current


def create_service(request: Mapping[str, Any]) -> Service:
    """Create a service.

    Raises:
        ServiceDraining: a deleted service of the same name is still draining.
    """
    try:
        return dict(_ecs().create_service(**request)["service"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidParameterException" and _is_draining(request):
            raise ServiceDraining(
                f"a deleted service {request['serviceName']} is still draining in"
                f" {request['cluster']}"
            ) from error
        raise


def _is_draining(request: Mapping[str, Any]) -> bool:
    response = _ecs().describe_services(
        cluster=request["cluster"], services=[request["serviceName"]]
    )
    return any(entry["status"] == "DRAINING" for entry in response["services"])


def update_service(name: str, request: Mapping[str, Any]) -> Service:
    """Update a service; a repeated call with the same request starts no second deployment."""
    return dict(_ecs().update_service(service=name, **request)["service"])


def deployment_of(updated: Service, revision: str) -> Mapping[str, Any]:
    """Return the deployment that rolls a service out to a task definition.

    Args:
        updated: the service in the response of the call that changed it.
    Raises:
        DeployError: ECS does not show the deployment, even after the lag of its reads.
    """
    for _ in range(_READS_AFTER_WRITE):
        current = primary(updated)
        if current and current["taskDefinition"] == revision:
            return current
        time.sleep(1)
        updated = service(updated["clusterArn"], updated["serviceName"]) or updated
    raise DeployError(f"ECS shows no deployment of {revision} in {updated['serviceName']}")


def scale(cluster: str, name: str, count: int) -> None:
    """Set how many tasks a service runs; zero stops all, and starts no new ones."""
    _ecs().update_service(cluster=cluster, service=name, desiredCount=count)


def register(definition: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Register a task definition revision, and return its ARN.

    Raises:
        PreflightFailed: the deployer has no permission to register this family, or to pass its
            roles.
    """
    request: Any = {
        **definition,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }
    try:
        registered = _ecs().register_task_definition(**request)
    except ClientError as error:
        if refused(error):
            raise PreflightFailed(
                f"no permission to register a revision of {definition['family']}: name the family"
                " in TaskFamilyPattern of the deployer's stack, and its roles in"
                f" ExecutionRolePattern and TaskRolePattern. {error}"
            ) from error
        raise
    return registered["taskDefinition"]["taskDefinitionArn"]


def revision(name: str) -> tuple[str, Mapping[str, str]] | None:
    """Return the ARN and tags of a task definition, or None if it is not ACTIVE.

    Args:
        name: a revision, or a family for its newest ACTIVE revision.
    """
    described = task_definition(name)
    if described is None or described[0]["status"] != "ACTIVE":
        return None
    definition, tags = described
    return definition["taskDefinitionArn"], {tag["key"]: tag["value"] for tag in tags}


def task_definition(name: str) -> tuple[Mapping[str, Any], list[Mapping[str, str]]] | None:
    """Return a task definition and its tags, whether it is ACTIVE or not; None if it is missing.

    Args:
        name: a revision, or a family for its newest ACTIVE revision.
    """
    try:
        response = _ecs().describe_task_definition(taskDefinition=name, include=["TAGS"])
    except ClientError as error:
        # ECS has no error of its own for "no such task definition"
        if error.response["Error"]["Code"] == "ClientException":
            return None
        raise
    return dict(response["taskDefinition"]), [dict(tag) for tag in response.get("tags", [])]  # type: ignore[arg-type]


def registered(name: str) -> Mapping[str, Any]:
    """Return a task definition that was registered, even if a moment ago: reads may lag.

    Raises:
        DeployError: ECS does not show it.
    """
    for _ in range(_READS_AFTER_WRITE):
        if described := task_definition(name):
            return described[0]
        time.sleep(1)
    raise DeployError(f"ECS does not show task definition {name}")


def invalid_fields(operation: str, request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the path of each field that an operation does not take, and why.

    By botocore's model of ECS, as before each call. No value is shown: it may be a secret.
    """
    shape = _ecs().meta.service_model.operation_model(operation).input_shape
    assert shape
    errors = ParamValidator().validate(request, shape)._errors
    return [_described_error(error, path, details) for error, path, details in errors]


def _described_error(error: str, path: str, details: Mapping[str, Any]) -> tuple[str, str]:
    path = path.lstrip(".")
    if error == "missing required field":
        return f"{path}.{details['required_name']}".lstrip("."), "is missing"
    if error == "unknown field":
        names = ", ".join(sorted(details["valid_names"]))
        field = f"{path}.{details['unknown_param']}".lstrip(".")
        return field, f"unknown field; expected one of: {names}"
    if error == "invalid type":
        names = ", ".join(sorted({_JSON_TYPES.get(n, n) for n in details["valid_types"]}))
        return path, f"must be {names}"
    least = details.get("min_allowed")
    return path, f"must be at least {least}" if least is not None else error


def of_content(names: Sequence[str], content: str) -> str | None:
    """Return the ARN of the first task definition with this content, or None.

    Args:
        names: revisions, or families for their newest ACTIVE revision.
        content: the hash of the definition; see `task_definitions.content_hash`.
    """
    for name in names:
        match = revision(name)
        if match and match[1].get(CONTENT_TAG) == content:
            return match[0]
    return None


def tasks(cluster: str, name: str) -> list[Task]:
    """Return the tasks of a service that run or are about to."""
    return _tasks(cluster, name, "RUNNING")


def existing_tasks(cluster: str, ids: Sequence[str]) -> list[Task]:
    """Return the tasks that ECS still has: it forgets a task an hour after it stopped."""
    tasks: list[Task] = []
    for start in range(0, len(ids), _DESCRIBE_TASKS_LIMIT):
        batch = ids[start : start + _DESCRIBE_TASKS_LIMIT]
        tasks += [dict(t) for t in _ecs().describe_tasks(cluster=cluster, tasks=batch)["tasks"]]
    return tasks


def run_task(request: Mapping[str, Any]) -> tuple[list[Task], list[Mapping[str, Any]]]:
    """Run tasks that belong to no service; return them, and the failures to place one.

    Args:
        request: with a `clientToken`, a repeated call is the same call.
    """
    response = _ecs().run_task(**request)
    return [dict(one) for one in response["tasks"]], [dict(one) for one in response["failures"]]


def run_once(request: Mapping[str, Any]) -> tuple[str | None, str]:
    """Run a task unless an earlier call with the same `clientToken` did; see `run_task`.

    Returns:
        The task's ARN, or None; and why ECS did not run it.
    """
    try:
        tasks, failures = run_task(request)
    except _ecs().exceptions.ConflictException as error:  # the service has changed meanwhile
        response: Mapping[str, Any] = error.response
        return next(iter(response.get("resourceIds", ())), None), f"{error}"
    except ClientError as error:
        if refused(error):
            return None, (
                "no permission: name its family in TaskFamilyPattern of the deployer's stack, its"
                " cluster in ClusterName, and its roles in ExecutionRolePattern and"
                f" TaskRolePattern. {error}"
            )
        return None, f"{error}"
    reasons = "; ".join(str(one.get("reason")) for one in failures)
    return (tasks[0]["taskArn"] if tasks else None), reasons or "no reason given"


def started_tasks(cluster: str, started_by: str, revision: str) -> list[Task]:
    """Return the tasks with a `startedBy`, whether they run or stopped within the last hour.

    Reads lag behind RunTask.

    Args:
        revision: the ARN of their task definition: ListTasks takes no status beside a startedBy.
    """
    family = revision.rpartition("/")[2].partition(":")[0]
    list_tasks = _ecs().get_paginator("list_tasks").paginate
    running = list_tasks(cluster=cluster, startedBy=started_by)
    stopped = list_tasks(cluster=cluster, family=family, desiredStatus="STOPPED")
    arns = [arn for page in running for arn in page["taskArns"]]
    arns += [arn for page in stopped for arn in page["taskArns"]]
    return [t for t in existing_tasks(cluster, arns) if t.get("startedBy") == started_by]


def stop_task(cluster: str, task: str, reason: str) -> None:
    """Stop a task: its containers get SIGTERM, and SIGKILL when their stop timeout is over."""
    _ecs().stop_task(cluster=cluster, task=task, reason=reason)


def running_tasks(cluster: str, name: str, rollout_id: str) -> list[Task]:
    """Return the tasks of one rollout that run or are about to."""
    # ListTasks accepts startedBy only as its sole filter
    return [task for task in tasks(cluster, name) if task.get("startedBy") == rollout_id]


def stopped_tasks(cluster: str, name: str, rollout_id: str) -> list[Task]:
    """Return the stopped tasks of one rollout, oldest first. ECS forgets them after an hour."""
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
    return existing_tasks(cluster, arns)
