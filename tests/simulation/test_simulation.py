"""Whatever befalls a deployment, the invariants hold; without a guard they do not."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from botocore.validate import ParamValidator

from deployer.aws import client
from tests.simulation import builds, plans, race, runtime, shapes, worlds
from tests.simulation.application import App
from tests.simulation.asl import Expression, compile_template
from tests.simulation.guards import GUARDS, Guard, breaks, caught, table_of_guards
from tests.simulation.worlds import FOUND, PLANS, SERVICE_SPECS

STRIDE = 96  # of the single faults; `python -m tests.simulation faults` runs them all
QUICK = {
    "a failure goes back",
    "a hold holds",
    "a newer push supersedes",
    "credentials are struck out",
    "the data is compared",
    "the served version is asked",
    "the lock is taken under a condition",
    "all services go back",
    "all services must be steady",
    "a wave waits for the one before",
}


@pytest.mark.parametrize("first", [0, pytest.param(STRIDE // 2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PLANS)
def test_every_world_holds_undisturbed_and_with_single_faults(name: str, first: int) -> None:
    worlds.run(PLANS[name])
    many = name in builds.PLANS or PLANS[name].spec in SERVICE_SPECS
    stride = 4 * STRIDE if many else STRIDE
    for plan in islice(plans.single_faults(name), len(name) + first, None, stride):
        worlds.run(plan)


_MORE = [pytest.param(tens, marks=pytest.mark.slow) for tens in range(40, 100)]


@pytest.mark.parametrize("tens", [*range(40), *_MORE])
def test_random_schedules_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        result = plans.broken(plans.random_plan(seed))
        assert result is None, f"seed {seed}: {result}"


@pytest.mark.parametrize("tens", range(10))
def test_random_schedules_of_tasks_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        result = plans.broken(plans.random_task_plan(seed))
        assert result is None, f"seed {seed}: {result}"


@pytest.mark.parametrize("tens", range(10))
def test_random_schedules_of_several_services_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        result = plans.broken(plans.random_service_plan(seed))
        assert result is None, f"seed {seed}: {result}"


@pytest.mark.parametrize("tens", range(5))
def test_random_schedules_of_scheduled_tasks_hold(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        result = plans.broken(plans.random_schedule_plan(seed))
        assert result is None, f"seed {seed}: {result}"


def test_a_plan_runs_the_same_each_time() -> None:
    assert plans.told(plans.random_plan(7)) == plans.told(plans.random_plan(7))


@pytest.mark.parametrize("guard", [g for g in GUARDS if g.name in QUICK], ids=lambda g: g.name)
def test_a_guard_that_is_taken_away_is_missed(guard: Guard) -> None:
    assert caught(guard, seeds=0)


@pytest.mark.parametrize("name", FOUND)
def test_what_the_simulation_found_stays_mended(name: str) -> None:
    worlds.run(FOUND[name])


def test_an_image_that_is_not_shown_yet_is_waited_for() -> None:
    undisturbed = worlds.run(PLANS["an update"])
    look = next(n for n, (_, _, name) in enumerate(undisturbed.sites) if name == "DescribeImages")
    plan = replace(PLANS["an update"], faults={look: "stale"})
    world = worlds.run(plan)
    (record,) = (r for r in world.invariants.records() if r["version"] == "1.0.1")
    assert record["outcome"] == "SUCCEEDED"
    delay = datetime.fromisoformat(record["endedAt"]) - datetime.fromisoformat(record["pushedAt"])
    assert delay < timedelta(seconds=120)  # the clock's round would have found it later


MENDED_BY = {
    "a hold was announced beside the failure that its stopped execution was recorded as":
        "a hold is recorded with its outcome",
    "a task of the failing release migrated the database that was being restored":
        "no task starts while the database is switched",
    "a restart brought back what ran before a push that was being recorded":
        "a restart is for what is live",
    "a tag that was on two images within a second deployed the first":
        "of one second's pushes the tag decides",
    "a push of an older schema left nothing running": "a push of an older schema is refused",
    "a retried update rolled out again what ECS had given up":
        "a rollout that was noted is not begun again",
    "a new service that reads do not show yet was called deleted": "reads may lag",
    "a release that never ran went back to one from before a migration":
        "no way back over a schema that a failed release brought",
    "an address was asked for whose task had just stopped": "a task's address may be gone already",
    "a hold that came between the look and the lock was passed over":
        "a hold counts until the lock is taken",
    "a recovery that got the lock called the service unchanged":
        "a recovery that did not get the lock says so",
    "a look that lagged was taken for ECS's way back": "a look that lags is repeated",
    "a recovery stopped the release that had come after":
        "a recovery stands aside for a later release",
    "ECS went back to a release that was never good": "ECS goes not back over a schema",
    "ECS went back to a release whose record says that it failed":
        "ECS goes back only to what we would go back to",
    "a late second try of the lock left its claim": "who is done leaves the line",
    "a push after a first one that failed met an old desired count":
        "a service that was stopped is started",
    "the data of a release left unverified were taken for the right ones":
        "data that no release verified are not those to keep",
    "a function of a stopped execution went on when another held the lock":
        "a function of a stopped execution is waited for",
    "two tries of one function at once began two rollouts":
        "one function changes something at a time",
    "a recovery took back what the execution made live as it got the lock":
        "a recovery that got the lock looks again",
    "a recovery took back what a redriven execution had made live":
        "a release with an outcome gets no lock",
    "a late try changed the schedules of a release that had failed":
        "a late try changes no schedules",
    "a redriven execution changed the service without the lock":
        "who changes something holds the lock still",
    "a second try of a wave began the next one": "a late second try of a wave begins no other",
    "a service stayed on what an earlier release had left unverified":
        "data that no release verified are not those to keep",
}  # fmt: skip


@pytest.mark.parametrize("name", MENDED_BY)
def test_each_schedule_still_leads_to_what_was_found(name: str) -> None:
    """The numbers in a schedule are those of calls: another call before them would shift them."""
    guard = next(guard for guard in GUARDS if guard.name == MENDED_BY[name])
    assert breaks(guard, FOUND[name])


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


@pytest.mark.parametrize(
    ("operation", "requested"),
    [
        ("PutItem", {"TableName": "t", "Item": {"id": {"S": "x"}, "n": {"M": {"a": {"N": "1"}}}}}),
        ("Query", {"TableName": "t", "Limit": 5, "ConsistentRead": True}),
    ],
)
def test_a_quick_look_passes_nothing_that_the_validator_does_not(
    operation: str, requested: dict[str, Any]
) -> None:
    shape = client("dynamodb").meta.service_model.operation_model(operation).input_shape
    right = shapes.look(shape)
    assert right(requested)
    spoilt = list(_spoilt(requested))
    assert len(spoilt) > 15
    for values in spoilt:
        assert not (right(values) and ParamValidator().validate(values, shape).has_errors())


def _spoilt(value: Any) -> Iterator[Any]:
    """A value with one thing in it changed, in each of some ways."""
    yield from (None, 0, "", [], {}, {"x": 1}, True, -1)
    if isinstance(value, dict):
        for name, entry in value.items():
            yield {key: kept for key, kept in value.items() if key != name}
            for other in _spoilt(entry):
                yield {**value, name: other}


def test_a_bad_release_is_no_good_one() -> None:
    assert not App("1.0.1", 1, "exit-at-start").good


def test_the_documentation_holds_the_race_and_the_guards() -> None:
    output = (runtime.ROOT / "docs/simulation.md").read_text()
    assert race.table() in output, "put what `make race` prints into it"
    assert table_of_guards() in output, "put each guard of guards.py into it"
