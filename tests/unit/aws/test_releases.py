"""Records of releases: one for each, with one outcome, once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployer.aws import releases, table
from deployer.release import unidentified
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
    releases.note(OURS, turnAt="2026-11-23T14:30:00+00:00")
    assert releases.open_release(OURS) is None
    assert record()["turnAt"]
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


def test_a_push_that_was_ignored_is_open_to_the_tag_that_deploys_it() -> None:
    releases.ignore_release(release(tag=None), "the push has no tag")
    assert releases.open_release(THEIRS) is None
    assert record()["tag"] == "2.1.0"
    assert "outcome" not in record() and "reason" not in record()


# ignoring


def test_a_push_that_is_ignored_is_recorded_with_its_reason() -> None:
    releases.ignore_release(OURS, "nightly")
    assert (record()["outcome"], record()["reason"]) == ("IGNORED", "nightly")
    assert record()["endedAt"] == OURS["startedAt"]


def test_a_late_event_of_another_tag_takes_nothing_from_a_release() -> None:
    releases.open_release(OURS)
    releases.ignore_release(THEIRS, "the push has no tag")
    assert record() == OURS
    releases.close_release(OURS, "SUCCEEDED", {})
    releases.ignore_release(THEIRS, "the push has no tag")
    assert record()["outcome"] == "SUCCEEDED"


def test_a_push_that_is_ignored_twice_keeps_its_first_record() -> None:
    releases.ignore_release(OURS, "first")
    releases.ignore_release(THEIRS, "second")
    assert record()["reason"] == "first"


# closing


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
    (found,) = items("repository:coder")
    assert found["outcome"] == "FAILED"
    assert found["digest"] == lost["digest"]


# reading


def test_what_comes_back_is_what_json_can_say() -> None:
    nested = {"schema": {"number": 3, "hash": None}, "list": [1, {"n": 2}], "yes": True}
    releases.close_release(OURS, "FAILED", {"diagnosis": nested})
    found = record()["diagnosis"]
    assert found == nested
    assert type(found["schema"]["number"]) is type(found["list"][0]) is int
    assert found["yes"] is True


def test_history_is_the_services_own_and_newest_first() -> None:
    for number in (2, 1, 3):
        releases.open_release(numbered(number))
    releases.open_release(numbered(4, service="other"))
    found = releases.history("coder")
    assert [entry["startedAt"][14:16] for entry in found] == ["03", "02", "01"]


def test_history_is_no_longer_than_asked_for_and_leaves_out_the_oldest() -> None:
    for number in range(5):
        releases.open_release(numbered(number))
    found = releases.history("coder", limit=2)
    assert [entry["startedAt"][14:16] for entry in found] == ["04", "03"]


def test_a_service_without_releases_has_no_history() -> None:
    assert releases.history("nobody") == []


# tokens


def test_a_token_is_kept_for_its_rollout_and_the_newest_counts() -> None:
    releases.remember_token("ecs-svc/1", "first")
    releases.remember_token("ecs-svc/2", "other")
    releases.remember_token("ecs-svc/1", "second")
    assert releases.token("ecs-svc/1") == "second"
    assert releases.token("ecs-svc/2") == "other"
    assert releases.token("ecs-svc/3") is None


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
    (found,) = items(f"execution:{EXECUTION}")
    assert expires_in_days(found) == 90


def expires_in_days(found: Any) -> int:
    """Days from now until DynamoDB deletes an item."""
    return round((int(found["expiresAt"]) - datetime.now(UTC).timestamp()) / 86400)


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
    releases.ignore_release(OURS, "nightly")
    expires = datetime.fromtimestamp(record()["expiresAt"], UTC)
    assert expires == datetime.fromisoformat(OURS["startedAt"]) + timedelta(days=90)


def test_a_push_that_deploys_after_all_goes_no_more() -> None:
    releases.ignore_release(OURS, "nightly")
    releases.open_release(THEIRS)
    assert "expiresAt" not in record()


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
    made = datetime.now(UTC) - timedelta(days=400)
    monkeypatch.setattr(table, "created", lambda: made)
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
    found = [int(entry["id"][-2:], 16) for entry in releases.history("coder")]
    assert found == [1, 4, 2, 3]


def test_an_order_that_was_refused_is_in_the_table_and_not_in_the_history() -> None:
    lost = unidentified({"action": "deploy", "service": "coder"}, EXECUTION, "2026-11-23T14:25:04Z")
    releases.close_release(lost, "FAILED", {"reason": "no image"})
    assert len(items("coder")) == 1
    assert releases.history("coder") == []


def test_a_pushs_digest_is_known_if_it_was_refused_before_a_service_was_found() -> None:
    for event in (push_event(), push_event(**{"image-digest": "gibberish"})):
        lost = unidentified(event, EXECUTION, "2026-11-23T14:25:04Z")
        releases.close_release(lost, "FAILED", {"reason": "no spec"})
    assert OURS["digest"] in releases.refused("coder")
    assert releases.refused("other") == set()


# the database


def test_the_instance_that_was_restored_last_is_the_services_database() -> None:
    assert releases.database_instance("coder") is None
    releases.remember_database_instance("coder", "first")
    releases.remember_database_instance("coder", "second")
    assert releases.database_instance("coder") == "second"
    assert releases.database_instance("other") is None
    assert releases.history("coder") == []
