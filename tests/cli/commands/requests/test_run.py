"""`deployer run`: a command in a task of its own, by somebody with the stack's policies and MFA."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at, environment
from tests.person import Person


@pytest.fixture
def operator(make: Callable[..., Operator], bob: Person) -> Operator:
    made = make()
    made.environment |= environment(bob)
    return made


def standing(operator: Operator) -> list[Any]:
    """What the deployer and ECS say of the service."""
    document = operator.output("status")
    names = ("live", "serves", "alarm", "tasks", "inFlight")
    service = operator.stage.described()
    return [
        *(document[n] for n in names),
        [d["id"] for d in service["deployments"]],
        service["events"],
    ]


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
    document = json.loads(done.stdout)
    record = live.stage.records()[-1]
    assert (done.returncode, document["exitCode"], document["version"]) == (0, 0, "1.0.0")
    assert "lines --json" in done.stderr.splitlines(), "what follows the command is its own"
    assert (document["taskDefinition"], document["release"]) == (
        record["taskDefinition"],
        record["id"],
    )
    assert document["stoppedReason"] == "Essential container in task exited"
    assert standing(live) == before


def test_a_cancelled_job_and_the_time_limit_stop_it(live: Operator) -> None:
    with at(live, "run", "--", "sh", "-c", "echo begun; sleep 600") as shown:
        shown.expect("begun")
        shown.process.terminate()  # as CI systems do; the handler of Ctrl-C takes it
        shown.expect("Stopping the task")
        assert shown.ended() == 130
    assert "interrupted; the task was stopped" in shown.screen
    late = live.run("run", "--json", "--timeout", "4", "sh", "-c", "sleep 600")
    document = json.loads(late.stdout)
    assert (late.returncode, document["error"]["code"], document["stopCode"]) == (
        124,
        124,
        "UserInitiated",
    )
    tasks = live.stage.aws.client("ecs").list_tasks(
        cluster=live.stage.cluster, family=f"{live.stage.service}-releases"
    )
    assert len(tasks["taskArns"]) == 1, "only the service's own"


def test_what_cannot_run_says_why(live: Operator) -> None:
    gone = live.run("run", "--json", "--", "no-such-program")
    document = json.loads(gone.stdout)
    assert (gone.returncode, document["exitCode"]) == (1, 1), "the entrypoint ran, and found none"
    unknown = live.run("run", "--container", "nobody", "true")
    assert (unknown.returncode, "no container is named nobody" in unknown.stderr) == (125, True)
    assert live.run("run").returncode == 125

    service = live.stage.service
    live.stage.aws.client("ecs").update_service(
        cluster=live.stage.cluster, service=service, desiredCount=0
    )
    while live.stage.described()["runningCount"]:
        time.sleep(0.2)
    nothing = live.run("run", "true")
    assert nothing.returncode == 125
    assert "no release of" in nothing.stderr and "--desired-count 1" in nothing.stderr


def test_who_may_deploy_may_not_run_commands_and_nobody_may_without_mfa(
    live: Operator, deployer: Stage, bob: Person
) -> None:
    person = Person(deployer.aws, deployer.outputs["OperatorsPolicy"])
    done = live.run("run", "true", **environment(person))
    assert done.returncode == 125
    for text in ("ecs:RunTask", "iam:PassRole", "RunPolicy", f"{live.stage.service}-task"):
        assert text in done.stderr

    keys = {"AWS_ACCESS_KEY_ID": bob.key["AccessKeyId"], "AWS_SESSION_TOKEN": ""}
    alone = live.run("run", "true", AWS_SECRET_ACCESS_KEY=bob.key["SecretAccessKey"], **keys)
    assert alone.returncode == 125
    assert "explicit deny" in alone.stderr and "aws configure mfa-login" in alone.stderr
