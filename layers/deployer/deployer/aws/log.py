"""The functions' log: JSON lines in CloudWatch, without the credentials that others wrote."""

import json
from typing import Any

from aws_lambda_powertools import Logger as _Logger

from deployer.redaction import redact_all


def Logger() -> _Logger:
    """Make a function's logger, which strikes credentials out of all that is logged."""
    return _Logger(json_serializer=_serialized)


def _serialized(entry: dict[str, Any]) -> str:
    return json.dumps(redact_all(entry), default=str)
