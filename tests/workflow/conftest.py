"""One local AWS and one deployer for all workflow tests; each test has a service of its own."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.aws import LocalAws
from local.stage import Stage
from tests.permissions import record

_numbers = itertools.count(1)

# Container health checks run five times as fast as ECS allows, so that a rollout takes a second.
_SETTINGS = {"ECS_HEALTH_CHECK_SCALE": "0.2"}
# The clock comes when a test asks for it, or it would settle in between what a test left open.
_SELDOM = {"ReconcileSchedule": "rate(1 day)"}
_CONNECTED = {
    "SourceRepository": "https://github.com/example/demo",
    "SourceConnectionArn": "arn:aws:codeconnections:us-east-1:000000000000:connection/0",
    "SourceService": "test-fetched",
}


@pytest.fixture(scope="session")
def github(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the local AWS looks for GitHub's repositories."""
    return tmp_path_factory.mktemp("github")


@pytest.fixture(scope="session")
def deployer(
    request: pytest.FixtureRequest, testrun_uid: str, worker_id: str, github: Path
) -> Iterator[Stage]:
    settings = {**_SETTINGS, "CODEBUILD_GITHUB": str(github)}
    with LocalAws.start(settings=settings) as aws:
        stage = Stage.set_up(aws, "test", patterns="test*", parameters=_SELDOM | _CONNECTED)
        _hurry(stage)
        yield stage
        directory = request.config.cache.mkdir("permissions")
        record.write(aws, directory, testrun_uid, worker_id)


def _hurry(stage: Stage) -> None:
    """Look at the database's snapshot after a second: it takes a tenth of one here, not minutes."""
    sfn, arn = stage.aws.client("stepfunctions"), stage.outputs["StateMachine"]
    definition = json.loads(sfn.describe_state_machine(stateMachineArn=arn)["definition"])
    for state in definition["States"].values():
        if state["Type"] == "Wait":
            state["Seconds"] = 1
    sfn.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))


@pytest.fixture
def make(deployer: Stage) -> Iterator[Callable[..., Stage]]:
    """Makes a service with its surroundings; takes parameters of infrastructure/service.yaml."""
    services = []

    def made(**parameters: str) -> Stage:
        services.append(deployer.beside(f"test-{next(_numbers)}", **parameters))
        return services[-1]

    yield made
    for service in services:
        service.end()


@pytest.fixture
def service(make: Callable[..., Stage]) -> Stage:
    """A service that was never deployed."""
    return make()


@pytest.fixture
def live(service: Stage) -> Stage:
    """A service on which release 1.0.0 is live."""
    assert service.deployed("1.0.0").status == "SUCCEEDED"
    return service
