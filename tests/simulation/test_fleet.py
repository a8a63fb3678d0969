"""Many services of one deployer, pushed within a minute, under AWS's documented quotas."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.simulation import fleet, runtime
from tests.simulation.fleet import KINDS, Fleet

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
def test_the_documentation_holds_the_fleets() -> None:
    output = (runtime.ROOT / "docs/simulation.md").read_text()
    assert fleet.table() in output, "put what `python -m tests.simulation fleet` prints into it"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_200_services_have_the_right_outcomes(kind: str) -> None:
    right(fleet.run(200, kind))
