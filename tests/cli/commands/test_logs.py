"""`deployer logs`."""

import json
import subprocess

import pytest

from tests.cli.commands.conftest import Operator
from tests.cli.terminal import terminal


def lines(operator: Operator, *words: str) -> list[dict[str, str]]:
    done = operator.run("logs", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.walk
def test_the_lines_of_all_tasks_in_order_of_time(rolled_back: Operator) -> None:
    result = lines(rolled_back, "--since", "1h")
    assert [line["time"] for line in result] == sorted(line["time"] for line in result)
    messages = " ".join(line["message"] for line in result)
    assert "version=v1.0.0" in messages
    assert "this release exits at start, with code 3" in messages
    last = lines(rolled_back, "--lines", "5")
    assert len(last) == 5
    shown = rolled_back.run("logs", "--since", "1h").stdout
    assert "this release exits at start, with code 3" in shown
    assert "\x1b" not in shown


def test_a_releases_lines_are_those_of_its_tasks(rolled_back: Operator) -> None:
    failed = lines(rolled_back, "--release", "1.1.0")
    begun = [line["message"] for line in failed if "starting" in line["message"]]
    assert begun and all("version=v1.1.0" in message for message in begun)
    assert not any("v1.0.0" in line["message"] for line in failed)
    good = lines(rolled_back, "--release", "live", "--since", "1h")
    assert not any("v1.1.0" in line["message"] for line in good)
    # of the task from before the failure, and of the one that came back after it
    assert len({line["task"] for line in good}) == 2
    assert {line["task"] for line in good}.isdisjoint(line["task"] for line in failed)


def test_what_would_steer_the_terminal_is_taken_out(live: Operator) -> None:
    _write(live, "\x1b[31mred\x07\x1b]0;title\x07 \u202eend")
    assert "[31mred" in live.run("logs").stdout
    with terminal(live.command("logs", "-n", "1", "--since", "1h"), live.env) as shown:
        assert shown.ended() == 0
    assert "\x1b[31m" not in shown.raw
    assert "\x07" not in shown.raw
    assert "\u202e" not in shown.raw
    assert any("\x1b[31mred" in line["message"] for line in lines(live))  # a script gets it whole


def test_following_until_ctrl_c(live: Operator) -> None:
    with terminal(live.command("logs", "--follow"), live.env, columns=40) as shown:
        shown.expect("starting")
        _write(live, "something new")
        shown.expect("something new")
        shown.interrupt()
        assert shown.ended() == 130
    assert shown.screen.count("something new") == 1
    assert "Traceback" not in shown.screen


def test_following_into_a_pipe_that_closes(live: Operator) -> None:
    command = live.command("logs", "--follow")
    with subprocess.Popen(
        command, env=live.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        _write(live, "for nobody")
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


def _write(operator: Operator, text: str) -> None:
    logs, group = operator.stage.aws.client("logs"), f"/ecs/{operator.stage.service}"
    [task] = operator.output("status")["tasks"]["list"]
    stream = f"ecs/{operator.stage.service}/{task['id']}"
    response = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=1)["events"]
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": response[-1]["timestamp"] + 1, "message": text}],
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--since", "soon"), 2, "invalid time 'soon'"),
        (("--container", "nobody"), 2, "no container is named nobody"),
        (("--release", "9.9.9"), 2, "no release '9.9.9'"),
        (("--since", "1s", "--release", "1.1.0"), 0, "Nothing was logged since then"),
    ],
)
def test_what_there_is_not(
    rolled_back: Operator, words: tuple[str, ...], code: int, message: str
) -> None:
    done = rolled_back.run("logs", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_release_that_never_ran_and_a_group_that_is_gone(live: Operator) -> None:
    stage = live.stage
    stage.ended(stage.start({"action": "hold", "service": stage.service, "by": "ann"}))
    assert stage.deployed("2.0.0").status == "SUCCEEDED"
    done = live.run("logs", "--release", "2.0.0")
    assert (done.returncode, "never ran a task: it is HELD" in done.stderr) == (2, True)
    stage.aws.client("logs").delete_log_group(logGroupName=f"/ecs/{stage.service}")
    gone = live.run("logs")
    assert gone.returncode == 3
    assert f"log group /ecs/{stage.service} does not exist" in gone.stderr
