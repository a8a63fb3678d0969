"""The interpreter enters the states that Step Functions, as the local AWS has it, enters."""

from collections.abc import Iterator

import pytest

from local.aws import LocalAws
from local.stage import Stage
from tests.simulation import runtime, worlds
from tests.simulation.application import App
from tests.simulation.world import Plan


@pytest.fixture(autouse=True)
def installed() -> None:
    """The local AWS is asked for real; only what is simulated has the simulation installed."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with LocalAws.start(settings={"ECS_HEALTH_CHECK_SCALE": "0.2"}) as aws:
        made = Stage.set_up(aws, "same")
        assert made.deployed("1.0.0").status == "SUCCEEDED"
        yield made
        made.end()


def simulated(*moves: tuple[float, str, tuple[object, ...]]) -> list[str]:
    """The states of the last execution that the moves start, repeated ones named once."""
    with runtime.installed():
        world = worlds.world("checked", live=True)
        before = set(world.sfn.executions)
        world.run(Plan("checked", moves))
    path = [e for arn, e in world.sfn.executions.items() if arn not in before][-1].path
    return once(path)


def once(path: list[str]) -> list[str]:
    """A path with each loop gone through once: how often it polls depends on the real time."""
    found: list[str] = []
    for name in path:
        found.append(name)
        for size in (1, 2, 3):
            if found[-size:] == found[-2 * size : -size]:
                del found[-size:]
    return found


def test_the_same_states_are_entered(stage: Stage) -> None:
    good = stage.deployed("1.0.1")
    assert once(good.path) == simulated((0.0, "push", (App("1.0.1", 1),)))

    for version, fault in (("1.0.2", "exit-at-start"), ("1.0.3", "wrong-version")):
        bad = stage.deployed(version, fault=fault)
        assert once(bad.path) == simulated((0.0, "push", (App(version, 1, fault),)))

    back = {"action": "rollback", "to": "previous"}
    ended = stage.ended(stage.start(back))
    assert once(ended.path) == simulated(
        (0.0, "push", (App("1.0.1", 1),)), (100.0, "order", (back,))
    )

    hold, resume = {"action": "hold", "reason": "test"}, {"action": "resume"}
    held, resumed = (stage.ended(stage.start(order)) for order in (hold, resume))
    assert once(held.path) == simulated((0.0, "order", (hold,)))
    assert once(resumed.path) == simulated((0.0, "order", (hold,)), (60.0, "order", (resume,)))
