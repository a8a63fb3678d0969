"""What a deployment needs is there before anything is changed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.deploy import preflight, prerequisites
from deployer.errors import PreflightFailed, ServiceScaledDown
from tests.unit.samples import ADOPTED, recorded, release, service, spec

SUBNETS = {"subnet-0123456789abcdef0": {"VpcId": "vpc-1"}}
VPC = {"subnets": [*SUBNETS], "securityGroups": ["sg-0123456789abcdef0"]}
NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
STOPPED = {"rollback": {"action": "STOP", "reason": ""}}
GROUPS = {"sg-0123456789abcdef0": {"VpcId": "vpc-1"}}


def check(
    cluster: str | None = "ACTIVE",
    subnets: dict[str, Any] = SUBNETS,
    groups: dict[str, Any] = GROUPS,
    roles: dict[str, bool | None] | None = None,
) -> None:
    looked = [
        *prerequisites.cluster(spec(), cluster),
        *prerequisites.network(VPC, subnets, groups),
        *prerequisites.roles(roles or {"arn:role/a": True}),
    ]
    preflight.check(looked)


def test_with_everything_there_it_passes() -> None:
    check()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"cluster": "MISSING"}, ["cluster coder is missing", "ClusterName"]),
        ({"cluster": None}, ["cluster coder", "ClusterName"]),
        ({"cluster": "INACTIVE"}, ["cluster coder is INACTIVE"]),
        ({"subnets": {}}, ["subnet-0123456789abcdef0"]),
        ({"groups": {}}, ["sg-0123456789abcdef0"]),
        ({"roles": {"arn:role/a": False, "arn:role/b": False}}, ["arn:role/a", "arn:role/b"]),
        ({"roles": {"arn:role/a": None}}, ["arn:role/a", "ExecutionRolePattern"]),
        ({"groups": {"sg-0123456789abcdef0": {"VpcId": "vpc-2"}}}, ["vpc-1", "vpc-2"]),
        (
            {"cluster": "MISSING", "subnets": {}, "roles": {"arn:role/a": False}},
            ["cluster", "subnet-0123456789abcdef0", "arn:role/a"],
        ),
    ],
)
def test_everything_that_is_missing_is_named_at_once(
    given: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(PreflightFailed) as caught:
        check(**given)
    for name in named:
        assert name in str(caught.value)


GOOD, BAD = recorded(), recorded(outcome="FAILED")


@pytest.mark.parametrize(
    ("now", "history", "expected"),
    [
        (None, [], None),
        (service(desiredCount=2), [GOOD], None),
        (service(desiredCount=2), [], None),
        (service(desiredCount=0), [], 4),
        (service(desiredCount=0), [BAD], 4),
        (service(desiredCount=2), [{**BAD, **STOPPED, "endedAt": "2026-11-23T14:29:50Z"}], 2),
        (service(desiredCount=2), [{**BAD, **STOPPED, "endedAt": "2026-11-23T14:20:00Z"}], None),
        (
            service(desiredCount=2),
            [{**BAD, "outcome": "HELD"}, {**BAD, **STOPPED, "endedAt": "2026-11-23T14:29:50Z"}],
            2,
        ),
    ],
    ids=[
        "no service",
        "it runs",
        "it runs, unknown",
        "zero, never good",
        "zero, stopped by us",
        "stopped by us just now: the read may be an old one, or the team scaled it up",
        "stopped by us, and scaled up since",
        "stopped by us just now, and another push held since",
    ],
)
def test_the_desired_count_belongs_to_the_team_once_a_release_was_good(
    now: dict[str, Any] | None, history: list[Any], expected: int | None
) -> None:
    assert preflight.desired_count(spec(creates__desiredCount=4), now, history, NOW) == expected


def test_a_service_that_is_only_adopted_is_not_scaled_up() -> None:
    with pytest.raises(ServiceScaledDown, match="coder"):
        preflight.desired_count(spec(**ADOPTED), service(desiredCount=0), [], NOW)


def test_a_service_that_somebody_scaled_to_zero_is_not_deployed() -> None:
    with pytest.raises(ServiceScaledDown, match="coder"):
        preflight.desired_count(spec(), service(desiredCount=0), [BAD, GOOD], NOW)


@pytest.mark.parametrize(
    ("knows", "restore", "passes"),
    [
        (12, None, False),
        (13, None, True),
        (14, None, True),
        (12, "snapshot", True),
        (None, None, True),
    ],
    ids=["older", "the same", "newer", "older, restored", "unknown"],
)
def test_a_release_that_knows_an_older_schema_only_is_refused(
    knows: int | None, restore: str | None, passes: bool
) -> None:
    """It would not start, and after it nothing would run."""
    schema = None if knows is None else {"number": knows, "hash": "f00"}
    coming = release(schema=schema, restore=restore)
    history = [recorded(schema={"number": 13, "hash": "f01"})]
    if passes:
        preflight.check_schema(coming, history)
        return
    with pytest.raises(PreflightFailed, match=r"schema 12 and the database has 13"):
        preflight.check_schema(coming, history)
