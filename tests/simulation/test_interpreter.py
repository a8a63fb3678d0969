"""The interpreter enters the states that Step Functions, as the local AWS has it, enters."""

import time
from collections.abc import Iterator

import pytest

from demo.stage import Stage
from local_aws.aws import LocalAws
from tests.simulation import runtime, worlds
from tests.simulation.application import App
from tests.simulation.world import Plan

SLOW = {"fault": "slow-start", "seconds": 3.0}


@pytest.fixture(autouse=True)
def installed() -> None:
    """The local AWS is asked for real; only what is simulated has the simulation installed."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with LocalAws.start(settings={"ECS_HEALTH_CHECK_SCALE": "0.2"}) as aws:
        result = Stage.set_up(aws, "same", kept=True)
        assert result.deployed("1.0.0").status == "SUCCEEDED"
        yield result
        result.end()


def simulated(*moves: tuple[float, str, tuple[object, ...]], last: int = 1) -> list[str]:
    """The states of the last execution that the moves start, or of one before it; each loop gone
    through once."""
    with runtime.installed():
        world = worlds.world("checked", live=True)
        before = set(world.sfn.executions)
        world.run(Plan("checked", moves))
    paths = [e.path for arn, e in world.sfn.executions.items() if arn not in before]
    return once(paths[-last])


def once(path: list[str]) -> list[str]:
    """A path with each loop gone through once: how often it polls depends on the real time."""
    matches: list[str] = []
    for name in path:
        matches.append(name)
        for size in (1, 2, 3):
            if matches[-size:] == matches[-2 * size : -size]:
                del matches[-size:]
    return matches


def entered(stage: Stage, arn: str, state: str) -> None:
    """Wait until an execution has entered a state."""
    for now in stage.follow(arn):
        if state in now.path:
            return
    raise AssertionError(f"{state} was never entered: {stage.look(arn).path}")


def test_the_same_states_are_entered(stage: Stage) -> None:
    good = stage.deployed("1.0.1")
    assert once(good.path) == simulated((0.0, "push", (App("1.0.1", 1),)))

    for version, fault in (("1.0.2", "exit-at-start"), ("1.0.3", "wrong-version")):
        bad = stage.deployed(version, fault=fault)
        assert once(bad.path) == simulated((0.0, "push", (App(version, 1, fault),)))

    digests = []
    for version, state in (("1.0.4", "Poll health"), ("1.0.5", "Acquire lock")):
        digests.append(stage.release(version, **SLOW))
        entered(stage, stage.started_by(digests[-1]), state)
    time.sleep(1.0)  # ECR tells push times in seconds
    digests.append(stage.release("1.0.6"))
    pushes = [(3.0 * n, "push", (App(f"1.0.{n + 4}", 1),)) for n in range(3)]
    for last, digest in enumerate(reversed(digests), 1):
        assert once(stage.ended(stage.started_by(digest)).path) == simulated(*pushes, last=last)
    assert stage.record(digests[1])["outcome"] == "SUPERSEDED"

    back = {"action": "rollback", "to": "previous"}
    ended = stage.ended(stage.start(back))
    assert once(ended.path) == simulated(
        (0.0, "push", (App("1.0.1", 1),)), (100.0, "order", (back,))
    )

    hold, resume = {"action": "hold", "reason": "test"}, {"action": "resume"}
    held, resumed = (stage.ended(stage.start(command)) for command in (hold, resume))
    assert once(held.path) == simulated((0.0, "order", (hold,)))
    assert once(resumed.path) == simulated((0.0, "order", (hold,)), (60.0, "order", (resume,)))
