"""The checks before anything is made: each bad input, what is said, and the fix."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from moto import mock_aws

from cli.aws import Account
from cli.checks import certificate
from deployer.check import FAILED, OK, WARNING, Check
from setup import checks, settings

REGION = "us-east-1"


# Decisions ---------------------------------------------------------------------------------------


def subnet(name: str, zone: str = "a", vpc: str = "vpc-1") -> dict[str, str]:
    return {"SubnetId": name, "VpcId": vpc, "AvailabilityZone": f"us-east-1{zone}"}


@pytest.mark.parametrize(
    ("described", "state", "message"),
    [
        ([subnet("s-1"), subnet("s-2", "b")], OK, "2 subnets in us-east-1a, us-east-1b"),
        ([subnet("s-1")], FAILED, "subnet s-2 does not exist"),
        (
            [subnet("s-1"), subnet("s-2", "b", "vpc-2")],
            FAILED,
            "s-2 is in vpc-2, not in VpcId vpc-1",
        ),
        ([subnet("s-1"), subnet("s-2")], FAILED, "all are in us-east-1a, but two zones are needed"),
    ],
)
def test_subnets(described: list[dict[str, str]], state: str, message: str) -> None:
    check = checks.subnets("SubnetIds", ["s-1", "s-2"], described, "vpc-1")
    assert (check.name, check.state, check.finding) == ("SubnetIds", state, message)
    assert bool(check.fix) == (state == FAILED)


@pytest.mark.parametrize(
    ("described", "state"),
    [([], FAILED), ([{"VpcId": "vpc-2"}], FAILED), ([{"VpcId": "vpc-1"}], OK)],
)
def test_a_security_group(described: list[dict[str, str]], state: str) -> None:
    check = checks.security_group("ServiceSecurityGroupId", "sg-1", described, "vpc-1")
    assert (check.state, "sg-1" in check.finding) == (state, True)


@pytest.mark.parametrize(
    ("names", "status", "wildcard", "state", "message"),
    [
        (["c.example.com", "*.c.example.com"], "ISSUED", True, OK, "ISSUED, for c.example.com"),
        (["*.example.com", "*.c.example.com"], "ISSUED", True, OK, "ISSUED, for *.example.com"),
        (["c.example.com"], "ISSUED", False, OK, "ISSUED, for c.example.com"),
        (["c.example.com"], "ISSUED", True, FAILED, "not for *.c.example.com"),
        (["*.example.com"], "ISSUED", True, FAILED, "not for *.c.example.com"),
        (["c.example.com"], "PENDING_VALIDATION", False, FAILED, "PENDING_VALIDATION, not ISSUED"),
    ],
)
def test_a_certificate(
    names: list[str], status: str, wildcard: bool, state: str, message: str
) -> None:
    output = {
        "DomainName": names[0],
        "SubjectAlternativeNames": names,
        "Status": status,
        "CertificateArn": "arn:c",
    }
    check = certificate(output, "c.example.com", wildcard=wildcard)
    assert check.state == state
    assert message in check.finding
    assert bool(check.fix) == (state == FAILED)


@pytest.mark.parametrize(
    ("zone", "private", "state"),
    [
        ("example.com.", False, OK),
        ("c.example.com.", False, OK),
        ("ample.com.", False, FAILED),
        ("example.com.", True, FAILED),
    ],
)
def test_a_hosted_zone(zone: str, private: bool, state: str) -> None:
    check = checks.hosted_zone("Z1", zone, "c.example.com", private=private)
    assert check.state == state
    assert bool(check.fix) == (state == FAILED)


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("postgresql://u:hunter2@h:5432/d?sslmode=require", OK),
        ("postgres://u:hunter2@h/d", OK),
        ("postgresql://u@h/d", OK),
        ("postgresql://u:hun%40ter2@h/d", OK),
        ("postgresql://u:hunter2:x@h1:5432,h2:5432/d?application_name=a@b", OK),
        ("postgresql://u:hunter2@h/d\n", FAILED),
        (json.dumps({"username": "u", "password": "hunter2"}), FAILED),
        ("mysql://u:hunter2@h/d", FAILED),
        ("", FAILED),
        ("postgresql://u:hunter2@x@h/d", FAILED),
        ("postgresql://u:hunter2@x/y@h/d", FAILED),
        ("postgresql://u:hunter2/x@h/d", FAILED),
        ("postgresql://u:hunter2#x@h/d", FAILED),
        ("postgresql://u:hunter2?x@h/d", FAILED),
        ("postgresql://u:hunter2[x@h/d", FAILED),
        ("postgresql://u:hunter2 x@h/d", FAILED),
        ("postgresql://u:hunter2\u00e9@h/d", FAILED),
        ("postgresql://u:hunter2%@h/d", FAILED),
        ("postgresql://h/d", FAILED),
        ("postgresql://u:hunter2@/d", FAILED),
        ("postgresql://u:hunter2@h:port/d", FAILED),
        ("postgresql://u:hunter2@h:5432", FAILED),
    ],
)
def test_the_databases_secret_is_a_plain_url_and_is_never_told(value: str, state: str) -> None:
    check = checks.database_url(value, "arn:aws:secretsmanager:us-east-1:123456789012:secret:u")
    assert check.state == state
    assert "hunter2" not in repr(check)
    assert bool(check.fix) == (state == FAILED)


ZONES = settings.parameters(
    {
        "Parameters": {
            "Zones": {
                "Type": "String",
                "Default": "",
                "AllowedPattern": "((?!.*use1-az3)[a-z0-9]+-az[0-9],[a-z0-9]+-az[0-9])?",
            }
        }
    }
)["Zones"]


def zone(name: str, id_: str, state: str = "available") -> dict[str, str]:
    return {"ZoneName": f"us-east-1{name}", "ZoneId": f"use1-{id_}", "State": state}


@pytest.mark.parametrize(
    ("there", "default", "given", "state", "message", "fix"),
    [
        ([zone("a", "az1"), zone("b", "az2")], "", [], OK, "use1-az1, use1-az2", ""),
        # which zone a name means differs from account to account
        (
            [zone("a", "az3"), zone("b", "az2"), zone("c", "az6")],
            "",
            [],
            FAILED,
            "use1-az3, which has no Fargate",
            "  Zones: use1-az2,use1-az6",
        ),
        ([zone("a", "az3"), zone("b", "az2"), zone("c", "az6")], "bc", [], OK, "use1-az2", ""),
        (
            [zone("a", "az4", "impaired"), zone("b", "az2"), zone("c", "az3"), zone("d", "az1")],
            "",
            [],
            FAILED,
            "use1-az3",
            "  Zones: use1-az2,use1-az1",
        ),
        (
            [zone("a", "az1"), zone("b", "az2")],
            "",
            ["use1-az2", "use1-az9"],
            FAILED,
            "zone use1-az9 does not exist in us-east-1",
            "  Zones: use1-az1,use1-az2",
        ),
    ],
)
def test_zones(
    there: list[dict[str, str]], default: str, given: list[str], state: str, message: str, fix: str
) -> None:
    named = {f"us-east-1{letter}" for letter in default}
    check = checks.zones(there, named, given, ZONES, "us-east-1")
    assert (check.state, message in check.finding) == (state, True), check
    assert fix in ("", *check.fix)


def test_tasks_subnets_lie_in_zones_with_fargate() -> None:
    subnet = {"SubnetId": "s-1", "AvailabilityZone": "us-east-1e", "AvailabilityZoneId": "use1-az3"}
    (check,) = checks.without_fargate([subnet, subnet | {"AvailabilityZoneId": "use1-az1"}], ZONES)
    assert check.state == FAILED
    assert "s-1 is in use1-az3 (us-east-1e)" in check.finding
    local = subnet | {"AvailabilityZoneId": "use1-bos1-az1"}
    assert len(list(checks.without_fargate([local], ZONES))) == 1
    assert list(checks.without_fargate([local], None)) == []


def test_the_addresses_of_an_existing_vpc() -> None:
    vpc = {"CidrBlock": "172.31.0.0/16", "CidrBlockAssociationSet": [{"CidrBlock": "10.1.0.0/16"}]}
    for good in ("", "172.31.0.0/16", "10.1.0.0/16"):
        assert list(checks.addresses("vpc-1", vpc, good)) == []
    (check,) = checks.addresses("vpc-1", vpc, "10.0.0.0/16")
    assert (check.state, "  VpcCidr: 172.31.0.0/16" in check.fix) == (FAILED, True)


def test_a_missing_tool_is_told(tmp_path: Path) -> None:
    assert [check.state for check in checks.tools(str(tmp_path))] == [FAILED, FAILED]
    for tool in ("sam", "python3.13"):
        (tmp_path / tool).touch(0o755)
    assert [check.state for check in checks.tools(str(tmp_path))] == [OK, OK]


# With an account ---------------------------------------------------------------------------------

TEMPLATE = """
Resources:
  Repository: { Type: "AWS::ECR::Repository", Properties: { RepositoryName: !Ref ServiceName } }
  Cluster: { Type: "AWS::ECS::Cluster", Properties: { ClusterName: !Ref ServiceName } }
  Logs: { Type: "AWS::Logs::LogGroup", Properties: { LogGroupName: !Sub "/ecs/${ServiceName}" } }
  Role: { Type: "AWS::IAM::Role", Properties: { RoleName: !Sub "${ServiceName}-task" } }
  Database:
    Type: AWS::RDS::DBInstance
    Properties: { DBInstanceIdentifier: !Sub "${ServiceName}-db" }
  Url: { Type: "AWS::SecretsManager::Secret", Properties: { Name: !Sub "${ServiceName}/url" } }
  Spec: { Type: "AWS::SSM::Parameter", Properties: { Name: !Sub "/services/${ServiceName}" } }
  Bucket:
    Type: AWS::S3::Bucket
    Properties: { BucketName: !Sub "${ServiceName}-${AWS::AccountId}" }
  Balancer:
    Type: AWS::ElasticLoadBalancingV2::LoadBalancer
    Properties: { Name: !Ref ServiceName }
  Table: { Type: "AWS::DynamoDB::Table", Properties: { TableName: !Ref ServiceName } }
"""
NAMED = 10


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "false")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "false")
    with mock_aws():
        result = Account(region=REGION)
        result.client("cloudformation").meta.events.register(
            "before-call.cloudformation", no_stacks
        )
        quotas = result.client("service-quotas").meta.events
        quotas.register("before-call.service-quotas", service_quotas)
        result.client("freetier", "us-east-1").meta.events.register("before-call.freetier", no_plan)
        yield result


QUOTAS = {
    "L-F678F1CE": {"QuotaCode": "L-F678F1CE", "QuotaName": "VPCs per Region", "Value": 5.0},
    "L-3032A538": {"QuotaCode": "L-3032A538", "QuotaName": "Fargate On-Demand", "Value": 1.0},
    "L-4DDC4A99": {
        "QuotaCode": "L-4DDC4A99",
        "QuotaName": "Concurrently running builds for Linux/Large environment",
        "Value": 0.0,
    },
}


def service_quotas(params: Mapping[str, Any], model: Any, **_: Any) -> Any:
    """A new account's quotas; moto has the VPCs' alone."""
    request = json.loads(params["body"])
    answers: dict[str, dict[str, Any]] = {
        "GetServiceQuota": {"Quota": QUOTAS.get(request.get("QuotaCode", ""))},
        "ListServiceQuotas": {"Quotas": list(QUOTAS.values())},
        "ListRequestedServiceQuotaChangeHistoryByQuota": {"RequestedQuotas": []},
    }
    return answered(answers[model.name])


def no_plan(**_: Any) -> Any:
    return answered({"Error": {"Code": "ResourceNotFoundException"}}, 400)


def answered(parsed: dict[str, Any], status: int = 200) -> tuple[AWSResponse, dict[str, Any]]:
    parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
    return AWSResponse("", status, HTTPHeaders(), None), parsed


def no_stacks(params: Mapping[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    """What CloudFormation answers in an account without stacks; moto's needs more than is here."""
    parsed: dict[str, Any] = {"Stacks": []}
    status = 200
    if "StackName" in params["body"]:
        message = f"Stack with id {params['body']['StackName']} does not exist"
        parsed, status = {"Error": {"Code": "ValidationError", "Message": message}}, 400
    return answered(parsed, status)


def results(account: Account, kind: str = "service", **values: str) -> dict[str, list[Check]]:
    content = settings.parse_template(TEMPLATE)
    parameters = settings.parameters(
        {"Parameters": {"RepositoryName": {"Type": "String", "Default": ""}}}
    )
    stack = settings.Stack(kind, "s", Path("t"), False, parameters, content)
    output = checks.everything(account, [stack], {"ServiceName": "web", **values})
    by_name: dict[str, list[Check]] = {}
    for check in output:
        by_name.setdefault(check.name, []).append(check)
    return by_name


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


def failures(by_name: Mapping[str, list[Check]]) -> list[str]:
    return [c.finding for entry in by_name.values() for c in entry if c.state == FAILED]


def test_an_empty_account_is_ready(account: Account) -> None:
    output = results(account)
    assert failures(output) == []
    assert [check.state for check in output["names"]] == [OK]
    assert f"{NAMED} looked up" in output["names"][0].finding
    assert output["credentials"][0].finding.endswith("account 123456789012")


def test_names_that_are_taken_are_told_with_what_to_do(account: Account) -> None:
    client("ecr").create_repository(repositoryName="web")
    client("ecs").create_cluster(clusterName="web")
    client("logs").create_log_group(logGroupName="/ecs/web")
    client("logs").create_log_group(logGroupName="/ecs/web-other")
    client("iam").create_role(RoleName="web-task", AssumeRolePolicyDocument="{}")
    client("ssm").put_parameter(Name="/services/web", Value="{}", Type="String")
    client("s3").create_bucket(Bucket="web-123456789012")
    client("rds").create_db_instance(
        DBInstanceIdentifier="web-db",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="u",
        MasterUserPassword="long-enough",
    )
    client("dynamodb").create_table(
        TableName="web",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    secret = client("secretsmanager").create_secret(Name="web/url", SecretString="x")["ARN"]
    client("secretsmanager").delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    output = [check for check in results(account)["names"] if check.state == FAILED]
    assert {check.finding.split(",")[0] for check in output} == {
        "ECR::Repository web is there",
        "ECS::Cluster web is there",
        "Logs::LogGroup /ecs/web is there",
        "IAM::Role web-task is there",
        "SSM::Parameter /services/web is there",
        "S3::Bucket web-123456789012 is there",
        "RDS::DBInstance web-db is there",
        "DynamoDB::Table web is there",
        "SecretsManager::Secret web/url is scheduled for deletion",
    }
    fixes = {check.finding.split(" ")[0]: check.fix for check in output}
    assert "To use it, add to the settings:  RepositoryName: web" in fixes["ECR::Repository"]
    assert "  aws ecs delete-cluster --cluster web" in fixes["ECS::Cluster"]
    assert any("force-delete" in line for line in fixes["SecretsManager::Secret"])


def test_a_given_network_must_exist_and_fit(account: Account) -> None:
    ec2 = client("ec2")
    mine = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    other = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]

    def subnet_of(vpc: str, block: str, zone: str) -> str:
        result = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{REGION}{zone}")
        return str(result["Subnet"]["SubnetId"])

    good = [subnet_of(mine, "10.1.0.0/24", "a"), subnet_of(mine, "10.1.1.0/24", "b")]
    strange = subnet_of(other, "10.2.0.0/24", "b")
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=other)["GroupId"]
    assert failures(results(account, VpcId=mine, SubnetIds=",".join(good))) == []
    assert failures(
        results(
            account,
            VpcId=mine,
            SubnetIds=f"{good[0]},{strange}",
            DatabaseSubnetIds="subnet-0123456789abcdef0",
            ServiceSecurityGroupId=group,
        )
    ) == [
        f"{strange} is in {other}, not in VpcId {mine}",
        "subnet subnet-0123456789abcdef0 does not exist",
        f"{group} is in {other}, not in VpcId {mine}",
    ]
    absent = results(account, VpcId="vpc-0123456789abcdef0", SubnetIds=",".join(good))
    assert failures(absent) == [f"VPC vpc-0123456789abcdef0 does not exist in {REGION}"]


def test_what_is_given_must_exist(account: Account) -> None:
    arn = f"arn:aws:acm:{REGION}:123456789012:certificate/12345678-1234-1234-1234-123456789012"
    secret = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:gone-AbCdEf"
    output = results(
        account,
        CertificateArn=arn,
        DomainName="c.example.com",
        HostedZoneId="Z0123456789ABCDEFGHIJ",
        DatabaseUrlSecretArn=secret,
        ClusterName="gone",
        RepositoryName="gone",
        DatabaseInstance="gone",
        TargetGroupArn=f"arn:aws:elasticloadbalancing:{REGION}:123456789012:targetgroup/g/1",
    )
    for name in (
        *("CertificateArn", "HostedZoneId", "DatabaseUrlSecretArn", "ClusterName"),
        *("RepositoryName", "DatabaseInstance", "TargetGroupArn"),
    ):
        (check,) = output[name]
        assert check.state == FAILED, check
        assert any(line.startswith("  aws ") for line in check.fix), check
    elsewhere = results(account, CertificateArn=arn.replace(REGION, "eu-west-1"))["CertificateArn"]
    assert "the certificate is in eu-west-1" in elsewhere[0].finding


def test_what_must_be_of_this_account_is(account: Account) -> None:
    other = f"arn:aws:elasticloadbalancing:{REGION}:210987654321:targetgroup/g/1"
    policies = "arn:aws:iam::aws:policy/x,arn:aws:iam::210987654321:policy/y"
    output = results(account, TargetGroupArn=other, TaskPolicyArns=policies)
    for name in ("TargetGroupArn", "TaskPolicyArns"):
        assert any(
            "is of account 210987654321, not 123456789012" in c.finding for c in output[name]
        )
    assert len(output["TaskPolicyArns"]) == 1


def test_what_is_there_is_found(account: Account) -> None:
    zone = client("route53").create_hosted_zone(Name="example.com", CallerReference="1")
    secrets = client("secretsmanager")
    url = secrets.create_secret(Name="u", SecretString="postgresql://u:p@h/d")["ARN"]
    other = secrets.create_secret(Name="o", SecretString="x")["ARN"]
    client("ecs").create_cluster(clusterName="ours")
    output = results(
        account,
        DomainName="c.example.com",
        HostedZoneId=zone["HostedZone"]["Id"].rpartition("/")[2],
        DatabaseUrlSecretArn=url,
        SecretArns=f"{other},arn:aws:ssm:{REGION}:123456789012:parameter/p",
        ClusterName="ours",
    )
    assert failures(output) == []
    for name in ("HostedZoneId", "DatabaseUrlSecretArn", "SecretArns", "ClusterName"):
        assert [check.state for check in output[name]] == [OK], name


def test_quotas_count_what_is_new(account: Account) -> None:
    assert results(account, "network")["quota"][0].finding.endswith("VPCs used")
    assert "quota" not in results(account, "service")
    assert "quota" not in results(account, "network", VpcId="vpc-0123456789abcdef0")


def test_what_a_new_account_may_not_is_told_before_anything_is_made(account: Account) -> None:
    (fargate,) = results(account, Cpu="2048", DesiredCount="1", Strategy="recreate")[
        "Fargate quota"
    ]
    assert (fargate.state, fargate.finding) == (
        FAILED,
        "0 of 1 Fargate vCPUs are used, 2 more needed",
    )
    output = results(account, "deployer", BuildComputeType="BUILD_GENERAL1_LARGE")
    (builds,) = output["CodeBuild quota"]
    assert builds.state == WARNING
    assert "--quota-code L-4DDC4A99 --desired-value 1" in builds.fix[1]
    (site,) = results(account, "docs")["CloudFront"]
    assert (site.state, "no API tells" in site.finding) == (WARNING, True)
    client("cloudfront").create_distribution(DistributionConfig=DISTRIBUTION)
    (site,) = results(account, "docs")["CloudFront"]
    assert site.state == OK


DISTRIBUTION = {
    "CallerReference": "1",
    "Comment": "",
    "Enabled": True,
    "Origins": {"Quantity": 1, "Items": [{"Id": "o", "DomainName": "x.s3.amazonaws.com"}]},
    "DefaultCacheBehavior": {"TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all"},
}


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_no_docs_site_where_cloudfront_is_not(partition: str) -> None:
    check = checks.cloudfront(partition, 0)
    assert (check.state, "  DocsUrl: none" in check.fix) == (FAILED, True)


def test_service_roles_are_looked_for(account: Account) -> None:
    role = checks.SERVICE_ROLES["service"]
    (check,) = results(account, "service")["service roles"]
    assert check.finding == f"{role.name} is missing, and is created first"
    client("iam").create_service_linked_role(AWSServiceName=role.service)
    (check,) = results(account, "service")["service roles"]
    assert (check.state, check.finding) == (OK, role.name)


def test_what_may_not_be_looked_at_is_a_warning(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeVpcs")

    monkeypatch.setattr(account.client("ec2"), "describe_vpcs", refuse)
    (check,) = results(account, VpcId="vpc-0123456789abcdef0")["VPC"]
    assert (check.state, check.finding) == (
        WARNING,
        "no permission to check: you may not do this: no",
    )


@pytest.mark.parametrize(
    ("service", "operation", "code", "message", "expected"),
    [
        ("sts", "get_caller_identity", "ExpiredToken", "", "your AWS session has expired"),
        (
            "cloudformation",
            "describe_stacks",
            "AccessDenied",
            "with an explicit deny in an identity-based policy",
            "not MFA-authenticated, and the account demands it",
        ),
    ],
)
def test_credentials_that_do_not_do_end_it_all(
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    operation: str,
    code: str,
    message: str,
    expected: str,
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    monkeypatch.setattr(account.client(service), operation, refuse)
    output = results(account)
    (check,) = output["credentials"]
    assert check.state == FAILED
    assert expected in check.finding
    assert any("aws configure mfa-login --serial-number" in line for line in check.fix)
    assert set(output) == {"sam", "python3.13", "region", "credentials"}


KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="


@pytest.mark.parametrize(
    ("name", "to", "value", "state"),
    [
        ("Slack", "slack", "https://hooks.slack.com/services/T0/B0/x", OK),
        ("Slack", "slack", "", FAILED),
        ("Slack", "slack", "hunter2", FAILED),
        ("Webhook", "webhook", json.dumps({"url": "https://a.example", "keys": [KEY]}), OK),
        ("Webhook", "webhook", json.dumps({"url": "http://hunter2", "keys": [KEY]}), FAILED),
        ("GitHubRepositories", "github", f"ghp_{'1' * 36}", OK),
        ("GitHubRepositories", "github", "hunter2", FAILED),
    ],
)
def test_the_secret_of_a_notification_is_checked_and_never_shown(
    name: str, to: str, value: str, state: str
) -> None:
    check = checks.notified(name, to, f"deployer/{to}", value)
    assert (check.name, check.state) == (name, state)
    assert "hunter2" not in f"{check.finding} {check.fix}"
    assert bool(check.fix) == (state == FAILED)


def test_a_notification_needs_its_secret(account: Account) -> None:
    (missing,) = results(account, "notifications", DeployerStack="deployer", Slack="true")["Slack"]
    assert (missing.state, missing.finding) == (FAILED, "secret deployer/slack does not exist")
    client("secretsmanager").create_secret(
        Name="deployer/slack", SecretString="https://hooks.slack.com/services/T0/B0/x"
    )
    wanted = {"DeployerStack": "deployer", "Slack": "true", "GitHubRepositories": "team/shop"}
    output = results(account, "notifications", **wanted)
    assert [check.state for check in output["Slack"]] == [OK]
    assert [check.state for check in output["GitHubRepositories"]] == [FAILED]
    assert not {"Slack", "GitHubRepositories"} & results(account, "notifications").keys()


def test_the_accounts_one_provider_of_a_host_is_not_created_again(account: Account) -> None:
    subject = "repo:team/shop:environment:production"
    assert "CiProviderArn" not in results(account, "notifications", GitHubSubject=subject)
    arn = client("iam").create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com"
    )["OpenIDConnectProviderArn"]
    (there,) = results(account, "notifications", GitHubSubject=subject)["CiProviderArn"]
    assert there.state == FAILED and arn in there.fix[1]
    other = "project_path:team/shop:ref_type:branch:ref:main"
    assert "CiProviderArn" not in results(account, "notifications", GitLabSubject=other)
    named = results(account, "notifications", GitHubSubject=subject, CiProviderArn=arn)
    assert "CiProviderArn" not in named
