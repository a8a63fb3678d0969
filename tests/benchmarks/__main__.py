"""`make benchmark`: one table of what this project's speed rests on: ours, a peer's, the floor.

python -m tests.benchmarks            all of it, in about ten minutes
python -m tests.benchmarks --quick    the same with few rounds, to see that it works
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from demo.stage import Stage
from local_aws.aws import LocalAws
from tests.benchmarks import cold_start, command, first_release, publication, reaction
from tests.benchmarks.cold_start import Starts
from tests.benchmarks.publication import Comparison
from tests.benchmarks.reaction import Failure, Observer, Reaction, Rollout

MINUTES = (1, 3, 10)


@dataclass(frozen=True)
class Rounds:
    """How often each thing is measured, and how large the site is."""

    rollouts: int = 6
    starts: int = 5
    commands: int = 10
    files: int = 2000
    file_bytes: int = 10_000


QUICK = Rounds(rollouts=1, starts=1, commands=1, files=200, file_bytes=1000)


@dataclass(frozen=True)
class Row:
    """A figure; `met` says whether ours meets the goal, None where there is no goal."""

    figure: str
    ours: str
    peer: str = ""
    floor: str = ""
    goal: str = ""
    met: bool | None = None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure reaction, steps, starts and publication beside peers and floors.",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: does it work at all?")
    rounds = QUICK if parser.parse_args(arguments).quick else Rounds()
    console = Console(highlight=False, width=100)
    console.print(table(list(measured(rounds, console))))
    return 0


def measured(rounds: Rounds, console: Console) -> Iterator[Row]:
    """Measure everything; each row as soon as it is known."""
    began = time.monotonic()

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began:5.1f} s  {what}")

    say("the command")
    yield from commands(command.measure(rounds.commands))
    say("a local AWS (health checks five times as fast as real ones)")
    with LocalAws.start(settings={"ECS_HEALTH_CHECK_SCALE": "0.2"}) as aws:
        # its clock would take the lock back that `cold_start` gives to executions that are over
        still = {"ReconcileSchedule": "rate(1 day)"}
        stage = Stage.set_up(aws, "bench", patterns="bench*", parameters=still, say=say)
        observer = Observer.listening(stage)
        say("a release that fails and one that does not, for what their functions are given")
        executions = [
            stage.deployed("1.0.0", fault="exit-at-start").arn,
            stage.deployed("1.0.1").arn,
        ]
        say(f"{rounds.rollouts} rollouts beside waiters, as many by ecs-deploy, and scaled ones")
        reacted = reaction.measure(stage, observer, rounds.rollouts, MINUTES)
        yield from reactions(reacted)
        say("from nothing to live: a worker, a web application, an internal service, Coder")
        for kind, seconds in first_release.measure(stage):
            yield Row(f"{kind}, from nothing to live, s", f"{seconds:.0f}")
        say("a release that can never start")
        yield from failures(reaction.measure_failure(stage, observer))
        yield from steps(reacted)
        given = cold_start.payloads(stage, executions)
        say(f"{len(given)} functions, {rounds.starts} first calls each with and without .pyc")
        yield from starts(cold_start.measure(stage, aws.directory / "build", given, rounds.starts))
        say(f"a site of {rounds.files} files, 1 % changed, beside aws s3 sync --delete")
        yield from publications(publication.measure(stage, rounds.files, rounds.file_bytes))
        say("a small site through the whole state machine")
        yield from own_times(publication.own_times(stage, 1 + rounds.starts))
    say("done")


def reactions(described: Reaction) -> Iterator[Row]:
    ours = [rollout.lag for rollout in described.real]
    waiter = [rollout.waiter for rollout in described.real if rollout.waiter is not None]
    heard = _spread([rollout.heard for rollout in described.real])
    met, event = median(ours) <= 1, f"event {heard}"
    yield Row("steady noticed, s", _spread(ours), f"waiter {_spread(waiter)}", event, "1", met)
    yield Row("", "", f"ecs-deploy {_spread(described.ecs_deploy)}")
    own = [rollout.own for rollout in described.real]
    yield Row("own time of a deployment, s", _spread(own), goal="3", met=median(own) <= 3)


def failures(described: Failure) -> Iterator[Row]:
    ours, event = f"{described.named:.1f}", f"event {described.heard:.1f}"
    theirs = "live" if described.ecs_deploy is None else f"{described.ecs_deploy:.1f}"
    peer = f"ecs-deploy {theirs}"
    yield Row("hopeless failure named, s", ours, peer, event, "10", described.named <= 10)
    yield Row("", "", f"waiter {described.waiter:.1f}: stable")


def steps(described: Reaction) -> Iterator[Row]:
    for minutes, rollout in zip(MINUTES, described.scaled, strict=True):
        yield _steps(minutes, rollout)


def _steps(minutes: int, rollout: Rollout) -> Row:
    """The peer's calls: DescribeServices every 15 s."""
    ours = f"{rollout.transitions} and {rollout.invocations}"
    goal, met = ("25", rollout.transitions <= 25) if minutes == 10 else ("", None)
    return Row(f"steps and calls, {minutes} min", ours, f"15 s loop {12 * minutes}", "", goal, met)


def starts(described: Starts) -> Iterator[Row]:
    bare = described.bare
    for name, (shipped, uncompiled) in described.functions.items():
        most = 1.0 if shipped.calls else 0.3
        ratio = shipped.cold / bare
        yield Row(
            f"{name} cold, CPU ms",
            f"{1000 * shipped.cold:.0f} ({ratio:.2f})",
            f"no .pyc {1000 * uncompiled.cold:.0f}",
            f"bare client {1000 * bare:.0f}",
            f"({most})",
            ratio <= most,
        )


def publications(described: Comparison) -> Iterator[Row]:
    assert described.sync
    ours, theirs = described.publish, described.sync
    pairs = (
        ("requests", sum(ours.requests.values()), sum(theirs.requests.values())),
        ("uploads", ours.requests["PUT"], theirs.requests["PUT"]),
        ("kB sent", ours.sent // 1000, theirs.sent // 1000),
        ("s", ours.seconds, theirs.seconds),
    )
    for unit, mine, other in pairs:
        digits = 1 if unit == "s" else 0
        yield Row(
            f"next build of a site, {unit}", f"{mine:.{digits}f}", f"s3 sync {other:.{digits}f}"
        )


def own_times(found: Sequence[float]) -> Iterator[Row]:
    _, *later = found  # the first one invalidates the error page
    met = median(later) <= 5
    yield Row("own time of a publication, s", _spread(later), goal="5", met=met)


def commands(described: dict[str, float]) -> Iterator[Row]:
    aws = described.pop("aws --version", None)
    peer = "" if aws is None else f"aws --version {aws:.2f}"
    floor = described.pop("python")
    for typed, seconds in described.items():
        yield Row(f"{typed}, s", f"{seconds:.2f}", peer, f"python {floor:.2f}")


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} to {max(values):.2f}"


def table(rows: Sequence[Row]) -> Table:
    result = Table(title="Median to longest; (ratio to the floor)", title_justify="left")
    for column in ("figure", "ours", "peer", "floor", "goal", ""):
        result.add_column(column, overflow="fold")
    for row in rows:
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        result.add_row(row.figure, row.ours, row.peer, row.floor, row.goal, verdict)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
