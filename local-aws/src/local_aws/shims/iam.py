"""Which resources, and which further permissions, a request needs.

MiniStack authorizes an ECS request on its cluster and an SSM path on `*`, and asks for neither
iam:PassRole nor the permission to tag what is being made. Each rule here follows the Service
Authorization Reference (https://docs.aws.amazon.com/service-authorization/latest/reference/), so
that a policy that passes here names the right resources on AWS too.

A session that was made with MFA says so: aws:MultiFactorAuthPresent is true in it. With an access
key alone there is no such key, as the IAM user guide says (AWS global condition context keys).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import error_response_xml
from ministack.services import iam, sts

from local_aws.shims import Shim, decisions

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


def _alarms(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    """DescribeAlarms: alarms have ARNs, and a prefix names any."""
    yield Need("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{where}:alarm:*")


def _log_stream(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    group, stream = request.get("logGroupName", ""), request.get("logStreamName", "")
    yield Need(action, f"arn:aws:logs:{where}:log-group:{group}:log-stream:{stream}")


def _log_group(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    yield Need(action, f"arn:aws:logs:{where}:log-group:{request.get('logGroupName', '')}:*")


def _log_streams(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    group = request.get("logGroupName", "")
    yield Need(action, f"arn:aws:logs:{where}:log-group:{group}:log-stream:")


def _principal(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    yield Need(action, request.get("PolicySourceArn", "*"))


def _stack(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    name = request.get("StackName", "*")
    named = f"arn:aws:cloudformation:{where}:stack/{name}/*"
    yield Need(action, name if name.startswith("arn:") else named)


type Rule = Callable[[str, Mapping[str, Any], str], Iterator[Need]]


def _builds(action: str, request: Mapping[str, Any], where: str) -> Iterator[Need]:
    """A build is of its project: the id begins with the project's name, in an ARN too."""
    for build in request.get("ids") or [request.get("id", "")]:
        project = build.rpartition(":build/")[2].partition(":")[0]
        yield Need(action, f"arn:aws:codebuild:{where}:project/{project}")


_RULES: Mapping[tuple[str, str], Rule] = {
    ("cloudformation", "DescribeStacks"): _stack,
    ("codebuild", "BatchGetBuilds"): _builds,
    ("codebuild", "StopBuild"): _builds,
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
    ("monitoring", "DescribeAlarms"): _alarms,
    ("rds", "CreateDBSnapshot"): _snapshot,
    ("rds", "DeleteDBSnapshot"): _snapshot,
    ("rds", "DescribeDBInstances"): _database,
    ("rds", "DescribeDBSnapshots"): _database,
    ("rds", "RestoreDBInstanceFromDBSnapshot"): _snapshot,
    ("ssm", "GetParameters"): _parameters,
    ("ssm", "GetParametersByPath"): _parameter_path,
    ("iam", "SimulatePrincipalPolicy"): _principal,
    ("logs", "CreateLogStream"): _log_stream,
    ("logs", "DescribeLogStreams"): _log_streams,
    ("logs", "FilterLogEvents"): _log_group,
    ("logs", "GetLogEvents"): _log_stream,
    ("logs", "PutLogEvents"): _log_stream,
    ("elasticloadbalancing", "DescribeLoadBalancers"): _anything,
    ("elasticloadbalancing", "DescribeTargetGroups"): _anything,
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


# MFA: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
# -------------------------------------------------------------------------------------------------

_mfa: ContextVar[bool] = ContextVar("mfa", default=False)
_used: dict[str, str] = {}


@shim.wraps(sts, "handle_request", "method path headers body query_params")
async def handle_request(
    original: Callable[..., Any],
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Mapping[str, Any],
) -> Any:
    """A device of six digits and its user: any six are right, but not the same twice."""
    asked = {**query_params, **parse_qs(body.decode(errors="replace"))}
    serial, code = (str((asked.get(key) or [""])[0]) for key in ("SerialNumber", "TokenCode"))
    if serial or code:
        caller = iam_evaluator.request_caller_arn(headers, query_params)
        user = (iam._mfa_devices.get(serial) or {}).get("User")
        right = re.fullmatch("[0-9]{6}", code) and _used.get(serial) != code
        if not right or not user or not caller.endswith(f":user/{user}"):
            said = "MultiFactorAuthentication failed with invalid MFA one time pass code."
            return error_response_xml("AccessDenied", said, 403)
        _used[serial] = code
    token = _mfa.set(bool(serial))
    try:
        return await original(method, path, headers, body, query_params)
    finally:
        _mfa.reset(token)


@shim.wraps(iam, "handle_request", "method path headers body query_params")
async def iam_request(
    original: Callable[..., Any],
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Mapping[str, Any],
) -> Any:
    """ListMFADevices without a name is about the caller
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListMFADevices.html)."""
    asked = parse_qs(body.decode(errors="replace"))
    if asked.get("Action") == ["ListMFADevices"] and not asked.get("UserName"):
        caller = iam_evaluator.request_caller_arn(headers, query_params)
        body = body + b"&UserName=" + caller.rpartition("/")[2].encode()
    return await original(method, path, headers, body, query_params)


@shim.wraps(sts, "register_session", "access_key session")
def register_session(
    original: Callable[..., None], access_key: str, session: dict[str, Any]
) -> None:
    original(access_key, {**session, "Mfa": _mfa.get()})


@shim.wraps(iam_evaluator, "_principal_keys", "credential")
def _principal_keys(original: Callable[..., dict[str, Any]], credential: Any) -> dict[str, Any]:
    keys = original(credential)
    session = sts._sessions.get(credential.access_key_id) or {}
    if session.get("Mfa") or _mfa.get():
        keys["aws:multifactorauthpresent"] = "true"
    return keys


@shim.wraps(iam_evaluator, "_resolve_condition_key", "key ctx")
def _resolve_condition_key(original: Callable[..., Any], key: str, ctx: Any) -> Any:
    """aws:PrincipalArn of a session is the ARN of its role, with the role's path
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html)."""
    if key.lower() == "aws:principalarn" and ctx.principal_type == "AssumedRole":
        name = ctx.principal_arn.split("/")[1]
        role = iam._roles.get_scoped(ctx.principal_account, None, name)
        return role["Arn"] if role else None
    return original(key, ctx)


@shim.wraps(app, "pin_request_origin", "source_ip secure_transport")
def pin_request_origin(
    original: Callable[..., None], source_ip: str, secure_transport: bool
) -> None:
    """There is no TLS here; what never leaves this machine counts as sent over it, so that
    `aws:SecureTransport` lets in what it lets in on AWS."""
    original(source_ip, True)


install = shim.install
