"""One adapter module per AWS service: small functions, named by what the caller wants.

The adapters decide nothing. botocore retries throttles and server errors within one invocation;
what remains then is one error, AwsUnavailable, which the workflow retries more slowly.
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
    max_pool_connections=32,  # as many as publish a site's files at once
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
    """The one client of a service in this process, made when it is first needed."""
    made = boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]
    made.meta.events.register("after-call", _raise_if_unavailable)
    made.meta.events.register("after-call-error", _raise_if_unanswered)
    return made


def refused(error: ClientError) -> bool:
    """Whether AWS refused a call because the function's role does not allow it."""
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
