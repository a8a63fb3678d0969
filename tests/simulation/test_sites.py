"""Whatever befalls a documentation site, the invariants hold; without a guard they do not."""

import pytest

from tests.simulation import plans, sites
from tests.simulation.guards import SITE_GUARDS, Guard, caught

QUICK = {
    "docs: a hold ends before the choice",
    "docs: a newer push supersedes a resume",
    "docs: a retry keeps to its archive",
    "docs: held only while there is a hold",
    "docs: pruning needs the lock",
    "docs: publishing needs the lock",
}


@pytest.mark.parametrize("name", [*sites.HELD, "a hold and its end"])
def test_people_act_at_every_call_of_a_hold_and_its_end(name: str) -> None:
    for plan in plans.interleaved(name):
        result = plans.broken(plan)
        assert result is None, f"{plan.faults}: {result}"


@pytest.mark.parametrize("tens", range(10))
def test_random_schedules_of_a_site_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        result = plans.broken(sites.random_plan(seed))
        assert result is None, f"seed {seed}: {result}"


@pytest.mark.parametrize("guard", [g for g in SITE_GUARDS if g.name in QUICK], ids=lambda g: g.name)
def test_a_guard_of_a_site_is_missed(guard: Guard) -> None:
    assert caught(guard, seeds=0)
