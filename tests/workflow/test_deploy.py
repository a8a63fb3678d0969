"""From a push to a verified URL."""

import json
import threading
import urllib.request
from collections.abc import Callable

import pytest

from demo import oci as image
from demo.image import demo_release
from demo.stage import Stage
from tests.workflow.conftest import route

HAPPY = [
    "Initialise",
    "Identify release",
    "Does it deploy?",
    "Acquire lock",
    "Is the lock acquired?",
    "Check preflight",
    "Are there probes?",
    "Does it change the database?",
    "Register task definition",
    "Is there a task before?",
    "Update service",
    "Poll health",
    "Is it steady?",
    "Poll health",
    "Is it steady?",
    "Fetch addresses",
    "Verify release",
    "Is it verified?",
    "Record success",
    "Deployed",
]


def ask(url: str, path: str = "/api/v2/buildinfo") -> dict[str, str]:
    with urllib.request.urlopen(url + path, timeout=30) as answer:
        output: dict[str, str] = json.loads(answer.read())
    return output


def create_first_user(url: str) -> None:
    user = {"email": "ada@example.com", "username": "ada", "password": "correct horse battery"}
    request = urllib.request.Request(
        f"{url}/api/v2/users/first",
        data=json.dumps(user).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


@pytest.mark.walk
def test_the_first_push_creates_the_service_and_its_url_answers(service: Stage) -> None:
    digest = service.release("1.0.0")
    done = service.ended(service.started_by(digest))

    assert (done.status, done.error) == ("SUCCEEDED", "")
    assert route(done) == HAPPY
    record = service.record(digest)
    assert record["outcome"] == "SUCCEEDED"
    assert record["version"] == "1.0.0"
    assert record["trigger"] == "push"
    assert record["execution"] == done.arn
    assert record["previous"] is None
    assert ask(record["url"])["version"].startswith("v1.0.0+")
    assert done.output["url"] == record["url"]


def test_the_task_definition_runs_the_digest_and_says_what_it_is(live: Stage) -> None:
    record = live.records()[0]
    response = live.aws.client("ecs").describe_task_definition(
        taskDefinition=record["taskDefinition"], include=["TAGS"]
    )
    container = response["taskDefinition"]["containerDefinitions"][0]
    assert container["image"].endswith(f"/{live.service}@{record['digest']}")
    tags = {tag["key"]: tag["value"] for tag in response["tags"]}
    assert tags["deployer:version"] == "1.0.0"
    assert tags["deployer:digest"] == record["digest"]
    assert tags["deployer:release"] == record["id"]


def test_a_recreate_service_never_runs_two_versions_and_has_the_breaker(live: Stage) -> None:
    configuration = live.described()["deploymentConfiguration"]
    assert configuration["minimumHealthyPercent"] == 0
    assert configuration["maximumPercent"] == 100
    # there is nothing yet that ECS could go back to by itself
    assert configuration["deploymentCircuitBreaker"] == {"enable": True, "rollback": False}


@pytest.mark.walk
def test_the_next_push_replaces_the_release_and_the_data_stays(live: Stage) -> None:
    before = live.records()[0]
    identity = ask(before["url"])["deployment_id"]
    create_first_user(before["url"])

    done = live.deployed("1.1.0")

    assert done.status == "SUCCEEDED"
    breaker = live.described()["deploymentConfiguration"]["deploymentCircuitBreaker"]
    assert breaker == {"enable": True, "rollback": True}
    after = live.records()[1]
    assert after["previous"]["taskDefinition"] == before["taskDefinition"]
    assert after["previous"]["release"] == before["id"]
    assert after["probes"] == {
        "/api/v2/buildinfo#deployment_id": identity,
        "/api/v2/users/first": "200",
    }
    assert ask(after["url"])["version"].startswith("v1.1.0+")


def test_a_rolling_service_answers_all_the_time(make: Callable[..., Stage]) -> None:
    service = make(Strategy="rolling")
    service.deployed("1.0.0")
    ecs = service.aws.client("ecs")
    over, dark = threading.Event(), []

    def watch() -> None:
        while not over.wait(0.05):
            arns = ecs.list_tasks(cluster=service.cluster, serviceName=service.service)["taskArns"]
            tasks = ecs.describe_tasks(cluster=service.cluster, tasks=arns)["tasks"] if arns else []
            if not any(task["lastStatus"] == "RUNNING" for task in tasks):
                dark.append(tasks)

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = service.deployed("1.1.0")
    over.set()
    watcher.join()

    assert done.status == "SUCCEEDED"
    assert not dark


def test_versions_with_plus_deploy_under_a_tag_with_minus(service: Stage) -> None:
    digest = service.release("2.0.0-devel+abc1234")
    done = service.ended(service.started_by(digest))
    assert done.status == "SUCCEEDED"
    record = service.record(digest)
    assert record["tag"] == "2.0.0-devel-abc1234"
    assert record["version"] == "2.0.0-devel+abc1234"


def test_an_index_deploys_once_and_its_children_are_ignored(service: Stage) -> None:
    amd, arm = (demo_release("1.0.0", platform=f"linux/{a}") for a in ("amd64", "arm64"))
    digest = service.push(image.Index((amd, arm, image.attestation(amd))), "1.0.0")

    assert service.ended(service.started_by(digest)).status == "SUCCEEDED"
    for child in (amd, arm):
        done = service.ended(service.started_by(child.digest))
        assert done.path[-1] == "Nothing to deploy"
    records = service.records() + service.records(f"ignored:{service.service}")
    outcomes = sorted(record["outcome"] for record in records)
    assert outcomes == ["IGNORED", "IGNORED", "IGNORED", "SUCCEEDED"]


def test_the_same_event_again_deploys_nothing(live: Stage) -> None:
    first = live.look(live.started_by(live.records()[0]["digest"]))
    again = live.ended(live.start(first.input))
    assert again.status == "SUCCEEDED"
    assert again.path == [
        "Initialise",
        "Identify release",
        "Does it deploy?",
        "Nothing to deploy",
    ]
    assert [record["outcome"] for record in live.records()] == ["SUCCEEDED"]
    assert live.records()[0]["execution"] == first.arn


def test_a_second_tag_on_a_live_digest_is_the_same_push(live: Stage) -> None:
    before, deployment = live.own_executions(), live.described()["deployments"][0]["id"]
    live.push(demo_release("1.0.0"), "1.0.0-again")
    while (newest := live.own_executions()) == before:
        pass
    assert live.ended(newest[0]).path[-1] == "Skipped"
    first, again = live.records()
    assert (first["outcome"], again["outcome"]) == ("SUCCEEDED", "SUPERSEDED")
    assert (again["tag"], again["by"]) == ("1.0.0-again", first["id"])
    assert live.described()["deployments"][0]["id"] == deployment


def test_a_deployment_by_hand_of_what_runs_registers_and_replaces_nothing(live: Stage) -> None:
    deployment = live.described()["deployments"][0]["id"]
    done = live.ended(live.start({"action": "deploy", "service": live.service, "image": "1.0.0"}))
    assert done.status == "SUCCEEDED"
    first, second = live.records()
    assert second["trigger"] == "deploy"
    assert second["taskDefinition"] == first["taskDefinition"]
    assert live.described()["deployments"][0]["id"] == deployment


def test_a_deployment_by_hand_of_an_older_digest_goes_back_to_it(live: Stage) -> None:
    live.deployed("1.1.0")
    first = live.records()[0]
    command = {"action": "deploy", "service": live.service, "image": first["digest"], "by": "ann"}
    done = live.ended(live.start(command))
    assert done.status == "SUCCEEDED"
    assert live.records()[-1]["startedBy"] == "ann"
    assert ask(live.records()[-1]["url"])["version"].startswith("v1.0.0+")


def test_slow_polls_find_the_end_when_every_event_of_ecs_is_lost(live: Stage) -> None:
    sfn, events = live.aws.client("stepfunctions"), live.aws.client("events")
    machine = live.outputs["StateMachine"]
    patient = sfn.describe_state_machine(stateMachineArn=machine)["definition"]
    definition = json.loads(patient)
    definition["States"]["Poll health"]["TimeoutSeconds"] = 2  # 90, as deployed
    rules = [
        r["Name"]
        for r in events.list_rules()["Rules"]
        if r["Name"].endswith(("-RolloutRule", "-TaskRule"))
    ]
    assert len(rules) == 2
    for rule in rules:
        events.disable_rule(Name=rule)
    sfn.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
    try:
        done = live.deployed("1.1.0")
    finally:
        sfn.update_state_machine(stateMachineArn=machine, definition=patient)
        for rule in rules:
            events.enable_rule(Name=rule)
    assert done.status == "SUCCEEDED"
    assert ask(live.records()[-1]["url"])["version"].startswith("v1.1.0+")
