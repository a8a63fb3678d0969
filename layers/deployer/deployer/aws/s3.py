"""Archives of sources, and the files of sites, in S3."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from deployer.aws import client
from deployer.errors import AwsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_MOST_DELETED_AT_ONCE = 1000
_CHUNK = 1024 * 1024


class Served(NamedTuple):
    """How an object is served: its type, its caching, and the metadata for the edge.

    `metadata` has the release that it belongs to.
    """

    content_type: str
    cache_control: str
    metadata: Mapping[str, str]


def _s3() -> "S3Client":
    return client("s3")  # type: ignore[no-any-return]


def newest(bucket: str, prefix: str) -> tuple[str, str, datetime] | None:
    """Return the key, version and time of the newest object below a prefix, or None."""
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    objects = [entry for page in pages for entry in page.get("Contents", [])]
    if not objects:
        return None
    last = max(objects, key=lambda entry: entry["LastModified"])
    head = _s3().head_object(Bucket=bucket, Key=last["Key"])
    return last["Key"], head["VersionId"], last["LastModified"]


def stored_since(bucket: str, prefix: str, since: datetime) -> Iterator[dict[str, Any]]:
    """Yield the objects below a prefix stored since a time, as `describe` but without version."""
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for entry in page.get("Contents", []):
            if entry["LastModified"] >= since:
                yield {
                    "key": entry["Key"],
                    "version": None,
                    "etag": entry["ETag"].strip('"'),
                    "size": entry["Size"],
                    "at": entry["LastModified"].astimezone(UTC).isoformat(),
                }


def download(bucket: str, key: str, into: IO[bytes], version: str | None = None) -> bool:
    """Download an object, or a version of it; return False if it does not exist."""
    response = _get(bucket, key, version)
    if response is None:
        return False
    for chunk in response["Body"].iter_chunks(_CHUNK):
        into.write(chunk)
    return True


def metadata(bucket: str, key: str, version: str | None = None) -> Mapping[str, str]:
    """Return an object's own metadata; none if the object does not exist."""
    response = _get(bucket, key, version)
    if response is None:
        return {}
    response["Body"].close()
    return response["Metadata"]


def _get(bucket: str, key: str, version: str | None = None) -> "GetObjectOutputTypeDef | None":
    """Return an object with its content unread, or None if it, or that version, does not exist.

    Without permission to list the bucket, S3 answers AccessDenied for a missing object. The error
    is raised: a missing permission must not look like a missing object.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    which = {"VersionId": version} if version else {}
    try:
        return _s3().get_object(Bucket=bucket, Key=key, **which)  # type: ignore[arg-type]
    except _s3().exceptions.ClientError as error:
        details: Mapping[str, Any] = error.response["Error"]
        code, argument = details["Code"], details.get("ArgumentName")
        # InvalidArgument: a version id that S3 never issued
        never_issued = (code, argument) == ("InvalidArgument", "versionId")
        if code in ("NoSuchKey", "NoSuchVersion") or never_issued:
            return None
        raise


def upload(bucket: str, key: str, content: IO[bytes] | bytes) -> None:
    """Upload an object that is not part of a site."""
    _s3().put_object(Bucket=bucket, Key=key, Body=content)


def document(bucket: str, key: str) -> Any:
    """Return a JSON document, or None if it does not exist."""
    response = _get(bucket, key)
    return json.load(response["Body"]) if response else None


def keep_document(bucket: str, key: str, value: Any) -> None:
    """Write a JSON document."""
    _s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(value).encode())


def publish(bucket: str, key: str, content: IO[bytes] | bytes, served: Served) -> None:
    """Upload a file of a site, streaming."""
    _s3().put_object(Bucket=bucket, Key=key, Body=content, **_headers(served))


def copy(bucket: str, source: str, key: str, served: Served) -> None:
    """Copy a file of a site within its bucket, on S3's side."""
    _s3().copy_object(
        Bucket=bucket,
        Key=key,
        CopySource={"Bucket": bucket, "Key": source},
        MetadataDirective="REPLACE",
        **_headers(served),
    )


def _headers(served: Served) -> Mapping[str, Any]:
    return {
        "ContentType": served.content_type,
        "CacheControl": served.cache_control,
        "Metadata": dict(served.metadata),
    }


def folders(bucket: str, prefix: str) -> list[str]:
    """Return the names of the folders below a prefix."""
    request = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    pages = _s3().get_paginator("list_objects_v2").paginate(**request)  # type: ignore[arg-type]
    prefixes = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
    return [name.removeprefix(prefix).rstrip("/") for name in prefixes]


def delete(bucket: str, prefix: str, go_on: Callable[[], None]) -> None:
    """Delete everything below a prefix.

    Args:
        go_on: called after each thousand objects.
    Raises:
        AwsUnavailable: S3 did not delete some of them.
    """
    for keys in _keys(bucket, prefix):
        objects = [{"Key": key} for key in keys]
        response = _s3().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})  # type: ignore[typeddict-item]
        if errors := response.get("Errors"):
            codes = ", ".join(sorted({error.get("Code", "") for error in errors}))
            raise AwsUnavailable(f"DeleteObjects: {len(errors)} not deleted: {codes}")
        go_on()


def _keys(bucket: str, prefix: str) -> Iterator[list[str]]:
    pages = (
        _s3()
        .get_paginator("list_objects_v2")
        .paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": _MOST_DELETED_AT_ONCE}
        )
    )
    for page in pages:
        if keys := [entry["Key"] for entry in page.get("Contents", [])]:
            yield keys


def describe(bucket: str, key: str, version: str | None = None) -> dict[str, Any] | None:
    """Return an object's version, entity tag, size in bytes and time, or None if it is missing."""
    # not HeadObject, whose error has no body: a missing object would look like a bad request
    response = _get(bucket, key, version)
    if response is None:
        return None
    response["Body"].close()
    return {
        "key": key,
        "version": response.get("VersionId"),
        "etag": response["ETag"].strip('"'),
        "size": response["ContentLength"],
        "at": response["LastModified"].astimezone(UTC).isoformat(),
    }
