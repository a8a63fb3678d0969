"""The deployer's code runs in the simulation while a test of it does."""

from collections.abc import Iterator

import pytest

from tests.simulation import runtime


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with runtime.installed():
        yield
