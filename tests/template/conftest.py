"""The texts that must agree: the state machine, the templates, the functions and the layer."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted((ROOT / "functions").glob("*.py"))
PACKAGE = ROOT / "layers" / "deployer" / "deployer"
MODULES = sorted(PACKAGE.rglob("*.py"))
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
def machine() -> dict[str, Any]:
    text = (ROOT / "statemachine" / "deploy.asl.json").read_text()
    return dict(json.loads(text))


@pytest.fixture(scope="session")
def states(machine: dict[str, Any]) -> States:
    return dict(machine["States"])
