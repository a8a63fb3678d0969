"""Roles in IAM, and their permissions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


def _iam() -> "IAMClient":
    return client("iam")  # type: ignore[no-any-return]


def role_exists(arn: str) -> bool | None:
    """Return whether a role exists, or None without permission to read it."""
    try:
        return trust(arn) is not None
    except ClientError as error:
        if refused(error):
            return None
        raise


def trust(arn: str) -> Mapping[str, Any] | None:
    """Return the trust policy of a role, or None if there is no such role."""
    try:
        role = _iam().get_role(RoleName=arn.rsplit("/", 1)[-1])["Role"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return None
        raise
    policy: Any = role.get("AssumeRolePolicyDocument", {})  # parsed by boto3
    return policy if isinstance(policy, Mapping) else {}


def decision(role: str, action: str, resource: str) -> tuple[str, bool]:
    """Simulate an action by a role's own policies.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html

    Returns:
        `allowed`, `explicitDeny` or `implicitDeny`; and whether a condition without a known value
        affected the result.
    """
    result = _iam().simulate_principal_policy(
        PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
    )["EvaluationResults"][0]
    return result["EvalDecision"], bool(result.get("MissingContextValues"))
