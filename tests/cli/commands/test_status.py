"""`deployer status`."""

import json
import subprocess
import sys
from typing import Any

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.documents import check, check_printed
from tests.cli.terminal import terminal
from tests.person import Person


def test_nothing_is_live_yet(operator: Operator) -> None:
    output = operator.output("status")
    assert (output["live"], output["url"], output["tasks"], output["lastFailure"]) == (None,) * 4
    assert "nothing yet" in operator.run("status").stdout


@pytest.mark.walk
def test_what_is_live_and_what_failed(rolled_back: Operator) -> None:
    stage, output = rolled_back.stage, rolled_back.output("status")
    good, bad = (next(r for r in stage.records() if r["tag"] == v) for v in ("1.0.0", "1.1.0"))
    live = output["live"]
    assert (live["version"], live["digest"], live["since"]) == (
        "1.0.0",
        good["digest"],
        good["endedAt"],
    )
    # the address is that of the task that came back, not the one that was recorded
    assert output["url"].startswith("http://")
    assert output["url"] != good["url"]
    tasks = output["tasks"]
    assert (tasks["desired"], tasks["running"], tasks["pending"]) == (1, 1, 0)
    [task] = tasks["list"]
    assert (task["version"], task["status"], task["health"]) == ("1.0.0", "RUNNING", "HEALTHY")
    failure = output["lastFailure"]
    assert (failure["release"], failure["outcome"]) == (bad["id"], "FAILED_ROLLED_BACK")
    assert failure["advice"] == bad["diagnosis"]["advice"]
    assert (output["inFlight"], output["waiting"], output["hold"], output["unseen"]) == (
        [],
        [],
        None,
        {},
    )

    shown = rolled_back.run("status").stdout
    for fact in ("1.0.0", output["url"], "1 of 1 running", task["id"][:8], "exited with 3"):
        assert fact in shown
    assert "\x1b" not in shown


def test_all_services_are_shown_where_none_is_named(rolled_back: Operator, live: Operator) -> None:
    live.stage.specify(tags="(")  # its spec is invalid now
    stage = rolled_back.stage
    command = [sys.executable, "-m", "cli", "status", "--stack", stage.stack]
    shown, output = (
        subprocess.run(
            [*command, *more], env=rolled_back.env, capture_output=True, text=True, check=True
        ).stdout
        for more in ([], ["--json"])
    )
    check_printed(["status", "--json"], output)
    services = {entry["service"]: entry for entry in json.loads(output)["services"]}
    mine = services[stage.service]
    assert (mine["verified"]["version"], mine["serves"]["verified"]) == ("1.0.0", True)
    assert (mine["problem"], mine["inFlight"], mine["hold"]) == (None, [], None)
    assert "doctor" in services[live.stage.service]["problem"]
    assert stage.service in shown and "1.0.0 since" in shown


def test_what_is_in_flight_waits_and_is_held(live: Operator) -> None:
    stage = live.stage
    patient = {**stage.spec()["override"]["healthCheck"], "startPeriod": 300}
    stage.specify_container(healthCheck=patient)
    first = stage.started_by(stage.release("2.0.0", fault="slow-start", seconds=300))
    while not live.output("status")["inFlight"]:
        pass
    second = stage.start({"action": "deploy", "service": stage.service, "image": "1.0.0"})
    while not (output := live.output("status"))["waiting"]:
        assert stage.look(first).status == stage.look(second).status == "RUNNING"
    [flying], [waiting] = output["inFlight"], output["waiting"]
    assert (flying["version"], flying["trigger"], flying["execution"]) == ("2.0.0", "push", first)
    assert (flying["status"], waiting["trigger"], waiting["execution"]) == (
        "RUNNING",
        "deploy",
        second,
    )
    shown = live.run("status").stdout
    assert "in flight    2.0.0 (push)" in shown
    assert "waiting      1.0.0 (deploy by" in shown
    stage.aws.client("stepfunctions").stop_execution(executionArn=first)
    assert stage.ended(second).status == "SUCCEEDED"
    stage.ended(
        stage.start(
            {"action": "hold", "service": stage.service, "by": "ann", "reason": "\x1b[1mfreeze"}
        )
    )
    stage.deployed("3.0.0")
    hold = live.output("status")["hold"]
    assert (hold["by"], hold["newestHeld"]["version"]) == ("ann", "3.0.0")
    assert "by ann since" in live.run("status").stdout
    assert "\x1b" not in live.run("status").stdout


def test_a_build_and_the_docs_are_told(live: Operator) -> None:
    """As their state machines record them: beside the releases, under names of their own."""
    item = {
        "id": {"S": "20261127T000000Z-abc"},
        "digest": {"S": "etag"},
        "tag": {"NULL": True},
        "trigger": {"S": "push"},
        "startedBy": {"S": "upload"},
        "pushedAt": {"S": "2026-11-27T00:00:00+00:00"},
        "startedAt": {"S": "2026-11-27T00:00:00+00:00"},
        "endedAt": {"S": "2026-11-27T00:01:00+00:00"},
        "outcome": {"S": "SUCCEEDED"},
        "execution": {"S": "arn:aws:states:us-east-1:000000000000:execution:gone:gone"},
    }
    service, dynamodb = live.stage.service, live.stage.aws.client("dynamodb")
    for kept, version in ((f"build:{service}", "4.0.0"), (f"docs:{service}", "docs-7")):
        more = {"service": {"S": kept}, "version": {"S": version}}
        url = {"url": {"S": "https://docs.example.com"}} if kept.startswith("docs") else {}
        dynamodb.put_item(TableName=live.stage.outputs["ReleasesTable"], Item=item | more | url)
    output = live.output("status")
    assert (output["build"]["version"], output["build"]["outcome"]) == ("4.0.0", "SUCCEEDED")
    assert (output["docs"]["version"], output["docs"]["url"]) == (
        "docs-7",
        "https://docs.example.com",
    )
    assert "https://docs.example.com" in live.run("status").stdout
    for option, version in (("--builds", "4.0.0"), ("--docs", "docs-7")):
        assert [r["version"] for r in live.output("history", option)["releases"]] == [version]
        assert version in live.run("history", option).stdout
        one = live.output("history", version, option)  # whose execution Step Functions forgot
        assert (one["release"]["version"], one["phases"]) == (version, None)
    # a later release was switched live and failed, and so did the way back
    rollback = {"M": {"action": {"S": "ROLL_BACK"}, "reason": {"S": "AccessDenied"}}}
    failed = {"id": {"S": "20261128T000000Z-def"}, "outcome": {"S": "FAILED"}, "rollback": rollback}
    failed |= {"service": {"S": f"docs:{service}"}, "version": {"S": "docs-8"}}
    failed |= {"endedAt": {"S": "2026-11-28T00:01:00+00:00"}}
    dynamodb.put_item(TableName=live.stage.outputs["ReleasesTable"], Item=item | failed)
    for shown in (live.run("status").stdout, live.run("history", "--docs").stdout):
        first, second, *_ = shown.splitlines()
        assert "docs-8 may serve" in first
        assert second.strip().startswith("deployer docs ")
        assert second.endswith(" rollback 20261127T000000Z-abc")


def test_watching_goes_on_until_ctrl_c(live: Operator) -> None:
    with terminal(live.command("status", "--watch"), live.env, columns=40) as shown:
        shown.expect("1.0.0")
        assert live.stage.deployed("1.0.1").status == "SUCCEEDED"
        shown.expect("1.0.1")
        shown.interrupt()
        assert shown.ended() == 130
    drawn, _, message = shown.screen.partition("Stopped watching")
    assert "Traceback" not in message
    assert all(len(line) <= 40 for line in drawn.splitlines())


def test_watching_without_a_terminal_is_a_line_per_change(live: Operator) -> None:
    plain, lines = (_watching(live, *words) for words in ((), ("--json",)))
    try:
        first = json.loads(_line(lines))
        check("watched", first)
        assert first["live"]["version"] == "1.0.0"
        assert "live         1.0.0" in _line(plain)
        assert live.stage.deployed("1.0.1").status == "SUCCEEDED"
        while (now := json.loads(_line(lines))["live"]) is None or now["version"] != "1.0.1":
            pass  # None while no task of either runs
        seen = [_line(plain)]
        while "live         1.0.1" not in seen[-1]:
            seen.append(_line(plain))
        assert len(seen) == len(set(seen))
    finally:
        for process in (plain, lines):
            process.terminate()
            process.communicate()


def _watching(operator: Operator, *words: str) -> "subprocess.Popen[str]":
    command = operator.command("status", "--watch", *words)
    return subprocess.Popen(command, env=operator.env, stdout=subprocess.PIPE, text=True)


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    line = process.stdout.readline()
    assert line, "it ended"
    return line


def test_what_one_may_not_see_is_named(rolled_back: Operator, deployer: Stage) -> None:
    person = Person(deployer.aws)
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": "*"}
        for actions in ("cloudformation:*", "dynamodb:*", "ssm:*")
    ]
    document: Any = {"Version": "2012-10-17", "Statement": statements}
    deployer.aws.client("iam").put_user_policy(
        UserName=person.name, PolicyName="own", PolicyDocument=json.dumps(document)
    )
    key = person.key
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    done = rolled_back.run("status", "--json", **keys)
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert (output["verified"]["version"], output["live"]) == ("1.0.0", None)
    assert "ecs:DescribeServices" in output["unseen"]["service"]
    assert "not seen" in rolled_back.run("status", **keys).stdout
