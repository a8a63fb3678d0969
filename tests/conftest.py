"""What tests of more than one folder need, and what holds for every run."""

import itertools
import json
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.stage import Stage
from local_aws.aws import LocalAws
from tests import start, trouble, walks
from tests.progress import Progress

start.alike()


def pytest_configure(config: pytest.Config) -> None:
    walks.leave_out(config)
    if not hasattr(config, "workerinput"):  # with pytest-xdist, not in each worker again
        config.pluginmanager.register(Progress(config))


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    walks.mark(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return walks.OneLocalAws(config, log) if config.option.markexpr == walks.QUICK else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (stage := trouble.stage_in(getattr(item, "funcargs", {}))):
        report.sections.append(("the local AWS", trouble.explain(stage)))
    return report


@pytest.fixture(scope="session")
def registry() -> None:
    """The npm registry, or what stands for it in npm's configuration; without it, a test skips."""
    try:
        request = subprocess.run(["npm", "ping"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the npm registry can't be asked: {error}")
    if request.returncode:
        pytest.skip(f"the npm registry does not answer: {request.stderr.strip()[-500:]}")


# One local AWS with one deployer, for all tests of a worker that need one -----------------------

_numbers = itertools.count(1)
# Container health checks run five times as fast as ECS allows, so that a rollout takes a second.
_SETTINGS = {"ECS_HEALTH_CHECK_SCALE": "0.2"}
_PARAMETERS = {
    # The clock comes when a test asks for it, or it would settle in between what a test left open.
    "ReconcileSchedule": "rate(1 day)",
    "SourceRepository": "https://github.com/example/demo",
    "SourceConnectionArn": "arn:aws:codeconnections:us-east-1:000000000000:connection/0",
    "SourceService": "test-fetched",
    # Secrets that are not named as their services are.
    "SecretArns": "arn:aws:secretsmanager:us-east-1:000000000000:secret:elsewhere/*",
}


@pytest.fixture(scope="session")
def github(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the local AWS looks for GitHub's repositories."""
    return tmp_path_factory.mktemp("github")


@pytest.fixture(scope="session")
def deployer(request: pytest.FixtureRequest, github: Path) -> Iterator[Stage]:
    """A deployer of services whose names begin with `test`."""
    settings = {**_SETTINGS, "CODEBUILD_GITHUB": str(github)}
    with LocalAws.start(settings=settings) as aws:
        stage = Stage.set_up(aws, "test", patterns="test*", parameters=_PARAMETERS, kept=True)
        _hurry(stage)
        yield stage
        from tests.permissions import record  # it reads templates, which is slow to import

        record.write(aws, request.config.cache.mkdir("permissions"))


def _hurry(stage: Stage) -> None:
    """Look at the database's snapshot after a second: it takes a tenth of one here, not minutes."""
    sfn, arn = stage.aws.client("stepfunctions"), stage.outputs["StateMachine"]
    definition = json.loads(sfn.describe_state_machine(stateMachineArn=arn)["definition"])
    for state in definition["States"].values():
        if state["Type"] == "Wait":
            state["Seconds"] = 1
    sfn.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))


@pytest.fixture
def make_service(deployer: Stage) -> Iterator[Callable[..., Stage]]:
    """Makes a service with its surroundings; takes parameters of infrastructure/service.yaml."""
    services = []

    def made(**parameters: str) -> Stage:
        services.append(deployer.beside(f"test-{next(_numbers)}", **parameters))
        return services[-1]

    yield made
    for service in services:
        service.end()
