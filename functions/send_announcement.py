"""Notify subscribers of the outcome of a release.

The EventBridge rule cannot do it: its input transformer does not escape the values that it inserts,
and a reason contains quotes and log lines.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

import os
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import sns
from deployer.deploy.announcement import announcement
from deployer.log import Logger

logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    message = announcement(event["detail"])
    sns.publish(os.environ["TOPIC"], message.subject, message.text)
    logger.info("announced", subject=message.subject)
