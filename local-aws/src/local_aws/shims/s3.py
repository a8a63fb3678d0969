"""S3's events name the object's version, and only who may list a bucket learns what is missing."""

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack import app
from ministack.services import eventbridge, s3

from local_aws.shims import Shim

type Response = tuple[int, dict[str, Any], Any]

_version: ContextVar[str | None] = ContextVar("version", default=None)

shim = Shim()
install = shim.install


# Events, which have a version where the bucket keeps versions:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
# -------------------------------------------------------------------------------------------------


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


@shim.wraps(s3, "_record_object_version", "bucket_name key prior_obj obj data")
def _record_object_version(original: Callable[..., Any], *given: Any) -> Any:
    """A version's content is in its file, and need not be in memory too."""
    return original(*given[:-1], None)


# Not found, or forbidden: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
# -------------------------------------------------------------------------------------------------


@shim.wraps(s3, "_get_object", "bucket_name key headers query_params")
def _get_object(
    original: Callable[..., Response],
    bucket_name: str,
    key: str,
    headers: dict[str, str],
    query_params: dict[str, Any] | None = None,
) -> Response:
    answer = original(bucket_name, key, headers, query_params)
    return _denied_to(answer, bucket_name, headers, query_params)


@shim.wraps(s3, "_head_object", "bucket_name key headers query_params")
def _head_object(
    original: Callable[..., Response],
    bucket_name: str,
    key: str,
    headers: dict[str, str] | None = None,
    query_params: dict[str, Any] | None = None,
) -> Response:
    answer = original(bucket_name, key, headers, query_params)
    return _denied_to(answer, bucket_name, headers, query_params)


def _denied_to(
    answer: Response,
    bucket: str,
    headers: dict[str, str] | None,
    query_params: dict[str, Any] | None,
) -> Response:
    """The answer, or 403 instead of 404 for a caller without s3:ListBucket."""
    headers, query_params = headers or {}, query_params or {}
    signed = app.extract_access_key_id(headers, query_params)
    if answer[0] != 404 or not signed or s3._ensure_bucket(bucket) is None:
        return answer
    denied: Response | None = app._enforce_data_plane(
        "s3", "s3:ListBucket", headers, query_params, "", resource_arn=f"arn:aws:s3:::{bucket}"
    )
    return denied or answer
