"""The lock is taken, waited for, or left to a newer push: each look ends in one of the three."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import acquire_lock
from deployer import lock as deciding
from deployer.errors import LockTimedOut
from deployer.store import locks, releases
from tests.unit.conftest import Clock, Machine, Script, refusal
from tests.unit.samples import lock_request, payload, release

pytestmark = pytest.mark.usefixtures("releases_table")

HOLD: Any = {"by": "ada", "at": "2026-11-23T14:00:00+00:00", "reason": "checkout is slow"}


@pytest.fixture
def woken(script: Script) -> Any:
    """What was told to whom, by token."""
    script("stepfunctions", "SendTaskSuccess", {})

    def announced() -> dict[str, Any]:
        requests = script.requests("SendTaskSuccess")
        return {one["taskToken"]: json.loads(one["output"])["action"] for one in requests}

    return announced


def coming(machine: Machine, name: str, minute: int = 0, **changes: Any) -> Any:
    """A release whose execution runs; a later minute is a later push."""
    pushed = datetime(2026, 11, 23, 14, minute, tzinfo=UTC)
    entry = release(
        id=f"{pushed:%Y%m%dT%H%M%SZ}-{name}",
        version=name,
        execution=machine.start(name),
        pushedAt=pushed.isoformat(),
        startedAt=(pushed + timedelta(seconds=2)).isoformat(),
        **changes,
    )
    releases.open_release(entry)
    return entry


def look(of: Any, context: Any, execution: str | None = None, **changes: Any) -> Any:
    """A release's execution looks, as the state machine has it."""
    given = {"release": of, "token": f"token-{of['version']}", "startedAt": now()}
    execution = execution or of["execution"]
    return acquire_lock.handler(payload(execution=execution, **given | changes), context)


def now() -> str:
    return datetime.now(UTC).isoformat()


def record(of: Any) -> Any:
    return releases.find("coder", of["id"])


def holder() -> str | None:
    result = locks.queue("coder").holder
    return result and result["release"]


def waiting() -> set[str]:
    return {entry["release"] for entry in locks.queue("coder").waiting}


def test_a_turn_that_is_free_is_taken_at_once(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    mine = coming(machine, "mine")
    assert look(mine, context)["action"] == "ACQUIRED"
    assert holder() == mine["id"] and waiting() == set()
    assert woken() == {"token-mine": "ACQUIRED"}
    assert announced() == ["STARTED"]
    assert "lockedAt" in record(mine) and "outcome" not in record(mine)


def test_a_turn_that_is_taken_is_waited_for_asleep(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    first, second = coming(machine, "first", 1), coming(machine, "second", 2)
    locks.acquire("coder", lock_request(release=first["id"], execution=first["execution"]))
    decision = look(second, context)
    assert (decision["action"], decision["by"]) == ("WAIT", first["id"])
    assert waiting() == {second["id"]} and holder() == first["id"]
    assert woken() == {} and announced() == []
    (mine,) = locks.queue("coder").waiting
    assert mine["token"] == "token-second"


def test_a_push_that_a_newer_one_overtook_stands_aside(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    old, new = coming(machine, "old", 1), coming(machine, "new", 2)
    decision = look(old, context)
    assert (decision["action"], decision["by"]) == ("SUPERSEDED", new["id"])
    assert (record(old)["outcome"], record(old)["by"]) == ("SUPERSEDED", new["id"])
    assert "new" in record(old)["reason"] and "endedAt" in record(old)
    assert waiting() == set() and holder() is None
    assert woken() == {"token-old": "SUPERSEDED"}
    assert announced() == ["SUPERSEDED"]


def test_a_held_service_lets_no_push_through_but_an_order(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    locks.hold("coder", HOLD)
    push, command = coming(machine, "push", 1), coming(machine, "order", 2, trigger="deploy")
    assert look(push, context)["action"] == "HELD"
    assert record(push)["outcome"] == "HELD"
    assert record(push)["by"] == "ada" and "checkout is slow" in record(push)["reason"]
    assert look(command, context)["action"] == "ACQUIRED"
    assert announced() == ["HELD", "STARTED"]


def test_a_newer_push_wakes_the_older_ones_that_wait(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    running = coming(machine, "running", 0)
    locks.acquire("coder", lock_request(release=running["id"], execution=running["execution"]))
    command, one = coming(machine, "order", 0, trigger="deploy"), coming(machine, "one", 1)
    look(command, context)
    look(one, context)
    newest = coming(machine, "newest", 3)
    assert look(newest, context)["action"] == "WAIT"
    assert woken() == {"token-one": "WAIT"}
    assert look(one, context)["action"] == "SUPERSEDED"
    assert waiting() == {command["id"], newest["id"]}


def test_whoever_goes_first_is_woken_by_whoever_finds_the_turn_free(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    command, push = coming(machine, "order", 1, trigger="rollback"), coming(machine, "push", 0)
    locks.enqueue(
        "coder", deciding.lock_request(command, command["execution"], now(), "token-order")
    )
    decision = look(push, context)
    assert (decision["action"], decision["by"]) == ("WAIT", command["id"])
    late = coming(machine, "late", 2)
    assert look(late, context)["by"] == command["id"]
    assert woken()["token-order"] == "WAIT"
    assert holder() is None


def test_a_dead_holders_turn_is_taken_over(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    dead, mine = coming(machine, "dead", 1), coming(machine, "mine", 2)
    locks.acquire("coder", lock_request(release=dead["id"], execution=dead["execution"]))
    assert look(mine, context)["action"] == "WAIT"
    machine.stop(dead["execution"])
    assert look(mine, context)["action"] == "ACQUIRED"
    assert holder() == mine["id"]


def test_a_dead_claim_is_taken_out_of_the_line(
    machine: Machine, script: Script, announced: Any, context: Any
) -> None:
    script("stepfunctions", "SendTaskSuccess", refusal("TaskTimedOut"))
    dead, mine = coming(machine, "dead", 1, trigger="deploy"), coming(machine, "mine", 2)
    locks.enqueue(
        "coder", deciding.lock_request(dead, dead["execution"], "2026-11-23T14:00:00Z", "gone")
    )
    assert look(mine, context)["action"] == "WAIT", "it may be between two looks"
    machine.stop(dead["execution"])
    assert look(mine, context)["action"] == "ACQUIRED"
    assert waiting() == set()


def test_a_recovery_takes_the_turn_of_the_execution_that_it_puts_right(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    dead, push = coming(machine, "dead", 1), coming(machine, "push", 2)
    locks.acquire("coder", lock_request(release=dead["id"], execution=dead["execution"]))
    machine.stop(dead["execution"])
    recovery = machine.start("recovery")
    locks.enqueue("coder", deciding.lock_request(dead, recovery, now(), "token-recovery"))
    assert look(push, context)["by"] == dead["id"]
    assert look(dead, context, recovery)["action"] == "ACQUIRED"
    result = locks.queue("coder").holder
    assert result and (result["execution"], result["trigger"]) == (recovery, "recover")
    assert look(push, context)["action"] == "WAIT"


def test_of_two_that_see_the_turn_free_the_slower_one_looks_again(
    machine: Machine, woken: Any, announced: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look and its taking, another acquires the lock."""
    mine = coming(machine, "mine", 2)
    other = coming(machine, "other", 1, trigger="rollback")
    take = locks.acquire

    def beaten(service: str, asking: Any, instead_of: str = "") -> bool:
        monkeypatch.setattr(locks, "acquire", take)
        assert take("coder", lock_request(release=other["id"], execution=other["execution"]))
        return take(service, asking, instead_of)

    monkeypatch.setattr(locks, "acquire", beaten)
    assert look(mine, context)["action"] == "WAIT"
    assert holder() == other["id"] and waiting() == {mine["id"]}


def test_a_hold_that_comes_between_the_look_and_the_turn_holds(
    machine: Machine, woken: Any, announced: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = locks.acquire

    def held(service: str, asking: Any, instead_of: str = "") -> bool:
        monkeypatch.setattr(locks, "acquire", take)
        locks.hold("coder", HOLD)
        return take(service, asking, instead_of)

    monkeypatch.setattr(locks, "acquire", held)
    push = coming(machine, "push")
    assert look(push, context)["action"] == record(push)["outcome"] == "HELD"
    assert holder() is None and waiting() == set()


def test_a_recovery_stands_aside_for_a_release_that_changed_the_service_since(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    dead, later = coming(machine, "dead", 1), coming(machine, "later", 2)
    releases.note(dead, lockedAt="2026-11-23T14:01:00+00:00")
    releases.note(later, lockedAt="2026-11-23T14:02:00+00:00")
    recovery = machine.start("recovery")
    assert look(dead, context, recovery)["action"] == "ACQUIRED"  # it changed nothing
    locks.release("coder", recovery)
    releases.note(dead, lockedAt="2026-11-23T14:01:00+00:00")
    releases.note(later, rollout={"id": "ecs-svc/9"})
    decision = look(dead, context, recovery)
    assert (decision["action"], decision["by"]) == ("SUPERSEDED", later["id"])


def test_a_function_of_a_dead_execution_is_waited_for(
    machine: Machine,
    woken: Any,
    announced: Any,
    context: Any,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It looks again by itself: who might wake it is dead."""
    monkeypatch.setattr(acquire_lock, "time", clock)
    monkeypatch.setattr(locks, "time", clock)
    dead = coming(machine, "dead", 1)
    assert look(dead, context)["action"] == "ACQUIRED"
    next_one = coming(machine, "next", 2)
    with pytest.raises(KeyboardInterrupt), locks.lease("coder", dead["execution"]):
        raise KeyboardInterrupt  # it is killed in the middle
    machine.stop(dead["execution"])
    looks: list[str] = []
    while not looks or looks[-1] == "WAIT":
        looks.append(look(next_one, context)["action"])
        assert woken()["token-next"] == looks[-1]
    assert looks == ["WAIT", "WAIT", "WAIT", "ACQUIRED"]
    assert sum(clock.sleeps) == locks.CHANGE_SECONDS


def test_a_recovery_stands_aside_for_what_was_published_since(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    """A site has no rollouts."""
    dead, later = coming(machine, "dead", 1), coming(machine, "later", 2)
    releases.note(dead, lockedAt="2026-11-23T14:01:00+00:00")
    releases.note(later, lockedAt="2026-11-23T14:02:00+00:00")
    releases.close_release(later, "SUCCEEDED", {})
    behind = coming(machine, "behind", 3)
    locks.enqueue(
        "coder", lock_request(release=behind["id"], execution=behind["execution"], token="next")
    )
    decision = look(dead, context, machine.start("recovery"))
    assert (decision["action"], decision["by"]) == ("SUPERSEDED", later["id"])
    assert woken() == {"token-dead": "SUPERSEDED", "next": "WAIT"}, "who waited behind it looks"


def test_who_is_held_stays_held_when_the_look_is_tried_again(
    machine: Machine, script: Script, announced: Any, context: Any
) -> None:
    """The waking failed after the record was closed; meanwhile the hold ended."""
    script("stepfunctions", "SendTaskSuccess", refusal("AccessDeniedException"), {})
    locks.hold("coder", HOLD)
    push = coming(machine, "push")
    with pytest.raises(Exception, match="AccessDenied"):
        look(push, context)
    locks.release_hold("coder")
    decision = look(push, context)
    assert (decision["action"], decision["by"]) == ("HELD", "ada")
    assert record(push)["outcome"] == "HELD"
    assert holder() is None and waiting() == set()


def test_who_stood_aside_gives_up_the_turn_that_an_overlapping_try_took(
    machine: Machine, woken: Any, announced: Any, context: Any
) -> None:
    older = coming(machine, "1.1.0")
    look(older, context)
    releases.close_release(older, "SUPERSEDED", {"reason": "superseded by 1.2.0", "by": "1.2.0"})
    assert look(older, context)["action"] == "SUPERSEDED"
    assert locks.queue(older["service"]).holder is None


def test_nobody_waits_for_ever(machine: Machine, woken: Any, announced: Any, context: Any) -> None:
    first, second = coming(machine, "first", 1), coming(machine, "second", 2)
    locks.acquire("coder", lock_request(release=first["id"], execution=first["execution"]))
    long_ago = datetime.now(UTC) - deciding.PATIENCE
    just_in_time = (long_ago + timedelta(minutes=1)).isoformat()
    assert look(second, context, startedAt=just_in_time)["action"] == "WAIT"
    with pytest.raises(LockTimedOut, match=first["id"]):
        look(second, context, startedAt=(long_ago - timedelta(seconds=1)).isoformat())
    assert waiting() == set() and holder() == first["id"]


def test_a_hold_that_ends_between_the_look_and_the_record_holds_nothing_back(
    machine: Machine, woken: Any, announced: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ended it has looked for what was held back already, and did not find this push."""
    close = releases.close_held

    def ended(*arguments: Any) -> bool | None:
        locks.release_hold("coder")
        return close(*arguments)

    monkeypatch.setattr(releases, "close_held", ended)
    locks.hold("coder", HOLD)
    push = coming(machine, "push")
    assert look(push, context)["action"] == "ACQUIRED"
    assert "outcome" not in record(push) and announced() == ["STARTED"]
