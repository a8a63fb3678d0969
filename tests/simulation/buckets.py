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

    def put_object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        body = asked["Body"]
        if not isinstance(body, bytes):
            body.seek(0)  # as botocore does before it tries again
        content = body if isinstance(body, bytes) else body.read()
        return self.put(asked["Bucket"], asked["Key"], content, asked.get("Metadata"))

    def put(
        self, bucket: str, key: str, body: bytes, told: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        versions = self.objects.setdefault((bucket, key), [])
        made = f"version-{self.world.calls}-{len(versions)}-{len(self.objects)}"
        now = float(int(self.world.engine.now))
        versions.append(Object(body, now, made, (told or {}).get("release", "")))
        return {"VersionId": made, "ETag": f'"{_etag(body)}"'}

    def copy_object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        bucket, _, key = asked["CopySource"].partition("/")
        found = self.find(bucket, key)
        self.put(asked["Bucket"], asked["Key"], found.body, asked.get("Metadata"))
        return {}

    def get_object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = self.find(asked["Bucket"], asked["Key"], asked.get("VersionId"))
        return {**self._shown(found), "Metadata": {}, "Body": Body(found.body)}

    def head_object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._shown(self.find(asked["Bucket"], asked["Key"]))

    def _shown(self, found: Object) -> dict[str, Any]:
        return {
            "VersionId": found.version,
            "ETag": f'"{_etag(found.body)}"',
            "ContentLength": len(found.body),
            "LastModified": moment(found.at),
        }

    def find(self, bucket: str, key: str, version: str | None = None) -> Object:
        versions = self.objects.get((bucket, key), [])
        fitting = [o for o in versions if version in (None, o.version)]
        if not fitting:
            raise AwsError("NoSuchVersion" if versions else "NoSuchKey", key, 404)
        return fitting[-1]

    def list_objects_v2(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        bucket, prefix = asked["Bucket"], asked["Prefix"]
        keys = sorted(k for b, k in self.objects if b == bucket and k.startswith(prefix))
        if "Delimiter" in asked:
            names = dict.fromkeys(prefix + k[len(prefix) :].split("/")[0] + "/" for k in keys)
            found: list[Any] = [{"Prefix": name} for name in names]
        else:
            found = [{"Key": key, **self._listed(bucket, key)} for key in keys]
        page, following = self.world.paged(found, asked.get("ContinuationToken"))
        answer: dict[str, Any] = {"IsTruncated": following is not None}
        answer["CommonPrefixes" if "Delimiter" in asked else "Contents"] = page
        return {**answer, **({"NextContinuationToken": following} if following else {})}

    def _listed(self, bucket: str, key: str) -> dict[str, Any]:
        newest = self.objects[bucket, key][-1]
        shown = self._shown(newest)
        return {"ETag": shown["ETag"], "Size": len(newest.body), "LastModified": moment(newest.at)}

    def delete_objects(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        for entry in asked["Delete"]["Objects"]:
            self.objects.pop((asked["Bucket"], entry["Key"]), None)
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
