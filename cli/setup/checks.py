"""What must be right before anything is made: each check says what was found and the exact fix.

The functions with a plain value in and a Check out decide; the others ask AWS and pass on what they
found. A check without permission is a warning, never a failure.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from cli import quotas
from cli.aws import AWS_ERRORS, DENIED, Account, code_of, explained
from cli.checks import certificate, identity
from cli.doctor import findings
from cli.setup.changes import Standing, deletion
from cli.setup.settings import Named, Parameter, Stack, named
from cli.setup.stacks import Stacks
from deployer.check import FAILED, OK, WARNING, Check


# Service-linked roles that a stack's first resource needs. An account gets each with its first use
# of the service in the console, and CloudFormation's first use may come too early for it:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-service-linked-roles.html
@dataclass(frozen=True)
class ServiceRole:
    name: str
    service: str

    def exists(self, account: Account) -> bool:
        """Whether the account has it, by the path that AWS gives it."""
        iam, path = account.client("iam"), f"/aws-service-role/{self.service}/"
        return bool(iam.list_roles(PathPrefix=path, MaxItems=1)["Roles"])


SERVICE_ROLES = {
    "service": ServiceRole("AWSServiceRoleForECS", "ecs.amazonaws.com"),
    "load-balancer": ServiceRole(
        "AWSServiceRoleForElasticLoadBalancing", "elasticloadbalancing.amazonaws.com"
    ),
    "database": ServiceRole("AWSServiceRoleForRDS", "rds.amazonaws.com"),
}
"""By the kind of the stack."""

# Of these no other account's can be used; secrets and keys may be shared.
_OF_THE_ACCOUNT = (
    *("TargetGroupArn", "CertificateArn", "DocsCertificateArn", "SourceConnectionArn"),
    "TaskPolicyArns",
)

_ASKED = (
    *("acm", "cloudfront", "dynamodb", "ec2", "ecr", "ecs", "elbv2", "iam", "logs", "rds"),
    *("route53", "s3", "secretsmanager", "ssm"),
)

# What builds --------------------------------------------------------------------------------------


def tools(path: str | None = None) -> list[Check]:
    """The tools without which nothing can be built or deployed. `path`: where to look."""
    needed = {
        "sam": "  pip install aws-sam-cli   # or: make setup",
        "python3.13": "  make setup PYTHON=/path/to/python3.13   # `sam build` needs it",
    }
    found = []
    for tool, fix in needed.items():
        where = shutil.which(tool, path=path)
        found.append(
            Check(tool, OK, where) if where else Check(tool, FAILED, "not installed", (fix,))
        )
    return found


# Everything --------------------------------------------------------------------------------------


def everything(account: Account, needed: Sequence[Stack], values: Mapping[str, str]) -> list[Check]:
    """All checks before the stacks are made, asked at the same time.

    Args:
        values: effective settings.
    """
    known = tools(account.environment["PATH"]) + identity(account)
    if any(check.state == FAILED for check in known):
        return known
    caller = account.client("sts").get_caller_identity()
    look = _Look(account, needed, values, caller)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(look.at, look.all())
        return known + [check for checks in found for check in checks]


class _Look:
    def __init__(
        self,
        account: Account,
        needed: Sequence[Stack],
        values: Mapping[str, str],
        caller: Mapping[str, str],
    ) -> None:
        self._account, self._needed = account, needed
        partition = caller["Arn"].split(":")[1]
        self._values = dict(values) | {
            "AWS::AccountId": caller["Account"],
            "AWS::Region": account.region,
            "AWS::Partition": partition,
        }
        stacks = Stacks(account)
        states = {stack.kind: stacks.state(stack.name) for stack in needed}
        self._new = {
            kind for kind, s in states.items() if s.standing in (Standing.ABSENT, Standing.LEFTOVER)
        }
        there = [s for s in needed if states[s.kind].standing is not Standing.ABSENT]
        self._held = {
            stack.kind: {
                found["LogicalResourceId"]
                for found in stacks.resources(stack.name)
                if found["ResourceStatus"] not in ("CREATE_FAILED", "DELETE_COMPLETE")
            }
            for stack in there
        }
        self._partition = partition
        for service in _ASKED:
            account.client(service)  # made here, since making one is not thread-safe
        account.client("freetier", "us-east-1")
        self._quotas = quotas.Quotas(account)

    def all(self) -> list[tuple[str, Callable[[], Iterator[Check]]]]:
        return [
            ("names", self.names),
            ("VPC", self.network),
            ("zones", self.zones),
            ("accounts", self.accounts),
            ("certificate", self.certificate),
            ("hosted zone", self.zone),
            ("secrets", self.secrets),
            ("existing", self.existing),
            ("VPC quota", self.vpc_quota),
            ("address quota", self.address_quota),
            ("load balancer quota", self.load_balancer_quota),
            ("RDS quota", self.rds_quota),
            ("Fargate quota", self.fargate_quota),
            ("CodeBuild quota", self.build_quota),
            ("account plan", self.plan),
            ("CloudFront", self.distributions),
            ("service roles", self.service_roles),
        ]

    def at(self, named_check: tuple[str, Callable[[], Iterator[Check]]]) -> list[Check]:
        """What a check finds; a refusal to look is a warning."""
        name, check = named_check
        found = []
        try:
            for one in check():
                found.append(one)
        except AWS_ERRORS as error:
            what, _ = explained(error)
            denied = "no permission to check: " if code_of(error) in DENIED else "not checked: "
            found.append(Check(name, WARNING, denied + what))
        return found

    def _value(self, name: str) -> str:
        return self._values.get(name, "")

    def _values_of(self, name: str) -> list[str]:
        return [part.strip() for part in self._value(name).split(",") if part.strip()]

    # Names

    def names(self) -> Iterator[Check]:
        """Whether what the stacks are to make under a name is free to be made."""
        count = 0
        for stack in self._needed:
            values = self._values | {"AWS::StackName": stack.name}
            for one in named(stack, values):
                if one.logical in self._held.get(stack.kind, ()):
                    continue
                count += 1
                if problem := self._taken(one):
                    yield taken(stack, one, problem)
        if count:
            yield Check("names", OK, f"{count} looked up")

    def _taken(self, one: Named) -> str | None:
        """What there is of that name; None if it is free."""
        client = self._account.client
        missing = {
            "AWS::DynamoDB::Table": "ResourceNotFoundException",
            "AWS::ECR::Repository": "RepositoryNotFoundException",
            "AWS::ElasticLoadBalancingV2::LoadBalancer": "LoadBalancerNotFound",
            "AWS::IAM::Role": "NoSuchEntity",
            "AWS::RDS::DBInstance": "DBInstanceNotFound",
            "AWS::S3::Bucket": "404",
            "AWS::SSM::Parameter": "ParameterNotFound",
            "AWS::SecretsManager::Secret": "ResourceNotFoundException",
        }.get(one.type)
        try:
            match one.type:
                case "AWS::DynamoDB::Table":
                    client("dynamodb").describe_table(TableName=one.name)
                case "AWS::ECR::Repository":
                    client("ecr").describe_repositories(repositoryNames=[one.name])
                case "AWS::ECS::Cluster":
                    found = client("ecs").describe_clusters(clusters=[one.name])["clusters"]
                    return "is there" if found and found[0]["status"] == "ACTIVE" else None
                case "AWS::ElasticLoadBalancingV2::LoadBalancer":
                    client("elbv2").describe_load_balancers(Names=[one.name])
                case "AWS::IAM::Role":
                    client("iam").get_role(RoleName=one.name)
                case "AWS::Logs::LogGroup":
                    groups = client("logs").describe_log_groups(logGroupNamePrefix=one.name)
                    same = [g for g in groups["logGroups"] if g["logGroupName"] == one.name]
                    return "is there" if same else None
                case "AWS::RDS::DBInstance":
                    client("rds").describe_db_instances(DBInstanceIdentifier=one.name)
                case "AWS::S3::Bucket":
                    client("s3").head_bucket(Bucket=one.name)
                case "AWS::SSM::Parameter":
                    client("ssm").get_parameter(Name=one.name)
                case "AWS::SecretsManager::Secret":
                    secret = client("secretsmanager").describe_secret(SecretId=one.name)
                    return "is scheduled for deletion" if "DeletedDate" in secret else "is there"
                case _:
                    return None
        except ClientError as error:
            if code_of(error) in (missing, f"{missing}Fault", f"{missing}Exception"):
                return None
            raise
        return "is there"

    # The network

    def network(self) -> Iterator[Check]:
        """Whether the given VPC, subnets and security groups exist and belong together."""
        vpc = self._value("VpcId")
        ec2 = self._account.client("ec2")
        if vpc:
            try:
                described = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
                yield Check("VpcId", OK, vpc)
                yield from addresses(vpc, described, self._value("VpcCidr"))
            except ClientError as error:
                if code_of(error) not in ("InvalidVpcID.NotFound", "InvalidVpcId.NotFound"):
                    raise
                yield Check(
                    "VpcId",
                    FAILED,
                    f"there is no VPC {vpc} in {self._account.region}",
                    ("The VPCs:", "  aws ec2 describe-vpcs --query 'Vpcs[].[VpcId,CidrBlock]'"),
                )
                return
        for name in ("SubnetIds", "LoadBalancerSubnetIds", "DatabaseSubnetIds"):
            if ids := self._values_of(name):
                told = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": ids}])
                yield subnets(name, ids, told["Subnets"], vpc)
                if name == "SubnetIds":
                    yield from without_fargate(told["Subnets"], self._zones_parameter)
        for name in (
            "LoadBalancerSecurityGroupId",
            "ServiceSecurityGroupId",
            "DatabaseSecurityGroupId",
        ):
            if ids := self._values_of(name):
                told = ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": ids}])
                yield security_group(name, ids[0], told["SecurityGroups"], vpc)

    def zones(self) -> Iterator[Check]:
        """Whether the zones of a new VPC are there and have Fargate."""
        parameter = self._zones_parameter
        if parameter is None or "network" not in self._new or self._value("VpcId"):
            return
        ec2 = self._account.client("ec2")
        told = ec2.describe_availability_zones(
            Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}]
        )["AvailabilityZones"]
        default = [{"Name": "default-for-az", "Values": ["true"]}]
        subnets = ec2.describe_subnets(Filters=default)["Subnets"]
        yield zones(
            told,
            {subnet["AvailabilityZone"] for subnet in subnets},
            self._values_of("Zones"),
            parameter,
            self._account.region,
        )

    @property
    def _zones_parameter(self) -> Parameter | None:
        found = (s.parameters["Zones"] for s in self._needed if "Zones" in s.parameters)
        return next(found, None)

    # The domain

    def accounts(self) -> Iterator[Check]:
        """Whether what must be of this account is."""
        own = self._values["AWS::AccountId"]
        for name in _OF_THE_ACCOUNT:
            for arn in self._values_of(name):
                account = (arn.split(":") + [""] * 5)[4]
                if account not in ("", "aws", own):
                    fix = (
                        f"Name one of account {own}, or take another profile:",
                        "  aws sts get-caller-identity",
                    )
                    yield Check(name, FAILED, f"{arn} is of account {account}, not {own}", fix)

    def certificate(self) -> Iterator[Check]:
        """Whether the given certificate can be used for the domain."""
        if not (arn := self._value("CertificateArn")):
            return
        region = arn.split(":")[3]
        if region != self._account.region:
            yield Check(
                "CertificateArn",
                FAILED,
                f"the certificate is in {region}, the load balancer in {self._account.region}",
                ("A load balancer takes certificates of its own Region only; make one there.",),
            )
            return
        try:
            told = self._account.client("acm").describe_certificate(CertificateArn=arn)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            yield Check(
                "CertificateArn",
                FAILED,
                f"there is no certificate {arn}",
                (
                    "The certificates:",
                    "  aws acm list-certificates"
                    " --query 'CertificateSummaryList[].[CertificateArn,DomainName]'",
                ),
            )
            return
        wildcard = self._values.get("Application", "coder") == "coder"
        yield certificate(told["Certificate"], self._value("DomainName"), wildcard=wildcard)

    def zone(self) -> Iterator[Check]:
        """Whether the given hosted zone can hold the domain's records."""
        if not (zone := self._value("HostedZoneId")):
            return
        try:
            told = self._account.client("route53").get_hosted_zone(Id=zone)["HostedZone"]
        except ClientError as error:
            if code_of(error) != "NoSuchHostedZone":
                raise
            yield Check(
                "HostedZoneId",
                FAILED,
                f"there is no hosted zone {zone}",
                ("The zones:", "  aws route53 list-hosted-zones --query 'HostedZones[].[Id,Name]'"),
            )
            return
        private = told.get("Config", {}).get("PrivateZone", False)
        yield hosted_zone(zone, told["Name"], self._value("DomainName"), private=private)

    # What is there already

    def secrets(self) -> Iterator[Check]:
        """Whether the secrets exist, and the database's holds a URL as plain text."""
        client = self._account.client("secretsmanager")
        url = self._value("DatabaseUrlSecretArn")
        others = [a for a in self._values_of("SecretArns") if ":secretsmanager:" in a and a != url]
        for name, arn in [("DatabaseUrlSecretArn", url), *(("SecretArns", arn) for arn in others)]:
            if not arn:
                continue
            try:
                told = client.describe_secret(SecretId=arn)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
                yield Check(
                    name,
                    FAILED,
                    f"there is no secret {arn}",
                    ("The secrets:", "  aws secretsmanager list-secrets --query SecretList[].ARN"),
                )
                continue
            if "DeletedDate" in told:
                fix = ("Get it back:", f"  aws secretsmanager restore-secret --secret-id {arn}")
                yield Check(name, FAILED, "the secret is scheduled for deletion", fix)
            elif name == "DatabaseUrlSecretArn":
                yield database_url(
                    client.get_secret_value(SecretId=arn).get("SecretString", ""), arn
                )
            else:
                yield Check(name, OK, told["Name"])

    def existing(self) -> Iterator[Check]:
        """Whether the cluster, repository, target group and database that are given exist."""
        if name := self._value("ClusterName"):
            found = self._account.client("ecs").describe_clusters(clusters=[name])["clusters"]
            status = found[0]["status"] if found else "missing"
            fix = ("The clusters:", "  aws ecs list-clusters")
            good = status == "ACTIVE"
            yield Check(
                "ClusterName", OK if good else FAILED, f"{name} is {status}", () if good else fix
            )
        if name := self._value("RepositoryName"):
            yield self._exists(
                "RepositoryName",
                name,
                "RepositoryNotFoundException",
                lambda: self._account.client("ecr").describe_repositories(repositoryNames=[name]),
                "  aws ecr describe-repositories --query repositories[].repositoryName",
            )
        if name := self._value("DatabaseInstance"):
            yield self._exists(
                "DatabaseInstance",
                name,
                "DBInstanceNotFound",
                lambda: self._account.client("rds").describe_db_instances(
                    DBInstanceIdentifier=name
                ),
                "  aws rds describe-db-instances --query DBInstances[].DBInstanceIdentifier",
            )
        if arn := self._value("TargetGroupArn"):
            yield self._exists(
                "TargetGroupArn",
                arn,
                "TargetGroupNotFound",
                lambda: self._account.client("elbv2").describe_target_groups(TargetGroupArns=[arn]),
                "  aws elbv2 describe-target-groups --query TargetGroups[].TargetGroupArn",
            )

    def _exists(
        self, parameter: str, name: str, missing: str, ask: Callable[[], Any], listing: str
    ) -> Check:
        try:
            ask()
        except ClientError as error:
            if code_of(error) not in (missing, f"{missing}Fault", f"{missing}Exception"):
                raise
            fix = ("What there is:", listing)
            return Check(parameter, FAILED, f"there is no {name} in {self._account.region}", fix)
        return Check(parameter, OK, name)

    # What the account may have

    def vpc_quota(self) -> Iterator[Check]:
        """Whether the account may have one more VPC."""
        if "network" not in self._new or self._value("VpcId"):
            return
        pages = self._account.client("ec2").get_paginator("describe_vpcs").paginate()
        used = sum(len(page["Vpcs"]) for page in pages)
        quota = replace(self._quotas.look(quotas.VPCS), used=used)
        yield quotas.room(quota, 1, "give VpcId, one of your own")

    def address_quota(self) -> Iterator[Check]:
        """Whether the account may have the NAT gateways' addresses."""
        if "network" not in self._new or self._value("VpcId"):
            return
        if self._values.get("PrivateTasks") != "true":
            return
        ec2 = self._account.client("ec2")
        used = len(ec2.describe_addresses()["Addresses"])
        told = ec2.describe_account_attributes(AttributeNames=["vpc-max-elastic-ips"])
        most = int(told["AccountAttributes"][0]["AttributeValues"][0]["AttributeValue"])
        more = int(self._value("NatGateways") or 1)
        quota = replace(quotas.ADDRESSES, used=used, value=most)
        yield quotas.room(quota, more, "set PrivateTasks: false")

    def load_balancer_quota(self) -> Iterator[Check]:
        """Whether the account may have one more load balancer."""
        if "load-balancer" not in self._new:
            return
        elb = self._account.client("elbv2")
        pages = elb.get_paginator("describe_load_balancers").paginate()
        used = sum(b["Type"] == "application" for page in pages for b in page["LoadBalancers"])
        limits = {limit["Name"]: limit["Max"] for limit in elb.describe_account_limits()["Limits"]}
        if most := limits.get("application-load-balancers"):
            yield quotas.room(replace(quotas.LOAD_BALANCERS, used=used, value=int(most)), 1)

    def rds_quota(self) -> Iterator[Check]:
        """Whether the account may have one more database instance."""
        if "database" not in self._new:
            return
        told = self._account.client("rds").describe_account_attributes()["AccountQuotas"]
        for found in told:
            if found["AccountQuotaName"] == "DBInstances":
                quota = replace(quotas.DATABASES, used=found["Used"], value=found["Max"])
                yield quotas.room(quota, 1)

    def fargate_quota(self) -> Iterator[Check]:
        """Whether the service's tasks fit into the account's vCPUs."""
        if "service" not in self._new or not self._value("Cpu"):
            return
        yield quotas.fargate(
            self._quotas.look(quotas.FARGATE),
            int(self._value("Cpu")),
            int(self._value("DesiredCount") or 1),
            overlap=self._value("Strategy") == "rolling",
        )

    def build_quota(self) -> Iterator[Check]:
        """Whether CodeBuild may run what builds the image, and the docs site."""
        if "deployer" not in self._new or not self._value("BuildComputeType"):
            return
        sizes = [self._value("BuildComputeType")]
        sizes += ["BUILD_GENERAL1_LARGE"] if self._needs("docs") else []
        for size in dict.fromkeys(sizes):
            yield quotas.concurrency(self._quotas.look(quotas.builds(size)))

    def plan(self) -> Iterator[Check]:
        """Whether the account's plan allows a database."""
        if self._new and self._partition == "aws":
            yield quotas.account_plan(self._account, database="database" in self._new)

    def distributions(self) -> Iterator[Check]:
        """Whether the account may create distributions of CloudFront, as far as that can be known.

        No API tells whether an account is verified; one that has a distribution is.
        """
        if "docs" not in self._new:
            return
        if self._partition != "aws":
            yield cloudfront(self._partition, 0)
            return
        told = self._account.client("cloudfront").list_distributions(MaxItems="1")
        yield cloudfront(self._partition, len(told["DistributionList"].get("Items", ())))

    def service_roles(self) -> Iterator[Check]:
        """Whether the service-linked roles are there, which new accounts lack."""
        for kind, role in SERVICE_ROLES.items():
            if kind in self._new:
                there = role.exists(self._account)
                said = "" if there else " is missing, and is created first"
                yield Check("service roles", OK, f"{role.name}{said}")

    def _needs(self, kind: str) -> bool:
        return any(stack.kind == kind for stack in self._needed)


# What the findings mean --------------------------------------------------------------------------


def taken(stack: Stack, one: Named, problem: str) -> Check:
    """A name that a stack needs and something else has."""
    kind = one.type.removeprefix("AWS::")
    found = f"{kind} {one.name} {problem}, and not as {one.logical} of the stack {stack.name}"
    if problem == "is scheduled for deletion":
        fix = [
            "Delete it at once:",
            f"  {deletion(one.type, one.name)}",
        ]
    else:
        parameter = {
            "AWS::ECR::Repository": "RepositoryName",
            "AWS::ECS::Cluster": "ClusterName",
        }.get(one.type)
        keep = parameter and parameter in stack.parameters
        fix = [f"To use it, add to the settings:  {parameter}: {one.name}"] if keep else []
        fix += [
            "Perhaps an earlier attempt left it. If it is not needed, delete it:",
            f"  {deletion(one.type, one.name)}",
        ]
        if not keep:
            fix.append("or give the service another name (ServiceName).")
    return Check("names", FAILED, found, tuple(fix))


def subnets(
    parameter: str, ids: Sequence[str], found: Sequence[Mapping[str, Any]], vpc: str
) -> Check:
    """Whether subnets exist, lie in the VPC and in two zones. `found`: by DescribeSubnets."""
    by_id = {subnet["SubnetId"]: subnet for subnet in found}
    where = (
        "Its subnets:",
        "  aws ec2 describe-subnets --query"
        " 'Subnets[].[SubnetId,VpcId,AvailabilityZone,CidrBlock]'",
    )
    if absent := [name for name in ids if name not in by_id]:
        return Check(parameter, FAILED, f"there is no subnet {', '.join(absent)}", where)
    strange = [name for name in ids if vpc and by_id[name]["VpcId"] != vpc]
    if strange:
        other = by_id[strange[0]]["VpcId"]
        said = f"{', '.join(strange)} is in {other}, not in VpcId {vpc}"
        return Check(parameter, FAILED, said, where)
    zones = {by_id[name]["AvailabilityZone"] for name in ids}
    if len(zones) < 2:
        said = f"all are in {zones.pop()}, but two zones are needed"
        return Check(parameter, FAILED, said, where)
    return Check(parameter, OK, f"{len(ids)} subnets in {', '.join(sorted(zones))}")


def addresses(vpc: str, described: Mapping[str, Any], given: str) -> Iterator[Check]:
    """Whether VpcCidr is what an existing VPC has. `described`: by DescribeVpcs."""
    blocks = [described["CidrBlock"]]
    blocks += [a["CidrBlock"] for a in described.get("CidrBlockAssociationSet", ())]
    if given and given not in blocks:
        fix = ("Set it to that in the settings:", f"  VpcCidr: {blocks[0]}")
        said = f"{given} is not of {vpc}, which has {', '.join(dict.fromkeys(blocks))}"
        yield Check("VpcCidr", FAILED, said, fix)


def has_fargate(zone: str, parameter: Parameter) -> bool:
    """Whether a zone, by its id, has Fargate: the parameter Zones admits none that has not."""
    return parameter.problem(f"{zone},zz9-az9") is None


def without_fargate(
    found: Sequence[Mapping[str, Any]], parameter: Parameter | None
) -> Iterator[Check]:
    """The subnets for tasks in whose zone there is no Fargate. `found`: by DescribeSubnets."""
    for subnet in found:
        zone = subnet.get("AvailabilityZoneId")
        if parameter and zone and not has_fargate(zone, parameter):
            said = f"{subnet['SubnetId']} is in {zone} ({subnet['AvailabilityZone']}), which has"
            where = (
                "Name subnets in other zones:",
                "  aws ec2 describe-subnets --query"
                " 'Subnets[].[SubnetId,AvailabilityZoneId,VpcId]' --output text",
            )
            yield Check("SubnetIds", FAILED, f"{said} no Fargate", where)


def zones(
    told: Sequence[Mapping[str, Any]],
    default: Collection[str],
    given: Sequence[str],
    parameter: Parameter,
    region: str,
) -> Check:
    """Whether a new VPC comes to lie in two zones that have Fargate.

    Names of zones mean other zones in each account; ids do not
    (https://docs.aws.amazon.com/ram/latest/userguide/working-with-az-ids.html).

    Args:
        told: the Region's zones, by DescribeAvailabilityZones.
        default: the names of those with a default subnet: `Fn::GetAZs` takes no other where there
            are some.
        given: the ids that the settings name; none leaves the choice to `Fn::GetAZs`.
    """
    ids = {zone["ZoneName"]: zone["ZoneId"] for zone in told if zone.get("State") == "available"}
    good = [ids[name] for name in sorted(ids) if has_fargate(ids[name], parameter)]
    fix = ("Name two that have Fargate in the settings:", f"  Zones: {','.join(good[:2])}")
    if absent := [zone for zone in given if zone not in ids.values()]:
        said = f"there is no zone {', '.join(absent)} in {region}"
        return Check("Zones", FAILED, said, fix)
    taken = [ids[name] for name in sorted(ids) if name in default or not default][:2]
    if len(given or taken) < 2:
        said = f"{region} has fewer than two zones for this account"
        return Check("Zones", FAILED, said, ("Take another Region.",))
    if wrong := [zone for zone in given or taken if not has_fargate(zone, parameter)]:
        said = f"the VPC would lie in {', '.join(wrong)}, which has no Fargate"
        return Check("Zones", FAILED, said, fix)
    return Check("Zones", OK, ", ".join(given or taken))


def cloudfront(partition: str, distributions: int) -> Check:
    """Whether the docs site can be served. `distributions`: how many there are, at most 1."""
    name = "CloudFront"
    if partition != "aws":
        fix = (
            "Go on without a docs site, or name another one; add to the settings:",
            "  DocsUrl: none",
        )
        return Check(name, FAILED, f"the docs site cannot be served in partition {partition}", fix)
    if distributions:
        return Check(name, OK, "the account has distributions, so it is verified for them")
    fix = (
        "If it is refused, all else is there by then, since the docs site is created last; the"
        " message says what to do. To go on without a docs site, add to the settings:",
        "  DocsUrl: none",
    )
    found = (
        "the account has no distribution yet, and AWS refuses the first one to some new accounts"
        " until they are verified; no API tells beforehand"
    )
    return Check(name, WARNING, found, fix)


def security_group(
    parameter: str, name: str, found: Sequence[Mapping[str, Any]], vpc: str
) -> Check:
    """Whether a security group exists and is of the VPC."""
    where = (
        "The groups:",
        "  aws ec2 describe-security-groups --query 'SecurityGroups[].[GroupId,VpcId,GroupName]'",
    )
    if not found:
        return Check(parameter, FAILED, f"there is no security group {name}", where)
    if vpc and found[0]["VpcId"] != vpc:
        said = f"{name} is of {found[0]['VpcId']}, not of VpcId {vpc}"
        return Check(parameter, FAILED, said, where)
    return Check(parameter, OK, f"{name}, {found[0].get('GroupName', '')}")


def hosted_zone(zone: str, name: str, domain: str, *, private: bool) -> Check:
    """Whether a zone is public and the domain is in it. `name`: the zone's, as Route 53 has it."""
    name = name.rstrip(".")
    where = ("The zones:", "  aws route53 list-hosted-zones --query 'HostedZones[].[Id,Name]'")
    if private:
        return Check(
            "HostedZoneId", FAILED, f"{zone} ({name}) is private; a public one is needed", where
        )
    if domain != name and not domain.endswith(f".{name}"):
        said = f"{zone} is the zone of {name}, and DomainName {domain} is not in it"
        return Check("HostedZoneId", FAILED, said, where)
    return Check("HostedZoneId", OK, f"{zone}, {name}")


def database_url(value: str, arn: str) -> Check:
    """Whether a secret is a connection URL as plain text. The value itself is never told."""
    name = "DatabaseUrlSecretArn"
    if problem := findings.url_problem(value):
        return Check(name, FAILED, problem, findings.url_fix(arn))
    return Check(name, OK, "a connection URL as plain text")
