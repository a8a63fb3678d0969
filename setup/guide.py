"""Ask for the settings at the first run: the kind of application, then only what that kind needs,
with the account's own resources as suggestions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.aws import AWS_ERRORS, Account, explained
from cli.screen import Screen
from setup import cost
from setup.settings import REQUIRED_NAME, Parameter, Project

_PATTERN = "ServicePattern"


@dataclass(frozen=True)
class Kind:
    """A kind of application: the settings that it implies, and the questions to ask, in order."""

    name: str
    about: str
    sets: Mapping[str, str]
    asks: tuple[str, ...]


# Settings of other services; the stacks' defaults are Coder's.
_WEB = {"Application": "web", "Strategy": "rolling", "TimeoutSeconds": "600", "HealthCheck": "null"}
KINDS = (
    Kind(
        "Coder",
        "behind a load balancer, with a database",
        {
            **{"Application": "coder", "Exposure": "load-balancer", "Strategy": "recreate"},
            **{"TimeoutSeconds": "1200", "GracePeriodSeconds": "900", "HealthCheck": "null"},
            **{"Verify": "", "ContainerPort": "3000", "HealthCheckPath": "/healthz"},
        },
        ("domain", "database", "docs", "network"),
    ),
    Kind(
        "a web application",
        "a container that answers HTTP on a port",
        {**_WEB, "Exposure": "load-balancer", "GracePeriodSeconds": "60", "Verify": ""},
        ("port", "size", "domain", "database", "docs", "network"),
    ),
    Kind(
        "a worker",
        "a container that accepts no connections",
        {
            **{**_WEB, "Exposure": "none", "Verify": ""},
            **{"DomainName": "", "HostedZoneId": "", "CertificateArn": "", "DocsUrl": "none"},
        },
        ("health", "size", "database", "network"),
    ),
)
_SIZES = ((256, 512), (512, 1024), (1024, 2048), (2048, 4096))  # of Fargate: CPU units and MiB


def kind(screen: Screen, parameters: Mapping[str, Parameter], unchanged: str = "") -> Kind | None:
    """Ask for the kind of application.

    Args:
        unchanged: the text of the choice to keep the settings; "" does not offer it.
    Returns:
        The kind; None to keep the settings, or if the templates support one kind only.
    Raises:
        EOFError: the input ended.
    """
    if "Application" not in parameters:
        return None
    choices = [f"{kind.name}: {kind.about}" for kind in KINDS]
    choices += [unchanged] if unchanged else []
    index = _choose(screen, "What kind of application is it?", choices)
    return KINDS[index] if index < len(KINDS) else None


def ask(
    screen: Screen,
    account: Account,
    project: Project,
    current: Mapping[str, str],
    required: Sequence[Parameter],
    *,
    first: bool,
    chosen: Kind | None = None,
) -> dict[str, str]:
    """Ask for settings at the terminal, and return those that change.

    Args:
        current: the content of the settings file.
        required: the required parameters that it lacks.
        first: nothing is deployed yet, so ask for the main settings too.
        chosen: the kind of application, if known.
    Raises:
        EOFError: the input ended.
    """
    guide = _Guide(screen, account, project.parameters, current)
    screen.title(f"Settings for {project.file.relative_to(project.root)}")
    screen.say("Nothing is written or created before the last answer; Ctrl-C cancels.")
    names = [p.name for p in required]
    if first:
        names = list(dict.fromkeys([REQUIRED_NAME, *names]))
    for name in names:
        if name != _PATTERN:
            guide.ask(name)
    # the deployer serves this service, unless the settings say otherwise
    if _PATTERN in project.parameters and current.get(_PATTERN, "") in (
        "",
        current.get(REQUIRED_NAME),
    ):
        guide.answers[_PATTERN] = guide.value(REQUIRED_NAME)
    if first:
        for name, value in (chosen.sets if chosen else {}).items():
            guide.set(name, value)
        for step in chosen.asks if chosen else ("domain", "database", "network"):
            getattr(guide, step)()
    return {name: value for name, value in guide.answers.items() if value != current.get(name)}


def _choose(screen: Screen, question: str, choices: Sequence[str]) -> int:
    """Ask for one of several choices, and return its index; an empty answer is the first."""
    screen.say()
    screen.say(question)
    for number, choice in enumerate(choices, 1):
        screen.say(f"  {number}  {choice}")
    while True:
        answer = screen.ask(f"1 to {len(choices)} [1]:") or "1"
        if answer.isdigit() and 1 <= int(answer) <= len(choices):
            return int(answer) - 1
        screen.say(f"Please type a number from 1 to {len(choices)}.", "yellow")


class _Guide:
    def __init__(
        self,
        screen: Screen,
        account: Account,
        parameters: Mapping[str, Parameter],
        current: Mapping[str, str],
    ) -> None:
        self._screen, self._account, self._parameters, self._current = (
            screen,
            account,
            parameters,
            current,
        )
        self.answers: dict[str, str] = {}

    def value(self, name: str) -> str:
        """Return the current value of a setting, without its default."""
        return self.answers.get(name, self._current.get(name, ""))

    def ask(self, name: str, suggestion: str = "") -> str:
        """Ask for a value until it is valid; an empty answer is the suggestion or the default."""
        parameter = self._parameters[name]
        default = self.value(name) or suggestion or parameter.default or ""
        example = f", such as {parameter.example}" if parameter.example else ""
        self._screen.say()
        self._screen.say(parameter.description)
        while True:
            hint = f" [{default}]" if default else f" ({parameter.example})" if example else ""
            value = self._screen.ask(f"{name}{hint}:") or default
            if not value and parameter.default is None:
                self._screen.say(f"A value is required{example}.", "yellow")
                continue
            if problem := parameter.problem(value):
                self._screen.say(problem, "yellow")
                continue
            if value != (self.value(name) or parameter.default or ""):
                self.answers[name] = value
            return value

    def set(self, name: str, value: str) -> None:
        """Set a value if the templates have this parameter and the value differs."""
        if name in self._parameters and value != (
            self.value(name) or self._parameters[name].default or ""
        ):
            self.answers[name] = value

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """Ask for one of several choices, and return its index; an empty answer is the first."""
        return _choose(self._screen, question, choices)

    def _effective(self, name: str) -> str:
        """Return the current value of a setting, or its default."""
        parameter = self._parameters.get(name)
        return self.value(name) or (parameter.default if parameter else None) or ""

    def _listed(self, service: str, operation: str, key: str, **filters: Any) -> list[Any]:
        """Return the account's resources; [] with a message if they cannot be listed."""
        try:
            pages = self._account.client(service).get_paginator(operation).paginate(**filters)
            return [item for page in pages for item in page[key]]
        except AWS_ERRORS as error:
            self._screen.say(
                f"(could not list them: {explained(error, self._account)[0]})", "yellow"
            )
            return []

    def port(self) -> None:
        """Ask for a web application's port, and for the path of its health check."""
        self.ask("ContainerPort")
        self.ask("HealthCheckPath")

    def health(self) -> None:
        """Ask for a worker's health check; without one it is healthy while it runs."""
        self.ask("HealthCheck")

    def size(self) -> None:
        """Ask for the size of a task."""
        prices = [
            f"{cpu / 1024:g} vCPU, {memory / 1024:g} GB: ${cost.task(cpu, memory):.0f} a month"
            for cpu, memory in _SIZES
        ]
        cpu, memory = _SIZES[self.choose("The size of a task", prices)]
        self.set("Cpu", f"{cpu}")
        self.set("Memory", f"{memory}")

    def docs(self) -> None:
        """Ask whether to create a documentation site, or link to another one."""
        if "DocsUrl" not in self._parameters:
            return
        choices = [
            "none",
            "one that is built from your sources, on CloudFront",
            "an existing site elsewhere",
        ]
        index = self.choose("The documentation site", choices)
        if index < 2:
            self.set("DocsUrl", ("none", "")[index])
            return
        while self.ask("DocsUrl") in ("", "none"):
            self._screen.say("Its URL is required, such as https://docs.example.com.", "yellow")

    def domain(self) -> None:
        """Ask for the host name, and for its hosted zone or certificate."""
        if "DomainName" not in self._parameters:
            return
        host = self.ask("DomainName")
        if not host:
            return
        zones = [
            zone
            for zone in self._listed("route53", "list_hosted_zones", "HostedZones")
            if not zone.get("Config", {}).get("PrivateZone")
            and f".{host}.".endswith(f".{zone['Name']}")
        ]
        choices = [f"{zone['Name'].rstrip('.')}  {_id(zone)}" for zone in zones]
        no_zone = "none: the domain is hosted elsewhere, and has a certificate in ACM"
        index = self.choose(
            "The hosted zone for the domain's records and certificate", [*choices, no_zone]
        )
        if index < len(zones):
            self.answers["HostedZoneId"] = _id(zones[index])
        elif "CertificateArn" in self._parameters:
            self.ask("CertificateArn")

    def network(self) -> None:
        """Ask for a new or an existing VPC, and for its subnets."""
        if "VpcId" not in self._parameters:
            return
        vpcs = self._listed("ec2", "describe_vpcs", "Vpcs")
        choices = [f"{vpc['VpcId']}  {vpc['CidrBlock']}  {_name(vpc)}".rstrip() for vpc in vpcs]
        may_be_new = self._parameters["VpcId"].default is not None
        options = [*(["a new one"] if may_be_new else []), *choices]
        if not vpcs:
            if not may_be_new:
                self.ask("VpcId")
            return
        index = self.choose("The VPC to run in", options) - may_be_new
        if index < 0:
            return
        vpc = vpcs[index]
        self.answers["VpcId"] = vpc["VpcId"]
        if (
            "VpcCidr" in self._parameters
            and vpc["CidrBlock"] != self._parameters["VpcCidr"].default
        ):
            self.answers["VpcCidr"] = vpc["CidrBlock"]
        subnets = self._listed(
            "ec2",
            "describe_subnets",
            "Subnets",
            Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}],
        )
        self._screen.say()
        self._screen.table(
            ["subnet", "zone", "addresses", "public", "name"],
            [
                [
                    subnet["SubnetId"],
                    subnet["AvailabilityZone"],
                    subnet["CidrBlock"],
                    "yes" if subnet.get("MapPublicIpOnLaunch") else "no",
                    _name(subnet),
                ]
                for subnet in subnets
            ],
        )
        public = _in_two_zones([s for s in subnets if s.get("MapPublicIpOnLaunch")])
        private = _in_two_zones([s for s in subnets if not s.get("MapPublicIpOnLaunch")])
        has_load_balancer = self._effective("Exposure") in ("", "load-balancer")
        has_database = self._effective("Database") in ("", "managed")
        for name, suggestion, needed in (
            ("SubnetIds", public, True),
            ("LoadBalancerSubnetIds", public, has_load_balancer),
            ("DatabaseSubnetIds", private or public, has_database),
        ):
            if needed and name in self._parameters:
                self.ask(name, ",".join(suggestion))

    def database(self) -> None:
        """Ask for a new or an existing database."""
        if "DatabaseUrlSecretArn" not in self._parameters:
            return
        choices = {
            "managed": "a new one, with backups",
            "existing": "an existing one, whose URL is a secret in Secrets Manager",
        }
        parameter = self._parameters.get("Database")
        if parameter and "none" in parameter.values and self._effective("Application") != "coder":
            choices = {"none": "none"} | choices
        answer = [*choices][self.choose("The PostgreSQL database", [*choices.values()])]
        self.set("Database", answer)
        if answer != "existing":
            self.set("DatabaseUrlSecretArn", "")
            return
        while not self.ask("DatabaseUrlSecretArn"):
            self._screen.say("It is required for an existing database.", "yellow")


def _id(zone: Mapping[str, Any]) -> str:
    return str(zone["Id"]).rpartition("/")[2]


def _name(resource: Mapping[str, Any]) -> str:
    return next((str(t["Value"]) for t in resource.get("Tags", []) if t["Key"] == "Name"), "")


def _in_two_zones(subnets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the first subnet of each of the first two zones; [] if there are fewer zones."""
    by_zone: dict[str, str] = {}
    for subnet in sorted(subnets, key=lambda s: (s["AvailabilityZone"], s["SubnetId"])):
        by_zone.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
    ids = list(by_zone.values())[:2]
    return ids if len(ids) == 2 else []
