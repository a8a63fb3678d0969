"""Roles in IAM."""

from typing import TYPE_CHECKING

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


def _iam() -> "IAMClient":
    return client("iam")  # type: ignore[no-any-return]


def role_exists(arn: str) -> bool:
    """Whether the role of that ARN exists."""
    try:
        _iam().get_role(RoleName=arn.rsplit("/", 1)[-1])
    except _iam().exceptions.NoSuchEntityException:
        return False
    return True
