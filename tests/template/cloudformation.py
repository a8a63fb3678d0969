"""What CloudFormation makes of a template and its parameters, before it makes anything: by the
engine of the local AWS, without a server.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import engine

from tests.template.conftest import ROOT

ACCOUNT, REGION = "000000000000", "us-east-1"


class Refused(ValueError):
    """A parameter or a rule refuses the values; the message is CloudFormation's."""


_HERE = f"{REGION}:{ACCOUNT}"
# The Service Authorization Reference's formats; a log group's Arn ends with ":*" in CloudFormation.
_ARNS = {
    "AWS::CloudFront::KeyValueStore": f"arn:aws:cloudfront::{ACCOUNT}:key-value-store/{{}}",
    "AWS::CodeBuild::Project": f"arn:aws:codebuild:{_HERE}:project/{{}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{_HERE}:table/{{}}",
    "AWS::Events::ApiDestination": f"arn:aws:events:{_HERE}:api-destination/{{}}/0123",
    "AWS::Events::Connection": f"arn:aws:events:{_HERE}:connection/{{}}/0123",
    "AWS::Events::Rule": f"arn:aws:events:{_HERE}:rule/{{}}",
    "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/{{}}",
    "AWS::IAM::OIDCProvider": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{_HERE}:log-group:{{}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::Serverless::Function": f"arn:aws:lambda:{_HERE}:function:{{}}",
    "AWS::Serverless::StateMachine": f"arn:aws:states:{_HERE}:stateMachine:{{}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{_HERE}:stateMachine:{{}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{_HERE}:{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{_HERE}:{{}}",
    "AWS::WAFv2::WebACL": f"arn:aws:wafv2:{_HERE}:regional/webacl/{{}}/0123",
}


class _Attributes(dict[str, str]):
    """Attributes of a resource that nobody made, in the shapes that they have on AWS."""

    def __init__(self, kind: str, resource: str) -> None:
        super().__init__()
        self._kind, self._resource = kind, resource

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        match name:
            case "Arn":
                return _ARNS[self._kind].format(self._resource)
            case "SecretArn":
                name = f"events!connection/{self._resource}/0123"
                return f"arn:aws:secretsmanager:{_HERE}:secret:{name}-AbCdEf"
            case "GroupId":
                return f"sg-{self._resource.encode().hex()[:17].ljust(17, '0')}"
            case _:
                return f"{self._resource}.{name}"


def _id(kind: str, resource: str) -> str:
    match kind:
        case (
            "AWS::Serverless::StateMachine"
            | "AWS::StepFunctions::StateMachine"
            | "AWS::SNS::Topic"
            | "AWS::IAM::ManagedPolicy"
            | "AWS::IAM::OIDCProvider"
        ):
            return _ARNS[kind].format(resource)
        case "AWS::EC2::Subnet":
            return f"subnet-{resource.encode().hex()[-17:].rjust(17, '0')}"
        case "AWS::ElasticLoadBalancingV2::TargetGroup":
            return f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{resource}/0123"
        case "AWS::SecretsManager::Secret":
            return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{resource}-AbCdEf"
        case _:
            return resource


@cache
def parsed(template: str) -> str:
    """A template as JSON: a file in infrastructure/, or the deployer's."""
    path = ROOT / "infrastructure" / f"{template}.yaml"
    if template == "deployer":
        path = ROOT / "template.yaml"
    return json.dumps(engine._parse_template(path.read_text()))


def _placed(text: str, region: str, partition: str) -> dict[str, Any]:
    """A template with its Region and partition filled in; the engine knows one partition only."""
    for name, value in (("AWS::Region", region), ("AWS::Partition", partition)):
        text = text.replace(f'{{"Ref": "{name}"}}', f'"{value}"').replace(f"${{{name}}}", value)
    return dict(json.loads(text))


class Stack:
    """A template with parameters, as CloudFormation is about to make it.

    Args:
        template: the name of a file in infrastructure/, without .yaml.
        settings: parameters; those that the template does not have are left out, as `sam` does.
        exports: what earlier stacks export.
        place: Region and partition.
    Raises:
        Refused: a parameter or a rule refuses the values.
    """

    def __init__(
        self,
        template: str,
        settings: Mapping[str, Any],
        exports: Mapping[str, str] | None = None,
        place: tuple[str, str] = (REGION, "aws"),
    ) -> None:
        self.name = f"{settings['ServiceName']}-{template}"
        self.template: dict[str, Any] = _placed(parsed(template), *place)
        given = [
            {"Key": name, "Value": str(value)}
            for name, value in settings.items()
            if name in self.template["Parameters"]
        ]
        try:
            self._parameters = engine._resolve_parameters(self.template, given)
            self._conditions = engine._evaluate_conditions(self.template, self._parameters)
            engine._check_rules_section(self.template)
            engine._evaluate_rules(self.template, self._parameters, self._conditions)
        except ValueError as error:
            raise Refused(str(error)) from error
        self._exports = dict(exports or {})

    def makes(self, part: Mapping[str, Any]) -> bool:
        """Whether a resource or an output comes to be under these parameters."""
        return "Condition" not in part or bool(self._conditions[part["Condition"]])

    @property
    def resources(self) -> dict[str, Any]:
        """The properties of the resources that are made, by logical id."""
        return {
            name: self.value(resource.get("Properties", {}))
            for name, resource in self.template["Resources"].items()
            if self.makes(resource)
        }

    @property
    def exports(self) -> dict[str, str]:
        """What it exports."""
        return {
            self.value(output["Export"]["Name"]): self.value(output["Value"])
            for output in self.template["Outputs"].values()
            if "Export" in output and self.makes(output)
        }

    @property
    def document(self) -> Any:
        """The service spec that it writes."""
        return json.loads(self.resources["Spec"]["Value"])

    def value(self, node: Any) -> Any:
        """A node of the template with its functions resolved. ValueError: an export is missing."""
        result = {
            name: {
                "PhysicalResourceId": _id(resource["Type"], name),
                "Attributes": _Attributes(resource["Type"], name),
            }
            for name, resource in self.template["Resources"].items()
            if self.makes(resource)
        }
        with _exported(self._exports):
            return engine._resolve_refs(
                node, result, self._parameters, self._conditions, {}, self.name, "id"
            )


@contextmanager
def _exported(exports: Mapping[str, str]) -> Iterator[None]:
    for name, value in exports.items():
        cloudformation._exports[name] = {"Name": name, "Value": value}
    try:
        yield
    finally:
        cloudformation._exports.clear()
