"""Before anything changes: is everything there, what is the way back, what must not change."""

import contextlib
from typing import Any

import pytest

import check_preflight
import verify_release
from deployer.errors import PreflightFailed, ServiceScaledDown
from deployer.store import releases
from deployer.usecases import check_prerequisites as around
from tests.unit.conftest import Clock, Script, Web, refusal, surround
from tests.unit.samples import (
    ACCOUNT,
    OLD_REVISION,
    before,
    document,
    payload,
    release,
    service,
    task,
)

pytestmark = pytest.mark.usefixtures("releases_table")

VPCS = {"subnets": "vpc-1", "groups": "vpc-1"}
RUNS = service(
    before(status="PRIMARY", runningCount=1),
    networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-before"]}},
)


@pytest.fixture
def surroundings(script: Script) -> Script:
    """Cluster, network and roles as the spec names them; no service yet."""
    surround(script)
    script("ecs", "DescribeServices", {"services": []})
    return script


def with_service(script: Script, web: Web, described: dict[str, Any]) -> dict[str, Any]:
    """The service runs a task at the web server's address; returns the spec for it."""
    address, port = web.url.removeprefix("http://").split(":")
    script("ecs", "DescribeServices", {"services": [described]})
    running = task("t1", startedBy="ecs-svc/0")
    script("ecs", "ListTasks", {"taskArns": [running["taskArn"]]})
    script("ecs", "DescribeTasks", {"tasks": [running]})
    interface = {"NetworkInterfaceId": "eni-t1", "Association": {"PublicIp": address}}
    script("ec2", "DescribeNetworkInterfaces", {"NetworkInterfaces": [interface]})
    return document(one__portMappings=[{"containerPort": int(port)}], one__environment=[])


def probes(spec: dict[str, Any], context: Any) -> dict[str, str]:
    """The probes before the update: the preflight says where, another state reads them there."""
    checked = check_preflight.handler(payload(spec=spec), context)
    given = {"addresses": checked["addresses"], "probes": checked["probes"], "rollout": None}
    return dict(verify_release.handler(payload(spec=spec, **given), context)["probes"])


def test_a_first_release_has_no_way_back(surroundings: Script, context: Any) -> None:
    checked = check_preflight.handler(payload(), context)
    assert checked["previous"] is None
    assert (checked["probes"], checked["addresses"]) == ({}, None)
    assert checked["wasRunning"] is False
    assert checked["desiredCount"] is None


def test_what_runs_now_is_the_way_back(surroundings: Script, web: Web, context: Any) -> None:
    spec = with_service(surroundings, web, RUNS)
    releases.open_release(release(version="2.0.0"))
    releases.close_release(release(version="2.0.0"), "SUCCEEDED", {"taskDefinition": OLD_REVISION})
    checked = check_preflight.handler(payload(spec=spec), context)
    assert checked["previous"]
    assert checked["previous"]["taskDefinition"] == OLD_REVISION
    assert checked["previous"]["version"] == "2.0.0"
    assert checked["previous"]["networkConfiguration"] == RUNS["networkConfiguration"]
    assert checked["wasRunning"] is True


def test_what_must_not_change_is_asked_of_the_service_as_it_runs(
    surroundings: Script, web: Web, context: Any
) -> None:
    web.answer("/api/v2/buildinfo", '{"deployment_id": "d1"}')
    web.answer("/api/v2/users/first", "{}")
    assert probes(with_service(surroundings, web, RUNS), context) == {
        "/api/v2/buildinfo#deployment_id": "d1",
        "/api/v2/users/first": "200",
    }


def test_a_service_that_does_not_answer_is_known_by_what_it_last_said(
    surroundings: Script, web: Web, context: Any
) -> None:
    web.answer("/api/v2/buildinfo", status=503)
    web.answer("/api/v2/users/first", status=503)
    noted = {"/api/v2/buildinfo#deployment_id": "d1", "/api/v2/users/first": "404"}
    releases.close_release(release(), "SUCCEEDED", {"probes": noted})
    found = probes(with_service(surroundings, web, RUNS), context)
    assert found == {"/api/v2/buildinfo#deployment_id": "d1"}


def test_what_a_release_says_now_counts_more_than_what_it_said(
    surroundings: Script, web: Web, context: Any
) -> None:
    web.answer("/api/v2/buildinfo", '{"deployment_id": "d2"}')
    noted = {"/api/v2/buildinfo#deployment_id": "d1"}
    releases.close_release(release(), "SUCCEEDED", {"probes": noted})
    found = probes(with_service(surroundings, web, RUNS), context)
    assert found["/api/v2/buildinfo#deployment_id"] == "d2"


def test_from_inside_the_vpc_the_probes_are_read_at_the_private_address(
    surroundings: Script, web: Web, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_SUBNETS", "subnet-0123456789abcdef0")
    spec = with_service(surroundings, web, RUNS)
    checked = check_preflight.handler(payload(spec=spec), context)
    port = web.url.rpartition(":")[2]
    url = f"http://10.0.0.5:{port}"
    assert checked["addresses"] == {"url": url, "tasks": [url]}


def test_what_is_missing_stops_the_deployment(surroundings: Script, context: Any) -> None:
    surroundings("ec2", "DescribeSubnets", refusal("InvalidSubnetID.NotFound"))
    surroundings("iam", "GetRole", refusal("NoSuchEntity"))
    surroundings("ecs", "DescribeClusters", {"clusters": []})
    with pytest.raises(PreflightFailed) as caught:
        check_preflight.handler(payload(), context)
    for name in ("cluster coder", "subnet-0123456789abcdef0", "coder-execution", "coder-task"):
        assert name in str(caught.value)


def test_what_cannot_work_is_refused_with_its_fix(surroundings: Script, context: Any) -> None:
    surroundings("logs", "DescribeLogStreams", refusal("ResourceNotFoundException"))
    surroundings("secretsmanager", "DescribeSecret", refusal("ResourceNotFoundException"))
    with pytest.raises(PreflightFailed) as caught:
        check_preflight.handler(payload(), context)
    assert "aws logs create-log-group --log-group-name /ecs/coder" in str(caught.value)
    assert "secret:coder-db" in str(caught.value)


def simulated(decision: str) -> dict[str, Any]:
    action = "secretsmanager:GetSecretValue"
    return {"EvaluationResults": [{"EvalActionName": action, "EvalDecision": decision}]}


def test_a_secret_that_the_role_may_not_read_is_refused(surroundings: Script, context: Any) -> None:
    whole = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:coder-db-AbCdEf"
    surroundings("secretsmanager", "DescribeSecret", {"ARN": whole})
    surroundings("secretsmanager", "GetResourcePolicy", {"ARN": whole})
    surroundings("iam", "SimulatePrincipalPolicy", simulated("implicitDeny"))
    with pytest.raises(PreflightFailed, match="no permission to read coder-db"):
        check_preflight.handler(payload(), context)
    assert surroundings.requests("SimulatePrincipalPolicy")[0]["ResourceArns"] == [whole]


def test_a_secret_that_its_own_policy_may_open_is_not_refused(
    surroundings: Script, context: Any
) -> None:
    surroundings("secretsmanager", "GetResourcePolicy", {"ResourcePolicy": "{}"})
    surroundings("iam", "SimulatePrincipalPolicy", simulated("implicitDeny"))
    assert check_preflight.handler(payload(), context)["previous"] is None


DERIVED = (("ec2", "DescribeRouteTables"), ("iam", "SimulatePrincipalPolicy"))
NAMED = (("logs", "DescribeLogStreams"), ("secretsmanager", "DescribeSecret"))


@pytest.mark.parametrize(
    ("code", "checks"),
    [
        ("AccessDeniedException", DERIVED),
        ("ThrottlingException", DERIVED + NAMED),
        ("Strange", DERIVED + NAMED),
    ],
)
def test_a_check_that_did_not_run_stops_no_deployment(
    surroundings: Script, context: Any, code: str, checks: Any
) -> None:
    for api, operation in checks:
        surroundings(api, operation, refusal(code))
    assert check_preflight.handler(payload(), context)["previous"] is None


@pytest.mark.parametrize(
    ("api", "operation", "parameter"),
    [
        ("secretsmanager", "DescribeSecret", "SecretArns"),
        ("logs", "DescribeLogStreams", "LogGroupPattern"),
        ("rds", "DescribeDBInstances", "DatabasePattern"),
        ("ecs", "DescribeClusters", "ClusterName"),
    ],
)
def test_no_permission_for_what_the_spec_names_is_not_the_same_as_fine(
    surroundings: Script, context: Any, api: str, operation: str, parameter: str
) -> None:
    surroundings(api, operation, refusal("AccessDeniedException"))
    spec = document(database={"instance": "coder-db"}) if api == "rds" else document()
    with pytest.raises(PreflightFailed, match=parameter):
        check_preflight.handler(payload(spec=spec), context)


PARAMETER = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/coder/key"


@pytest.mark.parametrize(
    ("described", "missing"),
    [([], True), ([{"Name": "/coder/key"}], False)],
    ids=["missing", "there"],
)
def test_a_parameter_of_ssm_is_looked_for_as_a_secret_is(
    surroundings: Script, context: Any, described: Any, missing: bool
) -> None:
    pages = [{"Parameters": [], "NextToken": "more"}, {"Parameters": described}]
    surroundings("ssm", "DescribeParameters", *pages)
    spec = document(one__secrets=[{"name": "KEY", "valueFrom": PARAMETER}])
    expected = pytest.raises(PreflightFailed, match=f"{PARAMETER} does not exist")
    with expected if missing else contextlib.nullcontext():
        check_preflight.handler(payload(spec=spec), context)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:secretsmanager:us-east-1:999999999999:secret:theirs-AbCdEf",
        f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:far-AbCdEf",
        "arn:aws:ssm:short",
    ],
)
def test_a_secret_of_another_account_or_region_cannot_be_checked(
    surroundings: Script, context: Any, arn: str
) -> None:
    surroundings("secretsmanager", "DescribeSecret", refusal("ResourceNotFoundException"))
    spec = document(one__secrets=[{"name": "KEY", "valueFrom": arn}])
    assert check_preflight.handler(payload(spec=spec), context)["previous"] is None


def test_looks_end_when_their_time_is_up(
    surroundings: Script, context: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(around, "time", clock)

    def slow(request: dict[str, Any]) -> dict[str, Any]:
        clock.sleep(60)
        return {"RouteTables": []}

    surroundings("ec2", "DescribeRouteTables", slow)
    surroundings("logs", "DescribeLogStreams", refusal("ResourceNotFoundException"))
    assert check_preflight.handler(payload(), context)["previous"] is None
    assert surroundings.requests("DescribeLogStreams") == []


def test_a_broken_database_does_not_stop_its_restoration(
    surroundings: Script, context: Any
) -> None:
    instance = {"DBInstanceIdentifier": "coder-db", "DBInstanceStatus": "failed"}
    surroundings("rds", "DescribeDBInstances", {"DBInstances": [instance]})
    spec = document(database={"instance": "coder-db"})
    with pytest.raises(PreflightFailed, match="coder-db is failed"):
        check_preflight.handler(payload(spec=spec), context)
    command = release(trigger="rollback", restore="deployer-coder-1")
    assert check_preflight.handler(payload(spec=spec, release=command), context)


def test_a_service_that_somebody_stopped_is_not_deployed(
    surroundings: Script, context: Any
) -> None:
    surroundings("ecs", "DescribeServices", {"services": [service(before(), desiredCount=0)]})
    releases.close_release(release(), "SUCCEEDED", {})
    with pytest.raises(ServiceScaledDown):
        check_preflight.handler(payload(), context)


def test_a_first_release_that_we_stopped_is_started_again(
    surroundings: Script, context: Any
) -> None:
    stopped = service(before(), desiredCount=0, runningCount=0)
    surroundings("ecs", "DescribeServices", {"services": [stopped]})
    surroundings("ecs", "ListTasks", {"taskArns": []})
    releases.close_release(release(), "FAILED", {})
    checked = check_preflight.handler(payload(spec=document(creates__desiredCount=2)), context)
    assert checked["desiredCount"] == 2


@pytest.mark.parametrize(
    ("number", "expected"), [(12, "NONE"), (13, "BACK_UP")], ids=["the same", "grown"]
)
def test_a_database_is_backed_up_before_its_schema_changes(
    surroundings: Script, web: Web, context: Any, number: int, expected: str
) -> None:
    instance = {"DBInstanceIdentifier": "coder-db", "DBInstanceStatus": "available"}
    surroundings("rds", "DescribeDBInstances", {"DBInstances": [instance]})
    spec = with_service(surroundings, web, RUNS) | {"database": {"instance": "coder-db"}}
    releases.close_release(release(id="2"), "SUCCEEDED", {"taskDefinition": OLD_REVISION})
    coming = release(schema={"number": number, "hash": "f00"})
    checked = check_preflight.handler(payload(spec=spec, release=coming), context)
    assert checked["database"] == expected


def test_what_a_recovery_needs_is_noted(surroundings: Script, web: Web, context: Any) -> None:
    releases.open_release(release())
    spec = with_service(surroundings, web, RUNS)
    checked = check_preflight.handler(payload(spec=spec), context)
    record = releases.find("coder", release()["id"])
    assert record and record["previous"] == checked["previous"]
    assert record["wasRunning"] is True


def test_a_service_that_cannot_be_judged_is_refused(surroundings: Script, context: Any) -> None:
    theirs = {"deploymentController": {"type": "CODE_DEPLOY"}}
    surroundings("ecs", "DescribeServices", {"services": [RUNS | theirs]})
    with pytest.raises(PreflightFailed, match=r"CODE_DEPLOY.*deployment-controller type=ECS"):
        check_preflight.handler(payload(), context)


@pytest.mark.parametrize("there", [True, False], ids=["runs on", "gone"])
def test_a_service_that_runs_on_in_another_cluster_is_not_created_beside_it(
    surroundings: Script, context: Any, there: bool
) -> None:
    releases.close_release(release(id="2"), "SUCCEEDED", {"cluster": "earlier"})

    def described(request: dict[str, Any]) -> dict[str, Any]:
        return {"services": [RUNS] if there and request["cluster"] == "earlier" else []}

    surroundings("ecs", "DescribeServices", described)
    if there:
        with pytest.raises(PreflightFailed, match=r"earlier.*delete-service --cluster earlier"):
            check_preflight.handler(payload(), context)
    else:
        assert check_preflight.handler(payload(), context)
