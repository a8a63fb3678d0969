"""What executions left open is closed or put right, and pushes that were missed are started."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

import reconcile
from deployer import requests
from deployer.aws import client, s3
from deployer.build import image_build
from deployer.deploy import reconciliation
from deployer.deploy.release import release_id, unidentified
from deployer.docs import site
from deployer.requests import Push, Recover
from deployer.store import builds, locks, releases, table
from tests.unit.conftest import Machine, Script
from tests.unit.samples import (
    DIGEST,
    OTHER_DIGEST,
    document,
    lock_request,
    manifest,
    push_event,
    release,
)

pytestmark = pytest.mark.usefixtures("releases_table")

CLOCK = {"detail-type": "Scheduled Event"}


@pytest.fixture
def woken(script: Script) -> Any:
    script("stepfunctions", "SendTaskSuccess", {})
    return lambda: [request["taskToken"] for request in script.requests("SendTaskSuccess")]


@pytest.fixture
def world(machine: Machine, woken: Any, announced: Any, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine, a spec for a service, nobody who sleeps or listens, and no sources."""
    for name in ("BUILD", "DOCS"):
        monkeypatch.setenv(name, machine.arn)
    monkeypatch.setenv("SOURCES", "sources")
    client("s3").create_bucket(Bucket="sources")
    describe("coder")
    return machine


def describe(service: str, **changes: Any) -> None:
    client("ssm").put_parameter(
        Name=f"/deployer/services/{service}",
        Value=json.dumps(document(service=service, **changes)),
        Type="String",
    )


def started(machine: Machine, name: str = "one", turn: bool = False, **changes: Any) -> Any:
    """A release in flight, whose execution runs; with the lock or in line for it."""
    entry = release(execution=machine.start(name), **changes)
    releases.open_release(entry)
    mine = lock_request(release=entry["id"], execution=entry["execution"], token=f"token-{name}")
    if turn:
        locks.acquire("coder", mine)
        releases.note(entry, lockedAt="2026-11-23T14:26:00+00:00")
    else:
        locks.enqueue("coder", mine)
    return entry


def ended(execution: str, given: Any = None, status: str = "ABORTED") -> Any:
    """The status change as Step Functions tells it.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    return {
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {
            "executionArn": execution,
            "stateMachineArn": "arn",
            "name": execution.rsplit(":", 1)[-1],
            "status": status,
            "startDate": 1_795_444_202_123,
            "stopDate": 1_795_444_300_000,
            "input": json.dumps(given or push_event()),
        },
    }


def run(event: Any, context: Any) -> Any:
    return reconcile.handler(event, context)


NOTHING: Any = {"settled": [], "started": []}


def record(of: Any) -> Any:
    return releases.find(of["service"], of["id"])


def recoveries(machine: Machine) -> list[Any]:
    calls = [requests.parse(given) for name, given in machine.executions().items() if "rec" in name]
    return [one for one in calls if isinstance(one, Recover)]


# an execution ended


def test_a_release_that_never_had_its_turn_is_closed(
    world: Machine, announced: Any, context: Any
) -> None:
    mine = started(world)
    world.stop(mine["execution"])
    assert run(ended(mine["execution"]), context) == {"settled": [mine["id"]], "started": []}
    assert record(mine)["outcome"] == "FAILED"
    assert "was not changed" in record(mine)["reason"] and "endedAt" in record(mine)
    assert locks.queue("coder").waiting == []
    assert announced() == ["FAILED"]
    assert recoveries(world) == []


def test_a_release_that_had_the_turn_is_recovered_from(
    world: Machine, announced: Any, context: Any
) -> None:
    mine = started(world, turn=True)
    world.stop(mine["execution"])
    assert run(ended(mine["execution"]), context)["settled"] == [mine["id"]]
    assert recoveries(world) == [Recover("coder", mine["id"])]
    assert "outcome" not in record(mine), "the recovery closes it"
    assert locks.queue("coder").holder, "the lock is the recovery's to take"
    assert announced() == []


def test_a_release_whose_turn_another_took_since_is_recovered_from(
    world: Machine, announced: Any, context: Any
) -> None:
    """The other may fail before it changes the service; if it does not, Acquire lock skips the
    recovery."""
    mine = started(world, turn=True)
    other = started(world, "other", id="20261123T150000Z-other")
    world.stop(mine["execution"])
    theirs = lock_request(release=other["id"], execution=other["execution"])
    assert locks.acquire("coder", theirs, instead_of=mine["execution"])
    assert run(ended(mine["execution"]), context)["settled"] == [mine["id"]]
    assert recoveries(world) == [Recover("coder", mine["id"])]
    assert "outcome" not in record(mine)
    holder = locks.queue("coder").holder
    assert holder and holder["execution"] == other["execution"]


def test_a_release_that_was_recorded_passes_its_turn_on(
    world: Machine, woken: Any, announced: Any, context: Any
) -> None:
    """It was stopped after its record was closed and before it had given the lock up."""
    mine = started(world, turn=True)
    releases.close_release(mine, "SUCCEEDED", {"reason": "live"})
    started(world, "next", id="20261123T150000Z-next")
    world.stop(mine["execution"])
    assert run(ended(mine["execution"]), context) == NOTHING
    assert record(mine)["outcome"] == "SUCCEEDED"
    assert locks.queue("coder").holder is None
    assert woken() == ["token-next"]
    assert announced() == []


def test_an_execution_whose_push_another_carries_out_leaves_that_alone(
    world: Machine, announced: Any, context: Any
) -> None:
    """The event came twice, and the second execution was stopped."""
    mine = started(world)
    twin = world.start("twin")
    releases.open_release(release(execution=twin))
    world.stop(twin)
    assert run(ended(twin), context) == NOTHING
    assert "outcome" not in record(mine)
    assert [entry["release"] for entry in locks.queue("coder").waiting] == [mine["id"]]
    assert announced() == []


def test_an_event_that_comes_again_leaves_the_recovery_alone(world: Machine, context: Any) -> None:
    mine = started(world, turn=True)
    world.stop(mine["execution"])
    run(ended(mine["execution"]), context)
    run(ended(mine["execution"]), context)
    assert recoveries(world) == [Recover("coder", mine["id"])]
    (name,) = world.executions()
    recovery = sfn_arn(world, name)
    releases.carry_out(recovery, mine)
    releases.note(mine, recoveredBy=recovery, recoveredAt=mine["startedAt"])
    locks.enqueue("coder", lock_request(release=mine["id"], execution=recovery))
    assert run(ended(mine["execution"]), context) == NOTHING
    assert "outcome" not in record(mine)
    assert len(locks.queue("coder").waiting) == 1


def sfn_arn(machine: Machine, name: str) -> str:
    return f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"


def test_a_push_that_died_before_its_record_is_left_to_the_clock(
    world: Machine, context: Any
) -> None:
    assert run(ended(world.start("one")), context) == NOTHING
    assert releases.undecided("coder") == [], "else it would be started less and less often"


def test_an_order_that_died_before_its_record_has_one(world: Machine, context: Any) -> None:
    command = {"action": "rollback", "to": "previous", "service": "coder"}
    execution = world.start("one")
    for _ in range(2):
        run(ended(execution, command, "TIMED_OUT"), context)
    left = unidentified(command, execution, "2026-11-23T14:30:02.123+00:00")
    assert record(left)["outcome"] == "FAILED"
    assert record(left)["reason"] == "its execution was TIMED_OUT"
    assert run(ended(execution, command), context) == NOTHING


@pytest.mark.parametrize("given", ["{", "[" * 50_000, None, "[]", '"x"'])
def test_an_input_that_can_not_be_read_has_a_record_too(
    world: Machine, context: Any, given: Any
) -> None:
    event = ended(world.start("one"))
    event["detail"]["input"] = given
    assert len(run(event, context)["settled"]) == 1
    assert releases.undecided("coder") == []


# by the clock


def test_the_clock_closes_and_recovers_from_what_nobody_told_of(
    world: Machine, context: Any
) -> None:
    had_it = started(world, "had-it", turn=True)
    waited = started(world, "waited", id="20261123T150000Z-waited")
    alive = started(world, "alive", id="20261123T160000Z-alive")
    for release_ in (had_it, waited):
        world.stop(release_["execution"])
    assert set(run(CLOCK, context)["settled"]) == {had_it["id"], waited["id"]}
    assert recoveries(world) == [Recover("coder", had_it["id"])]
    assert record(waited)["outcome"] == "FAILED"
    assert "outcome" not in record(alive)
    assert [entry["release"] for entry in locks.queue("coder").waiting] == [alive["id"]]


def test_the_clock_leaves_what_runs_alone(world: Machine, context: Any) -> None:
    mine = started(world, turn=True)
    assert run(CLOCK, context) == NOTHING
    assert "outcome" not in record(mine)
    assert locks.queue("coder").holder


def test_the_clock_passes_on_the_turn_of_an_execution_that_is_over(
    world: Machine, context: Any
) -> None:
    mine = started(world, turn=True)
    releases.close_release(mine, "SUCCEEDED", {})
    world.stop(mine["execution"])
    run(CLOCK, context)
    assert locks.queue("coder").holder is None


def test_the_clock_takes_out_of_the_line_who_is_over(world: Machine, context: Any) -> None:
    over, waits = world.start("over"), world.start("waits")
    world.stop(over)
    locks.enqueue("coder", lock_request(release="20261123T140000Z-over", execution=over))
    locks.enqueue("coder", lock_request(release="20261123T140001Z-waits", execution=waits))
    run(CLOCK, context)
    assert [left["execution"] for left in locks.queue("coder").waiting] == [waits]


@pytest.mark.parametrize("noted", [True, False], ids=["it was identified", "it never began"])
def test_the_clock_recovers_again_where_a_recovery_died(
    world: Machine, context: Any, noted: bool
) -> None:
    """Before it acquired the lock of the execution from which it was to recover."""
    mine = started(world, turn=True)
    world.stop(mine["execution"])
    run(ended(mine["execution"]), context)
    (first,) = world.executions()
    recovery = sfn_arn(world, first)
    if noted:
        releases.carry_out(recovery, mine)
        releases.note(mine, recoveredBy=recovery, recoveredAt=mine["startedAt"])
        assert run(CLOCK, context) == NOTHING, "it runs"
    world.stop(recovery)
    command = {"action": "recover", "service": "coder", "release": mine["id"]}
    run(ended(recovery, command), context)
    assert "outcome" not in record(mine)
    assert run(CLOCK, context)["settled"] == [mine["id"]]
    assert recoveries(world) == [Recover("coder", mine["id"])]
    assert first not in world.executions()


def test_a_broken_spec_stops_its_own_service_only(world: Machine, context: Any) -> None:
    describe("broken", timeout=1)
    mine = started(world)
    world.stop(mine["execution"])
    assert run(CLOCK, context)["settled"] == [mine["id"]]


# missed pushes

LATELY = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def pushed(script: Script, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The images that a repository lists, by minutes since their push; the table is a year old."""
    monkeypatch.setattr(table, "created", lambda: LATELY - timedelta(days=365))

    def lists(*images: tuple[float, str, str]) -> None:
        details = [
            {
                "imageDigest": digest,
                "imageTags": [tag],
                "imagePushedAt": LATELY - timedelta(minutes=minutes),
            }
            for minutes, tag, digest in images
        ]
        script("ecr", "DescribeImages", {"imageDetails": details})

    return lists


def name(minutes: float, digest: str = DIGEST, tag: str = "2.1.0") -> str:
    return f"push-{release_id(LATELY - timedelta(minutes=minutes), digest, tag)}"


def test_a_push_of_which_no_event_told_is_started(
    world: Machine, pushed: Any, context: Any
) -> None:
    pushed((5, "2.1.0", DIGEST), (9, "2.0.0", OTHER_DIGEST))
    assert run(CLOCK, context)["started"] == [name(9, OTHER_DIGEST, "2.0.0"), name(5)]
    request = {named: requests.parse(given) for named, given in world.executions().items()}
    assert request[name(5)] == Push(
        "coder", DIGEST, "2.1.0", LATELY - timedelta(minutes=5), reconciled=True
    )


def test_a_push_that_was_started_is_not_started_again_while_it_runs(
    world: Machine, pushed: Any, context: Any
) -> None:
    pushed((5, "2.1.0", DIGEST))
    client("stepfunctions").start_execution(
        stateMachineArn=world.arn, name=name(5), input='{"by": "an earlier round"}'
    )
    assert run(CLOCK, context) == NOTHING
    assert list(world.executions()) == [name(5)]


def test_a_push_whose_execution_died_before_its_record_is_started_again(
    world: Machine, pushed: Any, context: Any
) -> None:
    pushed((5, "2.1.0", DIGEST))
    run(CLOCK, context)
    world.stop(sfn_arn(world, name(5)))
    run(ended(sfn_arn(world, name(5))), context)
    assert run(CLOCK, context)["started"] == [name(5)]
    assert list(world.executions()) == [f"{name(5)}-2"]


@pytest.mark.parametrize(
    "outcome", ["SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED", "HELD", "IGNORED"]
)
def test_a_push_that_has_its_outcome_is_not_started_again(
    world: Machine, pushed: Any, context: Any, outcome: Any
) -> None:
    pushed((5, "2.1.0", DIGEST))
    known = release(id=release_id(LATELY - timedelta(minutes=5), DIGEST))
    releases.close_release(known, outcome, {})
    assert run(CLOCK, context) == NOTHING


@pytest.mark.parametrize(
    ("minutes", "tag"),
    [(5, "nightly"), (8 * 24 * 60, "2.1.0")],
    ids=["another tag", "older than a week"],
)
def test_what_was_not_missed_is_not_started(
    world: Machine, pushed: Any, context: Any, minutes: float, tag: str
) -> None:
    pushed((minutes, tag, DIGEST))
    assert run(CLOCK, context) == NOTHING


def test_a_push_whose_event_may_be_on_its_way_is_not_started(
    world: Machine, pushed: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "GRACE", timedelta(hours=1))
    pushed((5, "2.1.0", DIGEST), (120, "2.0.0", OTHER_DIGEST))
    assert run(CLOCK, context)["started"] == [name(120, OTHER_DIGEST, "2.0.0")]


def test_a_push_that_could_not_be_decided_is_not_started_again_at_once(
    world: Machine, pushed: Any, context: Any
) -> None:
    pushed((5, "2.1.0", DIGEST), (6, "2.0.0", OTHER_DIGEST))
    lost = unidentified(push_event(), world.start("one"), LATELY.isoformat())
    releases.close_release(lost, "FAILED", {"reason": "no spec"})
    assert run(CLOCK, context)["started"] == [name(6, OTHER_DIGEST, "2.0.0")]


def test_pushes_that_have_a_record_are_not_asked_after_one_by_one(
    world: Machine, pushed: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed((5, "2.1.0", DIGEST), (6, "2.0.0", OTHER_DIGEST))
    for minutes, tag, digest in ((5, "2.1.0", DIGEST), (6, "2.0.0", OTHER_DIGEST)):
        known = release(
            id=release_id(LATELY - timedelta(minutes=minutes), digest, tag), digest=digest, tag=tag
        )
        releases.close_release(known, "SUCCEEDED", {})
    knows = Mock()
    monkeypatch.setattr(releases, "knows_tag", knows)
    assert run(CLOCK, context) == NOTHING
    knows.assert_not_called()


def test_a_push_that_was_ignored_is_not_started_again_unless_ecr_did_not_show_it(
    world: Machine, pushed: Any, context: Any
) -> None:
    pushed((5, "2.1.0", DIGEST), (6, "2.0.0", OTHER_DIGEST))
    at = LATELY - timedelta(minutes=5)
    releases.ignore_push(release(pushedAt=at.isoformat()), "the wrong platform", at)
    unseen = release(tag="2.0.0", digest=OTHER_DIGEST, id="20261123T142502Z-unseen")
    releases.ignore_push(unseen, "ECR does not show it", None)
    assert run(CLOCK, context)["started"] == [name(6, OTHER_DIGEST, "2.0.0")]


def test_a_push_of_before_the_deployer_was_set_up_is_not_started(
    world: Machine, pushed: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed((5, "2.1.0", DIGEST), (3, "2.1.1", OTHER_DIGEST))
    monkeypatch.setattr(table, "created", lambda: LATELY - timedelta(minutes=4))
    assert run(CLOCK, context)["started"] == [name(3, OTHER_DIGEST, "2.1.1")]


def test_a_service_whose_repository_is_not_there_stops_no_other(
    world: Machine, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "created", lambda: LATELY - timedelta(days=365))
    monkeypatch.setattr(reconciliation, "GRACE", timedelta())
    describe("another", repository="nobody", tags="x")
    client("ecr").create_repository(repositoryName="coder")
    client("ecr").put_image(
        repositoryName="coder", imageManifest=json.dumps(manifest()), imageTag="2.1.0"
    )
    assert len(run(CLOCK, context)["started"]) == 1


def test_a_recoverys_name_is_the_same_for_the_same_end(world: Machine, context: Any) -> None:
    mine = started(world, turn=True)
    world.stop(mine["execution"])
    run(ended(mine["execution"]), context)
    named = reconciliation.recovery_name(mine["id"], mine["execution"])
    assert list(world.executions()) == [named]


# builds, and what was uploaded


def building(machine: Machine) -> Any:
    """A build in flight that holds the lock."""
    source: Any = {"key": "image/coder/v1.tar.gz", "version": "1", "etag": "abc", "size": 7}
    source["at"] = "2026-11-23T14:25:02+00:00"
    upload: Any = image_build.parse(s3_event("image/coder/v1.tar.gz"))
    result: Any = image_build.entry(upload, source, "", LATELY)
    result["execution"] = machine.start("build")
    releases.open_release(result)
    mine = lock_request(release=result["id"], execution=result["execution"])
    locks.acquire("build:coder", mine)
    return result


def s3_event(key: str) -> Any:
    return {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {"bucket": {"name": "sources"}, "object": {"key": key}},
    }


@pytest.mark.parametrize("event", ["its status change", "the clock"])
def test_a_build_whose_execution_is_over_is_closed_and_its_content_free(
    event: str, world: Machine, announced: Any, context: Any
) -> None:
    result = building(world)
    builds.claim(result)
    given = (
        ended(result["execution"], s3_event(result["source"]["key"]))
        if event != "the clock"
        else CLOCK
    )
    assert run(CLOCK, context)["settled"] == [], "it runs"
    world.stop(result["execution"])
    assert run(given, context)["settled"] == [result["id"]]
    assert (record(result)["outcome"], announced()) == ("FAILED", ["FAILED"])
    assert locks.queue("build:coder").holder is None
    assert (
        image_build.already_built(record(result), result | {"id": "later"}, [record(result)])
        is None
    )
    assert recoveries(world) == [], "there is nothing to put right"


@pytest.mark.parametrize("owner", ["coder's image", "a site"])
def test_an_upload_of_which_no_event_told_is_started_once(
    owner: str, world: Machine, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "created", lambda: LATELY - timedelta(days=365))
    client("ssm").put_parameter(Name="/deployer/docs/guide", Value="{}", Type="String")
    key = "image/coder/v1.tar.gz" if owner == "coder's image" else "docs/guide/v1.tar.gz"
    for name in (key, "image/coder/readme.txt", "image/other/v1.tar.gz"):
        client("s3").put_object(Bucket="sources", Key=name, Body=b"sources")
    assert run(CLOCK, context)["started"] == [], "its event may be on its way"
    monkeypatch.setattr(reconciliation, "GRACE", timedelta(0))
    (started,) = run(CLOCK, context)["started"]
    given = world.executions()[started]
    upload: Any = image_build.parse(given) if "image/" in key else site.parse(given)
    assert upload.key == key
    world.stop(world.arn.replace(":stateMachine:", ":execution:") + f":{started}")
    assert run(CLOCK, context)["started"] == [], "it is tried once"


def test_an_upload_that_has_a_record_was_not_missed(
    world: Machine, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "created", lambda: LATELY - timedelta(days=365))
    monkeypatch.setattr(reconciliation, "GRACE", timedelta(0))
    client("s3").put_object(Bucket="sources", Key="image/coder/v1.tar.gz", Body=b"sources")
    stored: Any
    (stored,) = s3.stored_since("sources", "image/", LATELY - timedelta(days=1))
    upload: Any = image_build.parse(s3_event(stored["key"]))
    result = image_build.entry(upload, stored, world.start("build"), datetime.now(UTC))
    releases.open_release(result)
    assert run(CLOCK, context)["started"] == []


# many services


@pytest.mark.parametrize("slow", [0.0, 5.0, 40.0, 200.0])
def test_every_service_has_its_turn_however_long_others_take(
    slow: float, world: Machine, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of thirty is slow, each of the others takes a second; each call has 120 seconds."""
    names = [f"service-{number:02}" for number in range(30)]
    services: Any = [Mock(service=name) for name in names]
    monkeypatch.setattr("deployer.deploy.spec.services", lambda _: services)
    now, seen = [0.0], []

    def look(name: str, _: Any) -> Any:
        seen.append(name)
        yield from (spend(slow / 40) for _ in range(40)) if name == names[7] else [spend(1.0)]

    def spend(seconds: float) -> str:
        now[0] += seconds
        return "settled"

    monkeypatch.setattr(reconcile, "_abandoned", look)
    monkeypatch.setattr(reconcile, "_records", lambda *_: ((), iter(())))
    context.get_remaining_time_in_millis = lambda: int((120 - now[0]) * 1000)
    for _ in range(2):
        now[0] = 0.0
        run(CLOCK, context)
        assert now[0] < 120
    assert {name.removeprefix("build:") for name in seen} == {*names}
    every = {*names, *(f"build:{name}" for name in names)}
    assert {*seen} == every


def test_what_does_not_fit_into_one_round_is_first_in_the_next(
    world: Machine, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    services: Any = [Mock(service=f"service-{number:03}") for number in range(100)]
    monkeypatch.setattr("deployer.deploy.spec.services", lambda _: services)
    now = [0.0]
    rounds: list[list[str]] = []

    def look(name: str, _: Any) -> Any:
        rounds[-1].append(name)
        now[0] += 3.0
        return iter(())

    monkeypatch.setattr(reconcile, "_abandoned", look)
    monkeypatch.setattr(reconcile, "_records", lambda *_: ((), iter(())))
    context.get_remaining_time_in_millis = lambda: int((120 - now[0]) * 1000)
    for _ in range(7):
        now[0] = 0.0
        rounds.append([])
        run(CLOCK, context)
        assert now[0] < 120
    seen = [name for one in rounds for name in one]
    assert len(rounds[0]) < 40 and len({*seen[:200]}) == 200, "each once before any twice"
