"""Stacks in CloudFormation."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployer.aws import client, refused

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


def _cloudformation() -> "CloudFormationClient":
    return client("cloudformation")  # type: ignore[no-any-return]


def change_policy(stack: str, how: Callable[[str | None], str]) -> bool:
    """Replace a stack's policy with `how(policy)`; return False without permission."""
    try:
        policy = _cloudformation().get_stack_policy(StackName=stack).get("StackPolicyBody")
        changed = how(policy)
        if changed != policy:
            _cloudformation().set_stack_policy(StackName=stack, StackPolicyBody=changed)
    except ClientError as error:
        if not refused(error):
            raise
        return False
    return True
