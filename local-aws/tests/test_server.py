"""Whoever is killed, nothing of a local AWS lives on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_aws import server, shims
from local_aws.aws import LocalAws, LocalAwsError, processes
from support import SOURCES, Function, packed

# A function that still runs, and a process of its own as a container is one.
BUSY = """
import subprocess, time
def handler(event, context):
    subprocess.Popen(["sleep", "600"], start_new_session=True, env={}, cwd="/")
    time.sleep(600)
"""


def start_work(aws: LocalAws) -> list[int]:
    """Begin what does not end by itself; every process of this instance."""
    function = Function(aws, "busy", packed(app=BUSY), Timeout=900)
    aws.client("lambda").invoke(FunctionName=function.name, InvocationType="Event", Payload=b"{}")

    def all_processes() -> list[int]:
        return [aws.pid, *server.descendants(aws.pid)]

    until(lambda: any(name(pid) == "sleep" for pid in all_processes()))
    return all_processes()


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not zombie(pid)]


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(condition: Callable[[], object], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[LocalAws]:
    with LocalAws.start(directory=tmp_path) as aws:
        yield aws


def test_stopping_ends_everything_at_once(running: LocalAws) -> None:
    pids = start_work(running)
    assert len(alive(pids)) >= 3  # MiniStack, the function, what it started
    started = time.monotonic()
    running.stop()
    assert alive(pids) == []
    assert time.monotonic() - started < 3
    assert [entry.name for entry in running.directory.iterdir()] == ["server.log"]


def test_what_a_killed_server_leaves_is_cleared_by_the_next(running: LocalAws) -> None:
    pids = start_work(running)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() != 0
    running.close()
    with LocalAws.start(directory=running.directory) as again:
        until(lambda: [name(pid) for pid in alive(pids)] in ([], ["sleep"]))
        assert again.healthy
    for pid in alive(pids):  # it cut all ties: another environment and folder
        os.kill(pid, signal.SIGKILL)


def test_a_killed_launcher_takes_everything_with_it() -> None:
    code = (
        "import time; from local_aws.aws import LocalAws\n"
        "print(LocalAws.start().directory, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=SOURCES, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout
        directory = Path(launcher.stdout.readline().strip())
        aws = LocalAws.attach(directory)
        pids = start_work(aws)
        aws.close()
        launcher.kill()
    until(lambda: not alive(pids))
    assert not directory.exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        LocalAwsError, match=r"ended while starting(.|\n)*Unknown level: 'Level LOUD'"
    ):
        LocalAws.start(directory=tmp_path, settings={"LOG_LEVEL": "LOUD"})
    assert processes(tmp_path) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["server.log"]


def test_iam_is_enforced_and_nothing_listens_beyond_this_machine(running: LocalAws) -> None:
    from urllib.request import urlopen

    with urlopen(f"{running.endpoint}/_ministack/health", timeout=5) as answer:
        health = json.load(answer)
    assert (health["auth"], health["iot_mtls"]) == ("enabled", "disabled")
    addresses = {
        row.split()[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if row.split()[3] == "0A" and int(row.split()[1].rpartition(":")[2], 16) == running.port
    }
    assert addresses == {"0100007F"}


def test_a_shim_changes_nothing_unless_all_is_as_expected() -> None:
    class Target:
        @staticmethod
        def one(data: int) -> int:
            return data

        @staticmethod
        def two(data: int) -> int:
            return data

    def build(parameters: str) -> shims.Shim:
        shim = shims.Shim()

        @shim.wraps(Target, "one", "data")
        def one(original: Callable[[int], int], data: int) -> int:
            return original(data) + 1

        @shim.replaces(Target, "two", parameters)
        def two(data: int) -> int:
            return data * 10

        return shim

    with pytest.raises(shims.ShimMismatch, match=r"two takes \(data\), not \(other\); .* 1.5.33"):
        build("other").install()
    assert (Target.one(1), Target.two(1)) == (1, 1)
    shim = build("data")
    shim.install()
    assert (Target.one(1), Target.two(1)) == (2, 10)


def test_every_shim_is_installed_and_the_pin_is_the_installed_version() -> None:
    from importlib.metadata import version

    assert version("ministack") == shims.PINNED
    pinned = (SOURCES.parent / "pyproject.toml").read_text()
    assert f"ministack[full]=={shims.PINNED}" in pinned
    sources = {
        path.stem: path.read_text() for path in (SOURCES / "local_aws" / "shims").glob("*.py")
    }
    for stem, source in sources.items():
        if stem != "__init__" and ("def install(" in source or "install = " in source):
            brought = any(f"{stem}.install()" in other for other in sources.values())
            assert stem in shims.MODULES or brought, stem
