"""Nothing in the templates or state machines holds in one partition only, or it is left out there.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.template.cloudformation import Stack
from tests.template.conftest import MACHINES, TEMPLATES, load
from tests.template.test_parameters import NAMES, STACKS, template

PARTITIONS = ("aws-us-gov", "aws-cn")
# What only people read.
TOLD = {"Description", "ConstraintDescription", "AssertDescription", "Metadata", "Comment"}


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in TOLD:
                yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


@pytest.mark.parametrize("path", [*TEMPLATES, *MACHINES], ids=lambda path: path.name)
def test_an_arn_is_of_the_partition_of_its_stack(path: Path) -> None:
    document = json.loads(path.read_text()) if path.suffix == ".json" else load(path)
    parameters = document.pop("Parameters", {})
    patterns = [p["AllowedPattern"] for p in parameters.values() if "AllowedPattern" in p]
    match = [
        text for text in texts(document) if re.search(r"arn:(?!\$\{(AWS::)?Partition\})", text)
    ]
    assert match == []
    for pattern in patterns:
        # CloudFront takes certificates of us-east-1 alone, which is in one partition
        assert "arn:aws:" not in pattern or "acm:us-east-1:" in pattern


@pytest.mark.parametrize("partition", PARTITIONS)
def test_a_parameter_that_takes_an_arn_takes_those_of_every_partition(partition: str) -> None:
    checked = set()
    for stack in STACKS:
        for name, parameter in template(stack)["Parameters"].items():
            example = re.search(r"arn:aws:\S+?(?=[,\s\"}]|$)", parameter["ConstraintDescription"])
            if name == "DocsCertificateArn" or not example or not name.endswith(("Arn", "Arns")):
                continue
            elsewhere = example[0].replace("arn:aws:", f"arn:{partition}:")
            assert re.fullmatch(parameter["AllowedPattern"], elsewhere), name
            checked.add(name)
    assert {"CertificateArn", "SecretArns", "KmsKeyArn", "SourceConnectionArn"} <= checked


@pytest.mark.parametrize("partition", PARTITIONS)
def test_without_cloudfronts_key_value_stores_the_deployer_publishes_no_docs(
    partition: str,
) -> None:
    here, there = (
        {name for name, part in stack.template["Resources"].items() if stack.makes(part)}
        for stack in (
            Stack("deployer", NAMES),
            Stack("deployer", NAMES, place=("us-gov-west-1", partition)),
        )
    )
    assert {"Docs", "DocsRole", "PublishDocs", "DocsUploadRule", "DocsBuild"} <= here - there
    assert {"Deploy", "Build", "ImageBuild", "UndeliveredPushes", "Reconcile"} <= there
    resources = template("deployer")["Resources"]
    for name in there:
        assert "cloudfront" not in json.dumps(resources[name]).lower(), name


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_left_out_is_referred_to_only_by_what_is_left_out_too(stack: str) -> None:
    """cfn-lint sees this within Fn::If, and not in what a transform makes of a template."""
    resources = template(stack)["Resources"]
    under = {name: part["Condition"] for name, part in resources.items() if "Condition" in part}
    for name, part in resources.items():
        for referred, conditions in references(part, ()):
            condition = under.get(referred)
            if condition == "HasDocs":
                assert condition in (part.get("Condition"), *conditions), (name, referred)


def references(node: Any, conditions: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a value refers to, each with the conditions under which it does."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref":
                yield value, conditions
            elif key == "Fn::GetAtt":
                yield (value if isinstance(value, str) else value[0]).partition(".")[0], conditions
            elif key == "Fn::If":
                yield from references(value[1], (*conditions, value[0]))
                yield from references(value[2], conditions)
            else:
                yield from references(value, conditions)
    elif isinstance(node, list):
        for value in node:
            yield from references(value, conditions)
