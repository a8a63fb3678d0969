"""S3's events on EventBridge name the version of the object, where its bucket keeps versions.

AmazonS3 user guide, EventBridge event message structure:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, s3

from local.shims import Shim

_version: ContextVar[str | None] = ContextVar("version", default=None)

shim = Shim()
install = shim.install


@shim.wraps(
    s3,
    "_fire_s3_event",
    "bucket_name key event_name size etag deletion_type restore_event_data version_id sequencer"
    " object_extra record_extra",
)
def _fire_s3_event(original: Callable[..., None], *given: Any, **named: Any) -> None:
    token = _version.set(named.get("version_id"))
    try:
        original(*given, **named)
    finally:
        _version.reset(token)


@shim.wraps(eventbridge, "_dispatch_event", "event view")
def _dispatch_event(original: Callable[..., Any], event: dict[str, Any], view: Any = None) -> Any:
    version = _version.get()
    if version and event.get("Source") == "aws.s3":
        detail = json.loads(event["Detail"])
        detail["object"]["version-id"] = version
        event = {**event, "Detail": json.dumps(detail)}
    return original(event, view)
