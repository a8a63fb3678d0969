"""Send a release's event to Slack or to a webhook.

The event comes through a queue, which delivers what failed again for a day and keeps the rest.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.aws import secrets, sqs
from deployer.errors import NotificationFailed
from deployer.log import Logger
from deployer.notify import delivery
from deployer.redaction import redact
from deployer.store import releases

logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    (message,) = event["Records"]
    queue, receipt = os.environ["QUEUE"], message["receiptHandle"]
    attempt = int(message["attributes"]["ApproximateReceiveCount"])
    sqs.hide(queue, receipt, delivery.pause(attempt))  # however this attempt ends
    body = json.loads(message["body"])
    to, release = body["to"], body["event"]["detail"]
    records = releases.of_any_kind.history(release["service"]) if to == "slack" else []
    secret = secrets.value(f"{os.environ['STACK']}/{to}")
    request = delivery.request(to, secret, body["event"], records, int(time.time()))
    if request is None:
        logger.info("not worth a message", to=to, release=release["id"])
        return
    answer = http.post(request.url, request.body, request.headers)
    if refusal := delivery.refusal(answer):
        sqs.hide(queue, receipt, delivery.pause(attempt, answer))
        raise NotificationFailed(f"{to} {redact(refusal)}; attempt {attempt}")
    logger.info("notified", to=to, release=release["id"], attempt=attempt)
