"""What must be around a service: each thing that cannot work is found, with its fix, and nothing
is called wrong that may work."""

from collections.abc import Iterable
from typing import Any

import pytest

from deployer.check import FAILED, OK, WARNING, Check
from deployer.deploy import documents, prerequisites
from deployer.deploy.prerequisites import Secret
from tests.unit.samples import ACCOUNT, ADOPTED, BALANCER, NOW, document, service, spec

SUBNET, GROUP = "subnet-0123456789abcdef0", "sg-0123456789abcdef0"
DEFINITION: Any = document()["taskDefinition"]
SUBNETS = {SUBNET: {"SubnetId": SUBNET, "VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24"}}
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:coder-db"


def states(described: Iterable[Check]) -> list[str]:
    checks = list(described)
    for check in checks:
        assert check.state != FAILED or (check.fix and check.finding), check
    return [check.state for check in checks]


# the way out


def table(*routes: dict[str, str], **associated: Any) -> dict[str, Any]:
    local = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}
    by = associated or {"Main": True}
    result = {"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Associations": [by]}
    return {**result, "Routes": [local, *routes]}


def route(state: str = "active", **to: str) -> dict[str, str]:
    return {"DestinationCidrBlock": "0.0.0.0/0", "State": state, **to}


def endpoint(service: str, **changes: Any) -> dict[str, Any]:
    result = {"ServiceName": f"com.amazonaws.us-east-1.{service}", "State": "available"}
    return {"VpcId": "vpc-1", **result, **changes}


INTERNET, NAT = route(GatewayId="igw-1"), route(NatGatewayId="nat-1")
ENDPOINTS = [endpoint("ecr.api"), endpoint("ecr.dkr")]


@pytest.mark.parametrize(
    ("tables", "endpoints", "public", "expected"),
    [
        ([table(INTERNET)], [], True, [OK]),
        ([table(INTERNET)], [], False, [FAILED]),
        ([table(NAT)], [], False, [OK]),
        ([table(route(TransitGatewayId="tgw-1"))], [], False, [OK]),
        ([table()], [], True, [FAILED]),
        ([table(route(GatewayId="vpce-1"))], [], True, [FAILED]),
        ([table(route("blackhole", NatGatewayId="nat-1"))], [], False, [FAILED]),
        ([table()], ENDPOINTS, False, [OK]),
        ([table()], ENDPOINTS[:1], False, [FAILED]),
        ([table()], [e | {"VpcId": "vpc-2"} for e in ENDPOINTS], False, [FAILED]),
        ([table()], [e | {"State": "deleting"} for e in ENDPOINTS], False, [FAILED]),
        ([table(), table(NAT, SubnetId=SUBNET)], [], False, [OK]),
        ([table(NAT), table(SubnetId=SUBNET)], [], False, [FAILED]),
        ([], [], True, [WARNING]),
        ([table(INTERNET) | {"VpcId": "vpc-2"}], [], True, [WARNING]),
    ],
    ids=[
        *("internet gateway", "internet gateway without public IP", "NAT", "transit gateway"),
        *("no route", "gateway endpoint only", "gone gateway", "endpoints", "half the endpoints"),
        *("another VPC's endpoints", "endpoints on their way out", "a table of its own"),
        *("a table of its own that leads nowhere", "no table", "another VPC's table"),
    ],
)
def test_the_tasks_reach_ecr(
    tables: list[Any], endpoints: list[Any], public: bool, expected: list[str]
) -> None:
    vpc = {"subnets": [SUBNET], "assignPublicIp": "ENABLED" if public else "DISABLED"}
    assert states(prerequisites.way_out(vpc, SUBNETS, tables, endpoints)) == expected


# who may speak to whom


def rule(port: int | None = 3000, to: int | None = None, **source: Any) -> dict[str, Any]:
    if port is None:
        return {"IpProtocol": "-1", **source}
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": to or port, **source}


def group(name: str = GROUP, ingress: Any = (), egress: Any = None) -> dict[str, Any]:
    out = [rule(None, IpRanges=[{"CidrIp": "0.0.0.0/0"}])] if egress is None else egress
    return {"GroupId": name, "IpPermissions": list(ingress), "IpPermissionsEgress": list(out)}


def cidr(*ranges: str) -> dict[str, Any]:
    return {"IpRanges": [{"CidrIp": one} for one in ranges]}


def members(*groups: str) -> dict[str, Any]:
    return {"UserIdGroupPairs": [{"GroupId": name} for name in groups]}


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        ([rule(**cidr("0.0.0.0/0"))], [OK]),
        ([rule(None, **cidr("0.0.0.0/0"))], [OK]),
        ([rule(1, 65535, **cidr("0.0.0.0/0"))], [OK]),
        ([rule(**cidr("192.0.2.0/24"))], [WARNING]),
        ([rule(PrefixListIds=[{"PrefixListId": "pl-1"}])], [WARNING]),
        ([], [FAILED]),
        ([rule(3001, **cidr("0.0.0.0/0"))], [FAILED]),
        ([rule(**cidr("0.0.0.0/0")) | {"IpProtocol": "udp"}], [FAILED]),
        ([rule(None, **members(GROUP))], [FAILED]),
    ],
    ids=[
        *("open", "all open", "range", "some addresses", "a prefix list", "closed"),
        *("another port", "another protocol", "its own members only"),
    ],
)
def test_people_reach_tasks_at_their_own_addresses(ingress: Any, expected: list[str]) -> None:
    assert states(prerequisites.public_port(3000, True, [group(ingress=ingress)])) == expected


def test_a_closed_port_can_be_opened() -> None:
    (check,) = prerequisites.public_port(3000, True, [group()])
    assert check.repair
    assert check.repair.about == {"group": GROUP, "port": 3000, "cidr": "0.0.0.0/0"}


def test_a_port_that_nobody_verifies_may_be_closed() -> None:
    assert states(prerequisites.public_port(3000, False, [group()])) == [WARNING]


def test_the_tasks_may_call_aws() -> None:
    assert states(prerequisites.way_to_port(443, [group()])) == []
    assert states(prerequisites.way_to_port(443, [group(egress=[])])) == [FAILED]
    web = [rule(443, **cidr("0.0.0.0/0"))]
    assert states(prerequisites.way_to_port(443, [group(egress=[]), group(egress=web)])) == []


@pytest.mark.parametrize(
    ("sending", "receiving", "expected"),
    [
        (group("sg-a"), group("sg-b", [rule(5432, **members("sg-a"))]), [OK]),
        (group("sg-a"), group("sg-b", [rule(5432, **cidr("10.0.0.0/16"))]), [OK]),
        (group("sg-a"), group("sg-b", [rule(5432, **cidr("10.9.0.0/16"))]), [FAILED]),
        (group("sg-a"), group("sg-b", [rule(5432, **members("sg-c"))]), [FAILED]),
        (group("sg-a"), group("sg-b", [rule(5433, **members("sg-a"))]), [FAILED]),
        (group("sg-a"), group("sg-b"), [FAILED]),
        (group("sg-a", egress=[]), group("sg-b", [rule(5432, **members("sg-a"))]), [FAILED]),
        (
            group("sg-a", egress=[rule(443, **cidr("0.0.0.0/0"))]),
            group("sg-b", [rule(5432, **members("sg-a"))]),
            [FAILED],
        ),
    ],
    ids=[
        *("by group", "by range", "another range", "another group", "another port", "closed"),
        *("nothing out", "not out on this port"),
    ],
)
def test_one_may_speak_to_another(sending: Any, receiving: Any, expected: list[str]) -> None:
    checks = prerequisites.between(
        "database", ("the tasks", "db"), 5432, [sending], [receiving], ["10.0.0.0/24"], "why"
    )
    assert states(checks) == expected


def test_a_closed_database_can_be_opened_to_the_tasks() -> None:
    (check,) = prerequisites.between(
        "database", ("the tasks", "db"), 5432, [group("sg-a")], [group("sg-b")], [], "why"
    )
    assert check.repair
    assert check.repair.about == {"group": "sg-b", "port": 5432, "from_group": "sg-a"}
    assert "--source-group sg-a" in check.fix[-1]


# secrets and the log


def test_secrets_are_named_once_without_their_keys() -> None:
    parameter = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/coder/key"
    values = [f"{SECRET}:user::", f"{SECRET}:password::", parameter, "a-parameters-name"]
    containers = [
        {"secrets": [{"name": f"S{n}", "valueFrom": v} for n, v in enumerate(values)]},
        {"secrets": [{"name": "D", "valueFrom": f"{SECRET}2"}]},
    ]
    result = documents.secret_arns({"containerDefinitions": containers})
    assert result == [SECRET, parameter, f"{SECRET}2"]


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (Secret(SECRET, exists=True, access="allowed"), OK),
        (Secret(SECRET, exists=False), FAILED),
        (Secret(SECRET, exists=True, going=True), FAILED),
        (Secret(SECRET, exists=True, access="implicitDeny"), FAILED),
        (Secret(SECRET, exists=None, access="implicitDeny", otherwise=True), WARNING),
        (Secret(SECRET, exists=True, access="implicitDeny", otherwise=True), WARNING),
        (Secret(SECRET, exists=True, access="explicitDeny", otherwise=True), FAILED),
        (Secret(SECRET, exists=None, access="allowed"), WARNING),
        (Secret(SECRET, exists=True, access=None), WARNING),
        (Secret(SECRET, denied=True, access="allowed"), WARNING),
        (Secret(SECRET, denied=True, access="implicitDeny", otherwise=True), WARNING),
        (Secret(SECRET, elsewhere=True, access="allowed"), WARNING),
    ],
)
def test_a_secret_is_there_and_readable(secret: Secret, expected: str) -> None:
    (check,) = prerequisites.secrets("arn:aws:iam::1:role/coder-execution", [secret])
    assert states([check]) == [expected]
    assert check.denied == secret.denied


def test_alarms_must_exist_and_one_that_is_raised_already_is_told() -> None:
    named = spec(alarms=["errors", "latency", "gone"])
    checks = list(prerequisites.alarms(named, {"errors": "ALARM", "latency": "OK"}))
    assert [check.state for check in checks] == [WARNING, OK, FAILED]
    assert list(prerequisites.alarms(spec(), {})) == []


def test_the_tasks_before_and_after_have_a_container() -> None:
    tasks = {"before": {"command": ["a"]}, "after": {"command": ["b"], "container": "proxy"}}
    named = spec(taskDefinition="coder", **tasks)
    before, after = prerequisites.tasks(named, document()["taskDefinition"])
    assert (before.state, after.state) == (OK, FAILED)
    assert after.finding == (
        "after.container: 'proxy' is not a container of the task definition; it has coder"
    )


def test_the_log_group_is_there() -> None:
    assert states(prerequisites.log_group("/ecs/coder", True)) == [OK]
    (check,) = prerequisites.log_group("/ecs/coder", False)
    assert (check.state, bool(check.repair)) == (FAILED, True)


# the target group


def target(**changes: Any) -> dict[str, Any]:
    result = {"TargetType": "ip", "VpcId": "vpc-1", "LoadBalancerArns": ["arn"]}
    return {**result, "HealthCheckPath": "/healthz", "HealthCheckPort": "traffic-port", **changes}


@pytest.mark.parametrize(
    ("described", "healthy", "expected"),
    [
        (target(), False, [OK]),
        (None, False, [FAILED]),
        (target(TargetType="instance"), False, [FAILED]),
        (target(VpcId="vpc-2"), False, [WARNING, OK]),
        (target(LoadBalancerArns=[]), False, [FAILED]),
        (target(HealthCheckPort="3000"), False, [OK]),
        (target(HealthCheckPort="8080"), False, [FAILED]),
        (target(HealthCheckPort="8080"), True, [OK]),
        (target(HealthCheckPath="/health"), False, [WARNING]),
        (target(HealthCheckPath="/health"), True, [OK]),
    ],
    ids=[
        *("right", "missing", "type", "VPC", "no listener", "the port", "another port"),
        *("another port, which answers", "another path", "another path, which answers"),
    ],
)
def test_tasks_can_join_the_target_group(
    described: Any, healthy: bool, expected: list[str]
) -> None:
    checks = prerequisites.target_group(
        "arn", DEFINITION, spec().verify, described, {"vpc-1"}, healthy
    )
    assert states(checks) == expected


def test_a_task_on_its_hosts_network_joins_by_its_host() -> None:
    for mode, kind in (("awsvpc", "ip"), ("bridge", "instance"), ("host", "instance")):
        result = target(TargetType=kind)
        definition = {**DEFINITION, "networkMode": mode}
        checks = prerequisites.target_group("arn", definition, None, result, set(), False)
        assert states(checks) == [OK]


def test_a_sidecar_may_answer_the_health_check() -> None:
    proxy = {"name": "proxy", "portMappings": [{"containerPort": 8080}]}
    definition = {
        **DEFINITION,
        "containerDefinitions": [*DEFINITION["containerDefinitions"], proxy],
    }
    checks = prerequisites.target_group(
        "arn", definition, spec().verify, target(HealthCheckPort="8080"), {"vpc-1"}, False
    )
    assert states(checks) == [OK]


# the database


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *(("available", OK), ("backing-up", OK), ("modifying", OK), ("stopped", FAILED)),
        *(("storage-full", FAILED), ("incompatible-network", FAILED), (None, FAILED)),
    ],
)
def test_the_database_can_answer(status: str | None, expected: str) -> None:
    matches = {"DBInstanceStatus": status} if status else None
    assert states(prerequisites.database("coder-db", matches)) == [expected]


def test_the_databases_port_is_its_own() -> None:
    assert prerequisites.database_port({"Endpoint": {"Port": 5433}}) == 5433
    assert prerequisites.database_port({}) == 5432


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"deploymentController": {"type": "CODE_DEPLOY"}}, "CODE_DEPLOY"),
        ({"deploymentController": {"type": "EXTERNAL"}}, "EXTERNAL"),
        ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "BLUE_GREEN"),
        ({"deploymentConfiguration": {"strategy": "LINEAR"}}, "LINEAR"),
        ({"deploymentConfiguration": {"strategy": "CANARY"}}, "CANARY"),
        ({"deploymentConfiguration": {"earlySuccessCriteria": {"enable": True}}}, "before all"),
    ],
)
def test_a_service_whose_rollouts_cannot_be_judged_is_refused(
    described: dict[str, Any], message: str
) -> None:
    (check,) = prerequisites.service(spec(), described)
    assert check.state == FAILED and message in check.finding
    assert any("aws ecs update-service --cluster" in line for line in check.fix)


@pytest.mark.parametrize(
    "described",
    [
        None,
        {},
        {"deploymentController": {"type": "ECS"}},
        {
            "deploymentConfiguration": {
                "strategy": "ROLLING",
                "earlySuccessCriteria": {"enable": False},
            }
        },
    ],
)
def test_a_service_that_ecs_rolls_is_taken(described: Any) -> None:
    assert all(check.state == OK for check in prerequisites.service(spec(), described))


# ECS's documents

FARGATE = {"launchType": "FARGATE", "networkConfiguration": {}}
EXPOSED: dict[str, Any] = document()["serviceDefinition"]


def definition(document: Any, here: Any = DEFINITION, as_service: Any = EXPOSED) -> list[Check]:
    return list(prerequisites.definition(document, here, as_service, service()))


def test_documents_that_fit_are_taken() -> None:
    assert states(definition(spec())) == [OK]


@pytest.mark.parametrize(
    ("launched", "requires", "fits"),
    [
        ({"launchType": "FARGATE"}, ["FARGATE"], True),
        ({"launchType": "FARGATE"}, ["EC2", "FARGATE"], True),
        ({"launchType": "FARGATE"}, None, True),
        ({"launchType": "FARGATE"}, ["EC2"], False),
        ({"launchType": "EC2"}, ["FARGATE"], False),
        ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}, ["EC2"], False),
        ({"capacityProviderStrategy": [{"capacityProvider": "machines"}]}, ["EC2"], True),
        ({}, ["FARGATE"], True),
    ],
)
def test_a_task_definition_is_for_where_the_service_runs(
    launched: dict[str, Any], requires: list[str] | None, fits: bool
) -> None:
    as_service = {**EXPOSED, "launchType": None, **launched}
    checks = definition(spec(), {**DEFINITION, "requiresCompatibilities": requires}, as_service)
    assert states(checks) == ([OK] if fits else [FAILED])


@pytest.mark.parametrize(
    ("document", "as_service", "problem"),
    [
        (spec(vpc__assignPublicIp="DISABLED"), {}, "verify needs an address"),
        (spec(one__portMappings=[]), EXPOSED, "verify needs a port"),
        (spec(**BALANCER), {}, None),
        (spec(verify=None), {}, None),
        (spec(), EXPOSED, None),
    ],
)
def test_a_release_is_verified_somewhere(
    document: Any, as_service: Any, problem: str | None
) -> None:
    checks = definition(document, document.task_definition, as_service)
    assert states(checks) == ([FAILED] if problem else [OK])
    assert (problem or "") in checks[0].finding


def test_tasks_with_private_addresses_are_verified_from_inside_the_vpc() -> None:
    made = spec(vpc__assignPublicIp="DISABLED")
    (check,) = prerequisites.definition(made, DEFINITION, {}, None)
    assert check.state == FAILED and "VerifySubnetIds" in check.finding
    assert states(prerequisites.definition(made, DEFINITION, {}, None, inside=True)) == [OK]


INTERNAL, PUBLIC = ({"LoadBalancerName": "a", "Scheme": s} for s in ("internal", "internet-facing"))


@pytest.mark.parametrize(
    ("balancers", "resolved", "inside", "expected"),
    [
        ([INTERNAL], ["10.0.0.7"], False, [FAILED]),
        ([INTERNAL], [], False, [FAILED]),
        ([INTERNAL], ["10.0.0.7"], True, []),
        ([INTERNAL], ["93.184.216.34", "10.0.0.7"], False, []),
        ([INTERNAL], ["93.184.216.34"], False, []),
        ([INTERNAL, PUBLIC], ["10.0.0.7"], False, []),
        ([PUBLIC], ["10.0.0.7"], False, []),
        ([], [], False, []),
    ],
    ids=[
        *("internal", "a name of the VPC's only", "from inside", "also public", "CloudFront"),
        *("one of two", "another scheme", "no load balancer"),
    ],
)
def test_an_internal_load_balancer_is_not_reached_from_the_internet(
    balancers: list[Any], resolved: list[str], inside: bool, expected: list[str]
) -> None:
    found = states(prerequisites.reach(spec(**BALANCER), balancers, resolved, inside=inside))
    assert found == expected
    assert not list(prerequisites.reach(spec(), balancers, resolved, inside=inside))


@pytest.mark.parametrize(
    ("vpcs", "named", "expected"),
    [
        ({"vpc-1"}, [SUBNET], []),
        ({"vpc-2"}, [SUBNET], [WARNING]),
        ({"vpc-1"}, [SUBNET, "subnet-none"], [FAILED]),
        (set(), [SUBNET], []),
    ],
)
def test_the_deployer_verifies_from_the_tasks_vpc(
    vpcs: set[str], named: list[str], expected: list[str]
) -> None:
    assert states(prerequisites.vpc_of_verification(SUBNETS, named, vpcs)) == expected


def test_a_service_to_create_needs_its_definition() -> None:
    theirs = document(one__image="1.dkr.ecr.us-east-1.amazonaws.com/coder:1")["taskDefinition"]
    (check,) = prerequisites.definition(spec(**ADOPTED), theirs, {}, None)
    assert check.state == FAILED and "serviceDefinition" in check.finding
    assert states(prerequisites.definition(spec(), DEFINITION, EXPOSED, None)) == [OK]


def test_secrets_in_a_task_definition_of_the_teams_are_a_warning() -> None:
    environment = [{"name": "DB_PASSWORD", "value": "hunter2"}]
    image = "1.dkr.ecr.us-east-1.amazonaws.com/coder:1"
    plain = document(one__environment=environment, one__image=image)["taskDefinition"]
    (check,) = definition(spec(**ADOPTED), plain)
    assert check.state == WARNING and "DB_PASSWORD of coder" in check.finding
    assert "hunter2" not in str(check)


def test_a_preset_checks_a_task_definition_in_ecs_too() -> None:
    environment = [{"name": "CODER_URL", "value": "https://coder.example.com"}]
    wrong = document(one__environment=environment)["taskDefinition"]
    rendered = spec(taskDefinition="coder", preset="coder")
    (check,) = definition(rendered, wrong)
    assert check.state == FAILED and "CODER_URL" in check.finding


GROUPS = [
    {"targetGroupArn": f"arn:{name}", "containerName": "coder", "containerPort": 3000}
    for name in ("public", "internal")
]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, []),
        ({}, []),
        ({"enableExecuteCommand": True}, []),
        ({"loadBalancers": GROUPS}, []),
        ({"loadBalancers": GROUPS[:1]}, [FAILED]),
        ({"launchType": "EC2"}, [WARNING]),
    ],
)
def test_an_update_removes_nothing_that_the_spec_does_not_name(
    named: Any, expected: list[str]
) -> None:
    rendered = spec(**ADOPTED | {"serviceDefinition": named})
    here = service(loadBalancers=GROUPS, launchType="FARGATE")
    checks = list(prerequisites.update(rendered, here, DEFINITION))
    assert states(checks) == expected
    assert not checks or any(word in checks[0].finding for word in ("arn:internal", "launchType"))


def test_all_wrong_fields_are_named_at_once() -> None:
    invalid = [("taskDefinition.cpu", "must be a text"), ("serviceDefinition.x", "unknown field")]
    (check,) = prerequisites.definitions(invalid)
    assert "2 wrong field(s)" in check.finding
    assert all(path in check.finding for path, _ in invalid)
    assert states(prerequisites.definitions([])) == []


# scheduled tasks


@pytest.mark.parametrize(
    ("schedule", "service", "trust", "finding"),
    [
        ("rate(1 day)", {}, {"Service": "scheduler.amazonaws.com"}, ""),
        ("rate(1 day)", {}, None, "role coder-schedules does not exist"),
        ("rate(1 day)", {}, {"Service": "ecs-tasks.amazonaws.com"}, "does not trust scheduler"),
        (
            "cron(0 3 1 1 ? 2020)",
            {},
            {"Service": "scheduler.amazonaws.com"},
            "schedules.nightly.schedule: never fires: it names no day that exists after 2025",
        ),
        (
            "rate(1 day)",
            {"volumeConfigurations": [{"name": "data"}]},
            {"Service": "scheduler.amazonaws.com"},
            "cannot give tasks the volumes",
        ),
    ],
)
def test_a_schedule_that_could_run_nothing_is_refused(
    schedule: str, service: Any, trust: Any, finding: str
) -> None:
    by = spec(schedules={"nightly": {"schedule": schedule, "command": ["tidy"]}})
    checks = [*prerequisites.schedules(by, service, "coder-schedules", trust, NOW)]
    failed = [check.finding for check in checks if check.state == FAILED]
    assert bool(failed) == bool(finding)
    assert all(finding in text for text in failed)
    states(checks)
