"""Live means verified: the record says what is live, since when and where."""

from typing import Any

import pytest

import record_success
from deployer.aws import releases
from tests.unit.samples import REVISION, payload, release

pytestmark = pytest.mark.usefixtures("releases_table")

LIVE = {
    "addresses": {"url": "http://198.51.100.1:3000", "tasks": ["http://198.51.100.1:3000"]},
    "probes": {"/x#id": "a"},
}


def record() -> Any:
    (found,) = releases.history("coder")
    return found


def test_a_release_that_is_live_is_recorded_with_all_that_is_known(context: Any) -> None:
    releases.open_release(release())
    told = record_success.handler(payload(**LIVE), context)
    assert told["outcome"] == record()["outcome"] == "SUCCEEDED"
    assert (told["version"], told["url"]) == ("2.1.0", "http://198.51.100.1:3000")
    assert record()["taskDefinition"] == REVISION
    assert record()["probes"] == {"/x#id": "a"}
    assert record()["url"] == "http://198.51.100.1:3000"
    assert record()["endedAt"] > record()["startedAt"]


def test_recording_twice_is_recording_once(context: Any) -> None:
    releases.open_release(release())
    record_success.handler(payload(**LIVE), context)
    first = record()
    record_success.handler(payload(**LIVE), context)
    assert record() == first
