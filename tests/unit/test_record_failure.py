"""What failed, why, and what became of the service: in the record and in the execution."""

import json
from typing import Any, cast

import pytest

import record_failure
from deployer.deploy import diagnosis
from deployer.deploy.announcement import announcement
from deployer.store import locks, releases
from tests.unit.conftest import Script, items, refusal
from tests.unit.samples import (
    ANOTHER_EXECUTION,
    OLD_REVISION,
    REVISION,
    before,
    crashed,
    document,
    lock_request,
    payload,
    push_event,
    release,
    service,
)

pytestmark = pytest.mark.usefixtures("releases_table")

CRASH = diagnosis.diagnose(
    {"Error": "RolloutFailed", "Cause": "3 new tasks failed"}, [crashed()], [], ["panic"]
)
WENT_BACK = {"action": "ROLL_BACK", "reason": "going back to 2.0.0"}


def record(service: str = "coder") -> Any:
    (result,) = items(service)
    return result


@pytest.mark.parametrize(
    ("rollback", "restored", "outcome"),
    [
        (WENT_BACK, True, "FAILED_ROLLED_BACK"),
        (WENT_BACK, False, "FAILED"),
        ({**WENT_BACK, "schedules": "nightly was refused"}, True, "FAILED"),
        ({"action": "STOP", "reason": "no previous release"}, False, "FAILED"),
        (None, False, "FAILED"),
    ],
)
def test_a_failure_is_recorded_with_what_became_of_the_service(
    context: Any, rollback: Any, restored: bool, outcome: str
) -> None:
    releases.open_release(release())
    given = payload(diagnosis=CRASH, rollback=rollback, restored=restored)
    output = record_failure.handler(given, context)
    assert output["outcome"] == record()["outcome"] == outcome
    assert output["error"] == "RolloutFailed"
    assert output["cause"] == record()["reason"]
    assert "3 new tasks failed" in output["cause"]
    assert record()["diagnosis"] == CRASH
    assert record()["rollback"] == rollback
    left = "schedules could not be put back: nightly was refused. `deployer doctor`"
    assert (left in output["cause"]) == bool(rollback and "schedules" in rollback)
    assert record()["taskDefinition"] == REVISION


NOTED = {
    "before": {"instance": "coder-db", "host": "old"},
    "after": {"instance": "coder-db-2", "host": "new"},
}


@pytest.mark.parametrize(
    ("described", "rollback", "says"),
    [
        ({}, None, None),
        ({"restoration": NOTED}, None, "may point to the restored coder-db-2"),
        (
            {"restoration": NOTED, "databaseInstance": "coder-db-2"},
            WENT_BACK,
            "points to the restored coder-db-2",
        ),
        (
            {"restoration": NOTED, "databaseInstance": None},
            {**WENT_BACK, "database": "coder-db"},
            "points to coder-db again.",
        ),
    ],
    ids=["not switched", "perhaps", "switched", "switched back"],
)
def test_a_failed_restoration_says_where_the_secret_leads(
    context: Any, described: Any, rollback: Any, says: str | None
) -> None:
    back = release(restore="a-snapshot")
    releases.open_release(back)
    releases.note(back, **described or {"x": 1})
    record_failure.handler(payload(release=back, rollback=rollback), context)
    assert says is None or says in record()["reason"]
    assert ("secret" in record()["reason"]) == (says is not None)


@pytest.mark.parametrize(("end", "named"), [({}, True), ({"endedAt": "2026-11-23"}, False)])
def test_a_task_that_could_not_be_stopped_is_named(context: Any, end: Any, named: bool) -> None:
    releases.open_release(release())
    releases.note(release(), before={"task": "arn:task", **end})
    spec = document(before={"command": ["migrate"]})
    record_failure.handler(payload(spec=spec), context)
    stop = "aws ecs stop-task --cluster coder --task arn:task"
    assert (stop in record()["reason"]) is named


def test_a_failure_that_nobody_diagnosed_is_explained_by_its_error(context: Any) -> None:
    failure = {"Error": "PreflightFailed", "Cause": '{"errorMessage": "cluster x is missing"}'}
    output = record_failure.handler(payload(failure=failure), context)
    assert output["error"] == "PreflightFailed"
    assert output["cause"].startswith("cluster x is missing")


@pytest.mark.parametrize(
    ("requested", "service"), [(push_event(), "repository:coder"), ("gibberish", "unknown")]
)
def test_an_input_that_was_never_a_release_has_a_record_too(
    context: Any, requested: Any, service: str
) -> None:
    failure = {"Error": "ServiceUnknown", "Cause": "no spec"}
    given = {"input": requested, "release": None, "taskDefinition": None, "previous": None}
    record_failure.handler(payload(failure=failure, **given), context)
    assert record(service)["outcome"] == "FAILED"


def test_a_push_that_its_service_was_told_of_is_announced_once(
    context: Any, script: Script
) -> None:
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    failure = {"Error": "SpecInvalid", "Cause": "timeout"}
    given = payload(input=push_event(), release=None, failure=failure)
    releases.put_off(release(), {"reason": "timeout"})
    record_failure.handler(given, context)
    assert script.requests("PutEvents") == []
    assert record("repository:coder")["outcome"] == "FAILED", "for the reconciler"
    given = payload(**{**given, "execution": ANOTHER_EXECUTION})
    record_failure.handler(given, context)
    assert len(script.requests("PutEvents")) == 1


def test_recording_twice_is_recording_once(context: Any) -> None:
    record_failure.handler(payload(diagnosis=CRASH), context)
    first = record()
    record_failure.handler(payload(diagnosis=CRASH, restored=True), context)
    assert record() == first


def test_two_executions_that_could_not_be_read_have_two_records(context: Any) -> None:
    for execution in (payload()["execution"], ANOTHER_EXECUTION):
        given = payload(input="gibberish", release=None, execution=execution)
        record_failure.handler(given, context)
    assert len(items("unknown")) == 2


def test_the_turn_is_passed_on_and_who_waited_waits_no_more(context: Any, script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    releases.open_release(release())
    locks.acquire("coder", lock_request())
    locks.enqueue("coder", lock_request())
    locks.enqueue(
        "coder", lock_request(release="next", execution=ANOTHER_EXECUTION, token="next's")
    )
    record_failure.handler(payload(diagnosis=CRASH), context)
    line = locks.queue("coder")
    assert line.holder is None
    assert [entry["release"] for entry in line.waiting] == ["next"]
    assert [request["taskToken"] for request in script.requests("SendTaskSuccess")] == ["next's"]


def test_who_failed_without_the_turn_leaves_it_to_its_holder(context: Any, script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    locks.acquire("coder", lock_request(release="theirs", execution=ANOTHER_EXECUTION))
    record_failure.handler(payload(failure={"Error": "LockTimedOut", "Cause": "…"}), context)
    holder = locks.queue("coder").holder
    assert holder and holder["release"] == "theirs"


STEADY = {**WENT_BACK, "rollout": {"id": "ecs-svc/9", "taskDefinition": OLD_REVISION}}


@pytest.mark.parametrize(
    ("rollback", "restored", "what", "verified", "subject"),
    [
        (STEADY, True, "2.0.0", True, "failed and was rolled back"),
        (STEADY, False, "2.1.0", False, "failed, and so did its rollback"),
        ({"action": "LEAVE", "reason": "the schema grew"}, False, "2.1.0", False, "failed"),
    ],
)
def test_what_serves_and_what_was_verified_last_are_told_apart(
    context: Any, script: Script, rollback: Any, restored: bool, what: str, verified: bool,
    subject: str,
) -> None:  # fmt: skip
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    runs = before(status="PRIMARY", taskDefinition=REVISION, runningCount=1)
    script("ecs", "DescribeServices", {"services": [service(runs)], "failures": []})
    last = release(id="20261122T000000Z-cdcdcdcdcdcd", version="2.0.0", execution="before")
    releases.close_release(last, "SUCCEEDED", {"taskDefinition": OLD_REVISION})
    releases.open_release(release())
    releases.note(release(), taskDefinition=REVISION)
    record_failure.handler(payload(rollback=rollback, restored=restored), context)
    found = releases.find("coder", release()["id"])
    output = json.loads(script.requests("PutEvents")[0]["Entries"][0]["Detail"])
    assert found
    for facts in (cast(Any, found), output):
        assert facts["verified"] == {"release": last["id"], "version": "2.0.0"}
        assert (facts["serves"]["what"], facts["serves"]["verified"]) == (what, verified)
    mended = f"deployer rollback {last['id']}" in found["reason"]
    assert mended != verified
    message = announcement(output)
    assert message.subject == f"coder 2.1.0 {subject}"
    assert "Last verified: 2.0.0" in message.text
    assert f"Serves: {what}{'' if verified else ', not verified'}\n" in message.text


def test_a_failure_is_recorded_though_what_serves_cannot_be_seen(
    context: Any, script: Script
) -> None:
    script("ecs", "DescribeServices", refusal("AccessDeniedException"))
    record_failure.handler(payload(diagnosis=CRASH), context)
    assert record()["outcome"] == "FAILED" and "serves" not in record()
