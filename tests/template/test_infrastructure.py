"""The stacks around a service, one after the other: what each makes of the settings, and that
what one needs another exports before."""

import json
import tomllib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.template.cloudformation import Stack
from tests.template.conftest import ROOT, TEMPLATES, load
from tests.template.test_parameters import (
    CERTIFICATE,
    EXISTING_VPC,
    GROUP,
    SECRET,
    TARGET,
    TOPIC,
    WEB,
)

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
FARGATE_MEMORY: dict[int, Iterable[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
ORDER = ("network", "database", "load-balancer", "service", "monitoring", "notifications", "docs")
# What other templates than these export.
ELSEWHERE = {
    "deployer-UndeliveredPushesQueueName": "pushes",
    "deployer-UndeliveredAnnouncementsQueueName": "announcements",
    "deployer-ReconcileFunctionName": "reconcile",
    "deployer-SourceBucket": "deployer-sources",
    "deployer-ReleasesTable": "releases",
    "deployer-BuildLogGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:builds:*",
}
BALANCED = {"ServiceName": "coder"}
WORKER = BALANCED | WEB | {"Exposure": "none", "DocsUrl": "none"}
PUBLIC = BALANCED | WEB | {"Exposure": "public-ip"}
SECURE = BALANCED | {"DomainName": "coder.example.com", "HostedZoneId": "Z0123456789"}
OWN_VPC = BALANCED | EXISTING_VPC
OWN_GROUPS = OWN_VPC | {
    "LoadBalancerSecurityGroupId": GROUP,
    "ServiceSecurityGroupId": GROUP,
    "DatabaseSecurityGroupId": GROUP,
}
OWN_EVERYTHING = OWN_GROUPS | {
    "Database": "existing",
    "DatabaseUrlSecretArn": SECRET,
    "DatabaseInstance": "prod-db",
    "DatabasePort": 5433,
    "DomainName": "coder.example.com",
    "CertificateArn": CERTIFICATE,
    "TargetGroupArn": TARGET,
    "ClusterName": "shared",
    "RepositoryName": "team/coder",
    "DocsUrl": "https://docs.example.com",
    "AlarmTopicArn": TOPIC,
}
NOTIFIED = BALANCED | {
    "Slack": "true",
    "Webhook": "true",
    "GitHubRepositories": "team/shop,team/api",
    "GitHubSubject": "repo:team/shop:environment:production",
}
SETTINGS = {
    "balanced": BALANCED,
    "public": PUBLIC,
    "secure": SECURE,
    "private": SECURE | {"PrivateTasks": "true"},
    "private in both zones": SECURE | {"PrivateTasks": "true", "NatGateways": 2},
    "own VPC": OWN_VPC,
    "own groups": OWN_GROUPS,
    "own everything": OWN_EVERYTHING,
    "web": BALANCED | {"Application": "web"},
    "worker": WORKER,
    "notified": NOTIFIED,
}


def stacks(settings: dict[str, Any]) -> dict[str, Stack]:
    """The stacks that these settings call for, each with what those before it export."""
    groups = {name for name in settings if name.endswith("SecurityGroupId")}
    without = {
        "network": len(groups) == 3,
        "database": settings.get("Database", "managed") != "managed",
        "load-balancer": settings.get("Exposure") in ("public-ip", "none")
        or "TargetGroupArn" in settings,
        "notifications": not settings.keys() & {"Slack", "Webhook", "GitHubRepositories"},
        "docs": "DocsUrl" in settings,
    }
    result: dict[str, Stack] = {}
    exports = dict(ELSEWHERE)
    for name in ORDER:
        if not without.get(name):
            result[name] = Stack(name, settings, exports)
            exports |= result[name].exports
    return result


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_what_a_stack_imports_another_exports_before_it(settings: dict[str, Any]) -> None:
    for stack in stacks(settings).values():
        assert stack.resources  # whose functions are all resolved, imports among them


def test_what_this_project_exports_elsewhere_is_there() -> None:
    outputs = load(ROOT / "template.yaml")["Outputs"].values()
    exported = {output["Export"]["Name"]["Fn::Sub"] for output in outputs if "Export" in output}
    wanted = {name.partition("-")[2] for name in ELSEWHERE if name.startswith("deployer-")}
    assert {f"${{AWS::StackName}}-{name}" for name in wanted} <= exported


def test_what_the_deployer_exports_stays_for_the_stacks_that_import_it() -> None:
    outputs = load(ROOT / "template.yaml")["Outputs"].values()
    exports = {
        output["Export"]["Name"]["Fn::Sub"].partition("-")[2]: output["Value"]
        for output in outputs
        if "Export" in output
    }
    assert exports == {
        "UndeliveredPushesQueueName": {"Fn::GetAtt": ["UndeliveredPushes", "QueueName"]},
        "UndeliveredAnnouncementsQueueName": {
            "Fn::GetAtt": ["UndeliveredAnnouncements", "QueueName"]
        },
        "ReconcileFunctionName": {"Ref": "Reconcile"},
        "SourceBucket": {"Ref": "Sources"},
        "ReleasesTable": {"Ref": "Releases"},
        "BuildLogGroupArn": {"Fn::GetAtt": ["BuildLogs", "Arn"]},
    }
    resources = load(ROOT / "template.yaml")["Resources"]
    for name in ("UndeliveredPushes", "UndeliveredAnnouncements"):  # a name would replace it
        assert "QueueName" not in resources[name]["Properties"]


def test_an_announcement_that_cannot_be_sent_is_kept() -> None:
    """Whether EventBridge cannot invoke the function or the function fails.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    resources = load(ROOT / "template.yaml")["Resources"]
    queue = {"Fn::GetAtt": ["UndeliveredAnnouncements", "Arn"]}
    function = resources["SendAnnouncement"]["Properties"]
    assert function["DeadLetterQueue"] == {"Type": "SQS", "TargetArn": queue}
    (event,) = function["Events"].values()
    assert event["Properties"]["DeadLetterConfig"] == {"Arn": queue}
    policy = resources["UndeliveredAnnouncementsPolicy"]["Properties"]["PolicyDocument"]
    (statement,) = policy["Statement"]
    assert statement["Resource"] == queue
    rule = statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::Sub"]
    assert rule.endswith(f":rule/{event['Properties']['RuleName']['Fn::Sub']}")


def test_an_export_keeps_its_value_whatever_changes() -> None:
    """CloudFormation refuses to change an export that another stack imports."""
    first, last = (
        {name: stack.exports for name, stack in stacks(settings).items()}
        for settings in (
            BALANCED,
            SECURE
            | {
                "PrivateTasks": "true",
                "ContainerPort": 8080,
                "HealthCheckPath": "/",
                "DatabaseClass": "db.m7g.large",
                "AccessLogDays": 30,
            },
        )
    )
    assert first == last
    resources = load(ROOT / "infrastructure" / "load-balancer.yaml")["Resources"]
    assert resources["Target"]["Properties"]["Port"] == 80  # another one replaces the group


# network


def rules(stack: Stack, group: str, direction: str) -> set[tuple[Any, ...]]:
    """A security group's rules: port, and whom."""
    result = stack.resources
    inline = result[group].get(f"SecurityGroup{direction}", [])
    gid = stack.value({"Fn::GetAtt": [group, "GroupId"]})
    apart = [
        result[name]
        for name, resource in stack.template["Resources"].items()
        if resource["Type"] == f"AWS::EC2::SecurityGroup{direction}"
        and name in result
        and result[name]["GroupId"] == gid
    ]
    names = {stack.value({"Fn::GetAtt": [n, "GroupId"]}): n for n in result if n.endswith("Group")}
    matches = set()
    for rule in [*inline, *apart]:
        whom = rule.get("CidrIp") or next(v for k, v in rule.items() if "SecurityGroupId" in k)
        assert rule["IpProtocol"] == "-1" or int(rule["FromPort"]) == int(rule["ToPort"])
        matches.add((int(rule.get("FromPort", -1)), names.get(whom, whom)))
    return matches


WORLD = "0.0.0.0/0"


def test_each_may_speak_to_the_next_and_to_nobody_else() -> None:
    network = stacks(BALANCED | {"ContainerPort": 8080})["network"]
    assert rules(network, "LoadBalancerGroup", "Ingress") == {(80, WORLD), (443, WORLD)}
    assert rules(network, "LoadBalancerGroup", "Egress") == {(8080, "ServiceGroup")}
    assert rules(network, "ServiceGroup", "Ingress") == {(8080, "LoadBalancerGroup")}
    assert rules(network, "ServiceGroup", "Egress") == {
        (80, WORLD),
        (443, WORLD),
        (5432, "DatabaseGroup"),
    }
    assert rules(network, "DatabaseGroup", "Ingress") == {(5432, "ServiceGroup")}
    assert rules(network, "DatabaseGroup", "Egress") == {(-1, "127.0.0.1/32")}


def test_without_a_load_balancer_the_world_reaches_the_port_of_the_tasks() -> None:
    network = stacks(PUBLIC)["network"]
    assert "LoadBalancerGroup" not in network.resources
    assert rules(network, "ServiceGroup", "Ingress") == {(3000, WORLD)}
    assert rules(network, "ServiceGroup", "Egress") == {(80, WORLD), (443, WORLD)}


def test_nobody_reaches_a_worker() -> None:
    network = stacks(WORKER)["network"]
    assert "LoadBalancerGroup" not in network.resources
    assert rules(network, "ServiceGroup", "Ingress") == set()
    assert rules(network, "ServiceGroup", "Egress") == {(80, WORLD), (443, WORLD)}


def test_a_database_elsewhere_is_reached_on_its_port() -> None:
    own = BALANCED | {"Database": "existing", "DatabaseUrlSecretArn": SECRET, "DatabasePort": 6432}
    network = stacks(own)["network"]
    assert (6432, WORLD) in rules(network, "ServiceGroup", "Egress")
    assert "DatabaseGroup" not in network.resources


def test_groups_of_ones_own_are_used() -> None:
    result = stacks(
        OWN_VPC | {"LoadBalancerSecurityGroupId": GROUP, "DatabaseSecurityGroupId": GROUP}
    )
    network = result["network"]
    assert rules(network, "ServiceGroup", "Ingress") == {(3000, GROUP)}
    assert (5432, GROUP) in rules(network, "ServiceGroup", "Egress")
    assert not {"Vpc", "LoadBalancerGroup", "DatabaseGroup"} & network.resources.keys()
    assert result["load-balancer"].resources["LoadBalancer"]["SecurityGroups"] == [GROUP]
    assert result["database"].resources["Instance"]["VPCSecurityGroups"] == [GROUP]


def test_tasks_may_reach_everything_if_they_must() -> None:
    network = stacks(PUBLIC | {"TaskEgress": "all"})["network"]
    assert rules(network, "ServiceGroup", "Egress") == {(-1, WORLD)}


@pytest.mark.parametrize(
    ("settings", "gateways", "second"),
    [
        (BALANCED, [], None),
        (BALANCED | {"PrivateTasks": "true"}, ["Nat1"], "Nat1"),
        (BALANCED | {"PrivateTasks": "true", "NatGateways": 2}, ["Nat1", "Nat2"], "Nat2"),
        (OWN_VPC | {"PrivateTasks": "true"}, [], None),
    ],
)
def test_nat_is_there_for_private_tasks_alone(
    settings: dict[str, Any], gateways: list[str], second: str | None
) -> None:
    result = stacks(settings)["network"].resources
    assert [name for name in result if name.startswith("Nat") and "Address" not in name] == gateways
    assert result.get("RouteThroughNat2", {}).get("NatGatewayId") == second


def test_subnets_are_in_the_zones_that_are_named() -> None:
    result = stacks(BALANCED | {"Zones": "use1-az4,use1-az6"})["network"].resources
    for kind in ("Public", "Private"):
        for number, zone in enumerate(("use1-az4", "use1-az6"), 1):
            subnet = result[f"{kind}Subnet{number}"]
            assert subnet["AvailabilityZoneId"] == zone
            assert "AvailabilityZone" not in subnet
    default = stacks(BALANCED)["network"].resources
    assert default["PublicSubnet2"]["AvailabilityZone"] == "us-east-1b"
    assert "AvailabilityZoneId" not in default["PublicSubnet2"]


def test_the_database_has_no_way_out_and_nobody_in() -> None:
    result = stacks(BALANCED)["network"].resources
    private = {result[f"PrivateSubnet{zone}Routes"]["RouteTableId"] for zone in (1, 2)}
    routes = {route["RouteTableId"] for name, route in result.items() if name.startswith("RouteTo")}
    assert not private & routes
    assert stacks(BALANCED)["database"].resources["Instance"]["PubliclyAccessible"] is False


# load balancer


def test_without_a_domain_the_load_balancer_serves_http() -> None:
    result = stacks(BALANCED)["load-balancer"].resources
    assert result["Http"]["DefaultActions"][0]["Type"] == "forward"
    assert not {"Https", "Certificate", "Name"} & result.keys()


def test_with_a_domain_http_leads_to_https() -> None:
    result = stacks(SECURE)["load-balancer"].resources
    assert result["Http"]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"
    assert result["Https"]["Certificates"] == [{"CertificateArn": "Certificate"}]
    assert result["Certificate"]["SubjectAlternativeNames"] == ["*.coder.example.com"]
    assert result["Name"]["Name"] == "coder.example.com"
    assert result["WildcardName"]["Name"] == "*.coder.example.com"


def test_only_coder_has_names_below_its_own() -> None:
    result = stacks(SECURE | {"Application": "web"})["load-balancer"].resources
    assert "SubjectAlternativeNames" not in result["Certificate"]
    assert len(result["Certificate"]["DomainValidationOptions"]) == 1
    assert "WildcardName" not in result


@pytest.mark.parametrize(
    ("zone", "document"), [({}, set()), ({"HostedZoneId": "Z0123"}, {"Name", "WildcardName"})]
)
def test_a_certificate_of_ones_own_is_used(zone: dict[str, str], document: set[str]) -> None:
    own = {"DomainName": "coder.example.com", "CertificateArn": CERTIFICATE} | zone
    result = stacks(BALANCED | own)["load-balancer"].resources
    assert result["Https"]["Certificates"] == [{"CertificateArn": CERTIFICATE}]
    assert {name for name in result if "Name" in name or name == "Certificate"} == document


def attributes(of: dict[str, Any], kind: str) -> dict[str, Any]:
    return {entry["Key"]: entry["Value"] for entry in of[f"{kind}Attributes"]}


def test_a_websocket_stays_open_as_long_as_aws_lets_it() -> None:
    created = stacks(BALANCED)["load-balancer"].resources
    result = attributes(created["LoadBalancer"], "LoadBalancer")
    assert int(result["idle_timeout.timeout_seconds"]) == 4000
    assert result["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert "access_logs.s3.bucket" not in result


def test_the_load_balancer_may_write_its_logs_whatever_source_it_names() -> None:
    """Two public deployments were refused under a Condition on the source's ARN.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
    """
    result = stacks(BALANCED | {"AccessLogDays": 30})["load-balancer"].resources
    (writes,) = [
        statement
        for statement in result["AccessLogsPolicy"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert writes["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    assert writes["Resource"].endswith("/AWSLogs/000000000000/*")
    assert "Condition" not in writes


def test_access_logs_go_to_a_bucket_that_takes_them_before() -> None:
    created = stacks(BALANCED | {"AccessLogDays": 30})["load-balancer"]
    result = attributes(created.resources["LoadBalancer"], "LoadBalancer")
    assert result["access_logs.s3.enabled"] == "true"
    assert result["access_logs.s3.bucket"] == "AccessLogs"
    assert "AccessLogsPolicy" in json.dumps(created.template["Resources"]["LoadBalancer"])


def test_the_firewall_lets_through_what_coder_is_for() -> None:
    result = stacks(BALANCED)["load-balancer"].resources
    by_name = {rule["Name"]: rule for rule in result["WebAcl"]["Rules"]}
    common = by_name["Common"]["Statement"]["ManagedRuleGroupStatement"]
    counted = {rule["Name"] for rule in common["RuleActionOverrides"]}
    assert {"SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY"} <= counted
    limit = by_name["RateLimit"]["Statement"]["RateBasedStatement"]
    assert "workspaceagents" in json.dumps(limit["ScopeDownStatement"])
    assert result["WebAclAssociation"]["ResourceArn"] == "LoadBalancer"
    capacity = 25 + 200 + 700  # of AWS's three groups; with the limit it must be within 1500
    assert capacity < 1500 and len(by_name) == 4


def test_another_service_has_a_stricter_firewall_or_none() -> None:
    web = stacks(BALANCED | {"Application": "web"})["load-balancer"].resources
    by_name = {rule["Name"]: rule["Statement"] for rule in web["WebAcl"]["Rules"]}
    overrides = by_name["Common"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
    assert [rule["Name"] for rule in overrides] == ["SizeRestrictions_BODY"]
    assert "ScopeDownStatement" not in by_name["RateLimit"]["RateBasedStatement"]
    off = stacks(BALANCED | {"Firewall": "false"})["load-balancer"].resources
    assert not {name for name in off if name.startswith(("WebAcl", "Firewall"))}


# service


def test_the_sizes_are_those_that_the_deployer_takes() -> None:
    assertions = load(ROOT / "infrastructure" / "service.yaml")["Rules"]["MemoryFitsCpu"][
        "Assertions"
    ]
    offered = {}
    for assertion in assertions:
        unless, fits = assertion["Assert"]["Fn::Or"]
        cpu = unless["Fn::Not"][0]["Fn::Equals"][1]
        offered[int(cpu)] = [int(size) for size in fits["Fn::Contains"][0]]
    assert offered == {cpu: list(sizes) for cpu, sizes in FARGATE_MEMORY.items()}


def test_the_roles_are_those_of_the_contract_and_trust_ecs_for_this_account_alone() -> None:
    result = stacks(BALANCED)["service"].resources
    assert result["ExecutionRole"]["RoleName"] == "coder-execution"
    assert result["TaskRole"]["RoleName"] == "coder-task"
    for role in ("ExecutionRole", "TaskRole"):
        (trust,) = result[role]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"]["StringEquals"].keys() == {"aws:SourceAccount"}
        assert trust["Condition"]["ArnLike"]["aws:SourceArn"].startswith("arn:aws:ecs:us-east-1:")


def allowed(role: dict[str, Any]) -> list[tuple[Any, Any]]:
    (policy,) = role["Policies"]
    return [(s["Action"], s["Resource"]) for s in policy["PolicyDocument"]["Statement"]]


def test_the_execution_role_reads_the_services_secrets_alone() -> None:
    plain = stacks(PUBLIC)["service"].resources["ExecutionRole"]
    assert not [action for action, _ in allowed(plain) if "secretsmanager" in str(action)]
    key = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    other = SECRET.replace("database-url", "api-key")
    full = OWN_EVERYTHING | {
        "Secrets": f'{{"API_KEY": "{other}"}}',
        "SecretArns": other,
        "SecretKeyArn": key,
    }
    result = allowed(stacks(full)["service"].resources["ExecutionRole"])
    assert ("secretsmanager:GetSecretValue", SECRET) in result
    assert (["secretsmanager:GetSecretValue", "ssm:GetParameters"], [other]) in result
    assert ("kms:Decrypt", key) in result
    pulls = next(resource for action, resource in result if "ecr:BatchGetImage" in action)
    assert pulls == "arn:aws:ecr:us-east-1:000000000000:repository/team/coder"


def test_images_that_a_rollback_needs_stay() -> None:
    result = stacks(BALANCED | {"KeepImages": 20, "KeepReleases": 20})
    policy = json.loads(
        result["service"].resources["Repository"]["LifecyclePolicy"]["LifecyclePolicyText"]
    )
    tagged = next(r["selection"] for r in policy["rules"] if "tagPatternList" in r["selection"])
    assert tagged["countNumber"] == 20 >= result["service"].document["keepReleases"]
    parameters = load(ROOT / "infrastructure" / "service.yaml")["Parameters"]
    assert parameters["KeepImages"]["MinValue"] >= parameters["KeepReleases"]["MaxValue"]


# monitoring


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_dashboard_shows_what_is_there(settings: dict[str, Any]) -> None:
    result = stacks(settings)
    body = json.loads(result["monitoring"].resources["Dashboard"]["DashboardBody"])
    shown = json.dumps(body)
    assert ("AWS/ApplicationELB" in shown) == ("load-balancer" in result)
    assert ("AWS/RDS" in shown) == (settings.get("Database") != "none")
    assert "deployer-Deploy" in shown and "ExecutionTime" in shown
    assert "/ecs/coder" in shown


def test_the_dashboard_has_the_widget_of_the_deployer_that_deploys_the_service() -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard.html"""
    dashboard = stacks(BALANCED)["monitoring"].resources["Dashboard"]
    (widget,) = (
        one for one in json.loads(dashboard["DashboardBody"])["widgets"] if one["type"] == "custom"
    )
    function = load(ROOT / "template.yaml")["Resources"]["ShowWidget"]["Properties"]
    name = function["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", "deployer")
    assert widget["properties"]["endpoint"].endswith(f":function:{name}")
    assert widget["properties"]["params"] == {"service": "coder"}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_an_alarm_tells_somebody_of_something_that_is_there(settings: dict[str, Any]) -> None:
    result = stacks(settings)["monitoring"].resources
    alarms = {name: alarm for name, alarm in result.items() if "AlarmActions" in alarm}
    (topic,) = {target for alarm in alarms.values() for target in alarm["AlarmActions"]}
    assert topic == settings.get("AlarmTopicArn", "arn:aws:sns:us-east-1:000000000000:Topic")
    balanced = "load-balancer" in stacks(settings)
    assert ("TasksAreUnhealthy" in alarms) == balanced
    assert ("DatabaseIsFull" in alarms) == (settings.get("Database") != "none")
    assert {
        "AnnouncementsAreUndelivered",
        "DeploymentsFail",
        "PushesAreUndelivered",
        "ReconcilerFails",
    } <= alarms.keys()


def test_the_topic_is_encrypted_under_a_key_that_alarms_can_use() -> None:
    result = stacks(BALANCED)["monitoring"].resources
    assert result["Topic"]["KmsMasterKeyId"] == "TopicKey"
    statements = result["TopicKey"]["KeyPolicy"]["Statement"]
    (alarms,) = [s for s in statements if s["Principal"] == {"Service": "cloudwatch.amazonaws.com"}]
    assert set(alarms["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}


# the settings


@pytest.mark.parametrize("environment", ["default", "production"])
def test_the_settings_make_every_stack(environment: str) -> None:
    settings = load(ROOT / "environments" / f"{environment}.yaml")
    result = stacks(settings)
    assert result.keys() == {*ORDER} - {"notifications"}
    names = {"default": "deployer", "production": "deployer-production"}
    assert settings.get("DeployerStack", "deployer") == names[environment]
    assert result["service"].document


@pytest.mark.parametrize("environment", ["default", "production"])
def test_every_setting_is_a_parameter_of_some_template(environment: str) -> None:
    settings = load(ROOT / "environments" / f"{environment}.yaml")
    known = {name for path in TEMPLATES for name in load(path)["Parameters"]}
    # of the deployer, whose template takes it
    assert settings.keys() - known <= {"ServicePattern"}


def test_sam_by_hand_has_defaults_that_suit_every_stack() -> None:
    """One section: setup says which stack, template and settings it means."""
    sam = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert sam.keys() == {"version", "default"}
    deploy = sam["default"]["deploy"]["parameters"]
    assert deploy["parameter_overrides"] == "file://environments/default.yaml"
    assert set(deploy["capabilities"].split()) == {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}
    assert {path.stem for path in TEMPLATES} == {*ORDER, "template"} - {"deployer"}
