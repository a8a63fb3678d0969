"""Records of releases: one for each, with one outcome, once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployer.deploy.release import release_id, unidentified
from deployer.errors import AwsUnavailable
from deployer.requests import ONE_PUSH
from deployer.store import releases, table
from tests.unit.conftest import items
from tests.unit.samples import ANOTHER_EXECUTION, EXECUTION, push_event, release

pytestmark = pytest.mark.usefixtures("releases_table")

OURS = release()
THEIRS = release(execution=ANOTHER_EXECUTION)


def record() -> Any:
    """The service's one record."""
    (found,) = releases.history("coder")
    return found


def numbered(number: int, **changes: Any) -> Any:
    """One of a service's releases, each a minute after the one before."""
    began = datetime.fromisoformat("2026-11-23T00:00:00+00:00") + timedelta(minutes=number)
    return release(
        id=f"{began:%Y%m%dT%H%M%SZ}-{number:012x}",
        startedAt=began.isoformat(),
        pushedAt=began.isoformat(),
        **changes,
    )


# opening


def test_a_release_that_is_opened_is_recorded_as_it_is_in_flight() -> None:
    assert releases.open_release(OURS) is None
    assert record() == OURS
    assert "outcome" not in record()


def test_the_same_execution_may_open_its_release_again() -> None:
    releases.open_release(OURS)
    assert releases.open_release(OURS) is None
    assert record()["execution"] == EXECUTION


def test_a_late_retry_takes_nothing_from_the_record() -> None:
    releases.open_release(OURS)
    releases.note(OURS, lockedAt="2026-11-23T14:30:00+00:00")
    assert releases.open_release(OURS) is None
    assert record()["lockedAt"]
    releases.close_release(OURS, "SUCCEEDED", {})
    assert releases.open_release(OURS) is None
    assert record()["outcome"] == "SUCCEEDED"


def test_another_execution_is_shown_the_record_that_there_is() -> None:
    releases.open_release(OURS)
    already = releases.open_release(THEIRS)
    assert already and already["execution"] == EXECUTION
    assert record()["execution"] == EXECUTION


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED"])
def test_a_release_that_has_an_outcome_is_not_opened_by_another_execution(outcome: Any) -> None:
    releases.open_release(OURS)
    releases.close_release(OURS, outcome, {})
    already = releases.open_release(THEIRS)
    assert already and already.get("outcome") == outcome
    assert record()["outcome"] == outcome


# pushes

AT = datetime.fromisoformat(OURS["pushedAt"])


def put_on(minutes: float, execution: str = ANOTHER_EXECUTION, **changes: Any) -> Any:
    """The release that the tag is if it was put on the image some minutes after it was first."""
    at = AT + timedelta(minutes=minutes)
    named = release_id(at, OURS["digest"], "2.1.0")
    return release(pushedAt=at.isoformat(), id=named, execution=execution, **changes)


def outcomes() -> list[Any]:
    return [entry.get("outcome") for entry in releases.newest("coder", 9)]


def test_one_put_of_a_tag_on_an_image_is_one_push_whatever_events_tell_of_it() -> None:
    assert releases.open_push(OURS, AT) is None
    assert releases.open_push(OURS, AT) is None, "a retry"
    for again in (THEIRS, put_on(-1)):
        already = releases.open_push(again, datetime.fromisoformat(again["pushedAt"]))
        assert already and already["id"] == OURS["id"]
    assert record() == OURS


def test_a_tag_that_is_put_on_an_image_again_is_another_push() -> None:
    releases.open_push(OURS, AT)
    releases.close_release(OURS, "SUCCEEDED", {})
    again = put_on(5)
    assert releases.open_push(again, AT + timedelta(minutes=5)) is None
    other = release(tag="prod", id=release_id(AT, OURS["digest"], "prod"))
    assert releases.open_push(other, AT) is None
    assert len(releases.history("coder")) == 3


def test_a_late_event_of_a_push_that_was_found_without_it_changes_nothing() -> None:
    releases.open_push(OURS, AT + ONE_PUSH)
    late = put_on(0.5)
    already = releases.open_push(late, AT + timedelta(minutes=0.5))
    assert already and already["id"] == OURS["id"]
    moved = put_on(5)
    assert releases.open_push(moved, AT + timedelta(minutes=5)) is None


def test_a_push_is_written_down_once_with_its_claim_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "_transact", lambda *_: False)  # somebody writes the same items
    with pytest.raises(AwsUnavailable):
        releases.open_push(OURS, AT)
    assert releases.history("coder") == []


# ignoring


@pytest.mark.parametrize("tag", ["2.1.0", None])
def test_a_push_that_is_ignored_is_recorded_with_its_reason_apart(tag: str | None) -> None:
    releases.ignore_push(release(tag=tag), "nightly", AT)
    (found,) = releases.newest("coder", 9)
    assert (found["outcome"], found["reason"], found["service"]) == ("IGNORED", "nightly", "coder")
    assert found["endedAt"] == OURS["startedAt"]
    assert releases.history("coder") == []


def test_a_late_event_takes_nothing_from_a_release() -> None:
    releases.open_push(OURS, AT)
    releases.ignore_push(THEIRS, "the image is gone", AT)
    assert outcomes() == [None]
    releases.close_release(OURS, "SUCCEEDED", {})
    releases.ignore_push(THEIRS, "the image is gone", AT)
    assert outcomes() == ["SUCCEEDED"]


def test_a_push_that_is_ignored_twice_keeps_its_first_record() -> None:
    releases.ignore_push(OURS, "first", AT)
    releases.ignore_push(THEIRS, "second", AT)
    already = releases.open_push(THEIRS, AT)
    assert already and already["reason"] == "first"
    assert outcomes() == ["IGNORED"]


def test_a_push_that_was_ignored_for_want_of_its_image_is_open_still() -> None:
    releases.ignore_push(OURS, "ECR does not show the image", None)
    assert outcomes() == ["IGNORED"]
    assert not releases.knows_tag("coder", OURS["digest"], "2.1.0", AT)
    assert releases.open_push(THEIRS, AT) is None
    assert outcomes() == [None]
    assert releases.knows_tag("coder", OURS["digest"], "2.1.0", AT)
    assert not releases.knows_tag("coder", OURS["digest"], "2.1.0", AT + timedelta(seconds=1))


# closing


def test_a_recovery_closes_a_release_without_setting_back_what_was_noted_since() -> None:
    releases.open_release(release())
    releases.note_lock(release(), "2026-11-23T14:25:05+00:00")
    seen = releases.find("coder", release()["id"])
    releases.note_lock(release(), "2026-11-23T14:26:05+00:00")
    assert seen and releases.close_release(seen, "FAILED", {})
    closed = releases.find("coder", release()["id"])
    assert closed and closed["lockedAt"] == "2026-11-23T14:26:05+00:00"


def test_a_release_is_closed_with_its_outcome_and_what_is_known() -> None:
    releases.open_release(OURS)
    assert releases.close_release(OURS, "SUCCEEDED", {"url": "http://x", "replaced": None})
    assert record() == {**OURS, "outcome": "SUCCEEDED", "url": "http://x", "replaced": None}


def test_a_release_that_is_closed_stays_as_it_is() -> None:
    releases.open_release(OURS)
    assert releases.close_release(OURS, "SUCCEEDED", {"reason": "live"})
    assert not releases.close_release(OURS, "FAILED", {"reason": "too late"})
    assert (record()["outcome"], record()["reason"]) == ("SUCCEEDED", "live")


def test_closing_makes_the_record_where_there_is_none() -> None:
    lost = unidentified(push_event(), EXECUTION, "2026-11-23T14:25:04Z")
    assert releases.close_release(lost, "FAILED", {"reason": "no spec"})
    (result,) = items("repository:coder")
    assert result["outcome"] == "FAILED"
    assert result["digest"] == lost["digest"]


# reading


def test_what_comes_back_is_what_json_can_say() -> None:
    nested = {"schema": {"number": 3, "hash": None}, "list": [1, {"n": 2}], "yes": True}
    releases.close_release(OURS, "FAILED", {"diagnosis": nested})
    result = record()["diagnosis"]
    assert result == nested
    assert type(result["schema"]["number"]) is type(result["list"][0]) is int
    assert result["yes"] is True


def test_history_is_the_services_own_and_newest_first() -> None:
    for number in (2, 1, 3):
        releases.open_release(numbered(number))
    releases.open_release(numbered(4, service="other"))
    records = releases.history("coder")
    assert [entry["startedAt"][14:16] for entry in records] == ["03", "02", "01"]


def test_the_newest_are_no_more_than_asked_for_and_leave_out_the_oldest() -> None:
    for number in range(4):
        releases.open_release(numbered(number))
    releases.ignore_push(numbered(4), "nightly", None)
    records = releases.newest("coder", 3)
    assert [entry["startedAt"][14:16] for entry in records] == ["04", "03", "02"]


FLOODS: Any = {
    "ignored": lambda made: releases.ignore_push(made, "no tag", None),
    "superseded": lambda made: releases.close_release(made, "SUPERSEDED", {"endedAt": made["id"]}),
    "held": lambda made: releases.close_release(made, "HELD", {"endedAt": made["id"]}),
    "refused": lambda made: releases.close_release(made, "FAILED", {"endedAt": made["id"]}),
    "rolled back": lambda made: releases.close_release(
        made, "FAILED_ROLLED_BACK", {"endedAt": made["id"], "taskDefinition": "coder:9"}
    ),
    "rejected orders": lambda made: releases.close_release(
        unidentified({"action": "x", "service": "coder"}, made["execution"], made["startedAt"]),
        "FAILED",
        {"endedAt": made["id"]},
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_however_much_came_after_what_matters_is_seen_at_a_bounded_cost(
    flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "_NEWEST", 6)
    live, ran, held, waits = (numbered(number) for number in range(4))
    releases.close_release(live, "SUCCEEDED", {"endedAt": "2026-11-23T00:00:00+00:00"})
    left = {"endedAt": "2026-11-23T00:01:00+00:00", "taskDefinition": "coder:2"}
    releases.close_release(ran, "FAILED", left)
    releases.close_release(held, "HELD", {"endedAt": "2026-11-23T00:02:00+00:00"})
    releases.open_release(waits)
    for number in range(10, 10 + 4 * 6):
        FLOODS[flood](numbered(number))
    read: list[int] = []
    query = table.query

    def counted(*arguments: Any, **named: Any) -> Any:
        records = query(*arguments, **named)
        read.append(len(records))
        return records

    monkeypatch.setattr(table, "query", counted)
    records = {entry["id"] for entry in releases.history("coder")}
    matter = [live, ran, waits, *([held] if flood != "held" else [])]  # of held ones, the newest
    assert records >= {item["id"] for item in matter}
    assert sum(read) <= 5 * 6
    assert len(releases.newest("coder", 100)) == 4 + (4 * 6 if flood != "rejected orders" else 0)


def test_a_service_without_releases_has_no_history() -> None:
    assert releases.history("nobody") == []


# tokens


def test_a_token_is_kept_for_its_rollout_and_the_newest_counts() -> None:
    releases.remember_token("ecs-svc/1", "first")
    releases.remember_token("ecs-svc/2", "other")
    releases.remember_token("ecs-svc/1", "second")
    kept = {name: table.get(f"rollout:ecs-svc/{name}", "token") for name in "123"}
    assert kept["1"] and kept["1"]["token"] == "second"
    assert kept["2"] and kept["2"]["token"] == "other"
    assert kept["3"] is None


def test_tokens_are_no_releases() -> None:
    releases.open_release(OURS)
    releases.remember_token("ecs-svc/1", "a-token")
    assert record() == OURS


# which execution carries what out


def test_an_execution_is_known_by_the_release_that_it_carries_out() -> None:
    releases.open_release(OURS)
    assert releases.of_execution(EXECUTION) == OURS
    assert releases.of_execution(ANOTHER_EXECUTION) is None


def test_an_execution_whose_push_another_has_is_known_by_it_too() -> None:
    releases.open_release(OURS)
    releases.open_release(THEIRS)
    assert releases.of_execution(ANOTHER_EXECUTION) == OURS


def test_an_execution_that_died_before_it_wrote_a_record_has_none() -> None:
    releases.carry_out(EXECUTION, OURS)
    assert releases.of_execution(EXECUTION) is None
    assert releases.history("coder") == []


def test_what_an_execution_carries_out_is_kept_as_long_as_the_execution() -> None:
    releases.carry_out(EXECUTION, OURS)
    (result,) = items(f"execution:{EXECUTION}")
    assert expires_in_days(result) == 90


def expires_in_days(described: Any) -> int:
    """Days from now until DynamoDB deletes an item."""
    return round((int(described["expiresAt"]) - datetime.now(UTC).timestamp()) / 86400)


# noting


def test_what_a_step_found_is_noted_while_the_release_is_in_flight() -> None:
    releases.open_release(OURS)
    releases.note(OURS, taskDefinition="arn:1", wasRunning=True)
    assert record() == OURS | {"taskDefinition": "arn:1", "wasRunning": True}
    releases.close_release(OURS, "SUCCEEDED", {})
    releases.note(OURS, taskDefinition="arn:2")
    assert record()["taskDefinition"] == "arn:1"


# what is kept, and for how long


@pytest.mark.parametrize("outcome", ["FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED", "HELD"])
def test_what_nobody_goes_back_to_is_kept_for_the_days_that_records_are(outcome: Any) -> None:
    releases.close_release(OURS, outcome, {})
    assert expires_in_days(record()) == 90


def test_a_success_is_kept_until_there_are_enough_newer_ones() -> None:
    releases.close_release(OURS, "SUCCEEDED", {"endedAt": "2026-11-23T14:30:00+00:00"})
    assert "expiresAt" not in record()
    releases.expire(record())
    expires = datetime.fromtimestamp(record()["expiresAt"], UTC)
    assert expires.isoformat() == "2027-02-21T14:30:00+00:00"


def test_a_record_that_goes_already_goes_no_later() -> None:
    releases.close_release(OURS, "SUCCEEDED", {"endedAt": "2026-11-23T14:30:00+00:00"})
    releases.expire(record())
    first = record()["expiresAt"]
    releases.expire(record() | {"endedAt": "2027-11-23T14:30:00+00:00"})
    assert record()["expiresAt"] == first


def test_an_ignored_push_is_kept_from_its_start_on() -> None:
    releases.ignore_push(OURS, "nightly", AT)
    (result,) = items("ignored:coder")
    expires = datetime.fromtimestamp(int(result["expiresAt"]), UTC)
    assert expires == datetime.fromisoformat(OURS["startedAt"]) + timedelta(days=90)


def test_a_note_of_a_hold_goes_though_it_succeeded() -> None:
    note = release(trigger="hold")
    releases.close_release(note, "SUCCEEDED", {})
    assert expires_in_days(record()) == 90


def test_a_push_was_missed_since_the_table_was_made_or_in_a_week_if_records_are_kept_as_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def days_ago() -> float:
        return (datetime.now(UTC) - releases.missed_since()).total_seconds() / 86400

    assert days_ago() == pytest.approx(0, abs=0.01)
    result = datetime.now(UTC) - timedelta(days=400)
    monkeypatch.setattr(table, "created", lambda: result)
    assert days_ago() == pytest.approx(7, abs=0.01)
    monkeypatch.setenv("HISTORY_DAYS", "2")
    assert days_ago() == pytest.approx(2, abs=0.01)


# what history leaves out


def test_history_is_by_the_end_and_of_what_is_in_flight_by_the_start() -> None:
    for number, end in ((1, 50), (2, 10), (3, None), (4, 20)):
        releases.open_release(numbered(number))
        if end:
            ended = f"2026-11-23T00:{end}:00+00:00"
            releases.close_release(numbered(number), "SUCCEEDED", {"endedAt": ended})
    records = [int(entry["id"][-2:], 16) for entry in releases.history("coder")]
    assert records == [1, 4, 2, 3]


def test_an_order_that_was_refused_is_in_the_table_and_not_in_the_history() -> None:
    lost = unidentified({"action": "deploy", "service": "coder"}, EXECUTION, "2026-11-23T14:25:04Z")
    releases.close_release(lost, "FAILED", {"reason": "no image"})
    assert len(items("coder")) == 1
    assert releases.history("coder") == []


def test_a_push_that_could_not_be_read_as_a_release_is_known_as_undecided() -> None:
    lost = unidentified(push_event(), EXECUTION, "2026-11-23T14:25:04Z")
    releases.close_release(lost, "FAILED", {"reason": "no answer from SSM"})
    (found,) = releases.undecided("coder")
    assert (found["digest"], found["tag"]) == (OURS["digest"], "2.1.0")
    assert found["pushedAt"] == "2026-11-23T14:25:02+00:00"
    assert releases.undecided("other") == []


# the database


def test_the_instance_that_was_restored_last_is_the_services_database() -> None:
    assert releases.database_instance("coder", "coder-db") == "coder-db"
    releases.remember_database_instance("coder", "first", "coder-db")
    releases.remember_database_instance("coder", "second", "coder-db")
    assert releases.database_instance("coder", "coder-db") == "second"
    assert releases.database_instance("other", "coder-db") == "coder-db"
    assert releases.history("coder") == []


def test_an_instance_that_the_team_puts_into_the_spec_counts_though_one_was_restored() -> None:
    releases.remember_database_instance("coder", "restored", "coder-db")
    for instance in ("another", "restored"):
        assert releases.database_instance("coder", instance) == instance


def test_when_a_release_had_the_turn_in_which_its_rollout_began_stays() -> None:
    releases.open_release(OURS)
    assert releases.note_lock(OURS, "2026-11-23T14:30:00+00:00")
    assert releases.note_lock(OURS, "2026-11-23T14:31:00+00:00")
    releases.note(OURS, rollout={"id": "ecs-svc/1"})
    assert releases.note_lock(OURS, "2026-11-23T14:32:00+00:00")
    assert record()["lockedAt"] == "2026-11-23T14:31:00+00:00"
