"""The templates by themselves: parameters and outputs that explain themselves."""

import json
import re
from pathlib import Path

import pytest
from cfnlint import ConfigMixIn  # type: ignore[import-untyped]
from cfnlint.runner import Runner  # type: ignore[import-untyped]
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.template.conftest import TEMPLATES, load

KINDS = {resource["Type"] for path in TEMPLATES for resource in load(path)["Resources"].values()}


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if "Serverless" not in kind))
def test_a_property_that_cloudformation_lacks_would_be_found(kind: str) -> None:
    """cfn-lint has a schema of every type used, and each refuses what it does not name."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    assert schema["additionalProperties"] is False
    assert schema["properties"]


def test_cfn_lint_finds_a_wrong_property(tmp_path: Path) -> None:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"MessageRetention": 60}}
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "Handler": "a.handler",
            "Runtime": "python3.13",
            "InlineCode": "1",
            "Tracings": "Active",
        },
    }
    for number, resource in enumerate((queue, function)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(
            json.dumps(
                {
                    "AWSTemplateFormatVersion": "2010-09-09",
                    "Transform": "AWS::Serverless-2016-10-31",
                    "Resources": {"Wrong": resource},
                }
            )
        )
        matches = [str(match) for match in Runner(ConfigMixIn([str(path)])).run()]
        assert any(name in match for match in matches for name in ("MessageRetention", "Tracings"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_needs_no_transform_but_sams(path: Path) -> None:
    """AWS::LanguageExtensions refuses DeletionPolicy RetainExceptOnCreate, and policies' Condition.

    https://github.com/aws-cloudformation/cfn-language-discussion/issues/139
    """
    template = load(path)
    assert template.get("Transform") in (None, "AWS::Serverless-2016-10-31")
    assert "Fn::Transform" not in path.read_text()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_parameter_explains_itself(path: Path) -> None:
    for name, parameter in load(path)["Parameters"].items():
        assert parameter.get("Description"), name
        assert parameter.get("ConstraintDescription"), name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_default_keeps_its_own_rule(path: Path) -> None:
    for name, parameter in load(path)["Parameters"].items():
        default = parameter.get("Default")
        if default in (None, ""):
            continue
        if "AllowedPattern" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], str(default)), name
        if "AllowedValues" in parameter:
            assert default in parameter["AllowedValues"], name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_output_explains_itself(path: Path) -> None:
    for name, output in load(path)["Outputs"].items():
        assert output.get("Description"), name
