"""Bad values are refused by name before anything is made, with an example of a good one."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from tests.template.cloudformation import Refused, Stack
from tests.template.conftest import ROOT, load

STACKS = (
    "network",
    "database",
    "load-balancer",
    "docs",
    "service",
    "monitoring",
    "deployer",
    "notifications",
)
# The fewest settings that each takes.
NAMES: Mapping[str, object] = {"ServiceName": "coder", "ServicePattern": "coder"}
SUBNETS = "subnet-0123456789abcdef0,subnet-0123456789abcdef1"
VPC, GROUP = "vpc-0123456789abcdef0", "sg-0123456789abcdef0"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:coder/database-url-AbCdEf"
TARGET = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/coder/0123456789abcdef"
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"

BAD: dict[str, list[object]] = {
    "ServiceName": ["", "Coder", "a--b", "-a", "a-", "1a", "a_b", "a" * 26],
    "Application": ["Coder", ""],
    "Exposure": ["internet", ""],
    "ContainerPort": [0, 65536, "http"],
    "Database": ["postgres", ""],
    "DatabasePort": [0, 65536],
    "VpcCidr": ["10.0.0.0", "10.0.0.0/8", "10.0.0.0/24", "256.0.0.0/16", "10.0.0/16"],
    "PrivateTasks": ["yes", "True", ""],
    "NatGateways": [0, 3],
    "TaskEgress": ["none", ""],
    "FlowLogs": ["on"],
    "LogRetentionDays": [0, 2, 10000],
    "Zones": [
        "us-east-1a,us-east-1b",
        "use1-az1",
        "use1-az1,use1-az1",
        "use1-az1, use1-az2",
        "use1-az1,use1-az2,use1-az4",
        "use1-az3,use1-az1",  # no zone for Fargate, NAT gateways and most instances
        "use1-az1,use1-az3",
        "usw1-az1,usw1-az2",
        "apne1-az3,apne1-az1",
        "cnn1-az1,cnn1-az3",
    ],
    "VpcId": ["vpc-1", "subnet-0123456789abcdef0", "default"],
    "SubnetIds": ["subnet-0123456789abcdef0", f"{SUBNETS},", SUBNETS.replace(",", ", "), VPC],
    "LoadBalancerSubnetIds": ["subnet-0123456789abcdef0", f"{SUBNETS},"],
    "DatabaseSubnetIds": ["subnet-0123456789abcdef0", f"{SUBNETS},"],
    "LoadBalancerSecurityGroupId": ["sg-1", "default", VPC],
    "ServiceSecurityGroupId": ["sg-1", "default", VPC],
    "DatabaseSecurityGroupId": ["sg-1", "default", VPC],
    "DatabaseClass": ["t4g.micro", "db.t4g", "large"],
    "DatabaseMultiAz": ["yes"],
    "DatabaseStorageGiB": [5, 65537],
    "DatabaseMaxStorageGiB": [21, 65537],
    "DatabaseBackupDays": [0, 6, 36],
    "DatabaseDeletionProtection": ["yes"],
    "DatabaseHost": [
        "coder-db",
        "postgresql://a.example.com",
        "A.example.com",
        "a.example.com:5432",
    ],
    "HealthCheckPath": ["healthz", "", "/a b", '/"'],
    "DomainName": ["https://coder.example.com", "coder", "Coder.example.com", "-a.com", "a.com/"],
    "HostedZoneId": ["example.com", "z123", "/hostedzone/Z0123456789ABCDEFGHIJ"],
    "CertificateArn": ["coder", CERTIFICATE.replace("acm", "iam")],
    "IdleTimeoutSeconds": [0, 4001],
    "DeregistrationDelaySeconds": [-1, 3601],
    "LoadBalancerDeletionProtection": ["yes"],
    "AccessLogDays": [-1, 3651],
    "Firewall": ["on"],
    "RateLimit": [99],
    "DocsDomainName": ["https://docs.example.com", "docs", "Docs.example.com", "docs.example.com/"],
    "DocsCertificateArn": ["docs", CERTIFICATE.replace("us-east-1", "eu-west-1")],
    "DocsPriceClass": ["100", ""],
    "DocsDirectory": ["/docs", "../docs", "docs/", "docs/../..", "a b"],
    "DocsTrailingSlash": ["sometimes", "true"],
    "DocsScript": ["pnpm export", "-x", "a;b"],
    "DocsSecrets": [
        "NPM_TOKEN",
        "NPM_TOKEN=coder/npm",
        "A=docs/coder/a B=docs/coder/b",
        "1=docs/a",
    ],
    "DocsOutput": ["/out", "../out", "out/", "$HOME"],
    "KeepDocsReleases": [1, 21],
    "DocsMayShrinkTo": [-1, 101],
    "SitePath": ["deployer", "/deployer/", "/"],
    "DocsUrl": ["docs.example.com", 'https://docs.example.com/"'],
    "TagPattern": ["", 'a"b'],
    "Platform": ["amd64", "linux/arm"],
    "Cpu": [100, 32768],
    "Memory": [256, 122881],
    "DesiredCount": [0, 5001],
    "Strategy": ["blue-green"],
    "TimeoutSeconds": [29, 3601],
    "GracePeriodSeconds": [-1, 899],
    "Environment": [
        "",
        "LOG_LEVEL=info",
        '{"WORKERS": 2}',
        '{"A": "1",}',
        '{"A" "1"}',
        '{"A": {"B": "1"}}',
        '{"A-B": "1"}',
        '{"A": "1"}, {"B": "2"}',
        '[{"name": "A", "value": "1"}]',
    ],
    "Secrets": ["", '{"A": "hunter2"}', '{"A": "arn:aws:s3:::bucket"}', '{"A": 1}'],
    "SecretArns": ["coder/api-key", f"{SECRET},", "arn:aws:s3:::bucket"],
    "SecretKeyArn": ["alias/aws/secretsmanager"],
    "TaskPolicyArns": ["AdministratorAccess", "arn:aws:iam::123456789012:role/coder"],
    "HealthCheck": ["", "curl localhost", "[]"],
    "Verify": ["/healthz", "[]"],
    "Schedules": ["", "cron(0 3 * * ? *)", "[]"],
    "DatabaseUrlName": ["", "DATABASE-URL", "1A"],
    "DatabaseUrlSecretArn": [
        "postgresql://app:hunter2@db/app",
        SECRET.removesuffix("-AbCdEf"),
        f"{SECRET}:URL::",
    ],
    "DatabaseInstance": ["a--b", "1a", "a" * 64],
    "DatabaseSnapshots": [0, 51],
    "KeepReleases": [1, 21],
    "KeepImages": [19],
    "ContainerInsights": ["on"],
    "SpecPath": ["deployer", "/deployer/", "/"],
    "ClusterName": ["arn:aws:ecs:us-east-1:123456789012:cluster/coder", "-a"],
    "RepositoryName": ["Coder", "123456789012.dkr.ecr.us-east-1.amazonaws.com/coder", "a/"],
    "TargetGroupArn": ["coder", TARGET.replace("targetgroup", "loadbalancer")],
    "DeployerStack": ["", "1a", "a_b"],
    "DatabaseFreeStorageGiB": [0],
    "DatabaseConnections": [0],
    "ServerErrorsPerMinute": [-1],
    "AlarmTopicArn": ["alarms", TOPIC.replace("sns", "sqs")],
    "ServicePattern": ["", "Coder", "*", "team-**", "**", "a**b", "team_*"],
    "RepositoryPattern": ["Team/*", "team/**", "**", "arn:aws:ecr:us-east-1:1:repository/a"],
    "TaskFamilyPattern": ["team-**", "a b", "-a"],
    "ExecutionRolePattern": ["**-execution", "arn:aws:iam::123456789012:role/coder-execution"],
    "TaskRolePattern": ["**-task", "arn:aws:iam::123456789012:role/coder-task"],
    "LogGroupPattern": ["/ecs/**", "/ecs/a b"],
    "DatabasePattern": ["coder-db**", "coder_db"],
    "DatabaseSecretPattern": ["coder/**", "coder db"],
    "HistoryDays": [6, 3651],
    "BuildImage": ["", "a b", "-a"],
    "BuildComputeType": ["LARGE"],
    "BuildTimeoutMinutes": [4, 201],
    "SourceRepository": ["github.com/coder/coder", "https://gitlab.com/coder/coder"],
    "SourceConnectionArn": ["coder", "arn:aws:codebuild:us-east-1:123456789012:connection/a"],
    "SourceBranch": ["", "release.*", "a b"],
    "SourceService": ["-a", "a b"],
    "VerifySubnetIds": ["subnet-0123456789abcdef0", f"{SUBNETS},", SUBNETS.replace(",", ", "), VPC],
    "VerifySecurityGroupId": ["sg-1", "default", VPC],
    "ReconcileSchedule": ["5 minutes", "every(5 minutes)"],
    "KmsKeyArn": ["alias/aws/sns", "1234abcd"],
    "RequireMfa": ["yes", ""],
    "Slack": ["https://hooks.slack.com/services/T0/B0/x", ""],
    "Webhook": ["https://example.com", ""],
    "GitHubRepositories": ["shop", "https://github.com/team/shop", "team/shop,", "team/*"],
    "GitHubSubject": [
        *("team/shop", "repo:team/shop:*", "repo:team/*:ref:refs/heads/main"),
        *("repo:team/shop", "repo:team/shop:pull_request", "repo:team/shop:ref:refs/heads/*"),
        *("repo:team/shop:environment:*", "project_path:team/shop:ref_type:branch:ref:main"),
    ],
    "GitLabSubject": [
        *("team/shop", "project_path:team/*:ref_type:branch:ref:main", "project_path:team/shop:*"),
        *("project_path:team/shop:ref_type:branch:ref:*", "repo:team/shop:environment:production"),
    ],
    "CiProviderArn": [
        "github",
        "arn:aws:iam::123456789012:oidc-provider/example.com",
        "arn:aws:iam::123456789012:role/ci",
    ],
    "AlarmEmail": ["team", "team@example", "a b@example.com"],
}


@cache
def template(stack: str) -> dict[str, Any]:
    if stack == "deployer":
        return load(ROOT / "template.yaml")
    return load(ROOT / "infrastructure" / f"{stack}.yaml")


def parameters() -> list[tuple[str, str]]:
    return [(stack, name) for stack in STACKS for name in template(stack)["Parameters"]]


@pytest.mark.parametrize(("stack", "name"), parameters())
def test_a_bad_value_is_refused_by_name(stack: str, name: str) -> None:
    for value in BAD[name]:
        with pytest.raises(Refused, match=f"Parameter '?{name}'?"):
            Stack(stack, {**NAMES, name: value})


@pytest.mark.parametrize(("stack", "name"), parameters())
def test_a_refusal_says_what_is_good(stack: str, name: str) -> None:
    """An example that is itself good, or all that there is to choose from."""
    parameter = template(stack)["Parameters"][name]
    message = " ".join(parameter["ConstraintDescription"].split())
    if "such as" not in message:
        assert all(str(value) in message for value in parameter["AllowedValues"])
        return
    example = re.sub(r"(, or empty| \(not .*| with Cpu .*)$", "", message.split("such as ")[1])
    for value in example.split(" or "):
        if "AllowedPattern" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], value)
        elif "AllowedValues" in parameter:
            assert int(value) in parameter["AllowedValues"]
        else:
            assert parameter["MinValue"] <= int(value) <= parameter.get("MaxValue", int(value))


def test_the_same_name_means_the_same_in_every_template() -> None:
    """One file of settings serves them all."""
    seen: dict[str, dict[str, Any]] = {}
    for stack, name in parameters():
        if (stack, name) == ("deployer", "ClusterName"):
            continue  # there it may be a pattern for several
        meaning = dict(template(stack)["Parameters"][name])
        meaning.pop("Description")
        meaning.pop("ConstraintDescription", None)
        assert seen.setdefault(name, meaning) == meaning, (stack, name)


# contradictions

EXISTING_VPC: dict[str, object] = {
    "VpcId": VPC,
    "SubnetIds": SUBNETS,
    "LoadBalancerSubnetIds": SUBNETS,
    "DatabaseSubnetIds": SUBNETS,
}
WEB: dict[str, object] = {"Application": "web", "Database": "none"}

CONTRADICTIONS: list[tuple[str, Mapping[str, object], str]] = [
    ("network", {"Exposure": "public-ip", "PrivateTasks": "true"}, "PrivateTasks must be false"),
    ("network", {"NatGateways": 2}, "NatGateways is for PrivateTasks"),
    ("network", {"DatabasePort": 5433}, "DatabasePort must be 5432"),
    ("network", EXISTING_VPC | {"SubnetIds": ""}, "SubnetIds must name two subnets"),
    ("network", EXISTING_VPC | {"Zones": "use1-az1,use1-az2"}, "Zones is for a VPC"),
    (
        "network",
        EXISTING_VPC | {"LoadBalancerSubnetIds": ""},
        "LoadBalancerSubnetIds must name two public subnets",
    ),
    (
        "network",
        EXISTING_VPC | {"DatabaseSubnetIds": ""},
        "DatabaseSubnetIds must name two private subnets",
    ),
    *(
        ("network", {name: value}, f"{name} needs VpcId")
        for name, value in (
            ("SubnetIds", SUBNETS),
            ("LoadBalancerSubnetIds", SUBNETS),
            ("DatabaseSubnetIds", SUBNETS),
            ("LoadBalancerSecurityGroupId", GROUP),
            ("ServiceSecurityGroupId", GROUP),
            ("DatabaseSecurityGroupId", GROUP),
        )
    ),
    (
        "network",
        EXISTING_VPC
        | {"Exposure": "public-ip", "Database": "none", "ServiceSecurityGroupId": GROUP},
        "ServiceSecurityGroupId, .* leave it out",
    ),
    ("database", {"Database": "existing"}, "Database must be managed for this stack"),
    ("database", {"Database": "none"}, "Database must be managed for this stack"),
    ("load-balancer", {"Exposure": "public-ip"}, "Exposure must be load-balancer for this stack"),
    ("load-balancer", {"CertificateArn": CERTIFICATE}, "CertificateArn needs DomainName"),
    ("load-balancer", {"HostedZoneId": "Z0123"}, "HostedZoneId needs DomainName"),
    ("load-balancer", {"DomainName": "coder.example.com"}, "DomainName needs HostedZoneId"),
    ("load-balancer", {"VpcId": VPC}, "VpcId, .* and LoadBalancerSubnetIds, .* together"),
    ("load-balancer", {"LoadBalancerSubnetIds": SUBNETS}, "VpcId, .* together"),
    ("docs", {"DocsDomainName": "docs.example.com"}, "DocsDomainName needs DocsCertificateArn"),
    ("docs", {"DocsCertificateArn": CERTIFICATE}, "DocsCertificateArn needs DocsDomainName"),
    ("service", {"Cpu": 256, "Memory": 4096}, "Memory must be 512, 1024, 2048 with Cpu 256"),
    ("service", {"Cpu": 512, "Memory": 512}, "Memory must be 1024 to 4096 .* with Cpu 512"),
    ("service", {"Cpu": 1024, "Memory": 1024}, "Memory must be 2048 to 8192 .* with Cpu 1024"),
    ("service", {"Cpu": 2048, "Memory": 2048}, "Memory must be 4096 to 16384 .* with Cpu 2048"),
    ("service", {"Cpu": 4096, "Memory": 4096}, "Memory must be 8192 to 30720 .* with Cpu 4096"),
    ("service", {"Cpu": 8192, "Memory": 8192}, "Memory must be 16384 to 61440 .* with Cpu 8192"),
    ("service", {"Cpu": 16384, "Memory": 8192}, "Memory must be 32768 to .* with Cpu 16384"),
    ("service", {"Strategy": "rolling"}, "Strategy must be recreate"),
    ("service", {"DesiredCount": 2}, "DesiredCount must be 1"),
    ("service", {"Database": "none"}, "Database must be managed or existing"),
    ("service", {"HealthCheck": '{"command": ["CMD", "true"]}'}, "HealthCheck must be null"),
    ("service", {"GracePeriodSeconds": 600}, "GracePeriodSeconds must be 900 or more"),
    ("service", {"Exposure": "public-ip"}, "DomainName must be given .* Exposure public-ip"),
    ("service", {"Database": "existing"}, "DatabaseUrlSecretArn must be given"),
    ("service", {"DatabaseUrlSecretArn": SECRET}, "DatabaseUrlSecretArn is for Database existing"),
    ("service", WEB | {"DatabaseInstance": "coder-db"}, "DatabaseInstance is for Database"),
    (
        "service",
        WEB | {"Exposure": "public-ip", "PrivateTasks": "true"},
        "PrivateTasks must be false",
    ),
    (
        "service",
        WEB | {"Exposure": "public-ip", "TargetGroupArn": TARGET, "DomainName": "a.example.com"},
        "TargetGroupArn is for Exposure load-balancer",
    ),
    ("service", {"Exposure": "none"}, "Exposure must be load-balancer or public-ip"),
    (
        "service",
        WEB | {"Exposure": "none", "DomainName": "a.example.com"},
        "TargetGroupArn and DomainName are for a service that is reached",
    ),
    (
        "service",
        WEB | {"Exposure": "none", "Verify": '{"path": "/"}'},
        "Verify asks over HTTP",
    ),
    ("service", {"TargetGroupArn": TARGET}, "DomainName must be given with TargetGroupArn"),
    ("service", {"Secrets": f'{{"API_KEY": "{SECRET}"}}'}, "SecretArns must name the ARNs"),
    ("deployer", {"VerifySubnetIds": SUBNETS}, "VerifySubnetIds and VerifySecurityGroupId go"),
    ("deployer", {"VerifySecurityGroupId": GROUP}, "VerifySubnetIds and VerifySecurityGroupId go"),
    (
        "notifications",
        {
            "GitHubSubject": "repo:team/shop:environment:production",
            "GitLabSubject": "project_path:team/shop:ref_type:branch:ref:main",
        },
        "GitLabSubject must be empty with GitHubSubject",
    ),
    ("monitoring", {"AlarmTopicArn": TOPIC, "AlarmEmail": "a@b.com"}, "AlarmEmail is for"),
    ("monitoring", {"Database": "none", "DatabaseInstance": "a"}, "DatabaseInstance is for"),
]

# Region and partition, and what cannot be there.
ELSEWHERE: list[tuple[tuple[str, str], str, Mapping[str, object], str]] = [
    *(
        (place, "docs", {}, "ServiceName's documentation needs a stack outside GovCloud and China")
        for place in (("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"))
    ),
    *(
        ((region, partition), "network", {}, "Zones must name two zones that have Fargate")
        for region, partition in (
            ("us-west-1", "aws"),
            ("ap-northeast-1", "aws"),
            ("cn-north-1", "aws-cn"),
        )
    ),
]


@pytest.mark.parametrize(("place", "stack", "settings", "message"), ELSEWHERE)
def test_what_a_region_or_partition_lacks_is_refused(
    place: tuple[str, str], stack: str, settings: Mapping[str, object], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        Stack(stack, {**NAMES, **settings}, place=place)
    Stack(stack, {**NAMES, **settings})


def test_zones_with_fargate_are_taken_where_some_lack_it() -> None:
    Stack("network", {**NAMES, "Zones": "apne1-az1,apne1-az4"}, place=("ap-northeast-1", "aws"))
    Stack("network", {**NAMES, **EXISTING_VPC}, place=("ap-northeast-1", "aws"))


@pytest.mark.parametrize(("stack", "settings", "message"), CONTRADICTIONS)
def test_a_contradiction_is_refused(
    stack: str, settings: Mapping[str, object], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        Stack(stack, {**NAMES, **settings})


def test_every_contradiction_is_shown_above() -> None:
    shown_above = [(stack, start) for stack, _, start in CONTRADICTIONS]
    shown_above += [(stack, start) for _, stack, _, start in ELSEWHERE]
    messages = [
        (stack, assertion["AssertDescription"])
        for stack in STACKS
        for rule in template(stack).get("Rules", {}).values()
        for assertion in rule["Assertions"]
    ]
    unseen = [
        (stack, message)
        for stack, message in messages
        if not any(shown == stack and re.match(start, message) for shown, start in shown_above)
    ]
    assert unseen == []


def test_a_rule_names_a_parameter_of_its_template_first() -> None:
    for stack in STACKS:
        for rule in template(stack).get("Rules", {}).values():
            for assertion in rule["Assertions"]:
                first = re.match(r"\w+", assertion["AssertDescription"])
                assert first and first[0] in template(stack)["Parameters"]
