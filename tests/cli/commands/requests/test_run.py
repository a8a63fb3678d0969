"""`deployer run`: a command in a task of its own, by somebody with the stack's policies and MFA."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at
from tests.person import Person


@pytest.fixture(scope="session")
def ann(deployer: Stage) -> Person:
    return Person(deployer.aws, *(deployer.outputs[n] for n in ("OperatorsPolicy", "RunPolicy")))


def standing(operator: Operator) -> list[Any]:
    """What the deployer and ECS say of the service."""
    told = operator.told("status")
    names = ("live", "serves", "alarm", "tasks", "inFlight")
    service = operator.stage.described()
    return [*(told[n] for n in names), [d["id"] for d in service["deployments"]], service["events"]]


@pytest.mark.walk
def test_its_lines_and_exit_code_are_the_commands_and_the_service_is_undisturbed(
    live: Operator,
) -> None:
    before = standing(live)
    script = "echo to stdout; echo to stderr >&2; echo $CODER_HTTP_ADDRESS; exit 7"
    done = live.run("run", "--", "sh", "-c", script)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[:2] == ["to stdout", "to stderr"]
    assert ":3000" in done.stdout, "its variables are the service's"
    assert "the command exited with 7" in done.stderr

    done = live.run("run", "--json", "echo", "lines", "--json")
    told = json.loads(done.stdout)
    record = live.stage.records()[-1]
    assert (done.returncode, told["exitCode"], told["version"]) == (0, 0, "1.0.0")
    assert "lines --json" in done.stderr.splitlines(), "what follows the command is its own"
    assert (told["taskDefinition"], told["release"]) == (record["taskDefinition"], record["id"])
    assert told["stoppedReason"] == "Essential container in task exited"
    assert standing(live) == before
