"""Each test has a service of its own, of the worker's deployer."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from cli.executions import Execution
from demo.stage import Stage

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def route(done: Execution) -> list[str]:
    """Return the states of an execution, without its further looks at the lock.

    An execution that ends just before it, or the reconciler, may wake it to look again.
    """
    states: list[str] = []
    for state in done.path:
        if state in ("Stop older build", "Acquire lock") and state in states:
            del states[states.index(state) :]
        states.append(state)
    return states


@pytest.fixture
def make(make_service: Callable[..., Stage]) -> Callable[..., Stage]:
    """Makes a service with its surroundings; takes parameters of infrastructure/service.yaml."""
    return make_service


@pytest.fixture
def service(make: Callable[..., Stage]) -> Stage:
    """A service that was never deployed."""
    return make()


@pytest.fixture
def live(service: Stage) -> Stage:
    """A service on which release 1.0.0 is live."""
    assert service.deployed("1.0.0").status == "SUCCEEDED"
    return service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium that is installed; without one, a test skips."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield launched
        launched.close()
