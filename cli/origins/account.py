"""Find in an account what a new service needs around it: what is unambiguous is taken, and said.

What is not is asked for, or reported with the option that names it; nothing is guessed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import Account
from deployer.aws import ec2, iam
from deployer.check import FAILED, Check
from deployer.deploy import documents, prerequisites

_ROLE = "ecsTaskExecutionRole"  # the name that the console gives it
_TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",'
    '"Principal":{"Service":"ecs-tasks.amazonaws.com"}}]}'
)
_MANAGED = "arn:{partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"

type _Network = tuple[tuple[str, ...], tuple[str, ...]]
"""Subnets and security groups."""

type Ask = Callable[[str, Sequence[str]], str | None]
"""Asks the user to choose one of several; None if nobody can be asked."""


@dataclass
class Surroundings:
    """What is around a new service, and how it was found.

    Attributes:
        parameters: of the deployer's stack; None if there is none.
        facts: what was found, to show.
        problems: what is ambiguous or missing, and the option that names it.
        missing: what the service needs and the account lacks.
    """

    account: Account
    service: str
    parameters: Mapping[str, str] | None
    ask: Ask
    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    missing: list[Check] = field(default_factory=list)

    def choose(self, what: str, option: str, names: Sequence[str], none: str = "") -> str | None:
        """Return the only name, or the one that the user chooses; None is a problem.

        Args:
            none: how to get one if there is none.
        """
        if len(names) == 1:
            return names[0]
        if names and (answer := self.ask(f"Which {what}?", sorted(names))):
            return answer
        there = f"there are {', '.join(sorted(names))}" if names else f"there is none{none}"
        self.problems.append(f"{option}: name the {what}; {there}")
        return None

    def cluster(self, asked: str | None) -> str | None:
        """Return the cluster: asked for, the deployer's, of the service's name, or the only one."""
        names = _last(self.account.client("ecs"), "list_clusters", "clusterArns")
        own = (self.parameters or {}).get("ClusterName", "")
        if asked and asked not in names:
            self.problems.append(
                f"--cluster: there is no {asked}; there are {', '.join(sorted(names)) or 'none'}"
            )
            return None
        if not asked and own in names:
            self.facts.append(("cluster", f"{own}, the deployer's"))
            return own
        named = asked or (self.service if self.service in names else None)
        none = f": aws ecs create-cluster --cluster-name {own or self.service}"
        chosen = named or self.choose("cluster", "--cluster", names, none)
        self.facts += [("cluster", chosen)] if chosen else []
        return chosen

    def network(
        self, cluster: str, subnets: Sequence[str], groups: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """Return the subnets and security groups: those asked for, or as the cluster's services
        have, or of the only network stack, or the default VPC's."""
        if subnets and groups:
            self.facts.append(("network", f"{', '.join(subnets)}; {', '.join(groups)}"))
            return subnets, groups
        candidates = (
            (f"as the services of cluster {cluster}", self._of_services(cluster)),
            ("of the network stack", self._of_stacks()),
            ("of the default VPC", self._of_default_vpc()),
        )
        for how, found in candidates:
            if len(found) > 1:
                listed = "; ".join(f"{','.join(s)} with {','.join(g)}" for s, g in found)
                self.problems.append(
                    f"--subnets, --security-groups: name the network; {how}, several: {listed}"
                )
                return None
            if found:
                network = (subnets or found[0][0], groups or found[0][1])
                shown = f"{', '.join(network[0])}; {', '.join(network[1])}"
                self.facts.append(("network", f"{shown} ({how})"))
                return network
        self.problems.append(
            "--subnets, --security-groups: name the network; cluster"
            f" {cluster} has no services, and there is neither a network stack nor a default VPC"
        )
        return None

    def _of_services(self, cluster: str) -> list[_Network]:
        ecs = self.account.client("ecs")
        names = _last(ecs, "list_services", "serviceArns", cluster=cluster)[:10]
        services = (
            ecs.describe_services(cluster=cluster, services=names)["services"] if names else []
        )
        vpcs = [vpc for service in services if (vpc := documents.vpc(service))]
        networks = (
            (tuple(sorted(v["subnets"])), tuple(sorted(v.get("securityGroups", ())))) for v in vpcs
        )
        return list(dict.fromkeys(networks))

    def _of_stacks(self) -> list[_Network]:
        pages = self.account.client("cloudformation").get_paginator("list_exports").paginate()
        exports = {e["Name"]: e["Value"] for page in pages for e in page["Exports"]}
        networks = list[_Network]()
        for name, group in exports.items():
            stack, suffix, _ = name.rpartition("-ServiceSecurityGroupId")
            public = exports.get(f"{stack}-PublicSubnetIds")
            if suffix and public:
                networks.append((tuple(public.split(",")), (group,)))
        return networks

    def _of_default_vpc(self) -> list[_Network]:
        client = self.account.client("ec2")
        default = [{"Name": "is-default", "Values": ["true"]}]
        vpcs = client.describe_vpcs(Filters=default)["Vpcs"]
        if not vpcs:
            return []
        of_vpc = {"Name": "vpc-id", "Values": [vpcs[0]["VpcId"]]}
        subnets = client.describe_subnets(Filters=[of_vpc])["Subnets"]
        named = {"Name": "group-name", "Values": ["default"]}
        groups = client.describe_security_groups(Filters=[of_vpc, named])["SecurityGroups"]
        network: _Network = (
            tuple(sorted(subnet["SubnetId"] for subnet in subnets)),
            tuple(group["GroupId"] for group in groups),
        )
        return [network] if all(network) else []

    def needs_public_ip(self, subnets: Sequence[str]) -> bool:
        """Return whether tasks in these subnets reach ECR only with a public IP."""
        described = ec2.subnets(list(subnets))
        vpcs = sorted({subnet["VpcId"] for subnet in described.values()})
        without = {"subnets": list(subnets), "assignPublicIp": "DISABLED"}
        checks = prerequisites.way_out(
            without, described, ec2.route_tables(vpcs), ec2.endpoints(vpcs)
        )
        return any(check.state == FAILED for check in checks)

    def execution_role(self, asked: str | None) -> str:
        """Return the ARN of the tasks' execution role; of the one to create if there is none."""
        caller = self.account.client("sts").get_caller_identity()
        partition, account = caller["Arn"].split(":")[1], caller["Account"]
        arn = f"arn:{partition}:iam::{account}:role/{{}}".format
        if asked and asked.startswith("arn:"):
            self.facts.append(("role", asked))
            return asked
        own = f"{self.service}-execution"
        for name in [asked] if asked else (own, _ROLE):
            allowed = self._allows(name, "ExecutionRolePattern", "{}-execution")
            if allowed and (exists := iam.role_exists(arn(name))) is not False:
                seen = "which is there" if exists else "no permission to see whether it is there"
                self.facts.append(("role", f"{name}, {seen}"))
                return arn(name)
        name = asked or own
        managed = _MANAGED.format(partition=partition)
        fix = (
            "Create it:",
            f"  aws iam create-role --role-name {name} --assume-role-policy-document '{_TRUST}'",
            f"  aws iam attach-role-policy --role-name {name} --policy-arn {managed}",
        )
        self.missing.append(Check("roles", FAILED, f"role {name} does not exist", fix))
        self.facts.append(("role", f"{name}, to be created"))
        return arn(name)

    def repository(self, asked: str) -> str:
        """Return the repository, and note if it does not exist."""
        ecr = self.account.client("ecr")
        try:
            ecr.describe_repositories(repositoryNames=[asked])
        except ecr.exceptions.RepositoryNotFoundException:
            fix = ("Create it:", f"  aws ecr create-repository --repository-name {asked}")
            message = f"repository {asked} does not exist"
            self.missing.append(Check("repository", FAILED, message, fix))
        return asked

    def secret(self, variable: str) -> str | None:
        """Return the ARN of the secret that is named for a variable of the service."""
        client = self.account.client("secretsmanager")
        name = f"{self.service}/{variable}"
        try:
            arn = str(client.describe_secret(SecretId=name)["ARN"])
        except client.exceptions.ResourceNotFoundException:
            self.problems.append(
                f"{variable} looks like a secret, so its value is not written. Store it, with the"
                f" value in ${variable}, and run this again; or name its ARN: --secret"
                f" {variable}=ARN"
            )
            self.problems.append(
                f'  aws secretsmanager create-secret --name {name} --secret-string "${variable}"'
            )
            return None
        self.facts.append(("secret", f"{variable}: {name}"))
        return arn

    def target_group(
        self, asked: str | None, cluster: str, subnets: Sequence[str]
    ) -> tuple[str, Mapping[str, Any]] | None:
        """Return the target group's ARN, and its load balancer: the one asked for, or the only one
        for tasks in the subnets' VPC that a load balancer forwards to and no service uses."""
        elb = self.account.client("elbv2")
        pages = elb.get_paginator("describe_target_groups").paginate()
        every = {
            group["TargetGroupName"]: group for page in pages for group in page["TargetGroups"]
        }
        vpcs = {subnet["VpcId"] for subnet in ec2.subnets(list(subnets)).values()}
        if asked:
            matches = [
                g for g in every.values() if asked in (g["TargetGroupName"], g["TargetGroupArn"])
            ]
            chosen = matches[0]["TargetGroupName"] if matches else None
            if not chosen:
                there = ", ".join(sorted(every)) or "none"
                self.problems.append(f"--target-group: there is no {asked}; there are {there}")
        else:
            used = self._used_groups(cluster)
            free = [
                name
                for name, group in every.items()
                if group.get("TargetType") == "ip"
                and group.get("VpcId") in vpcs
                and group.get("LoadBalancerArns")
                and group["TargetGroupArn"] not in used
            ]
            chosen = self.choose(
                "target group", "--target-group", free, " that no service uses: make one first"
            )
        if not chosen:
            return None
        arn, balancers = every[chosen]["TargetGroupArn"], every[chosen].get("LoadBalancerArns")
        if not balancers:
            self.problems.append(f"--target-group: no load balancer forwards to {chosen}")
            return None
        balancer = elb.describe_load_balancers(LoadBalancerArns=balancers[:1])["LoadBalancers"][0]
        self.facts.append(("behind", f"{chosen}, of load balancer {balancer['LoadBalancerName']}"))
        return arn, balancer

    def _used_groups(self, cluster: str) -> set[str]:
        ecs = self.account.client("ecs")
        names = _last(ecs, "list_services", "serviceArns", cluster=cluster)
        batches = (names[at : at + 10] for at in range(0, len(names), 10))
        services = (
            service
            for batch in batches
            for service in ecs.describe_services(cluster=cluster, services=batch)["services"]
        )
        return {arn for service in services for arn in documents.target_groups(service)}

    def url(self, asked: str | None, balancer: Mapping[str, Any]) -> str | None:
        """Return the service's URL behind a load balancer; one with TLS has a name of its own."""
        if asked:
            return asked
        pages = self.account.client("elbv2").get_paginator("describe_listeners")
        arn = balancer["LoadBalancerArn"]
        listeners = [e for page in pages.paginate(LoadBalancerArn=arn) for e in page["Listeners"]]
        plain = [entry["Port"] for entry in listeners if entry.get("Protocol") == "HTTP"]
        if any(entry.get("Protocol") == "HTTPS" for entry in listeners) or not plain:
            self.problems.append("--url: name the service's URL, such as https://shop.example.com")
            return None
        port = 80 if 80 in plain else plain[0]
        url = f"http://{balancer['DNSName']}" + (f":{port}" if port != 80 else "")
        self.facts.append(("url", f"{url}, the load balancer's own name"))
        return url

    def _allows(self, name: str, parameter: str, default: str = "{}") -> bool:
        """Return whether a pattern of the deployer allows a name; without a deployer, it does."""
        return self.parameters is None or fnmatchcase(name, self._pattern(parameter, default))

    def _pattern(self, parameter: str, default: str) -> str:
        given = self.parameters or {}
        return given.get(parameter) or default.format(given.get("ServicePattern", "*"))

    def permitted(self, names: Iterable[tuple[str, str, str, str]]) -> None:
        """Note what the deployer's patterns do not allow.

        Args:
            names: what it is, its name, the parameter, and the default of its pattern.
        """
        wrong: dict[str, list[str]] = {}
        for what, name, parameter, default in names:
            if not self._allows(name, parameter, default):
                pattern = self._pattern(parameter, default)
                problem = f"{what} {name} does not match {parameter} ({pattern})"
                wrong.setdefault(parameter, []).append(problem)
        if wrong:
            fix = (
                f"Set {', '.join(wrong)} of the deployer's stack in environments/, so that they"
                " match, and update it from a checkout:",
                "  make deploy MODE=infrastructure",
            )
            self.missing.append(Check("deployer", FAILED, "; ".join(chain(*wrong.values())), fix))


def _last(client: Any, operation: str, field: str, **about: str) -> list[str]:
    """Return the names at the ends of the ARNs that a List operation returns."""
    try:
        pages = client.get_paginator(operation).paginate(**about)
        return [arn.rpartition("/")[2] for page in pages for arn in page[field]]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ClusterNotFoundException":
            return []
        raise
