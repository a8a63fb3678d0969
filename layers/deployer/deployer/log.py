"""The functions' log: JSON lines in CloudWatch, with credentials redacted."""

import json
from typing import Any

from aws_lambda_powertools import Logger as _Logger

from deployer.redaction import redact_all


def Logger() -> _Logger:
    """Create a function's logger, which redacts credentials in everything it logs."""
    return _Logger(json_serializer=_serialize)


def _serialize(entry: dict[str, Any]) -> str:
    return json.dumps(redact_all(entry), default=str)
