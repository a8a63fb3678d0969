"""Wake the execution that sleeps on a rollout, when ECS tells that something became of it."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import releases, sfn
from deployer.events import news_of

logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> bool:
    news = news_of(event)
    token = releases.token(news["rollout"])
    woken = token is not None and sfn.wake(token, news["verdict"])
    logger.info("event passed on", news=news, woken=woken)
    return woken
