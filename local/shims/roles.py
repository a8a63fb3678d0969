"""What a service may do in a role that was handed to it.

MiniStack enforces IAM on requests. What one of its services does for a state machine or a rule is
no request but a call inside the process, with the rights of root; the shims ask here first.

Follows the IAM user guide (Policy evaluation logic; Using an IAM role to grant permissions to AWS
services) and the Step Functions developer guide (How Step Functions works with IAM).
"""

import json
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import iam

from local.shims import expect


def install() -> None:
    expect(
        iam_evaluator,
        evaluate="ctx policies limits",
        _gather_role_policies="role_name account_id",
        _service_principal_matches="principal service",
        EvalContext=None,
    )
    expect(iam, _roles=None)


def denial(
    role: str, service: str, action: str, resource: str, session: str = "local"
) -> str | None:
    """Why `service` ("states.amazonaws.com") may not do `action` on `resource` in `role`.

    None when it may. `role` is an ARN; `session` names who acts, for the message.
    """
    try:
        parsed = parse_arn(role)
    except ArnParseError:
        return f"'{role}' is not the ARN of a role"
    name = parsed.resource.rpartition("/")[2]
    record = iam._roles.get_scoped(parsed.account_id, None, name)
    if record is None or not _trusts(record.get("AssumeRolePolicyDocument", "{}"), service):
        return f"{service} is not authorized to assume the provided role: {role}"
    caller = f"arn:aws:sts::{parsed.account_id}:assumed-role/{name}/{session}"
    context = iam_evaluator.EvalContext(
        principal_arn=caller,
        principal_type="AssumedRole",
        principal_account=parsed.account_id,
        action=action,
        resource_arn=resource,
        region=resource.split(":")[3] if resource.count(":") > 3 else "",
    )
    policies = iam_evaluator._gather_role_policies(name, parsed.account_id)
    decision = iam_evaluator.evaluate(context, policies).decision
    if decision == "Allow":
        return None
    why = (
        "with an explicit deny in an identity-based policy"
        if decision == "Deny"
        else f"because no identity-based policy allows the {action} action"
    )
    return f"User: {caller} is not authorized to perform: {action} on resource: {resource} {why}"


def _trusts(document: str | dict[str, Any], service: str) -> bool:
    policy = json.loads(document) if isinstance(document, str) else document
    statements = policy.get("Statement", [])
    return any(
        statement.get("Effect") == "Allow"
        and iam_evaluator._service_principal_matches(statement.get("Principal", {}), service)
        for statement in (statements if isinstance(statements, list) else [statements])
    )
