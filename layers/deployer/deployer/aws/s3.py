"""Objects in S3."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# HeadObject has no body to name the error in; S3 says 403 for a missing key to who may not list.
_MISSING = ("404", "403", "NoSuchKey", "NoSuchVersion", "NotFound", "AccessDenied", "400")


def _s3() -> "S3Client":
    return client("s3")  # type: ignore[no-any-return]


def describe(bucket: str, key: str, version: str | None = None) -> dict[str, Any] | None:
    """An object's version, entity tag, size in bytes and time; None if it is not there."""
    asked = {"VersionId": version} if version else {}
    try:
        found = _s3().head_object(Bucket=bucket, Key=key, **asked)  # type: ignore[arg-type]
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            return None
        raise
    return {
        "key": key,
        "version": found.get("VersionId"),
        "etag": found["ETag"].strip('"'),
        "size": found["ContentLength"],
        "at": found["LastModified"].astimezone(UTC).isoformat(),
    }


def write(bucket: str, key: str, content: bytes) -> None:
    """Write an object, whatever was there."""
    _s3().put_object(Bucket=bucket, Key=key, Body=content)
