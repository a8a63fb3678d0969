"""`deployer exec`: up to the AWS CLI, which it becomes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import environment
from tests.person import Person

PROGRAM = """#!/bin/sh
echo "$AWS_REGION $AWS_PROFILE $AWS_ACCESS_KEY_ID"
for word; do echo "$word"; done
exit 7
"""


@pytest.fixture
def operator(make: Callable[..., Operator], bob: Person) -> Operator:
    made = make()
    made.environment |= environment(bob)
    return made


def test_it_says_how_to_enable_it_and_becomes_the_aws_cli(live: Operator, tmp_path: Path) -> None:
    nothing = live.run("exec")
    assert nothing.returncode == 125
    role = f"{live.stage.service}-task"
    for text in (
        "ECS Exec is not enabled in this task",
        "serviceDefinition:\n        enableExecuteCommand: true\n",
        f"put-role-policy --role-name {role} ",
        "ssmmessages:OpenDataChannel",
        f"deployer restart --service {live.stage.service}",
    ):
        assert text in nothing.stderr

    definition = live.stage.spec()["serviceDefinition"]
    live.stage.specify(serviceDefinition={**definition, "enableExecuteCommand": True})
    live.output("restart")
    [task] = live.output("status")["tasks"]["list"]
    document = live.output("exec")
    assert document["task"].endswith(task["id"])
    assert document["run"].endswith(" --interactive --command /bin/sh")

    (tmp_path / "aws").write_text(PROGRAM)
    missing = live.run("exec", PATH=str(tmp_path))
    assert (missing.returncode, "Install the AWS CLI" in missing.stderr) == (125, True)
    for name in ("aws", "session-manager-plugin"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"])
    done = live.run("exec", "--task", task["id"][:6], "--", "echo", "two words", PATH=path)
    region, *words = done.stdout.splitlines()
    assert done.returncode == 7
    assert region == f"us-east-1  {live.environment['AWS_ACCESS_KEY_ID']}"
    assert words[:4] == ["ecs", "execute-command", "--region", "us-east-1"]
    assert words[-3:] == ["--interactive", "--command", "echo 'two words'"]
    assert live.run("exec", "--task", "nothing").returncode == 125
