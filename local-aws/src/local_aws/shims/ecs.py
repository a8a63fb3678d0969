"""ECS as AWS has it: services, their deployments and tasks behind MiniStack's API surface.

MiniStack's stores, task definitions, clusters, tags and read operations stay. Its scheduler and its
way to run a task (with Docker, and without: RUNNING with nothing behind it) are replaced by
`ecs_scheduler` and `ecs_tasks`; here is the API in front of them. Messages that no page of AWS
gives are marked with where they were seen, or as from memory.
"""

import contextlib
import copy
import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import ecs

from local_aws.shims import (
    ecs_agent,
    ecs_events,
    ecs_scheduler,
    ecs_tasks,
    load_balancer,
)
from local_aws.shims.ecs_tasks import lock

Request = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

_READ_LAG = float(os.environ.get("READ_LAG_SECONDS", "0"))

# UpdateService: "This parameter triggers a new service deployment" (API reference).
_DEPLOYING = (
    "networkConfiguration",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
)
# What an update takes in its own way, or is not the service's.
_OF_THE_REQUEST = (
    *("cluster", "service", "role", "clientToken", "forceNewDeployment"),
    *("taskDefinition", "deploymentConfiguration", "desiredCount"),
)
_DEFAULTS: dict[str, Any] = {
    "loadBalancers": [],
    "serviceRegistries": [],
    "networkConfiguration": {},
    "healthCheckGracePeriodSeconds": 0,
    "schedulingStrategy": "REPLICA",
    "deploymentController": {"type": "ECS"},
    "enableECSManagedTags": False,
    "propagateTags": "NONE",
    "enableExecuteCommand": False,
    "tags": [],
}


class _Refused(Exception):
    """An error answer: its AWS code, message and further members."""

    def __init__(self, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.code, self.members = code, members


def _register(original: Callable[[Request], Response], data: Request) -> Response:
    """A revision is what was given, and nothing else: MiniStack drops some fields, and shows others
    as "" or null."""
    status, headers, body = original(data)
    if status != 200:
        return status, headers, body
    answer = json.loads(body)["taskDefinition"]
    stored = ecs._task_defs[f"{answer['family']}:{answer['revision']}"]
    stored.update({k: v for k, v in data.items() if k not in stored and k != "tags"})
    for field in [field for field, value in stored.items() if value in ("", None)]:
        del stored[field]
    return json_response({"taskDefinition": ecs._sanitize(stored), "tags": data.get("tags") or []})


def _create_service(data: Request) -> Response:
    cluster = _cluster(data)
    name = data["serviceName"]
    key = f"{cluster['clusterName']}/{name}"
    existing = ecs._services.get(key)
    if existing and existing["status"] != "INACTIVE":
        # https://github.com/hashicorp/terraform-provider-aws/issues/2283
        raise _Refused("InvalidParameterException", "Creation of service was not idempotent.")
    definition = _definition(data.get("taskDefinition") or "")
    _complete(data.get("networkConfiguration") or {})
    _check_target_groups(data.get("loadBalancers") or [])
    launch_type, strategy, refused = ecs._launch_choice(data, cluster)
    if refused:
        return refused
    fargate = ecs._task_capacity(launch_type, strategy)[0] == "FARGATE"
    account, region = get_account_id(), get_region()
    given = {k: v for k, v in data.items() if k not in _OF_THE_REQUEST and v is not None}
    service: dict[str, Any] = {
        **copy.deepcopy(_DEFAULTS),
        **given,
        "serviceArn": f"arn:aws:ecs:{region}:{account}:service/{cluster['clusterName']}/{name}",
        "clusterArn": cluster["clusterArn"],
        "status": "ACTIVE",
        "desiredCount": data.get("desiredCount") or 0,
        "runningCount": 0,
        "pendingCount": 0,
        "launchType": launch_type,
        "capacityProviderStrategy": strategy,
        "platformVersion": (data.get("platformVersion") or "LATEST") if fargate else None,
        "platformFamily": "Linux" if fargate else None,
        "taskDefinition": definition["taskDefinitionArn"],
        "deploymentConfiguration": _limits({}, data.get("deploymentConfiguration")),
        "deployments": [],
        "roleArn": data.get("role"),
        "events": [],
        "createdAt": ecs_events.now(),
        "createdBy": f"arn:aws:iam::{account}:root",
    }
    if service["tags"]:
        ecs._tags[service["serviceArn"]] = list(service["tags"])
    ecs._services[key] = service
    ecs_scheduler.new_deployment(service)
    ecs_scheduler.wake()
    return _answer("service", service)


def _update_service(data: Request) -> Response:
    service = _service(data)
    if service["status"] != "ACTIVE":
        raise _Refused("ServiceNotActiveException", "Service was not ACTIVE.")
    _check_target_groups(data.get("loadBalancers") or [])
    stale = json.loads(_answer("service", service)[2])["service"]
    changed = bool(data.get("forceNewDeployment"))
    if data.get("taskDefinition"):
        arn = _definition(data["taskDefinition"])["taskDefinitionArn"]
        changed |= arn != service["taskDefinition"]
        service["taskDefinition"] = arn
    _complete(data.get("networkConfiguration") or {})
    for field, value in data.items():
        if field not in _OF_THE_REQUEST and value is not None:
            changed |= field in _DEPLOYING and value != service.get(field)
            service[field] = value
    service["deploymentConfiguration"] = _limits(
        service["deploymentConfiguration"], data.get("deploymentConfiguration")
    )
    if data.get("desiredCount", service["desiredCount"]) != service["desiredCount"]:
        service["desiredCount"] = data["desiredCount"]
        service["_steady"] = False
    if changed:
        ecs_scheduler.new_deployment(service)
        service["_steady"] = False
    else:
        service["deployments"][0]["desiredCount"] = service["desiredCount"]
    service["_stale"] = (time.monotonic() + _READ_LAG, stale)
    ecs_scheduler.wake()
    return _answer("service", service)


def _delete_service(data: Request) -> Response:
    service = _service(data)
    service.update(status="DRAINING", desiredCount=0)
    for deployment in service["deployments"]:
        deployment["desiredCount"] = 0
    ecs_scheduler.wake()
    return _answer("service", service)


_ran: dict[tuple[str, str], tuple[Request, list[ecs_tasks.Task]]] = {}
"""What RunTask was asked for with a client token in an account, and the tasks that it started."""


def _run_task(data: Request) -> Response:
    cluster = _cluster(data)
    token = (get_account_id(), data.get("clientToken") or "")
    request = copy.deepcopy(data)  # what follows fills in defaults
    earlier, tasks = _ran.get(token) or (request, [])
    if earlier != request:  # AmazonECS/latest/APIReference/ECS_Idempotency.html
        raise _Refused(
            "ConflictException",
            "The client token was used with other parameters.",
            resourceIds=[task.record["taskArn"] for task in tasks],
        )
    if tasks:
        return _started(tasks)
    definition = _definition(data.get("taskDefinition") or "")
    _complete(data.get("networkConfiguration") or {})
    if why := ecs_agent.unassumable(definition):
        raise _Refused("ClientException", why)
    launch_type, strategy, refused = ecs._launch_choice(data, cluster)
    if refused:
        return refused
    tasks = [
        ecs_tasks.launch(
            definition,
            cluster=cluster["clusterArn"],
            group=data.get("group") or f"family:{definition['family']}",
            started_by=data.get("startedBy") or "",
            network_configuration=data.get("networkConfiguration"),
            capacity=ecs._task_capacity(launch_type, strategy),
            platform_version=data.get("platformVersion"),
            overrides=data.get("overrides"),
            execute_command=data.get("enableExecuteCommand") or False,
            tags=data.get("tags"),
        )
        for _ in range(data.get("count") or 1)
    ]
    if token[1]:
        _ran[token] = (request, tasks)
    return _started(tasks)


def _started(tasks: list[ecs_tasks.Task]) -> Response:
    shown = [ecs._sanitize(task.record) for task in tasks]
    response: Response = json_response({"tasks": shown, "failures": []})
    return response


def _stop_task(data: Request) -> Response:
    cluster = _cluster(data)
    record = ecs._resolve_task(data.get("task") or "", cluster["clusterName"])
    if not record:
        raise _Refused("InvalidParameterException", "The referenced task was not found.")
    if task := ecs_tasks.running.get(record["taskArn"]):
        task.stop(data.get("reason") or "Task stopped by user", "UserInitiated")
    return _answer("task", record)


def _describe_services(original: Callable[[Request], Response], data: Request) -> Response:
    """Reads may lag behind UpdateService (https://github.com/bugcrowd/ecs-deployment-monitor/pull/2
    saw three misses, 3 s apart): for READ_LAG_SECONDS the service is shown as it was."""
    cluster = _cluster(data)["clusterName"]
    answer = json.loads(original(data)[2])
    for place, shown in enumerate(answer["services"]):
        service = ecs._services[f"{cluster}/{shown['serviceName']}"]
        until, stale = service.get("_stale") or (0.0, None)
        if time.monotonic() < until:
            answer["services"][place] = stale
    response: Response = json_response(answer)
    return response


def _with_cluster(original: Callable[[Request], Response], data: Request) -> Response:
    _cluster(data)
    return original(data)


def _cluster(data: Request) -> dict[str, Any]:
    name = ecs._resolve_cluster_name(data.get("cluster") or "default")
    cluster: dict[str, Any] | None = ecs._clusters.get(name)
    if not cluster or cluster["status"] != "ACTIVE":
        raise _Refused("ClusterNotFoundException", "Cluster not found.")
    return cluster


def _service(data: Request) -> dict[str, Any]:
    cluster = _cluster(data)["clusterName"]
    name, of_arn = ecs._resolve_service_ref(data.get("service") or "") or ("", None)
    service: dict[str, Any] | None = ecs._services.get(f"{cluster}/{name}")
    if not service or of_arn not in (None, cluster):
        raise _Refused("ServiceNotFoundException", "Service not found.")
    return service


def _definition(reference: str) -> dict[str, Any]:
    definition: dict[str, Any] | None = ecs._task_defs.get(ecs._resolve_td_key(reference))
    if definition is None:
        raise _Refused("ClientException", "TaskDefinition not found.")
    if definition["status"] != "ACTIVE":
        raise _Refused("ClientException", "TaskDefinition is inactive")
    return definition


def _complete(configuration: dict[str, Any]) -> None:
    """Fill in what DescribeServices shows of a network configuration in any case."""
    awsvpc = configuration.get("awsvpcConfiguration") or {}
    for field, default in (("securityGroups", []), ("assignPublicIp", "DISABLED")):
        awsvpc.setdefault(field, default)


def _check_target_groups(configured: list[dict[str, Any]]) -> None:
    """API_LoadBalancer.html: the group has to be one of a load balancer. From memory."""
    for group in (each.get("targetGroupArn") for each in configured):
        if group and not load_balancer.is_used(group):
            raise _Refused(
                "InvalidParameterException",
                f"The target group with targetGroupArn {group} does not have an associated load "
                "balancer.",
            )


def _limits(current: dict[str, Any], given: dict[str, Any] | None) -> dict[str, Any]:
    """A deployment configuration with the API reference's defaults for what is not given."""
    defaults = {
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "strategy": "ROLLING",
        "bakeTimeInMinutes": 0,
    }
    return copy.deepcopy(defaults | current | (given or {}))


def _answer(name: str, record: dict[str, Any]) -> Response:
    return json_response({name: ecs._sanitize(record)})


def _guarded(handler: Callable[[Request], Response], data: Request) -> Response:
    """Under the lock, so that every answer is one moment's; refusals as AWS's errors."""
    try:
        with lock:
            return handler(data)
    except _Refused as refused:
        return error_response_json(refused.code, str(refused), 400, refused.members)


def _to_epoch(value: Any) -> Any:
    """API times have milliseconds on AWS; MiniStack cuts them to seconds."""
    with contextlib.suppress(TypeError, ValueError):
        return datetime.fromisoformat(value).timestamp()
    return value


def install() -> None:
    """Put this API in front, and start the scheduler and the sender of events."""
    ecs_events.install()
    ecs_scheduler.install()
    # Other parts of MiniStack (CloudFormation, Step Functions) call these by name.
    for operation, name, handler in (
        (
            "RegisterTaskDefinition",
            "_register_task_definition",
            partial(_register, ecs._register_task_definition),
        ),
        ("CreateService", "_create_service", _create_service),
        ("UpdateService", "_update_service", _update_service),
        ("DeleteService", "_delete_service", _delete_service),
        (
            "DescribeServices",
            "_describe_services",
            partial(_describe_services, ecs._describe_services),
        ),
        ("ListServices", "_list_services", partial(_with_cluster, ecs._list_services)),
        ("RunTask", "_run_task", _run_task),
        ("StopTask", "_stop_task", _stop_task),
        ("DescribeTasks", "_describe_tasks", partial(_with_cluster, ecs._describe_tasks)),
        ("ListTasks", "_list_tasks", partial(_with_cluster, ecs._list_tasks)),
    ):
        guarded = partial(_guarded, handler)
        setattr(ecs, name, guarded)
        ecs._ACTION_MAP[operation] = guarded
    ecs._reconcile_service_tasks = lambda cluster_name, svc_key: ecs_scheduler.wake()
    ecs._ts_to_epoch = _to_epoch
