"""One local AWS without a deployer, for tests of the demo's application and its images."""

import io
import tarfile
import uuid
from collections.abc import Iterator

import pytest

from demo.oci import Image
from local_aws.aws import LocalAws


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws.start() as running:
        yield running


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:8]}"


def members(image: Image) -> dict[str, tarfile.TarInfo]:
    """The files in an image's layers, by name."""
    matches: dict[str, tarfile.TarInfo] = {}
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
            matches |= {member.name: member for member in archive}
    return matches
