"""One local AWS for all tests; each test makes what it needs under its own name."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_aws.aws import LocalAws
from support import Json, Machines, received


@pytest.fixture(scope="session")
def github(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the local AWS looks for GitHub's repositories."""
    return tmp_path_factory.mktemp("github")


@pytest.fixture(scope="session")
def aws(github: Path) -> Iterator[LocalAws]:
    """A running local AWS in real time, with every shim."""
    with LocalAws.start(settings={"CODEBUILD_GITHUB": str(github)}) as running:
        yield running


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def machines(aws: LocalAws) -> Machines:
    return Machines(aws)


@pytest.fixture
def listen(aws: LocalAws, name: str) -> Iterator[Callable[[Json], Callable[[int], list[Json]]]]:
    """Call with a pattern; call the answer with a number: that many events as a queue got them."""
    sqs, bus = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]

    def start(pattern: Json) -> Callable[[int], list[Json]]:
        bus.put_rule(Name=name, EventPattern=json.dumps(pattern))
        arn = f"arn:aws:sqs:{aws.region}:{aws.account}:{name}"
        bus.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
        return lambda count: received(aws, url, count)

    yield start
    bus.remove_targets(Rule=name, Ids=["queue"])
    bus.delete_rule(Name=name)
