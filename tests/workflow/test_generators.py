"""Sites of several generators, built for real from the registries and published.

Each is a small tree in tests/sites with a lock file: VitePress with npm, Docusaurus with bun, Astro
Starlight with yarn, Sphinx with uv, MkDocs with pip. test_handbook.py has Next.js with pnpm.
"""

import json
import re
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cli import docs_sources
from cli.executions import Execution
from demo import ROOT
from demo.site import DocsSite, tar_gz, tree
from demo.stage import Stage
from deployer.docs.site import Build
from tests.cli.test_sources import git
from tests.workflow.test_docs import only_record

pytestmark = pytest.mark.slow

SITES = ROOT / "tests/sites"
LIMIT = 500.0  # seconds, most of it for what the generators need of a machine


def published(site: DocsSite, files: dict[str, bytes], name: str) -> Execution:
    done = site.stage.ended(site.started_by(site.upload(tar_gz(files), name)), LIMIT)
    assert done.status == "SUCCEEDED", (done.path, done.error, done.cause)
    return done


def click(site: DocsSite, browser: Browser) -> None:
    """Go from the front page to the guide, as a visitor does; no script fails."""
    context = browser.new_context()
    page, failed = context.new_page(), list[str]()
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(site.url, wait_until="networkidle")
    link = page.get_by_role("link", name=re.compile("^guide$", re.IGNORECASE))
    link.locator("visible=true").first.click()
    heading = page.get_by_role("heading", level=1).filter(has_text="Guide")
    expect(heading.first).to_be_visible(timeout=60_000)
    page.reload(wait_until="networkidle")
    expect(heading.first).to_be_visible(timeout=60_000)
    assert failed == []
    context.close()


def cached(site: DocsSite) -> list[tuple[str, datetime]]:
    """The site's caches of packages, and when each was written."""
    listed = site.stage.aws.client("s3").list_objects_v2(
        Bucket=site.stage.outputs["SourceBucket"], Prefix=f"docs-cache/{site.site}/"
    )
    return [(entry["Key"], entry["LastModified"]) for entry in listed.get("Contents", [])]


@pytest.mark.parametrize(
    ("name", "guide", "found"),
    [
        ("docusaurus", "/guide", "Docusaurus (3.9.2), bun 1.4.5 (package.json)"),
        ("starlight", "/guide/", "Astro Starlight (0.36.3), yarn 4.9.4 (package.json)"),
        ("sphinx", "/guide.html", "Sphinx, in docs, packages of uv.lock, Python 3.13"),
    ],
)
def test_a_site_is_built_with_what_it_names(
    deployer: Stage, registry: None, browser: Browser, name: str, guide: str, found: str
) -> None:
    site = DocsSite.set_up(deployer, f"test-{name}")
    done = published(site, tree(SITES / name), "v1.tar.gz")
    (checked,) = [state.output for state in done.states if state.name == "Check sources"]
    assert checked["reason"].startswith(found)
    for path, heading in (("/", "Start"), (guide, "Guide")):
        page = site.get(path)
        assert (page.status, heading in page.text) == (200, True), path
    click(site, browser)


def test_packages_are_cached_by_lock_file_and_the_same_sources_are_built_once(
    deployer: Stage, registry: None, browser: Browser
) -> None:
    site, files = DocsSite.set_up(deployer, "test-vitepress"), tree(SITES / "vitepress")
    published(site, files, "v1.tar.gz")
    assert "To the" in site.get("/").text
    click(site, browser)
    ((key, written),) = cached(site)
    assert "/npm-" in key
    changed = {**files, "docs/guide.md": b"# Guide\n\nAnother.\n"}
    built = published(site, changed, "v2.tar.gz")
    assert "Another." in site.get("/guide.html").text
    assert "browsers keep" not in str(only_record(site, built).get("warnings"))
    assert cached(site) == [(key, written)]
    again = published(site, changed, "v3.tar.gz")
    assert "Build docs" in built.path and "Build docs" not in again.path
    assert only_record(site, again)["uploaded"] == 0


def test_a_folder_of_html_is_published_without_a_build(deployer: Stage) -> None:
    site = DocsSite.set_up(deployer, "test-html")
    done = published(site, {"index.html": b"<h1>Start</h1>", "a/b.css": b"h1 {}"}, "v1.tar.gz")
    assert "Build docs" not in done.path
    assert (site.get("/").text, site.get("/a/b.css").body) == ("<h1>Start</h1>", b"h1 {}")


def test_the_build_has_the_dates_of_pages_and_the_credentials_of_registries(
    deployer: Stage, registry: None, browser: Browser, tmp_path: Path
) -> None:
    site = DocsSite.set_up(
        deployer, "test-mkdocs", DocsSecrets="PRIVATE_TOKEN=docs/test-mkdocs/pip:token"
    )
    secret = {"Name": "docs/test-mkdocs/pip", "SecretString": json.dumps({"token": "s3cr3t-t0k3n"})}
    deployer.aws.client("secretsmanager").create_secret(**secret)
    shutil.copytree(SITES / "mkdocs", tmp_path, dirs_exist_ok=True)
    (tmp_path / "secret.py").write_text(HOOK)
    with (tmp_path / "mkdocs.yml").open("a") as config:
        config.write("hooks:\n  - secret.py\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first", "--date=2020-02-03T00:00:00Z")
    with docs_sources.examine(tmp_path, Build("", "", "")).packed() as archive:
        digest = site.upload(archive.path.read_bytes(), "v1.tar.gz")
    done = site.stage.ended(site.started_by(digest), LIMIT)
    assert done.status == "SUCCEEDED", (done.path, done.error, done.cause)
    assert "2020-02-03" in site.get("/").text
    assert "It has 12 characters." in site.get("/guide/").text
    click(site, browser)
    logs = deployer.aws.client("logs")
    group = next(
        found["logGroupName"]
        for found in logs.describe_log_groups()["logGroups"]
        if "BuildLogs" in found["logGroupName"]
    )
    events = logs.filter_log_events(logGroupName=group)["events"]
    shown = [event["message"] for event in events if "the secret is" in event["message"]]
    assert shown and all("***" in line for line in shown)


# a hook of mkdocs, which says in each page how long the secret is, and prints it
HOOK = """
import os

def on_page_markdown(markdown, **_):
    print("the secret is", os.environ["PRIVATE_TOKEN"])
    return markdown + f"\\n\\nIt has {len(os.environ['PRIVATE_TOKEN'])} characters."
"""
