"""One local AWS without a deployer, for tests of the demo's application and its images."""

import uuid
from collections.abc import Iterator

import pytest

from local_aws.aws import LocalAws


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws.start() as running:
        yield running


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:8]}"
