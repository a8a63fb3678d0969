"""Settings against templates: what is said of each mistake, and how the file is written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo import ROOT
from setup import settings
from setup.settings import Parameter, Project, SettingsInvalid, parameters
from tests.cli.setup.conftest import Checkout

VPC = "(vpc-([0-9a-f]{8}|[0-9a-f]{17}))?"


def parameter(**declared: Any) -> Parameter:
    return parameters({"Parameters": {"Name": {"Type": "String", **declared}}})["Name"]


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        (
            {
                "AllowedPattern": "[a-z]+",
                "ConstraintDescription": "must be lower-case, such as coder",
            },
            "Coder",
            "Name: `Coder` must be lower-case, such as coder",
        ),
        (
            {"AllowedPattern": VPC, "Default": ""},
            "vpc-1",
            f"Name: `vpc-1` does not match {VPC}",
        ),
        (
            {"AllowedValues": ["rolling", "recreate"]},
            "blue",
            "Name: `blue` is not one of rolling, recreate; for example rolling",
        ),
        (
            {"Type": "Number", "MinValue": 1, "MaxValue": 65535},
            "0",
            "Name: `0` is below 1, the least allowed; for example 1",
        ),
        (
            {"Type": "Number", "MinValue": 1, "MaxValue": 65535, "Default": 3000},
            "70000",
            "Name: `70000` is above 65535, the most allowed; for example 3000",
        ),
        ({"Type": "Number", "Default": 3}, "three", "Name: `three` is not a number; for example 3"),
        (
            {"MaxLength": 3, "Default": "abc"},
            "abcd",
            "Name: `abcd` is longer than 3 characters; for example abc",
        ),
        (
            {"MinLength": 2, "Default": "abc"},
            "",
            "Name: the empty value is shorter than 2 characters; for example abc",
        ),
        (
            {"Type": "AWS::EC2::VPC::Id"},
            "vpc_1",
            "Name: `vpc_1` is no EC2 VPC Id; for example vpc-0123456789abcdef0",
        ),
        (
            {"Type": "List<AWS::EC2::Subnet::Id>"},
            "subnet-0123456789abcdef0, subnet",
            "Name: `subnet` is no EC2 Subnet Id; for example subnet-0123456789abcdef0",
        ),
        (
            {"Type": "CommaDelimitedList", "AllowedPattern": "arn:.+"},
            "arn:a,b",
            "Name: `b` does not match arn:.+",
        ),
    ],
)
def test_a_bad_value_is_told_with_a_good_one(
    declared: dict[str, Any], value: str, message: str
) -> None:
    assert parameter(**declared).problem(value) == message


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ({"AllowedPattern": VPC}, ""),
        ({"AllowedPattern": VPC}, "vpc-0123456789abcdef0"),
        ({"Type": "Number", "AllowedValues": [1, 3, 5]}, "3"),
        ({"Type": "CommaDelimitedList", "AllowedPattern": "a*"}, "a, aa"),
        ({"Type": "CommaDelimitedList"}, ""),
    ],
)
def test_a_good_value_is_no_problem(declared: dict[str, Any], value: str) -> None:
    assert parameter(**declared).problem(value) is None


def problems(project: Checkout, **given: str) -> list[str]:
    project.write(**given)
    result = Project(project.root)
    loaded = settings.load(result.file)
    return settings.problems(loaded, result.stacks(given), result.file, "us-east-1")


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:coder/url-AbCdEf"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/1"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nix:1"


@pytest.mark.parametrize(
    ("name", "value", "region", "message"),
    [
        ("CertificateArn", CERTIFICATE, "us-east-1", None),
        ("CertificateArn", CERTIFICATE, "eu-west-1", "is in us-east-1, and the stacks in eu-west"),
        ("DocsCertificateArn", CERTIFICATE, "eu-west-1", None),
        ("DocsCertificateArn", CERTIFICATE, "us-gov-west-1", "of the partition aws, and us-gov"),
        (
            "DatabaseUrlSecretArn",
            SECRET.replace("aws:", "aws-cn:", 1).replace("us-east-1", "cn-north-1"),
            "us-east-1",
            "of the partition aws-cn, and us-east-1 of aws",
        ),
        ("Secrets", f'{{"A": "{SECRET}"}}', "us-east-1", None),
        (
            "Secrets",
            f'{{"A": "{SECRET}", "B": "{SECRET.replace("aws:", "aws-us-gov:", 1)}"}}',
            "us-east-1",
            "of the partition aws-us-gov",
        ),
        ("Secrets", '{"A": "arn:aws:ssm:eu-west-1:123456789012:parameter/a"}', "us-east-1", None),
        ("TaskPolicyArns", "arn:aws:iam::aws:policy/ReadOnlyAccess", "eu-west-1", None),
        ("TaskPolicyArns", "arn:aws:iam::aws:policy/x", "cn-north-1", "of the partition aws,"),
        ("TaskPolicyArns", "arn:aws-us-gov:iam::123456789012:policy/x", "eu-west-1", "aws-us-gov"),
        ("BuildImage", IMAGE, "eu-west-1", None),
        ("BuildImage", IMAGE, "cn-north-1", "of the partition aws,"),
        ("SpecPath", "/deployer/services", "us-east-1", None),
        ("SpecPath", "/aws/services", "us-east-1", "Parameter Store reserves"),
        ("SitePath", "/SSM/docs", "us-east-1", "Parameter Store reserves"),
    ],
)
def test_what_is_of_another_place_is_refused_with_one_of_this(
    name: str, value: str, region: str, message: str | None
) -> None:
    known = replace(
        parameter(ConstraintDescription=f"must be one, such as {SECRET}, or empty"), name=name
    )
    problem = settings.misplaced(known, value, region)
    if message is None:
        assert problem is None
        return
    assert problem and problem.startswith(f"{name}: `") and message in problem
    example = problem.partition("; for example ")[2]
    assert settings.misplaced(known, example, region) is None


def test_all_mistakes_are_told_at_once(project: Checkout) -> None:
    assert problems(project, ServiceNam="coder", WaitSeconds="61") == [
        "ServiceNam: no template has this parameter (default.yaml); did you mean ServiceName?",
        "ServiceName: is missing in default.yaml, such as `ServiceName: coder`."
        " The service's name.",
        "WaitSeconds: `61` is above 60, the most allowed; for example 0",
    ]
    assert problems(project, ServiceName="coder") == []


RULES = {
    "CertificateNeedsDomain": {
        "RuleCondition": {"Fn::Equals": [{"Ref": "DomainName"}, ""]},
        "Assertions": [
            {
                "Assert": {"Fn::Equals": [{"Ref": "CertificateArn"}, ""]},
                "AssertDescription": "CertificateArn needs DomainName, such as coder.example.com",
            }
        ],
    },
    "MemoryFitsCpu": {
        "Assertions": [
            {
                "Assert": {
                    "Fn::Or": [
                        {"Fn::Not": [{"Fn::Equals": [{"Ref": "Cpu"}, "256"]}]},
                        {"Fn::Contains": [["512", "1024"], {"Ref": "Memory"}]},
                    ]
                },
                "AssertDescription": "Memory must be 512 or 1024 with Cpu 256",
            }
        ]
    },
    "AsksTheAccount": {
        "Assertions": [{"Assert": {"Fn::EachMemberIn": [{"Fn::ValueOfAll": ["x", "y"]}, ["a"]]}}]
    },
}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"DomainName": "", "CertificateArn": "arn", "Cpu": "512", "Memory": "9"}, ["Certif"]),
        ({"DomainName": "", "CertificateArn": "", "Cpu": "256", "Memory": "9"}, ["Memory"]),
        ({"DomainName": "a.b", "CertificateArn": "arn", "Cpu": "256", "Memory": "512"}, []),
    ],
)
def test_contradictions_are_what_the_templates_rules_say(
    values: dict[str, str], message: list[str]
) -> None:
    assert [text[:6] for text in settings.broken_rules(RULES, values)] == message


@pytest.mark.parametrize(
    ("values", "left_out"),
    [
        ({}, set()),
        ({"Database": "none"}, {"database"}),
        ({"DatabaseUrlSecretArn": "arn"}, {"database"}),
        ({"Exposure": "public-ip"}, {"load-balancer"}),
        ({"Exposure": "none"}, {"load-balancer"}),
        ({"DocsUrl": "none"}, {"docs"}),
        ({"TargetGroupArn": "arn"}, {"load-balancer"}),
        ({"DocsUrl": "https://docs.example.com"}, {"docs"}),
        ({"Slack": "false"}, {"notifications"}),
    ],
)
def test_which_stacks_are_needed_follows_from_the_settings(
    values: dict[str, str], left_out: set[str]
) -> None:
    template = Path("template.yaml")
    stacks = [
        settings.Stack(kind, f"coder-{kind}", template, False, {}, {}) for kind in settings.ORDER
    ]
    needed = [stack.kind for stack in settings.needed(stacks, {"Slack": "true"} | values)]
    assert needed == [kind for kind in settings.ORDER if kind not in left_out]


@pytest.mark.parametrize(
    "values",
    [
        {"Slack": "true"},
        {"Webhook": "true"},
        {"GitHubRepositories": "team/shop"},
        {"GitHubSubject": "repo:team/shop:environment:production"},
        {"GitLabSubject": "project_path:team/shop:ref_type:branch:ref:main"},
    ],
)
def test_each_who_is_notified_needs_the_stack(values: dict[str, str]) -> None:
    stack = settings.Stack("notifications", "", Path("template.yaml"), False, {}, {})
    assert settings.needed([stack], values) == [stack]


def test_the_deployers_notifications_are_named_after_it() -> None:
    for environment, name in (("default", "deployer"), ("production", "deployer-production")):
        stacks = settings.Project(ROOT, environment).stacks({"ServiceName": "shop"})
        names = {stack.kind: stack.name for stack in stacks}
        assert names["notifications"] == f"{name}-notifications"


def test_names_that_the_templates_give_are_told_from_the_settings() -> None:
    content = settings.parse_template("""
Conditions:
  Makes: !Equals [!Ref ClusterName, ""]
Resources:
  Cluster: { Type: "AWS::ECS::Cluster", Condition: Makes, Properties: { ClusterName: !Ref Name } }
  Role: { Type: "AWS::IAM::Role", Properties: { RoleName: !Sub "${Name}-task" } }
  Other: { Type: "AWS::IAM::Role", Properties: { RoleName: !Sub "${Cluster}-x" } }
  Unnamed: { Type: "AWS::S3::Bucket" }
""")
    stack = settings.Stack("service", "s", Path("t"), False, {}, content)
    result = settings.named(stack, {"Name": "coder", "ClusterName": ""})
    assert [(one.logical, one.name) for one in result] == [
        ("Cluster", "coder"),
        ("Role", "coder-task"),
    ]
    given = settings.named(stack, {"Name": "coder", "ClusterName": "ours"})
    assert [one.logical for one in given] == ["Role"]


def test_stacks_are_named_after_the_service_and_the_deployer_after_the_environment(
    project: Checkout,
) -> None:
    def names(environment: str, **settings: str) -> list[tuple[str, str, str, bool]]:
        stacks = Project(project.root, environment).stacks({"ServiceName": "coder", **settings})
        root = project.root
        return [(s.kind, s.name, str(s.template.relative_to(root)), s.built) for s in stacks]

    assert names("default") == [
        ("network", "coder-network", "infrastructure/network.yaml", False),
        ("service", "coder-service", "infrastructure/service.yaml", False),
        ("deployer", "deployer", "template.yaml", True),
    ]
    assert names("production")[-1][1] == "deployer-production"
    assert names("production", DeployerStack="ours")[-1][1] == "ours"


def test_writing_keeps_the_comments_and_what_is_not_asked(tmp_path: Path) -> None:
    file = tmp_path / "environments" / "default.yaml"
    settings.save(file, {"ServiceName": "coder"})
    assert file.read_text() == "ServiceName: coder\n"
    spec = '{"LOG_LEVEL": "info"}'
    file.write_text(f"# All of it\nServiceName: api # ours\nEnvironment: '{spec}'\n# The end\n")
    settings.save(file, {"ServiceName": "web", "DomainName": "a.example.com"})
    assert file.read_text() == (
        f"# All of it\nServiceName: web # ours\nEnvironment: '{spec}'\n# The end\n"
        "DomainName: a.example.com\n"
    )
    assert settings.load(file)["Environment"] == spec


def test_values_are_read_as_cloudformation_takes_them(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("A: true\nB: [a, b]\nC: 3\nD:\nE: yes\n")
    assert settings.load(file) == {"A": "true", "B": "a,b", "C": "3", "D": "", "E": "yes"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "s.yaml: must hold `Name: value` lines, such as ServiceName: shop"),
        ("A: {b: c}\n", "A: must be one value, not a mapping; JSON goes into single quotes"),
        ("A: 'b\n", "s.yaml: line 2: found unexpected end of stream"),
        ("A: b\nA: c\n", 's.yaml: line 2: found duplicate key "A"'),
    ],
)
def test_a_broken_file_is_told_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(content)
    with pytest.raises(SettingsInvalid) as refused:
        settings.load(file)
    assert refused.value.problems[0].startswith(message)


def test_a_directory_without_the_template_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        Project(tmp_path)
    assert refused.value.problems == [
        f"there is no template.yaml in {tmp_path}: run this in the checkout"
    ]


def test_a_broken_template_is_told_by_its_line(project: Checkout) -> None:
    (project.root / "infrastructure" / "network.yaml").write_text("Parameters: [")
    with pytest.raises(SettingsInvalid) as refused:
        Project(project.root).stacks({})
    assert refused.value.problems[0].startswith("network.yaml: line ")


def test_what_sam_unescapes_is_escaped_for_it() -> None:
    declared = parameters({"Parameters": {"Check": {"Type": "String"}}})
    stack = settings.Stack("service", "s", Path("t"), False, declared, {})
    value = json.dumps({"command": 'say "hello"'})
    given = settings.overrides({"Check": value, "Other": "x"}, stack)
    assert given == {"Check": value.replace('"', '\\\\"')}
