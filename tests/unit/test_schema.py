"""The JSON Schema for editors says of the spec's own fields what reading them says."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from cli import schema
from deployer.deploy.spec import from_document
from deployer.errors import SpecInvalid
from tests.unit.samples import ADOPTED, BALANCER, MISSING, document

FILE = Path(__file__).parents[2] / "docs/service-spec.schema.json"
SPECS = {
    "four lines": document(**ADOPTED),
    "whole": document(),
    "balanced": document(**BALANCER),
    "a preset, with null for what it leaves out": document(
        **ADOPTED | {"preset": "coder", "verify": None, "$schema": "x"}
    ),
    "over a blueprint": document(
        taskDefinition="coder:7", override={"environment": {"A": "1"}, "stopTimeout": 60}
    ),
    "a database and a build": document(
        database={"instance": "coder-db"}, build={"mode": "nix", "platform": "linux/arm64"}
    ),
}
WRONG: dict[str, dict[str, Any]] = {
    "unknown": {"colour": "blue"},
    "missing": {"cluster": MISSING},
    "a wrong type": {"timeout": "900"},
    "out of range": {"keepReleases": 1},
    "not offered": {"strategy": "canary"},
    "a wrong text": {"repository": "Coder"},
    "within an object": {"verify": {"paths": "/"}},
    "within a list": {"verify": {"unchanged": [{"field": "id"}]}},
}


def test_the_file_is_what_the_command_prints() -> None:
    output = "python -m cli.schema > docs/service-spec.schema.json"
    assert json.loads(FILE.read_text()) == schema.document(), output


@pytest.mark.parametrize("document", SPECS.values(), ids=SPECS)
def test_an_editor_takes_what_the_deployer_takes(document: dict[str, Any]) -> None:
    from_document(document, "a spec")
    jsonschema.validate(document, schema.document())


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_an_editor_refuses_what_the_deployer_refuses(changes: dict[str, Any]) -> None:
    result = document(**changes)
    with pytest.raises(SpecInvalid):
        from_document(result, "a spec")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(result, schema.document())
