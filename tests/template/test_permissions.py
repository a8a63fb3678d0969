"""What each function may do is what its adapters ask of AWS, and not more."""

import ast
import copy
import json
import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from tests.template.conftest import FUNCTIONS, PACKAGE, TEMPLATES, load, parsed
from tests.template.test_functions import logical_id

ADAPTERS = {
    module.stem: parsed(module)
    for package in ("aws", "store", "usecases")
    for module in (PACKAGE / package).glob("[a-z]*.py")
}
DOCUMENT = PACKAGE.parents[2] / "docs/permissions.md"
# "AccountDecides" in a key's policy; without it IAM has no say and the key may become nobody's:
# https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
ACCOUNT = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
# What Lambda itself does in a function's role.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
LAMBDA = {"logs:CreateLogStream", "logs:PutLogEvents"}
# What SAM attaches to the role of each function, and what cuts it to LAMBDA on one log group:
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaBasicExecutionRole.html
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
# What SAM attaches for a VpcConfig, also where a condition leaves that out; the boundary cuts it:
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaVPCAccessExecutionRole.html
IN_A_VPC = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"
INSIDE = "VerifyRelease"
CHANGES_INTERFACES = {
    *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface"),
    *("ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses"),
}
INTERFACES = CHANGES_INTERFACES | {"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"}
ATTACHED = {
    BASIC: {"Effect": "Allow", "Action": ["logs:CreateLogGroup", *sorted(LAMBDA)], "Resource": "*"},
    IN_A_VPC: {
        "Effect": "Allow",
        "Action": ["logs:CreateLogGroup", *sorted(LAMBDA), *sorted(INTERFACES)],
        "Resource": "*",
    },
}
BOUNDARY = "FunctionBoundary"
# Calls whose permission has another name.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
OTHERWISE = {
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    "dynamodb:TransactWriteItems": {"dynamodb:PutItem"},
    "s3:CopyObject": {"s3:GetObject", "s3:PutObject"},
    "s3:DeleteObjects": {"s3:DeleteObject"},
    "s3:HeadObject": {"s3:GetObject"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
}
# What AWS checks beside the call's own action.
BESIDE = {
    # "To tag at creation, the user must also have permission for TagResource":
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    "ecs:TagResource": {"ecs:RegisterTaskDefinition", "ecs:CreateService"},
    "iam:PassRole": {"ecs:RegisterTaskDefinition", "ecs:RunTask"},
    # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Tagging.html
    "rds:AddTagsToResource": {"rds:CreateDBSnapshot", "rds:RestoreDBInstanceFromDBSnapshot"},
}
# What Lambda does in a function's role with what it could not run, and SNS with a topic's key:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
BESIDE["iam:PassRole"] = BESIDE["iam:PassRole"] | {"rds:ModifyDBInstance"}
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
BESIDE["iam:PassRole"] |= {"scheduler:CreateSchedule", "scheduler:UpdateSchedule"}
BESIDE |= {
    "sqs:SendMessage": {"sns:Publish"},
    "kms:Decrypt": {"sns:Publish"},
    "kms:GenerateDataKey": {"sns:Publish"},
}
# What Lambda does in a function's role to take messages from a queue:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
BESIDE |= {
    f"sqs:{name}": {"sqs:ChangeMessageVisibility"}
    for name in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
}
# What a call may need beside its own action, where it names a version or asks for what may not be
# there (S3 calls that forbidden to who may not list the bucket).
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
# Of a transaction, its checks (the page above); that they are used, tests/permissions proves.
PERHAPS = {
    "s3:GetObjectVersion": "s3:GetObject",
    "s3:ListBucket": "s3:GetObject",
    "dynamodb:ConditionCheckItem": "dynamodb:PutItem",
}
# What a call needs instead of its own action where it always names a version (the same page).
INSTEAD = {"s3:GetObject": "s3:GetObjectVersion"}


@cache
def action(service: str, method: str) -> set[str]:
    """The IAM actions of a boto3 method."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    (operation,) = (name for name in model.operation_names if xform_name(name) == method)
    prefix = {"monitoring": "cloudwatch"}.get(model.signing_name, model.signing_name)
    return OTHERWISE.get(f"{service}:{operation}", {f"{prefix}:{operation}"})


@cache
def functions(adapter: str) -> dict[str, ast.FunctionDef]:
    """An adapter's functions and the methods of its classes, also under the names that a line such
    as `find, history = _records.find, _records.history` gives them."""
    body = ADAPTERS[adapter].body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    definitions = [node for each in (body, *(c.body for c in classes)) for node in each]
    named = {n.name: n for n in definitions if isinstance(n, ast.FunctionDef)}
    for node in body:
        if isinstance(node, ast.Assign) and "_records." in ast.unparse(node):
            (target,), value = node.targets, node.value
            for alias, method in zip(_items(target), _items(value), strict=True):
                assert isinstance(alias, ast.Name) and isinstance(method, ast.Attribute)
                named[alias.id] = (named if adapter == "releases" else functions("releases"))[
                    method.attr
                ]
    return named


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def service_of(adapter: str, maker: str) -> str:
    """The AWS service whose client a function such as `_ecs` makes."""
    for node in ast.walk(functions(adapter)[maker]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "client":
            return str(ast.literal_eval(node.args[0]))
    raise AssertionError(f"{adapter}.{maker} makes no client")


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def references(tree: ast.AST) -> set[str]:
    """The names that are called, such as `_tasks`, and the dotted ones that are called or handed
    on, such as `ecs.service`."""
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return dotted | {node.func.id for node in calls(tree) if isinstance(node.func, ast.Name)}


@cache
def actions(adapter: str, name: str) -> frozenset[str]:
    """The IAM actions that a function of an adapter needs, with all that it calls in turn."""
    body = functions(adapter)[name]
    matches: set[str] = set()
    for call in calls(body):
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
            maker, method = ast.unparse(call.func.value.func), call.func.attr
            if maker in functions(adapter):
                if method == "get_paginator":
                    method = str(ast.literal_eval(call.args[0]))
                matches |= action(service_of(adapter, maker), method)
    for reference in references(body) - {name}:
        module, _, function = reference.rpartition(".")
        if module in ("", "self", "of_any_kind"):
            module = "releases" if adapter in ("builds", "publications") else adapter
            module = module if function in functions(module) else adapter
        if not makes_a_client(module, function):
            matches |= reached(module, function)
    return frozenset(matches)


def makes_a_client(adapter: str, name: str) -> bool:
    body = functions(adapter).get(name) if adapter in ADAPTERS else None
    return body is not None and "client" in references(body)


def reached(adapter: str, name: str) -> frozenset[str]:
    """The actions behind a name, if it is a function of an adapter."""
    known = adapter in ADAPTERS and name in functions(adapter)
    return actions(adapter, name) if known else frozenset()


def needed(module: Path) -> set[str]:
    tree = parsed(module)
    adapters = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and str(node.module).startswith(("deployer.aws", "deployer.store", "deployer.usecases"))
        for alias in node.names
    }
    dotted = (reference.rpartition(".") for reference in references(tree))
    return {
        item
        for name, _, function in ((n.removesuffix(".of_any_kind"), _, f) for n, _, f in dotted)
        if name in adapters
        for item in reached(adapters[name], function)
    }


def statements(node: Any) -> list[dict[str, Any]]:
    """Every statement of a policy anywhere in a template."""
    if isinstance(node, dict):
        own = [node] if "Effect" in node and ("Action" in node or "NotAction" in node) else []
        return own + [item for value in node.values() for item in statements(value)]
    if isinstance(node, list):
        return [item for value in node for item in statements(value)]
    return []


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def granting(resources: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements that give permissions; those of a boundary give none."""
    return statements({name: item for name, item in resources.items() if name != BOUNDARY})


def effective(template: dict[str, Any], function: str) -> list[tuple[str, Any]]:
    """What a function may do, each action with its resource: what its role's policies allow, where
    the role's boundary allows it too.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    """
    resources = template["Resources"]
    role = resources[f"{function}Role"]["Properties"]
    attached = [ATTACHED[arn] for arn in role["ManagedPolicyArns"]]
    everything = [{"Effect": "Allow", "NotAction": "none:*", "Resource": "*"}]
    boundary = role.get("PermissionsBoundary")
    limits = statements(resources[boundary["Ref"]]) if boundary else everything
    found = [
        (action, resource if limit["Resource"] == "*" else limit["Resource"])
        for statement in [*attached, *statements(role.get("Policies", []))]
        for action in map(str, listed(statement["Action"]))
        for resource in listed(statement["Resource"])
        for limit in limits
        if reaches(limit, action) and "*" in (resource, limit["Resource"])
    ]
    return [entry for at, entry in enumerate(found) if entry not in found[:at]]


def reaches(statement: dict[str, Any], action: str) -> bool:
    assert statement["Effect"] == "Allow"
    patterns = listed(statement.get("Action", statement.get("NotAction")))
    return any(fnmatchcase(action, pattern) for pattern in patterns) == ("Action" in statement)


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda m: m.stem)
def test_a_function_may_do_what_it_does_and_no_more(
    transformed: dict[str, Any], module: Path
) -> None:
    allowed = {action for action, _ in effective(transformed, logical_id(module.stem))}
    wanted = needed(module) | LAMBDA
    wanted |= INTERFACES if logical_id(module.stem) == INSIDE else set()
    wanted |= {beside for beside, calls in BESIDE.items() if calls & wanted & allowed}
    wanted |= {more for more, call in PERHAPS.items() if call in wanted and more in allowed}
    wanted -= {call for call, other in INSTEAD.items() if other in allowed and call not in allowed}
    assert allowed - wanted == set(), "is allowed and never asked"
    assert wanted - allowed == set(), "is asked and not allowed"


def test_the_count_of_what_is_asked_sees_through_the_adapters() -> None:
    """Paginators, helpers, and adapters that call adapters."""
    assert "ecs:ListTasks" in actions("ecs", "running_tasks")
    assert "ecs:DescribeTasks" in actions("ecs", "running_tasks")
    assert "elasticloadbalancing:DescribeTargetHealth" in actions("elb", "healthy_addresses")
    assert "states:SendTaskSuccess" in actions("sfn", "wake")
    assert "dynamodb:PutItem" in actions("releases", "open_release")
    assert "ssm:GetParametersByPath" in actions("ssm", "service_specs")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_statement_for_every_resource_says_why(path: Path) -> None:
    text = path.read_text().splitlines()
    stars = [line for line in text if re.search(r'(Resource|Principal): "\*"', line)]
    for line in stars:
        assert re.search(r'"\*"[^#]* # \w', line), line
    wide = {  # by identity: a statement that has an anchor is written once and used often
        (id(s), key)
        for s in statements(load(path))
        for key in ("Resource", "Principal")
        if "*" in listed(s.get(key))
    }
    assert len(wide) == len(stars)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_nothing_is_allowed_by_wildcard_or_by_exception(path: Path) -> None:
    for statement in granting(load(path)["Resources"]):
        assert "NotAction" not in statement
        if statement["Effect"] == "Deny" or statement.get("Principal") == ACCOUNT:
            continue
        for name in listed(statement["Action"]):
            assert "*" not in str(name), statement


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_service_assumes_a_role_for_this_account_only(
    transformed: dict[str, Any], path: Path
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html"""
    result = transformed if path.name == "template.yaml" else load(path)
    for name, resource in result["Resources"].items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        for statement in statements(resource["Properties"]["AssumeRolePolicyDocument"]):
            condition = statement["Condition"]
            if "Federated" in statement["Principal"]:
                continue  # see test_notifications.py
            assert condition["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
            (service,) = statement["Principal"].values()
            # CreateFunction checks that Lambda can assume the role, when there is no function yet
            # whose ARN Lambda could pass; ECS does not pass a cluster.
            demands = {"lambda.amazonaws.com": "ArnLikeIfExists"}.get(service)
            by_arn = condition.get("ArnLike") or condition.get("ArnEquals")
            assert (condition[demands] if demands else by_arn).keys() == {"aws:SourceArn"}, name
            assert not demands or by_arn is None, name


@pytest.mark.parametrize(
    ("kind", "service", "form"),
    [
        ("AWS::Serverless::StateMachine", "states", "stateMachine:{}"),
        ("AWS::Events::Rule", "events", "rule/{}"),
    ],
)
def test_roles_of_machines_and_rules_trust_those_of_the_stack_by_name(
    template: dict[str, Any], kind: str, service: str, form: str
) -> None:
    resources = template["Resources"].values()
    names = [r["Properties"]["Name"]["Fn::Sub"] for r in resources if r["Type"] == kind]
    here = f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:"
    roles = [r["Properties"] for r in resources if r["Type"] == "AWS::IAM::Role"]
    trusts = [statements(role["AssumeRolePolicyDocument"])[0] for role in roles]
    trusted = [
        {arn["Fn::Sub"] for arn in trust["Condition"]["ArnEquals"]["aws:SourceArn"]}
        for trust in trusts
        if trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    ]
    assert trusted == [{here + form.format(name) for name in names}] * 4


def test_a_queue_takes_dead_letters_by_the_arn_of_their_rule(template: dict[str, Any]) -> None:
    """EventBridge is documented to pass aws:SourceArn there, and nothing else.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::SQS::QueuePolicy":
            continue
        for statement in statements(resource["Properties"]["PolicyDocument"]):
            assert statement["Principal"] == {"Service": "events.amazonaws.com"}, name
            ((operator, keys),) = statement["Condition"].items()
            assert (operator, set(keys)) == ("ArnEquals", {"aws:SourceArn"}), name


def writes_logs_elsewhere(template: dict[str, Any], function: str) -> bool:
    """Whether a function may write to another log group than the functions' own, or not to that."""
    logs = [
        item
        for item in effective(template, function)
        if item[0].startswith("logs:") and not re.search(":(Describe|Get)", item[0])
    ]
    own = {"Fn::GetAtt": ["FunctionLogs", "Arn"]}
    return sorted(logs, key=str) != [(action, own) for action in sorted(LAMBDA)]


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda m: m.stem)
def test_a_function_writes_to_its_own_log_group_and_no_other(
    transformed: dict[str, Any], module: Path
) -> None:
    assert not writes_logs_elsewhere(transformed, logical_id(module.stem))


@pytest.mark.parametrize("fault", ["no boundary", "no logs", "all groups", "a group of its own"])
def test_a_wrong_permission_to_write_logs_would_be_seen(
    transformed: dict[str, Any], fault: str
) -> None:
    wrong = copy.deepcopy(transformed)
    role = wrong["Resources"]["VerifyReleaseRole"]["Properties"]
    limits = wrong["Resources"][BOUNDARY]["Properties"]["PolicyDocument"]["Statement"]
    match fault:
        case "no boundary":
            del role["PermissionsBoundary"]
        case "no logs":
            whole = (limit for limit in limits if "Fn::If" not in limit)
            limits[:] = [limit for limit in whole if not reaches(limit, "logs:PutLogEvents")]
        case "all groups":
            limits[:] = [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]
        case "a group of its own":
            limits.append({"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "arn:x"})
    assert writes_logs_elsewhere(wrong, "VerifyRelease")


def test_roles_have_the_policies_that_the_template_writes_and_one_of_sams(
    transformed: dict[str, Any],
) -> None:
    """A function's boundary takes away what is too much of that one."""
    resources = transformed["Resources"]
    functions = {n for n, r in resources.items() if r["Type"] == "AWS::Lambda::Function"}
    assert functions == {logical_id(module.stem) for module in FUNCTIONS}
    for name in functions:
        role = {"Fn::GetAtt": [f"{name}Role", "Arn"]}
        assert resources[name]["Properties"]["Role"] == role
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            of_function = name.removesuffix("Role") in functions
            properties = resource["Properties"]
            boundary = {"Ref": BOUNDARY} if of_function else None
            assert properties.get("PermissionsBoundary") == boundary, name
            attached = [BASIC, *([IN_A_VPC] if name == f"{INSIDE}Role" else [])]
            found = properties.get("ManagedPolicyArns", [])
            assert found == (attached if of_function else []), name


def test_the_boundary_is_attached_to_nobody_and_would_give_nothing(
    template: dict[str, Any],
) -> None:
    """As a policy of anyone but the functions, it would allow nearly everything.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    shared, boundary = template["Globals"]["Function"], template["Resources"][BOUNDARY]
    assert not boundary["Properties"].keys() & {"Users", "Groups", "Roles"}
    assert str(template).count(f"{{'Ref': '{BOUNDARY}'}}") == 1
    assert shared["PermissionsBoundary"] == {"Ref": BOUNDARY}
    path = shared["RolePath"]["Fn::Sub"]
    roles = f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role{path}*"
    only = {"ArnLike": {"aws:PrincipalArn": {"Fn::Sub": roles}}}
    for statement in statements(boundary):
        condition = statement.get("Condition", {})
        assert statement["Resource"] != "*" or only.items() <= condition.items()


def test_a_function_is_put_into_a_vpc_only_where_that_is_asked_for_and_not_by_its_own_code(
    template: dict[str, Any],
) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html"""
    connected = {
        name: resource["Properties"]["VpcConfig"]["Fn::If"]
        for name, resource in template["Resources"].items()
        if "VpcConfig" in resource.get("Properties", {})
    }
    nothing = {"Ref": "AWS::NoValue"}
    assert connected.keys() == {INSIDE}
    assert (connected[INSIDE][0], connected[INSIDE][2]) == ("VerifiesInside", nothing)
    boundary = template["Resources"][BOUNDARY]["Properties"]["PolicyDocument"]["Statement"]
    always = [entry for entry in boundary if "Fn::If" not in entry]
    assert not [a for a in CHANGES_INTERFACES if any(reaches(entry, a) for entry in always)]
    ((condition, given, otherwise),) = (e["Fn::If"] for e in boundary if "Fn::If" in e)
    assert (condition, otherwise) == ("VerifiesInside", nothing)
    assert set(given["Action"]) == CHANGES_INTERFACES
    assert given["Condition"]["Null"] == {"lambda:SourceFunctionArn": "true"}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_role_is_passed_to_one_service_only(path: Path) -> None:
    for statement in granting(load(path)["Resources"]):
        if "iam:PassRole" in listed(statement["Action"]):
            assert statement["Resource"] != "*"
            assert statement["Condition"]["StringEquals"]["iam:PassedToService"]


def written_out(node: Any, length: int) -> Any:
    """A policy as CloudFormation makes it, where each name that it fills in is so long."""
    if isinstance(node, list):
        return [written_out(entry, length) for entry in node]
    if not isinstance(node, dict):
        return node
    match dict(node):
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), _]}:
            return re.sub(r"\$\{[^!][^}]*\}", "x" * length, text)
        case {"Fn::If": [_, held, _]}:
            return written_out(held, length)
        case {"Fn::GetAtt": _} | {"Ref": _} | {"Fn::Split": _}:
            return "arn:aws:service:us-east-1:123456789012:" + "x" * length
    return {key: written_out(value, length) for key, value in node.items()}


def test_the_document_names_what_each_function_may(transformed: dict[str, Any]) -> None:
    """The table of the functions in docs/permissions.md."""
    output: dict[str, set[str]] = {}
    names, service = "", ""
    table = DOCUMENT.read_text().partition("| --- |")[2].partition("\nThe Build state")[0]
    for row in (line.split("|") for line in table.splitlines() if line.startswith("| ")):
        names = row[1].strip() or names
        output.setdefault(names, set())
        for prefix, name in re.findall(r"`(?:([a-z0-9-]+):)?([A-Z]\w+)`", row[2]):
            service = prefix or service
            output[names].add(f"{service}:{name}")
    known = {logical_id(module.stem) for module in FUNCTIONS}
    assert {name for names in output for name in names.split(", ")} == known
    for names, item in output.items():
        allowed = {
            action for name in names.split(", ") for action, _ in effective(transformed, name)
        }
        assert item == allowed - LAMBDA, names


@pytest.mark.parametrize("name", ["Operators", "Diagnosis", "Commands"])
def test_a_policy_for_people_is_one_that_iam_takes(template: dict[str, Any], name: str) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    policy = template["Resources"][name]["Properties"]["PolicyDocument"]
    text = json.dumps(written_out(policy, 32), separators=(",", ":"))
    assert "Fn::" not in text
    assert len(text) <= 6144


def test_who_diagnoses_changes_nothing_and_reads_no_secret(template: dict[str, Any]) -> None:
    policy = template["Resources"]["Diagnosis"]["Properties"]["PolicyDocument"]
    names = {str(name) for s in statements(policy) for name in listed(s["Action"])}
    assert all(re.search(r":(Describe|List|Get|Simulate)", name) for name in names)
    assert "secretsmanager:GetSecretValue" not in names
