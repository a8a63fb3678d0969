"""Whatever befalls a deployment, the invariants hold; without a guard they do not."""

from itertools import islice

import pytest

from tests.simulation import plans, race, runtime, worlds
from tests.simulation.application import App
from tests.simulation.asl import Expression, compile_template
from tests.simulation.guards import GUARDS, Guard, caught
from tests.simulation.world import Plan
from tests.simulation.worlds import PLANS, order, push

STRIDE = 37  # of the single faults; `python -m tests.simulation faults` runs them all
QUICK = {
    "a failure goes back",
    "a hold holds",
    "a newer push supersedes",
    "credentials are struck out",
    "the data is compared",
    "the served version is asked",
    "the turn is taken under a condition",
}


@pytest.mark.parametrize("name", PLANS)
def test_every_world_holds_undisturbed_and_with_single_faults(name: str) -> None:
    worlds.run(PLANS[name])
    for plan in islice(plans.single_faults(name), len(name), None, STRIDE):
        worlds.run(plan)


@pytest.mark.parametrize("tens", range(30))
def test_random_schedules_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        found = plans.broken(plans.random_plan(seed))
        assert found is None, f"seed {seed}: {found}"


def test_a_plan_runs_the_same_each_time() -> None:
    assert plans.told(plans.random_plan(7)) == plans.told(plans.random_plan(7))


@pytest.mark.parametrize("guard", [g for g in GUARDS if g.name in QUICK], ids=lambda g: g.name)
def test_a_guard_that_is_taken_away_is_missed(guard: Guard) -> None:
    assert caught(guard, seeds=0)


FOUND = {
    "a late retry took the outcome of a hold": Plan(
        "checked", (order(0, "hold", reason="test"),), faults={4: "lost"}
    ),
    "a push of an older schema left nothing running": PLANS["an older schema after a newer"],
    "a retried update rolled out again what ECS had given up": Plan(
        "balanced", (push(0, "1.0.1", "cannot-start"),), faults={33: "timed-out"}
    ),
    "a new service that reads do not show yet was called deleted": Plan(
        "checked", (push(0, "1.0.1"),), live=False, noise=542
    ),
    "a release that never ran went back to one from before a migration": Plan(
        "database",
        (
            push(0, "1.0.2", "never-healthy", schema=2),
            push(110, "1.0.1", schema=2),
            (130.0, "delete_image", ("1.0.1",)),
        ),
    ),
    "an address was asked for whose task had just stopped": Plan(
        "database",
        (
            (0.0, "push", (App("1.0.2", 1, "exit-late", 20.0),)),
            push(10, "1.0.4"),
            push(20, "1.0.1"),
        ),
        live=False,
        noise=313,
    ),
    "a late second try of a turn left its claim": Plan(
        "recreated",
        (push(50, "1.0.2", "empty-database"), push(130, "1.0.1")),
        faults={1: "timed-out", 56: "twice", 103: "twice", 116: "lost"},
        noise=3361,
    ),
    "a push after a first one that failed met an old desired count": Plan(
        "checked",
        (push(0, "1.0.3", "never-healthy"), (0.0, "push_index", (App("1.0.2", 1),))),
        live=False,
        noise=3304,
    ),
    "the data of a release left unverified were taken for the right ones": Plan(
        spec="plain",
        moves=(
            (80.0, "push", (App(version="1.0.2", schema=1, fault="exit-late", seconds=60.0),)),
            (
                110.0,
                "push",
                (App(version="1.0.1", schema=1, fault="empty-database", seconds=60.0),),
            ),
            (230.0, "order", ({"action": "deploy", "image": "1.0.1"},)),
        ),
        live=False,
        faults={69: "timed-out", 125: "stopped"},
        news={},
        noise=1248,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_the_simulation_found_stays_mended(name: str) -> None:
    worlds.run(FOUND[name])


def test_an_expression_gives_what_the_library_gives() -> None:
    scope = {"a": None, "states": {"input": {"x": {"y": 1}}, "errorOutput": {"Error": "E"}}}
    for text in (
        "$states.input.x.y",
        "$states.input.x.y = 1",
        "$exists($states.errorOutput.Cause) ? $states.errorOutput.Cause"
        " : $states.errorOutput.Error",
    ):
        expression = Expression(text)
        assert expression(scope) == expression.by_the_library(scope)
    assert compile_template({"a": "{% $a %}", "b": [1]})(scope) == {"a": None, "b": [1]}


def test_a_bad_release_is_no_good_one() -> None:
    assert not App("1.0.1", 1, "exit-at-start").good


def test_the_documentation_holds_the_race() -> None:
    told = (runtime.ROOT / "docs/simulation.md").read_text()
    assert race.table() in told, "put what `make race` prints into it"
