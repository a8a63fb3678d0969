"""The simulated AWS does what AWS's documents say: each rule with its source and its test.

docs/simulation.md lists the rules; `python -m tests.simulation rules` prints its table.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from tests.simulation import asl, runtime, worlds
from tests.simulation.application import App
from tests.simulation.cloud import REGISTRY
from tests.simulation.ecs import STALE, Deployment, Service, Task, threshold
from tests.simulation.engine import Box
from tests.simulation.errors import AwsError
from tests.simulation.world import Killed, Plan, World

RULES: dict[str, str] = {}  # a rule in words: where it is written

type Test = Callable[..., None]


def rule(words: str, source: str) -> Callable[[Test], Test]:
    """What a test shows, and the document that says so; for docs/simulation.md."""
    RULES[words] = source
    return lambda test: test


def table() -> str:
    """The rules as docs/simulation.md holds them."""
    lines = ["| rule | source |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {words} | {source} |" for words, source in RULES.items())])


@pytest.fixture
def make() -> Iterator[Callable[[str], World]]:
    """Makes the world of a spec, with release 1.0.0 live in it."""
    entered = []

    def made(spec: str) -> World:
        world = worlds.world(spec, live=True)
        entered.append(runtime.within(world))
        entered[-1].__enter__()
        return world

    yield made
    for context in entered:
        context.__exit__(None, None, None)


@pytest.fixture
def world(make: Callable[[str], World]) -> World:
    return make("checked")


def coder(world: World) -> Service:
    return world.ecs.services["coder"]


def wait(world: World, seconds: float) -> None:
    world.engine.run(world.engine.now + seconds, lambda: False)


def until(world: World, reached: Callable[[], object], seconds: float = 2000.0) -> None:
    world.engine.run(world.engine.now + seconds, lambda: bool(reached()))
    assert reached()


def put(world: World, fault: str | None = None, *, seconds: float = 60.0, rollback: bool = True,
        low: int = 100, high: int = 200, **breaker: Any) -> Deployment:  # fmt: skip
    """Begin a rollout of another release past the deployer."""
    service = coder(world)
    digest = world.ecr.push(App("2.0.0", 1, fault, seconds), None)
    now = world.ecs.revisions[service.primary.revision]["taskDefinition"]
    container = {**now["containerDefinitions"][0], "image": f"{REGISTRY}/coder@{digest}"}
    rendered = world.ecs.register_task_definition(
        {"family": "coder", "containerDefinitions": [container]}
    )
    world.ecs.update_service(
        {
            "service": "coder",
            "taskDefinition": rendered["taskDefinition"]["taskDefinitionArn"],
            "deploymentConfiguration": {
                "deploymentCircuitBreaker": {"enable": True, "rollback": rollback, **breaker},
                "minimumHealthyPercent": low,
                "maximumPercent": high,
            },
        }
    )
    return service.primary


def tasks(world: World, deployment: Deployment) -> list[Task]:
    return [t for t in (*coder(world).dead, *coder(world).tasks) if t.deployment is deployment]


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(AwsError) as refused:
        act()
    return refused.value.code


# ECS: deployments -----------------------------------------------------------------------------


@rule(
    "the breaker trips at half of the desired count, at least 3, at most 200, or as configured",
    "ECS developer guide, deployment-circuit-breaker",
)
@pytest.mark.parametrize(
    ("desired", "given", "failures"),
    [
        (1, {}, 3),
        (25, {}, 13),
        (400, {}, 200),
        (800, {}, 200),
        (1, {"type": "UNBOUNDED_PERCENT", "value": 50}, 1),
        (800, {"type": "UNBOUNDED_PERCENT", "value": 50}, 400),
        (800, {"type": "COUNT", "value": 2}, 2),
    ],
)
def test_the_circuit_breakers_threshold(desired: int, given: dict[str, Any], failures: int) -> None:
    assert threshold({"thresholdConfiguration": given} if given else {}, desired) == failures


@rule(
    "UpdateService with nothing new starts no deployment; forceNewDeployment does",
    "ECS API reference, UpdateService",
)
def test_an_update_with_nothing_new_starts_no_deployment(world: World) -> None:
    service = world.ecs.services["coder"]
    before = service.primary
    world.ecs.update_service({"service": "coder", "taskDefinition": before.revision})
    assert service.primary is before
    world.ecs.update_service({"service": "coder", "forceNewDeployment": True})
    assert service.primary is not before


@rule(
    "a service cannot be updated to an inactive revision",
    "ECS API reference, DeregisterTaskDefinition",
)
def test_an_inactive_revision_cannot_be_put(world: World) -> None:
    revision = world.ecs.services["coder"].primary.revision
    world.ecs.revisions[revision]["taskDefinition"]["status"] = "INACTIVE"
    with pytest.raises(AwsError, match="inactive"):
        world.ecs.update_service({"service": "coder", "taskDefinition": revision})


@rule(
    "registering again makes a second revision",
    "ECS API reference, RegisterTaskDefinition",
)
def test_registering_again_makes_a_second_revision(world: World) -> None:
    request = {"family": "twice", "containerDefinitions": []}
    first = world.ecs.register_task_definition(request)
    second = world.ecs.register_task_definition(request)
    arns = [entry["taskDefinition"]["taskDefinitionArn"] for entry in (first, second)]
    assert [arn.rpartition(":")[2] for arn in arns] == ["1", "2"]


@rule("minimum healthy percent rounds up", "ECS API reference, DeploymentConfiguration")
def test_the_minimum_rounds_up(make: Callable[[str], World]) -> None:
    world = make("three")
    new = put(world, "never-healthy", low=50, high=100)
    lowest = 3

    def looked() -> bool:
        nonlocal lowest
        standing = sum(world.ecs.healthy(coder(world), t) for t in coder(world).tasks)
        lowest = min(lowest, standing)
        return new.state == "FAILED"

    until(world, looked)
    assert lowest == 2


@rule("maximum percent rounds down", "ECS API reference, DeploymentConfiguration")
def test_the_maximum_rounds_down(make: Callable[[str], World]) -> None:
    world = make("three")
    put(world, high=150)
    assert len(coder(world).tasks) == 4


@rule(
    "at 100 and 200 percent a new task is healthy before the old one stops",
    "ECS API reference, DeploymentConfiguration",
)
def test_the_new_task_comes_before_the_old_one_goes(world: World) -> None:
    new = put(world)
    until(world, lambda: not any(t.wanted for t in coder(world).tasks if t.deployment is not new))
    assert any(world.ecs.healthy(coder(world), task) for task in tasks(world, new))


@rule("at 0 and 100 percent the old task stops first", "ECS developer guide, deployment-type-ecs")
def test_the_old_task_goes_before_the_new_one_comes(world: World) -> None:
    new = put(world, low=0, high=100)
    assert not any(task.wanted for task in coder(world).tasks)
    until(world, lambda: new.state == "COMPLETED")


@rule(
    "at 100 and 100 percent nothing moves",
    "ECS developer guide, service-event-messages",
)
def test_a_deadlock_of_the_limits(world: World) -> None:
    new = put(world, low=100, high=100)
    wait(world, 600)
    assert not tasks(world, new)
    assert new.state == "IN_PROGRESS"


@rule(
    "without a check a task counts 40 s after RUNNING",
    "ECS API reference, DeploymentConfiguration",
)
def test_a_task_without_a_check_counts_after_forty_seconds(make: Callable[[str], World]) -> None:
    world = make("plain")
    new = put(world)
    until(world, lambda: new.state == "COMPLETED")
    started = tasks(world, new)[0].started
    assert started is not None
    assert new.completed - started >= 40


@rule(
    "with a check a task counts when it is HEALTHY",
    "ECS API reference, HealthCheck",
)
def test_a_checked_task_counts_when_it_is_healthy(world: World) -> None:
    new = put(world, "slow-start", seconds=15.0)
    until(world, lambda: tasks(world, new)[0].status == "RUNNING")
    assert not world.ecs.healthy(coder(world), tasks(world, new)[0])
    until(world, lambda: tasks(world, new)[0].health == "HEALTHY")
    assert world.ecs.healthy(coder(world), tasks(world, new)[0])


@rule(
    "behind a load balancer a task counts when its target is healthy",
    "ECS developer guide, deployment-type-ecs",
)
def test_a_task_counts_when_its_target_is_healthy(make: Callable[[str], World]) -> None:
    world = make("balanced")
    new = put(world)
    until(world, lambda: tasks(world, new)[0].status == "RUNNING")
    assert not world.ecs.healthy(coder(world), tasks(world, new)[0])
    until(world, lambda: tasks(world, new)[0].target == "healthy")
    assert world.ecs.healthy(coder(world), tasks(world, new)[0])


@rule(
    "a rollout is complete when all its tasks are healthy and no other runs",
    "ECS developer guide, early-success-criteria",
)
def test_a_rollout_is_complete_when_no_other_task_runs(make: Callable[[str], World]) -> None:
    world = make("three")
    new = put(world)
    until(world, lambda: new.state == "COMPLETED")
    assert {task.deployment for task in coder(world).tasks} == {new}
    assert sum(world.ecs.healthy(coder(world), task) for task in coder(world).tasks) == 3


@rule("the newest deployment is PRIMARY, those before are ACTIVE", "ECS API reference, Deployment")
def test_the_newest_deployment_is_the_primary(world: World) -> None:
    new = put(world)
    output = coder(world).described()["deployments"]
    assert [d["status"] for d in output] == ["PRIMARY", "ACTIVE"]
    assert output[0]["id"] == new.id


@rule("an update during a rollout supersedes it", "ECS API reference, UpdateService")
def test_an_update_supersedes_a_rollout(world: World) -> None:
    first, second = put(world, "never-healthy"), put(world)
    until(world, lambda: second.state == "COMPLETED")
    assert first.state == "IN_PROGRESS"
    assert coder(world).deployments == [second]


@rule("the desired count alone starts no deployment", "ECS API reference, UpdateService")
def test_scaling_starts_no_deployment(world: World) -> None:
    before = coder(world).primary
    world.ecs.update_service({"service": "coder", "desiredCount": 2})
    assert coder(world).primary is before
    wait(world, 120)
    assert len(coder(world).tasks) == 2


@rule("another network starts a deployment", "ECS API reference, UpdateService")
def test_another_network_starts_a_deployment(world: World) -> None:
    before = coder(world).primary
    network = {"awsvpcConfiguration": {"subnets": ["subnet-other"]}}
    world.ecs.update_service({"service": "coder", "networkConfiguration": network})
    assert coder(world).primary is not before


@rule(
    "the deployment's configuration alone starts no deployment", "ECS API reference, UpdateService"
)
def test_the_configuration_starts_no_deployment(world: World) -> None:
    before = coder(world).primary
    limits = {"minimumHealthyPercent": 0, "maximumPercent": 100, "deploymentCircuitBreaker": {}}
    world.ecs.update_service({"service": "coder", "deploymentConfiguration": limits})
    assert coder(world).primary is before
    assert coder(world).limits == (0, 100)


@rule("a service of none is complete with no task", "aws-actions issue 191")
def test_a_service_scaled_to_zero_is_complete(world: World) -> None:
    world.ecs.update_service({"service": "coder", "desiredCount": 0})
    new = put(world, "cannot-start")
    until(world, lambda: new.state == "COMPLETED")
    assert not coder(world).tasks


# ECS: the circuit breaker ---------------------------------------------------------------------


@rule(
    "the breaker counts tasks that do not reach RUNNING",
    "ECS developer guide, deployment-circuit-breaker",
)
def test_the_breaker_counts_failed_starts(world: World) -> None:
    bad = put(world, "cannot-start")
    until(world, lambda: bad.state == "FAILED")
    assert bad.failed == 3


@rule(
    "the breaker counts failed container checks",
    "ECS developer guide, deployment-circuit-breaker",
)
def test_the_breaker_counts_failed_checks(world: World) -> None:
    bad = put(world, "never-healthy")
    until(world, lambda: bad.state == "FAILED")
    assert bad.failed == 3


@rule(
    "the breaker counts failed checks of the load balancer",
    "ECS developer guide, deployment-circuit-breaker",
)
def test_the_breaker_counts_failed_targets(make: Callable[[str], World]) -> None:
    world = make("balanced")
    bad = put(world, "never-healthy")
    until(world, lambda: bad.state == "FAILED")
    assert bad.failed == 3


@rule("it does not count a task that reached RUNNING and exits", "containers-roadmap issue 1206")
def test_the_breaker_does_not_see_a_crash_loop(make: Callable[[str], World]) -> None:
    world = make("plain")
    bad = put(world, "exit-at-start")
    wait(world, 600)
    assert (bad.state, bad.failed) == ("IN_PROGRESS", 0)
    assert len(tasks(world, bad)) > 20


@rule(
    "it goes back to the last completed deployment, under its old id",
    "ECS developer guide, deployment-circuit-breaker",
)
def test_the_breaker_goes_back(world: World) -> None:
    good = coder(world).primary
    world.lines = []
    bad = put(world, "cannot-start")
    until(world, lambda: bad.state == "FAILED")
    assert coder(world).primary is good
    assert f"{good.id[-4:]} IN_PROGRESS: ECS deployment circuit breaker" in "".join(world.lines)
    until(world, lambda: good.state == "COMPLETED")
    assert coder(world).deployments == [good]


@rule(
    "without rollback a failed deployment launches nothing more and stays",
    "ECS API reference, Deployment",
)
def test_a_failed_deployment_launches_nothing(world: World) -> None:
    bad = put(world, "cannot-start", rollback=False)
    until(world, lambda: bad.state == "FAILED")
    launched = len(tasks(world, bad))
    wait(world, 600)
    assert len(tasks(world, bad)) == launched
    assert coder(world).primary is bad


@rule(
    "with no completed deployment there is nothing to go back to",
    "ECS developer guide, deployment-circuit-breaker",
)
def test_the_first_deployment_has_no_target(world: World) -> None:
    coder(world).last_completed = None
    bad = put(world, "cannot-start")
    until(world, lambda: bad.state == "FAILED")
    assert coder(world).primary is bad


@rule(
    "without the breaker a deployment never fails",
    "ECS developer guide, service-throttle-logic",
)
def test_without_the_breaker_nothing_fails(world: World) -> None:
    bad = put(world, "cannot-start", enable=False)
    wait(world, 3600)
    assert bad.state == "IN_PROGRESS"
    assert bad.failed > 3


@rule("a healthy task sets the count back to none", "ECS API reference, Deployment")
def test_a_healthy_task_resets_the_count(make: Callable[[str], World]) -> None:
    world = make("three")
    new = put(world)
    new.failed = 1
    until(world, lambda: any(t.target == "healthy" for t in tasks(world, new)))
    assert new.failed == 0


@rule(
    "with resetOnHealthyTask false it does not",
    "ECS API reference, DeploymentCircuitBreaker",
)
def test_a_healthy_task_resets_nothing_if_told_so(make: Callable[[str], World]) -> None:
    world = make("three")
    new = put(world, resetOnHealthyTask=False)
    new.failed = 1
    until(world, lambda: new.state == "COMPLETED")
    assert new.failed == 1


@rule(
    "failed starts are tried again at growing intervals up to 15 min",
    "ECS developer guide, service-throttle-logic",
)
def test_failed_starts_are_tried_at_growing_intervals(world: World) -> None:
    bad = put(world, "cannot-start", enable=False)
    wait(world, 7200)
    created = [task.created for task in tasks(world, bad)]
    gaps = [later - earlier for earlier, later in pairwise(created)]
    assert gaps == sorted(gaps)
    assert 900 <= gaps[-1] < 930


@rule(
    "an exit after RUNNING is not throttled",
    "ECS developer guide, service-throttle-logic",
)
def test_exits_are_not_throttled(make: Callable[[str], World]) -> None:
    world = make("plain")
    bad = put(world, "exit-at-start")
    wait(world, 600)
    created = [task.created for task in tasks(world, bad)]
    assert created[-1] - created[-2] == pytest.approx(created[1] - created[0])


# ECS: tasks -----------------------------------------------------------------------------------


@rule(
    "a task is PROVISIONING, PENDING, RUNNING, then STOPPED",
    "ECS developer guide, task-lifecycle-explanation",
)
def test_the_life_of_a_task(world: World) -> None:
    new = put(world, "exit-late", seconds=30.0)
    (task,), seen = tasks(world, new), []

    def looked() -> bool:
        if task.status not in seen:
            seen.append(task.status)
        return task.status == "STOPPED"

    until(world, looked)
    assert seen == ["PROVISIONING", "PENDING", "RUNNING", "STOPPED"]


@pytest.mark.parametrize(
    ("spec", "fault", "code", "reason"),
    [
        ("checked", "cannot-start", "TaskFailedToStart", "CannotStartContainerError"),
        ("checked", "exit-at-start", "EssentialContainerExited", "Essential container"),
        ("checked", "never-healthy", "ServiceSchedulerInitiated", "container health checks"),
        ("balanced", "never-healthy", "ServiceSchedulerInitiated", "ELB health checks"),
    ],
)
@rule("a stopped task has a stopCode and a stoppedReason", "ECS API reference, Task")
def test_why_a_task_stopped(
    make: Callable[[str], World], spec: str, fault: str, code: str, reason: str
) -> None:
    world = make(spec)
    bad = put(world, fault)
    until(world, lambda: coder(world).dead and coder(world).dead[-1].deployment is bad)
    output = coder(world).dead[-1].described()
    assert output["stopCode"] == code
    assert reason in output["stoppedReason"]


@rule(
    "an image that is gone cannot be pulled",
    "ECS developer guide, task_cannot_pull_image",
)
def test_an_image_that_is_gone(world: World) -> None:
    bad = put(world)
    world.ecr.stored.pop(_digest(world, bad))
    until(world, lambda: bad.state == "FAILED")
    assert tasks(world, bad)[0].reason.startswith("CannotPullContainerError")


@rule("an archived image cannot be pulled", "ECR user guide, archive_restore_image")
def test_an_archived_image(world: World) -> None:
    bad = put(world)
    world.ecr.stored[_digest(world, bad)].active = False
    until(world, lambda: bad.state == "FAILED")
    assert tasks(world, bad)[0].reason.startswith("CannotPullContainerError")


def _digest(world: World, deployment: Deployment) -> str:
    definition = world.ecs.revisions[deployment.revision]["taskDefinition"]
    return str(definition["containerDefinitions"][0]["image"]).rpartition("@")[2]


@rule(
    "a secret that is gone keeps a task from starting",
    "ECS developer guide, resource-initialization-error",
)
def test_a_secret_that_is_gone(world: World) -> None:
    world.do_lose_secret()
    bad = put(world)
    until(world, lambda: bad.state == "FAILED")
    assert tasks(world, bad)[0].reason.startswith("ResourceInitializationError")


@rule(
    "a subnet without addresses keeps a task from starting",
    "ECS developer guide, stopped-task-error-codes",
)
def test_no_address_is_left(world: World) -> None:
    world.do_no_room(True)
    bad = put(world)
    until(world, lambda: bad.state == "FAILED")
    assert "network interface provisioning" in tasks(world, bad)[0].reason


@rule(
    "a container killed for its memory has the exit code 137",
    "ECS developer guide, out-of-memory",
)
def test_out_of_memory(world: World) -> None:
    bad = put(world, "out-of-memory")
    until(world, lambda: coder(world).dead and coder(world).dead[-1].deployment is bad)
    container = coder(world).dead[-1].described()["containers"][0]
    assert container["exitCode"] == 137
    assert container["reason"].startswith("OutOfMemoryError")


@rule("a task that is lost is replaced", "ECS developer guide, ecs_services")
def test_a_lost_task_is_replaced(world: World) -> None:
    (task,) = coder(world).tasks
    world.ecs.stop(task, "UserInitiated", "")
    wait(world, 120)
    assert [t.status for t in coder(world).tasks] == ["RUNNING"]


# ECS: what the API answers --------------------------------------------------------------------


@rule("stopped tasks are shown for an hour", "ECS API reference, DescribeTasks")
def test_stopped_tasks_are_forgotten(world: World) -> None:
    (task,) = coder(world).tasks
    world.ecs.stop(task, "UserInitiated", "")
    wait(world, 60)
    request = {"tasks": [task.arn]}
    assert world.ecs.describe_tasks(request)["tasks"]
    wait(world, 3601)
    assert not world.ecs.describe_tasks(request)["tasks"]


@rule("ListTasks filters by the desired status", "ECS API reference, ListTasks")
def test_tasks_are_listed_by_what_is_wanted(world: World) -> None:
    (task,) = coder(world).tasks
    world.ecs.stop(task, "UserInitiated", "")
    request = {"serviceName": "coder"}
    assert task.arn in world.ecs.list_tasks({**request, "desiredStatus": "STOPPED"})["taskArns"]
    assert task.arn not in world.ecs.list_tasks({**request, "desiredStatus": "RUNNING"})["taskArns"]


@rule("ListTasks gives 100 at a time", "ECS API reference, ListTasks")
def test_tasks_are_listed_in_pages(world: World) -> None:
    world.ecs.update_service({"service": "coder", "desiredCount": 120})
    request = {"serviceName": "coder", "desiredStatus": "RUNNING"}
    first = world.ecs.list_tasks(request)
    second = world.ecs.list_tasks({**request, "nextToken": first["nextToken"]})
    assert (len(first["taskArns"]), len(second["taskArns"])) == (100, 20)
    assert "nextToken" not in second


@rule("tasks of a service that is gone cannot be listed", "turbot/steampipe-plugin-aws issue 1415")
def test_tasks_of_no_service(world: World) -> None:
    request = {"serviceName": "gone", "desiredStatus": "RUNNING"}
    assert refusal(lambda: world.ecs.list_tasks(request)) == "ServiceNotFoundException"


def _run(world: World, **changes: Any) -> dict[str, Any]:
    request = {
        "cluster": "coder",
        "taskDefinition": coder(world).primary.revision,
        "overrides": {"containerOverrides": [{"name": "coder", "command": ["migrate"]}]},
        "group": "deployer-release:coder",
        "startedBy": "deployer-release/before/x",
        "clientToken": "a-token",
    }
    result = world.ecs.run_task(request | changes)
    return dict(result["tasks"][0])


@rule(
    "RunTask with the same client token and parameters is the same call; with others it is a"
    " conflict that names the task; the token is forgotten an hour after the task has stopped",
    "ECS API reference, Ensuring idempotency",
)
def test_a_client_token_runs_one_task(world: World) -> None:
    arn = _run(world)["taskArn"]
    assert _run(world)["taskArn"] == arn
    with pytest.raises(AwsError) as refused:
        _run(world, group="another")
    assert (refused.value.code, refused.value.members["resourceIds"]) == (
        "ConflictException",
        [arn],
    )
    until(world, lambda: next(iter(world.ecs.one_offs.values())).stopped)
    assert _run(world)["lastStatus"] == "STOPPED"
    wait(world, 3601)
    world.invariants.ran = lambda task: None  # type: ignore[method-assign]
    assert _run(world)["taskArn"] != arn


@rule(
    "a task that is run is listed by its startedBy while it is to run, and by its family and"
    " desired status",
    "ECS API reference, ListTasks",
)
def test_a_task_that_is_run_is_listed_by_who_started_it(world: World) -> None:
    arn, by = _run(world)["taskArn"], {"startedBy": "deployer-release/before/x"}
    assert world.ecs.list_tasks(by)["taskArns"] == [arn]
    world.ecs.stop_task({"task": arn, "reason": "enough"})
    assert world.ecs.list_tasks(by)["taskArns"] == []
    family = {"family": "coder", "desiredStatus": "STOPPED"}
    assert world.ecs.list_tasks(family)["taskArns"] == [arn]


@rule("a task names the deployment that started it", "ECS API reference, Task")
def test_a_task_names_its_deployment(world: World) -> None:
    (task,) = coder(world).tasks
    assert task.described()["startedBy"] == coder(world).primary.id


@rule("reads lag behind changes", "bugcrowd/ecs-deployment-monitor pull 2")
def test_reads_lag_behind(world: World) -> None:
    before = coder(world).primary.id
    new = put(world)
    coder(world).lag = 9.0

    def shown() -> str:
        response = world.ecs.describe_services({"services": ["coder"]})["services"][0]
        return str(response["deployments"][0]["id"])

    assert shown() == before
    wait(world, 9)
    assert shown() == new.id


@rule("a service that is not there is left out", "ECS API reference, DescribeServices")
def test_an_unknown_service_is_left_out(world: World) -> None:
    assert not world.ecs.describe_services({"services": ["none"]})["services"]


@rule("a deleted service drains and is inactive then", "ECS API reference, DeleteService")
def test_a_deleted_service_drains(world: World) -> None:
    world.ecs.delete_service("coder")
    assert coder(world).status == "DRAINING"
    request = {"service": "coder", "forceNewDeployment": True}
    assert refusal(lambda: world.ecs.update_service(request)) == "ServiceNotActiveException"
    wait(world, 60)
    assert (coder(world).status, coder(world).tasks) == ("INACTIVE", [])


@rule("an unknown service cannot be updated", "ECS API reference, UpdateService")
def test_an_unknown_service_cannot_be_updated(world: World) -> None:
    request = {"service": "none"}
    assert refusal(lambda: world.ecs.update_service(request)) == "ServiceNotFoundException"


@rule(
    "CreateService with the same token is the same call; with another it is refused",
    "ECS API reference, CreateService",
)
def test_a_service_is_created_once(world: World) -> None:
    request = {"serviceName": "coder", "clientToken": coder(world).token}
    before = coder(world).primary
    output = world.ecs.create_service(request)
    assert output["service"]["deployments"][0]["id"] == before.id
    request["clientToken"] = "another"
    assert refusal(lambda: world.ecs.create_service(request)) == "InvalidParameterException"


@rule("a family's name is its newest active revision", "ECS API reference, DescribeTaskDefinition")
def test_a_family_is_its_newest_active_revision(world: World) -> None:
    first = world.ecs.register_task_definition({"family": "f"})["taskDefinition"]
    second = world.ecs.register_task_definition({"family": "f"})["taskDefinition"]
    second["status"] = "INACTIVE"
    output = world.ecs.describe_task_definition({"taskDefinition": "f"})
    assert output["taskDefinition"]["taskDefinitionArn"] == first["taskDefinitionArn"]


# Load balancer --------------------------------------------------------------------------------


@rule(
    "a target is initial, then healthy",
    "ELB API reference, TargetHealth",
)
def test_a_target_becomes_healthy(make: Callable[[str], World]) -> None:
    world = make("balanced")
    new = put(world)
    until(world, lambda: tasks(world, new)[0].target)
    assert _targets(world)[tasks(world, new)[0].private] == "initial"
    until(world, lambda: _targets(world)[tasks(world, new)[0].private] == "healthy")


@rule("the target of a task that stops is draining", "ELB API reference, TargetHealth")
def test_a_target_drains(make: Callable[[str], World]) -> None:
    world = make("balanced")
    (task,) = coder(world).tasks
    world.ecs.stop(task, "UserInitiated", "")
    assert _targets(world) == {task.private: "draining"}
    assert not world.serving("http://coder.example/")


def _targets(world: World) -> dict[str, str]:
    output = world.describe_target_health({})["TargetHealthDescriptions"]
    return {d["Target"]["Id"]: d["TargetHealth"]["State"] for d in output}


# DynamoDB, images and executions --------------------------------------------------------------


@rule(
    "images are listed without the archived ones",
    "ECR API reference, DescribeImages",
)
def test_images_without_an_id_are_the_active_ones(world: World) -> None:
    assert world.ecr.describe_images({})["imageDetails"]
    for stored in world.ecr.stored.values():
        stored.active = False
    assert not world.ecr.describe_images({})["imageDetails"]


@rule(
    "the time of a push is a whole second",
    "ECR API reference, ImageDetail",
)
def test_the_time_of_a_push_is_a_whole_second(world: World) -> None:
    detail = world.ecr.describe_images({})["imageDetails"][0]
    assert detail["imagePushedAt"].microsecond == 0


@rule(
    "a name and input of a running execution start no second one; with another input it is refused",
    "Step Functions API reference, StartExecution",
)
def test_a_name_starts_one_execution(world: World) -> None:
    first = world.sfn.begin("a-name", '{"action": "hold"}')
    assert world.sfn.begin("a-name", '{"action": "hold"}') == first
    with pytest.raises(AwsError) as refused:
        world.sfn.begin("a-name", "{}")
    assert refused.value.code == "ExecutionAlreadyExists"


@rule(
    "an execution may be found, and its end shown, seconds later",
    "Step Functions API reference, DescribeExecution",
)
def test_an_execution_is_shown_late(world: World) -> None:
    request = {"executionArn": world.sfn.begin("a-name", '{"action": "hold"}')}

    def stale() -> str:
        return str(world.sfn.describe_execution(request, stale=True)["status"])

    assert refusal(stale) == "ExecutionDoesNotExist"
    wait(world, STALE)
    assert (stale(), world.sfn.describe_execution(request)["status"]) == ("RUNNING", "SUCCEEDED")
    wait(world, STALE)
    assert stale() == "SUCCEEDED"


@rule(
    "a condition that does not hold changes nothing",
    "DynamoDB developer guide, Expressions.ConditionExpressions",
)
def test_a_condition_that_does_not_hold_changes_nothing(world: World) -> None:
    item = {"service": {"S": "s"}, "id": {"S": "i"}, "a": {"S": "1"}}
    request = {"ConditionExpression": "attribute_not_exists(#id)",
             "ExpressionAttributeNames": {"#id": "id"}}  # fmt: skip
    world.table.put_item({"Item": item, **request})
    with pytest.raises(AwsError) as refused:
        world.table.put_item({"Item": {**item, "a": {"S": "2"}}, **request})
    assert refused.value.code == "ConditionalCheckFailedException"
    assert world.table.items["s"]["i"] == item


@rule(
    "a transaction writes all, or nothing and says which condition did not hold",
    "DynamoDB API reference, TransactWriteItems",
)
def test_a_transaction_writes_all_or_nothing(world: World) -> None:
    key = {"service": {"S": "s"}, "id": {"S": "hold"}}
    absent = {"ConditionExpression": "attribute_not_exists(#id)",
              "ExpressionAttributeNames": {"#id": "id"}}  # fmt: skip
    put = {"Put": {"Item": {**key, "id": {"S": "lock"}}}}
    request = {"TransactItems": [put, {"ConditionCheck": {"Key": key, **absent}}]}
    world.table.put_item({"Item": key})
    with pytest.raises(AwsError) as refused:
        world.table.transact_write_items(request)
    assert refused.value.code == "TransactionCanceledException"
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
    assert refused.value.members["CancellationReasons"] == reasons
    assert "lock" not in world.table.items["s"]
    world.table.delete_item({"Key": key})
    world.table.transact_write_items(request)
    assert "lock" in world.table.items["s"]


@rule("a page may be empty and name a next one", "SSM API reference, GetParametersByPath")
def test_a_page_may_be_empty(world: World) -> None:
    world.page = 1
    request = {"Path": runtime.ENVIRONMENT["SPEC_PATH"]}
    first = world.get_parameters_by_path(request)
    assert first["Parameters"] == []
    second = world.get_parameters_by_path({**request, "NextToken": first["NextToken"]})
    assert len(second["Parameters"]) == 1
    assert "NextToken" not in second


@rule(
    "States.ALL is not for States.Runtime and States.DataLimitExceeded, TaskFailed not for Timeout",
    "Step Functions developer guide, concepts-error-handling",
)
@pytest.mark.parametrize(
    ("error", "equals", "caught"),
    [
        ("Lambda.Unknown", ["States.TaskFailed"], True),
        ("States.Timeout", ["States.TaskFailed"], False),
        ("States.Timeout", ["States.ALL"], True),
        ("States.DataLimitExceeded", ["States.ALL"], False),
        ("States.Runtime", ["States.ALL"], False),
    ],
)
def test_which_errors_a_catcher_is_for(error: str, equals: list[str], caught: bool) -> None:
    assert asl.names(error, equals) is caught


@rule("a refused write tells the old item if asked", "DynamoDB API reference, PutItem")
def test_a_refused_write_shows_the_item(world: World) -> None:
    item = {"service": {"S": "s"}, "id": {"S": "i"}}
    world.table.put_item({"Item": item})
    with pytest.raises(AwsError) as refused:
        world.table.put_item(
            {
                "Item": item,
                "ConditionExpression": "attribute_not_exists(#id)",
                "ExpressionAttributeNames": {"#id": "id"},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        )
    assert refused.value.members == {"Item": item}


# ECR and events -------------------------------------------------------------------------------


@rule("a tag leaves the image that had it", "ECR user guide, image-tag-mutability")
def test_a_tag_moves(world: World) -> None:
    before = world.digest("1.0.0")
    after = world.ecr.push(App("1.0.0", 1, "other"), "1.0.0")
    assert before
    assert world.digest("1.0.0") == after != before
    assert not world.ecr.stored[before].tags


@rule("an unknown image is refused", "ECR API reference, DescribeImages")
def test_an_unknown_image(world: World) -> None:
    request = {"imageIds": [{"imageTag": "none"}]}
    assert refusal(lambda: world.ecr.describe_images(request)) == "ImageNotFoundException"


@rule("an image may be shown seconds after its push", "AWS documents no bound")
def test_an_image_is_shown_late(world: World) -> None:
    request = {"imageIds": [{"imageDigest": world.ecr.push(App("1.1.0"), "1.1.0")}]}

    def stale() -> object:
        return world.ecr.describe_images(request, stale=True)

    assert world.ecr.describe_images(request)["imageDetails"]
    assert refusal(stale) == "ImageNotFoundException"
    wait(world, 12)
    assert stale() == world.ecr.describe_images(request)


@rule("an index tells one push a manifest, its own with the tag", "docker/buildx issue 940")
def test_an_index_tells_several_pushes(world: World) -> None:
    begun = len(world.invariants.pushes)
    world.do_push_index(App("3.0.0", 1))
    assert [tag for _, _, tag in world.invariants.pushes[begun:]] == [None, None, "3.0.0"]


@pytest.mark.parametrize(("fault", "starts"), [(None, 1), ("lost", 0), ("twice", 2), ("late", 1)])
@rule(
    "events come at least once, late or not at all",
    "EventBridge user guide, eb-rule-retry-policy; ECR user guide, ecr-eventbridge",
)
def test_events_are_lost_and_come_twice(world: World, fault: str | None, starts: int) -> None:
    world.plan, world.told = Plan("checked", news={0: fault} if fault else {}), 0
    began = len(world.sfn.executions)
    world.tell_push(world.digest("1.0.0") or "", "1.0.0")
    wait(world, 12)
    assert len(world.sfn.executions) - began == (0 if fault == "late" else starts)
    if fault == "late":
        wait(world, 200)
        assert len(world.sfn.executions) - began == starts


@rule(
    "a function that fails on an event is tried twice more",
    "Lambda developer guide, invocation-async-error-handling",
)
def test_a_failed_event_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    times = []

    def dies(event: Any, _: Any) -> None:
        if not event:  # other than the clock's
            times.append(world.engine.now)
        raise Killed("Runtime.ExitError")

    monkeypatch.setattr(runtime, "handler", lambda name: dies)
    world.deliver("Reconcile", {})
    wait(world, 290)
    gaps = [round(b - a) for a, b in pairwise(times)]
    assert gaps == [60, 120]


# EventBridge Scheduler --------------------------------------------------------------------------


@rule(
    "UpdateSchedule sets all of a schedule, also what the request leaves out",
    "EventBridge Scheduler API reference, UpdateSchedule",
)
def test_an_update_of_a_schedule_sets_all_of_it(make: Callable[[str], World]) -> None:
    scheduler, named = make("scheduled").scheduler, {"GroupName": "deployer-coder"}
    named["Name"] = "nightly"
    schedule = scheduler.get_schedule(named)
    assert "ScheduleExpressionTimezone" in schedule
    kept = ("FlexibleTimeWindow", "ScheduleExpression", "Target")
    scheduler.update_schedule({**named, **{name: schedule[name] for name in kept}})
    assert "ScheduleExpressionTimezone" not in scheduler.get_schedule(named)


@rule(
    "a schedule that exists is not created again, except by a second try with the same token",
    "EventBridge Scheduler API reference, CreateSchedule",
)
def test_a_schedule_is_created_once(make: Callable[[str], World]) -> None:
    world = make("scheduled")
    named = {"GroupName": "deployer-coder", "Name": "nightly"}
    schedule = world.scheduler.get_schedule(named)
    request = {**named, **{n: schedule[n] for n in ("ScheduleExpression", "Target")}}
    assert refusal(lambda: world.scheduler.create_schedule(request)) == "ConflictException"
    world.scheduler.delete_schedule(named)
    assert refusal(lambda: world.scheduler.get_schedule(named)) == "ResourceNotFoundException"
    assert world.scheduler.create_schedule(request) == world.scheduler.create_schedule(request)


@rule(
    "a group that is not there has no schedules, and takes none",
    "EventBridge Scheduler API reference, CreateSchedule; ListSchedules",
)
def test_a_group_comes_first(world: World) -> None:
    named = {"GroupName": "deployer-coder"}
    missing = "ResourceNotFoundException"
    assert refusal(lambda: world.scheduler.list_schedules(named)) == missing
    assert refusal(lambda: world.scheduler.create_schedule({**named, "Name": "a"})) == missing
    world.scheduler.create_schedule_group({"Name": "deployer-coder"})
    assert world.scheduler.list_schedules(named)["Schedules"] == []
    again = {"Name": "deployer-coder"}
    assert refusal(lambda: world.scheduler.create_schedule_group(again)) == "ConflictException"


# RDS ------------------------------------------------------------------------------------------


@rule("a snapshot is creating, then available", "RDS API reference, CreateDBSnapshot")
def test_a_snapshot_takes_a_while(make: Callable[[str], World]) -> None:
    world = make("database")
    assert _snapshot(world, "s")["DBSnapshot"]["Status"] == "creating"
    wait(world, 101)
    assert world.rds.snapshots["s"]["Status"] == "available"


@rule("a snapshot's name is taken once", "RDS API reference, CreateDBSnapshot")
def test_a_snapshots_name_is_taken_once(make: Callable[[str], World]) -> None:
    world = make("database")
    _snapshot(world, "s")
    assert refusal(lambda: _snapshot(world, "s")) == "DBSnapshotAlreadyExists"


@rule("an instance makes one snapshot at a time", "RDS API reference, CreateDBSnapshot")
def test_one_snapshot_at_a_time(make: Callable[[str], World]) -> None:
    world = make("database")
    _snapshot(world, "s")
    assert refusal(lambda: _snapshot(world, "t")) == "InvalidDBInstanceState"


@rule(
    "only an available snapshot is restored, into a new instance",
    "RDS API reference, RestoreDBInstanceFromDBSnapshot",
)
def test_what_can_be_restored(make: Callable[[str], World]) -> None:
    world = make("database")
    _snapshot(world, "s")

    def restore(name: str) -> object:
        request = {"DBInstanceIdentifier": name, "DBSnapshotIdentifier": "s"}
        return world.rds.restore_db_instance_from_db_snapshot(request)

    assert refusal(lambda: restore("new")) == "InvalidDBSnapshotState"
    wait(world, 101)
    assert refusal(lambda: restore("coder-db")) == "DBInstanceAlreadyExists"
    restore("new")
    assert world.rds.instances["new"]["DBInstanceStatus"] == "creating"


def _snapshot(world: World, name: str) -> dict[str, Any]:
    request = {"DBSnapshotIdentifier": name, "DBInstanceIdentifier": "coder-db"}
    return world.rds.create_db_snapshot(request)


# Step Functions -------------------------------------------------------------------------------


class Scripted:
    """The world of an execution whose functions answer by a script; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.slept, self.path = list(answers), [], []  # type: Any, list[float], Any

    def now_text(self) -> str:
        return "2026-11-23T12:00:00.000Z"

    def jitter(self) -> float:
        return 0.5

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def entered(self, name: str) -> None:
        self.path.append(name)

    def call(self, function: str, payload: bytes, timeout: float) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call_back(self, function: str, arguments: Callable[[str], bytes], timeout: float) -> Any:
        return self.call(function, arguments("the-token"), timeout)

    def integrate(self, action: str, arguments: Any, timeout: float) -> Any:
        return self.call(action, asl.packed(arguments), 0)


def execution(host: Scripted, given: Any = None, **task: Any) -> asl.Run:
    """An execution of a machine of one Task and what may follow it."""
    states = {
        "Work": {"Type": "Task", "Resource": "${Work}", "Next": "Done", **task},
        "Done": {"Type": "Succeed"},
        "First": {"Type": "Fail", "Error": "First"},
        "Second": {"Type": "Fail", "Error": "Second", "Cause": "{% $cause %}"},
    }
    definition = {
        "QueryLanguage": "JSONata",
        "TimeoutSeconds": 60,
        "StartAt": "Work",
        "States": states,
    }
    return asl.Run(asl.Machine(definition), host, {"Id": "arn"}, given)


def execute(host: Scripted, given: Any = None, **task: Any) -> Any:
    """Run it."""
    return execution(host, given, **task)()


RETRY = {"ErrorEquals": ["A"], "IntervalSeconds": 2, "MaxAttempts": 2, "BackoffRate": 3}
_ERRORS = "Step Functions developer guide, concepts-error-handling"


@rule("a retrier waits its interval times its rate each time", _ERRORS)
def test_a_retrier_backs_off() -> None:
    host = Scripted(asl.StateError("A"), asl.StateError("A"), "done")
    assert execute(host, Retry=[RETRY]) == "done"
    assert host.slept == [2, 6]


@rule("a retrier waits no longer than its longest delay", _ERRORS)
def test_a_retrier_has_a_longest_delay() -> None:
    host = Scripted(asl.StateError("A"), asl.StateError("A"), "done")
    assert execute(host, Retry=[{**RETRY, "MaxDelaySeconds": 5}]) == "done"
    assert host.slept == [2, 5]


@rule("a retrier gives up after its attempts", _ERRORS)
def test_a_retrier_gives_up() -> None:
    host = Scripted(*(asl.StateError("A") for _ in range(3)))
    with pytest.raises(asl.StateError):
        execute(host, Retry=[RETRY])
    assert not host.answers


@rule("each retrier counts its own attempts", _ERRORS)
def test_each_retrier_counts_for_itself() -> None:
    host = Scripted(*(asl.StateError(name) for name in "ABAB"), "done")
    assert execute(host, Retry=[RETRY, {**RETRY, "ErrorEquals": ["B"]}]) == "done"
    assert host.slept == [2, 2, 6, 6]


@rule(
    "a redriven execution goes on with the state that it was in, whose retries count from none",
    "Step Functions developer guide, redrive-executions",
)
def test_a_redriven_execution_goes_on() -> None:
    host = Scripted(*(asl.StateError("A") for _ in range(4)), "done")
    run = execution(host, Retry=[RETRY])
    with pytest.raises(asl.StateError):
        run()
    assert run() == "done"
    assert host.slept == [2, 6, 2]
    assert host.path == ["Work", "Work", "Done"]


@rule("full jitter waits up to the interval", _ERRORS)
def test_full_jitter() -> None:
    host = Scripted(asl.StateError("A"), "done")
    execute(host, Retry=[{**RETRY, "JitterStrategy": "FULL"}])
    assert host.slept == [1]


@rule("the first catcher that names an error has it", _ERRORS)
def test_the_first_catcher_has_it() -> None:
    catchers = [
        {"ErrorEquals": ["A"], "Next": "First"},
        {"ErrorEquals": ["States.ALL"], "Next": "Second", "Assign": {"cause": "c"}},
    ]
    for error, caught in (("A", "First"), ("B", "Second")):
        with pytest.raises(asl.StateError, match=caught):
            execute(Scripted(asl.StateError(error)), Catch=catchers)


@rule("retriers are asked before catchers", _ERRORS)
def test_retriers_come_first() -> None:
    catcher = {"ErrorEquals": ["A"], "Next": "First"}
    host = Scripted(asl.StateError("A"), "done")
    assert execute(host, Retry=[RETRY], Catch=[catcher]) == "done"


@rule("an error that nobody catches fails the execution under its name", _ERRORS)
def test_an_uncaught_error_fails_the_execution() -> None:
    with pytest.raises(asl.StateError, match="B"):
        execute(Scripted(asl.StateError("B")), Catch=[{"ErrorEquals": ["A"], "Next": "First"}])


@rule(
    "a state takes at most 256 KiB",
    "Step Functions developer guide, service-quotas",
)
def test_a_state_takes_so_much() -> None:
    with pytest.raises(asl.StateError, match=re.escape("States.DataLimitExceeded")):
        execute(Scripted("done"), "x" * 262_144, Arguments="{% $states.input %}")


@rule(
    "an expression that gives nothing is an error",
    "Step Functions developer guide, transforming-data",
)
def test_an_expression_that_gives_nothing() -> None:
    with pytest.raises(asl.StateError, match=re.escape("States.QueryEvaluationError")):
        execute(Scripted("done"), {}, Arguments={"a": "{% $states.input.none %}"})


@rule(
    "a token is of use once, and none after its task ended",
    "Step Functions API reference, SendTaskSuccess",
)
def test_a_token_is_of_use_once(world: World) -> None:
    request = {"taskToken": "t", "output": "{}"}
    assert refusal(lambda: world.sfn.send_task_success(request)) == "InvalidToken"
    world.sfn.tokens["t"] = Box()
    world.sfn.send_task_success(request)
    assert refusal(lambda: world.sfn.send_task_success(request)) == "TaskTimedOut"
    world.sfn.tokens["t"] = None
    assert refusal(lambda: world.sfn.send_task_success(request)) == "TaskTimedOut"


@rule(
    "a stopped execution runs no catcher and enters no further state",
    "Step Functions API reference, StopExecution",
)
def test_a_stopped_execution_enters_no_state(world: World) -> None:
    execution = world.sfn.executions[world.sfn.begin("x", '{"action": "hold", "reason": "r"}')]
    until(world, lambda: len(execution.path) > 1)
    execution.end("ABORTED")
    entered = list(execution.path)
    wait(world, 100)
    assert (execution.status, execution.path) == ("ABORTED", entered)


@rule(
    "a function out of time and one that ends have their own errors",
    "Step Functions developer guide, concepts-error-handling",
)
def test_the_errors_of_functions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(event: Mapping[str, Any], _: Any) -> None:
        raise Killed(event["error"]) if "error" in event else RuntimeError("why")

    monkeypatch.setattr(runtime, "handler", lambda name: fails)
    for given, error in (
        ({"error": "Sandbox.Timedout"}, "Sandbox.Timedout"),
        ({}, "RuntimeError"),
    ):
        box = Box()
        world.invoke("AcquireLock", asl.packed(given), box)
        wait(world, 1)
        assert box.value[0] == "failed"
        assert box.value[1][0] == error


# The table ------------------------------------------------------------------------------------


def test_the_documentation_lists_the_rules() -> None:
    assert len(RULES) >= 60
    output = (runtime.ROOT / "docs/simulation.md").read_text()
    assert table() in output, "put what `python -m tests.simulation rules` prints into it"
