"""One deployment of a service at a time, and the newest push wins, in whatever order all look."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import lock
from deployer.deploy.release import release_id
from deployer.lock import LockRequest
from tests.unit.samples import ANOTHER_EXECUTION, EXECUTION, lock_request, recorded, release

START = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
HOLD: Any = {"by": "ada", "at": START.isoformat(), "reason": "checkout is slow"}


def at(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def asks(
    number: int, second: int, trigger: str = "push", since: float | None = None
) -> LockRequest:
    """A claim of the release that came at a second; `since` is when its execution began."""
    execution = f"execution-{number}"
    digest = f"sha256:{number:012}"
    by_hand = None if trigger == "push" else execution
    return lock_request(
        release=release_id(START + timedelta(seconds=second), digest, by_hand),
        execution=execution,
        trigger=trigger,
        pushedAt=at(second),
        since=at(second + 0.5 if since is None else since),
    )


def record(of: LockRequest, **changes: Any) -> Any:
    """The record that a claim's release has while it is in flight."""
    result: Any = recorded(
        id=of["release"],
        version=of["release"],
        trigger="deploy" if of["trigger"] == "recover" else of["trigger"],
        pushedAt=of["pushedAt"],
        startedAt=of["since"],
        execution=of["execution"],
    )
    del result["outcome"]
    return result | changes


MINE = asks(5, 5)
OLDER, NEWER = asks(1, 1), asks(9, 9)
ORDER = asks(2, 2, "deploy")
RESTART = asks(7, 7, "restart", since=7)
EARLY, LATE = asks(3, 3, "rollback"), asks(7, 7, "rollback")


SAME = asks(4, 4)  # the same image under another tag
BETWEEN = asks(45, 4, "rollback", 4.5)


def decide(mine: LockRequest = MINE, **given: Any) -> lock.Decision:
    facts = {"holder": None, "waiting": [], "hold": None, "history": [record(mine)]}
    return lock.decide(mine, **facts | given)


CASES: list[tuple[str, LockRequest, dict[str, Any], str, str]] = [
    ("nobody is there", MINE, {}, "ACQUIRED", ""),
    ("its record is not read yet", MINE, {"history": []}, "ACQUIRED", ""),
    ("the lock is its own", MINE, {"holder": MINE}, "ACQUIRED", ""),
    ("its own although held", MINE, {"holder": MINE, "hold": HOLD}, "ACQUIRED", ""),
    (
        "its own although overtaken",
        MINE,
        {"holder": MINE, "history": [record(NEWER)]},
        "ACQUIRED",
        "",
    ),
    ("another has it", MINE, {"holder": OLDER}, "WAIT", OLDER["release"]),
    (
        "another execution of its release has it",
        MINE,
        {"holder": MINE | {"execution": "x"}},
        "WAIT",
        MINE["release"],
    ),
    ("it waits itself", MINE, {"waiting": [MINE]}, "ACQUIRED", ""),
    ("a request has it", MINE, {"holder": ORDER}, "WAIT", ORDER["release"]),
    ("a request waits", MINE, {"waiting": [ORDER]}, "WAIT", ORDER["release"]),
    ("an older push waits", MINE, {"waiting": [OLDER]}, "ACQUIRED", ""),
    ("held", MINE, {"hold": HOLD}, "HELD", "ada"),
    ("held and another has it", MINE, {"hold": HOLD, "holder": OLDER}, "HELD", "ada"),
    ("a request although held", ORDER, {"hold": HOLD}, "ACQUIRED", ""),
    ("a recovery although held", asks(2, 2, "recover"), {"hold": HOLD}, "ACQUIRED", ""),
    ("a newer push", MINE, {"history": [record(NEWER)]}, "SUPERSEDED", NEWER["release"]),
    (
        "a newer push, and another has it",
        MINE,
        {"history": [record(NEWER)], "holder": OLDER},
        "SUPERSEDED",
        NEWER["release"],
    ),
    ("an older push", MINE, {"history": [record(OLDER)]}, "ACQUIRED", ""),
    *(
        (
            f"another tag of the same push was {outcome}",
            MINE,
            {"history": [record(MINE), record(SAME, tag="v2.1.0", outcome=outcome)]},
            *(("SUPERSEDED", SAME["release"]) if outcome != "SUPERSEDED" else ("ACQUIRED", "")),
        )
        for outcome in ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED")
    ),
    *(
        (
            f"another tag of its image, {what}",
            MINE,
            {
                "history": [
                    record(MINE),
                    record(SAME, tag="v2.1.0", outcome="SUCCEEDED", **changes),
                    *others,
                ]
            },
            "ACQUIRED",
            "",
        )
        for what, changes, others in (
            ("long before", {"pushedAt": at(-56)}, []),
            ("and a request between", {}, [record(BETWEEN, outcome="FAILED")]),
            ("and another push between", {"pushedAt": at(0)}, [record(OLDER, digest="sha256:1")]),
            ("of another image", {"digest": "sha256:1"}, []),
        )
    ),
    *(
        (
            f"a resumption, and a newer push that was {outcome}",
            MINE | {"trigger": "resume"},
            {"history": [record(NEWER, outcome=outcome)]},
            *(("SUPERSEDED", NEWER["release"]) if outcome == "SUCCEEDED" else ("ACQUIRED", "")),
        )
        for outcome in ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "HELD", "SUPERSEDED", None)
    ),
    *(
        (
            f"a request for {'a site' if newest else 'an image'}, and a newer push is live",
            MINE | {"trigger": "deploy"},
            {
                "history": [
                    record(NEWER, outcome="SUCCEEDED"),
                    record(
                        MINE, trigger="deploy", **({"source": "sources/a.zip"} if newest else {})
                    ),
                ]
            },
            *(("SUPERSEDED", NEWER["release"]) if newest else ("ACQUIRED", "")),
        )
        for newest in (True, False)
    ),
    (
        "a resumption, and an older push that is live",
        MINE | {"trigger": "resume"},
        {"history": [record(OLDER, outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    *(
        (
            f"a newer push that was {outcome}",
            MINE,
            {"history": [record(NEWER, outcome=outcome)]},
            "SUPERSEDED",
            NEWER["release"],
        )
        for outcome in ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "HELD", "SUPERSEDED")
    ),
    (
        "a newer push that was ignored",
        MINE,
        {"history": [record(NEWER, outcome="IGNORED")]},
        "ACQUIRED",
        "",
    ),
    ("a later order in flight, which may fail", MINE, {"history": [record(LATE)]}, "ACQUIRED", ""),
    (
        "a later order that was carried out",
        MINE,
        {"history": [record(LATE, outcome="SUCCEEDED")]},
        "SUPERSEDED",
        LATE["release"],
    ),
    (
        "a later order that failed",
        MINE,
        {"history": [record(LATE, outcome="FAILED")]},
        "ACQUIRED",
        "",
    ),
    (
        "an earlier order that was carried out",
        MINE,
        {"history": [record(EARLY, outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    (
        "a later note",
        MINE,
        {"history": [record(LATE, trigger="hold", outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    (
        "a request to resume an earlier push",
        MINE,
        {"history": [record(asks(7, 3, "resume", since=7), outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    (
        "a request to resume a later push",
        MINE,
        {"history": [record(asks(7, 6, "resume", since=7)), record(asks(6, 6), outcome="HELD")]},
        "SUPERSEDED",
        asks(6, 6)["release"],
    ),
    (
        "a push of the same second with a higher id",
        MINE,
        {"history": [record(asks(6, 5))]},
        "SUPERSEDED",
        asks(6, 5)["release"],
    ),
    (
        "one with a higher id that holds the lock",
        MINE,
        {"history": [record(asks(6, 5))], "holder": asks(6, 5)},
        "WAIT",
        asks(6, 5)["release"],
    ),
    (
        "a later order, carried out, for an older image",
        MINE,
        {"history": [record(asks(7, 2, "rollback", since=7), outcome="SUCCEEDED")]},
        "SUPERSEDED",
        asks(7, 2, "rollback")["release"],
    ),
    (
        "a push of the same second that has the tag now, and is done",
        MINE,
        {
            "history": [
                record(MINE, tagMoved=True),
                record(asks(4, 5), outcome="SUCCEEDED"),
            ]
        },
        "SUPERSEDED",
        asks(4, 5)["release"],
    ),
    (
        "one with a higher id that lost the tag to it",
        MINE,
        {"history": [record(MINE), record(asks(6, 5), tagMoved=True)]},
        "ACQUIRED",
        "",
    ),
    (
        "one of another tag, although it lost its own",
        MINE,
        {
            "history": [
                record(MINE, tagMoved=True),
                record(asks(4, 5), tag="x", digest="sha256:4", outcome="SUCCEEDED"),
            ]
        },
        "ACQUIRED",
        "",
    ),
    ("one with a lower id", MINE, {"history": [record(asks(4, 5))]}, "ACQUIRED", ""),
    (
        "one with a higher id that is done",
        MINE,
        {"history": [record(asks(6, 5), outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    ("orders do not overtake each other", EARLY, {"history": [record(LATE)]}, "ACQUIRED", ""),
    (
        "a request that was given later and carried out before",
        EARLY,
        {"history": [record(LATE, outcome="SUCCEEDED")]},
        "SUPERSEDED",
        LATE["release"],
    ),
    (
        "a request that was given later and failed before",
        EARLY,
        {"history": [record(LATE, outcome="FAILED_ROLLED_BACK")]},
        "ACQUIRED",
        "",
    ),
    (
        "a restart of what is not live any more",
        RESTART,
        {
            "history": [
                record(RESTART, to=OLDER["release"]),
                record(MINE, outcome="SUCCEEDED", endedAt=at(6)),  # recorded after it was asked for
                record(OLDER, outcome="SUCCEEDED"),
            ]
        },
        "SUPERSEDED",
        MINE["release"],
    ),
    (
        "a restart of what is live",
        RESTART,
        {
            "history": [
                record(RESTART, to=OLDER["release"]),
                record(MINE, outcome="FAILED_ROLLED_BACK"),
                record(OLDER, outcome="SUCCEEDED"),
            ]
        },
        "ACQUIRED",
        "",
    ),
    (
        "a restart that was carried out",
        MINE,
        {"history": [record(asks(7, 2, "restart", since=7), outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    (
        "a request that was given before",
        LATE,
        {"history": [record(EARLY, outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    (
        "a push that came later",
        ORDER,
        {"history": [record(NEWER, outcome="SUCCEEDED")]},
        "ACQUIRED",
        "",
    ),
    ("nor does a push a request", ORDER, {"history": [record(NEWER)]}, "ACQUIRED", ""),
    ("an earlier order waits", LATE, {"waiting": [EARLY]}, "WAIT", EARLY["release"]),
    ("a later order waits", EARLY, {"waiting": [LATE]}, "ACQUIRED", ""),
    (
        "a request of the same moment with a lower id",
        LATE,
        {"waiting": [LATE | {"release": "0"}]},
        "WAIT",
        "0",
    ),
    ("a push waits", ORDER, {"waiting": [OLDER, NEWER]}, "ACQUIRED", ""),
    ("a recovery waits", MINE, {"waiting": [asks(8, 8, "recover")]}, "WAIT", "20261123T140008Z"),
    (
        "it was held on an earlier try, and the hold is over",
        MINE,
        {"history": [record(MINE, outcome="HELD", by="ada")]},
        "HELD",
        "ada",
    ),
    (
        "it was superseded on an earlier try, and what superseded it failed",
        MINE,
        {"history": [record(LATE, outcome="FAILED"), record(MINE, outcome="SUPERSEDED", by="x")]},
        "SUPERSEDED",
        "x",
    ),
]


@pytest.mark.parametrize(
    ("mine", "given", "action", "by"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_a_claim_comes_to(
    mine: LockRequest, given: dict[str, Any], action: str, by: str
) -> None:
    decision = decide(mine, **given)
    assert decision["action"] == action
    assert decision["by"].startswith(by)
    assert decision["reason"] or "outcome" in given["history"][-1]


def test_who_is_held_back_is_told_by_whom_and_why() -> None:
    reason = decide(hold=HOLD)["reason"]
    assert all(message in reason for message in (HOLD["by"], HOLD["at"], HOLD["reason"]))


def test_times_are_compared_as_times_and_not_as_texts() -> None:
    elsewhere = record(NEWER, pushedAt="2026-11-23T09:00:04-05:00")  # a second before MINE
    assert decide(history=[elsewhere])["action"] == "ACQUIRED"
    early = EARLY | {"since": "2026-11-23T09:00:00.5-05:00"}
    assert decide(ORDER, waiting=[early])["by"] == EARLY["release"]


def test_a_claim_says_who_asks_for_what() -> None:
    entry = lock.lock_request(release(), EXECUTION, "2026-11-23T14:25:04.123Z", "a-token")
    assert entry == lock_request()


def test_an_execution_that_puts_right_what_another_left_claims_as_such() -> None:
    entry = lock.lock_request(release(), ANOTHER_EXECUTION, at(0), "a-token")
    assert (entry["trigger"], entry["execution"]) == ("recover", ANOTHER_EXECUTION)


# everyone


@st.composite
def crowds(draw: st.DrawFn) -> list[LockRequest]:
    """Claims within a few seconds of each other; no two with one id, as no two executions have."""
    triggers = st.sampled_from(["push", "push", "push", "deploy", "rollback", "resume", "recover"])
    seconds = st.integers(0, 3)
    drawn = draw(st.lists(st.tuples(triggers, seconds, seconds), min_size=1, max_size=6))
    return [
        asks(number, second, trigger, second + late)
        for number, (trigger, second, late) in enumerate(drawn)
    ]


outcomes = st.sampled_from(
    [None, "SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED", "HELD", "IGNORED"]
)


@given(crowds(), st.lists(st.tuples(crowds(), outcomes), max_size=2), st.none() | st.just(HOLD))
def test_of_all_who_look_at_once_one_takes_the_turn_that_is_free(
    crowd: list[LockRequest], earlier: list[tuple[list[LockRequest], Any]], hold: Any
) -> None:
    history = [record(entry) for entry in crowd]
    for past, outcome in earlier:
        others = [record(entry, outcome=outcome) for entry in past]
        history += [r for r in others if all(r["id"] != known["id"] for known in history)]
    decided = [
        lock.decide(mine, None, [c for c in crowd if c is not mine], hold, history)["action"]
        for mine in crowd
    ]
    pushes = [a for a, mine in zip(decided, crowd, strict=True) if mine["trigger"] == "push"]
    requests = [a for a, mine in zip(decided, crowd, strict=True) if mine["trigger"] != "push"]
    assert "HELD" not in requests
    resumed = any(mine["trigger"] == "resume" for mine in crowd)  # which a newer push supersedes
    live = [r for r in history if r.get("outcome") == "SUCCEEDED"]
    carried_out = [r for r in live if r["trigger"] != "push" or resumed]
    if "SUPERSEDED" in requests:
        assert carried_out  # who waited for a request that stands aside is woken by it
    else:
        assert decided.count("ACQUIRED") == (1 if {"ACQUIRED", "WAIT"} & set(decided) else 0)
    if hold:
        assert set(pushes) <= {"HELD"}
    if requests:
        assert "ACQUIRED" not in pushes


@given(crowds(), st.data())
def test_everyone_ends_and_no_push_comes_after_a_newer_one(
    crowd: list[LockRequest], data: st.DataObject
) -> None:
    """They come in any order, late ones too, and the holder ends well or badly whenever."""
    coming = data.draw(st.permutations(crowd))
    waiting: list[LockRequest] = []
    records: dict[str, Any] = {}
    took: list[LockRequest] = []
    holder: LockRequest | None = None

    def look(mine: LockRequest) -> None:
        nonlocal holder
        if mine not in waiting:
            return  # it stood aside when another woke it
        others = [entry for entry in waiting if entry is not mine]
        decision = lock.decide(mine, holder, others, None, list(records.values()))
        own = records[mine["release"]]
        if decision["action"] == "ACQUIRED":
            assert holder in (None, mine)
            holder = mine
            took.append(mine)
            waiting.remove(mine)
        elif decision["action"] == "SUPERSEDED":
            over = records[decision["by"]]
            if over["trigger"] == "push":
                assert (over["pushedAt"], over["id"]) > (own["pushedAt"], own["id"])
            own |= {"outcome": "SUPERSEDED", "by": decision["by"]}
            waiting.remove(mine)
            if mine["trigger"] != "push":
                for other in [*waiting]:
                    look(other)

    while coming or waiting or holder:
        if coming and (holder is None or data.draw(st.booleans())):
            mine = coming.pop()
            records[mine["release"]] = record(mine)
            waiting.append(mine)
            look(mine)
        else:
            assert holder
            ended = data.draw(st.sampled_from(["SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK"]))
            records[holder["release"]]["outcome"] = ended
            holder = None
            for mine in data.draw(st.permutations(waiting)):
                look(mine)
            assert holder or not waiting, "everyone waits and nobody holds the lock"

    assert len(records) == len(crowd)
    assert all("outcome" in entry for entry in records.values())
    pushes = [c["pushedAt"] for c in took if c["trigger"] == "push"]
    assert pushes == sorted(pushes)
    assert len({c["release"] for c in took}) == len(took)
    newest = max((c for c in crowd if c["trigger"] == "push"), key=_pushed, default=None)
    if newest and newest not in took:
        by = records[records[newest["release"]].get("by")]
        assert by["trigger"] != "push" and by["outcome"] == "SUCCEEDED"


def _pushed(entry: LockRequest) -> tuple[str, str]:
    return entry["pushedAt"], entry["release"]
