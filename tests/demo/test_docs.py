"""The demo of the documentation site as people and programs see it, for real."""

import json
import signal
from pathlib import Path

import pytest

from demo import docs as demo_docs
from tests.demo.test_deploy import Run, left_of

MODULE = "demo.docs"


@pytest.mark.slow
@pytest.mark.usefixtures("registry")
def test_the_demo_ends_with_the_site_as_it_was_at_first(tmp_path: Path) -> None:
    with Run(["--json"], tmp_path, MODULE) as run:
        code = run.ended(1500)
        document = json.loads("\n".join(run.lines))
    assert code == 0, document["error"]
    assert document["ok"] and document["version"] == "handbook-1.0"
    assert ".cloudfront.localhost:" in document["url"]
    _, _, first, changed, broken, back = document["steps"]
    assert all(step["ok"] for step in document["steps"])
    # a page's second address has the same content, which is copied within S3
    assert first["files"] == first["uploaded"] + first["copied"]
    assert first["uploaded"] > 120
    # a page's text is in the page, and in the data by which an open page goes there
    assert (changed["uploaded"], changed["copied"]) == (2, first["files"] - 2)
    assert 0 < changed["bytes"] < first["bytes"] / 50
    assert broken["outcome"] == "FAILED"
    assert "docs/storage/part-02.md" in broken["reason"]
    assert "The site was not changed." in broken["reason"]
    assert "Build docs" in changed["states"] and "Build docs" not in back["states"]
    assert (back["version"], back["outcome"]) == ("handbook-1.0", "SUCCEEDED")
    assert [(release["version"], release["outcome"]) for release in document["releases"]] == [
        ("handbook-1.0", "SUCCEEDED"),
        ("handbook-1.1", "SUCCEEDED"),
        ("handbook-1.2", "FAILED"),
        ("handbook-1.0", "SUCCEEDED"),
    ]
    assert not left_of(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("registry")
def test_ctrl_c_in_the_middle_of_a_build_leaves_nothing(tmp_path: Path) -> None:
    with Run([], tmp_path, MODULE) as run:
        run.until(r"^uploaded docs/demo/handbook-1\.0\.tar\.gz: \d+ files")
        run.until("s  Build docs")
        run.signal(signal.SIGINT)
        assert run.ended() == 130
    assert run.lines[-1].startswith("error: interrupted")
    assert not any("Traceback" in line for line in run.lines)
    assert not left_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        demo_docs.main(["--help"])
    assert end.value.code == 0
    output = capsys.readouterr().out
    assert "python -m demo.docs --keep" in output and "exit codes:" in output
