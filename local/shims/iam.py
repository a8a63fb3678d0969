"""Which resources, and which further permissions, a request needs.

MiniStack authorizes an ECS request on its cluster and an SSM path on `*`, and asks for neither
iam:PassRole nor the permission to tag what is being made. Each rule here follows the Service
Authorization Reference (https://docs.aws.amazon.com/service-authorization/latest/reference/), so
that a policy that passes here names the right resources on AWS too.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from ministack import app
from ministack.core import iam_actions, iam_evaluator

from local.shims import Shim, decisions

shim = Shim()


class Need(NamedTuple):
    """One permission that a request needs: an action on a resource, with its condition keys."""

    action: str
    resource: str
    keys: Mapping[str, str] = {}


_needs: ContextVar[list[Need] | None] = ContextVar("needs", default=None)


def needs(service: str, action: str, request: Mapping[str, Any], where: str) -> list[Need] | None:
    """What a request needs; None leaves the answer to MiniStack.

    Args:
        action: the API action, such as `UpdateService`.
        request: the request's parameters.
        where: region and account as an ARN has them, `us-east-1:123456789012`.
    """
    rule = _RULES.get((service, action))
    return list(rule(f"{service}:{action}", request, where)) if rule else None


def _short(name: str) -> str:
    """The last part of an ARN, or the name itself."""
    return name.rsplit("/", 1)[-1]


def _cluster(request: Mapping[str, Any]) -> str:
    return _short(request.get("cluster", "default"))


def _on_cluster(request: Mapping[str, Any], where: str) -> dict[str, str]:
    return {"ecs:cluster": f"arn:aws:ecs:{where}:cluster/{_cluster(request)}"}


def _clusters(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    for name in request.get("clusters", ["default"]):
        yield Need(action, f"arn:aws:ecs:{where}:cluster/{_short(name)}")


def _services(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    names = request.get("services") or [request.get("serviceName") or request.get("service", "")]
    for name in names:
        resource = f"arn:aws:ecs:{where}:service/{_cluster(request)}/{_short(name)}"
        yield Need(action, resource, _on_cluster(request, where))
        if action == "ecs:CreateService" and request.get("tags"):
            yield Need("ecs:TagResource", resource, {"ecs:CreateAction": "CreateService"})


def _tasks(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    for name in request.get("tasks") or [request.get("task", "")]:
        resource = f"arn:aws:ecs:{where}:task/{_cluster(request)}/{_short(name)}"
        yield Need(action, resource, _on_cluster(request, where))


def _list_tasks(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    yield Need(action, "*", _on_cluster(request, where))


def _anything(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    yield Need(action, "*")


def _register(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    resource = f"arn:aws:ecs:{where}:task-definition/{request.get('family', '')}:*"
    yield Need(action, resource)
    if request.get("tags"):
        yield Need("ecs:TagResource", resource, {"ecs:CreateAction": "RegisterTaskDefinition"})
    for role in (request.get("executionRoleArn"), request.get("taskRoleArn")):
        if role:
            yield Need("iam:PassRole", role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"})


def _parameter(where: str, name: str) -> str:
    return f"arn:aws:ssm:{where}:parameter/{name.strip('/')}"


def _parameters(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    for name in request.get("Names", []):
        yield Need(action, _parameter(where, name))


def _parameter_path(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    yield Need(action, _parameter(where, request.get("Path", "/")))


def _repositories(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    for name in request.get("repositoryNames") or ["*"]:
        yield Need(action, f"arn:aws:ecr:{where}:repository/{name}")


def _database(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    yield Need(action, f"arn:aws:rds:{where}:db:{request.get('DBInstanceIdentifier', '*')}")


def _snapshot(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    resource = f"arn:aws:rds:{where}:snapshot:{request.get('DBSnapshotIdentifier', '*')}"
    yield Need(action, resource)
    if action == "rds:CreateDBSnapshot":
        yield from _database(action, request, where)
        yield Need("rds:AddTagsToResource", resource)
    if action == "rds:RestoreDBInstanceFromDBSnapshot":
        yield from _database(action, request, where)
        yield from _database("rds:AddTagsToResource", request, where)
        if group := request.get("DBSubnetGroupName"):
            yield Need(action, f"arn:aws:rds:{where}:subgrp:{group}")
        if group := request.get("DBParameterGroupName"):
            yield Need(action, f"arn:aws:rds:{where}:pg:{group}")


def _put_events(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    for entry in request.get("Entries", []):
        bus = _short(entry.get("EventBusName", "default"))
        told = {"events:source": entry.get("Source", "")}
        yield Need(action, f"arn:aws:events:{where}:event-bus/{bus}", told)


def _log_stream(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    group, stream = request.get("logGroupName", ""), request.get("logStreamName", "")
    yield Need(action, f"arn:aws:logs:{where}:log-group:{group}:log-stream:{stream}")


type Rule = Callable[[str, Mapping[str, Any], str], Iterator[Need]]

_RULES: Mapping[tuple[str, str], Rule] = {
    ("ecs", "DescribeClusters"): _clusters,
    ("ecs", "CreateService"): _services,
    ("ecs", "DeleteService"): _services,
    ("ecs", "DescribeServices"): _services,
    ("ecs", "UpdateService"): _services,
    ("ecs", "DescribeTasks"): _tasks,
    ("ecs", "StopTask"): _tasks,
    ("ecs", "ListTasks"): _list_tasks,
    ("ecs", "DescribeTaskDefinition"): _anything,
    ("ecs", "DeregisterTaskDefinition"): _anything,
    ("ecs", "RegisterTaskDefinition"): _register,
    ("ecr", "DescribeRepositories"): _repositories,
    ("events", "PutEvents"): _put_events,
    ("rds", "CreateDBSnapshot"): _snapshot,
    ("rds", "DeleteDBSnapshot"): _snapshot,
    ("rds", "DescribeDBInstances"): _database,
    ("rds", "DescribeDBSnapshots"): _database,
    ("rds", "RestoreDBInstanceFromDBSnapshot"): _snapshot,
    ("ssm", "GetParameters"): _parameters,
    ("ssm", "GetParametersByPath"): _parameter_path,
    ("logs", "CreateLogStream"): _log_stream,
    ("logs", "GetLogEvents"): _log_stream,
    ("logs", "PutLogEvents"): _log_stream,
    ("elasticloadbalancing", "DescribeTargetHealth"): _anything,
}


@shim.wraps(
    iam_actions,
    "extract_resource_arn",
    "service method path headers body query_params region account_id",
)
def extract_resource_arn(
    original: Callable[..., str],
    service: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Mapping[str, Any],
    region: str,
    account_id: str,
) -> str:
    action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
    try:
        request = json.loads(body) if body and action else {}
    except ValueError:
        request = {}
    if not action:  # the query protocol: parameters as a form
        request = {k: v[0] if isinstance(v, list) else v for k, v in query_params.items()}
        action = request.get("Action", "")
    found = needs(service, action, request, f"{region}:{account_id}")
    _needs.set(found)
    if found:
        return found[0].resource
    return original(service, method, path, headers, body, query_params, region, account_id)


@shim.wraps(
    iam_evaluator,
    "enforce",
    "access_key_id iam_action service region resource_arn service_context",
)
def enforce(
    original: Callable[..., Any],
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: Mapping[str, Any] | None = None,
) -> Any:
    found = _needs.get()
    if not found or (found[0].action, found[0].resource) != (iam_action, resource_arn):
        found = [Need(iam_action, resource_arn)]
    _needs.set(None)
    caller = iam_evaluator.resolve_caller_identity(access_key_id) or {}
    for need in found:
        keys = {**(service_context or {}), **need.keys}
        denied = original(access_key_id, need.action, service, region, need.resource, keys)
        decisions.record(caller.get("userArn", ""), need.action, need.resource, allowed=not denied)
        if denied:
            return denied
    return None


@shim.wraps(app, "pin_request_origin", "source_ip secure_transport")
def pin_request_origin(
    original: Callable[..., None], source_ip: str, secure_transport: bool
) -> None:
    """There is no TLS here; what never leaves this machine counts as sent over it, so that
    `aws:SecureTransport` lets in what it lets in on AWS."""
    original(source_ip, True)


install = shim.install
