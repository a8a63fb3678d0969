"""S3: the bucket of sources and that of a site."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulation.cloud import digest_of
from tests.simulation.ecs import moment
from tests.simulation.errors import AwsError

if TYPE_CHECKING:
    from tests.simulation.world import World

SITE_BUCKET, SOURCES = "guide-docs", "sources"


class Body(io.BytesIO):
    """What S3 streams."""

    def iter_chunks(self, size: int) -> Any:
        while chunk := self.read(size):
            yield chunk


@dataclass(frozen=True)
class Object:
    """An object, or a version of it."""

    body: bytes
    at: float
    version: str
    release: str = ""


class S3:
    """Buckets whose objects keep their versions."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.objects: dict[tuple[str, str], list[Object]] = {}

    def put_object(self, request: Mapping[str, Any]) -> dict[str, Any]:
        body = request["Body"]
        if not isinstance(body, bytes):
            body.seek(0)  # as botocore does before it tries again
        content = body if isinstance(body, bytes) else body.read()
        return self.put(request["Bucket"], request["Key"], content, request.get("Metadata"))

    def put(
        self, bucket: str, key: str, body: bytes, message: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        versions = self.objects.setdefault((bucket, key), [])
        result = f"version-{self.world.calls}-{len(versions)}-{len(self.objects)}"
        now = float(int(self.world.engine.now))
        versions.append(Object(body, now, result, (message or {}).get("release", "")))
        return {"VersionId": result, "ETag": f'"{_etag(body)}"'}

    def copy_object(self, request: Mapping[str, Any]) -> dict[str, Any]:
        bucket, _, key = request["CopySource"].partition("/")
        result = self.find(bucket, key)
        self.put(request["Bucket"], request["Key"], result.body, request.get("Metadata"))
        return {}

    def get_object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = self.find(asked["Bucket"], asked["Key"], asked.get("VersionId"))
        return {**self._shown(found), "Metadata": {}, "Body": Body(found.body)}

    def head_object(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._shown(self.find(request["Bucket"], request["Key"]))

    def _shown(self, described: Object) -> dict[str, Any]:
        return {
            "VersionId": described.version,
            "ETag": f'"{_etag(described.body)}"',
            "ContentLength": len(described.body),
            "LastModified": moment(described.at),
        }

    def find(self, bucket: str, key: str, version: str | None = None) -> Object:
        versions = self.objects.get((bucket, key), [])
        fitting = [o for o in versions if version in (None, o.version)]
        if not fitting:
            raise AwsError("NoSuchVersion" if versions else "NoSuchKey", key, 404)
        return fitting[-1]

    def list_objects_v2(self, request: Mapping[str, Any]) -> dict[str, Any]:
        bucket, prefix = request["Bucket"], request["Prefix"]
        keys = sorted(k for b, k in self.objects if b == bucket and k.startswith(prefix))
        if "Delimiter" in request:
            names = dict.fromkeys(prefix + k[len(prefix) :].split("/")[0] + "/" for k in keys)
            matches: list[Any] = [{"Prefix": name} for name in names]
        else:
            matches = [{"Key": key, **self._listed(bucket, key)} for key in keys]
        page, following = self.world.paged(matches, request.get("ContinuationToken"))
        answer: dict[str, Any] = {"IsTruncated": following is not None}
        answer["CommonPrefixes" if "Delimiter" in request else "Contents"] = page
        return {**answer, **({"NextContinuationToken": following} if following else {})}

    def _listed(self, bucket: str, key: str) -> dict[str, Any]:
        newest = self.objects[bucket, key][-1]
        shown = self._shown(newest)
        return {"ETag": shown["ETag"], "Size": len(newest.body), "LastModified": moment(newest.at)}

    def delete_objects(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for entry in request["Delete"]["Objects"]:
            self.objects.pop((request["Bucket"], entry["Key"]), None)
        return {}

    def __contains__(self, key: str) -> bool:
        """Whether the site's bucket has an object."""
        return (SITE_BUCKET, key) in self.objects


def _etag(body: bytes) -> str:
    return digest_of(body.hex())[7:39]


def object_created(key: str, version: str, time: str) -> dict[str, Any]:
    """Return the event of an upload:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": time,
        "detail": {"bucket": {"name": SOURCES}, "object": {"key": key, "version-id": version}},
    }
