"""Tell the people who subscribed what became of a release.

A function and not the rule itself: EventBridge's input transformer does not escape the values that
it fills in, and a reason holds quotes and log lines.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

import os
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import sns
from deployer.aws.log import Logger
from deployer.deploy.announcement import announcement

logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    message = announcement(event["detail"])
    sns.publish(os.environ["TOPIC"], message.subject, message.text)
    logger.info("announced", subject=message.subject)
