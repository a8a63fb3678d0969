"""One adapter module per AWS service: small functions, named after the caller's need.

The adapters decide nothing. botocore retries throttles and server errors within one invocation. If
the retries fail, the call raises AwsUnavailable, which the workflow retries more slowly.
"""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from deployer.errors import AwsUnavailable

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=5,
    read_timeout=20,
    max_pool_connections=32,  # publish_docs uploads as many files at once
)

_THROTTLES = (
    "ProvisionedThroughputExceededException",
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
)


@cache
def client(service: str) -> Any:
    """Return this process's client of a service, created on first use."""
    aws_client = boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]
    aws_client.meta.events.register("after-call", _raise_if_unavailable)
    aws_client.meta.events.register("after-call-error", _raise_if_unanswered)
    return aws_client


def refused(error: ClientError) -> bool:
    """Return whether AWS refused a call for lack of permission."""
    return error.response["Error"]["Code"] in (
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
    )


def _raise_if_unavailable(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    code = parsed.get("Error", {}).get("Code", "")
    if http_response.status_code >= 500 or code in _THROTTLES:
        raise AwsUnavailable(f"{model.name}: {http_response.status_code} {code}")


def _raise_if_unanswered(exception: Exception, event_name: str, **_: Any) -> None:
    if isinstance(exception, (HTTPClientError, NoConnectionError)):
        raise AwsUnavailable(f"{event_name.rsplit('.', 1)[-1]}: {exception}") from exception
