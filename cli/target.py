"""The target of a command: a deployer, by its stack, and one of the services that it deploys."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import DENIED, Account, code_of
from cli.errors import UNREADY, WRONG, CommandFailed
from cli.nextstep import DEFAULT_ENVIRONMENT, DEFAULT_STACK
from deployer.aws import ssm
from deployer.deploy.history import History
from deployer.deploy.spec import ServiceSpec, for_service, services
from deployer.errors import ServiceUnknown, SpecInvalid
from deployer.store import releases

NAME_A_SERVICE = (
    "Name one with --service, or create one, from a checkout:",
    "  make deploy MODE=infrastructure",
)


@dataclass(frozen=True)
class Target:
    """A deployer's stack, and one of its services.

    Created by `find`, which also configures the adapters of `deployer.aws` for its account.

    Attributes:
        requested: the service's name; None if it is the only one.
    """

    account: Account
    stack: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    requested: str | None
    environment: str | None = None  # of the settings that created it

    @cached_property
    def spec(self) -> ServiceSpec:
        """Return the service's spec.

        Raises:
            CommandFailed: the service is unknown, or its spec is invalid.
        """
        return _spec(self.parameters["SpecPath"], self.requested)

    @property
    def service(self) -> str:
        return self.spec.service

    @property
    def services(self) -> dict[str, "Target | None"]:
        """The same deployer's services by name; None for one whose spec is invalid."""
        targets: dict[str, Target | None] = {}
        for source, text in ssm.service_specs().items():
            valid = services({source: text})
            for spec in valid:
                targets[spec.service] = replace(self, requested=spec.service)
            if not valid:
                targets[source.rpartition("/")[2]] = None
        return dict(sorted(targets.items()))

    @property
    def history(self) -> History:
        """Return the service's current records, newest first."""
        return releases.history(self.service)

    def output(self, name: str, what: str) -> str:
        """Return an output of the deployer's stack.

        Args:
            what: what needs the output, such as `deploy`.
        Raises:
            CommandFailed: an older stack lacks it.
        """
        if name not in self.outputs:
            raise CommandFailed(
                UNREADY,
                f"the deployer's stack {self.stack} has no output {name}, so it cannot {what}",
                ["Update it:", "  make deploy MODE=infrastructure"],
            )
        return self.outputs[name]


def find(account: Account, stack: str, service: str | None) -> Target:
    """Return the deployer of a stack, with one of its services.

    Args:
        service: its name; None if there is only one.
    Raises:
        CommandFailed: the stack does not exist, or is not a usable deployer.
    """
    description = _describe(account, stack)
    outputs = {o["OutputKey"]: o["OutputValue"] for o in description.get("Outputs", [])}
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in description.get("Parameters", [])}
    if not _is_deployer(description):
        raise CommandFailed(
            UNREADY,
            f"the stack {stack} is {description['StackStatus']} and no deployer that can be used",
            ["If it is the deployer's, make it again:", "  make deploy MODE=infrastructure"],
        )
    _configure_adapters(account, outputs, parameters)
    environment = environment_of(stack, description.get("Tags", ()))
    return Target(account, stack, outputs, parameters, service, environment)


def environment_of(stack: str, tags: Iterable[Mapping[str, str]]) -> str | None:
    """Return the environment whose settings created a deployer, by its tag or its stack's name;
    None if neither says."""
    for tag in tags:
        if tag["Key"] == "environment":
            return tag["Value"]
    base, _, suffix = stack.partition("-")
    return (suffix or DEFAULT_ENVIRONMENT) if base == DEFAULT_STACK else None


def _describe(account: Account, stack: str) -> dict[str, Any]:
    try:
        stacks = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return dict(stacks[0])
    except ClientError as error:
        if code_of(error) != "ValidationError":
            raise
        raise missing(account, stack) from error


def _is_deployer(description: Mapping[str, Any]) -> bool:
    outputs = {output["OutputKey"] for output in description.get("Outputs", ())}
    parameters = {parameter["ParameterKey"] for parameter in description.get("Parameters", ())}
    return "ReleasesTable" in outputs and "SpecPath" in parameters


def missing(account: Account, stack: str) -> CommandFailed:
    """Return the failure of a command whose stack is missing, with the existing deployers."""
    problem = f"there is no stack {stack} in {account.region}"
    try:
        pages = account.client("cloudformation").get_paginator("describe_stacks").paginate()
        deployers = [s["StackName"] for page in pages for s in page["Stacks"] if _is_deployer(s)]
    except ClientError as error:
        if code_of(error) not in DENIED:
            raise
        return CommandFailed(
            UNREADY,
            f"{problem}, and no permission to list the others",
            ["Ask for cloudformation:DescribeStacks, or for the name of the deployer's stack."],
        )
    if deployers:
        return CommandFailed(
            UNREADY,
            f"{problem}; the deployers in this Region: {', '.join(sorted(deployers))}",
            [
                "Name one:",
                *(f"  deployer status --stack {name}" for name in sorted(deployers)),
                "or create it, from a checkout:",
                "  make deploy MODE=infrastructure",
            ],
        )
    return CommandFailed(
        UNREADY,
        f"{problem}, nor any deployer",
        [
            "If it is in another Region, name that one, such as:",
            f"  deployer status --region {_elsewhere(account.region)}",
            "If there is none yet, create it from a checkout:",
            "  make deploy",
        ],
    )


def _elsewhere(region: str) -> str:
    """Return another Region, as an example."""
    return "us-west-2" if region == "us-east-1" else "us-east-1"


def _configure_adapters(
    account: Account, outputs: Mapping[str, str], parameters: Mapping[str, str]
) -> None:
    """Set the environment variables that the functions' adapters read in a Lambda function."""
    account.as_default()
    os.environ["RELEASES_TABLE"] = outputs["ReleasesTable"]
    os.environ["SPEC_PATH"] = parameters["SpecPath"]
    os.environ["VERIFY_SUBNETS"] = parameters.get("VerifySubnetIds", "")
    os.environ["VERIFY_GROUP"] = parameters.get("VerifySecurityGroupId", "")
    os.environ["SITE_PATH"] = parameters.get("SitePath", "")


def _spec(path: str, service: str | None) -> ServiceSpec:
    try:
        return for_service(ssm.service_specs(), service)[0]
    except ServiceUnknown as error:
        raise CommandFailed(WRONG, f"{error}", NAME_A_SERVICE) from error
    except SpecInvalid as error:
        raise CommandFailed(UNREADY, f"{error}", [f"Correct it; it lies under {path}."]) from error
