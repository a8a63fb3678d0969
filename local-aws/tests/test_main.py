"""`python -m local_aws`: what a person sees, and the exit codes."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_aws import server
from local_aws.aws import LocalAws, processes, running
from support import SOURCES

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "home"
    yield directory
    if running(directory):
        LocalAws.attach(directory).stop()


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "local_aws", "--directory", str(home), *arguments]


@pytest.fixture
def local(home: Path) -> Run:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(home, *arguments), cwd=SOURCES, capture_output=True, text=True, timeout=60
        )

    return run


def free_port() -> str:
    with server.listen(0) as bound:
        return str(bound.getsockname()[1])


def test_a_life_in_the_background(local: Run, home: Path) -> None:
    port = free_port()
    started = local("up", "--detach", "--port", port)
    assert (started.returncode, started.stderr) == (0, "")
    assert f"http://127.0.0.1:{port}" in started.stdout
    assert f"localhost:{port}" in started.stdout

    again = local("up", "--detach")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == (
        f"A local AWS is already running: http://127.0.0.1:{port} "
        f"(pid {LocalAws.attach(home).pid})\n"
    )
    refused = local("up")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", again.stdout)

    status = local("status")
    assert status.returncode == 0
    assert f"Running: http://127.0.0.1:{port}" in status.stdout
    assert f"localhost:{port}" in status.stdout

    stopped = local("down")
    assert (stopped.returncode, stopped.stdout) == (0, f"Stopped http://127.0.0.1:{port}.\n")
    assert processes(home) == []
    assert [entry.name for entry in home.iterdir()] == ["server.log"]


def test_when_none_runs(local: Run) -> None:
    for arguments in (("status",), ("env",)):
        answer = local(*arguments)
        assert answer.returncode == 1
        assert "No local AWS is running. Start one with: python -m local_aws up" in (
            answer.stdout + answer.stderr
        )
    nothing = local("down")
    assert (nothing.returncode, nothing.stdout) == (0, "No local AWS is running.\n")


def test_the_variables_are_for_a_shell(home: Path, local: Run) -> None:
    with LocalAws.start(directory=home) as aws:
        exports = local("env")
        assert exports.returncode == 0
        script = f"{exports.stdout}{shlex.quote(sys.executable)} -c " + shlex.quote(
            "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
        )
        message = subprocess.run(
            ["sh", "-ec", script],
            env={"PATH": os.environ["PATH"], "AWS_PROFILE": "production"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (message.stderr, message.stdout.strip()) == ("", aws.account)


@pytest.mark.parametrize("order", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_until_it_is_told_to_stop(home: Path, order: signal.Signals) -> None:
    arguments = command(home, "up", "--port", free_port())
    with foreground(arguments) as up:
        assert up.stdout
        while "Ctrl-C stops it." not in (line := up.stdout.readline()):
            assert line, up.communicate()
        up.send_signal(order)
        out, err = up.communicate(timeout=120)
    assert (up.returncode, out, err) == (0, "Stopped.\n", "")
    assert processes(home) == []


def foreground(arguments: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        arguments, cwd=SOURCES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_it_says_so_when_its_server_dies(home: Path) -> None:
    with foreground(command(home, "up", "--port", free_port())) as up:
        assert up.stdout
        while "Ctrl-C stops it." not in (line := up.stdout.readline()):
            assert line, up.communicate()
        os.kill(LocalAws.attach(home).pid, signal.SIGKILL)
        err = up.communicate(timeout=120)[1]
    assert up.returncode == 1
    assert "The local AWS ended by itself" in err
    assert processes(home) == []


def test_one_in_the_foreground_is_stopped_from_elsewhere(home: Path, local: Run) -> None:
    with foreground(command(home, "up", "--port", free_port())) as up:
        assert up.stdout
        while "Ctrl-C stops it." not in (line := up.stdout.readline()):
            assert line, up.communicate()
        assert local("down").returncode == 0
        out, err = up.communicate(timeout=120)
    assert (up.returncode, out, err) == (0, "Stopped.\n", "")


def test_a_taken_port(local: Run, home: Path) -> None:
    with server.listen(0) as mine:
        mine.listen()
        port = mine.getsockname()[1]
        refused = local("up", "--port", str(port))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"Port {port} is taken.")
    assert refused.stderr.endswith(f"Choose another: python -m local_aws up --port {port + 1}\n")
    assert refused.stderr.count("\n") == 1
    assert not home.exists()


def test_a_start_killed_midway_leaves_nothing(home: Path, local: Run) -> None:
    """Killed as soon as the server process is there, before it can answer."""
    with foreground(command(home, "up", "--detach", "--port", free_port())) as up:
        while not processes(home):
            assert up.poll() is None
        up.kill()
    deadline = 500
    while processes(home):
        deadline -= 1
        assert deadline, "the server lives on"
        signal.sigtimedwait([], 0.02)
    started = local("up", "--detach", "--port", free_port())
    assert (started.returncode, started.stderr) == (0, "")
    assert local("down").returncode == 0


@pytest.mark.parametrize("port", ["65536", "http"])
def test_what_is_no_port(local: Run, port: str) -> None:
    refused = local("up", f"--port={port}")
    assert refused.returncode == 2
    assert f"{port} is not a port (1 to 65535)" in refused.stderr


def test_help_shows_examples(local: Run) -> None:
    shown = local("--help")
    assert shown.returncode == 0
    for example in ("up --detach", "local_aws status", 'eval "$(python -m local_aws env)"'):
        assert f"{example}" in shown.stdout
