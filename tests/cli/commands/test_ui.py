"""`deployer ui`, without a browser."""

import json
import signal
import socket
import subprocess
import urllib.request
from typing import Any

from tests.cli.commands.conftest import Operator
from tests.cli.documents import check


def serving(operator: Operator, *words: str) -> "subprocess.Popen[str]":
    command = operator.command("ui", "--no-open", *words)
    return subprocess.Popen(
        command,
        env=operator.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as response:
        return str(response.read().decode())


def test_it_serves_until_ctrl_c(rolled_back: Operator) -> None:
    with serving(rolled_back, "--json") as process:
        assert process.stdout
        line = json.loads(process.stdout.readline())
        check("ui", line)
        assert rolled_back.stage.service in get(line["address"])
        events: Any = urllib.request.urlopen(f"{line['address']}events", timeout=30)
        seen: dict[str, Any] = {}
        while not {"status", "history", "stats", "services"} <= seen.keys():
            words = events.readline().decode().split(": ", 1)
            if words[0] == "event":
                data = events.readline().decode().removeprefix("data: ")
                seen[words[1].strip()] = json.loads(data)
        events.close()
        ended = {"ok": True, "seconds": 0.1, "error": None}
        check("status", ended | seen["status"])
        check("history", ended | seen["history"])
        check("history", ended | seen["stats"])
        assert seen["status"]["live"]["version"] == "1.0.0"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr
        assert "running executions continue" in process.stderr.read()


def test_a_person_gets_the_address(rolled_back: Operator) -> None:
    with serving(rolled_back) as process:
        assert process.stdout
        lines = [process.stdout.readline().strip() for _ in range(2)]
        assert lines[1].startswith("http://127.0.0.1:")
        assert rolled_back.stage.service in get(lines[1])
        process.send_signal(signal.SIGINT)


def test_a_port_that_is_taken(rolled_back: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = rolled_back.run("ui", "--no-open", "--port", str(port))
    assert done.returncode == 5
    assert f"port {port} can't be used" in done.stderr
    assert "--port 0" in done.stderr


def test_without_the_deployer_it_says_so(rolled_back: Operator) -> None:
    done = rolled_back.run("ui", "--no-open", "--stack", "nothing")
    assert done.returncode == 3
    assert "there is no stack nothing" in done.stderr
