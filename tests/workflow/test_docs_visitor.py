"""A visitor of a documentation site, in a real browser: its addresses, and a release in between."""

import json
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from demo.site import DocsSite, tar_gz
from demo.stage import Stage
from tests.workflow.test_docs import Sources, only_record, published, sources

pytestmark = pytest.mark.slow

BUILD = """
const fs = require('fs');
const path = require('path');
for (const [name, content] of Object.entries(JSON.parse(fs.readFileSync('files.json')))) {
  fs.mkdirSync(path.dirname('out/' + name), { recursive: true });
  fs.writeFileSync('out/' + name, content);
}
"""
# It looks hashed. So do the names that people choose for what they replace
PICTURE = "images/login-screen-Overview.svg"
FILES = {
    "index.html": (
        f"<h1>Front</h1><img src='{PICTURE}'><a href='guides/node.js'>Node</a>"
        "<a href='/ref/terraform.output/'>Terraform</a>"
    ),
    "404.html": "<h1>Lost</h1>",
    "guides/node.js.html": (
        f"<h1>Node.js</h1><img src='../{PICTURE}'><a href='deno'>Deno</a><a href='go.html'>Go</a>"
    ),
    "guides/deno.html": "<h1>Deno</h1>",
    "guides/go.html": "<h1>Go</h1>",
    "ref/terraform.output/index.html": "<h1>Output</h1><a href='../provider/'>Provider</a>",
    "ref/provider/index.html": "<h1>Provider</h1>",
    "de/index.html": "<h1>Anfang</h1>",
    "de/404.html": "<h1>Gibt es nicht</h1>",
    "main.tf.zzz": "resource {}",
    "_redirects": "/begin  /guides/deno  302\n/deutsch/*  /de/:splat\n",
    "_headers": "/guides/*\n  X-Robots-Tag: noindex\n",
}


def picture(width: int) -> str:
    return f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='10'/>"


def built(width: int, changes: Mapping[str, str] | None = None) -> Sources:
    files = {**FILES, PICTURE: picture(width), **(changes or {})}
    tree = {"offlinedocs/files.json": json.dumps(files), "offlinedocs/build.js": BUILD}
    return sources(tree, pages=1)


@pytest.fixture(scope="module")
def site(deployer: Stage, registry: None) -> DocsSite:
    site = DocsSite.set_up(deployer, "test-visitor")
    done = published(site.published(tar_gz(built(10)), "v1.tar.gz"))
    (warning,) = only_record(site, done)["warnings"]
    assert "'main.tf.zzz'" in warning
    return site


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor who was never here."""
    context = browser.new_context()
    yield context
    context.close()


def reads(page: Page, heading: str, address: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    assert page.url.partition(".localhost")[2].partition("/")[2] == address


def shows(page: Page, width: int) -> None:
    expect(page.get_by_role("img")).to_have_js_property("naturalWidth", width)


def test_every_link_leads_where_the_generator_meant(
    site: DocsSite, context: BrowserContext
) -> None:
    page, statuses = context.new_page(), list[int]()
    page.on("response", lambda answer: statuses.append(answer.status))
    page.goto(f"{site.url}/", wait_until="networkidle")
    page.get_by_role("link", name="Node").click()
    reads(page, "Node.js", "guides/node.js")
    shows(page, 10)  # by a relative link
    for name, address in (("Deno", "guides/deno"), ("Go", "guides/go.html")):
        page.get_by_role("link", name=name).click()
        reads(page, name, address)
        page.go_back()
    page.goto(f"{site.url}/")
    page.get_by_role("link", name="Terraform").click()
    reads(page, "Output", "ref/terraform.output/")
    page.get_by_role("link", name="Provider").click()
    reads(page, "Provider", "ref/provider/")
    assert set(statuses) <= {200, 304, 404}, "no link costs a redirect"
    assert statuses.count(404) <= 1, "the browser asks for /favicon.ico"


@pytest.mark.parametrize(
    ("asked", "heading", "address"),
    [
        ("guides/node.js/", "Node.js", "guides/node.js"),
        ("ref/terraform.output", "Output", "ref/terraform.output/"),
        ("ref/provider?a=b", "Provider", "ref/provider/?a=b"),
        ("begin?a=b", "Deno", "guides/deno?a=b"),
        ("deutsch/", "Anfang", "de/"),
    ],
)
def test_another_form_of_an_address_leads_there(
    site: DocsSite, context: BrowserContext, asked: str, heading: str, address: str
) -> None:
    page = context.new_page()
    answer = page.goto(f"{site.url}/{asked}")
    assert answer and answer.status == 200
    reads(page, heading, address)


def test_a_missing_page_is_said_in_the_language_of_its_folder(
    site: DocsSite, context: BrowserContext
) -> None:
    page = context.new_page()
    for path, heading in (
        ("de/weg/", "Gibt es nicht"),
        ("de/weg.js", "Gibt es nicht"),
        ("deutsch/weg", "Gibt es nicht"),
        ("away", "Lost"),
        ("guides/away.js", "Lost"),
    ):
        answer = page.goto(f"{site.url}/{path}")
        assert answer and answer.status == 404, path
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)


def test_headers_of_the_site_are_sent(site: DocsSite) -> None:
    assert site.get("/guides/deno").headers["x-robots-tag"] == "noindex"
    assert "x-robots-tag" not in site.get("/").headers
    odd = site.get("/main.tf.zzz")
    assert (odd.status, odd.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert not [name for name in odd.headers if name in ("x-amz-meta-status", "location")]


def test_who_was_here_before_a_release_sees_what_it_replaced(
    site: DocsSite, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{site.url}/", wait_until="networkidle")
    shows(page, 10)
    changes = {"de/index.html": "<h1>Neu</h1>"}
    done = published(site.published(tar_gz(built(20, changes)), "v2.tar.gz"))
    record = only_record(site, done)
    assert record["uploaded"] == 2, "the picture and the page"
    page.goto(f"{site.url}/", wait_until="networkidle")
    shows(page, 20)
    page.goto(f"{site.url}/de/")
    reads(page, "Neu", "de/")
    back = published(site.requested(action="rollback", to="previous"))
    assert only_record(site, back)["uploaded"] == 0
    page.goto(f"{site.url}/", wait_until="networkidle")
    shows(page, 10)
    answer = page.goto(f"{site.url}/de/weg/")
    assert answer and answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Gibt es nicht")
