"""Turns, claims and holds in the releases table."""

from typing import Any

import pytest

from deployer.aws import releases, turns
from deployer.errors import AwsUnavailable, TurnLost
from tests.unit.conftest import Clock, Script, items, refusal
from tests.unit.samples import ANOTHER_EXECUTION, EXECUTION, claim, release

pytestmark = pytest.mark.usefixtures("releases_table")

MINE = claim()
THEIRS = claim(release="20261123T150000Z-cdcdcdcdcdcd", execution=ANOTHER_EXECUTION, token="theirs")
HOLD: Any = {"by": "ada", "at": "2026-11-23T14:30:00+00:00", "reason": "checkout is slow"}


def plain(found: Any) -> Any:
    """A claim without the keys of the table."""
    return found and {name: value for name, value in found.items() if name not in ("service", "id")}


def holder() -> Any:
    return plain(turns.line("coder").holder)


def waiting() -> list[str]:
    return [entry["release"] for entry in turns.line("coder").waiting]


def test_nobody_is_in_line_at_first() -> None:
    assert turns.line("coder") == turns.Line(holder=None, waiting=[], hold=None)


def test_the_line_tells_who_has_the_turn_who_waits_and_who_holds() -> None:
    releases.open_release(release())
    releases.remember_database_instance("coder", "restored", "coder-db")
    turns.take("coder", MINE)
    turns.wait("coder", THEIRS)
    turns.wait("other", MINE)
    turns.hold("coder", HOLD)
    line = turns.line("coder")
    assert plain(line.holder) == MINE
    assert [plain(entry) for entry in line.waiting] == [THEIRS]
    assert plain(line.hold) == HOLD


@pytest.fixture
def mine_at(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The turn is ours, and this is its clock."""
    monkeypatch.setattr(turns, "time", clock)
    turns.take("coder", MINE)
    return clock


def test_nobody_takes_the_turn_over_while_a_function_of_it_changes_something(
    mine_at: Clock,
) -> None:
    with turns.change("coder", EXECUTION):
        assert not turns.take("coder", THEIRS, instead_of=EXECUTION)
        assert turns.take("coder", MINE), "its own later try may"
    with pytest.raises(ValueError), turns.change("coder", EXECUTION):
        raise ValueError
    assert turns.take("coder", THEIRS, instead_of=EXECUTION)
    with pytest.raises(TurnLost), turns.change("coder", EXECUTION):
        raise AssertionError("it must not get here")


def test_a_function_that_is_killed_holds_the_turn_for_as_long_as_it_might_have_run(
    mine_at: Clock,
) -> None:
    with pytest.raises(KeyboardInterrupt), turns.change("coder", EXECUTION):
        raise KeyboardInterrupt  # stands for the end of the process: nothing more is said
    mine_at.now += turns.CHANGE_SECONDS - 1
    assert not turns.take("coder", THEIRS, instead_of=EXECUTION)
    mine_at.now += 1
    assert turns.take("coder", THEIRS, instead_of=EXECUTION)


def test_of_two_tries_at_once_one_waits_for_the_other(
    mine_at: Clock,
) -> None:
    with turns.change("coder", EXECUTION):
        mine_at.now += 0.001
        with (
            pytest.raises(AwsUnavailable, match="an earlier try"),
            turns.change("coder", EXECUTION),
        ):
            raise AssertionError("it must not get here")
    waited = mine_at.now
    with turns.change("coder", EXECUTION):
        assert mine_at.now == waited


def test_what_was_changed_stays_changed_if_nobody_can_be_told(script: Script) -> None:
    turns.take("coder", MINE)
    with turns.change("coder", EXECUTION):
        script("dynamodb", "UpdateItem", refusal("ProvisionedThroughputExceededException"))


def test_a_push_takes_no_turn_of_a_service_that_is_held() -> None:
    turns.hold("coder", HOLD)
    assert not turns.take("coder", {**MINE, "trigger": "push"})
    assert turns.take("coder", {**MINE, "trigger": "deploy"})


@pytest.mark.parametrize(
    ("reason", "taken"), [("TransactionConflict", False), ("ThrottlingError", AwsUnavailable)]
)
def test_a_turn_that_dynamodb_puts_off(script: Script, reason: str, taken: Any) -> None:
    refused = refusal("TransactionCanceledException")
    refused.response["CancellationReasons"] = [{"Code": reason}, {"Code": "None"}]
    script("dynamodb", "TransactWriteItems", refused)
    if taken is False:
        assert turns.take("coder", {**MINE, "trigger": "push"}) is False
    else:
        with pytest.raises(taken, match=reason):
            turns.take("coder", {**MINE, "trigger": "push"})


# waiting


def test_a_claim_that_waits_anew_waits_once_with_its_new_token() -> None:
    turns.wait("coder", MINE)
    turns.wait("coder", claim(token="newer"))
    (found,) = turns.line("coder").waiting
    assert found["token"] == "newer"


def test_a_claim_leaves_alone_and_may_leave_twice() -> None:
    turns.wait("coder", MINE)
    turns.wait("coder", THEIRS)
    turns.leave("coder", MINE["release"])
    turns.leave("coder", MINE["release"])
    assert waiting() == [THEIRS["release"]]


# taking


def test_who_takes_the_turn_waits_no_more() -> None:
    turns.wait("coder", MINE)
    turns.wait("coder", THEIRS)
    assert turns.take("coder", MINE)
    assert holder() == MINE
    assert waiting() == [THEIRS["release"]]


def test_of_two_that_saw_the_turn_free_one_takes_it() -> None:
    turns.wait("coder", THEIRS)
    assert turns.line("coder").holder is None
    assert [turns.take("coder", MINE), turns.take("coder", THEIRS)] == [True, False]
    assert holder() == MINE
    assert waiting() == [THEIRS["release"]]


def test_who_has_the_turn_may_take_it_again() -> None:
    assert turns.take("coder", MINE)
    assert turns.take("coder", claim(token="newer"))
    assert holder()["token"] == "newer"


def test_of_two_that_saw_the_holder_dead_one_takes_its_turn() -> None:
    dead = claim(execution="dead", release="of the dead")
    turns.take("coder", dead)
    assert not turns.take("coder", MINE)
    assert not turns.take("coder", MINE, instead_of="another dead")
    assert turns.take("coder", MINE, instead_of="dead")
    assert not turns.take("coder", THEIRS, instead_of="dead")
    assert holder() == MINE


# passing on


def test_the_turn_is_passed_on_and_everyone_who_waits_is_woken(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal("TaskTimedOut"), {})
    turns.take("coder", MINE)
    turns.wait("coder", THEIRS)
    turns.wait("coder", claim(release="third", token="third's"))
    turns.pass_on("coder", EXECUTION)
    assert holder() is None
    woken = [asked["taskToken"] for asked in script.asked("SendTaskSuccess")]
    assert sorted(woken) == ["theirs", "third's"]
    assert len(waiting()) == 2


def test_nobody_passes_on_anothers_turn(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    turns.take("coder", MINE)
    turns.pass_on("coder", ANOTHER_EXECUTION)
    assert holder() == MINE
    turns.pass_on("coder", EXECUTION)
    turns.take("coder", THEIRS)
    turns.pass_on("coder", EXECUTION)
    assert holder() == THEIRS


def test_who_is_woken_is_told_to_look_and_nothing_else(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    assert turns.wake(MINE)
    (asked,) = script.asked("SendTaskSuccess")
    assert asked["taskToken"] == "a-token"
    assert '"WAIT"' in asked["output"]


# holds


def test_a_hold_is_ended_once() -> None:
    turns.hold("coder", HOLD)
    turns.hold("coder", HOLD | {"by": "bob"})
    assert plain(turns.line("coder").hold)["by"] == "bob"
    assert turns.release_hold("coder")
    assert not turns.release_hold("coder")
    assert items("coder") == []
