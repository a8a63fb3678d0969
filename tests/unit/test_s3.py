"""Archives and the files of sites in S3: what is there, what is not, and what is refused."""

import io
from typing import Any

import pytest

from deployer.aws import client, s3
from deployer.aws.s3 import Served
from deployer.errors import AwsUnavailable
from tests.unit.conftest import Script, refusal
from tests.unit.samples import NOW

BUCKET = "sources"
NEVER = "never-given-out"
PAGE = Served("text/html; charset=utf-8", "public, max-age=0", {"release": "r1"})


@pytest.fixture
def bucket(aws: None) -> str:
    client("s3").create_bucket(Bucket=BUCKET)
    versioned = {"Status": "Enabled"}
    client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioned)
    return BUCKET


def put(key: str, content: bytes) -> str:
    return str(client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)["VersionId"])


def gone(key: str) -> str:
    """A version that was there."""
    version = put(key, b"x")
    client("s3").delete_object(Bucket=BUCKET, Key=key, VersionId=version)
    return version


def test_the_newest_below_a_prefix_is_found_with_its_version(script: Script) -> None:
    keys = {"docs/coder/v1.zip": 1, "docs/coder/v2.zip": 3, "docs/coder/v3.zip": 2}
    listed = [{"Key": key, "LastModified": NOW.replace(minute=at)} for key, at in keys.items()]
    script("s3", "ListObjectsV2", {"Contents": listed, "IsTruncated": False})
    script("s3", "HeadObject", {"VersionId": "second"})
    result = s3.newest(BUCKET, "docs/coder/")
    assert result == ("docs/coder/v2.zip", "second", NOW.replace(minute=3))
    assert script.requests("HeadObject")[0]["Key"] == "docs/coder/v2.zip"
    script("s3", "ListObjectsV2", {"IsTruncated": False})
    assert s3.newest(BUCKET, "docs/coder/") is None


def test_a_version_is_downloaded_and_not_what_replaced_it(bucket: str) -> None:
    version = put("a.zip", b"old")
    put("a.zip", b"new")
    old, new = io.BytesIO(), io.BytesIO()
    assert s3.download(bucket, "a.zip", old, version)
    assert s3.download(bucket, "a.zip", new)
    assert (old.getvalue(), new.getvalue()) == (b"old", b"new")


def test_an_object_is_described_by_version(bucket: str) -> None:
    version = put("a.zip", b"12345")
    put("a.zip", b"")
    response = s3.describe(bucket, "a.zip", version)
    assert response and (response["version"], response["size"]) == (version, 5)
    empty = s3.describe(bucket, "a.zip")
    assert empty and empty["size"] == 0


@pytest.mark.parametrize("version", [None, NEVER, gone])
def test_what_is_not_there_is_said_to_be_missing(bucket: str, version: Any) -> None:
    named = version("a.zip") if callable(version) else version
    put("other.zip", b"x")
    assert s3.describe(bucket, "a.zip", named) is None
    assert not s3.download(bucket, "a.zip", io.BytesIO(), named)
    assert s3.document(bucket, "a.json") is None


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "InvalidRequest", "NoSuchBucket"])
def test_a_call_that_is_refused_does_not_look_like_a_missing_object(
    script: Script, code: str
) -> None:
    script("s3", "GetObject", refusal(code))
    for ask in (
        lambda: s3.describe(BUCKET, "a.zip", "v1"),
        lambda: s3.download(BUCKET, "a.zip", io.BytesIO()),
        lambda: s3.document(BUCKET, "a.json"),
    ):
        with pytest.raises(client("s3").exceptions.ClientError, match=code):
            ask()


def test_a_throttled_call_is_told_as_aws_being_unavailable(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down = {"Error": {"Code": "SlowDown"}}

    def throttled(**_: Any) -> tuple[Any, dict[str, Any]]:
        return type("Answer", (), {"status_code": 503})(), slow_down

    client("s3").meta.events.register("before-call.s3.GetObject", throttled)
    try:
        with pytest.raises(AwsUnavailable, match="GetObject: 503 SlowDown"):
            s3.describe(BUCKET, "a.zip")
    finally:
        client("s3").meta.events.unregister("before-call.s3.GetObject", throttled)


def test_a_document_is_read_as_it_was_written(bucket: str) -> None:
    s3.keep_document(bucket, "manifests/r1.json", {"files": {"ä.html": ["0", 1]}})
    assert s3.document(bucket, "manifests/r1.json") == {"files": {"ä.html": ["0", 1]}}


def served(key: str) -> tuple[bytes, str, str, dict[str, str]]:
    got = client("s3").get_object(Bucket=BUCKET, Key=key)
    told = got["ContentType"], got["CacheControl"], got["Metadata"]
    return (got["Body"].read(), *told)


def test_a_copy_is_served_as_its_own_release_says(bucket: str) -> None:
    s3.publish(bucket, "releases/r1/[a] b.html", io.BytesIO(b"page"), PAGE)
    assert served("releases/r1/[a] b.html") == (b"page", *PAGE)
    other = Served("text/plain", "no-store", {"release": "r2", "location": "/a"})
    s3.copy(bucket, "releases/r1/[a] b.html", "releases/r2/[a] b.html", other)
    assert served("releases/r2/[a] b.html") == (b"page", *other)


def test_folders_are_named_and_deleted_whole(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_MOST_DELETED_AT_ONCE", 2)
    bucket = "site"
    client("s3").create_bucket(Bucket=bucket)
    for number in range(5):
        s3.upload(bucket, f"releases/r1/{number}.html", b"")
    s3.upload(bucket, "releases/r2/index.html", b"")
    s3.upload(bucket, "releases.txt", b"")
    assert s3.folders(bucket, "releases/") == ["r1", "r2"]
    pages: list[int] = []
    s3.delete(bucket, "releases/r1/", lambda: pages.append(len(s3.folders(bucket, "releases/"))))
    assert pages == [2, 2, 1]
    s3.delete(bucket, "releases/r1/", lambda: pytest.fail("there is nothing left to delete"))
    assert s3.folders(bucket, "releases/") == ["r2"]


def test_an_object_that_s3_does_not_delete_is_no_success(aws: None, script: Script) -> None:
    client("s3").create_bucket(Bucket="site")
    s3.upload("site", "manifests/r1.json", b"{}")
    left = {"Key": "manifests/r1.json", "Code": "SlowDown", "Message": "Reduce your request rate."}
    script("s3", "DeleteObjects", {"Errors": [left]})
    with pytest.raises(AwsUnavailable, match="1 not deleted: SlowDown"):
        s3.delete("site", "manifests/r1.json", lambda: None)
