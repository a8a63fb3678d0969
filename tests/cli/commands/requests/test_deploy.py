"""`deployer deploy`, in a terminal and not in one."""

import json
from urllib.parse import urlsplit

import pytest

from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at
from tests.cli.network import network
from tests.person import Person


@pytest.mark.walk
def test_an_image_is_deployed_followed_and_told(live: Operator, ann: Person) -> None:
    digest = live.stage.release("1.1.0")
    live.stage.ended(live.stage.started_by(digest))
    output = live.output("deploy", "1.0.0")
    record = live.stage.records()[-1]
    assert (output["outcome"], output["version"], output["url"]) == (
        "SUCCEEDED",
        "1.0.0",
        record["url"],
    )
    assert output["execution"] == record["execution"]
    assert output["link"].endswith(record["execution"])
    assert record["startedBy"] == ann.name

    done = live.run("deploy", digest)
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert "\x1b" not in shown
    for state in ("Identify release", "Register task definition", "Poll health", "Verify release"):
        assert state in shown
    assert "has started 1 tasks" in shown  # ECS's event
    assert "Started HTTP listener" in shown  # the task's log
    assert "Live and verified" in shown


def test_what_runs_already_is_verified_and_not_deployed_again(live: Operator) -> None:
    first = live.stage.records()[0]
    output = live.output("deploy", "1.0.0")
    assert (output["outcome"], output["deployed"]) == ("SUCCEEDED", False)
    assert "runs already" in output["reason"] and first["id"] in output["reason"]
    again = live.stage.records()[-1]
    assert again["rollout"]["id"] == first["rollout"]["id"]
    assert "Nothing was deployed: since" in live.run("deploy", "1.0.0").stdout
    listed = live.run("history").stdout.splitlines()
    assert ["SUCCEEDED (it ran already)" in line for line in listed[1:]] == [True, True, False]


def test_a_restart_puts_new_tasks_in_place_of_the_same_release(live: Operator) -> None:
    def tasks() -> set[str]:
        return {task["id"] for task in live.output("status")["tasks"]["list"]}

    before, first = tasks(), live.stage.records()[0]
    output = live.output("restart")
    assert (output["outcome"], output["version"], output["deployed"]) == (
        "SUCCEEDED",
        "1.0.0",
        True,
    )
    assert not before & tasks()
    assert live.stage.records()[-1]["taskDefinition"] == first["taskDefinition"]


def test_the_newest_push_is_deployed_where_none_is_named(operator: Operator) -> None:
    nothing = operator.run("deploy")
    assert nothing.returncode == 3
    assert "docker push" in nothing.stderr
    operator.run("hold", "--reason", "so that the pushes wait")
    for version in ("1.0.0", "1.1.0"):
        assert operator.stage.deployed(version).status == "SUCCEEDED"
    done = operator.run("deploy", "--detach")
    assert done.returncode == 0, done.stderr
    assert "pushed last is 1.1.0" in done.stdout
    (arn,) = [e for e in operator.stage.own_executions() if e in done.stdout]
    assert operator.stage.ended(arn).status == "SUCCEEDED"
    assert operator.stage.records()[-1]["version"] == "1.1.0"


def test_what_is_not_there_or_cannot_run_starts_nothing(live: Operator) -> None:
    before = live.stage.own_executions()
    for image in ("9.9.9", f"sha256:{'0' * 64}", "not/a tag"):
        wrong = live.run("deploy", image, "--json")
        assert wrong.returncode == 2, wrong.stderr
        assert "1.0.0" in json.loads(wrong.stdout)["error"]["advice"][0]
    assert live.run("deploy", "1.0.0", "2.0.0").returncode == 2
    assert live.stage.own_executions() == before


def test_a_failure_is_told_with_its_diagnosis(live: Operator) -> None:
    live.run("hold")
    live.stage.deployed("1.1.0", fault="exit-at-start")
    failed = live.run("deploy", "1.1.0", "--json")
    assert failed.returncode == 1
    output = json.loads(failed.stdout)
    assert (output["ok"], output["outcome"]) == (False, "FAILED_ROLLED_BACK")
    assert output["diagnosis"]["kind"] == "crash"
    assert output["diagnosis"]["log"]
    assert "RolloutFailed" in output["error"]["message"]
    for message in ("exited with 3", "what to do", "The previous release is back", "last log"):
        assert message in failed.stderr


def test_at_a_terminal_it_moves_and_ctrl_c_ends_the_following_only(patient: Operator) -> None:
    patient.run("hold")
    patient.stage.deployed("1.2.0", fault="slow-start", seconds=15)
    with at(patient, "deploy", "1.2.0") as shown:
        shown.expect("/executions/details/")
        shown.expect("Poll health")
        shown.expect("of 1 running")
        shown.interrupt()
        assert shown.ended() == 130
        assert "Traceback" not in shown.screen
        assert "stopped following; the deployment goes on" in shown.screen
        assert "deployer cancel" in shown.screen
        assert "\x1b[" in shown.raw
    arn = patient.stage.records()[-1]["execution"]
    assert patient.stage.look(arn).status == "RUNNING"
    assert patient.stage.ended(arn).status == "SUCCEEDED"


def test_the_network_goes_and_comes_back(patient: Operator) -> None:
    patient.run("hold")
    patient.stage.deployed("1.2.0", fault="slow-start", seconds=10)
    aws = urlsplit(patient.env["AWS_ENDPOINT_URL"])
    with network((str(aws.hostname), aws.port or 80)) as between:
        patient.environment["AWS_ENDPOINT_URL"] = between.url
        with at(patient, "deploy", "1.2.0") as shown:
            shown.expect("Poll health")
            between.goes()
            shown.expect("AWS does not answer; trying again")
            between.comes_back()
            shown.expect("Live and verified")
            assert shown.ended() == 0


def test_it_fits_a_narrow_window(live: Operator) -> None:
    live.stage.deployed("1.1.0")
    with at(live, "deploy", "1.0.0", columns=50) as shown:
        shown.expect("Live and verified")
        assert shown.ended() == 0
    lines = [
        line.rstrip()
        for line in shown.screen.replace("\r", "\n").splitlines()
        if "https://" not in line and "http://" not in line
    ]
    assert max(map(len, lines)) <= 50, max(lines, key=len)


def test_who_waits_is_told_and_orders_follow_each_other(busy: tuple[Operator, str]) -> None:
    operator, arn = busy
    with at(operator, "deploy", "1.0.0") as first, at(operator, "deploy", "1.0.0") as second:
        first.expect("1.1.0 holds the lock")
        second.expect("1.1.0 holds the lock")
        stopped = operator.run("cancel", "1.1.0", "--yes")
        assert stopped.returncode == 0, stopped.stderr
        assert (first.ended(), second.ended()) == (0, 0)
    assert operator.stage.look(arn).status == "ABORTED"
    outcomes = [record["outcome"] for record in operator.stage.records()]
    # those that waited go before the way back, which has nothing left to put right then
    assert sorted(outcomes) == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUPERSEDED"]


def test_a_dry_run_tells_what_would_change_and_starts_nothing(live: Operator) -> None:
    before = live.stage.own_executions()
    same = live.output("deploy", "1.0.0", "--dry-run")
    assert not same["taskDefinition"]["registers"]
    assert same["taskDefinition"]["changes"] == []
    assert (same["database"], same["automaticRollback"], same["lock"]) == ("NONE", True, None)

    live.run("hold", "--reason", "not now")
    held = live.stage.own_executions()
    assert len(held) == len(before) + 1
    digest = live.stage.release("1.1.0")
    live.stage.ended(live.stage.started_by(digest))
    live.stage.specify_container(environment={"CODER_NEW": "1"})
    live.stage.specify_definition(cpu="512", memory="1024")
    output = live.output("deploy", "1.1.0", "--dry-run")
    changed = {c["what"]: (c["before"], c["after"]) for c in output["taskDefinition"]["changes"]}
    name = live.stage.service
    assert output["taskDefinition"]["registers"]
    assert changed["cpu"] == ("1024", "512")
    assert changed[f"container {name} environment CODER_NEW"] == (None, "1")
    assert changed[f"container {name} environment CODER_HTTP_ADDRESS"][1] is None
    assert changed[f"container {name} image"][1].endswith(digest)
    assert output["release"]["version"] == "1.1.0"
    assert output["hold"]["reason"] == "not now"
    assert not output["holdAfter"]
    shown = live.run("deploy", "1.1.0", "--dry-run")
    assert shown.returncode == 0
    assert "nothing was changed" in shown.stdout
    assert len(live.stage.own_executions()) == len(held) + 1  # the push's


def test_a_dry_run_tells_that_it_would_fail(live: Operator) -> None:
    live.run("hold")
    live.stage.deployed("1.1.0")
    ecs = live.stage.aws.client("ecs")
    ecs.update_service(cluster=live.stage.cluster, service=live.stage.service, desiredCount=0)
    refused = live.run("deploy", "1.1.0", "--dry-run", "--json")
    assert refused.returncode == 3
    assert "scaled to zero" in json.loads(refused.stdout)["problem"]


def test_a_dry_run_makes_the_checks_of_the_preflight(live: Operator) -> None:
    unseen = live.output("deploy", "1.0.0", "--dry-run")
    assert unseen["problem"] is None
    assert "DiagnosisPolicy" in str(unseen["warnings"])

    outputs = live.stage.outputs
    person = Person(live.stage.aws, outputs["OperatorsPolicy"], outputs["DiagnosisPolicy"])
    live.environment |= {
        "AWS_ACCESS_KEY_ID": person.key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": person.key["SecretAccessKey"],
    }
    live.environment.pop("AWS_SESSION_TOKEN")
    assert live.output("deploy", "1.0.0", "--dry-run")["warnings"] == []
    group = f"/ecs/{live.stage.service}"
    live.stage.aws.client("logs").delete_log_group(logGroupName=group)
    refused = live.run("deploy", "1.0.0", "--dry-run", "--json")
    assert refused.returncode == 3
    assert group in json.loads(refused.stdout)["problem"]


@pytest.mark.parametrize("way", ["access key", "stranger"])
def test_who_may_not_is_told_so(live: Operator, ann: Person, way: str) -> None:
    person = ann if way == "access key" else Person(live.stage.aws)
    alone = {
        "AWS_ACCESS_KEY_ID": person.key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": person.key["SecretAccessKey"],
    }
    live.environment.pop("AWS_SESSION_TOKEN")
    before = live.stage.own_executions()
    refused = live.run("deploy", "1.0.0", **alone)
    assert refused.returncode in (1, 3)
    assert "Traceback" not in refused.stderr
    assert ("MFA" if way == "access key" else "you may not do this") in refused.stderr
    assert live.stage.own_executions() == before
