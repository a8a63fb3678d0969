"""`deployer build`: from sources to a live release, by the local CodeBuild."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from demo import source
from demo.image import DEMO_APP
from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at

pytestmark = pytest.mark.slow


@pytest.fixture
def builder(operator: Operator) -> Operator:
    operator.stage.specify(build={**source.BUILD, "mode": "plain"})
    return operator


def checkout(path: Path, tag: str) -> Path:
    """A checkout of the demo's sources."""
    path.mkdir()
    with tarfile.open(fileobj=io.BytesIO(source.archive(tag))) as packed:
        packed.extractall(path, filter="fully_trusted")
    return path


def test_a_checkout_becomes_a_release_and_the_same_again_does_not(
    builder: Operator, tmp_path: Path
) -> None:
    given = str(checkout(tmp_path / "coder", "v1.2.0"))
    output = builder.output("build", given)
    assert (output["build"]["outcome"], output["build"]["version"]) == ("SUCCEEDED", "1.2.0")
    assert (output["outcome"], output["version"]) == ("SUCCEEDED", "1.2.0")
    assert output["digest"] == output["build"]["digest"]
    assert output["url"] == builder.stage.records()[-1]["url"]

    again = builder.run("build", given)
    assert again.returncode == 0, again.stderr
    assert "Nothing was pushed" in again.stdout
    assert "1.2.0 is live already" in again.stdout


def test_sources_that_do_not_compile_are_told_with_their_lines(
    builder: Operator, tmp_path: Path
) -> None:
    broken = (DEMO_APP / "server.py").read_text().replace("def main(", "def main((", 1)
    archive = tmp_path / "source.tar.gz"
    archive.write_bytes(source.archive("v1.0.0", {"server.py": broken}))
    failed = builder.run("build", str(archive), "--json")
    assert failed.returncode == 1
    output = json.loads(failed.stdout)
    assert output["build"]["outcome"] == "FAILED"
    assert "was not built" in output["error"]["message"]
    assert "SyntaxError" in failed.stderr
    assert builder.stage.records() == []


def test_what_is_built_while_it_is_held_waits(builder: Operator, tmp_path: Path) -> None:
    assert builder.run("hold", "--reason", "freeze").returncode == 0
    archive = tmp_path / "source.zip"
    archive.write_bytes(source.archive("v1.0.0", kind="zip"))
    held = builder.run("build", str(archive), "--json")
    assert held.returncode == 5
    output = json.loads(held.stdout)
    assert (output["build"]["outcome"], output["outcome"]) == ("SUCCEEDED", "HELD")
    assert "freeze" in output["error"]["message"]


@pytest.mark.parametrize("busy", [250], indirect=True)  # a build takes its time
def test_what_is_built_while_a_newer_push_comes_is_superseded(
    busy: tuple[Operator, str], tmp_path: Path
) -> None:
    operator, _ = busy
    operator.stage.specify(build={**source.BUILD, "mode": "plain"})
    archive = tmp_path / "source.zip"
    archive.write_bytes(source.archive("v1.2.0", kind="zip"))
    with at(operator, "build", str(archive)) as shown:
        shown.expect("1.1.0 holds the lock")
        operator.stage.release("1.3.0")
        assert shown.ended() == 5
        assert "superseded by 1.3.0" in shown.screen


def test_a_build_is_only_started_and_cancelled(builder: Operator, tmp_path: Path) -> None:
    given = str(checkout(tmp_path / "coder", "v1.3.0"))
    started = builder.run("build", given, "--no-follow", "--json")
    assert started.returncode == 0, started.stderr
    arn = json.loads(started.stdout)["execution"]
    output = builder.output("cancel", "--build", "--yes")
    if output["cancelled"]:
        assert output["outcome"] == "FAILED"
        assert builder.stage.look(arn).status == "ABORTED"
    else:  # the build was faster
        assert builder.stage.ended(arn).status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("nowhere", "git rev-parse nowhere"),
        ("e0f93fb88", "can't fetch e0f93fb88: no repository is connected"),
        ("pyproject.toml", "is no archive"),
    ],
)
def test_what_is_no_source_starts_nothing(builder: Operator, given: str, why: str) -> None:
    wrong = builder.run("build", given)
    assert (wrong.returncode, why in wrong.stderr) == (2, True), wrong.stderr
    assert builder.stage.builds() == []
