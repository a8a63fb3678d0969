"""The templates by themselves: parameters that explain themselves, lint, and the service spec."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint import ConfigMixIn  # type: ignore[import-untyped]
from cfnlint.runner import Runner  # type: ignore[import-untyped]

from deployer.spec import from_document
from tests.template.conftest import ROOT, TEMPLATES, load


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_for_cfn_lint_to_find(path: Path) -> None:
    matches = list(Runner(ConfigMixIn([str(path)])).run())
    assert [str(match) for match in matches] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_parameter_explains_itself(path: Path) -> None:
    for name, parameter in load(path)["Parameters"].items():
        assert parameter.get("Description"), name
        if "AllowedPattern" in parameter:
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


# the service spec of infrastructure/service.yaml

GIVEN: dict[str, Any] = {
    "ServiceName": "coder",
    "VpcId": "vpc-0123456789abcdef0",
    "SubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    # what CloudFormation gives for resources
    "Cluster": "coder",
    "Repository": "coder",
    "Logs": "/ecs/coder",
    "ExecutionRole.Arn": "arn:aws:iam::123456789012:role/coder-ExecutionRole-1",
    "TaskRole.Arn": "arn:aws:iam::123456789012:role/coder-TaskRole-1",
    "SecurityGroup.GroupId": "sg-0123456789abcdef0",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
}


class Rendering:
    """What CloudFormation makes of the intrinsic functions that the spec uses."""

    def __init__(self, template: dict[str, Any], **parameters: Any) -> None:
        defaults = {
            name: parameter["Default"]
            for name, parameter in template["Parameters"].items()
            if "Default" in parameter
        }
        self._values = defaults | GIVEN | parameters
        self._conditions = template.get("Conditions", {})

    def of(self, node: Any) -> Any:
        if not isinstance(node, dict) or len(node) != 1:
            return node
        ((function, argument),) = node.items()
        match function:
            case "Ref":
                return self._values[argument]
            case "Fn::GetAtt":
                return self._values[".".join(argument)]
            case "Fn::Join":
                return argument[0].join(self.of(argument[1]))
            case "Fn::Sub":
                text, names = argument if isinstance(argument, list) else (argument, {})
                values = self._values | {name: self.of(value) for name, value in names.items()}
                return re.sub(r"\$\{([\w.:]+)\}", lambda name: str(values[name[1]]), text)
            case "Fn::If":
                condition, yes, no = argument
                return self.of(yes if self.of(self._conditions[condition]) else no)
            case "Fn::Equals":
                return self.of(argument[0]) == self.of(argument[1])
            case "Fn::Not":
                return not self.of(argument[0])
            case _:
                raise AssertionError(f"the spec uses {function}")


def rendered(**parameters: Any) -> dict[str, Any]:
    template = load(ROOT / "infrastructure" / "service.yaml")
    text = Rendering(template, **parameters).of(
        template["Resources"]["Spec"]["Properties"]["Value"]
    )
    return dict(json.loads(text))


def test_the_spec_that_the_service_stack_makes_is_one_that_the_deployer_takes() -> None:
    spec = from_document(rendered(), "service.yaml")
    assert spec.service == spec.cluster == spec.repository == "coder"
    assert spec.network.subnets == tuple(GIVEN["SubnetIds"])
    assert spec.network.public_ip
    assert spec.verify


@pytest.mark.parametrize(
    ("tag", "deploys"), [("2.1.0", True), ("v2.0.0-devel-abc", True), ("latest", False)]
)
def test_the_tags_that_deploy_by_default_are_versions(tag: str, deploys: bool) -> None:
    assert from_document(rendered(), "service.yaml").deploys(tag) == deploys


def test_what_the_stacks_parameters_say_reaches_the_spec() -> None:
    spec = from_document(
        rendered(
            Environment='{"LOG_LEVEL": "info"}',
            Secrets='{"DB": "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"}',
            HealthCheck='{"command": ["CMD", "true"]}',
            Verify="null",
            Strategy="recreate",
            Cpu=2048,
            Memory=4096,
            DesiredCount=2,
            TimeoutSeconds=900,
            ContainerPort=8080,
        ),
        "service.yaml",
    )
    assert spec.container.environment == {"LOG_LEVEL": "info"}
    assert spec.container.secrets.keys() == {"DB"}
    assert spec.container.health_check
    assert spec.verify is None
    assert (spec.strategy, spec.cpu, spec.memory) == ("recreate", 2048, 4096)
    assert (spec.desired_count, spec.timeout, spec.container.port) == (2, 900, 8080)
