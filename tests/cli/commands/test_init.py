"""`deployer init`: a spec of what runs."""

import json
from pathlib import Path

import yaml

from tests.cli.commands.conftest import Operator


def test_a_service_that_runs_is_adopted_by_a_spec_of_four_lines(
    rolled_back: Operator, tmp_path: Path
) -> None:
    stage, file = rolled_back.stage, tmp_path / "deployer.yaml"
    words = ("init", "--cluster", stage.cluster, "--file", str(file))
    output = rolled_back.output(*words)
    written = yaml.safe_load(file.read_text())
    assert output["spec"] == written
    assert written.keys() == {"service", "cluster", "repository", "tags"}
    assert (written["service"], written["repository"]) == (stage.service, stage.service)
    assert rolled_back.run("validate", str(file)).returncode == 0

    again = rolled_back.run(*words)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert rolled_back.run(*words, "--force", "--tags", "(", "--json").returncode == 2


def test_what_cannot_be_adopted_is_told(rolled_back: Operator, tmp_path: Path) -> None:
    file = tmp_path / "deployer.yaml"
    words = ("init", "--cluster", rolled_back.stage.cluster, "--file", str(file), "--json")
    missing = rolled_back.run(*words, "--service", "nobody")
    assert missing.returncode == 3
    assert rolled_back.stage.service in json.loads(missing.stdout)["error"]["advice"][0]
    other = rolled_back.run(*words, "--container", "nobody")
    assert other.returncode == 3
    assert "no container nobody" in other.stderr
    nowhere = tmp_path / "no-such-folder" / "deployer.yaml"
    unwritten = rolled_back.run("init", "--cluster", words[2], "--file", str(nowhere))
    assert unwritten.returncode == 2
    assert "cannot be written" in unwritten.stderr
    assert not file.exists()
