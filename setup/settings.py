"""Validate the settings of an environment against the parameters of all templates.

Nothing here calls AWS, so that mistakes are found before anything is created.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cli.errors import WRONG, CommandFailed
from cli.nextstep import DEFAULT_ENVIRONMENT, DEFAULT_STACK

ORDER = (
    *("network", "database", "load-balancer", "service"),
    *("deployer", "monitoring", "notifications", "docs"),
)
"""The kinds of stacks in deployment order; later ones import from earlier ones.

The docs come last, because AWS may refuse a new account's first CloudFront distribution.
"""

OF_DEPLOYER = ("deployer", "notifications")
"""Those that are not named after one service, because they may serve several."""

REQUIRED_NAME = "ServiceName"  # the setting that all other names derive from
DEPLOYER_NAME = "DeployerStack"  # the setting that names the deployer's stack

# CloudFormation's own pattern for these types, and an example of each
# (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-supplied-parameter-types.html).
_AWS_TYPES = {
    "AWS::EC2::VPC::Id": ("vpc-[0-9a-f]{8,17}", "vpc-0123456789abcdef0"),
    "AWS::EC2::Subnet::Id": ("subnet-[0-9a-f]{8,17}", "subnet-0123456789abcdef0"),
    "AWS::EC2::SecurityGroup::Id": ("sg-[0-9a-f]{8,17}", "sg-0123456789abcdef0"),
    "AWS::Route53::HostedZone::Id": ("Z[A-Z0-9]{1,31}", "Z0123456789ABCDEFGHIJ"),
}


_NOTIFIED = ("GitHubRepositories", "GitHubSubject", "GitLabSubject")


class SettingsInvalid(CommandFailed):
    """The project's files or settings are invalid; `problems` lists each, by name."""

    def __init__(self, problems: Sequence[str]) -> None:
        advice = [f"- {problem}" for problem in problems]
        super().__init__(WRONG, "invalid settings; nothing was created", advice)
        self.problems = list(problems)


@dataclass(frozen=True)
class Parameter:
    """A parameter as a template declares it. `default` is None if it is required."""

    name: str
    type: str
    default: str | None
    description: str
    pattern: str | None
    values: tuple[str, ...]
    least: float | None
    most: float | None
    shortest: int | None
    longest: int | None
    constraint: str

    @property
    def example(self) -> str:
        """Return an allowed value, or "" if none is known."""
        if self.values:
            return self.values[0]
        if match := re.search(r"such as (.+?)(?: \(| or empty|, or |;|\.?$)", self.constraint):
            return match[1].rstrip(",")
        element = self.type.removeprefix("List<").removesuffix(">")
        if element in _AWS_TYPES:
            return _AWS_TYPES[element][1]
        if self.default:
            return self.default
        return f"{self.least:g}" if self.least is not None else ""

    def problem(self, value: str) -> str | None:
        """Return why a value is invalid, in one sentence with an example; None if it is valid.

        The rules are CloudFormation's
        (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html).
        They hold for each element of a list.
        """
        is_list = self.type == "CommaDelimitedList" or self.type.startswith("List<")
        elements = [part.strip() for part in value.split(",")] if is_list and value else [value]
        for element in elements:
            if reason := self._reason(element):
                value_text = f"`{element}`" if element else "the empty value"
                example = "" if "such as" in reason or not self.example else self.example
                message = f"{self.name}: {value_text} {reason}"
                return f"{message}; for example {example}" if example else message
        return None

    def _reason(self, value: str) -> str | None:
        if self.values and value not in self.values:
            return f"is not one of {', '.join(self.values)}"
        if self.type in ("Number", "List<Number>"):
            try:
                number = float(value)
            except ValueError:
                return "is not a number"
            if self.least is not None and number < self.least:
                return f"is below {self.least:g}, the least allowed"
            if self.most is not None and number > self.most:
                return f"is above {self.most:g}, the most allowed"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return self.constraint or f"does not match {self.pattern}"
        if self.shortest is not None and len(value) < self.shortest:
            return f"is shorter than {self.shortest} characters"
        if self.longest is not None and len(value) > self.longest:
            return f"is longer than {self.longest} characters"
        element = self.type.removeprefix("List<").removesuffix(">")
        if element in _AWS_TYPES and not re.fullmatch(_AWS_TYPES[element][0], value):
            return f"is no {element.removeprefix('AWS::').replace('::', ' ')}"
        return None


@dataclass(frozen=True)
class Stack:
    """A stack to deploy."""

    kind: str  # one of ORDER
    name: str
    template: Path
    built: bool  # whether it needs `sam build`
    parameters: Mapping[str, Parameter]
    content: Mapping[str, Any]  # of the template, with short forms expanded


class Project:
    """A checkout: its templates, and the settings of one environment.

    The deployer is template.yaml, each other stack infrastructure/<kind>.yaml.
    """

    def __init__(self, root: Path, environment: str = "default") -> None:
        """Open a checkout.

        Raises:
            SettingsInvalid: it is not a checkout.
        """
        self.root, self.environment = root, environment
        self._templates: dict[str, dict[str, Any]] = {}
        if not self._path("deployer").exists():
            raise SettingsInvalid(
                [f"there is no template.yaml in {root}: run this in the checkout"]
            )

    @property
    def file(self) -> Path:
        return self.root / "environments" / f"{self.environment}.yaml"

    def _path(self, kind: str) -> Path:
        if kind == "deployer":
            return self.root / "template.yaml"
        return self.root / "infrastructure" / f"{kind}.yaml"

    def _stack(self, kind: str, settings: Mapping[str, str]) -> Stack:
        path = self._path(kind)
        if kind not in self._templates:  # parsing is slow
            self._templates[kind] = load_template(path)
        template = self._templates[kind]
        name = f"{settings.get(REQUIRED_NAME, '')}-{kind}"
        if kind in OF_DEPLOYER:
            suffix = "" if self.environment == DEFAULT_ENVIRONMENT else f"-{self.environment}"
            name = settings.get(DEPLOYER_NAME) or f"{DEFAULT_STACK}{suffix}"
            name += "" if kind == "deployer" else f"-{kind}"
        return Stack(kind, name, path, kind == "deployer", parameters(template), template)

    def stacks(self, settings: Mapping[str, str]) -> list[Stack]:
        """Return all stacks with a template in the checkout, in order; see `needed`."""
        return [self._stack(kind, settings) for kind in ORDER if self._path(kind).exists()]

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Return the parameters of all templates, each as its first template declares it.

        A parameter that any template requires is required.
        """
        parameters_by_name: dict[str, Parameter] = {}
        for stack in self.stacks({}):
            for name, parameter in stack.parameters.items():
                existing = parameters_by_name.setdefault(name, parameter)
                if existing.default is not None and parameter.default is None:
                    parameters_by_name[name] = parameter
        return parameters_by_name


def load_template(path: Path) -> dict[str, Any]:
    """Return a template with its short forms expanded.

    Raises:
        SettingsInvalid: the file is missing, or not YAML.
    """
    try:
        return parse_template(path.read_text())
    except FileNotFoundError:
        raise SettingsInvalid([f"there is no template {path.name}"]) from None
    except YAMLError as error:
        raise SettingsInvalid([f"{path.name}: {_yaml_message(error)}"]) from None


def parse_template(content: str) -> dict[str, Any]:
    """Return a template's text as plain values."""
    return dict(_plain(YAML().load(content)))


def _plain(node: Any) -> Any:
    """Return a loaded node as plain values: `!Equals [a, b]` as {"Fn::Equals": ["a", "b"]}."""
    tag = str(getattr(getattr(node, "tag", None), "value", None) or "")
    if isinstance(node, dict):
        value: Any = {str(key): _plain(entry) for key, entry in node.items()}
    elif isinstance(node, list):
        value = [_plain(entry) for entry in node]
    else:
        value = getattr(node, "value", node) if tag else node
    if not tag.startswith("!"):
        return value
    name = tag.removeprefix("!")
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


def parameters(template: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the parameters of a template, by name."""

    def declared(name: str, node: Mapping[str, Any]) -> Parameter:
        def number(key: str) -> float | None:
            return float(node[key]) if key in node else None

        def whole(key: str) -> int | None:
            return int(node[key]) if key in node else None

        return Parameter(
            name,
            str(node["Type"]),
            text(node["Default"]) if "Default" in node else None,
            " ".join(str(node.get("Description", "")).split()),
            str(node["AllowedPattern"]) if "AllowedPattern" in node else None,
            tuple(text(value) for value in node.get("AllowedValues", ())),
            number("MinValue"),
            number("MaxValue"),
            whole("MinLength"),
            whole("MaxLength"),
            " ".join(str(node.get("ConstraintDescription", "")).split()),
        )

    return {name: declared(name, node) for name, node in template.get("Parameters", {}).items()}


def text(value: Any) -> str:
    """Return a value of a settings file as CloudFormation expects it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(text(entry) for entry in value)
    return "" if value is None else str(value)


def load(file: Path) -> dict[str, str]:
    """Return the settings in a file, as strings.

    Raises:
        FileNotFoundError: the file is missing.
        SettingsInvalid: it does not contain `Name: value` lines.
    """
    try:
        document = YAML().load(file)
    except YAMLError as error:
        raise SettingsInvalid([f"{file.name}: {_yaml_message(error)}"]) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsInvalid(
            [f"{file.name}: must hold `Name: value` lines, such as ServiceName: shop"]
        )
    nested = [str(name) for name, value in document.items() if isinstance(value, dict)]
    if nested:
        raise SettingsInvalid(
            [
                f"{name}: must be one value, not a mapping; JSON goes into single quotes, such as "
                """'{"LOG_LEVEL": "info"}'"""
                for name in nested
            ]
        )
    return {str(name): text(value) for name, value in document.items()}


def _yaml_message(error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"line {mark.line + 1}: {problem}" if mark else problem


def effective(settings: Mapping[str, str], parameters: Mapping[str, Parameter]) -> dict[str, str]:
    """Return the settings, completed with the templates' defaults."""
    defaults = {name: p.default for name, p in parameters.items() if p.default is not None}
    return defaults | dict(settings)


def needed(stacks: Sequence[Stack], values: Mapping[str, str]) -> list[Stack]:
    """Return the stacks that these settings need; the team's own resources replace the others.

    Args:
        values: effective settings.
    """
    left_out = set()
    if values.get("DatabaseUrlSecretArn") or values.get("Database") in ("existing", "none"):
        left_out.add("database")
    if values.get("TargetGroupArn") or values.get("Exposure") in ("public-ip", "none"):
        left_out.add("load-balancer")
    if values.get("DocsUrl"):
        left_out.add("docs")
    wanted = (values.get(name) == "true" for name in ("Slack", "Webhook"))
    if not any(wanted) and not any(values.get(name) for name in _NOTIFIED):
        left_out.add("notifications")
    return [stack for stack in stacks if stack.kind not in left_out]


def with_deployer(settings: Mapping[str, str], stacks: Sequence[Stack]) -> dict[str, str]:
    """Return the settings with the name of the deployer's stack, if a template needs it."""
    deployer = next((stack.name for stack in stacks if stack.kind == "deployer"), None)
    if deployer is None or not any(DEPLOYER_NAME in stack.parameters for stack in stacks):
        return dict(settings)
    return {**settings, DEPLOYER_NAME: deployer}


def problems(
    settings: Mapping[str, str], stacks: Sequence[Stack], file: Path, region: str
) -> list[str]:
    """Return all problems of the settings, each by name with an example of a valid value.

    Args:
        stacks: all stacks of the project, needed or not: each setting must be a parameter of one.
        region: the stacks' Region.
    """
    declared: dict[str, Parameter] = {}
    for stack in stacks:
        declared |= {name: p for name, p in stack.parameters.items() if name not in declared}
    messages = []
    for name in settings:
        if name not in declared and name != DEPLOYER_NAME:
            close = difflib.get_close_matches(name, declared, 1, 0.6)
            hint = f"; did you mean {close[0]}?" if close else ""
            messages.append(f"{name}: no template has this parameter ({file.name}){hint}")
    seen = set(messages)
    values = {**effective(settings, declared), "AWS::Region": region}
    for stack in needed(stacks, values):
        for name, parameter in stack.parameters.items():
            if name in settings:
                problem = parameter.problem(settings[name])
                problem = problem or misplaced(parameter, settings[name], region)
            elif parameter.default is None:
                problem = _missing(parameter, file)
            else:
                problem = None
            if problem and problem not in seen:
                seen.add(problem)
                messages.append(problem)
        if all(name in values for name in stack.parameters):
            broken = [
                p for p in broken_rules(stack.content.get("Rules", {}), values) if p not in seen
            ]
            seen.update(broken)
            messages += broken
    return messages


_ARN = re.compile(r"\barn:(aws[a-z-]*):([a-z0-9-]+):([a-z0-9-]*):([0-9]{12}|aws)?:[^\s,\"]+")
_IMAGE = re.compile(r"[0-9]{12}[.]dkr[.]ecr[.]([a-z0-9-]+)[.]amazonaws[.]com")
# Parameter Store reserves these:
# https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
_RESERVED = re.compile(r"/(aws|ssm)", re.IGNORECASE)


def misplaced(parameter: Parameter, value: str, region: str) -> str | None:
    """Return why a well-formed value cannot be used in this Region; None if it can.

    ECS accepts another Region's ARN only for a secret in Parameter Store
    (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html).
    """
    partition = partition_of(region)
    example = parameter.example.replace("arn:aws:", f"arn:{partition}:")
    if parameter.name != "DocsCertificateArn":  # CloudFront's are in us-east-1
        example = example.replace("us-east-1", region)
    for arn, its_partition, service, its_region, _ in (
        (match[0], *match.groups()) for match in _ARN.finditer(value)
    ):
        if its_partition != partition:
            mismatch = f"is of the partition {its_partition}, and {region} of {partition}"
            return f"{parameter.name}: `{arn}` {mismatch}; for example {example}"
        other_region = its_region not in ("", region) and service != "ssm"
        if other_region and parameter.name != "DocsCertificateArn":
            mismatch = f"is in {its_region}, and the stacks in {region}"
            return f"{parameter.name}: `{arn}` {mismatch}; for example {example}"
    for match in _IMAGE.finditer(value):
        if (its_partition := partition_of(match[1])) != partition:
            mismatch = f"is of the partition {its_partition}, and {region} of {partition}"
            return f"{parameter.name}: `{value}` {mismatch}; for example {example}"
    if parameter.name in ("SpecPath", "SitePath") and _RESERVED.match(value):
        mismatch = "begins with a name that Parameter Store reserves"
        return f"{parameter.name}: `{value}` {mismatch}; for example {parameter.example}"
    return None


def partition_of(region: str) -> str:
    """Return the partition of a Region, even of one that botocore does not know yet."""
    begins = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}
    return next((p for begin, p in begins.items() if region.startswith(begin)), "aws")


def _missing(parameter: Parameter, file: Path) -> str:
    example = f", such as `{parameter.name}: {parameter.example}`" if parameter.example else ""
    return f"{parameter.name}: is missing in {file.name}{example}. {parameter.description}"


def missing(settings: Mapping[str, str], stacks: Sequence[Stack]) -> list[Parameter]:
    """Return the required parameters that the settings lack."""
    absent: dict[str, Parameter] = {}
    for stack in stacks:
        for name, parameter in stack.parameters.items():
            if parameter.default is None and not settings.get(name):
                absent.setdefault(name, parameter)
    return list(absent.values())


# Rules, conditions and names in a template --------------------------------------------------------


_NONE: Mapping[str, Any] = MappingProxyType({})


class _Unknown(Exception):
    """The value depends on data that only CloudFormation has."""


def broken_rules(rules: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[str]:
    """Yield the AssertDescription of each Rule of a template that these values violate.

    A rule that queries the account (such as Fn::ValueOf) is left to CloudFormation
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html).
    """
    for rule in rules.values():
        try:
            if "RuleCondition" in rule and not _holds(rule["RuleCondition"], values):
                continue
            for assertion in rule["Assertions"]:
                if not _holds(assertion["Assert"], values):
                    yield " ".join(str(assertion.get("AssertDescription", assertion)).split())
        except _Unknown:
            continue


@dataclass(frozen=True)
class Named:
    """A resource whose name the template sets: it cannot be created if that name is taken."""

    logical: str
    type: str
    name: str


_NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::ECS::Cluster": "ClusterName",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::RDS::DBInstance": "DBInstanceIdentifier",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::SSM::Parameter": "Name",
}


def named(stack: Stack, values: Mapping[str, str]) -> list[Named]:
    """Return the resources that a stack names itself, as far as the settings determine the names.

    Args:
        values: effective settings, with pseudo parameters such as AWS::AccountId.
    """
    conditions, resources = stack.content.get("Conditions", {}), []
    for logical, resource in stack.content.get("Resources", {}).items():
        name = resource.get("Properties", {}).get(_NAMES.get(resource.get("Type", ""), ""))
        try:
            condition = resource.get("Condition")
            if name and (not condition or _holds({"Condition": condition}, values, conditions)):
                resources.append(Named(logical, resource["Type"], _of(name, values)))
        except _Unknown:
            continue
    return resources


def _holds(node: Any, values: Mapping[str, str], conditions: Mapping[str, Any] = _NONE) -> bool:
    ((function, operands),) = node.items()
    match function:
        case "Condition":
            return _holds(conditions[operands], values, conditions)
        case "Fn::And":
            return all(_holds(entry, values, conditions) for entry in operands)
        case "Fn::Or":
            return any(_holds(entry, values, conditions) for entry in operands)
        case "Fn::Not":
            return not _holds(operands[0], values, conditions)
        case "Fn::Equals":
            return _of(operands[0], values) == _of(operands[1], values)
        case "Fn::Contains":
            return _of(operands[1], values) in [_of(entry, values) for entry in operands[0]]
        case "Fn::EachMemberIn":
            allowed = [_of(entry, values) for entry in operands[1]]
            return all(member in allowed for member in _of(operands[0], values).split(","))
        case "Fn::EachMemberEquals":
            expected = _of(operands[1], values)
            return all(member == expected for member in _of(operands[0], values).split(","))
        case _:
            raise _Unknown(function)


def _of(node: Any, values: Mapping[str, str]) -> str:
    match node:
        case {"Ref": name} if name in values:
            return values[name]
        case {"Fn::Sub": str(template)}:
            names = re.findall(r"\$\{([^!}][^}]*)\}", template)
            if any(name not in values for name in names):
                raise _Unknown(template)
            return re.sub(r"\$\{([^!}][^}]*)\}", lambda match: values[match[1]], template)
        case dict():
            raise _Unknown(node)
        case list():
            return ",".join(_of(entry, values) for entry in node)
    return text(node)


# Writing the file --------------------------------------------------------------------------------


def save(file: Path, values: Mapping[str, str]) -> None:
    """Write settings into the file, and keep its other content, comments included."""
    yaml = YAML()
    yaml.width = 10_000  # JSON stays on its line
    yaml.preserve_quotes = True
    document = yaml.load(file) if file.exists() else None
    document = {} if document is None else document
    document.update(values)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("w") as stream:
        yaml.dump(document, stream)
    partial.replace(file)  # atomic: never half a file


def overrides(settings: Mapping[str, str], stack: Stack) -> dict[str, str]:
    """Return the parameters of a stack for `sam deploy`, as the content of a JSON file.

    `sam` unescapes quotes in the values twice, even in a file, so quotes are escaped once more.
    """
    return {
        name: value.replace('"', '\\\\"')
        for name, value in settings.items()
        if name in stack.parameters
    }
