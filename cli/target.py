"""What a command is about: a deployer, known by its stack, and one of the services it serves."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import DENIED, Account, code_of
from cli.errors import UNREADY, WRONG, CommandFailed
from cli.nextstep import DEFAULT_ENVIRONMENT, DEFAULT_STACK
from deployer.aws import ssm
from deployer.deploy.history import History
from deployer.deploy.spec import ServiceSpec, for_service
from deployer.errors import ServiceUnknown, SpecInvalid
from deployer.store import releases

NAME_A_SERVICE = (
    "Name one with --service, or create one, from a checkout:",
    "  make deploy MODE=infrastructure",
)


@dataclass(frozen=True)
class Target:
    """A deployer's stack, and the service with its spec that is `asked` for, by name or as the
    only one.

    Made by `find`. From then on the adapters of `deployer.aws` speak to the same account and table.
    """

    account: Account
    stack: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    asked: str | None
    environment: str | None = None  # of the settings that made it

    @cached_property
    def spec(self) -> ServiceSpec:
        """Raises CommandFailed if there is no such service, or its spec is wrong."""
        return _spec(self.parameters["SpecPath"], self.asked)

    @property
    def service(self) -> str:
        return self.spec.service

    @property
    def history(self) -> History:
        """The service's records, newest first, as they are now."""
        return releases.history(self.service)

    def output(self, name: str, what: str) -> str:
        """An output of the deployer's stack. Raises CommandFailed where an older one lacks it.

        what: that the output is needed to do.
        """
        if name not in self.outputs:
            raise CommandFailed(
                UNREADY,
                f"the deployer's stack {self.stack} has no output {name}, so it cannot {what}",
                ["Bring it up to date:", "  make deploy MODE=infrastructure"],
            )
        return self.outputs[name]


def find(account: Account, stack: str, service: str | None) -> Target:
    """The deployer of a stack, and a service of it.

    Args:
        service: by name; None if there is only one.
    Raises:
        CommandFailed: there is no such stack.
    """
    described = _described(account, stack)
    outputs = {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in described.get("Parameters", [])}
    if not _is_deployer(described):
        raise CommandFailed(
            UNREADY,
            f"the stack {stack} is {described['StackStatus']} and no deployer that can be used",
            ["If it is the deployer's, make it again:", "  make deploy MODE=infrastructure"],
        )
    _speak_for(account, outputs, parameters)
    environment = environment_of(stack, described.get("Tags", ()))
    return Target(account, stack, outputs, parameters, service, environment)


def environment_of(stack: str, tags: Iterable[Mapping[str, str]]) -> str | None:
    """The environment whose settings made a deployer: by its tag, else by its stack's name; None
    if neither says."""
    for tag in tags:
        if tag["Key"] == "environment":
            return tag["Value"]
    begin, _, rest = stack.partition("-")
    return (rest or DEFAULT_ENVIRONMENT) if begin == DEFAULT_STACK else None


def _described(account: Account, stack: str) -> dict[str, Any]:
    try:
        found = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return dict(found[0])
    except ClientError as error:
        if code_of(error) != "ValidationError":
            raise
        raise missing(account, stack) from error


def _is_deployer(described: Mapping[str, Any]) -> bool:
    outputs = {output["OutputKey"] for output in described.get("Outputs", ())}
    parameters = {parameter["ParameterKey"] for parameter in described.get("Parameters", ())}
    return "ReleasesTable" in outputs and "SpecPath" in parameters


def missing(account: Account, stack: str) -> CommandFailed:
    """The failure of a command for whose stack there is none, with the deployers that there are."""
    what = f"there is no stack {stack} in {account.region}"
    try:
        pages = account.client("cloudformation").get_paginator("describe_stacks").paginate()
        there = [s["StackName"] for page in pages for s in page["Stacks"] if _is_deployer(s)]
    except ClientError as error:
        if code_of(error) not in DENIED:
            raise
        return CommandFailed(
            UNREADY,
            f"{what}, and no permission to list the others",
            ["Ask for cloudformation:DescribeStacks, or for the name of the deployer's stack."],
        )
    if there:
        return CommandFailed(
            UNREADY,
            f"{what}; the deployers in this Region: {', '.join(sorted(there))}",
            [
                "Name one:",
                *(f"  deployer status --stack {name}" for name in sorted(there)),
                "or create it, from a checkout:",
                "  make deploy MODE=infrastructure",
            ],
        )
    return CommandFailed(
        UNREADY,
        f"{what}, nor any deployer",
        [
            "If it is in another Region, name that one, such as:",
            f"  deployer status --region {_elsewhere(account.region)}",
            "If there is none yet, create it from a checkout:",
            "  make deploy",
        ],
    )


def _elsewhere(region: str) -> str:
    """A Region that is an example of another one."""
    return "us-west-2" if region == "us-east-1" else "us-east-1"


def _speak_for(account: Account, outputs: Mapping[str, str], parameters: Mapping[str, str]) -> None:
    """Let the functions' adapters, which find all this in a Lambda's environment, find it here."""
    account.as_default()
    os.environ["RELEASES_TABLE"] = outputs["ReleasesTable"]
    os.environ["SPEC_PATH"] = parameters["SpecPath"]
    os.environ["SITE_PATH"] = parameters.get("SitePath", "")


def _spec(path: str, service: str | None) -> ServiceSpec:
    try:
        return for_service(ssm.service_specs(), service)[0]
    except ServiceUnknown as error:
        raise CommandFailed(WRONG, f"{error}", NAME_A_SERVICE) from error
    except SpecInvalid as error:
        raise CommandFailed(UNREADY, f"{error}", [f"Correct it; it lies under {path}."]) from error
