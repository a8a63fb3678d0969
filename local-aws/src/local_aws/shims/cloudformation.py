"""CloudFormation where MiniStack's lacks types, attributes or safeguards that templates rely on.

Types that MiniStack refuses are made here: a security group's rules through EC2's API, as the
account; the others are records that the stack has, and nothing else. What a change replaces comes
from the types' resource schemas, which cfn-lint ships.

Follows the template reference (what Ref and Fn::GetAtt return) and the user guide: stack policies
(protect-stack-resources.html), change sets (API_ResourceTargetDefinition.html).
"""

import importlib.util
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2, rds, secretsmanager
from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

from local_aws.shims import Shim, ecs_agent, roles
from local_aws.shims.rds import PROTECTED

Properties = dict[str, Any]
Made = tuple[str, Properties]
"""What Ref returns, and the attributes for Fn::GetAtt."""

shim = Shim()


def _call(operation: str, properties: Properties) -> dict[str, Any]:
    """Call an operation of EC2 with properties, in the types that it takes them in."""
    client = ecs_agent.client("ec2", get_region())
    shape = client.meta.service_model.operation_model(
        client.meta.method_to_api_mapping[operation]
    ).input_shape
    return getattr(client, operation)(**_fitted(shape, properties))


def _fitted(shape: Any, value: Any) -> Any:
    """A template's value as the API's shape wants it: templates write numbers as text, and
    documents as maps."""
    match shape.type_name:
        case "structure":
            return {k: _fitted(shape.members[k], v) for k, v in value.items() if k in shape.members}
        case "list":
            return [_fitted(shape.member, item) for item in value]
        case "map":
            return {key: _fitted(shape.value, item) for key, item in value.items()}
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "boolean":
            return str(value).lower() == "true"
        case _:
            return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _permission(properties: Properties) -> Properties:
    """An EC2 IpPermission out of the flat properties of a rule."""
    described = {k: v for k, v in properties.items() if k == "Description"}
    permission = {k: v for k, v in properties.items() if k in ("IpProtocol", "FromPort", "ToPort")}
    for field, member, names in (
        ("IpRanges", "CidrIp", ("CidrIp",)),
        ("Ipv6Ranges", "CidrIpv6", ("CidrIpv6",)),
        ("PrefixListIds", "PrefixListId", ("SourcePrefixListId", "DestinationPrefixListId")),
        ("UserIdGroupPairs", "GroupId", ("SourceSecurityGroupId", "DestinationSecurityGroupId")),
    ):
        for name in names:
            if properties.get(name):
                permission[field] = [{member: properties[name]} | described]
    return permission


def _rule(direction: str) -> dict[str, Any]:
    """The handlers of a security group's rules, which the group shows. A change replaces one."""

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        wanted = {"GroupId": properties["GroupId"], "IpPermissions": [_permission(properties)]}
        answer = _call(f"authorize_security_group_{direction}", wanted)
        identifier = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        return identifier, {"Id": identifier}

    def delete(identifier: str, properties: Properties) -> None:
        rule = {"GroupId": properties["GroupId"], "SecurityGroupRuleIds": [identifier]}
        try:
            _call(f"revoke_security_group_{direction}", rule)
        except ClientError as error:
            if "NotFound" not in error.response["Error"]["Code"]:
                raise

    return {"create": create, "delete": delete}


def _record(*attributes: str) -> dict[str, Any]:
    """The handlers of a type that is only recorded in its stack: its name stands for all."""

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        name: str = provisioners._physical_name(stack, logical_id, max_len=255)
        return name, dict.fromkeys(attributes, name)

    return {"create": create, "delete": lambda identifier, properties: None}


def _task_definition() -> dict[str, Any]:
    """The handlers of task definitions; MiniStack's leave out fields, such as secrets."""

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        client = ecs_agent.client("ecs", get_region())
        shape = client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
        name = provisioners._physical_name(stack, logical_id, max_len=255)
        wanted = _fitted(shape, _lowered(shape, {"Family": name, **properties}))
        arn = client.register_task_definition(**wanted)["taskDefinition"]["taskDefinitionArn"]
        return arn, {"TaskDefinitionArn": arn}

    def delete(arn: str, properties: Properties) -> None:
        ecs_agent.client("ecs", get_region()).deregister_task_definition(taskDefinition=arn)

    return {"create": create, "delete": delete}


def _lowered(shape: Any, value: Any) -> Any:
    """A template's value with the names of fields as the API has them, with a small letter."""
    match shape.type_name:
        case "structure":
            names = {name: name[0].lower() + name[1:] for name in value}
            lowered = {name: low for name, low in names.items() if low in shape.members}
            return {low: _lowered(shape.members[low], value[name]) for name, low in lowered.items()}
        case "list":
            return [_lowered(shape.member, item) for item in value]
    return value


TYPES = {
    "AWS::EC2::SecurityGroupIngress": _rule("ingress"),
    "AWS::EC2::SecurityGroupEgress": _rule("egress"),
    "AWS::ECS::TaskDefinition": _task_definition(),
    "AWS::EC2::EIP": _record("AllocationId", "PublicIp"),
    "AWS::EC2::NatGateway": _record("NatGatewayId"),
    "AWS::EC2::FlowLog": _record("Id"),
    "AWS::WAFv2::WebACLAssociation": _record(),
    "AWS::WAFv2::LoggingConfiguration": _record(),
}


# Attributes of MiniStack's own types


def _with_attributes(
    original: Callable[..., Made], more: Callable[[str], Properties], *arguments: Any, **named: Any
) -> Made:
    identifier, attributes = original(*arguments, **named)
    return identifier, attributes | more(identifier)


def _vpc_attributes(identifier: str) -> Properties:
    return {"CidrBlock": ec2._vpcs[identifier]["CidrBlock"]}


# Alarms on metric math


@shim.wraps(provisioners, "_cw_metric_alarm_record", "name props")
def _alarm(original: Callable[..., Properties], name: str, properties: Properties) -> Properties:
    """An alarm with `Metrics` is kept and shown; its state is what SetAlarmState says."""
    if not properties.get("Metrics"):
        return original(name, properties)
    single = {k: v for k, v in properties.items() if k != "Metrics"}
    alarm = original(name, single | {"MetricName": "-", "Namespace": "-"})
    for field in ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period"):
        del alarm[field]
    shape = ecs_agent.client("cloudwatch", get_region()).meta.service_model.shape_for(
        "MetricDataQueries"
    )
    return alarm | {"Metrics": _fitted(shape, properties["Metrics"])}


# Safeguards


@shim.wraps(
    stacks,
    "_update_resource",
    "resource_type physical_id old_props new_props stack_name logical_id old_attrs",
)
def _update_resource(
    original: Callable[..., Made], kind: str, physical_id: str, old: Properties, new: Properties,
    stack: str, logical_id: str, attributes: Properties,
) -> Made:  # fmt: skip
    if old != new:
        replaces = provisioners._replacing_change(kind, old, new)
        action = "Update:Replace" if replaces else "Update:Modify"
        if refusal := _refusal(stack, action, logical_id, kind):
            raise ValueError(refusal)
    return original(kind, physical_id, old, new, stack, logical_id, attributes)


def _refusal(stack: str, action: str, logical_id: str, kind: str) -> str | None:
    """What a stack policy says against an action on a resource; None if it allows it.

    "the default is to deny updates to all resources" once there is a policy; a Deny overrides
    every Allow (protect-stack-resources.html). The sentence is from memory.
    """
    from ministack.services.cloudformation import _stacks

    policy = _stacks[stack].get("_stack_policy")
    if not policy:
        return None
    context = roles.context(
        action, f"LogicalResourceId/{logical_id}", {"resourcetype": kind}, kind="User"
    )
    statements = iam_evaluator.parse_policy_document(policy)
    decision = iam_evaluator.evaluate(context, [statements]).decision
    if decision == "Allow":
        return None
    denied = "denied by stack policy: Statement does not allow"
    verdict = denied if decision == "Deny" else "not allowed by stack policy:"
    return f"Action {verdict} [{action}] for resource [{logical_id}]"


@shim.wraps(handlers, "_imported_export_names", "stack stack_name")
def _imported_export_names(
    original: Callable[..., set[str]], stack: Properties, name: str
) -> set[str]:
    """What a stack imports, without what its conditions leave out."""
    conditions = stack.get("_conditions", {})
    return original(stack | {"_template": _chosen(stack.get("_template", {}), conditions)}, name)


def _chosen(value: Any, conditions: Properties) -> Any:
    """A template without the other branch of each Fn::If, and what a false Condition is on."""
    if isinstance(value, list):
        return [_chosen(item, conditions) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        name, then, otherwise = value["Fn::If"]
        return _chosen(then if conditions.get(name) else otherwise, conditions)
    return {
        key: _chosen(item, conditions)
        for key, item in value.items()
        if not (isinstance(item, dict) and conditions.get(str(item.get("Condition"))) is False)
    }


# Conditions


def _with_pseudo_parameters(
    original: Callable[..., dict[str, bool]], template: Properties, parameters: Properties
) -> dict[str, bool]:
    """Conditions may refer to pseudo parameters, which MiniStack takes for texts:
    AWSCloudFormation/latest/UserGuide/conditions-section-structure.html"""
    pseudo = {"AWS::AccountId": get_account_id(), "AWS::Region": get_region()}
    pseudo |= {"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
    values = {name: {"Value": value} for name, value in pseudo.items()}
    return original(template, values | parameters)


# Change sets


@shim.wraps(changesets, "_resolve_props_for_diff", "template params stack_name stack_id")
def _resolve_props_for_diff(
    original: Callable[..., Properties], template: Properties, parameters: Properties, *stack: str
) -> Properties:
    """What a change set compares, without what conditions leave out: a resource whose condition
    turns is added or removed, not modified."""
    resolved = original(template, parameters, *stack)
    if resolved:
        conditions = engine._evaluate_conditions(template, parameters)
        resolved["Resources"] = _chosen(resolved["Resources"], conditions)
    return resolved


@shim.wraps(stacks, "_property_recreation", "resource_type name")
def _property_recreation(original: Callable[..., str], kind: str, name: str) -> str:
    """Whether a change set says that a changed property replaces: Always, Conditionally, Never."""
    if kind in provisioners._REPLACING_PROPERTIES:
        return original(kind, name)
    schema = _schema(kind)
    if not schema:
        return original(kind, name)
    if name in _top_level(schema, "createOnlyProperties"):
        return "Always"
    return "Conditionally" if name in _conditional(schema) else "Never"


def _conditional(schema: Properties) -> frozenset[str]:
    """The properties of which a part may replace, or all in some cases."""
    parts = {path.split("/")[2] for path in schema.get("createOnlyProperties", ())}
    whole = _top_level(schema, "createOnlyProperties")
    return _top_level(schema, "conditionalCreateOnlyProperties") | (parts - whole)


def _top_level(schema: Properties, field: str) -> frozenset[str]:
    """The names in a list of JSON pointers such as /properties/Name."""
    paths = (path.split("/") for path in schema.get(field, ()))
    return frozenset(path[2] for path in paths if len(path) == 3)


def _schemas() -> Path:
    """Found without importing cfn-lint, which takes longer than all else at the start."""
    package = importlib.util.find_spec("cfnlint")
    assert package and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "data" / "schemas"


@cache
def _schema(kind: str) -> Properties | None:
    """A resource type's schema, as of the cfn-lint that is installed."""
    schemas = _schemas()
    file = json.loads((schemas / "providers" / "us-east-1.json").read_text()).get(kind)
    if not file:
        return None
    return json.loads((schemas / "resources" / f"{file}.json").read_text())


@shim.wraps(stacks, "_runs_on_worker_thread", "resource_type")
def _runs_on_worker_thread(original: Callable[[str], bool], kind: str) -> bool:
    return kind in TYPES or original(kind)  # these call back into the server


def _by_arn(secret_handlers: Properties) -> None:
    """`Ref` of a secret is its ARN; MiniStack's handlers go by its name.

    AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html
    """
    create, update, delete = (
        secret_handlers["create"],
        secret_handlers["update"],
        secret_handlers["delete"],
    )

    def name(arn: str) -> str:
        resolved, _ = secretsmanager._resolve(arn)
        return str(resolved or arn)

    def created(*arguments: Any) -> tuple[str, Properties]:
        _, attributes = create(*arguments)
        return attributes["Arn"], attributes

    def updated(arn: str, *more: Any, **named: Any) -> tuple[str, Properties]:
        _, attributes = update(name(arn), *more, **named)
        return attributes["Arn"], attributes

    def deleted(arn: str, properties: Properties) -> None:
        delete(name(arn), properties)

    secret_handlers.update(create=created, update=updated, delete=deleted)


def _unless_protected(
    original: Callable[..., None], identifier: str, properties: Properties
) -> None:
    """DeleteDBInstance: "You can't delete a DB instance when deletion protection is enabled"."""
    if rds._instances.get(identifier, {}).get("DeletionProtection"):
        raise ValueError(PROTECTED)
    original(identifier, properties)


def install() -> None:
    """Add the types and what they lack."""
    shim.install()
    evaluate = partial(_with_pseudo_parameters, engine._evaluate_conditions)
    for module in (engine, changesets, handlers, stacks):  # each has a name of its own for it
        module._evaluate_conditions = evaluate
    resources = provisioners._RESOURCE_HANDLERS
    for kind, type_handlers in TYPES.items():
        resources[kind] = type_handlers
        schema = _schema(kind)
        assert schema, kind
        if "Tags" in schema["properties"]:
            provisioners._STACK_TAG_PROPERTY[kind] = ("Tags", "list")
        replacing = tuple(name for name in schema["properties"] if name != "Tags")
        provisioners._REPLACING_PROPERTIES[kind] = replacing
    for operation in ("create", "update"):
        vpc = resources["AWS::EC2::VPC"]
        vpc[operation] = partial(_with_attributes, vpc[operation], _vpc_attributes)
    _by_arn(resources["AWS::SecretsManager::Secret"])
    instance = resources["AWS::RDS::DBInstance"]
    for operation in ("snapshot", "delete"):
        instance[operation] = partial(_unless_protected, instance[operation])
