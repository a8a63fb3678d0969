"""Messages to the subscribers of a topic."""

from typing import TYPE_CHECKING

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


def _sns() -> "SNSClient":
    return client("sns")  # type: ignore[no-any-return]


def publish(topic: str, subject: str, text: str) -> None:
    """Send a message to all subscribers."""
    _sns().publish(TopicArn=topic, Subject=subject, Message=text)
