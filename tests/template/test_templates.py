"""The templates by themselves: lint, and parameters and outputs that explain themselves."""

import re
from pathlib import Path

import pytest
from cfnlint import ConfigMixIn  # type: ignore[import-untyped]
from cfnlint.runner import Runner  # type: ignore[import-untyped]

from tests.template.conftest import TEMPLATES, load


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_for_cfn_lint_to_find(path: Path) -> None:
    matches = list(Runner(ConfigMixIn([str(path)])).run())
    assert [str(match) for match in matches] == []


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
