"""A real site in a real browser: a static export of Next.js, built by pnpm from the npm registry.

Whatever the browser gets is compared, by its ETag, with what the release of its page has there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    expect,
)

from cli.executions import Execution
from demo.site import DocsSite, handbook, tar_gz
from demo.stage import Stage
from deployer.docs import publication
from tests.workflow.test_docs import only_record, published

PAGES = 120
LIMIT = 300.0  # seconds for a build, most of it for what Next.js needs of a machine
STYLE = "offlinedocs/styles.css"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(deployer: Stage, registry: None) -> tuple[DocsSite, Execution]:
    """A site on which the handbook was published, and how."""
    site = DocsSite.set_up(deployer, "test-handbook")
    return site, published(site.published(tar_gz(handbook(pages=PAGES)), "handbook-1.tar.gz"))


@pytest.fixture
def site(first: tuple[DocsSite, Execution]) -> DocsSite:
    return first[0]


def release(site: DocsSite, folder: str) -> dict[str, str]:
    """The ETags of a release's files, which are those of their content, by path."""
    s3, top = site.stage.aws.client("s3"), publication.key(folder, "")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=site.outputs["BucketName"], Prefix=top
    )
    listed = [entry for page in pages for entry in page["Contents"]]
    return {entry["Key"].removeprefix(top): entry["ETag"] for entry in listed}


@dataclass
class Visitor:
    """A browser's window on the site, and what it asked for and complained of."""

    site: DocsSite
    page: Page
    answers: list[Response] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("response", lambda answer: self.answers.append(answer))
        self.page.on("requestfailed", lambda it: self._complain(str(it.failure), it.url))
        self.page.on("pageerror", lambda error: self._complain("pageerror", str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain(message.text)

    def _complain(self, *what: str) -> None:
        if "net::ERR_ABORTED" not in what:  # Next.js itself gives up what it need not have ahead
            self.complaints.append(" ".join(what))

    def open(self, path: str) -> Response:
        """Load a page and all that belongs to it; the answer with the page."""
        self.page.goto("about:blank")  # what the page before asked for has then been heard of
        self.answers.clear()
        answer = self.page.goto(self.site.url + path, wait_until="networkidle")
        assert answer
        return answer

    def follow(self, link: str) -> None:
        """Click a link of the page."""
        self.page.get_by_role("link", name=link, exact=True).first.click()
        self.page.wait_for_load_state("networkidle")

    def reads(self, heading: str) -> None:
        """The page shows this heading, once it is drawn."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    def got(self, files: Mapping[str, str]) -> int:
        """All that the browser got is what the release with these files has; how much that was."""
        for answer in self.answers:
            path = unquote(urlsplit(answer.url).path).lstrip("/")
            name = path + "index.html" if path.endswith("/") or not path else path
            assert answer.status in (200, 304), (answer.url, answer.status)
            assert answer.header_value("etag") == files.get(name), name
        return len(self.answers)


@contextmanager
def visiting(site: DocsSite, browser: Browser) -> Iterator[Visitor]:
    """A visitor who was never here, and who must have nothing to complain of."""
    context: BrowserContext = browser.new_context()
    try:
        visitor = Visitor(site, context.new_page())
        yield visitor
        assert visitor.complaints == []
    finally:
        context.close()


def release_of(answer: Response) -> str:
    return str(answer.header_value("x-amz-meta-release"))


def test_the_export_is_built_by_its_own_script_and_published(
    first: tuple[DocsSite, Execution],
) -> None:
    site, done = first
    record = only_record(site, done)
    assert record["outcome"] == "SUCCEEDED"
    files = release(site, record["folder"])
    assert record["uploaded"] + record["copied"] == record["files"] == len(files)
    assert len([path for path in files if path.endswith("index.html")]) >= PAGES
    assert len([path for path in files if path.startswith("images/")]) == 12, "pnpm export's"
    hashed = [path for path in files if path.startswith("_next/static/chunks/")]
    assert any(path.endswith(".js") for path in hashed)
    took = {state.name: (state.left or 0) - state.at for state in done.states}
    assert took["Build docs"] > 0
    print(f"built in {took['Build docs']:.0f} s, {len(files)} files")


def test_a_browser_renders_the_pages_and_what_belongs_to_them(
    site: DocsSite, browser: Browser
) -> None:
    with visiting(site, browser) as visitor:
        live = release_of(visitor.open("/"))
        visitor.reads("Handbook")
        visitor.follow("Networking")
        visitor.reads("Networking")
        visitor.follow("Networking, part 3")
        visitor.reads("Networking, part 3")
        assert visitor.page.url == f"{site.url}/networking/part-03/"
        assert visitor.page.title() == "Networking, part 3 | Handbook"
        picture = visitor.page.get_by_role("img", name="Networking", exact=True)
        expect(picture).to_be_visible()
        expect(picture).to_have_js_property("naturalWidth", 192)
        main = visitor.page.locator("main")
        expect(main.get_by_role("table")).to_contain_text("NETWORKING_OPTION_1")
        expect(main.get_by_role("link").first).to_have_css("color", "rgb(29, 78, 216)")
        visitor.page.go_back()
        visitor.reads("Networking")
        assert visitor.got(release(site, live)) > 10
        visitor.open("/networking/part-03/?from=search")
        visitor.reads("Networking, part 3")


def test_a_browser_is_shown_the_sites_own_page_where_nothing_is(
    site: DocsSite, browser: Browser
) -> None:
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(f"{site.url}/networking/part-99/", wait_until="networkidle")
    assert answer and answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    page.get_by_role("link", name="To the front page").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Handbook")
    context.close()


def test_a_browser_never_gets_two_builds_mixed_while_one_is_published(
    site: DocsSite, browser: Browser
) -> None:
    """Another style, another picture and another text: no file of the page stays as it was."""
    sources = handbook(pages=PAGES)
    text = str(sources["docs/storage/part-01.md"])
    changes: dict[str, Any] = {
        STYLE: str(bytes(sources[STYLE]), "utf-8").replace("#1d4ed8", "#b91c1c"),  # type: ignore[arg-type]
        "docs/images/storage.png": sources["docs/images/security.png"],
        "docs/storage/part-01.md": text.replace("# Storage, part 1", "# Storage, told anew"),
    }
    seen: list[str] = []
    with visiting(site, browser) as stays:
        before = release_of(stays.open("/storage/"))
        known = {before: release(site, before)}
        archive = tar_gz(handbook(changes, PAGES))
        arn = site.started_by(site.upload(archive, "handbook-2.tar.gz"))
        for now in site.stage.follow(arn, LIMIT):
            if "Publish docs" in now.path:
                break
        while not seen or site.stage.look(arn).status == "RUNNING":
            with visiting(site, browser) as visitor:
                of = release_of(visitor.open("/storage/part-01/"))
                if of not in known:
                    known[of] = release(site, of)
                visitor.got(known[of])
                seen.append(of)
        done = published(site.stage.ended(arn))
        after = str(only_record(site, done)["folder"])
        with visiting(site, browser) as visitor:
            assert release_of(visitor.open("/storage/part-01/")) == after
            visitor.reads("Storage, told anew")
        assert set(seen) <= {before, after}
        # a page that was open all the time goes on in its own release, and is not told of another
        stays.answers.clear()
        stays.follow("Storage, part 1")
        stays.reads("Storage, part 1")
        stays.got(known[before])
        assert release_of(stays.open("/storage/part-01/")) == after
        stays.reads("Storage, told anew")
        link = stays.page.locator("main").get_by_role("link").first
        expect(link).to_have_css("color", "rgb(185, 28, 28)")
        stays.got(release(site, after))
