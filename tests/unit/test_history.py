"""What the records of a service say: what is live, what was, and where one can go back to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deploy import history
from deployer.errors import RequestRejected
from tests.unit.samples import OLD_REVISION, REVISION, recorded, rollout


def runs(task_definition: str, outcome: str | None = "SUCCEEDED", **fields: Any) -> Any:
    rendered = recorded(taskDefinition=task_definition, id=f"of {task_definition}", **fields)
    if outcome is None:
        del rendered["outcome"]
    else:
        rendered["outcome"] = outcome  # type: ignore[typeddict-item]
    return rendered


STRANGER = f"{OLD_REVISION}0"


@pytest.mark.parametrize(
    ("steady", "records", "expected"),
    [
        (None, [], None),
        (OLD_REVISION, [], OLD_REVISION),
        (OLD_REVISION, [runs(OLD_REVISION)], OLD_REVISION),
        (STRANGER, [runs(OLD_REVISION)], STRANGER),
        (REVISION, [runs(REVISION, "FAILED"), runs(OLD_REVISION)], OLD_REVISION),
        (REVISION, [runs(REVISION, "FAILED")], None),
        (REVISION, [runs(REVISION, None), runs(OLD_REVISION)], OLD_REVISION),
        (None, [runs(REVISION, "FAILED"), runs(OLD_REVISION)], OLD_REVISION),
        (None, [runs(REVISION), runs(OLD_REVISION)], REVISION),
        (None, [runs(REVISION, "FAILED_ROLLED_BACK"), runs(STRANGER, "IGNORED")], None),
    ],
    ids=[
        "nothing at all",
        "runs, with no history",
        "runs and is known to be good",
        "runs and nobody knows it",
        "runs and failed before",
        "runs, failed, and nothing good is known",
        "runs and is in flight",
        "does not run, an earlier one was good",
        "does not run, the newest was good",
        "none ever succeeded",
    ],
)
def test_the_way_back_leads_to_what_is_not_known_to_be_bad(
    steady: str | None, records: list[Any], expected: str | None
) -> None:
    result = history.previous_release(steady, None, records)
    assert (result and result["taskDefinition"]) == expected


def test_the_way_back_to_a_release_that_does_not_run_is_in_the_network_that_it_had() -> None:
    theirs: Any = {"awsvpcConfiguration": {"subnets": ["a"]}}
    now: Any = {"awsvpcConfiguration": {"subnets": ["b"]}}
    entry = runs(OLD_REVISION) | {"rollout": rollout(network=theirs)}
    for known, expected in ((entry, theirs), (runs(OLD_REVISION), now)):
        result = history.previous_release(None, now, [known])
        assert result and result["networkConfiguration"] == expected


def test_the_way_back_carries_what_is_known_of_the_release() -> None:
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    entry = runs(OLD_REVISION, version="2.0.0", schema={"number": 3, "hash": None})
    assert history.previous_release(OLD_REVISION, network, [entry]) == {
        "taskDefinition": OLD_REVISION,
        "release": f"of {OLD_REVISION}",
        "version": "2.0.0",
        "schema": {"number": 3, "hash": None},
        "networkConfiguration": network,
        "databaseSchema": {"number": 3, "hash": None},
    }


def test_nothing_is_known_of_a_task_definition_that_the_table_does_not_have() -> None:
    result = history.previous_release(STRANGER, None, [runs(OLD_REVISION)])
    assert result and (result["release"], result["version"], result["schema"]) == (None, None, None)


# where one can go back to


def records_of(story: str) -> list[Any]:
    """The records that a story leaves, newest first.

    A word is a release: `A` was pushed and lived, `A*` is the same image otherwise configured,
    `<A` went back to the newest A, `!A` failed, `~A` was held, `?A` is in flight.
    """
    records: list[Any] = []
    for number, word in enumerate(story.split()):
        name = word.strip("<!~?*")
        rendered = recorded(
            id=f"20261123T14{number:02}00Z-{name}",
            version=f"{name}.0",
            tag=f"v{name}",
            digest=f"sha256:{name * 64}",
            taskDefinition=word.strip("<!~?"),
            trigger="push",
            endedAt=f"2026-11-23T14:{number:02}:30+00:00",
        )
        if word[0] == "<":
            earlier = next(r for r in records if r["taskDefinition"] == rendered["taskDefinition"])
            rendered |= {"trigger": "rollback", "to": earlier["id"]}
        if word[0] == "!":
            rendered["outcome"] = "FAILED"
        elif word[0] == "~":
            rendered["outcome"] = "HELD"
        elif word[0] == "?":
            del rendered["outcome"]
        records.insert(0, rendered)
    return records


def names(records: list[Any]) -> str:
    return " ".join(record["taskDefinition"] for record in records)


NOTE = recorded(trigger="hold", version="", digest="", id="20261123T150000Z-hold-beef")


@pytest.mark.parametrize(
    ("story", "line"),
    [
        ("", ""),
        ("A", "A"),
        ("A B C", "A B C"),
        ("A B !C ~D ?E", "A B"),
        ("A B <A", "A"),
        ("A B C <B", "A B"),
        ("A B C <B <A", "A"),
        ("A B C <A", "A"),
        ("A B <A C", "A C"),
        ("A B <A C <A", "A"),
        ("A B <A <B", "A B"),
        ("A B A C <A", "A B A"),
        ("A A*", "A A*"),
        ("B A A", "B A"),
        ("B A A* <A", "B A"),
        ("B A A* <A <B", "B"),
        ("A A C <A", "A"),
    ],
)
def test_the_line_leads_to_the_live_release_without_what_was_left(story: str, line: str) -> None:
    assert names(history.lineage(records_of(story))) == line


def test_notes_of_holds_are_no_releases() -> None:
    assert names(history.lineage([NOTE, *records_of("A B")])) == "A B"
    assert history.live([NOTE]) is None


def test_a_rollback_to_a_release_of_which_the_line_knows_the_image_alone() -> None:
    records = records_of("A B <A C")
    back = records_of("A B <A C <A")[0] | {
        "to": records[-1]["id"]
    }  # the A that was left and redone
    assert names(history.lineage([back, *records])) == "A"


def test_a_rollback_to_what_the_records_forgot_ends_the_line() -> None:
    records = records_of("A B C <A")
    assert names(history.lineage(records[:-1])) == "B C A"


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("A B", "A"),
        ("A B !C", "A"),
        ("A B C <B", "A"),
        ("A B C <A D", "A"),
        ("A B <A <B", "A"),
        ("A A*", "A"),
        ("B A A", "B"),
    ],
)
def test_previous_is_what_was_live_before_the_live_one_came(story: str, expected: str) -> None:
    assert history.target(records_of(story), "previous")["taskDefinition"] == expected


@pytest.mark.parametrize(("runs", "expected"), [(None, "A"), ("B", "A"), ("C", "B"), ("A", "B")])
def test_previous_is_the_last_verified_release_if_another_runs(
    runs: str | None, expected: str
) -> None:
    assert history.target(records_of("A B !C"), "previous", runs)["taskDefinition"] == expected


@pytest.mark.parametrize(
    ("story", "named"),
    [
        ("", "no release was ever live"),
        ("!A ?B ~C", "no release was ever live"),
        ("A", "is the first release that was live"),
        ("A !B", "is the first release that was live"),
        ("A B <A", "is the first release that was live"),
        ("A B C <B <A", "is the first release that was live"),
        ("A A", "is the first release that was live"),
    ],
)
def test_there_may_be_nothing_to_go_back_to(story: str, named: str) -> None:
    with pytest.raises(RequestRejected, match=named):
        history.target(records_of(story), "previous")


@given(st.lists(st.sampled_from(["A", "A*", "B", "C", "!D"]), min_size=1, max_size=7))
def test_going_back_again_and_again_ends_at_the_first_release(pushes: list[str]) -> None:
    records = records_of(" ".join(pushes))
    for number in range(len(pushes) + 1):
        line = history.lineage(records)
        if len(line) < 2:
            return
        target = history.target(records, "previous")
        assert names([target]) != names([line[-1]]), "nothing would change"
        back = target | {"id": f"back-{number}", "trigger": "rollback", "to": target["id"]}
        records = [back, *records]
        assert names(history.lineage(records)) == names(line[:-1])
    raise AssertionError(f"there is no end to it: {names(records)}")


@pytest.mark.parametrize("to", ["A.0", "vA", f"sha256:{'A' * 64}", "20261123T140000Z-A"])
def test_a_release_is_named_by_version_tag_digest_or_id(to: str) -> None:
    assert history.target(records_of("A B C"), to)["taskDefinition"] == "A"


@pytest.mark.parametrize(("story", "to"), [("A B", "B.0"), ("A B", "vB"), ("A B <A", "A.0")])
def test_the_last_verified_release_may_be_put_back_since_another_may_run(
    story: str, to: str
) -> None:
    assert history.target(records_of(story), to) == history.live(records_of(story))


def test_of_one_image_that_was_live_twice_the_newest_is_meant() -> None:
    assert history.target(records_of("A B A* C"), "A.0")["taskDefinition"] == "A*"


def test_an_earlier_configuration_of_the_live_image_is_named_by_its_id() -> None:
    records = records_of("A A*")
    assert history.target(records, records[-1]["id"])["taskDefinition"] == "A"


@pytest.mark.parametrize(
    ("story", "to", "named"),
    [
        ("A !B", "B.0", "was never live .FAILED.; releases that were: A.0"),
        ("A ?B", "B.0", "was never live .in flight."),
        ("A ~B", "vB", "was never live .HELD."),
        ("A B", "C.0", "no release is named 'C.0'; releases that were live: B.0 .*; A.0"),
        ("A B", "A", "no release is named 'A'"),
    ],
)
def test_what_one_can_not_go_back_to_is_refused_by_name(story: str, to: str, named: str) -> None:
    with pytest.raises(RequestRejected, match=named):
        history.target(records_of(story), to)


def test_a_name_that_several_images_had_is_refused_with_the_candidates() -> None:
    records = [record | {"tag": "stable"} for record in records_of("A B C")]
    with pytest.raises(RequestRejected, match="names several releases") as caught:
        history.target(records, "stable")
    assert all(record["id"] in str(caught.value) for record in records)
    assert history.target(records, records[1]["id"])["taskDefinition"] == "B"


# schemas

OLD, NEW = {"number": 1, "hash": "a"}, {"number": 2, "hash": "b"}
LEFT = {"outcome": "FAILED", "rollback": {"action": "LEAVE", "reason": "…"}, "schema": NEW}


@pytest.mark.parametrize(
    ("newest", "applied"),
    [
        ({"schema": NEW}, NEW),
        ({**LEFT, "rollout": {"id": "ecs-svc/1"}}, NEW),
        (LEFT, OLD),
        ({**LEFT, "databaseInstance": "restored"}, NEW),
        ({**LEFT, "rollout": {}, "rollback": {"action": "ROLL_BACK", "rollout": {}}}, OLD),
        ({**LEFT, "rollout": {}, "rollback": {"action": "ROLL_BACK"}}, NEW),
        ({**LEFT, "rollout": {}, "rollback": {"action": "STOP"}}, OLD),
        ({**LEFT, "rollout": {}, "rollback": None}, NEW),
        ({"schema": NEW, "rollout": {}, "outcome": None}, NEW),
        ({"schema": NEW, "outcome": None}, OLD),
        ({**LEFT, "rollout": {}, "outcome": "SUPERSEDED", "rollback": None}, NEW),
        ({**LEFT, "rollout": {}, "outcome": "FAILED_ROLLED_BACK"}, OLD),
        ({"schema": NEW, "outcome": "HELD"}, OLD),
        ({"schema": NEW, "trigger": "hold"}, OLD),
    ],
    ids=[
        "it is live",
        "it failed after it ran and stays",
        "it failed before it started",
        "it failed after the database was restored",
        "it was on the way back",
        "the way back failed",
        "it was stopped",
        "nothing took it back",
        "its execution ended midway",
        "it waits for the lock",
        "it ended midway, and another came after it",
        "it went back",
        "it was held",
        "a note",
    ],
)
def test_the_database_has_the_schema_of_the_newest_release_that_ran(
    newest: dict[str, Any], applied: Any
) -> None:
    record: Any = {key: value for key, value in recorded(**newest).items() if value is not None}
    assert history.applied_schema([record, recorded(schema=OLD)]) == applied


def test_a_task_before_a_rollout_may_have_migrated_the_database() -> None:
    failed: Any = recorded(schema=NEW, outcome="FAILED", before={"failure": "exited with 1"})
    assert history.applied_schema([failed, recorded(schema=OLD)]) == NEW
    failed["before"]["ran"] = False
    assert history.applied_schema([failed, recorded(schema=OLD)]) == OLD


def test_whose_turn_came_last_ran_last() -> None:
    """A recovery closes the record of what it finds superseded after that which came later."""
    last = recorded(schema=NEW, lockedAt="2026-11-23T14:30:00Z", endedAt="2026-11-23T14:32:00Z")
    superseded: Any = {
        **recorded(schema=OLD, lockedAt="2026-11-23T14:26:00Z", endedAt="2026-11-23T14:33:00Z"),
        **{"outcome": "SUPERSEDED", "rollout": {}},
    }
    assert history.applied_schema([superseded, last]) == NEW


def test_nothing_is_known_of_a_database_without_a_release() -> None:
    assert history.applied_schema([]) is None


def test_a_release_that_knows_another_schema_would_not_start() -> None:
    records = [recorded(schema=NEW)]
    assert history.unknown_schema(records, recorded(schema=NEW)) is None
    assert "2.1.0" in str(history.unknown_schema(records, recorded(schema=OLD)))


def test_what_is_in_flight_may_yet_leave_the_schema_as_it_is() -> None:
    flying = runs(REVISION, None, schema=NEW, rollout={"id": "ecs-svc/1"})
    assert history.unknown_schema([flying, recorded(schema=OLD)], recorded(schema=OLD)) is None


# what is kept


@pytest.mark.parametrize(("keep", "gone"), [(2, "B A"), (3, "A"), (4, ""), (9, "")])
def test_the_newest_good_releases_are_kept_whatever_failed_between(keep: int, gone: str) -> None:
    records = [NOTE, *records_of("A B !X C ~Y D ?Z")]
    assert names(history.expendable(records, keep)) == gone


# held pushes


def held(number: int, **changes: Any) -> Any:
    result = {
        "id": f"20261123T14{number:02}00Z-aaaa",
        "outcome": "HELD",
        "pushedAt": f"2026-11-23T14:{number:02}:00+00:00",
        "endedAt": f"2026-11-23T14:{number:02}:05+00:00",
    }
    return recorded(**result | changes)


SINCE = "2026-11-23T14:10:00.000Z"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([held(11), held(13), held(12)], 13),
        ([held(9)], None),
        ([held(9, endedAt="2026-11-23T14:10:00+00:00")], 9),
        ([held(11), held(12, outcome="SUPERSEDED"), held(13, outcome="FAILED")], 11),
        ([held(11), held(12, endedAt="2026-11-23T14:09:59+00:00")], 11),
    ],
    ids=[
        "none",
        "newest by push",
        "of an earlier hold",
        "at its start",
        "not held",
        "ended before",
    ],
)
def test_a_resumption_deploys_the_newest_push_that_this_hold_kept_back(
    records: list[Any], expected: int | None
) -> None:
    result = history.newest_held(records, SINCE)
    assert (result and result["id"]) == (expected and held(expected)["id"])


def test_of_pushes_within_one_second_the_ids_decide() -> None:
    low, high = held(11, id="20261123T141100Z-1"), held(11, id="20261123T141100Z-2")
    for records in ([low, high], [high, low]):
        assert history.newest_held(records, SINCE) == high


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], False),
        ([runs(OLD_REVISION)], False),
        ([runs(REVISION)], False),
        ([runs(REVISION, "FAILED"), runs(OLD_REVISION)], True),
        ([runs(REVISION, None), runs(OLD_REVISION)], True),
        ([runs(REVISION, "FAILED"), runs(REVISION)], False),
    ],
)
def test_what_our_releases_put_in_place_and_never_verified(
    records: list[Any], expected: bool
) -> None:
    assert history.unproven(records, REVISION) is expected
