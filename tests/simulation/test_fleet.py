"""Many services of one deployer, pushed within a minute, under AWS's documented quotas."""

from collections.abc import Mapping
from typing import Any

import pytest

from deployer.aws import client
from tests.simulation import fleet, runtime
from tests.simulation.fleet import KINDS, TRIES, Bucket, Fleet

TENTH: Mapping[str, Any] = {"number": 20, "scale": 0.1}  # what 200 meet at the whole of the quotas


def right(world: Fleet) -> None:
    assert [release for release in world.outcomes() if not release.right] == []
    assert set(world.invariants.outcomes.values()) == {1}, "an outcome is announced once"
    assert world.orphans() == []
    assert world.failed() == 0, "an execution failed because AWS throttled it"
    assert max(seconds for _, seconds in world.rounds) < runtime.LIMITS["Reconcile"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fleet_has_the_right_outcomes_though_aws_throttles(kind: str) -> None:
    world = Fleet(**TENTH, **KINDS[kind]).deploy()
    right(world)
    assert world.throttled["RegisterTaskDefinition"]
    # a page of all specs, and its own; a tag that no spec names asks for all once a minute
    assert world.count["GetParametersByPath"] <= 20 * (2 if kind.endswith("too") else 1) + 12


def test_the_documentation_holds_the_quotas_and_small_fleets() -> None:
    output = (runtime.ROOT / "docs/simulation.md").read_text()
    assert fleet.quotas() in output, "put what `python -m tests.simulation fleet` prints into it"
    for number in (1, 10):
        assert fleet.row(fleet.run(number, ""), "") in output, "as above"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "kind"), fleet.WHOLE[2:])
def test_the_documentation_holds_the_fleets_and_their_outcomes_are_right(
    number: int, kind: str
) -> None:
    world = fleet.run(number, kind)
    right(world)
    output = (runtime.ROOT / "docs/simulation.md").read_text()
    assert fleet.row(world, kind) in output, "put what `python -m tests.simulation fleet` prints"


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    bucket = Bucket(3, 0.5)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(at) for at in (11.0, 12.0, 13.0, 20.0)] == [False, True, False, True]
    assert [bucket.reserve(20.0) for _ in range(4)] == [0.0, 0.0, 2.0, 4.0]


def test_botocore_tries_as_often_as_the_deployer_configures_it() -> None:
    assert client("ecs").meta.config.retries == {"mode": "standard", "total_max_attempts": TRIES}
