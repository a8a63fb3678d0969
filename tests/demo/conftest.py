"""One local AWS without a deployer, for tests of the demo's application and its images."""

from collections.abc import Iterator

import pytest

from local_aws.aws import LocalAws


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws.start() as running:
        yield running
