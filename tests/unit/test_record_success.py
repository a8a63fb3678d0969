"""Live means verified: the record says what is live, since when and where."""

import json
from typing import Any

import pytest

import record_success
from deployer.store import locks, releases
from tests.unit.conftest import Script
from tests.unit.samples import ANOTHER_EXECUTION, REVISION, document, lock_request, payload, release

pytestmark = pytest.mark.usefixtures("lock_held")

LIVE = {
    "addresses": {"url": "http://198.51.100.1:3000", "tasks": ["http://198.51.100.1:3000"]},
    "probes": {"/x#id": "a"},
}


def record() -> Any:
    (found,) = releases.history("coder")
    return found


def test_a_release_that_is_live_is_recorded_with_all_that_is_known(context: Any) -> None:
    releases.open_release(release())
    output = record_success.handler(payload(**LIVE), context)
    assert output["outcome"] == record()["outcome"] == "SUCCEEDED"
    assert (output["version"], output["url"]) == ("2.1.0", "http://198.51.100.1:3000")
    assert record()["taskDefinition"] == REVISION
    assert record()["probes"] == {"/x#id": "a"}
    assert record()["url"] == "http://198.51.100.1:3000"
    assert record()["endedAt"] > record()["startedAt"]


def test_what_schedules_were_is_needed_no_more(context: Any) -> None:
    releases.open_release(release())
    note: Any = {"before": {"nightly": {"State": "ENABLED"}}, "names": ["nightly"]}
    releases.note_schedules(release(), note)
    record_success.handler(payload(**LIVE), context)
    assert record()["schedules"] == {"before": {}, "names": ["nightly"]}


def test_recording_twice_is_recording_once(context: Any) -> None:
    releases.open_release(release())
    record_success.handler(payload(**LIVE), context)
    first = record()
    record_success.handler(payload(**LIVE), context)
    assert record() == first


def test_the_turn_is_passed_on(context: Any, script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    releases.open_release(release())
    locks.enqueue(
        "coder", lock_request(release="next", execution=ANOTHER_EXECUTION, token="next's")
    )
    record_success.handler(payload(**LIVE), context)
    assert locks.queue("coder").holder is None
    assert [request["taskToken"] for request in script.requests("SendTaskSuccess")] == ["next's"]


def test_the_successes_beyond_those_that_are_kept_go(context: Any) -> None:
    for number in range(1, 5):
        old = release(id=f"2026112{number}T000000Z-aaaaaaaaaaaa", execution=f"execution-{number}")
        ended = {"endedAt": f"2026-11-2{number}T00:00:00+00:00"}
        releases.close_release(old, "FAILED" if number == 3 else "SUCCEEDED", ended)
    failed = releases.find("coder", "20261123T000000Z-aaaaaaaaaaaa")
    for _ in range(2):
        record_success.handler(payload(**LIVE, spec=document(keepReleases=2)), context)
        kept = {r["id"][6:8] for r in releases.history("coder") if "expiresAt" not in r}
        assert kept == {"24", "23"}, "the newest one before, and the one that is live now"
    assert releases.find("coder", "20261123T000000Z-aaaaaaaaaaaa") == failed


def began(rollout_id: str, **changes: Any) -> dict[str, Any]:
    """What an earlier release, 2.0.0, had of rollouts."""
    result = payload()["rollout"]
    return {"rollout": {**result, "id": rollout_id}, **changes}


OURS = payload()["rollout"]["id"]
BACK = {"action": "ROLL_BACK", "reason": "it failed", "rollout": {"id": OURS}}


@pytest.mark.parametrize(
    ("earlier", "was_running", "deployed"),
    [
        (began(OURS), True, False),
        (began("another", rollback=BACK), True, False),
        (began("another"), True, True),
        (began(OURS), False, True),
        (None, True, True),
    ],
    ids=["it runs", "put back", "another runs", "scaled to zero", "the first release"],
)
def test_a_second_tag_on_what_runs_deploys_nothing_and_says_so(
    context: Any, script: Script, earlier: Any, was_running: bool, deployed: bool
) -> None:
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    if earlier:
        first = release(id="20261123T000000Z-aaaaaaaaaaaa", version="2.0.0", execution="first")
        ended = {"endedAt": "2026-11-23T14:25:05+00:00"}  # after the other one had started
        releases.close_release(first, "SUCCEEDED", ended | earlier)
    releases.open_release(release())
    releases.note(release(), wasRunning=was_running, rollout=payload()["rollout"])
    record_success.handler(payload(**LIVE), context)
    found = releases.find("coder", release()["id"])
    (request,) = script.requests("PutEvents")
    output = json.loads(request["Entries"][0]["Detail"])
    assert found and found["outcome"] == "SUCCEEDED"
    assert found["deployed"] is output["deployed"] is deployed
    assert found["reason"] == output["reason"]
    assert ("nothing was deployed" in found["reason"]) is not deployed
    assert deployed or "of 2.0.0 (20261123T000000Z-aaaaaaaaaaaa)" in found["reason"]
