"""The texts that must agree: the state machine, the templates, the functions and the layer."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted((ROOT / "functions").glob("*.py"))
PACKAGE = ROOT / "layers" / "deployer" / "deployer"
MODULES = sorted(PACKAGE.rglob("*.py"))
WAKE = ROOT / "statemachine" / "wake.asl.json"  # Express: it calls no function and records nothing
MACHINES = [m for m in sorted((ROOT / "statemachine").glob("*.asl.json")) if m != WAKE]
TEMPLATES = [ROOT / "template.yaml", *sorted((ROOT / "infrastructure").glob("*.yaml"))]

type States = dict[str, dict[str, Any]]


def load(template: Path) -> dict[str, Any]:
    """A template with its short forms written out (`!Ref x` as `{"Ref": "x"}`)."""
    return dict(cfn_yaml.load(str(template)))


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return load(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def transformed() -> dict[str, Any]:
    """The template as SAM transforms it: with the roles of the functions."""
    from tests.template.checkov import plain  # imports the SAM CLI, which takes seconds

    return dict(yaml.safe_load(plain(ROOT / "template.yaml")))


def definition(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def logical_id_of(path: Path) -> str:
    """What the template calls a state machine: build.asl.json is Build."""
    return path.name.partition(".")[0].capitalize()


@pytest.fixture(params=MACHINES, ids=lambda path: path.name.partition(".")[0])
def which(request: pytest.FixtureRequest) -> Path:
    """Each state machine in turn."""
    return Path(request.param)


@pytest.fixture(params=[*MACHINES, WAKE], ids=lambda path: path.name.partition(".")[0])
def every(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each definition in turn, the Express workflow's too."""
    return definition(request.param)


@pytest.fixture
def machine(which: Path) -> dict[str, Any]:
    return definition(which)


@pytest.fixture
def states(machine: dict[str, Any]) -> States:
    return dict(machine["States"])


@pytest.fixture(scope="session")
def deploy() -> dict[str, Any]:
    return definition(ROOT / "statemachine" / "deploy.asl.json")


@pytest.fixture(scope="session")
def deploying(deploy: dict[str, Any]) -> States:
    """The states of the Deploy machine, for what only it must keep to."""
    return dict(deploy["States"])


@pytest.fixture(scope="session")
def all_states() -> list[States]:
    return [dict(definition(path)["States"]) for path in MACHINES]
