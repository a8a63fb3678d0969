"""Services, task definitions and tasks in ECS."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, ecs
from deployer.errors import DeployError, PreflightFailed, ServiceDraining
from tests.unit.conftest import Clock, Script, refusal
from tests.unit.samples import (
    IMAGE,
    NOW,
    OLD_REVISION,
    REVISION,
    before,
    crashed,
    document,
    ours,
    service,
    task,
)

DEFINITION = document(one__image=IMAGE)["taskDefinition"]
CREATION = {"serviceName": "coder", "cluster": "coder", "taskDefinition": REVISION}


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(ecs, "time", clock)
    return clock


# clusters


def test_a_cluster_tells_its_status(aws: None) -> None:
    client("ecs").create_cluster(clusterName="coder")
    assert ecs.cluster_status("coder") == "ACTIVE"


def test_a_cluster_that_is_not_there_is_missing(script: Script) -> None:
    script("ecs", "DescribeClusters", {"clusters": [], "failures": [{"reason": "MISSING"}]})
    assert ecs.cluster_status("nobody") == "MISSING"


# services


@pytest.mark.parametrize(
    ("statuses", "response"),
    [
        ([], False),
        (["ACTIVE"], True),
        (["DRAINING"], False),
        (["INACTIVE"], False),
        (["INACTIVE", "ACTIVE"], True),
    ],
)
def test_only_an_active_service_is_one(script: Script, statuses: list[str], response: bool) -> None:
    described = [service(ours(), status=status) for status in statuses]
    script("ecs", "DescribeServices", {"services": described})
    got = ecs.service("coder", "coder")
    assert (got is not None) == response
    assert got is None or got["status"] == "ACTIVE"


def test_where_there_is_no_cluster_there_is_no_service(script: Script) -> None:
    script("ecs", "DescribeServices", refusal("ClusterNotFoundException"))
    assert ecs.service("coder", "coder") is None


def test_a_service_is_created_as_asked(script: Script) -> None:
    script("ecs", "CreateService", {"service": service(ours())})
    assert ecs.create_service(CREATION)["serviceName"] == "coder"
    assert script.requests("CreateService") == [CREATION]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("InvalidParameterException", "DRAINING", ServiceDraining),
        ("InvalidParameterException", "ACTIVE", ClientError),
        ("AccessDeniedException", "DRAINING", ClientError),
    ],
)
def test_a_service_that_still_drains_is_told_from_other_refusals(
    script: Script, code: str, status: str, error: type[Exception]
) -> None:
    script("ecs", "CreateService", refusal(code))
    script("ecs", "DescribeServices", {"services": [service(status=status)]})
    with pytest.raises(error):
        ecs.create_service(CREATION)


def test_a_service_is_updated_by_name(script: Script) -> None:
    script("ecs", "UpdateService", {"service": service(ours())})
    ecs.update_service("coder", {"cluster": "coder", "taskDefinition": REVISION})
    assert script.requests("UpdateService") == [
        {"service": "coder", "cluster": "coder", "taskDefinition": REVISION}
    ]


def test_a_service_is_stopped_by_wanting_no_task(script: Script) -> None:
    script("ecs", "UpdateService", {"service": service(ours())})
    ecs.scale("coder", "coder", 0)
    assert script.requests("UpdateService") == [
        {"service": "coder", "cluster": "coder", "desiredCount": 0}
    ]


# deployments, in spite of reads that lag behind

STALE = service(before(status="PRIMARY"))
FRESH = service(ours(), before())


def test_a_deployment_that_the_answer_shows_needs_no_further_look(
    script: Script, clock: Clock
) -> None:
    assert ecs.deployment_of(FRESH, REVISION)["id"] == "ecs-svc/1"
    assert (script.calls, clock.sleeps) == ([], [])


def test_a_deployment_that_a_stale_read_hides_is_looked_for(script: Script, clock: Clock) -> None:
    script("ecs", "DescribeServices", {"services": [STALE]}, {"services": [FRESH]})
    assert ecs.deployment_of(STALE, REVISION)["id"] == "ecs-svc/1"
    assert len(script.requests("DescribeServices")) == 2


def test_a_service_that_a_stale_read_does_not_show_at_all_is_looked_for(
    script: Script, clock: Clock
) -> None:
    script("ecs", "DescribeServices", {"services": []}, {"services": [FRESH]})
    assert ecs.deployment_of(STALE, REVISION)["id"] == "ecs-svc/1"


def test_a_deployment_that_never_shows_is_not_waited_for_without_end(
    script: Script, clock: Clock
) -> None:
    script("ecs", "DescribeServices", {"services": [STALE]})
    with pytest.raises(DeployError, match=REVISION):
        ecs.deployment_of(STALE, REVISION)
    assert 5 <= sum(clock.sleeps) <= 30


# task definitions


def test_a_revision_is_registered_with_its_tags_and_found_again(aws: None) -> None:
    first = ecs.register(DEFINITION, {"a": "1"})
    second = ecs.register(DEFINITION, {"a": "2"})
    assert first.endswith("task-definition/coder:1")
    assert ecs.revision(first) == (first, {"a": "1"})
    assert ecs.revision("coder") == (second, {"a": "2"})


def test_a_revision_that_is_no_longer_active_is_none(aws: None) -> None:
    rendered = ecs.register(DEFINITION, {})
    client("ecs").deregister_task_definition(taskDefinition=rendered)
    assert ecs.revision(rendered) is None


@pytest.mark.parametrize(
    ("code", "described"), [("ClientException", True), ("AccessDeniedException", False)]
)
def test_a_family_that_nobody_registered_is_none(
    script: Script, code: str, described: bool
) -> None:
    script("ecs", "DescribeTaskDefinition", refusal(code, "Unable to describe task definition."))
    if described:
        assert ecs.revision("nobody") is None
    else:
        with pytest.raises(ClientError):
            ecs.revision("nobody")


# tasks


def with_tasks(script: Script, tasks: list[dict[str, Any]], page: int) -> None:
    """ECS with these tasks, which lists them a page at a time and describes at most 100."""
    arns = [entry["taskArn"] for entry in tasks]

    def listed(params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("nextToken", 0))
        answer: dict[str, Any] = {"taskArns": arns[start : start + page]}
        if start + page < len(arns):
            answer["nextToken"] = str(start + page)
        return answer

    def described(params: dict[str, Any]) -> Any:
        if not 1 <= len(params["tasks"]) <= 100:
            return refusal("InvalidParameterException", "Tasks must be 1 to 100")
        return {"tasks": [entry for entry in tasks if entry["taskArn"] in params["tasks"]]}

    script("ecs", "ListTasks", listed)
    script("ecs", "DescribeTasks", described)


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_all_tasks_of_a_rollout_are_found_however_many(script: Script, count: int) -> None:
    tasks = [task(f"t{number}") for number in range(count)]
    with_tasks(script, tasks, page=100)
    result = ecs.running_tasks("coder", "coder", "ecs-svc/1")
    assert {entry["taskArn"] for entry in result} == {entry["taskArn"] for entry in tasks}


@pytest.mark.parametrize("code", ["ServiceNotFoundException", "ClusterNotFoundException"])
def test_a_service_that_is_gone_has_no_tasks(script: Script, code: str) -> None:
    script("ecs", "ListTasks", refusal(code))
    assert ecs.tasks("coder", "coder") == []


def test_only_the_rollouts_own_tasks_are_found(script: Script) -> None:
    others = [task("t2", startedBy="ecs-svc/0"), task("t3", startedBy="ada")]
    with_tasks(script, [task("t1"), *others], page=2)
    result = ecs.running_tasks("coder", "coder", "ecs-svc/1")
    assert [entry["taskArn"][-2:] for entry in result] == ["t1"]


def test_a_services_tasks_are_found_whoever_started_them(script: Script) -> None:
    with_tasks(script, [task("t1"), task("t2", startedBy="ecs-svc/0")], page=1)
    assert [entry["taskArn"][-2:] for entry in ecs.tasks("coder", "coder")] == ["t1", "t2"]


def test_what_ecs_has_forgotten_is_left_out(script: Script) -> None:
    with_tasks(script, [task("t1")], page=100)
    known = task("t1")["taskArn"]
    assert [t["taskArn"] for t in ecs.existing_tasks("coder", [known, f"{known}0"])] == [known]
    assert ecs.existing_tasks("coder", []) == []


def test_running_and_stopped_tasks_are_told_apart(script: Script) -> None:
    with_tasks(script, [], page=100)
    ecs.running_tasks("coder", "coder", "ecs-svc/1")
    ecs.stopped_tasks("coder", "coder", "ecs-svc/1")
    requests = [
        (call["serviceName"], call["desiredStatus"]) for call in script.requests("ListTasks")
    ]
    assert requests == [("coder", "RUNNING"), ("coder", "STOPPED")]


def test_stopped_tasks_come_oldest_first(script: Script) -> None:
    tasks = [
        crashed(f"t{number}", stoppedAt=NOW - timedelta(seconds=ago))
        for number, ago in enumerate([5, 50, 20])
    ]
    with_tasks(script, tasks, page=100)
    result = ecs.stopped_tasks("coder", "coder", "ecs-svc/1")
    assert [entry["taskArn"][-2:] for entry in result] == ["t1", "t2", "t0"]


def test_an_old_revision_is_none_of_ours(script: Script) -> None:
    assert OLD_REVISION != REVISION
    with_tasks(script, [task(taskDefinitionArn=OLD_REVISION, startedBy="ecs-svc/0")], page=100)
    assert ecs.running_tasks("coder", "coder", "ecs-svc/1") == []


@pytest.mark.parametrize(
    ("operation", "request_", "invalid"),
    [
        ("RegisterTaskDefinition", DEFINITION, []),
        (
            "RegisterTaskDefinition",
            {
                "family": 7,
                "volumes": [{"efsVolumeConfiguration": {}}],
                "containerDefinitions": [
                    {"portMappings": [{"containerPort": "80"}], "secretz": "hunter2"}
                ],
            },
            [
                ("family", "must be a text"),
                ("containerDefinitions[0].portMappings[0].containerPort", "must be a whole number"),
                ("volumes[0].efsVolumeConfiguration.fileSystemId", "is missing"),
            ],
        ),
        ("CreateService", {"serviceName": "a"}, []),
        ("CreateService", {}, [("serviceName", "is missing")]),
        (
            "CreateService",
            {"serviceName": "a", "networkConfiguration": {"awsvpcConfiguration": {}}},
            [("networkConfiguration.awsvpcConfiguration.subnets", "is missing")],
        ),
    ],
)
def test_what_ecs_does_not_take_is_named_with_its_path(
    operation: str, request_: dict[str, Any], invalid: list[tuple[str, str]]
) -> None:
    result = ecs.invalid_fields(operation, request_)
    assert "hunter2" not in str(result)
    unknown = [(path, why) for path, why in result if "unknown field" in why]
    assert sorted(set(result) - set(unknown)) == sorted(invalid)
    assert [path for path, _ in unknown] == (
        ["containerDefinitions[0].secretz"] if "volumes" in request_ else []
    )


def test_a_family_that_the_deployer_may_not_register_is_named(script: Script) -> None:
    script("ecs", "RegisterTaskDefinition", refusal("AccessDeniedException"))
    with pytest.raises(PreflightFailed, match="name the family in TaskFamilyPattern"):
        ecs.register(DEFINITION, {})
