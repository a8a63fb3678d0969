"""Whatever goes wrong after the update: the good release is back, and the record says why."""

import json
import urllib.request
from collections.abc import Callable

import pytest

from cli.executions import Execution
from demo.stage import Stage

ROLLED_BACK = [
    "Diagnose failure",
    "Roll back",
    "Does it roll back?",
    "Poll health of previous release",
]


def served(url: str) -> str:
    with urllib.request.urlopen(f"{url}/healthz", timeout=30) as answer:
        return str(answer.headers["X-Coder-Build-Version"])


def url_now(stage: Stage) -> str:
    """The URL of the service's one running task, found as a person would."""
    ecs, ec2 = stage.aws.client("ecs"), stage.aws.client("ec2")
    arns = ecs.list_tasks(cluster=stage.cluster, serviceName=stage.service)["taskArns"]
    (task,) = ecs.describe_tasks(cluster=stage.cluster, tasks=arns)["tasks"]
    details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
    response = ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])
    return f"http://{response['NetworkInterfaces'][0]['Association']['PublicIp']}:3000"


def assert_rolled_back(stage: Stage, done: Execution, *errors: str) -> None:
    assert done.status == "FAILED"
    assert done.error in errors
    assert [name for name in done.path if name in ROLLED_BACK][:4] == ROLLED_BACK
    assert stage.records()[-1]["outcome"] == "FAILED_ROLLED_BACK"
    assert stage.described()["taskDefinition"] == stage.records()[0]["taskDefinition"]
    assert served(url_now(stage)).startswith("v1.0.0+")


@pytest.mark.parametrize(
    ("fault", "errors"),
    [
        ("exit-at-start", ["RolloutFailed"]),
        # we count to three as the circuit breaker does; whoever is first
        ("never-healthy", ["RolloutFailed", "RolledBackByECS"]),
        ("wrong-version", ["WrongVersion"]),
        ("empty-database", ["DataChanged"]),
    ],
)
def test_a_broken_release_is_rolled_back(live: Stage, fault: str, errors: list[str]) -> None:
    done = live.deployed("1.1.0", fault=fault)
    assert_rolled_back(live, done, *errors)


@pytest.mark.walk
def test_the_record_of_a_crash_explains_it(live: Stage) -> None:
    done = live.deployed("1.1.0", fault="exit-at-start")
    records = live.records()[-1]["diagnosis"]
    assert records["kind"] == "crash"
    assert any("exited with 3" in stop for stop in records["stops"])
    assert records["log"], "the last lines of the container"
    assert records["advice"]
    assert "previous release is back" in done.cause


def test_a_slow_start_is_waited_for(live: Stage) -> None:
    done = live.deployed("1.1.0", fault="slow-start", seconds=2)
    assert done.status == "SUCCEEDED"


def test_without_a_health_check_an_answer_is_waited_for(make: Callable[..., Stage]) -> None:
    service = make(HealthCheck="null")
    done = service.deployed("1.0.0", fault="slow-start", seconds=3)
    assert done.status == "SUCCEEDED"
    assert done.seconds > 3


def test_a_release_that_never_answers_ends_at_the_timeout(make: Callable[..., Stage]) -> None:
    service = make(HealthCheck="null", TimeoutSeconds="30")
    service.deployed("1.0.0")
    done = service.deployed("1.1.0", fault="never-healthy")
    assert_rolled_back(service, done, "VerificationTimedOut")
    assert 30 <= done.seconds < 60


def test_a_first_release_that_fails_says_there_is_nothing_to_go_back_to(service: Stage) -> None:
    done = service.deployed("1.0.0", fault="exit-at-start")

    assert (done.status, done.error) == ("FAILED", "RolloutFailed")
    record = service.records()[-1]
    assert record["outcome"] == "FAILED"
    assert record["rollback"]["action"] == "STOP"
    assert "no previous release" in done.cause
    assert service.described()["desiredCount"] == 0

    assert service.deployed("1.0.1").status == "SUCCEEDED"
    assert service.described()["desiredCount"] == 1


def test_a_release_that_migrated_the_database_is_not_rolled_back_by_image_alone(
    live: Stage,
) -> None:
    done = live.deployed("2.0.0", schema=2, fault="wrong-version")

    assert (done.status, done.error) == ("FAILED", "WrongVersion")
    record = live.records()[-1]
    assert record["outcome"] == "FAILED"
    assert record["rollback"]["action"] == "LEAVE"
    assert "schema" in done.cause and "No snapshot exists" in done.cause
    breaker = live.described()["deploymentConfiguration"]["deploymentCircuitBreaker"]
    assert breaker == {"enable": True, "rollback": False}
    assert live.described()["taskDefinition"] == record["taskDefinition"]


def test_a_migration_that_never_started_is_rolled_back(make: Callable[..., Stage]) -> None:
    """The image can't be pulled, so no task of it can have touched the database."""
    service = make()
    service.deployed("1.0.0")
    digest = service.release("2.0.0", schema=2)
    arn = service.started_by(digest)
    service.aws.client("ecr").batch_delete_image(
        repositoryName=service.service, imageIds=[{"imageDigest": digest}]
    )
    done = service.ended(arn)
    # deleted before it was identified, or after: in either case 1.0.0 is what runs
    assert done.status == "FAILED" or done.path[-1] == "Nothing to deploy"
    assert served(url_now(service)).startswith("v1.0.0+")
    records = service.records() + service.records(f"ignored:{service.service}")
    (record,) = [record for record in records if record["execution"] == arn]
    assert record["outcome"] in ("FAILED_ROLLED_BACK", "IGNORED", "FAILED")


def test_a_missing_secret_is_called_at_once(live: Stage) -> None:
    """What is missing is a key of it, which no preflight can see."""
    response = live.aws.client("ecs").describe_task_definition(taskDefinition=live.service)
    (container,) = response["taskDefinition"]["containerDefinitions"]
    secrets = {one["name"]: f"{one['valueFrom']}:url::" for one in container["secrets"]}
    live.specify_container(secrets=secrets)
    done = live.deployed("1.1.0")
    assert (done.status, done.error) == ("FAILED", "RolloutFailed")
    record = live.records()[-1]
    assert record["diagnosis"]["kind"] == "secret"
    called = next(s.at for s in done.states if s.name == "Diagnose failure")
    updated = next(s.at for s in done.states if s.name == "Poll health")
    assert called - updated < 10


def test_a_change_by_somebody_else_is_left_in_place(live: Stage) -> None:
    ecs = live.aws.client("ecs")
    good = live.described()["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=good)["taskDefinition"]
    wanted = ("family", "networkMode", "containerDefinitions", "cpu", "memory")
    theirs = ecs.register_task_definition(
        **{key: definition[key] for key in (*wanted, "executionRoleArn", "taskRoleArn")},
        requiresCompatibilities=["FARGATE"],
    )["taskDefinition"]["taskDefinitionArn"]

    arn = live.started_by(live.release("1.1.0", fault="slow-start", seconds=20))
    for now in live.follow(arn):
        if now.path[-1:] == ["Poll health"]:
            break
    ecs.update_service(cluster=live.cluster, service=live.service, taskDefinition=theirs)
    done = live.ended(arn)

    assert (done.status, done.error) == ("FAILED", "RolloutReplaced")
    assert live.records()[-1]["outcome"] == "FAILED"
    assert live.described()["taskDefinition"] == theirs


def test_a_service_scaled_to_zero_meanwhile_is_not_called_live(live: Stage) -> None:
    arn = live.started_by(live.release("1.1.0", fault="slow-start", seconds=20))
    for now in live.follow(arn):
        if now.path[-1:] == ["Poll health"]:
            break
    live.aws.client("ecs").update_service(
        cluster=live.cluster, service=live.service, desiredCount=0
    )
    done = live.ended(arn)
    assert (done.status, done.error) == ("FAILED", "ServiceScaledDown")


def test_a_service_that_is_at_zero_is_not_touched(live: Stage) -> None:
    live.aws.client("ecs").update_service(
        cluster=live.cluster, service=live.service, desiredCount=0
    )
    before = live.described()["taskDefinition"]
    done = live.deployed("1.1.0")
    assert (done.status, done.error) == ("FAILED", "ServiceScaledDown")
    assert live.described()["taskDefinition"] == before


def test_no_secret_is_in_history_or_records(live: Stage) -> None:
    secret = live.aws.client("secretsmanager").get_secret_value(
        SecretId=f"{live.service}/database-url"
    )["SecretString"]
    done = live.deployed("1.1.0", fault="exit-at-start")
    history = live.aws.client("stepfunctions").get_execution_history(executionArn=done.arn)
    assert secret not in json.dumps(history, default=str)
    assert secret not in json.dumps(live.records(), default=str)
