"""What a service may do in a role that was handed to it.

MiniStack enforces IAM on requests. What one of its services does for a state machine, a rule or a
function is no request but a call inside the process, with the rights of root; the shims ask here
first. A role's trust policy is evaluated with the keys aws:SourceAccount and aws:SourceArn.

Follows the IAM user guide (Policy evaluation logic; Using an IAM role to grant permissions to AWS
services; The confused deputy problem) and the Step Functions developer guide (How Step Functions
works with IAM).
"""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam

from local_aws import server

_lock = threading.Lock()
_known: set[str] = set()


def record(principal: str, action: str, resource: str, *, allowed: bool) -> None:
    """Note what IAM decided about a request in a role's session, given by its ARN.

    One JSON line for each principal, action, resource and answer, when they first come together. A
    test compares these with what the roles allow. Users are not noted.
    """
    _, _, who = principal.partition(":assumed-role/")
    role = who.partition("/")[0]
    if not role or server.MARKER not in os.environ:
        return
    line = json.dumps({"role": role, "action": action, "resource": resource, "allowed": allowed})
    with _lock:
        if line not in _known:
            _known.add(line)
            with (Path(os.environ[server.MARKER]) / server.DECISIONS).open("a") as file:
                file.write(line + "\n")


def context(
    action: str,
    resource: str,
    keys: Mapping[str, str],
    principal: str = "*",
    kind: str = "Service",
    account: str = "",
) -> iam_evaluator.EvalContext:
    """Describe a request to IAM: who wants to do the action, with which condition keys."""
    return iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type=kind,
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=get_region(),
        service_context=dict(keys),
    )


def denial(
    role: str,
    service: str,
    action: str,
    resource: str,
    *,
    source: str,
    keys: Mapping[str, str] | None = None,
) -> str | None:
    """Why `service` ("states.amazonaws.com") may not do `action` on `resource` in `role`.

    None when it may. `role` is an ARN; `source` is that of the resource for which the service acts,
    such as the state machine; `keys` are the request's condition keys, in lower case.
    """
    if not trusts(role, service, source):
        return f"{service} is not authorized to assume the provided role: {role}"
    account, name = role.split(":")[4], role.rpartition("/")[2]
    caller = f"arn:aws:sts::{account}:assumed-role/{name}/local"
    request = context(action, resource, keys or {}, caller, "AssumedRole", account)
    policies = iam_evaluator._gather_role_policies(name, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    decision = iam_evaluator.evaluate(request, policies, *limits).decision
    record(caller, action, resource, allowed=decision == "Allow")
    if decision == "Allow":
        return None
    if decision == "Deny":
        why = "with an explicit deny in an identity-based policy"
    elif iam_evaluator.evaluate(request, policies).decision == "Allow":
        why = f"because no permissions boundary allows the {action} action"
    else:
        why = f"because no identity-based policy allows the {action} action"
    return f"User: {caller} is not authorized to perform: {action} on resource: {resource} {why}"


def lets_in(policy: Any, service: str, action: str, resource: str, *, source: str) -> bool:
    """Whether a resource's policy lets `service` do an action on it for the resource `source`."""
    keys = {"aws:sourcearn": source, "aws:sourceaccount": get_account_id()}
    request = context(action, resource, keys)
    decided = iam_evaluator.evaluate_resource_policy(policy, request, service=service)
    return bool(decided.decision == "Allow")


def trusts(role: str, service: str, source: str) -> bool:
    """Whether the role of this ARN exists and `service` may assume it for `source`."""
    record = next((each for each in list(iam._roles._data.values()) if each["Arn"] == role), None)
    if record is None:
        return False
    keys = {"aws:sourcearn": source, "aws:sourceaccount": source.split(":")[4]}
    request = context("sts:AssumeRole", role, keys, service)
    document = record.get("AssumeRolePolicyDocument", "{}")
    policy = json.loads(document) if isinstance(document, str) else document
    statements = policy.get("Statement", [])
    return any(
        statement.get("Effect") == "Allow"
        and iam_evaluator._service_principal_matches(statement.get("Principal", {}), service)
        and iam_evaluator._conditions_met(statement.get("Condition", {}), request)
        for statement in (statements if isinstance(statements, list) else [statements])
    )
