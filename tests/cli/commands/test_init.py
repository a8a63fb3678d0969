"""`deployer init`: a spec of what runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from demo.stage import Stage
from tests.benchmarks.first_release import KINDS, walk
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_is_live_by_what_init_prints_and_a_push(
    deployer: Stage, kind: str, tmp_path: Path
) -> None:
    name = f"test-init-{kind.split()[1]}"
    stage = replace(deployer, service=name)
    walk(stage, name, KINDS[kind], tmp_path)
    (record,) = stage.records()
    assert record["outcome"] == "SUCCEEDED"
    assert bool(record["url"]) is (kind != "a worker")
    if kind.startswith("an application"):
        assert record["before"]["command"] == ["migrate", "--all"]
        assert [*record["services"]] == [f"{name}-worker"]
        replace(stage, service=f"{name}-worker").end()
    stage.end()


COMPOSE = """\
services:
  api:
    build: .
    volumes: ["./src:/app"]
    network_mode: host
    environment:
      API_TOKEN: hunter2hunter2
      MODE: web
    ports: ["80:8080"]
"""


def test_all_that_stands_in_the_way_is_reported_at_once_and_nothing_written(
    deployer: Stage, tmp_path: Path
) -> None:
    name, source = "test-init-secret", tmp_path / "compose.yaml"
    operator = Operator(replace(deployer, service=name))
    file = tmp_path / "deployer.yaml"
    source.write_text(COMPOSE)
    words = ("init", "--file", str(file), "--from", str(source))
    refused = operator.run(*words, "--cluster", "nowhere")
    assert refused.returncode == 3
    for part in ("./src:/app", "network_mode", "API_TOKEN", "--exposure", "nowhere"):
        assert part in refused.stderr, part
    assert not file.exists() and "hunter2" not in refused.stdout + refused.stderr

    advice = [line for line in refused.stderr.splitlines() if "create-secret" in line]
    assert f"--name {name}/API_TOKEN" in advice[0] and '"$API_TOKEN"' in advice[0]
    secret = deployer.aws.client("secretsmanager").create_secret(
        Name=f"{name}/API_TOKEN", SecretString="hunter2hunter2"
    )
    told = operator.output(*words, "--leave-out", "--exposure", "internal")
    (container,) = told["spec"]["taskDefinition"]["containerDefinitions"]
    assert container["secrets"] == [{"name": "API_TOKEN", "valueFrom": secret["ARN"]}]
    assert container["environment"] == [{"name": "MODE", "value": "web"}]
    assert "hunter2" not in file.read_text()
    assert any("./src:/app" in note for note in told["notes"])
    assert {"roles", "repository", "log group"} <= {check["name"] for check in told["missing"]}


def test_a_service_that_runs_is_adopted_although_there_is_a_dockerfile(
    rolled_back: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nEXPOSE 1\n")
    monkeypatch.chdir(tmp_path)
    told = rolled_back.output("init", "--cluster", rolled_back.stage.cluster)
    assert told["spec"].keys() == {"service", "cluster", "repository", "tags"}
