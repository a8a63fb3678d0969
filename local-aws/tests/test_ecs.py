"""ECS services on the local AWS behave as on AWS: each test names what it follows."""

import itertools
import re
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

import ecs_support
from ecs_support import NEVER, PROBE, World, completed, primary, until
from local_aws.aws import LocalAws

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
NO_ROLLBACK = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
MISSING = "@sha256:" + "0" * 64


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """Health checks ten times as often as their definitions say, and little waiting."""
    settings = {
        "ECS_HEALTH_CHECK_SCALE": "0.1",
        "ECS_STEADY_SECONDS": "0.3",
        "ECS_RESTART_SECONDS": "0.1",
    }
    with LocalAws.start(settings=settings) as running:
        yield running


@pytest.fixture
def world(aws: LocalAws, name: str) -> Iterator[World]:
    result = World(aws, name)
    yield result
    result.close()


def check(*command: str, **more: int) -> dict[str, Any]:
    return {"command": list(command), "interval": 5, "timeout": 5, "retries": 1} | more


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    result: str = error.value.response["Error"]["Code"]
    return result


# Deployments: API_Deployment.html


def test_the_first_rollout_is_in_progress_until_its_task_counts(world: World) -> None:
    created = world.create()
    (deployment,) = created["deployments"]
    assert re.fullmatch(r"ecs-svc/\d{19}", deployment["id"])
    assert deployment["status"] == "PRIMARY"
    assert deployment["rolloutState"] == "IN_PROGRESS"
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} in progress."
    assert (deployment["desiredCount"], deployment["runningCount"]) == (1, 0)
    assert deployment["failedTasks"] == 0
    (done,) = world.steady()["deployments"]
    assert done["id"] == deployment["id"]
    assert done["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
    assert (done["runningCount"], done["pendingCount"], done["desiredCount"]) == (1, 0, 1)
    assert done["createdAt"] == deployment["createdAt"] < done["updatedAt"]
    task = world.task(world.tasks()[0])
    # RUNNING alone does not complete it: without a health check AWS waits 40 s more.
    assert (done["updatedAt"] - task["startedAt"]).total_seconds() >= 0.3
    assert task["startedBy"] == deployment["id"]
    assert task["group"] == f"service:{world.name}"
    assert task["platformVersion"] == "1.4.0"
    assert task["containers"][0]["imageDigest"] in task["containers"][0]["image"]
    messages = [event["message"] for event in world.service()["events"]]
    assert messages[0] == f"(service {world.name}) has reached a steady state."


def test_a_rolling_update_starts_the_new_before_it_stops_the_old(world: World) -> None:
    """minimumHealthyPercent 100, maximumPercent 200: never less than one healthy task."""
    world.create()
    before = primary(world.steady())
    (old,) = world.tasks()
    definition = world.define()
    updated = world.update(definition)
    after = primary(updated)
    assert after["id"] != before["id"]
    assert [d["status"] for d in updated["deployments"]] == ["PRIMARY", "ACTIVE"]
    assert after["rolloutState"] == "IN_PROGRESS"
    (done,) = world.steady()["deployments"]
    assert (done["id"], done["taskDefinition"]) == (after["id"], definition)
    (new,) = world.tasks()
    # Completed means that the old task is gone.
    stopped = world.task(old)
    assert stopped["stoppedAt"] <= done["updatedAt"]
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stopped["stoppedReason"] == f"Scaling activity initiated by (deployment {after['id']})"
    assert stopped["containers"][0]["exitCode"] == 143
    assert stopped["stoppingAt"] > world.task(new)["startedAt"]


def test_zero_and_a_hundred_percent_stop_the_old_before_the_new_starts(world: World) -> None:
    limits = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    world.create(deploymentConfiguration=limits)
    world.steady()
    (old,) = world.tasks()
    world.update(world.define())
    world.steady()
    (new,) = world.tasks()
    assert world.task(old)["stoppedAt"] <= world.task(new)["createdAt"]


def test_half_healthy_replaces_one_of_two_at_a_time(world: World) -> None:
    limits = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    world.create(count=2, deploymentConfiguration=limits)
    world.steady()
    world.update(world.define())
    seen = set()

    def look() -> dict[str, Any]:
        service = world.service()
        seen.add(service["runningCount"])
        return service

    until(look, lambda s: len(s["deployments"]) == 1 and completed(s))
    assert min(seen) >= 1
    assert max(seen) == 2


def test_an_update_supersedes_the_rollout_in_progress(world: World) -> None:
    world.create()
    world.steady()
    world.update(world.define(healthCheck=check(*NEVER, interval=300)))
    both = world.until(lambda s: s["runningCount"] == 2)
    assert [d["runningCount"] for d in both["deployments"]] == [1, 1]
    assert not completed(both)
    final = world.define()
    updated = world.update(final)
    last = primary(updated)
    assert len(updated["deployments"]) == 3
    (done,) = world.steady()["deployments"]
    assert (done["id"], done["taskDefinition"]) == (last["id"], final)
    assert len(world.tasks()) == 1


def test_only_what_aws_says_starts_a_deployment(world: World) -> None:
    """UpdateService: "This parameter triggers a new service deployment", or does not."""
    definition = world.define()
    world.create(definition)
    first = primary(world.steady())["id"]
    assert primary(world.update(definition))["id"] == first
    assert primary(world.update(networkConfiguration=world.network))["id"] == first
    assert primary(world.update(deploymentConfiguration=BREAKER))["id"] == first
    assert primary(world.update(desiredCount=1))["id"] == first
    forced = primary(world.update(forceNewDeployment=True))
    assert forced["id"] != first
    assert forced["taskDefinition"] == definition
    world.steady()
    private = {"awsvpcConfiguration": {"subnets": [world.subnet], "assignPublicIp": "DISABLED"}}
    moved = primary(world.update(networkConfiguration=private))
    assert moved["id"] != forced["id"]


def test_scaling_is_no_deployment(world: World) -> None:
    world.create(count=1)
    first = primary(world.steady())["id"]
    world.update(desiredCount=3)
    grown = world.until(lambda s: s["runningCount"] == 3)
    assert primary(grown)["id"] == first
    world.update(desiredCount=0)
    empty = world.until(lambda s: s["runningCount"] == 0)
    assert (primary(empty)["id"], empty["status"]) == (first, "ACTIVE")
    assert primary(empty)["desiredCount"] == 0


def test_a_service_of_no_tasks_completes_its_rollout(world: World) -> None:
    world.create(count=0)
    assert world.steady()["runningCount"] == 0
    assert world.tasks() == []


# Health checks: API_HealthCheck.html


def test_a_rollout_waits_for_the_health_check(world: World) -> None:
    began = time.monotonic()
    world.create(world.define(healthCheck=check(*PROBE)))
    (arn,) = until(world.tasks, len)
    running = until(lambda: world.task(arn), lambda t: t["lastStatus"] == "RUNNING")
    assert (running["healthStatus"], running["containers"][0]["healthStatus"]) == (
        "UNKNOWN",
        "UNKNOWN",
    )
    world.steady()
    assert 0.5 < time.monotonic() - began < 4  # one interval and some
    healthy = world.task(arn)
    assert healthy["healthStatus"] == healthy["containers"][0]["healthStatus"] == "HEALTHY"


def test_an_unhealthy_task_is_replaced(world: World) -> None:
    world.create(world.define(healthCheck=check(*PROBE)))
    first = primary(world.steady())
    (sick,) = world.tasks()
    world.post(sick, "/sick")
    (stopped,) = world.stopped()
    assert stopped["taskArn"] == sick
    assert stopped["healthStatus"] == "UNHEALTHY"
    assert stopped["stoppedReason"] == "Task failed container health checks"
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    new = until(world.tasks, lambda arns: arns and sick not in arns)
    until(lambda: world.task(new[0]), lambda t: t["healthStatus"] == "HEALTHY")
    assert primary(world.service())["id"] == first["id"]


def test_failures_in_the_start_period_do_not_count(world: World) -> None:
    """ "If a health check succeeds within the startPeriod, then the container is considered
    healthy"; a failure in it does not count."""
    slow = "touch tries; echo x >> tries; test $(wc -l < tries) -ge 2"
    world.create(world.define(healthCheck=check("CMD-SHELL", slow, startPeriod=60)))
    world.steady()
    assert world.tasks("STOPPED") == []


def test_the_check_runs_in_the_environment_of_the_container(world: World) -> None:
    command = ("CMD-SHELL", 'test "$COLOUR" = blue && test -x server && test "$(pwd -P)" != /')
    environment = [{"name": "COLOUR", "value": "blue"}]
    world.create(world.define(environment=environment, healthCheck=check(*command)))
    world.steady()


def test_a_client_token_starts_a_task_once(world: World) -> None:
    """ECS_Idempotency.html; and what DescribeTasks shows of ECS Exec."""
    definition = world.define(world.script("sleep 60"))
    first, again = (
        world.run(definition, clientToken=f"{world.name}-1", enableExecuteCommand=True)
        for _ in range(2)
    )
    other = world.run(definition, clientToken=f"{world.name}-2")
    assert first == again != other
    with pytest.raises(ClientError) as refused:
        world.run(definition, clientToken=f"{world.name}-1", startedBy="ann")
    assert code(refused) == "ConflictException"
    assert refused.value.response["resourceIds"] == [first]  # type: ignore[typeddict-item]
    until(lambda: world.task(first), lambda task: task["lastStatus"] == "RUNNING")
    [agent] = world.task(first)["containers"][0]["managedAgents"]
    assert (agent["name"], agent["lastStatus"]) == ("ExecuteCommandAgent", "RUNNING")
    assert "managedAgents" not in world.task(other)["containers"][0]


# Who answers at a task's address. On Fargate it is the task, whatever address it listens on


def test_tasks_that_listen_everywhere_answer_for_themselves(world: World) -> None:
    wide = ecs_support.SERVER.replace(b'os.environ["HOST"]', b'"0.0.0.0"')
    ports = [{"containerPort": 3000}]
    definition = world.define(world.push({"/app/server": wide}, "/app/server"), portMappings=ports)
    tasks = [world.run(definition) for _ in range(2)]
    names = {world.get(task)["HOSTNAME"] for task in tasks}
    assert names == {f"ip-{world.address(task).replace('.', '-')}" for task in tasks}


def test_a_program_of_this_machine_makes_no_task_healthy(world: World) -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        port = everywhere.getsockname()[1]
        connect = f"import socket; socket.create_connection(('localhost', {port}))"
        probe = check("CMD-SHELL", f'python3 -S -c "{connect}"')
        definition = world.define(
            world.script("sleep 60"), portMappings=[{"containerPort": port}], healthCheck=probe
        )
        arn = world.run(definition)
        until(lambda: world.task(arn), lambda task: task["healthStatus"] == "UNHEALTHY")


# The circuit breaker: deployment-circuit-breaker.html, containers-roadmap issue 1206


def test_what_cannot_start_is_counted_and_rolled_back(world: World) -> None:
    """Here the old task was stopped first, so going back takes a new one, and some time."""
    world.listen()
    good = world.define(healthCheck=check(*PROBE, interval=15))
    world.create(
        good, deploymentConfiguration=BREAKER | {"minimumHealthyPercent": 0, "maximumPercent": 100}
    )
    first = primary(world.steady())["id"]
    image = f"{world.registry}/{world.name}{MISSING}"
    second = primary(world.update(world.define(image)))["id"]
    failed = world.until(lambda s: any(d["rolloutState"] == "FAILED" for d in s["deployments"]))
    lost = next(d for d in failed["deployments"] if d["id"] == second)
    assert lost["failedTasks"] == 3  # min(200, max(3, ceil(0.5 * desired)))
    assert lost["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert lost["status"] == "ACTIVE"
    back = primary(failed)
    assert back["id"] == first
    assert back["rolloutState"] == "IN_PROGRESS"
    assert back["rolloutStateReason"] == (
        f"ECS deployment circuit breaker: rolling back to deploymentId {first}."
    )
    done = world.steady()
    assert [d["id"] for d in done["deployments"]] == [first]
    assert done["taskDefinition"] == good
    (arn,) = world.tasks()
    assert world.task(arn)["startedBy"] == first
    stopped = [task for task in world.stopped(4) if task["startedBy"] == second]
    assert len(stopped) == 3
    for task in stopped:
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"] == task["containers"][0]["reason"]
        assert task["stoppedReason"] == (
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to "
            f"resolve ref {image}: {image}: not found"
        )
        assert "exitCode" not in task["containers"][0]
    seen = []
    for event in world.events("ECS Deployment State Change"):
        detail = event["detail"]
        seen.append((detail["eventName"].removeprefix("SERVICE_DEPLOYMENT_"), detail["reason"]))
        if len(seen) == 6:
            break
    assert seen == [
        ("IN_PROGRESS", f"ECS deployment {first} in progress."),
        ("COMPLETED", f"ECS deployment {first} completed."),
        ("IN_PROGRESS", f"ECS deployment {second} in progress."),
        ("FAILED", "ECS deployment circuit breaker: task failed to start."),
        ("IN_PROGRESS", f"ECS deployment circuit breaker: rolling back to deploymentId {first}."),
        ("COMPLETED", f"ECS deployment {first} completed."),
    ]


def test_without_rollback_the_old_tasks_stay(world: World) -> None:
    world.create(deploymentConfiguration=NO_ROLLBACK)
    first = primary(world.steady())["id"]
    (kept,) = world.tasks()
    bad = world.define(f"{world.registry}/{world.name}{MISSING}")
    second = primary(world.update(bad))["id"]
    failed = world.until(lambda s: primary(s)["rolloutState"] == "FAILED")
    assert [(d["id"], d["runningCount"]) for d in failed["deployments"]] == [
        (second, 0),
        (first, 1),
    ]
    assert failed["taskDefinition"] == bad
    assert world.tasks() == [kept]
    assert len(world.stopped(3)) == 3
    # A FAILED deployment launches nothing more, where the next attempt was due after 0.2 s.
    with pytest.raises(TimeoutError):
        world.stopped(4, within=0.6)
    assert primary(world.update(bad))["id"] == second
    world.update(world.define())
    world.steady()
    assert len(world.tasks("STOPPED")) == 4  # the three, and the one that was kept


def test_with_nothing_to_roll_back_to_it_stalls(world: World) -> None:
    """ "If no deployment is in a COMPLETED state, the circuit breaker doesn't launch new tasks"."""
    world.create(world.define("localhost:1/nothing"), deploymentConfiguration=BREAKER)
    stalled = world.until(lambda s: primary(s)["rolloutState"] == "FAILED")
    assert len(stalled["deployments"]) == 1
    assert world.tasks() == []
    assert len(world.stopped(3)) == 3


def test_a_failing_health_check_is_counted(world: World) -> None:
    world.create(deploymentConfiguration=BREAKER)
    first = primary(world.steady())["id"]
    world.update(world.define(healthCheck=check(*NEVER)))
    world.until(lambda s: primary(s)["id"] == first and completed(s))
    stopped = world.stopped(3)
    assert {t["stoppedReason"] for t in stopped} == {"Task failed container health checks"}


@pytest.mark.parametrize(("reset", "outcome"), [(True, "COMPLETED"), (False, "FAILED")])
def test_a_healthy_task_resets_the_count_unless_told_otherwise(
    world: World, tmp_path: Path, reset: bool, outcome: str
) -> None:
    """Of two tasks at a time the first, second and fourth fail, the fourth last."""
    script = (
        f"test -e mine || for n in 1 2 3 4 5 6 7 8; do mkdir {tmp_path}/$n && echo $n > mine && "
        "break; done; read -r n < mine; [ $n = 4 ] && sleep 1; [ $n = 3 ] || [ $n -ge 5 ]"
    )
    breaker = BREAKER["deploymentCircuitBreaker"] | {"resetOnHealthyTask": reset}
    world.create(
        world.define(healthCheck=check("CMD-SHELL", script)),
        count=2,
        deploymentConfiguration={"deploymentCircuitBreaker": breaker},
    )
    ended = world.until(lambda s: primary(s)["rolloutState"] != "IN_PROGRESS")
    assert primary(ended)["rolloutState"] == outcome
    assert primary(ended)["failedTasks"] == (0 if reset else 3)


def test_a_crash_after_running_is_restarted_and_never_counted(world: World) -> None:
    """containers-roadmap issue 1206: the breaker does not see it, whatever its settings."""
    world.create(deploymentConfiguration=BREAKER)
    world.steady()
    second = primary(world.update(world.define(world.script("exit 3"))))["id"]
    stopped = world.stopped(5)
    for task in stopped:
        assert task["stopCode"] == "EssentialContainerExited"
        assert task["stoppedReason"] == "Essential container in task exited"
        assert task["containers"][0]["exitCode"] == 3
        assert task["startedAt"] <= task["stoppedAt"]
        assert task["startedBy"] == second
    crashing = primary(world.service())
    assert (crashing["id"], crashing["rolloutState"]) == (second, "IN_PROGRESS")
    assert crashing["failedTasks"] == 0
    assert world.service()["runningCount"] >= 1  # the old task serves on


def test_a_task_that_exits_later_is_replaced(world: World) -> None:
    world.create()
    first = primary(world.steady())["id"]
    (old,) = world.tasks()
    world.post(old, "/exit")
    assert world.ended(old)["containers"][0]["exitCode"] == 7
    (new,) = until(world.tasks, lambda arns: arns and old not in arns)
    assert world.get(new)
    service = world.until(lambda s: s["runningCount"] == 1)
    assert (primary(service)["id"], completed(service)) == (first, True)


def test_impaired_starts_are_slowed_down(world: World) -> None:
    """service-throttle-logic.md; without a breaker ECS never stops trying."""
    world.create(world.define(f"{world.registry}/{world.name}{MISSING}"))
    stopped = world.stopped(5)
    gaps = [
        (later["createdAt"] - earlier["stoppingAt"]).total_seconds()
        for earlier, later in itertools.pairwise(stopped)
    ]
    assert gaps[3] > 0.38  # 0.1, 0.1, 0.2, 0.4
    assert primary(world.service())["rolloutState"] == "IN_PROGRESS"


# The API's errors and idempotency


def test_what_a_document_holds_is_kept_as_it_was_given(world: World) -> None:
    volume = {"name": "shared", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}
    given = {
        "family": world.name,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": world.execution_role,
        "volumes": [volume],
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "ephemeralStorage": {"sizeInGiB": 30},
        "enableFaultInjection": True,
        "containerDefinitions": [
            {
                "name": "app",
                "image": world.server,
                "cpu": 0,
                "essential": True,
                "dependsOn": [{"containerName": "aside", "condition": "START"}],
                "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}],
                "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
                "linuxParameters": {"initProcessEnabled": True},
                "restartPolicy": {"enabled": True, "ignoredExitCodes": [0]},
            },
            {"name": "aside", "image": world.script("sleep 60"), "cpu": 0, "essential": False},
        ],
    }
    arn = world.ecs.register_task_definition(**given)["taskDefinition"]["taskDefinitionArn"]
    shown = world.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert {name: shown[name] for name in given} == given
    assert not {"taskRoleArn", "pidMode", "ipcMode"} & set(shown)

    alarms = {"alarmNames": ["errors"], "enable": True, "rollback": True}
    connect = {"enabled": True, "namespace": "shop"}
    service: dict[str, Any] = {
        "availabilityZoneRebalancing": "ENABLED",
        "placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"}],
        "serviceRegistries": [{"registryArn": "arn:aws:servicediscovery:us-east-1:0:service/s"}],
    }
    limits = {"alarms": alarms, "maximumPercent": 150}
    created = world.create(
        arn, deploymentConfiguration=limits, serviceConnectConfiguration=connect, **service
    )
    assert {name: created[name] for name in service} == service
    assert created["deploymentConfiguration"]["alarms"] == alarms
    assert primary(created)["serviceConnectConfiguration"] == connect
    updated = world.update(
        availabilityZoneRebalancing="DISABLED",
        deploymentConfiguration={"minimumHealthyPercent": 50},
    )
    assert updated["availabilityZoneRebalancing"] == "DISABLED"
    assert updated["placementStrategy"] == service["placementStrategy"]
    assert updated["deploymentConfiguration"]["alarms"] == alarms
    assert updated["deploymentConfiguration"]["maximumPercent"] == 150
    assert updated["deployments"][0]["id"] == created["deployments"][0]["id"]
    world.steady()


def test_a_service_is_created_once(world: World) -> None:
    world.create()
    with pytest.raises(ClientError, match="Creation of service was not idempotent") as refused:
        world.create()
    assert code(refused) == "InvalidParameterException"


def test_delete_service_drains_before_it_is_gone(world: World) -> None:
    world.create(world.define(world.script("trap 'sleep 1; exit 0' TERM; sleep 60 & wait; wait")))
    world.steady()
    (arn,) = world.tasks()
    deleted = world.ecs.delete_service(cluster=world.name, service=world.name, force=True)
    assert (deleted["service"]["status"], deleted["service"]["desiredCount"]) == ("DRAINING", 0)
    assert world.ecs.list_services(cluster=world.name)["serviceArns"] == []
    world.until(lambda s: s["status"] == "INACTIVE")
    with pytest.raises(ClientError, match="Service was not ACTIVE") as inactive:
        world.update(desiredCount=1)
    assert code(inactive) == "ServiceNotActiveException"
    assert world.ended(arn)["stoppedReason"] == "Service deleted"
    world.create()  # the name is free again
    world.steady()


@pytest.mark.parametrize(
    ("operation", "arguments", "error"),
    [
        ("describe_services", {"cluster": "no", "services": ["x"]}, "ClusterNotFoundException"),
        ("list_services", {"cluster": "no"}, "ClusterNotFoundException"),
        ("list_tasks", {"cluster": "no"}, "ClusterNotFoundException"),
        ("describe_tasks", {"cluster": "no", "tasks": ["x"]}, "ClusterNotFoundException"),
        ("stop_task", {"task": "no"}, "InvalidParameterException"),
        ("update_service", {"service": "no"}, "ServiceNotFoundException"),
        ("delete_service", {"service": "no"}, "ServiceNotFoundException"),
        ("run_task", {"taskDefinition": "no"}, "ClientException"),
        ("create_service", {"serviceName": "x", "taskDefinition": "no"}, "ClientException"),
        (
            "create_service",
            {"cluster": "no", "serviceName": "x", "taskDefinition": "x"},
            "ClusterNotFoundException",
        ),
    ],
)
def test_errors_have_the_names_of_aws(
    world: World, operation: str, arguments: dict[str, Any], error: str
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(world.ecs, operation)(**{"cluster": world.name} | arguments)
    assert code(refused) == error


def test_a_revision_that_was_deregistered_cannot_be_deployed(world: World) -> None:
    old, new = world.define(), world.define()
    world.create(new)
    world.ecs.deregister_task_definition(taskDefinition=old)
    with pytest.raises(ClientError, match="TaskDefinition is inactive") as refused:
        world.update(old)
    assert code(refused) == "ClientException"


def test_a_role_that_ecs_may_not_assume_keeps_every_task_from_starting(world: World) -> None:
    role = world.role(f"{world.name}-foreign", trusts="lambda.amazonaws.com")
    definition = world.define(taskRoleArn=role)
    with pytest.raises(ClientError, match="ECS was unable to assume the role"):
        world.run(definition)
    world.create(definition, deploymentConfiguration=NO_ROLLBACK)
    failed = world.until(lambda s: primary(s)["rolloutState"] == "FAILED")
    assert any(f"unable to assume the role '{role}'" in e["message"] for e in failed["events"])
    assert world.tasks() == world.tasks("STOPPED") == []


# Secrets and logs: specifying-sensitive-data.html, task_execution_IAM_role.html


def test_secrets_become_environment_variables(world: World) -> None:
    secret = world.aws.client("secretsmanager").create_secret(
        Name=world.name, SecretString='{"url": "postgres://db", "port": 5432}'
    )["ARN"]
    world.aws.client("ssm").put_parameter(
        Name=f"/{world.name}/token", Value="sesame", Type="SecureString"
    )
    parameter = f"arn:aws:ssm:{world.aws.region}:{world.aws.account}:parameter/{world.name}/token"
    world.allow(world.execution_role, "secretsmanager:GetSecretValue", "ssm:GetParameters")
    world.create(
        world.define(
            secrets=[
                {"name": "WHOLE", "valueFrom": secret},
                {"name": "URL", "valueFrom": f"{secret}:url::"},
                {"name": "PORT", "valueFrom": f"{secret}:port:AWSCURRENT:"},
                {"name": "BY_NAME", "valueFrom": f"/{world.name}/token"},
                {"name": "BY_ARN", "valueFrom": parameter},
            ]
        )
    )
    world.steady()
    result = world.get(world.tasks()[0])
    assert result["WHOLE"] == '{"url": "postgres://db", "port": 5432}'
    assert (result["URL"], result["PORT"]) == ("postgres://db", "5432")
    assert result["BY_NAME"] == result["BY_ARN"] == "sesame"


@pytest.mark.parametrize(
    ("source", "allowed", "message"),
    [
        ("{asm}:secret:none-abcdef", True, "from asm: .* ResourceNotFoundException"),
        ("{asm}:secret:none-abcdef", False, "from asm: .* AccessDeniedException"),
        ("/none", True, "from ssm: .* invalid parameters: /none"),
        ("/none", False, "from ssm: .* AccessDeniedException"),
    ],
)
def test_a_secret_that_cannot_be_had(
    world: World, source: str, allowed: bool, message: str
) -> None:
    if allowed:
        world.allow(world.execution_role, "secretsmanager:GetSecretValue", "ssm:GetParameters")
    name = source.format(asm=f"arn:aws:secretsmanager:{world.aws.region}:{world.aws.account}")
    arn = world.run(world.define(secrets=[{"name": "X", "valueFrom": name}]))
    task = world.ended(arn)
    assert task["stopCode"] == "TaskFailedToStart"
    assert re.match(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
        f"retrieval failed: unable to retrieve secrets? {message}",
        task["stoppedReason"],
    )


def test_a_missing_json_key_is_named(world: World) -> None:
    secret = world.aws.client("secretsmanager").create_secret(Name=world.name, SecretString="{}")
    world.allow(world.execution_role, "secretsmanager:GetSecretValue")
    wanted = [{"name": "X", "valueFrom": f"{secret['ARN']}:nothing::"}]
    task = world.ended(world.run(world.define(secrets=wanted)))
    assert task["stoppedReason"].endswith("did not contain json key nothing")


def test_an_execution_role_without_permissions_cannot_pull(world: World) -> None:
    role = world.role(f"{world.name}-powerless")
    task = world.ended(world.run(world.define(executionRoleArn=role)))
    assert "unable to retrieve ecr registry auth" in task["stoppedReason"]
    assert "AccessDeniedException" in task["stoppedReason"]


def test_a_missing_log_group_keeps_the_task_from_starting(world: World) -> None:
    definition = world.define()
    world.logs.delete_log_group(logGroupName=world.name)
    task = world.ended(world.run(definition))
    assert task["stoppedReason"].startswith(
        "ResourceInitializationError: failed to validate logger args: create stream has been "
        "retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException"
    )
    world.logs.create_log_group(logGroupName=world.name)


# Events: ecs_cwe_events.html


def test_a_task_tells_its_whole_life(world: World) -> None:
    world.listen()
    arn = world.run(world.define(world.script("exit 4")), startedBy="someone")
    life = []
    for event in world.events("ECS Task State Change"):
        life.append(event)
        if event["detail"]["lastStatus"] == "STOPPED":
            break
    assert [
        (e["detail"]["version"], e["detail"]["lastStatus"], e["detail"]["desiredStatus"])
        for e in life
    ] == [
        (1, "PROVISIONING", "RUNNING"),
        (2, "PENDING", "RUNNING"),
        (3, "RUNNING", "RUNNING"),
        (4, "RUNNING", "STOPPED"),
        (5, "DEPROVISIONING", "STOPPED"),
        (6, "STOPPED", "STOPPED"),
    ]
    last = life[-1]
    assert last["source"] == "aws.ecs"
    assert last["resources"] == [arn]
    detail = last["detail"]
    assert (detail["taskArn"], detail["startedBy"]) == (arn, "someone")
    assert detail["group"] == f"family:{world.name}"
    assert detail["clusterArn"].endswith(f":cluster/{world.name}")
    assert detail["stopCode"] == "EssentialContainerExited"
    assert detail["stoppedReason"] == "Essential container in task exited"
    assert detail["containers"][0]["exitCode"] == 4
    (attachment,) = detail["attachments"]
    assert attachment["type"] == "eni"
    assert {d["name"] for d in attachment["details"]} >= {
        "networkInterfaceId",
        "privateIPv4Address",
    }
    for field in ("createdAt", "startedAt", "stoppedAt", "updatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", detail[field])
    assert world.task(arn)["version"] == 6


def test_a_completed_event_is_never_ahead_of_what_can_be_read(world: World) -> None:
    world.listen()
    arn = world.create()["serviceArn"]
    for event in world.events("ECS Deployment State Change"):
        service = world.service()
        assert event["resources"] == [arn]
        detail = event["detail"]
        assert detail["deploymentId"] == primary(service)["id"]
        assert detail["eventType"] == "INFO"
        if detail["eventName"] == "SERVICE_DEPLOYMENT_COMPLETED":
            assert completed(service)
            assert len(service["deployments"]) == 1
            break


def test_events_are_delivered_at_once(world: World) -> None:
    world.listen()
    world.run(world.define(world.script("exit 0")))
    lags = []
    for event in world.events("ECS Task State Change"):
        changed = datetime.fromisoformat(event["detail"]["updatedAt"]).timestamp()
        lags.append(event["sent"] - changed)
        if event["detail"]["lastStatus"] == "STOPPED":
            break
    assert len(lags) == 6
    assert sorted(lags)[3] < 0.1  # the median: one event may meet a busy machine
    assert max(lags) < 1


# Tasks


def test_a_stopped_task_says_who_stopped_it(world: World) -> None:
    arn = world.run(world.define())
    world.get(arn)
    stopping = world.ecs.stop_task(cluster=world.name, task=arn, reason="enough")["task"]
    assert (stopping["desiredStatus"], stopping["lastStatus"]) == ("STOPPED", "RUNNING")
    task = world.ended(arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] == 143
    assert world.tasks("STOPPED") == [arn]


def test_a_sidecar_may_end_and_an_essential_container_may_not(world: World) -> None:
    brief = {"name": "brief", "image": world.script("exit 5"), "essential": False}
    arn = world.run(world.define(None, brief))
    over = until(lambda: world.task(arn), lambda t: t["containers"][1]["lastStatus"] == "STOPPED")
    assert (over["lastStatus"], over["containers"][1]["exitCode"]) == ("RUNNING", 5)
    world.post(arn, "/exit")
    assert [c["exitCode"] for c in world.ended(arn)["containers"]] == [7, 5]


def test_overrides_and_the_task_role_reach_the_container(world: World) -> None:
    role = world.role(f"{world.name}-task")
    override = {"name": "app", "environment": [{"name": "COLOUR", "value": "red"}]}
    arn = world.run(
        world.define(taskRoleArn=role, environment=[{"name": "COLOUR", "value": "blue"}]),
        overrides={"containerOverrides": [override]},
    )
    result = world.get(arn)
    assert result["COLOUR"] == "red"
    assert result["AWS_REGION"] == world.aws.region
    sts = boto3.client(
        "sts",
        endpoint_url=world.aws.endpoint,
        region_name=world.aws.region,
        aws_access_key_id=result["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=result["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=result["AWS_SESSION_TOKEN"],
    )
    assert f"assumed-role/{world.name}-task/" in sts.get_caller_identity()["Arn"]


# What can be set


def test_waiting_times_and_stale_reads_can_be_set(name: str) -> None:
    settings = {"ECS_STEADY_SECONDS": "0.8", "READ_LAG_SECONDS": "1.5"}
    with LocalAws.start(settings=settings) as aws:
        world = World(aws, name)
        world.create(count=0)
        first = primary(world.steady())["id"]
        world.update(desiredCount=1)
        second = primary(world.update(world.define()))["id"]
        assert primary(world.service())["id"] == first
        done = world.until(lambda s: primary(s)["id"] == second and completed(s))
        (arn,) = world.tasks()
        wait = primary(done)["updatedAt"] - world.task(arn)["startedAt"]
        assert wait.total_seconds() >= 0.8
