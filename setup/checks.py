"""Check everything before any stack is created; each check reports its result and the exact fix.

The functions that return a Check decide, from plain values; the methods call AWS. A check without
permission is a warning, never a failure.
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
from deployer.check import FAILED, OK, WARNING, Check
from deployer.notify import delivery
from setup.changes import Standing, deletion
from setup.settings import Named, Parameter, Stack, named
from setup.stacks import Stacks


# Service-linked roles that a stack's first resource needs. The console creates each at the first
# use of its service; CloudFormation may create the resource before the role is ready:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-service-linked-roles.html
@dataclass(frozen=True)
class ServiceRole:
    name: str
    service: str

    def exists(self, account: Account) -> bool:
        """Return whether the account has it, by the path that AWS sets."""
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

# These must belong to this account; secrets and keys may be shared.
_OWN_ACCOUNT_ONLY = (
    *("TargetGroupArn", "CertificateArn", "DocsCertificateArn", "SourceConnectionArn"),
    "TaskPolicyArns",
)

_SERVICES = (
    *("acm", "cloudfront", "dynamodb", "ec2", "ecr", "ecs", "elbv2", "iam", "logs", "rds"),
    *("route53", "s3", "secretsmanager", "ssm"),
)

# Tools --------------------------------------------------------------------------------------------


def tools(path: str | None = None) -> list[Check]:
    """Check the tools that builds and deployments need.

    Args:
        path: the PATH to search.
    """
    fixes = {
        "sam": "  pip install aws-sam-cli   # or: make setup",
        "python3.13": "  make setup PYTHON=/path/to/python3.13   # `sam build` needs it",
    }
    results = []
    for tool, fix in fixes.items():
        location = shutil.which(tool, path=path)
        results.append(
            Check(tool, OK, location) if location else Check(tool, FAILED, "not installed", (fix,))
        )
    return results


# All checks ---------------------------------------------------------------------------------------


def everything(account: Account, needed: Sequence[Stack], values: Mapping[str, str]) -> list[Check]:
    """Run all checks before the stacks are created, in parallel.
    Args:
        values: effective settings.
    """
    results = tools(account.environment["PATH"]) + identity(account)
    if any(check.state == FAILED for check in results):
        return results
    caller = account.client("sts").get_caller_identity()
    suite = _Checks(account, needed, values, caller)
    with ThreadPoolExecutor(8) as pool:
        pending = pool.map(suite.at, suite.all())
        return results + [check for checks in pending for check in checks]


class _Checks:
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
        existing = [s for s in needed if states[s.kind].standing is not Standing.ABSENT]
        self._existing_resources = {
            stack.kind: {
                resource["LogicalResourceId"]
                for resource in stacks.resources(stack.name)
                if resource["ResourceStatus"] not in ("CREATE_FAILED", "DELETE_COMPLETE")
            }
            for stack in existing
        }
        self._partition = partition
        for service in _SERVICES:
            account.client(service)  # created here, because that is not thread-safe
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
            ("notifications", self.notifications),
            ("OIDC provider", self.oidc_provider),
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

    def at(self, entry: tuple[str, Callable[[], Iterator[Check]]]) -> list[Check]:
        """Return the results of a check; an error of AWS is a warning."""
        name, check = entry
        results = []
        try:
            for result in check():
                results.append(result)
        except AWS_ERRORS as error:
            what, _ = explained(error)
            denied = "no permission to check: " if code_of(error) in DENIED else "not checked: "
            results.append(Check(name, WARNING, denied + what))
        return results

    def _value(self, name: str) -> str:
        return self._values.get(name, "")

    def _values_of(self, name: str) -> list[str]:
        return [part.strip() for part in self._value(name).split(",") if part.strip()]

    # Names

    def names(self) -> Iterator[Check]:
        """Check that the names of the new resources are free."""
        count = 0
        for stack in self._needed:
            values = self._values | {"AWS::StackName": stack.name}
            for resource in named(stack, values):
                if resource.logical in self._existing_resources.get(stack.kind, ()):
                    continue
                count += 1
                if problem := self._taken(resource):
                    yield taken(stack, resource, problem)
        if count:
            yield Check("names", OK, f"{count} looked up")

    def _taken(self, resource: Named) -> str | None:
        """Return the state of the resource with that name; None if the name is free."""
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
        }.get(resource.type)
        try:
            match resource.type:
                case "AWS::DynamoDB::Table":
                    client("dynamodb").describe_table(TableName=resource.name)
                case "AWS::ECR::Repository":
                    client("ecr").describe_repositories(repositoryNames=[resource.name])
                case "AWS::ECS::Cluster":
                    clusters = client("ecs").describe_clusters(clusters=[resource.name])["clusters"]
                    return "is there" if clusters and clusters[0]["status"] == "ACTIVE" else None
                case "AWS::ElasticLoadBalancingV2::LoadBalancer":
                    client("elbv2").describe_load_balancers(Names=[resource.name])
                case "AWS::IAM::Role":
                    client("iam").get_role(RoleName=resource.name)
                case "AWS::Logs::LogGroup":
                    groups = client("logs").describe_log_groups(logGroupNamePrefix=resource.name)
                    matches = [g for g in groups["logGroups"] if g["logGroupName"] == resource.name]
                    return "is there" if matches else None
                case "AWS::RDS::DBInstance":
                    client("rds").describe_db_instances(DBInstanceIdentifier=resource.name)
                case "AWS::S3::Bucket":
                    client("s3").head_bucket(Bucket=resource.name)
                case "AWS::SSM::Parameter":
                    client("ssm").get_parameter(Name=resource.name)
                case "AWS::SecretsManager::Secret":
                    secret = client("secretsmanager").describe_secret(SecretId=resource.name)
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
        """Check that the given VPC, subnets and security groups exist and belong together."""
        vpc = self._value("VpcId")
        ec2 = self._account.client("ec2")
        if vpc:
            try:
                description = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
                yield Check("VpcId", OK, vpc)
                yield from addresses(vpc, description, self._value("VpcCidr"))
            except ClientError as error:
                if code_of(error) not in ("InvalidVpcID.NotFound", "InvalidVpcId.NotFound"):
                    raise
                yield Check(
                    "VpcId",
                    FAILED,
                    f"VPC {vpc} does not exist in {self._account.region}",
                    ("The VPCs:", "  aws ec2 describe-vpcs --query 'Vpcs[].[VpcId,CidrBlock]'"),
                )
                return
        subnet_parameters = ("SubnetIds", "LoadBalancerSubnetIds", "DatabaseSubnetIds")
        for name in (*subnet_parameters, "VerifySubnetIds"):
            if ids := self._values_of(name):
                response = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": ids}])
                yield subnets(name, ids, response["Subnets"], vpc)
                if name == "SubnetIds":
                    yield from without_fargate(response["Subnets"], self._zones_parameter)
        for name in (
            "LoadBalancerSecurityGroupId",
            "ServiceSecurityGroupId",
            "DatabaseSecurityGroupId",
            "VerifySecurityGroupId",
        ):
            if ids := self._values_of(name):
                response = ec2.describe_security_groups(
                    Filters=[{"Name": "group-id", "Values": ids}]
                )
                yield security_group(name, ids[0], response["SecurityGroups"], vpc)

    def zones(self) -> Iterator[Check]:
        """Check that the zones of a new VPC exist and have Fargate."""
        parameter = self._zones_parameter
        if parameter is None or "network" not in self._new or self._value("VpcId"):
            return
        ec2 = self._account.client("ec2")
        available = ec2.describe_availability_zones(
            Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}]
        )["AvailabilityZones"]
        default = [{"Name": "default-for-az", "Values": ["true"]}]
        subnets = ec2.describe_subnets(Filters=default)["Subnets"]
        yield zones(
            available,
            {subnet["AvailabilityZone"] for subnet in subnets},
            self._values_of("Zones"),
            parameter,
            self._account.region,
        )

    @property
    def _zones_parameter(self) -> Parameter | None:
        candidates = (s.parameters["Zones"] for s in self._needed if "Zones" in s.parameters)
        return next(candidates, None)

    # The domain

    def accounts(self) -> Iterator[Check]:
        """Check that the resources which must belong to this account do."""
        caller_account = self._values["AWS::AccountId"]
        for name in _OWN_ACCOUNT_ONLY:
            for arn in self._values_of(name):
                account = (arn.split(":") + [""] * 5)[4]
                if account not in ("", "aws", caller_account):
                    fix = (
                        f"Name one of account {caller_account}, or use another profile:",
                        "  aws sts get-caller-identity",
                    )
                    yield Check(
                        name, FAILED, f"{arn} is of account {account}, not {caller_account}", fix
                    )

    def certificate(self) -> Iterator[Check]:
        """Check that the given certificate can be used for the domain."""
        if not (arn := self._value("CertificateArn")):
            return
        region = arn.split(":")[3]
        if region != self._account.region:
            yield Check(
                "CertificateArn",
                FAILED,
                f"the certificate is in {region}, the load balancer in {self._account.region}",
                ("A load balancer needs a certificate in its own Region; create one there.",),
            )
            return
        try:
            response = self._account.client("acm").describe_certificate(CertificateArn=arn)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            yield Check(
                "CertificateArn",
                FAILED,
                f"certificate {arn} does not exist",
                (
                    "The certificates:",
                    "  aws acm list-certificates"
                    " --query 'CertificateSummaryList[].[CertificateArn,DomainName]'",
                ),
            )
            return
        wildcard = self._values.get("Application", "coder") == "coder"
        yield certificate(response["Certificate"], self._value("DomainName"), wildcard=wildcard)

    def zone(self) -> Iterator[Check]:
        """Check that the given hosted zone can hold the domain's records."""
        if not (zone := self._value("HostedZoneId")):
            return
        try:
            description = self._account.client("route53").get_hosted_zone(Id=zone)["HostedZone"]
        except ClientError as error:
            if code_of(error) != "NoSuchHostedZone":
                raise
            yield Check(
                "HostedZoneId",
                FAILED,
                f"hosted zone {zone} does not exist",
                ("The zones:", "  aws route53 list-hosted-zones --query 'HostedZones[].[Id,Name]'"),
            )
            return
        private = description.get("Config", {}).get("PrivateZone", False)
        yield hosted_zone(zone, description["Name"], self._value("DomainName"), private=private)

    # Existing resources

    def secrets(self) -> Iterator[Check]:
        """Check that the secrets exist, and that the database's secret is a URL as plain text."""
        client = self._account.client("secretsmanager")
        url = self._value("DatabaseUrlSecretArn")
        others = [a for a in self._values_of("SecretArns") if ":secretsmanager:" in a and a != url]
        for name, arn in [("DatabaseUrlSecretArn", url), *(("SecretArns", arn) for arn in others)]:
            if not arn:
                continue
            try:
                description = client.describe_secret(SecretId=arn)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
                yield Check(
                    name,
                    FAILED,
                    f"secret {arn} does not exist",
                    ("The secrets:", "  aws secretsmanager list-secrets --query SecretList[].ARN"),
                )
                continue
            if "DeletedDate" in description:
                fix = ("Restore it:", f"  aws secretsmanager restore-secret --secret-id {arn}")
                yield Check(name, FAILED, "the secret is scheduled for deletion", fix)
            elif name == "DatabaseUrlSecretArn":
                yield database_url(
                    client.get_secret_value(SecretId=arn).get("SecretString", ""), arn
                )
            else:
                yield Check(name, OK, description["Name"])

    def notifications(self) -> Iterator[Check]:
        """Check that what is to be notified has its secret, in its form, without showing it."""
        client, stack = self._account.client("secretsmanager"), self._value("DeployerStack")
        wanted = {
            "slack": ("Slack", self._value("Slack") == "true"),
            "webhook": ("Webhook", self._value("Webhook") == "true"),
            "github": ("GitHubRepositories", bool(self._value("GitHubRepositories"))),
        }
        for to, name in ((to, name) for to, (name, asked) in wanted.items() if asked):
            secret = f"{stack}/{to}"
            try:
                value = client.get_secret_value(SecretId=secret).get("SecretString", "")
            except ClientError as error:
                if code_of(error) not in ("ResourceNotFoundException", "InvalidRequestException"):
                    raise
                value = ""
            yield notified(name, to, secret, value)

    def oidc_provider(self) -> Iterator[Check]:
        """Check that the account has no OIDC provider yet that the stack would create."""
        hosts = {
            "GitHubSubject": "token.actions.githubusercontent.com",
            "GitLabSubject": "gitlab.com",
        }
        host = next((host for name, host in hosts.items() if self._value(name)), None)
        own = self._existing_resources.get("notifications", ())
        if host is None or self._value("CiProviderArn") or "CiProvider" in own:
            return
        listed = self._account.client("iam").list_open_id_connect_providers()
        arns = [provider["Arn"] for provider in listed["OpenIDConnectProviderList"]]
        for arn in (arn for arn in arns if arn.endswith(f":oidc-provider/{host}")):
            fix = (
                "An account has one for a host. Set in environments/:",
                f"  CiProviderArn: {arn}",
            )
            yield Check("CiProviderArn", FAILED, f"{arn} is there already", fix)

    def existing(self) -> Iterator[Check]:
        """Check that the given cluster, repository, target group and database exist."""
        if name := self._value("ClusterName"):
            clusters = self._account.client("ecs").describe_clusters(clusters=[name])["clusters"]
            status = clusters[0]["status"] if clusters else "missing"
            fix = ("The clusters:", "  aws ecs list-clusters")
            active = status == "ACTIVE"
            yield Check(
                "ClusterName",
                OK if active else FAILED,
                f"{name} is {status}",
                () if active else fix,
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
        self, parameter: str, name: str, missing: str, request: Callable[[], Any], listing: str
    ) -> Check:
        try:
            request()
        except ClientError as error:
            if code_of(error) not in (missing, f"{missing}Fault", f"{missing}Exception"):
                raise
            fix = ("List the existing ones:", listing)
            problem = f"{name} does not exist in {self._account.region}"
            return Check(parameter, FAILED, problem, fix)
        return Check(parameter, OK, name)

    # Quotas

    def vpc_quota(self) -> Iterator[Check]:
        """Check the quota for one more VPC."""
        if "network" not in self._new or self._value("VpcId"):
            return
        pages = self._account.client("ec2").get_paginator("describe_vpcs").paginate()
        used = sum(len(page["Vpcs"]) for page in pages)
        quota = replace(self._quotas.look(quotas.VPCS), used=used)
        yield quotas.room(quota, 1, "give VpcId, one of your own")

    def address_quota(self) -> Iterator[Check]:
        """Check the quota for the NAT gateways' addresses."""
        if "network" not in self._new or self._value("VpcId"):
            return
        if self._values.get("PrivateTasks") != "true":
            return
        ec2 = self._account.client("ec2")
        used = len(ec2.describe_addresses()["Addresses"])
        response = ec2.describe_account_attributes(AttributeNames=["vpc-max-elastic-ips"])
        limit = int(response["AccountAttributes"][0]["AttributeValues"][0]["AttributeValue"])
        needed = int(self._value("NatGateways") or 1)
        quota = replace(quotas.ADDRESSES, used=used, value=limit)
        yield quotas.room(quota, needed, "set PrivateTasks: false")

    def load_balancer_quota(self) -> Iterator[Check]:
        """Check the quota for one more load balancer."""
        if "load-balancer" not in self._new:
            return
        elb = self._account.client("elbv2")
        pages = elb.get_paginator("describe_load_balancers").paginate()
        used = sum(b["Type"] == "application" for page in pages for b in page["LoadBalancers"])
        limits = {limit["Name"]: limit["Max"] for limit in elb.describe_account_limits()["Limits"]}
        if most := limits.get("application-load-balancers"):
            yield quotas.room(replace(quotas.LOAD_BALANCERS, used=used, value=int(most)), 1)

    def rds_quota(self) -> Iterator[Check]:
        """Check the quota for one more database instance."""
        if "database" not in self._new:
            return
        account_quotas = self._account.client("rds").describe_account_attributes()["AccountQuotas"]
        for account_quota in account_quotas:
            if account_quota["AccountQuotaName"] == "DBInstances":
                quota = replace(
                    quotas.DATABASES, used=account_quota["Used"], value=account_quota["Max"]
                )
                yield quotas.room(quota, 1)

    def fargate_quota(self) -> Iterator[Check]:
        """Check the quota of Fargate vCPUs for the service's tasks."""
        if "service" not in self._new or not self._value("Cpu"):
            return
        yield quotas.fargate(
            self._quotas.look(quotas.FARGATE),
            int(self._value("Cpu")),
            int(self._value("DesiredCount") or 1),
            overlap=self._value("Strategy") == "rolling",
        )

    def build_quota(self) -> Iterator[Check]:
        """Check the quota of CodeBuild for builds of the image and the docs site."""
        if "deployer" not in self._new or not self._value("BuildComputeType"):
            return
        sizes = [self._value("BuildComputeType")]
        sizes += ["BUILD_GENERAL1_LARGE"] if self._needs("docs") else []
        for size in dict.fromkeys(sizes):
            yield quotas.concurrency(self._quotas.look(quotas.builds(size)))

    def plan(self) -> Iterator[Check]:
        """Check that the account's plan allows a database."""
        if self._new and self._partition == "aws":
            yield quotas.account_plan(self._account, database="database" in self._new)

    def distributions(self) -> Iterator[Check]:
        """Check that the account may create CloudFront distributions.

        No API reports whether an account is verified; one that has a distribution is.
        """
        if "docs" not in self._new:
            return
        if self._partition != "aws":
            yield cloudfront(self._partition, 0)
            return
        response = self._account.client("cloudfront").list_distributions(MaxItems="1")
        yield cloudfront(self._partition, len(response["DistributionList"].get("Items", ())))

    def service_roles(self) -> Iterator[Check]:
        """Report the service-linked roles that are missing, as in new accounts."""
        for kind, role in SERVICE_ROLES.items():
            if kind in self._new:
                exists = role.exists(self._account)
                note = "" if exists else " is missing, and is created first"
                yield Check("service roles", OK, f"{role.name}{note}")

    def _needs(self, kind: str) -> bool:
        return any(stack.kind == kind for stack in self._needed)


# Decisions ----------------------------------------------------------------------------------------


def taken(stack: Stack, resource: Named, problem: str) -> Check:
    """Return the failed check of a name that a stack needs and another resource has."""
    kind = resource.type.removeprefix("AWS::")
    conflict = (
        f"{kind} {resource.name} {problem}, and not as {resource.logical} of the stack {stack.name}"
    )
    if problem == "is scheduled for deletion":
        fix = [
            "Delete it immediately:",
            f"  {deletion(resource.type, resource.name)}",
        ]
    else:
        parameter = {
            "AWS::ECR::Repository": "RepositoryName",
            "AWS::ECS::Cluster": "ClusterName",
        }.get(resource.type)
        keep = parameter and parameter in stack.parameters
        fix = [f"To use it, add to the settings:  {parameter}: {resource.name}"] if keep else []
        fix += [
            "Perhaps an earlier attempt left it. If it is not needed, delete it:",
            f"  {deletion(resource.type, resource.name)}",
        ]
        if not keep:
            fix.append("or give the service another name (ServiceName).")
    return Check("names", FAILED, conflict, tuple(fix))


def subnets(
    parameter: str, ids: Sequence[str], descriptions: Sequence[Mapping[str, Any]], vpc: str
) -> Check:
    """Check that subnets exist, in the VPC and in two zones.

    Args:
        descriptions: from DescribeSubnets.
    """
    by_id = {subnet["SubnetId"]: subnet for subnet in descriptions}
    advice = (
        "Its subnets:",
        "  aws ec2 describe-subnets --query"
        " 'Subnets[].[SubnetId,VpcId,AvailabilityZone,CidrBlock]'",
    )
    if missing := [name for name in ids if name not in by_id]:
        return Check(parameter, FAILED, f"subnet {', '.join(missing)} does not exist", advice)
    elsewhere = [name for name in ids if vpc and by_id[name]["VpcId"] != vpc]
    if elsewhere:
        other = by_id[elsewhere[0]]["VpcId"]
        problem = f"{', '.join(elsewhere)} is in {other}, not in VpcId {vpc}"
        return Check(parameter, FAILED, problem, advice)
    zones = {by_id[name]["AvailabilityZone"] for name in ids}
    if len(zones) < 2:
        problem = f"all are in {zones.pop()}, but two zones are needed"
        return Check(parameter, FAILED, problem, advice)
    return Check(parameter, OK, f"{len(ids)} subnets in {', '.join(sorted(zones))}")


def addresses(vpc: str, description: Mapping[str, Any], cidr: str) -> Iterator[Check]:
    """Check that VpcCidr is a CIDR block of an existing VPC.

    Args:
        description: from DescribeVpcs.
    """
    blocks = [description["CidrBlock"]]
    blocks += [a["CidrBlock"] for a in description.get("CidrBlockAssociationSet", ())]
    if cidr and cidr not in blocks:
        fix = ("Set it to that in the settings:", f"  VpcCidr: {blocks[0]}")
        problem = f"{cidr} is not of {vpc}, which has {', '.join(dict.fromkeys(blocks))}"
        yield Check("VpcCidr", FAILED, problem, fix)


def has_fargate(zone: str, parameter: Parameter) -> bool:
    """Return whether a zone, by its id, has Fargate: the parameter Zones allows no other zones."""
    return parameter.problem(f"{zone},zz9-az9") is None


def without_fargate(
    descriptions: Sequence[Mapping[str, Any]], parameter: Parameter | None
) -> Iterator[Check]:
    """Yield a failed check for each subnet in a zone without Fargate.

    Args:
        descriptions: from DescribeSubnets.
    """
    for subnet in descriptions:
        zone = subnet.get("AvailabilityZoneId")
        if parameter and zone and not has_fargate(zone, parameter):
            problem = f"{subnet['SubnetId']} is in {zone} ({subnet['AvailabilityZone']}), which has"
            advice = (
                "Name subnets in other zones:",
                "  aws ec2 describe-subnets --query"
                " 'Subnets[].[SubnetId,AvailabilityZoneId,VpcId]' --output text",
            )
            yield Check("SubnetIds", FAILED, f"{problem} no Fargate", advice)


def zones(
    descriptions: Sequence[Mapping[str, Any]],
    default: Collection[str],
    chosen: Sequence[str],
    parameter: Parameter,
    region: str,
) -> Check:
    """Check that a new VPC would use two zones that have Fargate.

    The names of zones differ between accounts; their ids do not
    (https://docs.aws.amazon.com/ram/latest/userguide/working-with-az-ids.html).

    Args:
        descriptions: the Region's zones, from DescribeAvailabilityZones.
        default: the names of the zones with a default subnet: `Fn::GetAZs` returns only these, if
            there are any.
        chosen: the ids in the settings; if empty, `Fn::GetAZs` chooses.
    """
    ids = {
        zone["ZoneName"]: zone["ZoneId"]
        for zone in descriptions
        if zone.get("State") == "available"
    }
    suitable = [ids[name] for name in sorted(ids) if has_fargate(ids[name], parameter)]
    fix = ("Name two that have Fargate in the settings:", f"  Zones: {','.join(suitable[:2])}")
    if missing := [zone for zone in chosen if zone not in ids.values()]:
        problem = f"zone {', '.join(missing)} does not exist in {region}"
        return Check("Zones", FAILED, problem, fix)
    defaults = [ids[name] for name in sorted(ids) if name in default or not default][:2]
    if len(chosen or defaults) < 2:
        problem = f"{region} has fewer than two zones for this account"
        return Check("Zones", FAILED, problem, ("Use another Region.",))
    if unsuitable := [zone for zone in chosen or defaults if not has_fargate(zone, parameter)]:
        problem = f"the VPC would use {', '.join(unsuitable)}, which has no Fargate"
        return Check("Zones", FAILED, problem, fix)
    return Check("Zones", OK, ", ".join(chosen or defaults))


def cloudfront(partition: str, distributions: int) -> Check:
    """Check that the docs site can be served.

    Args:
        distributions: how many the account has; 1 stands for more.
    """
    name = "CloudFront"
    if partition != "aws":
        fix = (
            "Deploy without a docs site, or link to another one; add to the settings:",
            "  DocsUrl: none",
        )
        return Check(name, FAILED, f"the docs site cannot be served in partition {partition}", fix)
    if distributions:
        return Check(name, OK, "the account has distributions, so it is verified for them")
    fix = (
        "If AWS refuses it, everything else exists by then, because the docs site is created last;"
        " the message says what to do. To deploy without a docs site, add to the settings:",
        "  DocsUrl: none",
    )
    problem = (
        "the account has no distribution yet, and AWS refuses the first one to some new accounts"
        " until they are verified; no API tells beforehand"
    )
    return Check(name, WARNING, problem, fix)


def security_group(
    parameter: str, name: str, descriptions: Sequence[Mapping[str, Any]], vpc: str
) -> Check:
    """Check that a security group exists in the VPC."""
    advice = (
        "The groups:",
        "  aws ec2 describe-security-groups --query 'SecurityGroups[].[GroupId,VpcId,GroupName]'",
    )
    if not descriptions:
        return Check(parameter, FAILED, f"security group {name} does not exist", advice)
    if vpc and descriptions[0]["VpcId"] != vpc:
        problem = f"{name} is in {descriptions[0]['VpcId']}, not in VpcId {vpc}"
        return Check(parameter, FAILED, problem, advice)
    return Check(parameter, OK, f"{name}, {descriptions[0].get('GroupName', '')}")


def hosted_zone(zone: str, name: str, domain: str, *, private: bool) -> Check:
    """Check that a zone is public and contains the domain.

    Args:
        name: the zone's name, from Route 53.
    """
    name = name.rstrip(".")
    advice = ("The zones:", "  aws route53 list-hosted-zones --query 'HostedZones[].[Id,Name]'")
    if private:
        return Check(
            "HostedZoneId", FAILED, f"{zone} ({name}) is private; a public one is needed", advice
        )
    if domain != name and not domain.endswith(f".{name}"):
        problem = f"{zone} is the zone of {name}, and DomainName {domain} is not in it"
        return Check("HostedZoneId", FAILED, problem, advice)
    return Check("HostedZoneId", OK, f"{zone}, {name}")


def database_url(value: str, arn: str) -> Check:
    """Check that a secret is a connection URL as plain text, without showing its value."""
    name = "DatabaseUrlSecretArn"
    if problem := findings.url_problem(value):
        return Check(name, FAILED, problem, findings.url_fix(arn))
    return Check(name, OK, "a connection URL as plain text")


def notified(name: str, to: str, secret: str, value: str) -> Check:
    """Check the secret that a setting needs, without showing its value; "" if there is none."""
    if not value:
        create = f"  aws secretsmanager create-secret --name {secret} --secret-string file://{to}"
        fix = (f"Write it into the file {to}, as docs/notifications.md describes it:", create)
        return Check(name, FAILED, f"secret {secret} does not exist", fix)
    if problem := delivery.invalid(to, value):
        put = f"  aws secretsmanager put-secret-value --secret-id {secret}"
        fix = (f"Write it into the file {to}:", f"{put} --secret-string file://{to}")
        return Check(name, FAILED, f"secret {secret} {problem}", fix)
    return Check(name, OK, f"secret {secret}")
