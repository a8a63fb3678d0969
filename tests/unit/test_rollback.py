"""Whether and how to roll back after a release failed."""

from typing import Any

import pytest

from deployer.deploy import rollback
from deployer.deploy.rollback import Rollback
from tests.unit.samples import OLD_REVISION, REVISION, before, ours, previous, release, service

STRANGER = f"{REVISION}9"
OURS = service(ours(), before())
WENT_BACK = service(before(status="PRIMARY"), ours(status="ACTIVE"))
OTHERS = service(before(status="PRIMARY", taskDefinition=STRANGER))
MOVED = service(ours(networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-new"]}}))
HOME = service(ours(**{"networkConfiguration": previous()["networkConfiguration"]}))
WENT_BACK_HOME = service(*HOME["deployments"], MOVED["deployments"][0] | {"status": "ACTIVE"})
GROWN = {"schema": {"number": 13, "hash": "f01"}}


def decide(now: dict[str, Any] | None, **given: Any) -> Rollback:
    facts: dict[str, Any] = {
        "release": release(),
        "revision": REVISION,
        "previous": previous(),
        "was_running": True,
        "touched": True,
        "ran": True,
        "snapshot": None,
    }
    return rollback.decide(now, **facts | given)


CASES: list[tuple[str, dict[str, Any] | None, dict[str, Any], str, str]] = [
    ("the new release is in place", OURS, {}, "ROLL_BACK", "2.0.0"),
    (
        "the reply of the update was lost, and it is in place",
        OURS,
        {"touched": False},
        "ROLL_BACK",
        "2.0.0",
    ),
    (
        "the previous one has no version",
        OURS,
        {"previous": previous(version=None)},
        "ROLL_BACK",
        OLD_REVISION,
    ),
    (
        "an earlier release has migrated the database, and this one never ran",
        OURS,
        {"previous": previous(databaseSchema={"number": 99, "hash": "f99"}), "ran": False},
        "LEAVE",
        "99",
    ),
    ("ECS went back by itself", WENT_BACK, {}, "AWAIT", "ECS"),
    ("the update never took place", WENT_BACK, {"touched": False}, "LEAVE", "not changed"),
    ("somebody else changed it", OTHERS, {}, "LEAVE", STRANGER),
    ("it was never ours", OTHERS, {"touched": False}, "LEAVE", "not changed"),
    ("there is no service", None, {}, "LEAVE", "no service"),
    ("nothing is primary", service(), {}, "LEAVE", "no service"),
    (
        "the same release again",
        OURS,
        {"previous": previous(taskDefinition=REVISION)},
        "LEAVE",
        "ran before",
    ),
    (
        "a first release",
        OURS,
        {"previous": None, "was_running": False},
        "STOP",
        "no previous release",
    ),
    (
        "nothing good is known of what ran",
        OURS,
        {"previous": None},
        "LEAVE",
        "known to be good",
    ),
    (
        "the schema grew and a task ran",
        OURS,
        {"release": release(**GROWN)},
        "LEAVE",
        "can't run on the database schema",
    ),
    (
        "the schema would grow but no task ran",
        OURS,
        {"release": release(**GROWN), "ran": False},
        "ROLL_BACK",
        "2.0.0",
    ),
    (
        "it ran on a restored database, which is put away again",
        OURS,
        {"release": release(**GROWN, restore="a-snapshot"), "restored": True},
        "ROLL_BACK",
        "2.0.0",
    ),
    (
        "the previous one can't run on the database as it was either",
        OURS,
        {
            "release": release(restore="a-snapshot"),
            "restored": True,
            "previous": previous(databaseSchema={"number": 99, "hash": "f99"}),
        },
        "LEAVE",
        "stays on the restored one",
    ),
    (
        "the same revision ran on a restored database",
        OURS,
        {
            "release": release(restore="a-snapshot"),
            "restored": True,
            "previous": previous(taskDefinition=REVISION),
        },
        "ROLL_BACK",
        "2.0.0",
    ),
    (
        "the same revision on a restored database in another network, and it needs that database",
        MOVED,
        {
            "release": release(restore="a-snapshot"),
            "restored": True,
            "previous": previous(
                taskDefinition=REVISION, databaseSchema={"number": 99, "hash": "f99"}
            ),
        },
        "ROLL_BACK",
        "the network that",
    ),
    (
        "the same revision in another network",
        MOVED,
        {"previous": previous(taskDefinition=REVISION)},
        "ROLL_BACK",
        "2.0.0",
    ),
    (
        "ECS went back to the same revision in the network before",
        WENT_BACK_HOME,
        {"previous": previous(taskDefinition=REVISION), "replaced": True},
        "AWAIT",
        "ECS",
    ),
    (
        "the network was to change and did not",
        HOME,
        {"previous": previous(taskDefinition=REVISION), "touched": False},
        "LEAVE",
        "not changed",
    ),
    (
        "the snapshot that bars the way back is named",
        OURS,
        {"release": release(**GROWN), "snapshot": "deployer-coder-1"},
        "LEAVE",
        "deployer-coder-1",
    ),
    (
        "the schema is now named, and a task ran",
        OURS,
        {"previous": previous(schema=None)},
        "LEAVE",
        "can't run on the database schema",
    ),
    (
        "neither names a schema",
        OURS,
        {"previous": previous(schema=None), "release": release(schema=None)},
        "ROLL_BACK",
        "2.0.0",
    ),
]


@pytest.mark.parametrize(
    ("now", "given", "action", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_what_is_done_about_a_failed_release(
    now: dict[str, Any] | None, given: dict[str, Any], action: str, reason: str
) -> None:
    decided = decide(now, **given)
    assert decided["action"] == action
    assert reason in decided["reason"]


@pytest.mark.parametrize("now", [OURS, WENT_BACK, OTHERS, None])
@pytest.mark.parametrize("touched", [True, False])
@pytest.mark.parametrize("ran", [True, False])
@pytest.mark.parametrize("known", [previous(), None])
def test_a_service_that_ran_is_never_stopped(
    now: dict[str, Any] | None, touched: bool, ran: bool, known: Any
) -> None:
    decided = decide(now, touched=touched, ran=ran, previous=known, was_running=True)
    assert decided["action"] != "STOP"
    if known is None:
        assert decided["action"] == "LEAVE"


# the release that failed, in another network; it cannot run on the database as it was
SAME_ON_NEWER = previous(taskDefinition=REVISION, databaseSchema={"number": 99, "hash": "f99"})


@pytest.mark.parametrize(
    ("now", "given", "keeps"),
    [
        (OURS, {}, False),
        (None, {}, False),
        (WENT_BACK, {"touched": False}, False),
        (HOME, {"touched": False, "previous": previous(taskDefinition=REVISION)}, False),
        (OURS, {"previous": None, "was_running": False}, False),
        (OTHERS, {}, True),
        (OURS, {"previous": None}, True),
        (OURS, {"previous": previous(databaseSchema={"number": 99, "hash": "f99"})}, True),
        (MOVED, {"previous": SAME_ON_NEWER}, True),
        (WENT_BACK_HOME, {"previous": SAME_ON_NEWER, "replaced": True}, True),
        (MOVED, {"previous": previous(taskDefinition=REVISION)}, False),
    ],
    ids=[
        "going back",
        "no service",
        "not changed",
        "not changed, the same revision",
        "stopped",
        "somebody else's",
        "nothing good is known",
        "no way back",
        "the same revision, into its network",
        "the same revision, in its network again",
        "the same revision, on the database as it was",
    ],
)
def test_the_secret_goes_on_leading_to_a_restored_database_if_that_stays_in_use(
    now: Any, given: Any, keeps: bool
) -> None:
    facts = {"previous": previous(), "restored": True, "release": release(restore="a-snapshot")}
    decided = decide(now, **facts | given)
    known = (facts | given)["previous"]
    assert rollback.keeps_database(decided, now, REVISION, known) == keeps
