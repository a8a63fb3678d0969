"""`deployer ui`, without a browser."""

import json
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.documents import check
from tests.person import Person


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


class Tab:
    """A tab that is open: what the events brought so far, and its buttons."""

    def __init__(self, address: str) -> None:
        self.address, self.seen = address, dict[str, Any]()

    def __enter__(self) -> Self:
        self._events = urllib.request.urlopen(f"{self.address}events", timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()

    def until(self, seen: Callable[[dict[str, Any]], bool]) -> None:
        """Read events until this was seen."""
        deadline = time.monotonic() + 120
        while not seen(self.seen):
            assert time.monotonic() < deadline, self.seen
            words = self._events.readline().decode().split(": ", 1)
            if words[0] == "event":
                data = self._events.readline().decode().removeprefix("data: ")
                self.seen[words[1].strip()] = json.loads(data)

    def press(self, **request: Any) -> dict[str, Any]:
        """Press a button, and return the document of its command."""
        origin = "/".join(self.address.split("/")[:3])
        headers = {"Origin": origin, "Content-Type": "application/json"}
        body = json.dumps(request).encode()
        sent = urllib.request.Request(f"{self.address}act", body, headers)
        with urllib.request.urlopen(sent, timeout=120) as response:
            return dict(json.loads(response.read())["document"])


@contextmanager
def opened(operator: Operator) -> Iterator[Tab]:
    """A tab of a page that is served while the block lasts."""
    with serving(operator, "--json") as process:
        assert process.stdout
        try:
            with Tab(json.loads(process.stdout.readline())["address"]) as tab:
                tab.until(lambda seen: "status" in seen or bool(seen.get("problem")))
                yield tab
        finally:
            process.send_signal(signal.SIGINT)


def test_it_serves_until_ctrl_c(rolled_back: Operator) -> None:
    with serving(rolled_back, "--json") as process:
        assert process.stdout
        line = json.loads(process.stdout.readline())
        check("ui", line)
        assert rolled_back.stage.service in get(line["address"])
        with Tab(line["address"]) as tab:
            tab.until(lambda seen: {"status", "history", "stats", "services"} <= seen.keys())
        seen = tab.seen
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
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM


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


def test_two_tabs_that_roll_back_at_once(live: Operator) -> None:
    """Both requests are carried out one after the other, and what was live is live."""
    stage = live.stage
    assert stage.deployed("1.1.0").status == "SUCCEEDED"
    first = stage.records()[0]["id"]
    with opened(live) as tab, Tab(tab.address) as other, ThreadPoolExecutor(2) as pool:
        pressed = [
            pool.submit(each.press, action="rollback", release=first) for each in (tab, other)
        ]
        started = [each.result() for each in pressed]
        assert all(each["ok"] for each in started), started
        for each in (tab, other):
            each.until(
                lambda seen: (
                    [r["status"] != "RUNNING" for r in seen.get("requests", ())] == [True, True]
                )
            )
            assert {r["outcome"] for r in each.seen["requests"]} <= {"SUCCEEDED", "SUPERSEDED"}
            each.until(lambda seen: (seen["status"]["live"] or {}).get("version") == "1.0.0")
    outcomes = [record["outcome"] for record in stage.records()]
    assert outcomes[:2] == ["SUCCEEDED", "SUCCEEDED"]
    assert "SUCCEEDED" in outcomes[2:] and len(outcomes) == 4
    assert live.output("status")["live"]["version"] == "1.0.0"


def test_a_viewer_without_rights_is_shown_the_rest(rolled_back: Operator, deployer: Stage) -> None:
    person = Person(deployer.aws)
    allowed = ("cloudformation:*", "dynamodb:*", "ssm:*")
    statements = [{"Effect": "Allow", "Action": [*allowed], "Resource": "*"}]
    deployer.aws.client("iam").put_user_policy(
        UserName=person.name,
        PolicyName="own",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    keys = {
        "AWS_ACCESS_KEY_ID": person.key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": person.key["SecretAccessKey"],
    }
    with opened(Operator(rolled_back.stage, keys)) as tab:
        tab.until(lambda seen: "history" in seen)
        assert tab.seen["status"]["verified"]["version"] == "1.0.0"
        assert "ecs:DescribeServices" in tab.seen["status"]["unseen"]["service"]
        refused = tab.press(action="hold", reason="not allowed")
        assert "states:StartExecution" in refused["error"]["message"]
        tab.until(lambda seen: [r["status"] for r in seen.get("requests", ())] == ["REFUSED"])
    assert rolled_back.output("status")["hold"] is None


def test_credentials_that_end_and_come_back(
    rolled_back: Operator, deployer: Stage, tmp_path: Path
) -> None:
    person, iam = (
        Person(deployer.aws, deployer.outputs["OperatorsPolicy"]),
        deployer.aws.client("iam"),
    )
    file = tmp_path / "credentials"

    def store(key: dict[str, str]) -> None:
        file.write_text(
            f"[ann]\naws_access_key_id = {key['AccessKeyId']}\n"
            f"aws_secret_access_key = {key['SecretAccessKey']}\n"
        )

    store(person.key)
    profile = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "ann"}
    without = {name: "" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    with opened(Operator(rolled_back.stage, {**profile, **without})) as tab:
        tab.until(lambda seen: seen["status"]["live"] is not None and "problem" in seen)
        iam.delete_access_key(UserName=person.name, AccessKeyId=person.key["AccessKeyId"])
        tab.until(lambda seen: bool(seen["problem"]))
        assert "AWS does not know these credentials" in tab.seen["problem"]["message"]
        assert tab.seen["status"]["live"]["version"] == "1.0.0"
        store(iam.create_access_key(UserName=person.name)["AccessKey"])
        tab.until(lambda seen: seen["problem"] is None)
