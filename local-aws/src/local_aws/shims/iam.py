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
from ministack.services import ecs, iam, sts

from local_aws.shims import Shim, after, roles

shim = Shim()


class Need(NamedTuple):
    """One permission that a request needs: an action on a resource, with its condition keys."""

    action: str
    resource: str
    keys: Mapping[str, str] = {}


_needs: ContextVar[list[Need] | None] = ContextVar("needs", default=None)


# What an action is on, after arn:aws:SERVICE:REGION:ACCOUNT: the names in braces are parameters of
# the request, and each of a list is a resource of its own.
_RESOURCES: Mapping[tuple[str, str], str] = {
    ("codebuild", "BatchGetBuilds"): "project/{ids}",
    ("codebuild", "StartBuild"): "project/{projectName}",
    ("codebuild", "StopBuild"): "project/{id}",
    ("ecr", "DescribeRepositories"): "repository/{repositoryNames}",
    ("ecs", "CreateService"): "service/{cluster}/{serviceName}",
    ("ecs", "DeleteService"): "service/{cluster}/{service}",
    ("ecs", "DeregisterTaskDefinition"): "*",
    ("ecs", "DescribeClusters"): "cluster/{clusters}",
    ("ecs", "DescribeServices"): "service/{cluster}/{services}",
    ("ecs", "DescribeTaskDefinition"): "*",
    ("ecs", "DescribeTasks"): "task/{cluster}/{tasks}",
    ("ecs", "ListTasks"): "*",
    ("ecs", "RegisterTaskDefinition"): "task-definition/{family}:*",
    ("ecs", "RunTask"): "task-definition/{taskDefinition}:*",
    ("ecs", "StopTask"): "task/{cluster}/{task}",
    ("ecs", "UpdateService"): "service/{cluster}/{service}",
    ("elasticloadbalancing", "DescribeLoadBalancers"): "*",
    ("elasticloadbalancing", "DescribeTargetGroups"): "*",
    ("elasticloadbalancing", "DescribeTargetHealth"): "*",
    ("iam", "SimulatePrincipalPolicy"): "{PolicySourceArn}",
    ("logs", "CreateLogStream"): "log-group:{logGroupName}:log-stream:{logStreamName}",
    ("logs", "DescribeLogStreams"): "log-group:{logGroupName}:log-stream:",
    ("logs", "FilterLogEvents"): "log-group:{logGroupName}:*",
    ("logs", "GetLogEvents"): "log-group:{logGroupName}:log-stream:{logStreamName}",
    ("logs", "PutLogEvents"): "log-group:{logGroupName}:log-stream:{logStreamName}",
    ("monitoring", "DescribeAlarms"): "alarm:*",  # a prefix of names may be any
    ("rds", "CreateDBSnapshot"): "snapshot:{DBSnapshotIdentifier}",
    ("rds", "DeleteDBSnapshot"): "snapshot:{DBSnapshotIdentifier}",
    ("rds", "DescribeDBInstances"): "db:{DBInstanceIdentifier}",
    ("rds", "DescribeDBSnapshots"): "db:{DBInstanceIdentifier}",
    ("rds", "RestoreDBInstanceFromDBSnapshot"): "snapshot:{DBSnapshotIdentifier}",
    ("ssm", "GetParameters"): "parameter/{Names}",
    ("ssm", "GetParametersByPath"): "parameter/{Path}",
}
_DEFAULTS = {"cluster": "default", "clusters": "default"}
_NAMESPACES = {"monitoring": "cloudwatch"}


def needs(service: str, action: str, request: Mapping[str, Any], where: str) -> list[Need] | None:
    """What a request needs; None leaves the answer to MiniStack.

    Args:
        action: the API action, such as `UpdateService`.
        request: the request's parameters.
        where: region and account as an ARN has them, `us-east-1:123456789012`.
    """
    if (service, action) == ("events", "PutEvents"):
        return [
            Need(
                "events:PutEvents",
                f"arn:aws:events:{where}:event-bus/{_name(entry.get('EventBusName', 'default'))}",
                {"events:source": entry.get("Source", "")},
            )
            for entry in request.get("Entries", [])
        ]
    template = _RESOURCES.get((service, action))
    if template is None:
        return None
    namespace = _NAMESPACES.get(service, service)
    prefix = f"arn:aws:{namespace}:{where}:"
    keys = {}
    if "{cluster}" in template or action in ("ListTasks", "RunTask"):
        (cluster,) = _filled("cluster/{cluster}", request)
        keys = {"ecs:cluster": prefix + cluster}
    needed = [
        Need(
            f"{namespace}:{action}",
            name if name == "*" or name.startswith("arn:") else prefix + name,
            keys,
        )
        for name in _filled(template, request)
    ]
    return needed + list(_further(service, action, request, needed, prefix))


def _further(
    service: str, action: str, request: Mapping[str, Any], needed: list[Need], prefix: str
) -> Iterator[Need]:
    """The permissions that a request needs besides its own action."""
    if service == "ecs" and request.get("tags"):
        yield Need("ecs:TagResource", needed[0].resource, {"ecs:CreateAction": action})
    passing = request if action == "RegisterTaskDefinition" else {}
    if action == "RunTask":  # the roles of the task definition
        passing = ecs._task_defs.get(ecs._resolve_td_key(request.get("taskDefinition", ""))) or {}
    if action == "StartBuild" and (role := request.get("serviceRoleOverride")):
        yield Need("iam:PassRole", role, {"iam:PassedToService": "codebuild.amazonaws.com"})
    if passing:
        for role in (passing.get("executionRoleArn"), passing.get("taskRoleArn")):
            if role:
                yield Need("iam:PassRole", role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"})
    if action in ("CreateDBSnapshot", "RestoreDBInstanceFromDBSnapshot"):
        database = f"{prefix}db:{request.get('DBInstanceIdentifier')}"
        yield Need(f"rds:{action}", database)
        tagged = needed[0].resource if action == "CreateDBSnapshot" else database
        yield Need("rds:AddTagsToResource", tagged)
        for kind, name in (("subgrp", "DBSubnetGroupName"), ("pg", "DBParameterGroupName")):
            if name in request:
                yield Need(f"rds:{action}", f"{prefix}{kind}:{request[name]}")


_VERBS = {"DELETE": "Delete", "GET": "Get", "POST": "Create", "PUT": "Update"}


def needs_of_schedules(
    method: str, path: str, body: bytes, query: Mapping[str, Any], where: str
) -> list[Need] | None:
    """What a request to EventBridge Scheduler needs; MiniStack takes each for the group `default`.

    Args:
        where: region and account as an ARN has them.
    """
    kind, _, name = path.strip("/").partition("/")
    prefix, verb = f"arn:aws:scheduler:{where}:", _VERBS.get(method)
    if kind not in ("schedules", "schedule-groups") or verb is None:
        return None
    singular = "Schedule" if kind == "schedules" else "ScheduleGroup"
    if not name:
        return [Need(f"scheduler:List{singular}s", "*")]
    if singular == "ScheduleGroup":
        return [Need(f"scheduler:{verb}{singular}", f"{prefix}schedule-group/{name}")]
    request = json.loads(body or b"{}")
    group = request.get("GroupName") or query.get("groupName", ["default"])[0]
    needed = [Need(f"scheduler:{verb}{singular}", f"{prefix}schedule/{group}/{name}")]
    if role := (request.get("Target") or {}).get("RoleArn"):
        passed = {"iam:PassedToService": "scheduler.amazonaws.com"}
        needed.append(Need("iam:PassRole", role, passed))
    return needed


def _filled(template: str, request: Mapping[str, Any]) -> list[str]:
    """A template of _RESOURCES with the request's parameters in their places."""
    filled = [template]
    for parameter in re.findall(r"{(\w+)}", template):
        given = request.get(parameter) or _DEFAULTS.get(parameter, "*")
        values = given if isinstance(given, list) else [given]
        if template != f"{{{parameter}}}":
            values = [_name(value) for value in values]
        if template.startswith("parameter/"):
            values = [value.strip("/") for value in values]
        filled = [each.replace(f"{{{parameter}}}", value) for each in filled for value in values]
    return filled


def _name(value: str) -> str:
    """Of an ARN, the name at its end; of a build, its project, with which its id begins."""
    return value.rpartition("/")[2].partition(":")[0] if ":" in value else value


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
    request = json.loads(body) if body and action else {}
    if not action:  # the query protocol: parameters as a form
        request = {k: v[0] if isinstance(v, list) else v for k, v in query_params.items()}
        action = request.get("Action", "")
    where = f"{region}:{account_id}"
    if service == "scheduler":
        needed = needs_of_schedules(method, path, body, query_params, where)
    else:
        needed = needs(service, action, request, where)
    _needs.set(needed)
    if needed:
        return needed[0].resource
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
    needed = _needs.get()
    if not needed or (needed[0].action, needed[0].resource) != (iam_action, resource_arn):
        needed = [Need(iam_action, resource_arn)]
    _needs.set(None)
    caller = iam_evaluator.resolve_caller_identity(access_key_id) or {}
    for need in needed:
        keys = {**(service_context or {}), **need.keys}
        denied = original(access_key_id, need.action, service, region, need.resource, keys)
        roles.record(caller.get("userArn", ""), need.action, need.resource, allowed=not denied)
        if denied:
            return denied
    return None


# MFA: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
# -------------------------------------------------------------------------------------------------

_mfa: ContextVar[bool] = ContextVar("mfa", default=False)


@shim.wraps(sts, "handle_request", "method path headers body query_params")
async def handle_request(
    original: Callable[..., Any],
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Mapping[str, Any],
) -> Any:
    """A device of six digits and its user: any six are right."""
    parameters = {**query_params, **parse_qs(body.decode(errors="replace"))}
    serial, code = (str((parameters.get(key) or [""])[0]) for key in ("SerialNumber", "TokenCode"))
    if serial or code:
        caller = iam_evaluator.request_caller_arn(headers, query_params)
        user = (iam._mfa_devices.get(serial) or {}).get("User")
        right = re.fullmatch("[0-9]{6}", code)
        if not right or not user or not caller.endswith(f":user/{user}"):
            refusal = "MultiFactorAuthentication failed with invalid MFA one time pass code."
            return error_response_xml("AccessDenied", refusal, 403)
    token = _mfa.set(bool(serial))
    try:
        return await original(method, path, headers, body, query_params)
    finally:
        _mfa.reset(token)


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


def _bound(role: str, properties: Mapping[str, Any]) -> None:
    """CloudFormation forgets a role's permissions boundary."""
    iam._roles[role]["PermissionsBoundary"] = properties.get("PermissionsBoundary")


def install() -> None:
    shim.install()
    after("AWS::IAM::Role", _bound)
