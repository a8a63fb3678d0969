"""Messages of a queue that a function is given."""

from typing import TYPE_CHECKING

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def _sqs() -> "SQSClient":
    return client("sqs")  # type: ignore[no-any-return]


def hide(queue: str, receipt: str, seconds: int) -> None:
    """Give a message to nobody else for so long; without its deletion it is given again then.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html

    Args:
        queue: its URL.
        receipt: the message's receipt handle.
    """
    _sqs().change_message_visibility(
        QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=seconds
    )
