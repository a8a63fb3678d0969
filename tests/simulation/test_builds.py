"""Whatever befalls a build, the invariants hold; without a guard they do not."""

import pytest

from tests.simulation import builds, plans, worlds
from tests.simulation.guards import BUILD_GUARDS, Guard, caught
from tests.simulation.world import Plan

QUICK = {
    "builds: a content is built once",
    "builds: a redriven one needs the lock",
    "builds: the clock closes what no event told",
    "builds: three tries are the most",
    "builds: what may have pushed is not stopped",
}


@pytest.mark.parametrize("tens", range(10))
def test_random_schedules_of_builds_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        result = plans.broken(builds.random_plan(seed))
        assert result is None, f"seed {seed}: {result}"


@pytest.mark.parametrize("plan", [*builds.AT_CALLS, *builds.FOUND.values()])
def test_what_the_simulation_found_stays_mended(plan: Plan) -> None:
    worlds.run(plan)


@pytest.mark.parametrize(
    "guard", [g for g in BUILD_GUARDS if g.name in QUICK], ids=lambda g: g.name
)
def test_a_guard_of_builds_is_missed(guard: Guard) -> None:
    assert caught(guard, seeds=0)
