"""Secrets in Secrets Manager. A value never leaves this process."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def _secrets() -> "SecretsManagerClient":
    return client("secretsmanager")  # type: ignore[no-any-return]


def change(arn: str, how: Callable[[str], str]) -> None:
    """Replace a secret's value by what `how` makes of it, if that is another."""
    value = _secrets().get_secret_value(SecretId=arn)["SecretString"]
    changed = how(value)
    if changed != value:
        _secrets().put_secret_value(SecretId=arn, SecretString=changed)


def description(arn: str) -> dict[str, Any] | None:
    """What is known of a secret beside its value; None if there is none."""
    try:
        return dict(_secrets().describe_secret(SecretId=arn))
    except _secrets().exceptions.ResourceNotFoundException:
        return None


def has_policy(arn: str) -> bool:
    """Whether a secret has a policy of its own, which may let in whom no other policy does."""
    return bool(_secrets().get_resource_policy(SecretId=arn).get("ResourcePolicy"))
