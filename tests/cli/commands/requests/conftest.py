"""Who makes requests here has the operators' policy and a session with MFA, and nothing more."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from demo.stage import HEALTH_CHECK, Stage
from tests.cli.commands.conftest import Operator
from tests.cli.terminal import Terminal, terminal
from tests.person import Person


@pytest.fixture(scope="session")
def ann(deployer: Stage) -> Person:
    return Person(deployer.aws, deployer.outputs["OperatorsPolicy"])


@pytest.fixture(scope="session")
def session(ann: Person) -> dict[str, str]:
    """The environment of Ann's session."""
    return environment(ann)


@pytest.fixture(scope="session")
def bob(deployer: Stage) -> Person:
    """Somebody who may run commands in tasks, too."""
    return Person(deployer.aws, *(deployer.outputs[n] for n in ("OperatorsPolicy", "RunPolicy")))


def environment(person: Person) -> dict[str, str]:
    """The environment of a new session of a person with MFA."""
    result = person.session(**person.mfa)
    return {
        "AWS_ACCESS_KEY_ID": result["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": result["SecretAccessKey"],
        "AWS_SESSION_TOKEN": result["SessionToken"],
    }


@pytest.fixture
def operator(make: Callable[..., Operator], session: dict[str, str]) -> Operator:
    """An operator of a service that was never deployed."""
    result = make()
    result.environment |= session
    return result


def at(operator: Operator, *words: str, columns: int = 100) -> AbstractContextManager[Terminal]:
    """The operator's command at a terminal."""
    return terminal(operator.command(*words), operator.env, columns=columns)


@pytest.fixture
def patient(make: Callable[..., Operator], session: dict[str, str]) -> Operator:
    """An operator of a service that gives its tasks a minute to become healthy; 1.0.0 is live."""
    check = {"command": ["CMD-SHELL", HEALTH_CHECK], "interval": 5, "startPeriod": 300}
    result = make(HealthCheck=json.dumps(check), TimeoutSeconds="600")
    result.environment |= session
    assert result.stage.deployed("1.0.0").status == "SUCCEEDED"
    return result


@pytest.fixture
def busy(patient: Operator, request: pytest.FixtureRequest) -> Iterator[tuple[Operator, str]]:
    """The operator while 1.1.0 is on its way and stays so, for 50 s or the parameter; the ARN of
    its execution."""
    stage, seconds = patient.stage, getattr(request, "param", 50)
    arn = stage.started_by(stage.release("1.1.0", fault="slow-start", seconds=seconds))
    for now in stage.follow(arn):
        if now.states and now.states[-1].name == "Poll health":
            break
    yield patient, arn
    sfn: Any = stage.aws.client("stepfunctions")
    if sfn.describe_execution(executionArn=arn)["status"] == "RUNNING":
        sfn.stop_execution(executionArn=arn)
