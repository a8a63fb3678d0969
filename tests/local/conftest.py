"""One local AWS for all tests of `local/`; each test makes what it needs under its own name."""

import uuid
from collections.abc import Iterator

import pytest

from local.aws import LocalAws


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """A running local AWS in real time, with every shim."""
    with LocalAws.start() as running:
        yield running


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:8]}"
