"""One adapter module per AWS service: small functions, named by what the caller wants.

The adapters decide nothing. botocore retries throttles and server errors; the workflow does not.
"""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20
)


@cache
def client(service: str) -> Any:
    """The one client of a service in this process, made when it is first needed."""
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]
