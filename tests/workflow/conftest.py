"""Each test has a service of its own, of the worker's deployer."""

from collections.abc import Callable

import pytest

from demo.stage import Stage


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
