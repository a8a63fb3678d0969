"""The connection secret in Secrets Manager. Its value never leaves this process."""

from collections.abc import Callable
from typing import TYPE_CHECKING

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
