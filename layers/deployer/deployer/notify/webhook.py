"""Sign a release's event for a webhook, as Standard Webhooks specifies.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any


def body(event: Mapping[str, Any]) -> bytes:
    """Return the payload for EventBridge's event: the same bytes for every attempt."""
    detail = {name: value for name, value in event["detail"].items() if name != "github"}
    payload = {
        "type": f"release.{detail['state'].lower()}",
        "timestamp": event["time"],
        "data": detail,
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def headers(message: str, timestamp: int, payload: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers that identify and sign a payload.

    Args:
        message: the event's id, by which the receiver knows a repetition.
        timestamp: of this attempt, in seconds since 1970.
        keys: the current one and, while it is replaced, the one before.
    """
    signed = f"{message}.{timestamp}.".encode() + payload
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }
