"""What tests of more than one folder need, and what holds for every run."""

import subprocess
from collections.abc import Generator

import pytest

from tests import start, trouble
from tests.progress import Progress

start.alike()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with pytest-xdist, not in each worker again
        config.pluginmanager.register(Progress(config))


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
        asked = subprocess.run(["npm", "ping"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the npm registry can't be asked: {error}")
    if asked.returncode:
        pytest.skip(f"the npm registry does not answer: {asked.stderr.strip()[-500:]}")
