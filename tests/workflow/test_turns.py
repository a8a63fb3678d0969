"""One deployment at a time, the newest push wins, and no execution leaves anything open."""

import contextlib
import time

import pytest
from botocore.exceptions import ClientError

from demo import image
from demo.stage import Stage, StageError

SLOW = {"fault": "slow-start", "seconds": 3.0}


def until(stage: Stage, arn: str, state: str) -> None:
    """Wait until an execution is in a state."""
    for now in stage.follow(arn):
        if now.path[-1:] == [state]:
            return
    raise StageError(f"{arn} was never in {state}: {stage.look(arn).path}")


def assert_nothing_left(stage: Stage) -> None:
    assert [item for item in stage.items() if item["id"].startswith(("#lock", "#waiting"))] == []
    assert all("outcome" in record for record in stage.records())


def await_outcomes(stage: Stage, *digests: str, seconds: float = 120) -> None:
    """Wait until each release has its outcome, and each of the digests is one."""
    deadline = time.monotonic() + seconds
    while True:
        records = stage.records()
        known = {record["digest"] for record in records}
        if known >= {*digests} and all("outcome" in record for record in records):
            return
        assert time.monotonic() < deadline, records
        time.sleep(0.2)


def test_of_pushes_that_wait_only_the_newest_deploys(live: Stage) -> None:
    first = live.started_by(live.release("1.1.0", **SLOW))
    until(live, first, "Poll health")
    arns = []
    for version in ("1.2.0", "1.3.0", "1.4.0"):
        arns.append(live.started_by(live.release(version)))
        time.sleep(1.0)  # ECR tells push times in seconds
    ends = [live.ended(arn) for arn in (first, *arns)]

    assert [end.path[-1] for end in ends] == ["Deployed", "Skipped", "Skipped", "Deployed"]
    records = {record["version"]: record for record in live.records()}
    assert records["1.2.0"]["outcome"] == "SUPERSEDED"
    assert records["1.2.0"]["by"] in (records["1.3.0"]["id"], records["1.4.0"]["id"])
    assert records["1.3.0"]["by"] == records["1.4.0"]["id"]
    assert live.described()["taskDefinition"] == records["1.4.0"]["taskDefinition"]
    assert_nothing_left(live)


@pytest.mark.walk
def test_a_push_that_waits_has_its_turn_when_the_one_before_fails(live: Stage) -> None:
    first = live.started_by(live.release("1.1.0", fault="wrong-version"))
    until(live, first, "Poll health")
    second = live.started_by(live.release("1.2.0"))
    assert live.ended(first).error == "WrongVersion"
    assert live.ended(second).path[-1] == "Deployed"
    assert_nothing_left(live)


def test_an_event_that_comes_late_does_not_bring_an_older_push_back(live: Stage) -> None:
    rule = next(
        r["Name"]
        for r in live.aws.client("events").list_rules()["Rules"]
        if r["Name"].startswith(f"{live.stack}-PushRule")
    )
    live.aws.client("events").disable_rule(Name=rule)
    late = live.release("1.1.0")
    live.aws.client("events").enable_rule(Name=rule)
    time.sleep(1.0)
    assert live.deployed("1.2.0").path[-1] == "Deployed"

    event = live.look(live.started_by(live.records()[0]["digest"])).input
    event["detail"] |= {"image-digest": late, "image-tag": "1.1.0"}
    assert live.ended(live.start(event)).path[-1] == "Skipped"
    assert live.record(late)["outcome"] == "SUPERSEDED"


def test_a_rollback_goes_ahead_of_waiting_pushes_and_holds_them(live: Stage) -> None:
    live.deployed("1.1.0")
    running = live.started_by(live.release("1.2.0", **SLOW))
    until(live, running, "Poll health")
    waiting = live.started_by(live.release("1.3.0"))
    until(live, waiting, "Acquire lock")
    back = live.start({"action": "rollback", "to": "1.0.0", "service": live.service})

    assert live.ended(running).path[-1] == "Deployed"
    assert live.ended(back).path[-1] == "Deployed"
    assert live.ended(waiting).path[-1] == "Skipped"
    outcomes = {r["version"]: r["outcome"] for r in live.records() if r["trigger"] == "push"}
    assert outcomes["1.3.0"] in ("HELD", "SUPERSEDED")
    assert live.described()["taskDefinition"] == live.records()[0]["taskDefinition"]
    assert_nothing_left(live)


def stop_in(stage: Stage, arn: str, state: str) -> None:
    """Stop an execution as soon as it has entered a state."""
    for now in stage.follow(arn):
        if state in now.path:
            break
    with contextlib.suppress(ClientError):  # it may be over already
        stage.aws.client("stepfunctions").stop_execution(executionArn=arn)


def assert_put_right(stage: Stage, good: str) -> None:
    """The newest release gets one outcome, and the service is on a good release."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        record = stage.records()[-1]
        turn = [item for item in stage.items() if item["id"].startswith("#")]
        if "outcome" in record and not turn:
            break
        time.sleep(0.2)
    assert_nothing_left(stage)
    record = stage.records()[-1]
    if record["outcome"] == "SUCCEEDED":  # it was done before the stop came
        good = record["taskDefinition"]
    assert stage.described()["taskDefinition"] == good
    assert stage.deployed("1.2.0").path[-1] == "Deployed"


@pytest.mark.parametrize(
    "state",
    [
        "Acquire lock",
        "Check preflight",
        "Register task definition",
        "Update service",
        "Poll health",
        "Verify release",
        "Record success",
    ],
)
def test_a_stopped_execution_leaves_one_outcome_and_a_good_release(live: Stage, state: str) -> None:
    good = live.described()["taskDefinition"]
    arn = live.started_by(live.release("1.1.0", fault="slow-start", seconds=1.0))
    stop_in(live, arn, state)
    assert_put_right(live, good)


def test_an_execution_that_is_stopped_while_it_waits_is_closed_and_told(live: Stage) -> None:
    first = live.started_by(live.release("1.1.0", **SLOW))
    until(live, first, "Poll health")
    command = {"action": "deploy", "service": live.service, "image": "1.0.0"}
    waiting, behind = live.start(command), live.start(command)
    for arn in (waiting, behind):
        until(live, arn, "Acquire lock")
    stop_in(live, waiting, "Acquire lock")
    assert live.ended(first).path[-1] == live.ended(behind).path[-1] == "Deployed"
    await_outcomes(live)
    (stopped,) = (r for r in live.records() if r["execution"] == waiting)
    assert stopped["outcome"] == "FAILED"
    assert_nothing_left(live)


@pytest.mark.parametrize(
    "state",
    ["Diagnose failure", "Roll back", "Poll health of previous release", "Record failure"],
)
def test_a_rollback_that_is_stopped_is_finished(live: Stage, state: str) -> None:
    good = live.described()["taskDefinition"]
    stop_in(live, live.started_by(live.release("1.1.0", fault="wrong-version")), state)
    assert_put_right(live, good)


def test_the_clock_finds_lost_pushes_and_abandoned_turns(live: Stage) -> None:
    events = live.aws.client("events")
    rules = {rule["Name"]: rule for rule in events.list_rules()["Rules"]}
    quiet = [n for n in rules if "PushRule" in n or "ReconcileExecutionEnded" in n]
    assert len(quiet) == 2
    (clock,) = (rule for rule in rules.values() if "ScheduleExpression" in rule)
    own = {key: clock[key] for key in ("Name", "ScheduleExpression", "Description")}
    for name in quiet:
        events.disable_rule(Name=name)
    try:
        lost = [live.release("1.1.0")]
        time.sleep(1.0)
        lost.append(live.release("1.2.0"))
        # an execution that dies with the lock, and nobody tells
        live.push(image.demo_release("1.0.5", fault="slow-start", seconds=60.0), "slow")
        dead = live.start({"action": "deploy", "service": live.service, "image": "slow"})
        until(live, dead, "Poll health")
        live.aws.client("stepfunctions").stop_execution(executionArn=dead)
        time.sleep(31)  # the grace that events have
        assert all("outcome" not in r for r in live.records() if r["execution"] == dead)
        events.put_rule(**own | {"ScheduleExpression": "rate(1 minute)"})
        await_outcomes(live, *lost, seconds=180)
    finally:
        events.put_rule(**own)
        for name in quiet:
            events.enable_rule(Name=name)
    (abandoned,) = (r for r in live.records() if r["execution"] == dead)
    assert abandoned["outcome"] in ("FAILED_ROLLED_BACK", "SUPERSEDED")
    assert "recoveredBy" in abandoned
    for record in map(live.record, lost):
        assert record["execution"].endswith(f":push-{record['id']}"), "the clock started it"
    assert live.record(lost[1])["outcome"] == "SUCCEEDED"
    assert live.record(lost[0])["outcome"] in ("SUPERSEDED", "SUCCEEDED")
    assert_nothing_left(live)

    assert live.reconcile() == {"settled": [], "started": []}
