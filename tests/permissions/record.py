"""What each role of the deployed templates allows, and what of it was used.

The tests on a deployer write it when they end, one file for each local AWS; test_roles.py reads it.
"""

import functools
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import ROOT
from demo.package import files
from local_aws import server
from local_aws.aws import LocalAws

TEMPLATES = {
    "deployer": "template.yaml",
    "service": "infrastructure/service.yaml",
    "docs": "infrastructure/docs.yaml",
}
"""The templates whose roles are looked at, by the end of their stacks' names."""
_CODE = (
    *(*TEMPLATES.values(), "functions", "layers", "statemachine", "buildspecs"),
    *("local-aws", "demo", "tests/workflow", "tests/cli/commands"),
)


@dataclass(frozen=True, order=True)
class Permission:
    """An action on a resource. A role is named by template and logical id; names that a stack
    made are in braces: `service.ExecutionRole`, `log-group:{Logs}:*`."""

    role: str
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.role}: {self.action} on {self.resource}"


@dataclass
class Record:
    """allowed: by a policy. used: of these, what a call needed. denied: what was asked in vain."""

    roles: set[str] = field(default_factory=set)
    allowed: set[Permission] = field(default_factory=set)
    used: set[Permission] = field(default_factory=set)
    denied: set[Permission] = field(default_factory=set)


def write(aws: LocalAws, directory: Path) -> None:
    """Note what became of the roles of a local AWS, and forget what other code did."""
    for earlier in directory.iterdir():
        if json.loads(earlier.read_text()).get("code") != _code():
            earlier.unlink(missing_ok=True)
    result = _of(aws)
    document: dict[str, Any] = {
        kind: [vars(p) for p in sorted(getattr(result, kind))]
        for kind in ("allowed", "used", "denied")
    }
    document |= {"roles": sorted(result.roles), "code": _code()}
    (directory / f"{uuid.uuid4().hex}.json").write_text(json.dumps(document, indent=1))


def read(directory: Path) -> Record | None:
    """What the runs of the workflow tests on this very code noted; None if there was none."""
    record = Record()
    for file in sorted(directory.iterdir()):
        document = json.loads(file.read_text())
        if document.get("code") == _code():
            record.roles |= set(document["roles"])
            for kind in ("allowed", "used", "denied"):
                getattr(record, kind).update(Permission(**entry) for entry in document[kind])
    return record if record.roles else None


@functools.cache
def _code() -> str:
    """A digest of what the roles allow, and of what uses it."""
    digest = hashlib.sha256()
    for path in sorted(file for place in _CODE for file in files(ROOT / place)):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _of(aws: LocalAws) -> Record:
    record = Record()
    calls: dict[str, list[dict[str, Any]]] = {}
    for line in (aws.directory / server.DECISIONS).read_text().splitlines():
        call = json.loads(line)
        calls.setdefault(call["role"], []).append(call)
    pages = aws.client("cloudformation").get_paginator("describe_stacks").paginate()
    for stack in (item for page in pages for item in page["Stacks"]):
        template = stack["StackName"].rpartition("-")[2]
        if template not in TEMPLATES:
            continue
        given = {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}
        resources = _resources(aws, stack["StackName"])
        named = [
            *resources,
            *(_resources(aws, given["DeployerStack"]) if template == "docs" else ()),
        ]
        names = {_name(item["PhysicalResourceId"]): item["LogicalResourceId"] for item in named}
        if template == "docs":
            names[given["ServiceName"]] = "ServiceName"
        for item in resources:
            if item["ResourceType"] == "AWS::IAM::Role":
                role = f"{template}.{item['LogicalResourceId']}"
                physical = item["PhysicalResourceId"]
                record.roles.add(role)
                _compare(record, role, list(_grants(aws, physical)), calls.get(physical, []), names)
    return record


def _resources(aws: LocalAws, stack: str) -> list[Any]:
    response = aws.client("cloudformation").describe_stack_resources(StackName=stack)
    return list(response["StackResources"])


def _name(physical: str) -> str:
    """A resource's name; CloudFormation knows a queue by its URL."""
    return physical.rpartition("/" if physical.startswith("http") else ":")[2]


def _grants(aws: LocalAws, role: str) -> Iterator[tuple[str, str]]:
    """What a role may do, every action with every resource: what its policies allow, as far as its
    permissions boundary allows it too."""
    iam = aws.client("iam")
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        documents.append(_document(iam, policy["PolicyArn"]))
    boundary = iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary")
    assert boundary or not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"], role
    limits = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    if boundary:
        limits = _document(iam, boundary["PermissionsBoundaryArn"])["Statement"]
    for statement in (s for document in documents for s in document["Statement"]):
        assert statement["Effect"] == "Allow", role
        for action in _listed(statement["Action"]):
            for resource in _listed(statement["Resource"]):
                for limit in limits:
                    if _covers(limit, action):
                        yield from ((action, r) for r in _narrowed(resource, limit["Resource"]))


def _document(iam: Any, arn: str) -> dict[str, Any]:
    """A managed policy's document."""
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    response = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    return dict(response["Document"])


def _covers(limit: dict[str, Any], action: str) -> bool:
    assert limit["Effect"] == "Allow"
    patterns = _listed(limit.get("Action", limit.get("NotAction")))
    return any(_matches(action, pattern) for pattern in patterns) == ("Action" in limit)


def _narrowed(resource: str, limit: str | list[str]) -> Iterator[str]:
    """The part of a resource, a pattern, that is also one of a boundary's resources."""
    for one in _listed(limit):
        if _matches(resource, one):
            yield resource
        elif _matches(one, resource):
            yield one


def _compare(
    record: Record,
    role: str,
    grants: list[tuple[str, str]],
    calls: list[dict[str, Any]],
    names: dict[str, str],
) -> None:
    for action, resource in grants:
        permission = Permission(role, action, _readable(resource, names))
        record.allowed.add(permission)
        if any(
            call["allowed"] and call["action"] == action and _matches(call["resource"], resource)
            for call in calls
        ):
            record.used.add(permission)
    record.denied |= {
        Permission(role, call["action"], _readable(call["resource"], names))
        for call in calls
        if not call["allowed"]
    }


def _readable(resource: str, names: dict[str, str]) -> str:
    """An ARN without partition, service, region and account, and with the stack's own names."""
    parts = resource.split(":", 5)
    short = parts[-1] if resource.startswith("arn:") else resource
    short = re.sub(r"^(secret:.+)-\w{6}$", r"\1-??????", short)  # random: it may hold such a name
    for physical in sorted(names, key=len, reverse=True):
        short = short.replace(physical, f"{{{names[physical]}}}")
    return short


def _matches(resource: str, pattern: str) -> bool:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html"""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts).replace(r"\?", "."), resource) is not None


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
