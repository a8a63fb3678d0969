"""What a service may do in a role that was handed to it.

MiniStack enforces IAM on requests. What one of its services does for a state machine, a rule or a
function is no request but a call inside the process, with the rights of root; the shims ask here
first. A role's trust policy is asked with the keys aws:SourceAccount and aws:SourceArn.

Follows the IAM user guide (Policy evaluation logic; Using an IAM role to grant permissions to AWS
services; The confused deputy problem) and the Step Functions developer guide (How Step Functions
works with IAM).
"""

import json
from collections.abc import Mapping
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam

from local_aws.shims import decisions


def denial(
    role: str,
    service: str,
    action: str,
    resource: str,
    *,
    source: str,
    session: str = "local",
    keys: Mapping[str, str] | None = None,
) -> str | None:
    """Why `service` ("states.amazonaws.com") may not do `action` on `resource` in `role`.

    None when it may. `role` is an ARN; `source` is that of the resource for which the service acts,
    such as the state machine; `session` names who acts, for the message; `keys` are the request's
    condition keys, in lower case.
    """
    if not trusts(role, service, source):
        return f"{service} is not authorized to assume the provided role: {role}"
    account, name = role.split(":")[4], role.rpartition("/")[2]
    caller = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
    context = iam_evaluator.EvalContext(
        principal_arn=caller,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=resource.split(":")[3] if resource.count(":") > 3 else "",
        service_context=dict(keys or {}),
    )
    policies = iam_evaluator._gather_role_policies(name, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    decision = iam_evaluator.evaluate(context, policies, *limits).decision
    decisions.record(caller, action, resource, allowed=decision == "Allow")
    if decision == "Allow":
        return None
    if decision == "Deny":
        why = "with an explicit deny in an identity-based policy"
    elif iam_evaluator.evaluate(context, policies).decision == "Allow":
        why = f"because no permissions boundary allows the {action} action"
    else:
        why = f"because no identity-based policy allows the {action} action"
    return f"User: {caller} is not authorized to perform: {action} on resource: {resource} {why}"


def lets_in(policy: Any, service: str, action: str, resource: str, *, source: str) -> bool:
    """Whether a resource's policy lets `service` do an action on it for the resource `source`."""
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=get_region(),
        service_context={"aws:sourcearn": source, "aws:sourceaccount": get_account_id()},
    )
    decided = iam_evaluator.evaluate_resource_policy(policy, context, service=service)
    return bool(decided.decision == "Allow")


def trusts(role: str, service: str, source: str) -> bool:
    """Whether the role of this ARN exists and `service` may assume it for `source`."""
    try:
        parsed = parse_arn(role)
    except ArnParseError:
        return False
    record = iam._roles.get_scoped(parsed.account_id, None, role.rpartition("/")[2])
    if record is None or record["Arn"] != role:
        return False
    context = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account="",
        action="sts:AssumeRole",
        resource_arn=role,
        region="",
        service_context={"aws:sourcearn": source, "aws:sourceaccount": source.split(":")[4]},
    )
    document = record.get("AssumeRolePolicyDocument", "{}")
    policy = json.loads(document) if isinstance(document, str) else document
    statements = policy.get("Statement", [])
    return any(
        statement.get("Effect") == "Allow"
        and iam_evaluator._service_principal_matches(statement.get("Principal", {}), service)
        and iam_evaluator._conditions_met(statement.get("Condition", {}), context)
        for statement in (statements if isinstance(statements, list) else [statements])
    )
