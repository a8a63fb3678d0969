"""What is published of a built site, and how it is served."""

import hashlib

import pytest

from deployer.deploy.verification import Answer
from deployer.docs import publication
from deployer.docs.publication import File, Files
from deployer.errors import SiteRejected


def file(content: str, since: str = "r1") -> File:
    return File(hashlib.sha256(content.encode()).hexdigest(), len(content), since)


HASHED = "_next/static/chunks/main-1a2b3c4d.js"
SITE = {"index.html": file("front"), "a/index.html": file("a"), HASHED: file("js")}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.WOFF2", "font/woff2"),
        ("a.b.js", "text/javascript; charset=utf-8"),
        ("LICENSE", "text/plain; charset=utf-8"),
        (".nojekyll", "text/plain; charset=utf-8"),
        ("a.exe", None),
    ],
)
def test_the_name_tells_the_content_type(path: str, kind: str | None) -> None:
    assert publication.content_type(path) == kind


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (HASHED, True),
        ("assets/index-BYc4dDKc.js", True),
        ("app.0f8e2d1c.css", True),
        ("_next/static/chunks/pages/[[...slug]]-e3ae5bb6541ef423.js", True),
        ("_next/static/eUXhK0gdZbLSzFQ2Tq4Pn/_buildManifest.js", True),
        ("_next/static/handbook/_buildManifest.js", False),
        ("index.html", False),
        ("images/getting-started.png", False),
        ("logo.svg", False),
        ("_next/static/page.html", False),
    ],
)
def test_only_what_is_named_by_its_content_is_kept_for_good(path: str, kept: bool) -> None:
    cache = publication.cache_control(path, file("x"), {})
    assert (cache == publication.HASHED_CACHE) == kept


def test_a_name_that_had_another_content_is_no_hash() -> None:
    cache = publication.cache_control(HASHED, file("new"), {HASHED: file("old")})
    assert cache == publication.PAGE_CACHE


@pytest.mark.parametrize(
    ("files", "live", "message"),
    [
        ({}, {}, "no file"),
        ({"a.html": file("a")}, {}, "no index.html; it made a.html"),
        ({"index.html": file("")}, {}, "empty index.html"),
        ({**SITE, "x.exe": file("x")}, {}, "'x.exe'"),
        ({"index.html": file("x")}, SITE, "shrank from 3 files to 1"),
    ],
)
def test_what_must_not_replace_a_site_is_refused(files: Files, live: Files, message: str) -> None:
    with pytest.raises(SiteRejected, match=message):
        publication.check(files, live, 50)


def test_a_site_may_shrink_as_far_as_the_spec_says() -> None:
    publication.check({"index.html": file("x")}, SITE, 33)


def test_what_the_live_release_has_is_copied_whatever_its_name_was() -> None:
    new = {"index.html": file("front"), "b/index.html": file("a"), "c/index.html": file("c")}
    changes = publication.changes(new, SITE, "r1")
    assert {change.path: change.copied for change in changes} == {
        "b/index.html": "releases/r1/a/index.html",
        "c/index.html": None,
        "index.html": "releases/r1/index.html",
    }
    assert all(change.copied is None for change in publication.changes(new, {}, None))


def test_hashed_assets_are_carried_on_while_their_release_is_kept() -> None:
    new = {"index.html": file("new", "r2")}
    assert publication.carried(new, SITE, ["r2", "r1"]) == {HASHED: file("js")}
    assert publication.carried(new, SITE, ["r3", "r2"]) == {}
    assert publication.made_by("r2", {**new, HASHED: file("js")}) == new


def test_a_page_without_a_folder_gets_an_address_with_a_slash() -> None:
    result = {"a.html": file("a"), "b.html": file("b"), "b/index.html": file("c"), **SITE}
    result |= {"404.html": file("x")}
    assert publication.aliases({**result, "d/e.html": file("e")}) == {"d/e/index.html": "d/e.html"}
    assert publication.made_as("d/e/index.html", {"d/e.html"}) == "d/e.html"
    assert publication.made_as("404.html", {"d/e.html"}) is None


def test_the_sample_is_the_front_page_and_pages_that_changed() -> None:
    new = {**SITE, "a/index.html": file("changed"), "404.html": file("lost")}
    sampled = publication.sample(new, SITE)
    assert [page["path"] for page in sampled] == ["/", "/a/"]
    assert len(publication.sample({f"{n}.html": file("x") for n in range(99)} | SITE, {})) == 6


def test_a_page_is_asked_for_by_its_name_as_a_url_has_it() -> None:
    names = ("index.html", "a b/ü/index.html", "a/50%.html", "a/my-index.html")
    assert [publication.address(name) for name in names] == [
        *("/", "/a%20b/%C3%BC/", "/a/50%25.html", "/a/my-index.html")
    ]


@pytest.mark.parametrize(
    ("answer", "verdict", "message"),
    [
        (None, "PENDING", "no answer on /"),
        (Answer(503, {}, b""), "PENDING", "answered 503"),
        (Answer(200, {"x-amz-meta-release": "r0"}, b"front"), "PENDING", "of release r0, not r1"),
        (
            Answer(200, {"x-amz-meta-release": "r1"}, b"other"),
            "PENDING",
            "not have the published content",
        ),
        (
            Answer(200, {"x-amz-meta-release": "r1"}, b"front"),
            "VERIFIED",
            "has the published content",
        ),
    ],
)
def test_an_answer_is_right_if_release_and_content_are(
    answer: Answer | None, verdict: str, message: str
) -> None:
    page: publication.Sample = {"path": "/", "digest": file("front").digest}
    result = publication.answers(page, "r1", answer)
    assert result["verdict"] == verdict
    assert message in result["reason"]


def test_a_path_where_nothing_is_must_answer_404() -> None:
    assert publication.misses("/x/", Answer(404, {}, b""))["verdict"] == "VERIFIED"
    assert publication.misses("/x/", Answer(200, {}, b""))["verdict"] == "PENDING"


def test_a_manifest_says_what_is_in_a_release() -> None:
    assert publication.files_of(publication.manifest("r1", SITE)) == SITE
    assert publication.files_of(None) == {}
