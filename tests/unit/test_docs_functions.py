"""The functions of the Docs machine: what each refuses, puts off, and leaves behind."""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import check_sources
import identify_docs
import invalidate_cache
import prune_docs
import publish_docs
import record_docs
import record_failure
import verify_docs
from demo.site import tar_gz, zipped
from deployer.aws import client, s3
from deployer.docs import publication, site
from deployer.errors import (
    AwsUnavailable,
    LockLost,
    RequestRejected,
    SiteRejected,
    SiteUnknown,
    SourcesRejected,
    SpecInvalid,
)
from deployer.store import locks, releases
from tests.unit.conftest import Clock, Script, Web, refusal
from tests.unit.samples import EXECUTION, lock_request
from tests.unit.test_site import NOW, ROLE, SPEC, UPLOAD, event

pytestmark = pytest.mark.usefixtures("releases_table")

DOCS, BUCKET = "docs:coder", SPEC["bucket"]
KEPT = {**SPEC, "keepReleases": 2}
PAGES = {"index.html": "front", "a/index.html": "a", "app.0f8e2d1c.css": "css"}
NOTHING_YET = {"files": 0, "uploaded": 0, "copied": 0, "bytes": 0}


@pytest.fixture(autouse=True)
def world(
    releases_table: None, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Script:
    """A site on which nothing was published; archives are unpacked in a directory of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SOURCES", "sources")
    s3 = client("s3")
    for bucket in ("sources", BUCKET):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket="sources", VersioningConfiguration={"Status": "Enabled"})
    parameter = {"Name": "/deployer/docs/coder", "Value": json.dumps(KEPT), "Type": "String"}
    client("ssm").put_parameter(**parameter)
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    return script


def put(bucket: str, key: str, content: bytes) -> str:
    return str(client("s3").put_object(Bucket=bucket, Key=key, Body=content).get("VersionId"))


def keys(bucket: str, prefix: str = "") -> list[str]:
    listed = client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def in_flight(execution: str = EXECUTION, name: str = "") -> Any:
    release = site.uploaded(UPLOAD, execution, NOW)
    named = {"id": name, "folder": name, "digest": f"source:{name}"} if name else {}
    return {**release, **named}


def published(name: str, files: Mapping[str, str], context: Any) -> Any:
    """Publish a release and record it as live."""
    done = publish(context, files, release=in_flight(name, name))
    assert done["done"]
    closed = {"endedAt": f"2026-11-25T03:0{name[-1]}:00+00:00"}
    releases.close_release(in_flight(name, name), "SUCCEEDED", closed)
    return done


def publish(context: Any, files: Mapping[str, str] = PAGES, **changes: Any) -> Any:
    put("sources", "built/1/site.zip", zipped(files))
    request = {
        "spec": KEPT,
        "release": in_flight(),
        "built": "arn:aws:s3:::sources/built/1/site.zip",
        "progress": NOTHING_YET,
        "execution": EXECUTION,
    }
    locks.acquire(DOCS, lock_request())
    try:
        return publish_docs.handler({**request, **changes}, context)  # type: ignore[typeddict-item]
    finally:
        locks.release(DOCS, EXECUTION)


def identify(given: Any, context: Any, execution: str = EXECUTION) -> Any:
    request = {"input": given, "execution": execution, "startedAt": NOW.isoformat()}
    return identify_docs.handler(request, context)  # type: ignore[arg-type]


# Identify docs -----------------------------------------------------------------------------------


def test_an_upload_is_opened_once_however_often_it_is_told_of(context: Any) -> None:
    uploaded = event(**{"version-id": put("sources", UPLOAD.key, b"sources")})
    first = identify(uploaded, context)
    assert (first["decision"], first["spec"]) == ("BUILD", KEPT)
    put("sources", UPLOAD.key, b"other sources")
    again = identify(uploaded, context, f"{EXECUTION}-again")
    assert (again["decision"], again["release"]["id"]) == ("NOTHING", first["release"]["id"])
    assert first["release"]["execution"] in again["reason"]


def test_an_upload_for_a_site_that_nobody_made_is_refused(context: Any) -> None:
    with pytest.raises(SiteUnknown, match=r"nobody.*available: /deployer/docs/coder"):
        identify(event(key="docs/nobody/v1.zip"), context)


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ({"action": "publish"}, SourcesRejected, "s3://sources/docs/coder/ holds no archive"),
        ({"action": "rollback", "to": "previous"}, RequestRejected, "no release was ever live"),
        ({"action": "resume"}, RequestRejected, "site coder is not held"),
        ({"action": "recover", "release": "r9"}, RequestRejected, "has no release r9"),
    ],
)
def test_an_order_that_can_not_be_served_names_what_is_missing(
    context: Any, command: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        identify({**command, "site": "coder"}, context)
    assert locks.queue(DOCS).hold is None


def test_nobody_goes_back_to_a_release_whose_files_are_gone(context: Any) -> None:
    for name in ("r1", "r2", "r3"):
        published(name, PAGES, context)
    client("s3").delete_object(Bucket=BUCKET, Key=publication.manifest_key("r1"))
    command = {"action": "rollback", "site": "coder", "to": "r1"}
    with pytest.raises(RequestRejected, match=r"r1 is no longer kept.*\(r3, r2\)"):
        identify(command, context)
    back = identify({**command, "to": "r2"}, context)
    assert (back["decision"], back["release"]["folder"]) == ("ROLL_BACK", "r2")


def test_what_has_its_outcome_needs_no_recovery(context: Any) -> None:
    published("r1", PAGES, context)
    command = {"action": "recover", "site": "coder", "release": "r1"}
    result = identify(command, context)
    assert (result["decision"], result["reason"]) == (
        "NOTHING",
        "release r1 already has an outcome: SUCCEEDED",
    )


def test_a_recovery_knows_what_the_switch_has_to_say(context: Any) -> None:
    for name in ("r1", "r2"):
        published(name, PAGES, context)
    releases.open_release(in_flight("dead", "r3"))
    found = identify({"action": "recover", "site": "coder", "release": "r3"}, context, "other")
    assert (found["decision"], found["failure"]["Error"]) == ("RECOVER", "ExecutionEnded")
    assert found["back"] == site.switch(["r2", "r1"], slash=True)


# Check sources -----------------------------------------------------------------------------------


def check(
    context: Any,
    content: bytes | None,
    name: str = "v1.tar.gz",
    trigger: str = "push",
    folder: str = "",
    **build: str,
) -> Any:
    key, version = f"docs/coder/{name}", "gone"
    if content is not None:
        metadata = {"folder": folder} if folder else {}
        stored = client("s3").put_object(Bucket="sources", Key=key, Body=content, Metadata=metadata)
        version = stored["VersionId"]
    release = {**in_flight(), "source": f"sources/{key}", "sourceVersion": version}
    spec = {**KEPT, "build": {"role": ROLE, **build}}
    asked: Any = {"spec": spec, "release": {**release, "trigger": trigger}, "execution": EXECUTION}
    return check_sources.handler(asked, context)


SOURCES = {
    "docs/index.md": "# Front",
    "offlinedocs/package.json": json.dumps({"scripts": {"export": "next build"}}),
    "offlinedocs/pnpm-lock.yaml": "",
}


def test_sources_are_handed_on_as_plain_files(context: Any) -> None:
    checked = check(context, tar_gz(SOURCES))
    assert checked["built"] == ""
    assert "pnpm run export" in checked["buildspec"]
    assert checked["cache"] == "sources/docs-cache/coder"
    assert checked["archive"].startswith("sources/checked/coder/")
    assert checked["role"] == ROLE
    assert unzipped(*checked["archive"].split("/", 1)) == SOURCES


def unzipped(bucket: str, key: str) -> dict[str, str]:
    content = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_same_sources_are_built_once_unless_it_is_requested(context: Any) -> None:
    first = check(context, tar_gz(SOURCES))
    put(first["bucket"], f"{first['folder']}/{first['name']}", b"a site")
    again = check(context, zipped(SOURCES), "v2.zip")
    assert again["built"] == f"arn:aws:s3:::sources/{first['folder']}/{first['name']}"
    assert check(context, tar_gz(SOURCES), trigger="deploy")["built"] == ""
    assert check(context, tar_gz({**SOURCES, "docs/index.md": "# Other"}))["built"] == ""
    assert check(context, tar_gz(SOURCES), output="public")["built"] == ""


def test_a_folder_of_html_is_published_without_a_build(context: Any) -> None:
    checked = check(context, tar_gz({"site/index.html": "x", "a.md": "y"}), directory="site")
    bucket, _, key = checked["built"].removeprefix("arn:aws:s3:::").partition("/")
    assert unzipped(bucket, key) == {"index.html": "x"}


def test_without_a_role_of_the_site_nothing_is_built(context: Any) -> None:
    assert check(context, tar_gz({"index.html": "x"}), role="")["built"]
    with pytest.raises(SpecInvalid, match="its stack is older than the deployer"):
        check(context, tar_gz(SOURCES), role="")
    assert not keys("sources", "checked/")


def test_an_upload_may_name_another_folder_than_the_spec(context: Any) -> None:
    both = {**SOURCES, **{f"web/{p.split('/')[1]}": SOURCES[p] for p in SOURCES if "off" in p}}
    checked = check(context, tar_gz(both), folder="web", directory="offlinedocs")
    assert '/web", "pnpm run export"' in checked["buildspec"]


def test_the_credentials_of_registries_go_to_the_build_by_name(context: Any) -> None:
    named = "NPM_TOKEN=docs/coder/npm:token,PIP_INDEX_URL=docs/coder/pip"
    assert check(context, tar_gz(SOURCES), secrets=named)["secrets"] == [
        {"Name": "NPM_TOKEN", "Value": "docs/coder/npm:token", "Type": "SECRETS_MANAGER"},
        {"Name": "PIP_INDEX_URL", "Value": "docs/coder/pip", "Type": "SECRETS_MANAGER"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "s3://sources/docs/coder/v1.tar.gz is gone; upload it again"),
        (b"no archive", "v1.tar.gz can't be read as an archive"),
        (tar_gz({}), "v1.tar.gz is empty"),
        (tar_gz({**SOURCES, "../evil": "x"}), "'../evil' climbs out"),
        (tar_gz({"docs/index.md": "x"}), "has no package.json"),
    ],
    ids=["gone", "no-archive", "empty", "climbs-out", "no-package"],
)
def test_sources_that_are_refused_reach_no_build(
    context: Any, content: bytes | None, message: str
) -> None:
    with pytest.raises(SourcesRejected, match=message):
        check(context, content)
    assert not keys("sources", "checked/")


# Publish docs ------------------------------------------------------------------------------------


def test_what_changed_is_uploaded_and_the_rest_is_copied(context: Any) -> None:
    published("r1", PAGES, context)
    done = publish(context, {**PAGES, "a/index.html": "another a"}, release=in_flight("x", "r2"))
    assert done["progress"] == {"files": 4, "uploaded": 1, "copied": 3, "bytes": 9}
    assert (done["switch"], done["back"], done["stale"]) == (
        *(site.switch(["r2", "r1"], slash=True), site.switch(["r1"], slash=True)),
        False,
    )
    assert [page["path"] for page in done["sample"]] == ["/", "/a/"]
    assert keys(BUCKET, "releases/r2/") == [
        f"releases/r2/{path}" for path in sorted([*PAGES, "404.html"])
    ]


def running_out(*left: int) -> Any:
    """The context of a call that has less and less time left, in milliseconds."""
    times = iter(left)
    return SimpleNamespace(
        function_name="publish",
        memory_limit_in_mb=1769,
        invoked_function_arn="arn",
        aws_request_id="request",
        get_remaining_time_in_millis=lambda: next(times, 0),
    )


def test_nothing_is_begun_that_the_call_may_not_live_to_end(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_docs, "_AT_ONCE", 1)
    enough = publish_docs._RESERVE
    first = publish(running_out(enough, enough, enough - 1))
    assert (first["done"], first["progress"]["files"]) == (False, 2)
    assert len(keys(BUCKET, "releases/")) == 2
    none = publish(running_out(enough - 1), progress=first["progress"])
    assert none["progress"] == first["progress"]
    last = publish(context, progress=first["progress"])
    assert (last["done"], last["progress"]["files"], last["progress"]["uploaded"]) == (True, 4, 4)
    assert last["progress"]["bytes"] == sum(map(len, PAGES.values())) + len(
        publication.NO_ERROR_PAGE
    )
    assert len(keys(BUCKET, "releases/")) == 4


def test_a_file_that_was_put_out_of_turn_is_put_again(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files under way at once a later one may be begun although an earlier one was not."""
    monkeypatch.setattr(publish_docs, "_AT_ONCE", 1)
    enough = publish_docs._RESERVE
    first = publish(running_out(enough, 0, enough, enough))
    assert first["progress"]["files"] == 1
    last = publish(context, progress=first["progress"])
    assert (last["done"], last["progress"]["uploaded"]) == (True, 4)


def test_a_build_that_left_nothing_is_refused(context: Any) -> None:
    with pytest.raises(SiteRejected, match="the build left no site at s3://sources/built/2/"):
        publish(context, built="arn:aws:s3:::sources/built/2/site.zip")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.html": "a"}, "made no index.html; it made a.html"),
        ({"index.html": ""}, "an empty index.html"),
        ({"index.html": "x"}, "shrank from 4 files to 1"),
    ],
)
def test_what_must_not_replace_a_site_leaves_nothing_in_its_bucket(
    context: Any, files: Mapping[str, str], message: str
) -> None:
    published("r1", PAGES, context)
    before = keys(BUCKET)
    with pytest.raises(SiteRejected, match=message):
        publish(context, files, release=in_flight("x", "r2"))
    assert keys(BUCKET) == before


def test_a_release_is_gone_back_to_only_if_its_files_are_there(context: Any) -> None:
    for name in ("r1", "r2"):
        published(name, PAGES, context)
    back = publish(context, built=None, release={**in_flight("x", "r3"), "folder": "r1"})
    assert back["done"]
    assert (site.switched(back["switch"]), site.switched(back["back"])) == (
        ["r1", "r2"],
        ["r2", "r1"],
    )
    assert (back["progress"]["files"], back["progress"]["uploaded"]) == (4, 0)
    with pytest.raises(SiteRejected, match="the files of release r0 are not in bucket"):
        publish(context, built=None, release={**in_flight("x", "r3"), "folder": "r0"})


def head(key: str) -> Any:
    return client("s3").head_object(Bucket=BUCKET, Key=f"releases/{in_flight()['folder']}/{key}")


def test_what_has_an_unknown_ending_is_published_and_named(context: Any) -> None:
    odd = {**PAGES, "main.zzz": "text", "data.yyy": "\0\1", "setup.sh": "#!/bin/sh\n"}
    done = publish(context, odd)
    (warning,) = done["warnings"]
    assert "2 file(s) have an ending without a known content type (.yyy, .zzz)" in warning
    kinds = {name: head(name)["ContentType"] for name in ("main.zzz", "data.yyy", "setup.sh")}
    assert kinds == {
        "main.zzz": "text/plain; charset=utf-8",
        "data.yyy": "application/octet-stream",
        "setup.sh": "application/x-sh",
    }


def test_what_the_edge_does_is_in_the_metadata_of_the_objects(context: Any) -> None:
    site_files = {
        **PAGES,
        "b.html": "b",
        "de/404.html": "weg",
        "_redirects": "/old /b 302\n/before/* /a/:splat",
        "_headers": "/b\n  X-Robots-Tag: noindex\n  Cache-Control: no-store",
    }
    done = publish(context, site_files)
    release = in_flight()["folder"]
    assert done["warnings"] == []
    found = {name: head(name)["Metadata"] for name in ("a", "old", "de/404.html")}
    assert found == {
        "a": {"release": release, "location": "/a/", "status": "302"},
        "old": {"release": release, "location": "/b", "status": "302"},
        "de/404.html": {"release": release, "status": "404"},
    }
    page = head("b")
    assert (page["ContentLength"], page["ContentType"]) == (1, publication.HTML)
    assert page["CacheControl"] == "no-store"
    assert json.loads(page["Metadata"]["headers"]) == {"x-robots-tag": "noindex"}
    assert [pair["Key"] for pair in done["switch"]] == ["releases", "rules", "0"]
    assert json.loads(done["switch"][1]["Value"]) == [[["before", "/a/:splat", 301]], ["de"]]


def test_what_is_copied_from_the_release_itself_comes_after_all_the_rest(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are put side by side, so the one to copy from could be missing yet."""
    monkeypatch.setattr(publish_docs, "_BATCH", 2)
    copied: list[str] = []
    copy_object = s3.copy

    def copy(bucket: str, source: str, *more: Any) -> None:
        assert source in keys(BUCKET)
        copied.append(source)
        copy_object(bucket, source, *more)

    monkeypatch.setattr("deployer.aws.s3.copy", copy)
    pages = {f"p{number}.html": f"page {number}" for number in range(6)}
    done = publish(context, {"index.html": "front", **pages})
    # each page twice; one error page and the front page; and one empty object, the others copies
    assert len(copied) == 6 + 5
    assert (done["progress"]["files"], done["progress"]["uploaded"]) == (20, 9)


def test_what_the_pages_say_of_a_slash_at_the_end_decides(context: Any) -> None:
    pages = {"index.html": "<a href='/a'>", "a/index.html": "<a href='/'>"}
    publish(context, pages)
    assert head("a")["ContentLength"] == len(pages["a/index.html"])
    assert head("a/index.html")["Metadata"]["location"] == "/a"


# Invalidate cache --------------------------------------------------------------------------------


def invalidate(context: Any) -> Any:
    put(BUCKET, publication.key("r1", "404.html"), b"lost")
    request: Any = {"spec": KEPT, "release": in_flight("x", "r1"), "execution": EXECUTION}
    locks.acquire(DOCS, lock_request())
    return invalidate_cache.handler(request, context)


def test_the_error_page_is_put_in_its_place_until_the_edge_has_it(
    world: Script, context: Any
) -> None:
    batch = {"Paths": {"Quantity": 1, "Items": ["/404.html"]}, "CallerReference": "r1"}
    begun = {"Id": "I1", "CreateTime": NOW, "InvalidationBatch": batch}
    answers = [{"Invalidation": {**begun, "Status": s}} for s in ("InProgress", "Completed")]
    world("cloudfront", "CreateInvalidation", *answers)
    assert [invalidate(context)["done"] for _ in range(2)] == [False, True]
    first, second = world.requests("CreateInvalidation")
    assert first == second, "the same call again begins no second invalidation"
    page = client("s3").get_object(Bucket=BUCKET, Key="404.html")
    assert (page["Body"].read(), page["CacheControl"]) == (b"lost", publication.ERROR_CACHE)


@pytest.mark.parametrize(
    ("code", "error"),
    [("TooManyInvalidationsInProgress", AwsUnavailable), ("AccessDenied", Exception)],
)
def test_an_invalidation_is_tried_again_only_where_that_helps(
    world: Script, context: Any, code: str, error: type[Exception]
) -> None:
    world("cloudfront", "CreateInvalidation", refusal(code))
    with pytest.raises(error, match="refused"):
        invalidate(context)


# Verify docs -------------------------------------------------------------------------------------


def verify(context: Any, web: Web, since: datetime | None = None, timeout: int = 180) -> Any:
    sample = publication.sample({"index.html": file("front"), "a/index.html": file("a")}, {})
    request: Any = {
        "spec": {**KEPT, "url": web.url, "timeout": timeout},
        "release": in_flight("x", "r2"),
        "sample": sample,
        "since": (since or datetime.now(UTC)).isoformat(),
        "execution": EXECUTION,
    }
    return verify_docs.handler(request, context)


def file(content: str) -> publication.File:
    return publication.File(hashlib.sha256(content.encode()).hexdigest(), 1, "r2")


def served(web: Web, release: str = "r2", **pages: str) -> None:
    for path, content in {"/": "front", "/a/": "a", **pages}.items():
        web.answer(path, content, x_amz_meta_release=release)


def test_a_site_that_answers_as_published_is_verified(context: Any, web: Web) -> None:
    served(web)
    assert verify(context, web)["verdict"] == "VERIFIED"
    assert web.paths == ["/", "/a/", "/r2/"]


@pytest.mark.parametrize(
    ("release", "pages", "message"),
    [
        ("r1", {}, "/ is of release r1, not r2"),
        ("r2", {"/a/": "old"}, "/a/ does not have the published content"),
        ("r2", {"/r2/": "a page for everything"}, "/r2/, which does not exist, answered 200"),
    ],
)
def test_another_answer_is_waited_for_and_then_refuted(
    context: Any, web: Web, release: str, pages: dict[str, str], message: str
) -> None:
    served(web, release, **pages)
    soon = verify(context, web)
    assert (soon["verdict"], soon["reason"]) == ("PENDING", message)
    late = verify(context, web, datetime.now(UTC) - timedelta(seconds=181))
    assert (late["verdict"], late["error"], late["reason"]) == (
        *("REFUTED", "VerificationFailed"),
        message,
    )


def test_a_site_that_does_not_answer_is_not_verified(context: Any, web: Web) -> None:
    result = verify(context, Web("http://127.0.0.1:9", {}, []))
    assert (result["verdict"], result["reason"]) == ("PENDING", "no answer on /")


# Prune docs --------------------------------------------------------------------------------------


def test_what_the_switch_does_not_name_is_deleted_with_its_manifest(context: Any) -> None:
    for name in ("r1", "r2", "r3"):
        published(name, PAGES, context)
    put(BUCKET, "releases/failed/index.html", b"left by a build that failed midway")
    put(BUCKET, "404.html", b"lost")
    request: Any = {"spec": KEPT, "switch": site.switch(["r3", "r2"]), "execution": EXECUTION}
    locks.acquire(DOCS, lock_request())
    assert prune_docs.handler(request, context) == {"pruned": ["failed", "r1"]}
    assert prune_docs.handler(request, context) == {"pruned": []}
    left = {key.split("/")[1].removesuffix(".json") for key in keys(BUCKET) if "/" in key}
    assert left == {"r2", "r3"}
    assert "404.html" in keys(BUCKET)


# Record docs -------------------------------------------------------------------------------------


@pytest.fixture
def announced(world: Script) -> Iterator[Any]:
    yield lambda: [
        json.loads(request["Entries"][0]["Detail"])["state"]
        for request in world.requests("PutEvents")
    ]


def test_a_live_release_is_recorded_and_hands_its_turn_on(context: Any, announced: Any) -> None:
    for name in ("r1", "r2"):
        published(name, PAGES, context)
    release = in_flight()
    releases.open_release(release)
    lock_request: Any = {"release": release["id"], "execution": EXECUTION, "trigger": "push"}
    lock_request |= {"pushedAt": release["pushedAt"], "since": release["startedAt"]}
    assert locks.acquire(DOCS, lock_request)
    progress = {"files": 4, "uploaded": 1, "copied": 3, "bytes": 9}
    known: Any = {"spec": KEPT, "release": release, "execution": EXECUTION}
    known |= {"progress": progress, "reason": "it answers", "warnings": ["one"]}
    told = record_docs.handler(known, context)
    assert (told["outcome"], told["url"]) == ("SUCCEEDED", KEPT["url"])
    record: Any = releases.find(DOCS, release["id"])
    assert {name: record[name] for name in progress} == progress
    assert (record["outcome"], record["reason"]) == ("SUCCEEDED", "it answers")
    assert record["warnings"] == ["one"]
    assert locks.queue(DOCS).holder is None
    assert announced() == ["SUCCEEDED"]
    expiring = {e["id"] for e in releases.history(DOCS) if "expiresAt" in e}
    assert expiring == {"r1"}, "of three that were live, two are kept"


# The lock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["publish_docs", "invalidate_cache", "prune_docs", "record_docs"])
def test_a_redriven_execution_whose_site_is_another_release_changes_nothing(
    name: str, context: Any
) -> None:
    """What it left was put right meanwhile, and another execution holds the lock."""
    for release in ("r1", "r2", "r3"):
        published(release, PAGES, context)
    before = keys(BUCKET)
    locks.acquire(DOCS, lock_request(execution=f"{EXECUTION}-another"))
    request: Any = {
        "spec": KEPT,
        "release": in_flight(),
        "execution": EXECUTION,
        "switch": site.switch(["r1"]),
        "built": "arn:aws:s3:::sources/built/1/site.zip",
        "progress": NOTHING_YET,
        "reason": "it answers",
        "warnings": [],
    }
    with pytest.raises(LockLost, match="instead of redriving it"):
        import_module(name).handler(request, context)
    assert keys(BUCKET) == before
    assert "outcome" not in (releases.find(DOCS, request["release"]["id"]) or {})


def test_a_long_change_keeps_the_turn_until_it_is_done(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch of files says anew that the site changes still."""
    monkeypatch.setattr(publish_docs, "_BATCH", 1)
    clock = Clock(NOW.timestamp())
    monkeypatch.setattr("deployer.store.locks.time", clock)
    put_object, until = s3.publish, []

    def slow(*arguments: Any) -> None:
        clock.sleep(50)
        holder = locks.queue(DOCS).holder
        until.append(holder and holder["changesUntil"] / 1e6 > clock.time())
        put_object(*arguments)

    monkeypatch.setattr("deployer.aws.s3.publish", slow)
    assert publish(context)["done"]
    assert len(until) > 3 and all(until)


def test_pruning_stops_before_its_call_does_and_goes_on_the_next_time(context: Any) -> None:
    for name in ("r1", "r2", "r3"):
        published(name, PAGES, context)
    left = iter([40_000, 40_000, 20_000])
    context.get_remaining_time_in_millis = lambda: next(left)
    request: Any = {"spec": KEPT, "switch": site.switch(["r3"]), "execution": EXECUTION}
    locks.acquire(DOCS, lock_request())
    assert prune_docs.handler(request, context) == {"pruned": []}
    assert publication.manifest_key("r1") not in keys(BUCKET)
    assert publication.manifest_key("r2") in keys(BUCKET)
    context.get_remaining_time_in_millis = lambda: 40_000
    prune_docs.handler(request, context)
    assert {key.split("/")[1].removesuffix(".json") for key in keys(BUCKET)} == {"r3"}


# Record failure ----------------------------------------------------------------------------------


def failed(context: Any, url: str, rollback: Any, restored: bool = False, name: str = "r2") -> Any:
    release = in_flight(name=name)
    releases.open_release(release)
    asked: Any = {
        **{"input": {}, "spec": {**KEPT, "url": url}, "release": release, "taskDefinition": None},
        **{"failure": {"Error": "VerificationFailed", "Cause": "it says 404"}, "diagnosis": None},
        **{"rollback": rollback, "restored": restored, "startedAt": NOW.isoformat()},
        "execution": EXECUTION,
    }
    record_failure.handler(asked, context)
    return releases.find(DOCS, name)


SWITCHED: Any = {"action": "ROLL_BACK", "reason": "AccessDenied"}


def test_a_release_that_serves_unverified_is_named_with_what_mends_it(
    context: Any, web: Web, announced: Any
) -> None:
    published("r1", PAGES, context)
    served(web)
    record = failed(context, web.url, SWITCHED)
    assert record["serves"] == {"what": "v1", "release": "r2", "verified": False}
    assert record["verified"]["release"] == "r1"
    assert "v1 serves, and is not verified; the last verified release is v1." in record["reason"]
    assert record["reason"].endswith("Bring it back: deployer docs rollback r1")


def test_the_last_verified_release_can_be_rolled_back_to(context: Any) -> None:
    """That mends a site on which another one serves."""
    published("r1", PAGES, context)
    command = {"action": "rollback", "site": "coder", "to": "r1", "hold": False}
    found = identify(command, context)
    assert (found["decision"], found["release"]["folder"]) == ("ROLL_BACK", "r1")
    back = publish(context, built=None, release=found["release"])
    assert site.switched(back["switch"]) == ["r1"]


def test_a_site_that_was_switched_back_or_never_switched_is_no_alarm(
    context: Any, web: Web, announced: Any
) -> None:
    published("r1", PAGES, context)
    served(web)  # the edge lags
    record = failed(context, web.url, SWITCHED, restored=True)
    assert record["serves"] == {"what": "v1", "release": "r1", "verified": True}
    assert "Bring it back" not in record["reason"]
    assert "serves" not in failed(context, web.url, None, name="r3")
    assert web.paths == []
