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
    """Return a secret's description, without its value, or None if it does not exist."""
    try:
        return dict(_secrets().describe_secret(SecretId=arn))
    except _secrets().exceptions.ResourceNotFoundException:
        return None


def created_by(arn: str) -> tuple[str, str] | None:
    """Return the stack that created a secret and its logical id there, or None.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html
    """
    tags = {tag["Key"]: tag["Value"] for tag in (description(arn) or {}).get("Tags", [])}
    stack = tags.get("aws:cloudformation:stack-id")
    return (stack, tags["aws:cloudformation:logical-id"]) if stack else None


def has_policy(arn: str) -> bool:
    """Return whether a secret has a resource policy, which may grant access by itself."""
    return bool(_secrets().get_resource_policy(SecretId=arn).get("ResourcePolicy"))


def region() -> str:
    """Return the Region whose secrets can be described."""
    return str(_secrets().meta.region_name)
