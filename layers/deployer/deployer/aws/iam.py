"""Roles in IAM, and what they may do."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployer.aws import client, refused

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


def _iam() -> "IAMClient":
    return client("iam")  # type: ignore[no-any-return]


def role_exists(arn: str) -> bool:
    """Whether the role of that ARN exists and is one that we may look at."""
    try:
        _iam().get_role(RoleName=arn.rsplit("/", 1)[-1])
    except ClientError as error:
        if refused(error) or error.response["Error"]["Code"] == "NoSuchEntity":
            return False
        raise
    return True


def decision(role: str, action: str, resource: str) -> tuple[str, bool]:
    """Whether a role may do something, by its own policies.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html

    Returns:
        `allowed`, `explicitDeny` or `implicitDeny`; and whether a condition that we know no value
        for had a part in it.
    """
    found = _iam().simulate_principal_policy(
        PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
    )["EvaluationResults"][0]
    return found["EvalDecision"], bool(found.get("MissingContextValues"))
