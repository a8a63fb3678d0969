"""The demo and `make local` as people and programs see them: drawn from values, and for real."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from cli import screen
from cli.executions import Execution, State
from cli.screen import Screen, Step, standing, steps
from demo import ROOT, image
from demo import deploy as demo
from demo.stage import Stage
from local_aws.aws import LocalAws, SamFailed

WITHIN = 300.0  # seconds for what takes a few, on a machine that is busy with much else
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


# Values ------------------------------------------------------------------------------------------


def task(name: str, at: float, left: float | None = None, output: Any = None) -> State:
    return State(name, at, "Task", left, output)


def execution(*states: State, status: str = "RUNNING") -> Execution:
    return Execution("arn:run", status, {}, "", "", None, states, 9.0)


IDENTIFIED = {"decision": "DEPLOY", "reason": "", "release": {"version": "1.0", "service": "demo"}}
ROLLING = {"health": "ROLLING", "reason": "0 of 1 new tasks running, 0 old"}
STEADY = {"health": "STEADY", "reason": "1 of 1 new tasks running, 0 old"}
FAILED = {"health": "FAILED", "reason": "3 new tasks failed"}
POLLED_TWICE = execution(
    State("Initialise", 0.0, "Pass", 0.0),
    task("Identify release", 0.1, 0.9, IDENTIFIED),
    State("Does it deploy?", 0.9, "Choice", 0.9, IDENTIFIED),
    task("Poll health", 1.0, 3.0, ROLLING),
    State("Is it steady?", 3.0, "Choice", 3.0, ROLLING),
    task("Poll health", 3.0, 6.0, STEADY),
    State("Deployed", 6.1, "Succeed", 6.1),
    status="SUCCEEDED",
)


def test_the_states_that_do_something_are_shown_and_polls_in_a_row_are_one() -> None:
    assert steps(POLLED_TWICE) == [
        Step(0.1, 0.9, "Identify release", "1.0 of demo"),
        Step(1.0, 6.0, "Poll health", "1 of 1 new tasks running, 0 old"),
    ]


@pytest.mark.parametrize(
    ("output", "note", "failed"),
    [
        (FAILED, "3 new tasks failed", True),
        ({"verdict": "REFUTED", "reason": "it serves 0.0.1"}, "it serves 0.0.1", True),
        ({"Error": "Denied", "Cause": "no"}, "Denied: no", True),
        ({"Error": "Denied", "Cause": '{"errorMessage": "not you"}'}, "Denied: not you", True),
        ({"Error": "Denied", "Cause": "[1]"}, "Denied: [1]", True),
        ({"taskDefinition": "arn:aws:ecs:x:1:task-definition/demo:3"}, "demo:3", False),
        ({"url": "http://127.9.0.5:3000", "tasks": []}, "http://127.9.0.5:3000", False),
        ({"previous": {"version": "1.0.0"}}, "1.0.0 runs now", False),
        ({"previous": None}, "the first release", False),
        ({"reason": "a\x1b[31mb\nc"}, "a [31mb c", False),
        (None, "", False),
        ("text", "", False),
    ],
)
def test_what_a_state_put_out_is_noted_in_a_few_words(output: Any, note: str, failed: bool) -> None:
    assert steps(execution(task("Any", 1.0, 2.0, output))) == [Step(1.0, 2.0, "Any", note, failed)]


def test_the_rollout_is_noted_while_it_is_polled_and_not_after() -> None:
    polling = execution(task("Poll health", 1.0, 3.0, ROLLING), task("Poll health", 3.0))
    assert steps(polling, "half way")[-1].note == "half way"
    assert steps(polling)[-1].note == ROLLING["reason"]
    assert (
        steps(execution(task("Poll health", 1.0, 3.0, STEADY)), "half way")[-1].note
        == (STEADY["reason"])
    )
    assert steps(execution(task("Verify release", 1.0)), "half way")[-1].note == ""


def deployment(running: int, status: str = "PRIMARY", **more: Any) -> dict[str, Any]:
    arn = "arn:aws:ecs:us-east-1:0:task-definition/demo:2"
    return {"status": status, "taskDefinition": arn, "desiredCount": 1, "runningCount": running} | (
        more
    )


@pytest.mark.parametrize(
    ("deployments", "message"),
    [
        ([], ""),
        ([deployment(0)], "demo:2, 0 of 1 running"),
        ([deployment(0, failedTasks=2)], "demo:2, 0 of 1 running, 2 failed"),
        ([deployment(0), deployment(1, "ACTIVE")], "demo:2, 0 of 1 running, 1 from before"),
        ([deployment(1)], "demo:2, 1 of 1 running, not healthy yet"),
        ([deployment(1, rolloutState="COMPLETED")], "demo:2, 1 of 1 running, steady"),
        (
            [deployment(0, rolloutState="FAILED", rolloutStateReason="gave up")],
            "demo:2, 0 of 1 running; gave up",
        ),
    ],
)
def test_a_rollout_is_told_in_counts(deployments: list[dict[str, Any]], message: str) -> None:
    assert standing({"deployments": deployments}) == message


# Drawing -----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_tell_each_state_once_and_each_news_of_it_once() -> None:
    stream = io.StringIO()
    identifying = execution(task("Identify release", 0.1))
    polling = execution(*POLLED_TWICE.states[:4], task("Poll health", 3.0))
    with Screen(stream).progress() as progress:
        progress.show(steps(identifying), 0.2, running=True)
        progress.show(steps(identifying), 0.4, running=True)
        progress.show(steps(polling, "1 of 2"), 3.5, running=True)
        progress.show(steps(polling, "1 of 2"), 3.7, running=True)
        progress.show(steps(polling, "2 of 2"), 3.9, running=True)
        progress.show(steps(POLLED_TWICE), 6.5, running=False)
    assert stream.getvalue().splitlines() == [
        "    0.1 s  Identify release",
        "    0.9 s                                   1.0 of demo",
        "    1.0 s  Poll health                      1 of 2",
        "    3.9 s                                   2 of 2",
        "    6.0 s                                   1 of 1 new tasks running, 0 old",
    ]


def drawn(width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What stays on a terminal of this width of an execution that failed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    states = POLLED_TWICE.states[:2]
    with Screen(stream, width=width).progress() as progress:
        progress.show(steps(execution(*states)), 1.0, running=True)
        ended = execution(*states, task("Poll health of previous release", 1.0, 6.0, FAILED))
        progress.show(steps(replace(ended, status="FAILED")), 6.5, running=False)
    assert "\x1b[?25h" in stream.getvalue(), "the cursor is shown again"
    last_frame = stream.getvalue().rpartition("\x1b[2K")[2]
    return ESCAPES.sub("", last_frame)


@pytest.mark.parametrize("width", [120, 59, 36, 24])
def test_a_terminal_of_any_width_shows_every_state_and_note(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = drawn(width, monkeypatch).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    words = " ".join(lines).split()
    message = "✓ 0.1 s Identify release 1.0 of demo ✗ 1.0 s Poll health of previous release"
    assert words[: len(message.split())] == message.split() or width < 59
    assert sorted(words) == sorted([*message.split(), *FAILED["reason"].split()])


RECORDS: list[dict[str, Any]] = [
    {
        "version": "1.0.0",
        "outcome": "SUCCEEDED",
        "startedAt": "2026-01-01T00:00:00+00:00",
        "endedAt": "2026-01-01T00:00:09.870000+00:00",
        "reason": "it serves version v1.0.0",
    },
    {
        "version": "1.2.0",
        "outcome": "FAILED_ROLLED_BACK",
        "startedAt": "2026-01-01T00:01:00+00:00",
        "endedAt": "2026-01-01T00:01:07+00:00",
        "reason": "the whole story",
        "diagnosis": {"cause": "3 new tasks failed"},
    },
    {"version": "1.3.0", "startedAt": "2026-01-01T00:02:00+00:00"},
]


@pytest.mark.parametrize("width", [100, 40])
def test_the_table_of_records_fits(width: int) -> None:
    stream = io.StringIO()
    Screen(stream, width=width).releases(RECORDS)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"1\.0\.0 +SUCCEEDED +9\.9", text)
    assert re.search(r"1\.2\.0 +FAILED_ROLLED_BACK +7\.0", text)
    assert re.search(r"1\.3\.0 +in flight", text)
    assert "it serves version v1.0.0" in text
    assert "3 new tasks failed" in text
    assert "the whole story" not in text


def test_what_is_no_terminal_gets_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    plain = Screen(stream, width=30)
    plain.say("a text that is longer than thirty columns [bold]and[/bold] has brackets", "red")
    plain.facts([("last log", "2026 [info] starting")])
    plain.command("one two three four five six seven eight nine ten")
    with plain.working():
        pass
    assert stream.getvalue().splitlines() == [
        "a text that is longer than thirty columns [bold]and[/bold] has brackets",
        "  last log     2026 [info] starting",
        "  one two three four five six seven eight nine ten",
    ]


def test_a_dumb_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    Screen(stream).say("text", "red")
    assert stream.getvalue() == "text\n"


# Surprises ---------------------------------------------------------------------------------------


@pytest.fixture
def impostor() -> Iterator[str]:
    """A server that says it is 1.0.0, whatever it is asked; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"version": "v1.0.0+abc", "deployment_id": "d"}).encode()
            self.send_response(200)
            self.send_header("X-Coder-Build-Version", "v1.0.0+abc")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_another_version_than_was_pushed_is_a_surprise(impostor: str) -> None:
    output = demo.Demo(Screen(io.StringIO()))
    assert output.serves(impostor, "1.0.0") == "d"
    with pytest.raises(demo.Surprise) as surprise:
        output.serves(impostor, "1.1.0")
    assert str(surprise.value) == f"expected the version at {impostor} to be 'v1.1.0', saw 'v1.0.0'"


def test_lost_data_is_a_surprise(impostor: str) -> None:
    output = demo.Demo(Screen(io.StringIO()))
    output.steps = [{}, {"deploymentId": "d"}]
    output.kept_data(impostor)
    output.steps = [{}, {"deploymentId": "another"}]
    with pytest.raises(demo.Surprise, match="expected the deployment id to be 'another', saw 'd'"):
        output.kept_data(impostor)


def test_no_answer_is_a_surprise() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(demo.Surprise, match=f"expected an answer from {url}, saw: .*refused"):
            demo.ask(url)


@pytest.mark.parametrize(
    ("error", "message"),
    [(SamFailed("sam build failed (1)"), "sam build failed (1)"), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_step_that_fails_is_named_and_the_log_is_kept(
    error: Exception,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Stage, "set_up", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = demo.demonstrate(Screen(io.StringIO(), quiet=True), keep=True, as_json=True)
    output = capsys.readouterr()
    document = json.loads(output.out)
    [log] = tmp_path.iterdir()  # the log, and nothing else is left
    assert code == 1
    assert not document["ok"]
    assert document["url"] is None
    assert document["error"] == {"message": message, "log": str(log)}
    assert [(step["name"], step["ok"]) for step in document["steps"]] == [
        ("Start a local AWS, deploy the deployer into it", False)
    ]
    step = "Start a local AWS, deploy the deployer into it"
    assert output.err.endswith(f"error: {step}: {message}\nlog: {log}\n")
    assert not left_of(tmp_path)


# For real ----------------------------------------------------------------------------------------


class Run:
    """A demo under way. Everything it starts carries `home` as its TMPDIR."""

    def __init__(self, arguments: Sequence[str], home: Path, module: str = "demo.deploy") -> None:
        fast = {"ECS_HEALTH_CHECK_SCALE": "0.1", "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"}
        fast["PYTHONPATH"] = str(ROOT / "local-aws/src")  # of this checkout, whichever is installed
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=os.environ | fast,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify()
        with self._news:
            self._news.notify()

    def until(self, pattern: str) -> re.Match[str]:
        """The first line that matches, as soon as it is printed."""
        matches: list[re.Match[str]] = []

        def seen() -> bool:
            matches.extend(m for line in self.lines if (m := re.search(pattern, line)))
            return bool(matches) or not self._reader.is_alive()

        with self._news:
            self._news.wait_for(seen, WITHIN)
        assert matches, f"no {pattern!r} in:\n" + "\n".join(self.lines)
        return matches[0]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self, seconds: float = WITHIN) -> int:
        """The exit code."""
        code = self._process.wait(seconds)
        self._reader.join(WITHIN)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self.ended()
        assert self._process.stdout
        self._process.stdout.close()


def left_of(home: Path) -> list[str]:
    """The command lines of processes that carry or live in this directory, once they had time."""
    deadline = time.monotonic() + 60
    while (result := _carriers(home)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return result


def _carriers(home: Path) -> list[str]:
    matches = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            carries = f"={home}".encode() in (entry / "environ").read_bytes()
            if carries or (entry / "cwd").readlink().is_relative_to(home):
                matches.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return matches


def test_the_demo_ends_with_the_good_release_live(tmp_path: Path) -> None:
    with Run(["--json"], tmp_path) as run:
        code = run.ended()
        document = json.loads("\n".join(run.lines))
    assert code == 0, document["error"]
    assert document["ok"]
    assert document["version"] == "1.0.0"
    assert re.fullmatch(r"http://127\.9\.\d+\.\d+:3000", document["url"])
    assert document["healthCheckScale"] == 0.1
    assert document["error"] is None
    _, first, second, broken, after, last = document["steps"]
    assert all(step["ok"] for step in document["steps"])
    for step, version in ((first, "1.0.0"), (second, "1.1.0")):
        assert (step["version"], step["status"], step["outcome"]) == (
            *(version, "SUCCEEDED", "SUCCEEDED"),
        )
        names = [state["name"] for state in step["states"]]
        runbook = [
            "Identify release",
            "Update service",
            "Poll health",
            "Record success",
            "Deployed",
        ]
        assert [name for name in dict.fromkeys(names) if name in runbook] == runbook
        times = [state["at"] for state in step["states"]]
        assert times == sorted(times)
        assert 0 <= times[0] <= times[-1] <= step["executionSeconds"] < step["seconds"]
    assert first["deploymentId"] == second["deploymentId"]
    assert (broken["status"], broken["error"]) == ("FAILED", "RolloutFailed")
    assert broken["outcome"] == "FAILED_ROLLED_BACK"
    assert "exited with 3" in broken["cause"]
    assert broken["diagnosis"]["log"][-1] == "error: this release exits at start, with code 3"
    assert "Poll health of previous release" in [state["name"] for state in broken["states"]]
    assert after["url"] != second["url"]
    assert (last["status"], last["outcome"]) == ("SUCCEEDED", "SUCCEEDED")
    assert last["url"] == document["url"] != after["url"]
    assert [(release["version"], release["outcome"]) for release in document["releases"]] == [
        ("1.0.0", "SUCCEEDED"),
        ("1.1.0", "SUCCEEDED"),
        ("1.2.0", "FAILED_ROLLED_BACK"),
        ("1.0.0", "SUCCEEDED"),
    ]
    assert not left_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_the_middle_of_the_demo_leaves_nothing(tmp_path: Path) -> None:
    with Run([], tmp_path) as run:
        run.until("^ECS_HEALTH_CHECK_SCALE is set: health is checked every 0.5 s, not each 5 s")
        run.until("^sam deploy: cluster")
        run.signal(signal.SIGINT)
        assert run.ended() == 130
    assert run.lines[-1].startswith("error: interrupted")
    assert not any("Traceback" in line for line in run.lines)
    assert not left_of(tmp_path)
    assert not list(tmp_path.iterdir())


def specify_own(aws: LocalAws) -> None:
    """Store the spec of a service of one's own, beside the demo's, that is not there yet."""
    ecs, ssm = aws.client("ecs"), aws.client("ssm")
    (service,) = ecs.describe_services(cluster="demo", services=["demo"])["services"]
    runs = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
    kept = ("networkMode", "requiresCompatibilities", "cpu", "memory", "executionRoleArn")
    spec = {
        "service": "demo-own",
        "cluster": "demo",
        "repository": "demo",
        "tags": r"own-.*",
        "taskDefinition": {
            **{name: runs["taskDefinition"][name] for name in kept},
            "containerDefinitions": [{"name": "own"}],
        },
        "serviceDefinition": {
            "launchType": "FARGATE",
            "desiredCount": 1,
            "networkConfiguration": service["networkConfiguration"],
        },
    }
    name = "/deployer/services/demo-own"
    ssm.put_parameter(Name=name, Value=json.dumps(spec), Type="String")


def test_serve_shows_what_is_pushed_until_ctrl_c(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = ["--serve", "--directory", str(home), "--port", str(port)]
    with Run(serving, tmp_path) as run:
        page = run.until(r"^  (http://127\.0\.0\.1:\d+/\S+/)$")
        assert b"<title>deployer</title>" in urllib.request.urlopen(page[1]).read()
        run.until("^Waiting for pushes")
        aws = LocalAws.attach(home)
        assert aws.endpoint == f"http://127.0.0.1:{port}"
        led = run.until(
            rf'^  eval "\$\(\S+ -m (local_aws --directory {re.escape(str(home))} env)\)"$'
        )
        exports = subprocess.run(
            [sys.executable, "-m", *led[1].split()],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"export AWS_ENDPOINT_URL={aws.endpoint}\n" in exports
        run.until(rf"docker push localhost:{port}/demo-web:")

        for elsewhere, complaint in (
            (home, rf"^error: A local AWS is already running: {re.escape(aws.endpoint)}"),
            (tmp_path / "other", rf"^error: Port {port} is taken.*such as --port {port + 1}"),
        ):
            beside = ["--serve", "--directory", str(elsewhere), "--port", str(port)]
            with Run(beside, tmp_path) as second:
                assert second.ended() == 1
                second.until(complaint)

        push = run.until(r"^  \S+ -m demo\.image push (--endpoint \S+ .*--tag 1\.0\.0)$")
        assert image.main(["push", *push[1].split(), "--fault", "exit-at-start"]) == 0
        run.until("^Push of demo:1.0.0")
        run.until("^RolloutFailed after .* s: FAILED$")
        run.until("^  last log .*starting")
        run.until("^  what to do ")

        assert image.main(["push", *push[1].replace("1.0.0", "latest").split()]) == 0
        run.until("^Nothing was deployed: .*do not name latest")

        assert image.main(["push", *push[1].replace("1.0.0", "1.0.1").split()]) == 0
        run.until(r"^ +\d+\.\d s +Poll health ")
        live = run.until(r"^LIVE (http://\S+) 1\.0\.1$")
        assert demo.ask(f"{live[1]}/healthz").version.startswith("v1.0.1+")

        aws.client("stepfunctions").start_execution(
            stateMachineArn=aws.outputs("deployer")["StateMachine"],
            input=json.dumps({"action": "deploy", "image": "1.0.1", "service": "demo"}),
        )
        run.until("^By hand: .*1.0.1")

        # a service that its first push creates
        specify_own(aws)
        pushed = ["push", *push[1].replace("1.0.0", "own-1.0.0").split()]
        assert image.main([*pushed, "--fault", "exit-at-start"]) == 0
        run.until("^Push of demo:own-1.0.0")
        run.until(r"Poll health +demo-own:")
        run.until("^RolloutFailed after ")
        aws.close()
        run.signal(signal.SIGINT)
        assert run.ended() == 0
    assert not any("\x1b" in line for line in run.lines)
    assert not any("Traceback" in line for line in run.lines)
    assert not left_of(tmp_path)
    assert (home / "server.log").exists()
    assert not (home / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--serve", "--json"], "--serve runs no demo"),
        (["--serve", "--keep"], "--serve runs no demo"),
        (["--port", "4566"], "the demo takes a free port"),
        (["--serve", "--port", "99999"], "99999 is no port"),
        (["--serve", "--port", "0"], "0 is no port"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        demo.main(arguments)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        demo.main(["--help"])
    assert end.value.code == 0
    assert "python -m demo.deploy --serve --port 4600" in capsys.readouterr().out


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert screen.printable("a\x1b[2Jb\r\nc\u202ed ✓") == "a [2Jb  c d ✓"
