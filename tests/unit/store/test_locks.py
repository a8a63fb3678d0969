"""Locks, claims and holds in the releases table."""

from typing import Any

import pytest

from deployer.errors import AwsUnavailable, LockLost
from deployer.store import locks, releases
from tests.unit.conftest import Clock, Script, items, refusal
from tests.unit.samples import ANOTHER_EXECUTION, EXECUTION, lock_request, release

pytestmark = pytest.mark.usefixtures("releases_table")

MINE = lock_request()
THEIRS = lock_request(
    release="20261123T150000Z-cdcdcdcdcdcd", execution=ANOTHER_EXECUTION, token="theirs"
)
HOLD: Any = {"by": "ada", "at": "2026-11-23T14:30:00+00:00", "reason": "checkout is slow"}


def plain(described: Any) -> Any:
    """A claim without the keys of the table."""
    return described and {
        name: value for name, value in described.items() if name not in ("service", "id")
    }


def holder() -> Any:
    return plain(locks.queue("coder").holder)


def waiting() -> list[str]:
    return [entry["release"] for entry in locks.queue("coder").waiting]


def test_nobody_is_in_line_at_first() -> None:
    assert locks.queue("coder") == locks.Queue(holder=None, waiting=[], hold=None)


def test_the_line_tells_who_has_the_turn_who_waits_and_who_holds() -> None:
    releases.open_release(release())
    releases.remember_database_instance("coder", "restored", "coder-db")
    locks.acquire("coder", MINE)
    locks.enqueue("coder", THEIRS)
    locks.enqueue("other", MINE)
    locks.hold("coder", HOLD)
    line = locks.queue("coder")
    assert plain(line.holder) == MINE
    assert [plain(entry) for entry in line.waiting] == [THEIRS]
    assert plain(line.hold) == HOLD


@pytest.fixture
def mine_at(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The lock is ours, and this is its clock."""
    monkeypatch.setattr(locks, "time", clock)
    locks.acquire("coder", MINE)
    return clock


def test_nobody_takes_the_turn_over_while_a_function_of_it_changes_something(
    mine_at: Clock,
) -> None:
    with locks.lease("coder", EXECUTION):
        assert not locks.acquire("coder", THEIRS, instead_of=EXECUTION)
        assert locks.acquire("coder", MINE), "its own later try may"
    with pytest.raises(ValueError), locks.lease("coder", EXECUTION):
        raise ValueError
    assert locks.acquire("coder", THEIRS, instead_of=EXECUTION)
    with pytest.raises(LockLost), locks.lease("coder", EXECUTION):
        raise AssertionError("it must not get here")


def test_a_function_that_is_killed_holds_the_turn_for_as_long_as_it_might_have_run(
    mine_at: Clock,
) -> None:
    with pytest.raises(KeyboardInterrupt), locks.lease("coder", EXECUTION):
        raise KeyboardInterrupt  # stands for the end of the process: nothing more is said
    mine_at.now += locks.CHANGE_SECONDS - 1
    assert not locks.acquire("coder", THEIRS, instead_of=EXECUTION)
    mine_at.now += 1
    assert locks.acquire("coder", THEIRS, instead_of=EXECUTION)


def test_of_two_tries_at_once_one_waits_for_the_other(
    mine_at: Clock,
) -> None:
    with locks.lease("coder", EXECUTION):
        mine_at.now += 0.001
        with (
            pytest.raises(AwsUnavailable, match="an earlier try"),
            locks.lease("coder", EXECUTION),
        ):
            raise AssertionError("it must not get here")
    waited = mine_at.now
    with locks.lease("coder", EXECUTION):
        assert mine_at.now == waited


def test_what_was_changed_stays_changed_if_nobody_can_be_told(script: Script) -> None:
    locks.acquire("coder", MINE)
    with locks.lease("coder", EXECUTION):
        script("dynamodb", "UpdateItem", refusal("ProvisionedThroughputExceededException"))


def test_a_push_takes_no_turn_of_a_service_that_is_held() -> None:
    locks.hold("coder", HOLD)
    assert not locks.acquire("coder", {**MINE, "trigger": "push"})
    assert locks.acquire("coder", {**MINE, "trigger": "deploy"})


@pytest.mark.parametrize(
    ("reason", "taken"), [("TransactionConflict", False), ("ThrottlingError", AwsUnavailable)]
)
def test_a_turn_that_dynamodb_puts_off(script: Script, reason: str, taken: Any) -> None:
    refused = refusal("TransactionCanceledException")
    refused.response["CancellationReasons"] = [{"Code": reason}, {"Code": "None"}]
    script("dynamodb", "TransactWriteItems", refused)
    if taken is False:
        assert locks.acquire("coder", {**MINE, "trigger": "push"}) is False
    else:
        with pytest.raises(taken, match=reason):
            locks.acquire("coder", {**MINE, "trigger": "push"})


# waiting


def test_a_claim_that_waits_anew_waits_once_with_its_new_token() -> None:
    locks.enqueue("coder", MINE)
    locks.enqueue("coder", lock_request(token="newer"))
    (result,) = locks.queue("coder").waiting
    assert result["token"] == "newer"


def test_a_claim_leaves_alone_and_may_leave_twice() -> None:
    locks.enqueue("coder", MINE)
    locks.enqueue("coder", THEIRS)
    locks.dequeue("coder", MINE["release"])
    locks.dequeue("coder", MINE["release"])
    assert waiting() == [THEIRS["release"]]


# taking


def test_who_takes_the_turn_waits_no_more() -> None:
    locks.enqueue("coder", MINE)
    locks.enqueue("coder", THEIRS)
    assert locks.acquire("coder", MINE)
    assert holder() == MINE
    assert waiting() == [THEIRS["release"]]


def test_of_two_that_saw_the_turn_free_one_takes_it() -> None:
    locks.enqueue("coder", THEIRS)
    assert locks.queue("coder").holder is None
    assert [locks.acquire("coder", MINE), locks.acquire("coder", THEIRS)] == [True, False]
    assert holder() == MINE
    assert waiting() == [THEIRS["release"]]


def test_who_has_the_turn_may_take_it_again() -> None:
    assert locks.acquire("coder", MINE)
    assert locks.acquire("coder", lock_request(token="newer"))
    assert holder()["token"] == "newer"


def test_of_two_that_saw_the_holder_dead_one_takes_its_turn() -> None:
    dead = lock_request(execution="dead", release="of the dead")
    locks.acquire("coder", dead)
    assert not locks.acquire("coder", MINE)
    assert not locks.acquire("coder", MINE, instead_of="another dead")
    assert locks.acquire("coder", MINE, instead_of="dead")
    assert not locks.acquire("coder", THEIRS, instead_of="dead")
    assert holder() == MINE


# passing on


def test_the_turn_is_passed_on_and_everyone_who_waits_is_woken(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal("TaskTimedOut"), {})
    locks.acquire("coder", MINE)
    locks.enqueue("coder", THEIRS)
    locks.enqueue("coder", lock_request(release="third", token="third's"))
    locks.release("coder", EXECUTION)
    assert holder() is None
    woken = [request["taskToken"] for request in script.requests("SendTaskSuccess")]
    assert sorted(woken) == ["theirs", "third's"]
    assert len(waiting()) == 2


def test_nobody_passes_on_anothers_turn(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    locks.acquire("coder", MINE)
    locks.release("coder", ANOTHER_EXECUTION)
    assert holder() == MINE
    locks.release("coder", EXECUTION)
    locks.acquire("coder", THEIRS)
    locks.release("coder", EXECUTION)
    assert holder() == THEIRS


def test_who_is_woken_is_told_to_look_and_nothing_else(script: Script) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    assert locks.wake(MINE)
    (request,) = script.requests("SendTaskSuccess")
    assert request["taskToken"] == "a-token"
    assert '"WAIT"' in request["output"]


# holds


def test_a_hold_is_ended_once() -> None:
    locks.hold("coder", HOLD)
    locks.hold("coder", HOLD | {"by": "bob"})
    assert plain(locks.queue("coder").hold)["by"] == "bob"
    assert locks.release_hold("coder")
    assert not locks.release_hold("coder")
    assert items("coder") == []
