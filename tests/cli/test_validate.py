"""`deployer validate`: a spec in a file, checked without asking AWS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import specfile
from cli.errors import CommandFailed
from demo import ROOT

SMALLEST = """\
# four lines adopt a service that is there
service: shop
cluster: shop
repository: shop
tags: v[0-9]+\\.[0-9]+\\.[0-9]+
"""


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def refused(file: Path, content: str | bytes | None) -> CommandFailed:
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CommandFailed) as stopped:
        specfile.read(file)
    return stopped.value


def test_a_spec_is_checked_where_no_account_is_known(tmp_path: Path) -> None:
    (tmp_path / "deployer.yaml").write_text(SMALLEST)
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/deployer")])
    alone = {"PYTHONPATH": path, "HOME": str(tmp_path), "AWS_PROFILE": "none-of-that-name"}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "validate"],
        cwd=tmp_path,
        env=own | alone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deployer apply deployer.yaml" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"service": "s", "cluster": "c", "repository": "r", "tags": "v.*"}),
        "$schema: https://example.com/schema.json\n" + SMALLEST,
    ],
    ids=["json", "with a schema"],
)
def test_a_spec_is_yaml_or_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "spec").write_text(content)
    assert specfile.read(tmp_path / "spec")["tags"].startswith("v")


def test_all_wrong_fields_are_named_at_once_of_both_kinds_of_documents(tmp_path: Path) -> None:
    wrong = SMALLEST.replace("cluster: shop", "cluster: [1]") + (
        "timeout: soon\n"
        "taskDefinition:\n"
        "  containerDefinitions:\n"
        "  - name: shop\n"
        "    portMappings: [{containerPort: web, protocoll: tcp}]\n"
        "serviceDefinition:\n"
        "  desiredCount: two\n"
    )
    problems = refused(tmp_path / "spec", wrong).advice
    for path in (
        "cluster",
        "timeout",
        "taskDefinition.containerDefinitions[0].portMappings[0].containerPort",
        "taskDefinition.containerDefinitions[0].portMappings[0].protocoll",
        "serviceDefinition.desiredCount",
    ):
        assert any(problem.startswith(f"- {path}: ") for problem in problems), (path, problems)


def test_a_container_that_the_task_definition_lacks_is_named(tmp_path: Path) -> None:
    wrong = SMALLEST + "container: web\ntaskDefinition: {containerDefinitions: [{name: shop}]}\n"
    (problem,) = refused(tmp_path / "spec", wrong).advice
    assert "'web' is not a container" in problem


@pytest.mark.parametrize(
    ("content", "message", "code"),
    [
        (None, "cannot be read", 2),
        ("a: [", "neither YAML nor JSON", 3),
        ("- a list", "must hold an object", 3),
        ("", "must hold an object", 3),
        (b"\xff\xfe\x00", "neither YAML nor JSON", 3),
        (SMALLEST + f"override: {{dockerLabels: {{a: {'x' * 9000}}}}}", "a parameter holds", 3),
    ],
    ids=["no file", "no yaml", "a list", "empty", "no text", "too large"],
)
def test_what_is_no_spec_is_told(
    tmp_path: Path, content: str | bytes | None, message: str, code: int
) -> None:
    stopped = refused(tmp_path / "spec", content)
    assert stopped.code == code
    assert message in " ".join([stopped.message, *stopped.advice])
