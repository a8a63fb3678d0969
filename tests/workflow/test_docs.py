"""A documentation site: an archive is uploaded, and the site is live, all of it or none of it.

The builds are real ones: pnpm comes from the npm registry, and the site from the package's script.
"""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import pytest

from cli.executions import Execution
from demo.site import DocsSite, Page, tar_gz, zipped
from demo.stage import Stage
from tests.workflow.conftest import route

type Sources = dict[str, bytes | str]

BEGUN = ["Initialise", "Identify docs", "Does it publish?", "Acquire lock", "Is the lock acquired?"]
PUBLISHED = ["Publish docs", "Is it published?"]
SWITCHED = [*PUBLISHED, "Read switch", "Check lock", "Switch release", "Verify docs"]
INVALIDATED = ["Is it verified?", "Invalidate cache", "Is it invalidated?"]
ENDED = ["Prune docs", "Record docs", "Published"]
CHECKED = ["Check sources", "Is it built?"]
BUILT = [*CHECKED, "Build docs"]
FAILED = ["Record failure", "Failed"]

LOCK = """lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .: {}
"""
# A site as generators make it: pages in folders, assets with their content's hash in the name.
BUILD = """
const { createHash } = require('crypto');
const fs = require('fs');
const path = require('path');
const put = (name, content) => {
  fs.mkdirSync(path.dirname('out/' + name), { recursive: true });
  fs.writeFileSync('out/' + name, content);
};
const style = fs.readFileSync('../docs/style.css', 'utf8');
const hash = createHash('sha256').update(style).digest('hex').slice(0, 16);
put('_next/static/css/' + hash + '.css', style);
for (const page of JSON.parse(fs.readFileSync('../docs/manifest.json'))) {
  const text = fs.readFileSync('../docs/' + page + '.md', 'utf8');
  const link = '<link rel="stylesheet" href="/_next/static/css/' + hash + '.css">';
  put(page === 'index' ? 'index.html' : page + '/index.html', link + '<main>' + text + '</main>');
}
for (const name of fs.readdirSync('../docs/images')) {
  put('images/' + name, fs.readFileSync('../docs/images/' + name));
}
put('404.html', '<h1>Lost in ' + hash + '</h1>');
"""


def sources(changes: Mapping[str, bytes | str | None] | None = None, pages: int = 30) -> Sources:
    """The sources of a site; a change to None takes a file away."""
    names = ["index", *(f"guide/page-{number}" for number in range(pages))]
    package = {
        "name": "site",
        "version": "1.0.0",
        "scripts": {"build": "false", "export": "node build.js"},
    }
    files: dict[str, bytes | str | None] = {
        "docs/manifest.json": json.dumps(names),
        "docs/style.css": "main { color: navy }",
        "docs/images/logo.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
        **{f"docs/{name}.md": f"This is {name}." for name in names},
        "offlinedocs/package.json": json.dumps(package),
        "offlinedocs/pnpm-lock.yaml": LOCK,
        "offlinedocs/build.js": BUILD,
        **(changes or {}),
    }
    return {path: content for path, content in files.items() if content is not None}


@pytest.fixture(scope="module")
def make_site(deployer: Stage) -> Callable[[], DocsSite]:
    numbers = iter(range(1, 100))
    return lambda: DocsSite.set_up(deployer, f"test-site-{next(numbers)}")


@pytest.fixture
def site(make_site: Callable[[], DocsSite]) -> DocsSite:
    """A site on which nothing was published yet."""
    return make_site()


@pytest.fixture(scope="module")
def running(make_site: Callable[[], DocsSite]) -> Iterator[DocsSite]:
    """A live site that all tests here share, since none of them may change it."""
    result = make_site()
    assert result.published(tar_gz(sources()), "first.tar.gz").status == "SUCCEEDED"
    yield result


@pytest.fixture
def untouched(running: DocsSite) -> Iterator[DocsSite]:
    """The site must be the same after the test as before it."""
    before = [running.get(path) for path in ("/", "/guide/page-1/", "/nowhere/")]
    yield running
    after = [running.get(path) for path in ("/", "/guide/page-1/", "/nowhere/")]
    assert [(p.status, p.body, p.release) for p in after] == [
        (p.status, p.body, p.release) for p in before
    ]


def only_record(site: DocsSite, execution: Execution) -> dict[str, Any]:
    (record,) = [r for r in site.stage.records() if r["execution"] == execution.arn]
    return record


def until(look: Callable[[], list[dict[str, Any]]], seconds: float = 180) -> list[dict[str, Any]]:
    """What a look finds, as soon as it finds anything."""
    deadline = time.monotonic() + seconds
    while not (result := look()):
        assert time.monotonic() < deadline, f"nothing was found within {seconds} s"
        time.sleep(0.1)
    return result


def published(done: Execution) -> Execution:
    assert done.status == "SUCCEEDED", (done.path, done.error, done.cause)
    return done


@pytest.mark.walk
def test_an_upload_is_built_published_verified_and_recorded(site: DocsSite) -> None:
    assert site.get("/").status == 503
    done = published(site.published(tar_gz(sources()), "docs-1.2.3.tar.gz"))
    assert route(done) == [*BEGUN, *BUILT, *SWITCHED, *INVALIDATED, *ENDED]
    record = only_record(site, done)
    assert record["outcome"] == "SUCCEEDED"
    assert (record["version"], record["startedBy"]) == ("docs-1.2.3", "upload")
    assert record["url"] == site.outputs["Url"]
    assert (record["files"], record["uploaded"], record["copied"]) == (34, 34, 0)
    front = site.get("/")
    assert (front.status, front.release) == (200, record["folder"])
    assert "This is index." in front.text
    assert "This is guide/page-7." in site.get("/guide/page-7/").text
    assert not [item["id"] for item in site.stage.items() if item["id"].startswith("#")]


def test_every_answer_is_as_a_site_on_the_internet_should_be(untouched: DocsSite) -> None:
    page = untouched.get("/guide/page-1/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "SAMEORIGIN"
    assert "max-age=0" in page.headers["cache-control"]
    style = page.text.split('href="')[1].split('"')[0]
    asset = untouched.get(style)
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"] == "text/css; charset=utf-8"
    assert untouched.get("/images/logo.svg").headers["content-type"] == "image/svg+xml"
    folder = untouched.get("/guide/page-1?a=1&b=2")
    assert (folder.status, folder.headers["location"]) == (302, "/guide/page-1/?a=1&b=2")
    assert untouched.get("//example/a").headers["location"] == "/example/a/"
    lost = untouched.get("/nowhere/")
    assert (lost.status, lost.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Lost in" in lost.text
    plain = untouched.get("/", X_Forwarded_Proto="http")
    assert (plain.status, plain.headers["location"][:8]) == (301, "https://")


def test_the_bucket_answers_nobody_but_the_distribution(untouched: DocsSite) -> None:
    s3 = untouched.stage.aws.client("s3")
    bucket = untouched.outputs["BucketName"]
    (policy,) = [
        statement
        for statement in json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        if statement["Sid"] == "ThroughThisDistributionOnly"
    ]
    document = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    others = [s for s in document["Statement"] if s is not policy and s["Sid"] != policy["Sid"]]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({**document, "Statement": others}))
    try:
        assert untouched.get("/guide/page-29/").status == 403
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def test_only_what_changed_is_uploaded(site: DocsSite) -> None:
    published(site.published(tar_gz(sources()), "v1.tar.gz"))
    changed = sources({"docs/guide/page-3.md": "This is another page."})
    done = published(site.published(zipped(changed), "v2.zip"))
    # the error page is the same, so nothing is stale and nothing invalidated
    assert route(done) == [*BEGUN, *BUILT, *SWITCHED, "Is it verified?", *ENDED]
    record = only_record(site, done)
    assert (record["files"], record["uploaded"], record["copied"]) == (34, 1, 33)
    assert record["bytes"] == len(site.get("/guide/page-3/").body)
    assert "This is another page." in site.get("/guide/page-3/").text
    assert site.get("/").release == site.get("/images/logo.svg").release == record["folder"]


def test_names_that_a_url_must_quote_are_published(site: DocsSite) -> None:
    page, picture = "guide/Über uns & [mehr]", "docs/images/50% größer.svg"
    listed = json.dumps(["index", page])
    named = {"docs/manifest.json": listed, f"docs/{page}.md": "We.", picture: "<svg/>"}
    done = published(site.published(tar_gz(sources(named)), "v1.tar.gz"))
    assert "2 page(s) have the content" in only_record(site, done)["reason"]
    assert "We." in site.get(f"/{quote(page)}/").text
    assert site.get(f"/images/{quote('50% größer.svg')}").text == "<svg/>"
    moved = site.get(f"/{quote(page)}")
    assert (moved.status, moved.headers["location"]) == (302, f"/{quote(page)}/")
    again = published(site.published(tar_gz(sources(named)), "v2.tar.gz"))
    assert only_record(site, again)["uploaded"] == 0


def test_a_rollback_is_a_switch_and_it_holds(site: DocsSite) -> None:
    first = only_record(site, published(site.published(tar_gz(sources()), "v1.tar.gz")))
    second = sources({"docs/index.md": "Second.", "docs/style.css": "main { color: red }"})
    published(site.published(tar_gz(second), "v2.tar.gz"))
    assert "Second." in site.get("/").text
    done = published(site.requested(action="rollback", to="previous", by="ann", reason="wrong"))
    assert route(done) == [*BEGUN, *SWITCHED, *INVALIDATED, *ENDED]
    assert site.get("/").release == first["folder"]
    assert "This is index." in site.get("/").text
    record = only_record(site, done)
    assert (record["trigger"], record["to"], record["uploaded"]) == ("rollback", first["id"], 0)
    third = site.published(tar_gz(sources({"docs/index.md": "Third."})), "v3.tar.gz")
    assert route(third) == [*BEGUN, "Skipped"]
    held = only_record(site, third)
    assert held["outcome"] == "HELD"
    assert "ann" in held["reason"]
    assert site.get("/").release == first["folder"]
    resumed = published(site.requested(action="resume", by="ann"))
    assert "Third." in site.get("/").text
    assert only_record(site, resumed)["to"] == held["id"]
    again = published(site.requested(action="rollback", to=first["id"], hold=False))
    assert site.get("/").release == only_record(site, again)["folder"] == first["folder"]


def test_an_order_publishes_the_newest_sources_again(site: DocsSite) -> None:
    site.published(tar_gz(sources()), "v1.tar.gz")
    published(site.published(tar_gz(sources({"docs/index.md": "Newest."})), "v2.tar.gz"))
    done = published(site.requested(action="publish", by="bob"))
    record = only_record(site, done)
    assert (record["version"], record["startedBy"], record["uploaded"]) == ("v2", "bob", 0)
    assert "Newest." in site.get("/").text


def test_an_open_tab_gets_what_belongs_to_its_page(site: DocsSite) -> None:
    published(site.published(tar_gz(sources()), "v1.tar.gz"))
    page = site.get("/", Sec_Fetch_Dest="document")
    cookie = page.headers["set-cookie"]
    assert cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    old, style = page.release, page.text.split('href="')[1].split('"')[0]
    changed = sources({"docs/style.css": "main { color: red }", "docs/images/logo.svg": "<svg/>"})
    published(site.published(tar_gz(changed), "v2.tar.gz"))

    def asked(path: str, dest: str) -> Page:
        return site.get(path, Cookie=cookie.partition(";")[0], Sec_Fetch_Dest=dest)

    assert asked("/images/logo.svg", "image").release == old
    assert asked("/", "document").release == site.get("/").release != old
    # without a cookie, or with another tab's: hashed assets are carried on
    assert site.get(style).body == b"main { color: navy }"
    assert site.get("/images/logo.svg").body == b"<svg/>"
    forged = site.get("/images/logo.svg", Cookie="release=../manifests", Sec_Fetch_Dest="image")
    assert forged.body == b"<svg/>"


def test_no_visitor_sees_two_builds_mixed_while_one_is_published(site: DocsSite) -> None:
    def built(color: str) -> Sources:
        image = f"<svg xmlns='http://www.w3.org/2000/svg' fill='{color}'/>"
        return sources(
            {"docs/style.css": f"main {{ color: {color} }}", "docs/images/logo.svg": image}
        )

    published(site.published(tar_gz(built("navy")), "v1.tar.gz"))
    over = Event()

    def visited() -> list[tuple[str, ...]]:
        seen = []
        while not over.is_set():
            page = site.get("/guide/page-1/", Sec_Fetch_Dest="document")
            cookie = page.headers["set-cookie"].partition(";")[0]
            style = page.text.split('href="')[1].split('"')[0]
            named = ((style, "style"), ("/images/logo.svg", "image"))
            got = [site.get(path, Cookie=cookie, Sec_Fetch_Dest=dest) for path, dest in named]
            colors = ["red" if "red" in one.text else "navy" for one in got]
            seen.append((page.release, *(one.release for one in got), *colors))
        return seen

    with ThreadPoolExecutor() as pool:
        visitor = pool.submit(visited)
        try:
            published(site.published(tar_gz(built("red")), "v2.tar.gz"))
        finally:
            over.set()
        seen = visitor.result()
    first, second = (record["folder"] for record in site.stage.records())
    assert set(seen) == {(first,) * 3 + ("navy",) * 2, (second,) * 3 + ("red",) * 2}


def test_of_uploads_that_wait_only_the_newest_is_published(site: DocsSite) -> None:
    """S3 tells the time of an upload in whole seconds: within one, the request is the records'."""
    digests = []
    for number in range(3):
        changed = sources({"docs/index.md": f"Upload {number}."})
        digests.append(site.upload(tar_gz(changed), f"v{number}.tar.gz"))
    done = [site.stage.ended(site.started_by(digest), 300) for digest in digests]
    records = [only_record(site, execution) for execution in done]
    last = max(record["pushedAt"] for record in records)
    newest = [r for r in records if r["pushedAt"] == last and r["outcome"] == "SUCCEEDED"]
    assert {record["outcome"] for record in records} <= {"SUCCEEDED", "SUPERSEDED"}
    published = max(newest, key=lambda record: str(record["endedAt"]))
    assert f"Upload {published['version'][1:]}." in site.get("/").text


def test_an_upload_waits_while_another_is_published(site: DocsSite, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    wait = f"""
const until = Date.now() + 120000;
while (!require('fs').existsSync({json.dumps(str(gate))}) && Date.now() < until) {{
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
}}
"""
    slow = tar_gz(sources({"offlinedocs/build.js": wait + BUILD}))
    first = site.started_by(site.upload(slow, "v1.tar.gz"))
    for now in site.stage.follow(first):
        if "Build docs" in now.path:
            break
    later = sources({"docs/index.md": "Second."})
    second = site.started_by(site.upload(tar_gz(later), "v2.tar.gz"))
    for now in site.stage.follow(second):
        if "Acquire lock" in now.path:
            break
    # the clock sees that who holds the lock is at work
    ours = {record["id"] for record in site.stage.records()}
    assert not ours & set(site.stage.reconcile()["settled"])
    gate.touch()
    for arn in (first, second):
        published(site.stage.ended(arn))
    assert "Second." in site.get("/").text
    assert not [item["id"] for item in site.stage.items() if item["id"].startswith("#")]


def test_what_was_held_back_must_still_be_there(site: DocsSite) -> None:
    published(site.requested(action="hold", by="ann", reason="an exam"))
    held = only_record(site, site.published(tar_gz(sources()), "v1.tar.gz"))
    assert (held["outcome"], "an exam" in held["reason"]) == ("HELD", True)
    bucket, _, key = held["source"].partition("/")
    s3 = site.stage.aws.client("s3")
    s3.delete_object(Bucket=bucket, Key=key, VersionId=held["sourceVersion"])
    done = site.requested(action="resume", by="ann")
    assert (done.status, done.error) == ("FAILED", "SourcesRejected")
    assert f"s3://{bucket}/{key} is gone; upload it again" in done.cause


def test_releases_beyond_those_that_are_kept_are_deleted(deployer: Stage) -> None:
    site = DocsSite.set_up(deployer, "test-site-few", KeepDocsReleases="2")
    for number in range(3):
        published(site.published(tar_gz(sources({"docs/index.md": f"{number}"})), f"{number}.tgz"))
    folders = [record["folder"] for record in site.stage.records()]
    s3, bucket = site.stage.aws.client("s3"), site.outputs["BucketName"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="releases/", Delimiter="/")
    there = [entry["Prefix"].split("/")[1] for entry in listed["CommonPrefixes"]]
    assert sorted(there) == sorted(folders)[1:]
    refused = site.requested(action="rollback", to=sorted(folders)[0])
    assert (refused.status, refused.error) == ("FAILED", "RequestRejected")
    assert "no longer kept" in refused.cause


def linked(target: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("docs/images")
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        tar.addfile(entry)
    return packed.getvalue()


PACKAGE = "offlinedocs/package.json"
ARCHIVES: dict[str, tuple[bytes, str, str]] = {
    "no archive": (b"Hello", "a.tar.gz", "can't be read as an archive"),
    "no zip": (b"Hello", "a.zip", "can't be read as an archive"),
    "cut off": (tar_gz(sources())[:200], "a.tar.gz", "can't be read as an archive"),
    "empty": (tar_gz({}), "a.tar.gz", "is empty"),
    "climbing out": (tar_gz({"../../etc/passwd": "x"}), "a.tar.gz", "'../../etc/passwd' climbs"),
    "absolute": (zipped({"/etc/passwd": "x"}), "a.zip", "'/etc/passwd' climbs"),
    "a link": (linked("/etc"), "a.tar.gz", "docs/images -> /etc, out of it"),
    "no package.json": (tar_gz(sources({PACKAGE: None})), "a.tar.gz", "has no package.json"),
    "a broken package.json": (tar_gz(sources({PACKAGE: "{"})), "a.tar.gz", "is not valid JSON"),
    "no script": (tar_gz(sources({PACKAGE: "{}"})), "a.tar.gz", "has no script export or build"),
    "no lock file": (
        tar_gz(sources({"offlinedocs/pnpm-lock.yaml": None})),
        "a.tar.gz",
        "has no lock file beside offlinedocs/package.json",
    ),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_sources_that_can_not_be_built_are_refused_by_name(untouched: DocsSite, what: str) -> None:
    archive, name, output = ARCHIVES[what]
    done = untouched.published(archive, name)
    assert (done.status, done.error) == ("FAILED", "SourcesRejected")
    assert route(done) == [*BEGUN, "Check sources", *FAILED]
    assert output in done.cause
    record = only_record(untouched, done)
    assert (record["outcome"], output in record["reason"]) == ("FAILED", True)


BUILDS: dict[str, tuple[Sources, str, str]] = {
    "a script that fails": (
        sources({"docs/manifest.json": "[oops]"}),
        "BuildFailed",
        "SyntaxError",
    ),
    "no front page": (sources({"offlinedocs/build.js": ""}), "BuildFailed", "made no index.html"),
    "a lock file that does not fit": (
        sources(
            {
                PACKAGE: json.dumps(
                    {"name": "site", "scripts": {"build": "true"}, "dependencies": {"ms": "2.1.3"}}
                )
            }
        ),
        "BuildFailed",
        "ERR_PNPM_OUTDATED_LOCKFILE",
    ),
    "a link in the site": (
        sources(
            {"offlinedocs/build.js": BUILD + "fs.symlinkSync('/etc/passwd', 'out/images/x.svg');"}
        ),
        "BuildFailed",
        "symbolic links",
    ),
    "much smaller": (sources(pages=10), "SiteRejected", "shrank from 34 files to 14"),
}


@pytest.mark.parametrize("what", BUILDS)
def test_what_must_not_replace_the_live_site_does_not(untouched: DocsSite, what: str) -> None:
    files, error, output = BUILDS[what]
    done = untouched.published(tar_gz(files), "a.tar.gz")
    assert (done.status, done.error) == ("FAILED", error)
    assert "Switch release" not in done.path
    assert output in done.cause
    assert only_record(untouched, done)["outcome"] == "FAILED"


# what a package's code can do with the build's credentials: each call's error, or None
ATTEMPTS = """
import boto3, json, os, sys
from botocore.exceptions import ClientError

def attempt(service, method, **parameters):
    try:
        getattr(boto3.client(service), method)(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]

bucket, results = sys.argv[1], {}
for site in sys.argv[2:]:
    secret = attempt("secretsmanager", "get_secret_value", SecretId=f"docs/{site}/npm")
    results[site] = {"secret": secret}
    for folder in ("docs-cache", "built", "checked", "docs"):
        for method in ("get_object", "put_object"):
            result = attempt("s3", method, Bucket=bucket, Key=f"{folder}/{site}/x.txt")
            results[site][f"{method} {folder}"] = result
print(json.dumps(results))
"""


def test_a_build_reaches_nothing_of_another_site(site: DocsSite, untouched: DocsSite) -> None:
    aws, bucket = site.stage.aws, site.stage.outputs["SourceBucket"]
    folders = ("docs-cache", "built", "checked", "docs")
    for name in (site.site, untouched.site):
        secret = {"Name": f"docs/{name}/npm", "SecretString": "s3cr3t"}
        aws.client("secretsmanager").create_secret(**secret)
        for folder in folders[:3]:  # S3 denies who may not list also what is missing
            aws.client("s3").put_object(Bucket=bucket, Key=f"{folder}/{name}/x.txt", Body=b"x")
    words = json.dumps(["-c", ATTEMPTS, bucket, site.site, untouched.site])
    report = f"const tried = require('child_process').execFileSync('python3', {words});\n"
    build = {"offlinedocs/build.js": report + BUILD + "put('tried.json', tried);"}
    published(site.published(tar_gz(sources(build)), "v1.tar.gz"))
    tried = json.loads(site.get("/tried.json").text)
    calls = [f"{method} {folder}" for folder in folders for method in ("get_object", "put_object")]
    refused = {"secret": "AccessDeniedException", **dict.fromkeys(calls, "AccessDenied")}
    assert tried[untouched.site] == refused
    own = ("secret", "get_object docs-cache", "put_object docs-cache", "put_object built")
    assert tried[site.site] == {**refused, **dict.fromkeys((*own, "get_object checked"))}


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ({"action": "explode"}, "RequestRejected", "explode"),
        ({"action": "rollback"}, "RequestRejected", "needs to"),
        ({"action": "rollback", "to": "9.9.9"}, "RequestRejected", "'9.9.9'"),
        ({"action": "rollback", "to": "previous"}, "RequestRejected", "first release"),
        (
            {"action": "rollback", "to": "previous", "restoreDatabase": True},
            "RequestRejected",
            "has no database",
        ),
        ({"action": "resume"}, "RequestRejected", "is not held"),
        ({"action": "publish", "image": "x"}, "RequestRejected", "takes no image"),
    ],
)
def test_an_order_that_can_not_be_served_is_refused(
    untouched: DocsSite, command: dict[str, Any], error: str, message: str
) -> None:
    done = untouched.requested(**command)
    assert (done.status, done.error) == ("FAILED", error)
    assert message in done.cause


def test_an_upload_for_a_site_without_spec_is_recorded(untouched: DocsSite) -> None:
    other = DocsSite(Stage(untouched.stage.aws, "docs:test-nobody", "", untouched.stage.stack), "x")
    bucket = untouched.stage.outputs["SourceBucket"]
    untouched.stage.aws.client("s3").put_object(
        Bucket=bucket, Key="docs/test-nobody/a.zip", Body=b"x"
    )
    (record, *_) = until(other.stage.records)
    done = other.stage.ended(record["execution"])
    assert (done.status, done.error) == ("FAILED", "SiteUnknown")
    assert "test-nobody" in done.cause


def test_a_site_that_does_not_answer_with_the_release_goes_back(site: DocsSite) -> None:
    first = only_record(site, published(site.published(tar_gz(sources()), "v1.tar.gz")))
    ssm, name = site.stage.aws.client("ssm"), f"/deployer/docs/{site.site}"
    spec = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    nowhere = json.dumps({**spec, "url": "http://127.0.0.1:9", "timeout": 1})
    ssm.put_parameter(Name=name, Value=nowhere, Type="String", Overwrite=True)
    done = site.published(tar_gz(sources({"docs/index.md": "Second."})), "v2.tar.gz")
    assert (done.status, done.error) == ("FAILED", "VerificationFailed")
    back = ["Can it roll back?", "Read switch again", "Check lock to switch back"]
    assert done.path[-6:] == [*back, "Switch back", *FAILED]
    assert "no answer on /" in done.cause
    assert only_record(site, done)["outcome"] == "FAILED_ROLLED_BACK"
    assert site.get("/").release == first["folder"]


def test_an_execution_that_is_stopped_after_the_switch_is_put_right(site: DocsSite) -> None:
    first = only_record(site, published(site.published(tar_gz(sources()), "v1.tar.gz")))
    ssm, name = site.stage.aws.client("ssm"), f"/deployer/docs/{site.site}"
    spec = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    nowhere = json.dumps({**spec, "url": "http://127.0.0.1:9"})
    ssm.put_parameter(Name=name, Value=nowhere, Type="String", Overwrite=True)
    arn = site.started_by(site.upload(tar_gz(sources({"docs/index.md": "Two."})), "v2.tar.gz"))
    for seen in site.stage.follow(arn):
        if "Wait for the edge" in seen.path:
            break
    assert site.get("/").release != first["folder"]
    site.stage.aws.client("stepfunctions").stop_execution(executionArn=arn)
    (left,) = [r for r in site.stage.records() if r["execution"] == arn]
    record = until(
        lambda: [r for r in site.stage.records() if r["id"] == left["id"] and "outcome" in r]
    )[0]
    assert record["outcome"] == "FAILED_ROLLED_BACK"
    assert site.get("/").release == first["folder"]
