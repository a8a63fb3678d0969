"""Secrets in Secrets Manager. A value never leaves this process."""

from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def _secrets() -> "SecretsManagerClient":
    return client("secretsmanager")  # type: ignore[no-any-return]


def value(arn: str) -> str:
    """Return a secret's value."""
    return _secrets().get_secret_value(SecretId=arn)["SecretString"]


def replace(arn: str, value: str) -> None:
    """Replace a secret's value."""
    _secrets().put_secret_value(SecretId=arn, SecretString=value)


def description(arn: str) -> dict[str, Any] | None:
    """What is known of a secret beside its value; None if there is none."""
    try:
        return dict(_secrets().describe_secret(SecretId=arn))
    except _secrets().exceptions.ResourceNotFoundException:
        return None


def made_by(arn: str) -> tuple[str, str] | None:
    """The stack that a secret is of, and what it is called in there; None if it is of none.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html
    """
    tags = {tag["Key"]: tag["Value"] for tag in (description(arn) or {}).get("Tags", [])}
    stack = tags.get("aws:cloudformation:stack-id")
    return (stack, tags["aws:cloudformation:logical-id"]) if stack else None


def has_policy(arn: str) -> bool:
    """Whether a secret has a policy of its own, which may let in whom no other policy does."""
    return bool(_secrets().get_resource_policy(SecretId=arn).get("ResourcePolicy"))


def region() -> str:
    """Return the Region whose secrets can be described."""
    return str(_secrets().meta.region_name)
