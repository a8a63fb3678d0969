"""What is published of a built site, and how it is served."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from deployer.deploy.verification import Answer
from deployer.docs import publication
from deployer.docs.addresses import Slash
from deployer.docs.publication import Contents, File, Files
from deployer.errors import SiteRejected


def file(content: str, since: str = "r1") -> File:
    return File(hashlib.sha256(content.encode()).hexdigest(), len(content), since)


HASHED = "_next/static/chunks/main-1a2b3c4d.js"
SITE = {
    "index.html": file("front"),
    "a/index.html": file("a"),
    HASHED: file("js")._replace(served={"immutable": True}),
}


def contents(
    built: Files,
    live: Files | None = None,
    texts: Mapping[str, str] | None = None,
    slash: Slash | None = "",
) -> Contents:
    return publication.contents("r2", built, live or {}, ["r2", "r1"], texts or {}, slash)


@pytest.mark.parametrize(
    ("files", "live", "message"),
    [
        ({}, {}, "no file"),
        ({"a.html": file("a")}, {}, "no index.html; it made a.html"),
        ({"index.html": file("")}, {}, "empty index.html"),
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
    changes = publication.changes(new, "r2", SITE, "r1")
    assert {change.path: change.copied for change in changes} == {
        "b/index.html": "releases/r1/a/index.html",
        "c/index.html": None,
        "index.html": "releases/r1/index.html",
    }
    assert all(change.copied is None for change in publication.changes(new, "r2", {}, None))


def test_hashed_assets_are_carried_on_while_their_release_is_kept() -> None:
    new = {"index.html": file("new", "r2")}
    assert publication.carried(new, SITE, ["r2", "r1"]) == {HASHED: SITE[HASHED]}
    assert publication.carried(new, SITE, ["r3", "r2"]) == {}
    assert publication.made_by("r2", {**new, HASHED: file("js")}) == new


def test_what_was_taken_from_the_site_is_gone_although_its_name_looks_hashed() -> None:
    live = {"release-notes-2024.pdf": file("pdf"), "assets/app.Ab3dEf7h.js": file("js")}
    assert publication.carried({}, live, ["r1"]) == {"assets/app.Ab3dEf7h.js": file("js")}


def test_content_that_is_new_is_uploaded_once_and_then_copied() -> None:
    new = contents({"index.html": file("front"), "b.html": file("b", "r2")}).files
    changes = publication.changes(new, "r2", SITE, "r1")
    copied = {change.path: (change.copied, change.again) for change in changes}
    assert copied["b"] == (None, False)
    assert copied["b.html"] == ("releases/r2/b", True)
    assert [change.again for change in changes] == sorted(change.again for change in changes)


def test_the_first_release_decides_how_long_a_file_is_kept() -> None:
    """A later release cannot correct it: who has the file does not ask again."""
    first, again = file("one", "r1"), file("two", "r2")
    assert publication.cache_control(first) == publication.PAGE_CACHE
    new = contents({"index.html": file("x"), HASHED: again}, SITE)
    assert [HASHED in warning for warning in new.warnings] == [True]
    assert publication.cache_control(SITE[HASHED]) == publication.HASHED_CACHE


def test_a_release_without_an_error_page_gets_one() -> None:
    made = contents({"index.html": file("front")}).files["404.html"]
    assert made.served == {"kind": publication.HTML, "status": 404}
    own = contents({"index.html": file("front"), "404.html": file("lost")}).files["404.html"]
    assert (own.digest, own.served["status"]) == (file("lost").digest, 404)


def test_headers_and_redirects_are_not_published() -> None:
    built = {"index.html": file("x"), "_headers": file("h"), "_redirects": file("r")}
    texts = {"_redirects": "/a /b\n/c", "_headers": "/*\n  X-Robots-Tag: noindex\n  Date: x"}
    made = contents(built, texts=texts)
    assert set(made.files) == {"index.html", "404.html", "a", "a/index.html"}
    assert made.files["index.html"].served["headers"] == {"x-robots-tag": "noindex"}
    assert [warning.partition(" (")[0] for warning in made.warnings] == [
        "_redirects, line 2",
        "_headers, line 3",
    ]


def test_the_sample_is_the_front_page_and_pages_that_changed() -> None:
    built = {**SITE, "a/index.html": file("changed"), "404.html": file("lost")}
    sampled = publication.sample(contents(built).files, SITE)
    assert [page["path"] for page in sampled] == ["/", "/a/"]
    sampled = publication.sample(contents(built, slash="never").files, SITE)
    assert [page["path"] for page in sampled] == ["/", "/a"]
    assert len(publication.sample({f"{n}.html": file("x") for n in range(99)} | SITE, {})) == 6


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
    texts = {"_redirects": "/old/* /new/:splat"}
    made = contents({**SITE, "de/404.html": file("weg")}, texts=texts)
    kept = json.loads(json.dumps(publication.manifest("r1", made)))
    assert publication.contents_of(kept).files == made.files
    assert publication.contents_of(kept).pairs == made.pairs != []
    assert publication.contents_of(None).files == {}


def test_a_manifest_of_an_older_deployer_is_read() -> None:
    kept: Any = {"release": "r1", "files": {"a.css": ["d", 1, "r1"]}}
    read = publication.contents_of(kept)
    assert (read.files, read.pairs, read.warnings) == ({"a.css": File("d", 1, "r1")}, None, [])


def test_where_all_names_get_a_slash_the_edge_adds_it_and_no_object_is_made() -> None:
    made = contents(SITE)
    assert (set(made.files), made.slash) == ({*SITE, "404.html"}, True)
    again = publication.contents_of(json.loads(json.dumps(publication.manifest("r1", made))))
    assert again.slash


@pytest.mark.parametrize(
    ("more", "texts"),
    [
        ({"b.html": file("b")}, {}),
        ({"LICENSE": file("MIT")}, {}),
        ({}, {"_redirects": "/old /a/"}),
        ({}, {"_redirects": "/old/* /a/:splat"}),
    ],
)
def test_where_a_name_without_an_ending_is_something_else_each_redirect_is_an_object(
    more: Files, texts: dict[str, str]
) -> None:
    made = contents({**SITE, **more}, texts=texts)
    assert made.files["a"].served["location"] == "/a/"
    assert not made.slash


def test_a_folder_whose_name_has_a_dot_gets_its_redirect_as_an_object() -> None:
    made = contents({**SITE, "tf.output/index.html": file("b")})
    assert made.files["tf.output"].served["location"] == "/tf.output/"
    assert (made.slash, "a" in made.files) == (True, False)


def test_at_an_older_edge_each_page_has_an_address_with_a_slash() -> None:
    """It redirects to a slash itself, and does nothing that an object's metadata says."""
    made = contents({"index.html": file("x"), "a.html": file("a")}, slash=None)
    assert "location" not in made.files["a/index.html"].served
    assert made.files["a/index.html"].digest == file("a").digest
    assert made.pairs is None
    assert "older than the deployer" in made.warnings[0]
