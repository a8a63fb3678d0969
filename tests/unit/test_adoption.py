"""A service that somebody made is deployed as it is; what cannot work is refused beforehand."""

from typing import Any

import pytest

import check_preflight
import register_task_definition
import roll_back
import update_service
from deployer.deploy.task_definitions import CONTENT_TAG
from deployer.errors import PreflightFailed
from deployer.usecases import read_documents
from tests.unit.conftest import Script, refusal, surround
from tests.unit.samples import (
    ADOPTED,
    IMAGE,
    OLD_REVISION,
    before,
    crashed,
    document,
    ours,
    payload,
    service,
    spec,
)

BY_TAG = IMAGE.partition("@")[0] + ":1.0"
(CONTAINER,) = document(one__image=BY_TAG)["taskDefinition"]["containerDefinitions"]
SIDECAR = {"name": "proxy", "image": "nginx:1.27", "essential": False}
THEIRS: dict[str, Any] = {
    **document()["taskDefinition"],
    "containerDefinitions": [CONTAINER, SIDECAR],
    "taskDefinitionArn": OLD_REVISION,
    "status": "ACTIVE",
    "revision": 6,
    "volumes": [
        {"name": "data", "efsVolumeConfiguration": {"fileSystemId": "fs-0123456789abcdef0"}}
    ],
    "ephemeralStorage": {"sizeInGiB": 50},
}
GROUPS = [
    {"targetGroupArn": f"arn:{name}", "containerName": "coder", "containerPort": 3000}
    for name in ("public", "internal")
]
RUNS = service(
    before(status="PRIMARY", runningCount=7),
    desiredCount=7,
    runningCount=7,
    launchType="FARGATE",
    loadBalancers=GROUPS,
    deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 150},
    networkConfiguration={
        "awsvpcConfiguration": {
            "subnets": ["subnet-0123456789abcdef0"],
            "assignPublicIp": "ENABLED",
        }
    },
)
GROUP = {"TargetType": "ip", "VpcId": "vpc-1", "LoadBalancerArns": ["arn:balancer"]}


@pytest.fixture
def here(script: Script, releases_table: None) -> Script:
    """A service that somebody made with two target groups, a sidecar and a volume."""
    surround(script)
    script("ecs", "DescribeServices", {"services": [RUNS]})
    tags = [{"key": "team", "value": "web"}]
    script("ecs", "DescribeTaskDefinition", {"taskDefinition": THEIRS, "tags": tags})
    script("ecs", "ListTasks", {"taskArns": []})
    script("elbv2", "DescribeTargetGroups", {"TargetGroups": [GROUP]})
    script("elbv2", "DescribeTargetHealth", {"TargetHealthDescriptions": []})
    script("elbv2", "DescribeLoadBalancers", {"LoadBalancers": []})
    return script


def preflight(context: Any, **changes: Any) -> Any:
    return check_preflight.handler(payload(spec=document(**ADOPTED | changes)), context)


def refused(context: Any, **changes: Any) -> str:
    with pytest.raises(PreflightFailed) as caught:
        preflight(context, **changes)
    return str(caught.value)


# the preflight


def test_four_lines_are_enough(here: Script, context: Any) -> None:
    checked = preflight(context)
    assert checked["previous"]["taskDefinition"] == OLD_REVISION
    assert checked["desiredCount"] is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"repository": "shop"}, ["no container runs an image of repository shop", BY_TAG]),
        ({"container": "web"}, ["'web' is not a container", "coder, proxy"]),
        (
            {
                "verify": {"path": "/"},
                "serviceDefinition": {
                    "networkConfiguration": {"awsvpcConfiguration": {"assignPublicIp": "DISABLED"}}
                },
            },
            ["serviceDefinition.networkConfiguration.awsvpcConfiguration.subnets: is missing"],
        ),
        (
            {
                "verify": {"path": "/"},
                "serviceDefinition": {
                    "networkConfiguration": {
                        "awsvpcConfiguration": {"subnets": ["s"], "assignPublicIp": "DISABLED"}
                    }
                },
            },
            ["verify needs an address", "`url`"],
        ),
        (
            {"serviceDefinition": {"loadBalancers": GROUPS[:1]}},
            ["would remove loadBalancers arn:internal"],
        ),
        (
            {
                "taskDefinition": {
                    "cpu": 256,
                    "containerDefinitions": [
                        {"name": "coder", "portMappings": [{"containerPort": "80"}]}
                    ],
                },
                "serviceDefinition": {"desiredCounts": 1, "networkConfiguration": []},
            },
            [
                "4 wrong field(s)",
                "taskDefinition.cpu: must be a text",
                "taskDefinition.containerDefinitions[0].portMappings[0].containerPort: must be a",
                "serviceDefinition.desiredCounts: unknown field",
                "serviceDefinition.networkConfiguration: must be an object",
            ],
        ),
        (
            {"taskDefinition": "coder", "override": {"stopTimeout": "2", "lynx": 1}},
            ["override.stopTimeout: must be a whole number", "override.lynx: unknown field"],
        ),
    ],
    ids=[
        *(
            "another repository",
            "no such container",
            "no subnets",
            "no address",
            "a target group less",
        ),
        *("wrong documents", "a wrong override"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_changes(
    here: Script, context: Any, changes: dict[str, Any], expected: list[str]
) -> None:
    message = refused(context, **changes)
    assert [text for text in expected if text not in message] == []


def test_an_image_of_another_repository_may_be_replaced_if_the_spec_says_so(
    here: Script, context: Any
) -> None:
    assert preflight(context, repository="shop", container="coder")["previous"]


def test_a_service_that_does_not_exist_is_not_adopted(here: Script, context: Any) -> None:
    here("ecs", "DescribeServices", {"services": []})
    message = refused(context)
    assert "does not exist in cluster coder" in message
    assert "taskDefinition and serviceDefinition" in message


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (refusal("ClientException"), "does not exist"),
        ({"taskDefinition": THEIRS | {"status": "INACTIVE"}}, "is INACTIVE"),
        ({"taskDefinition": THEIRS | {"requiresCompatibilities": ["EC2"]}}, "requires EC2"),
    ],
)
def test_a_blueprint_that_cannot_run_is_refused(
    here: Script, context: Any, described: Any, message: str
) -> None:
    here("ecs", "DescribeTaskDefinition", described)
    assert message in refused(context, taskDefinition="coder:6")


def test_roles_that_the_deployer_may_not_pass_are_named(here: Script, context: Any) -> None:
    here("iam", "GetRole", refusal("AccessDenied"))
    message = refused(context)
    assert "role/coder-execution" in message
    assert "ExecutionRolePattern and TaskRolePattern" in message


def test_a_cluster_of_somebody_elses_is_named(here: Script, context: Any) -> None:
    here("ecs", "DescribeServices", refusal("AccessDeniedException"))
    assert "name it in ClusterName" in refused(context)


# the platform


@pytest.mark.parametrize(
    ("runtime", "requires", "platform"),
    [
        ({"cpuArchitecture": "ARM64"}, ["FARGATE"], "linux/arm64"),
        ({"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}, None, "linux/amd64"),
        ({"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}, ["FARGATE"], None),
        (None, ["FARGATE"], "linux/amd64"),
        (None, ["EC2"], None),
    ],
)
def test_the_platform_is_that_of_the_task_definition(
    here: Script, runtime: Any, requires: Any, platform: str | None
) -> None:
    described = {**THEIRS, "runtimePlatform": runtime, "requiresCompatibilities": requires}
    shown = {name: value for name, value in described.items() if value}
    here("ecs", "DescribeTaskDefinition", {"taskDefinition": shown})
    assert read_documents.platform(spec(**ADOPTED)) == platform


@pytest.mark.parametrize("described", [{"services": []}, refusal("AccessDeniedException")])
def test_of_a_service_that_nobody_can_see_the_platform_is_unknown(
    here: Script, described: Any
) -> None:
    here("ecs", "DescribeServices", described)
    assert read_documents.platform(spec(**ADOPTED)) is None


# a release


@pytest.fixture
def locked(here: Script, lock_held: None) -> Script:
    here("ecs", "RegisterTaskDefinition", {"taskDefinition": {"taskDefinitionArn": "arn:new"}})
    updated = service(ours(taskDefinition="arn:new"), before())
    here("ecs", "UpdateService", {"service": updated})
    return here


def register(context: Any, **changes: Any) -> Any:
    given = payload(spec=document(**ADOPTED | changes), previous=None)
    return register_task_definition.handler(given, context)


def test_a_release_is_the_running_task_definition_with_the_digest(
    locked: Script, context: Any
) -> None:
    assert register(context) == {"taskDefinition": "arn:new", "new": True}
    (request,) = locked.requests("RegisterTaskDefinition")
    assert request["containerDefinitions"] == [{**CONTAINER, "image": IMAGE}, SIDECAR]
    for field in ("family", "volumes", "ephemeralStorage", "taskRoleArn", "cpu"):
        assert request[field] == THEIRS[field]
    tags = {tag["key"]: tag["value"] for tag in request["tags"]}
    assert tags["team"] == "web" and tags["deployer:version"] == "2.1.0"


def test_what_runs_the_image_already_is_not_registered_again(locked: Script, context: Any) -> None:
    same = {**THEIRS, "containerDefinitions": [{**CONTAINER, "image": IMAGE}, SIDECAR]}
    locked("ecs", "DescribeTaskDefinition", {"taskDefinition": same})
    assert register(context) == {"taskDefinition": OLD_REVISION, "new": False}
    assert not locked.requests("RegisterTaskDefinition")


def test_releases_of_a_blueprint_leave_its_own_family_alone(locked: Script, context: Any) -> None:
    register(context, taskDefinition="coder")
    register(context, taskDefinition="coder")  # a retry whose reply was lost
    first, second = locked.requests("RegisterTaskDefinition")
    assert first["family"] == second["family"] == "coder-releases"
    content = [{t["key"]: t["value"] for t in one["tags"]}[CONTENT_TAG] for one in (first, second)]
    assert content[0] == content[1], "which is how a revision that is there is found again"


def test_an_update_sends_nothing_but_the_task_definition_and_the_breaker(
    locked: Script, context: Any
) -> None:
    given = payload(spec=document(**ADOPTED), taskDefinition="arn:new")
    update_service.handler(given, context)
    (request,) = locked.requests("UpdateService")
    configuration = request.pop("deploymentConfiguration")
    assert request == {"cluster": "coder", "service": "coder", "taskDefinition": "arn:new"}
    assert configuration.pop("deploymentCircuitBreaker")["enable"] is True
    assert configuration == RUNS["deploymentConfiguration"]


def test_a_service_that_is_gone_meanwhile_is_not_created(locked: Script, context: Any) -> None:
    locked("ecs", "DescribeServices", {"services": []})
    with pytest.raises(PreflightFailed, match="no serviceDefinition creates it"):
        update_service.handler(payload(spec=document(**ADOPTED)), context)
    assert not locked.requests("CreateService")


def test_a_service_that_somebody_made_is_never_stopped(locked: Script, context: Any) -> None:
    """Though its first release fails and nothing ran before."""
    failed = service(ours(rolloutState="FAILED", runningCount=0), before())
    locked("ecs", "DescribeServices", {"services": [failed]})
    locked("ecs", "DescribeTasks", {"tasks": [crashed()]})
    given = payload(spec=document(**ADOPTED), previous=None, wasRunning=False)
    assert roll_back.handler(given, context)["action"] == "LEAVE"
    assert not locked.requests("UpdateService")


def test_a_rollback_changes_nothing_else_either(locked: Script, context: Any) -> None:
    failed = RUNS | {"deployments": [ours(rolloutState="FAILED"), before()]}
    locked("ecs", "DescribeServices", {"services": [failed]})
    back = before(id="ecs-svc/3", status="PRIMARY", rolloutState="IN_PROGRESS")
    locked("ecs", "UpdateService", {"service": service(back)})
    network = RUNS["networkConfiguration"]
    earlier = payload()["previous"] | {"networkConfiguration": network}
    given = payload(spec=document(**ADOPTED), previous=earlier)
    assert roll_back.handler(given, context)["action"] == "ROLL_BACK"
    (request,) = locked.requests("UpdateService")
    assert request.keys() == {"cluster", "service", "taskDefinition", "deploymentConfiguration"}
    assert request["taskDefinition"] == OLD_REVISION
