"""The deployer's own documentation is a site that its docs machine publishes."""

import subprocess

import pytest

from demo import ROOT
from demo.site import DocsSite, tar_gz
from demo.stage import Stage

pytestmark = pytest.mark.slow


def sources() -> dict[str, bytes | str]:
    """What `deployer docs docs` packs: the files of docs/ as git sees them."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT / "docs",
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return {name: (ROOT / "docs" / name).read_bytes() for name in listed}


def test_the_documentation_is_built_and_live(deployer: Stage, registry: None) -> None:
    site = DocsSite.set_up(deployer, "test-own")
    ended = site.published(tar_gz(sources()), "docs-1.0.tar.gz")
    assert ended.status == "SUCCEEDED", ended.cause
    assert "<h1" in site.get("/").text
    page = site.get("/operate.html")
    assert (page.status, "deployer status --watch" in page.text) == (200, True)
    assert site.get("/no-such-page.html").status == 404
