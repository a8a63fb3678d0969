"""The first time: the few values that have no default are asked for, with what the account has."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.aws import AWS_ERRORS, Account, explained
from cli.screen import Screen
from cli.setup.settings import REQUIRED_NAME, Parameter, Project

_PATTERN = "ServicePattern"


def asked(
    screen: Screen,
    account: Account,
    project: Project,
    given: Mapping[str, str],
    lacking: Sequence[Parameter],
    *,
    first: bool,
) -> dict[str, str]:
    """The settings that a person at the terminal gives; those that stay as they are left out.

    Args:
        given: what the settings file holds already.
        lacking: what has no default and is not given.
        first: nothing is deployed yet, so that the choices that shape everything are asked too.
    Raises:
        EOFError: nobody answers.
    """
    guide = _Guide(screen, account, project.known, given)
    screen.title(f"Settings for {project.file.relative_to(project.root)}")
    screen.say("Nothing is written or made before the last answer; Ctrl-C ends this.")
    wanted = [p.name for p in lacking]
    if first:
        wanted = list(dict.fromkeys([REQUIRED_NAME, *wanted]))
    for name in wanted:
        if name != _PATTERN:
            guide.ask(name)
    # the deployer serves this service, unless it was told otherwise
    if _PATTERN in project.known and given.get(_PATTERN, "") in ("", given.get(REQUIRED_NAME)):
        guide.answers[_PATTERN] = guide.value(REQUIRED_NAME)
    if first:
        guide.domain()
        guide.network()
        guide.database()
    return {name: value for name, value in guide.answers.items() if value != given.get(name)}


class _Guide:
    def __init__(
        self,
        screen: Screen,
        account: Account,
        known: Mapping[str, Parameter],
        given: Mapping[str, str],
    ) -> None:
        self._screen, self._account, self._known, self._given = screen, account, known, given
        self.answers: dict[str, str] = {}

    def value(self, name: str) -> str:
        """What a setting is by now, without its default."""
        return self.answers.get(name, self._given.get(name, ""))

    def ask(self, name: str, suggestion: str = "") -> str:
        """One value, asked for until it is good; nothing typed is the suggestion or the default."""
        parameter = self._known[name]
        default = self.value(name) or suggestion or parameter.default or ""
        example = f", such as {parameter.example}" if parameter.example else ""
        self._screen.say()
        self._screen.say(parameter.description)
        while True:
            hint = f" [{default}]" if default else f" ({parameter.example})" if example else ""
            value = self._screen.ask(f"{name}{hint}:") or default
            if not value and parameter.default is None:
                self._screen.say(f"It is needed{example}.", "yellow")
                continue
            if problem := parameter.problem(value):
                self._screen.say(problem, "yellow")
                continue
            if value != (self.value(name) or parameter.default or ""):
                self.answers[name] = value
            return value

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """The index of one of several; an empty answer is the first."""
        self._screen.say()
        self._screen.say(question)
        for number, choice in enumerate(choices, 1):
            self._screen.say(f"  {number}  {choice}")
        while True:
            answer = self._screen.ask(f"1 to {len(choices)} [1]:") or "1"
            if answer.isdigit() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1
            self._screen.say(f"Please type a number from 1 to {len(choices)}.", "yellow")

    def _listed(self, service: str, operation: str, key: str, **filters: Any) -> list[Any]:
        """What the account has; [] if that cannot be looked at, which is said."""
        try:
            pages = self._account.client(service).get_paginator(operation).paginate(**filters)
            return [found for page in pages for found in page[key]]
        except AWS_ERRORS as error:
            self._screen.say(
                f"(could not list them: {explained(error, self._account)[0]})", "yellow"
            )
            return []

    def domain(self) -> None:
        """The host name, and where its certificate comes from."""
        if "DomainName" not in self._known:
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
        own = "none: the domain is kept elsewhere, and there is a certificate for it in ACM"
        chosen = self.choose(
            "The hosted zone in which the records and the certificate are made", [*choices, own]
        )
        if chosen < len(zones):
            self.answers["HostedZoneId"] = _id(zones[chosen])
        elif "CertificateArn" in self._known:
            self.ask("CertificateArn")

    def network(self) -> None:
        """A new VPC, or which one, and its subnets."""
        if "VpcId" not in self._known:
            return
        vpcs = self._listed("ec2", "describe_vpcs", "Vpcs")
        choices = [f"{vpc['VpcId']}  {vpc['CidrBlock']}  {_name(vpc)}".rstrip() for vpc in vpcs]
        may_be_new = self._known["VpcId"].default is not None
        offered = [*(["a new one"] if may_be_new else []), *choices]
        if not vpcs:
            if not may_be_new:
                self.ask("VpcId")
            return
        chosen = self.choose("The VPC to run in", offered) - may_be_new
        if chosen < 0:
            return
        vpc = vpcs[chosen]
        self.answers["VpcId"] = vpc["VpcId"]
        if "VpcCidr" in self._known and vpc["CidrBlock"] != self._known["VpcCidr"].default:
            self.answers["VpcCidr"] = vpc["CidrBlock"]
        found = self._listed(
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
                for subnet in found
            ],
        )
        public = _in_two_zones([s for s in found if s.get("MapPublicIpOnLaunch")])
        private = _in_two_zones([s for s in found if not s.get("MapPublicIpOnLaunch")])
        for name, suggestion in (
            ("SubnetIds", public),
            ("LoadBalancerSubnetIds", public),
            ("DatabaseSubnetIds", private or public),
        ):
            if name in self._known:
                self.ask(name, ",".join(suggestion))

    def database(self) -> None:
        """A database of its own, or the one that is there."""
        if "DatabaseUrlSecretArn" not in self._known:
            return
        offered = [
            "a new one, made and backed up for it",
            "one that is there, whose URL is a secret in Secrets Manager",
        ]
        if self.choose("The PostgreSQL database", offered) == 0:
            return
        if "existing" in self._known.get("Database", self._known["DatabaseUrlSecretArn"]).values:
            self.answers["Database"] = "existing"
        while not self.ask("DatabaseUrlSecretArn"):
            self._screen.say("It is needed for a database that is there.", "yellow")


def _id(zone: Mapping[str, Any]) -> str:
    return str(zone["Id"]).rpartition("/")[2]


def _name(tagged: Mapping[str, Any]) -> str:
    return next((str(t["Value"]) for t in tagged.get("Tags", []) if t["Key"] == "Name"), "")


def _in_two_zones(subnets: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first subnet of each of the first two zones; [] if there are not two."""
    by_zone: dict[str, str] = {}
    for subnet in sorted(subnets, key=lambda s: (s["AvailabilityZone"], s["SubnetId"])):
        by_zone.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
    found = list(by_zone.values())[:2]
    return found if len(found) == 2 else []
