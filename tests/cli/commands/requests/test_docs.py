"""`deployer docs`: a documentation site is published, switched back, held and resumed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.site import DocsSite, tar_gz
from tests.cli.commands.conftest import Operator
from tests.workflow.test_docs import sources

pytestmark = pytest.mark.slow


@pytest.fixture
def site(operator: Operator) -> Iterator[DocsSite]:
    """A site named as the operator's service."""
    yield DocsSite.set_up(operator.stage, operator.stage.service)


def archive(path: Path, text: str) -> str:
    path.write_bytes(tar_gz(sources({"docs/index.md": text}, pages=3)))
    return str(path)


def test_published_switched_back_held_and_resumed(
    operator: Operator, site: DocsSite, tmp_path: Path
) -> None:
    none = operator.run("docs", "nowhere")
    assert (none.returncode, "no such file or directory: nowhere" in none.stderr) == (2, True)
    one = archive(tmp_path / "one.tar.gz", "The first.")
    dry = operator.run("docs", one, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "pnpm run export" in dry.stdout and "nothing of one.tar.gz was uploaded" in dry.stdout
    assert site.stage.records() == []
    first = operator.output("docs", one)
    assert (first["outcome"], first["url"]) == ("SUCCEEDED", site.url)
    assert first["directory"] == "offlinedocs"
    assert "The first." in site.get("/").text

    second = operator.run("docs", archive(tmp_path / "two.tar.gz", "The second."))
    assert second.returncode == 0, second.stderr
    assert f": {site.url}\n" in second.stdout  # where it answers
    assert "build: phase pre build" in second.stdout
    assert "node build.js" in second.stdout, "what the build prints"
    assert "The second." in site.get("/").text

    assert operator.output("docs", "rollback")["outcome"] == "SUCCEEDED"
    assert "The first." in site.get("/").text
    held = operator.run("docs", archive(tmp_path / "three.tar.gz", "The third."), "--json")
    assert (held.returncode, json.loads(held.stdout)["outcome"]) == (5, "HELD")
    command = json.loads(held.stdout)["error"]["advice"][-1].split()
    assert (command[:2], command[-1]) == (["deployer", "docs"], "resume")
    assert operator.output("docs", "resume")["outcome"] == "SUCCEEDED"
    assert "The third." in site.get("/").text
    assert operator.output("docs", "hold")["outcome"] == "SUCCEEDED"
    assert "no upload was held back" in operator.output("docs", "resume")["reason"]

    wrong = operator.run("docs", "rollback", "nothing-like-it")
    assert (wrong.returncode, "no release is named" in wrong.stderr) == (1, True)
    assert operator.output("docs")["outcome"] == "SUCCEEDED"


def test_what_does_not_build_is_told(operator: Operator, site: DocsSite, tmp_path: Path) -> None:
    path = tmp_path / "broken.tar.gz"
    path.write_bytes(tar_gz(sources({"offlinedocs/build.js": "throw 'no such page'"}, pages=1)))
    failed = operator.run("docs", str(path), "--json")
    assert failed.returncode == 1
    assert "no such page" in json.loads(failed.stdout)["error"]["message"]
    assert site.get("/").status == 503


def test_a_publication_is_cancelled_and_the_site_stays_as_it_was(
    operator: Operator, site: DocsSite, tmp_path: Path
) -> None:
    assert operator.output("cancel", "--docs", "--yes")["inFlight"] == []
    operator.output("docs", archive(tmp_path / "one.tar.gz", "The first."))
    started = operator.output("docs", archive(tmp_path / "two.tar.gz", "The second."), "--detach")
    for now in operator.stage.follow(started["execution"]):
        if now.states and now.states[-1].name == "Build docs":
            break
    output = operator.output("cancel", "--docs", "--yes")
    assert (len(output["cancelled"]), output["outcome"]) == (1, "FAILED_ROLLED_BACK")
    assert output["live"]["url"] == site.outputs["Url"]
    assert "The first." in site.get("/").text
    assert operator.stage.look(started["execution"]).status == "ABORTED"
    assert operator.output("docs", archive(tmp_path / "three.tar.gz", "The third."))["outcome"]
    assert "The third." in site.get("/").text


def test_without_a_site_of_its_own_it_says_which_there_are(operator: Operator) -> None:
    others = [f"{operator.stage.service}-{name}" for name in ("one", "two")]
    for name in others:
        DocsSite.set_up(operator.stage, name)
    missing = operator.run("docs")
    assert missing.returncode == 2
    assert "no documentation site is named" in missing.stderr
    assert all(name in missing.stderr for name in others)
