"""`make benchmark`: the reaction to a rollout's end, the starts of the functions and of the
operator's command, and the publication of a site, in numbers."""

import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from local.aws import LocalAws
from local.stage import Stage
from tests.benchmarks import cold_start, command, publication, reaction
from tests.benchmarks.cold_start import Start
from tests.benchmarks.publication import Comparison
from tests.benchmarks.reaction import Observer, Reaction, Rollout

ROLLOUTS = 6
MINUTES = (1, 3, 10)
ROUNDS = 2
FILES, BYTES = 2000, 10_000


def main() -> int:
    console = Console(highlight=False, width=100)
    began = time.monotonic()

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began:5.1f} s  {what}")

    say("the operator's command")
    console.print(commands(command.measure()))
    say("a local AWS (health checks five times as fast as real ones)")
    with LocalAws.start(settings={"ECS_HEALTH_CHECK_SCALE": "0.2"}) as aws:
        stage = Stage.set_up(aws, "bench", patterns="bench*", say=say)
        observer = Observer.listening(stage)
        say("a release that fails and one that does not, for what their functions are given")
        executions = [
            stage.deployed("1.0.0", fault="exit-at-start").arn,
            stage.deployed("1.0.1").arn,
        ]
        say(f"{ROLLOUTS} rollouts beside boto3 waiters, and {len(MINUTES)} of scaled minutes")
        reacted = reaction.measure(stage, observer, ROLLOUTS, MINUTES)
        console.print(lags(reacted), rollouts(reacted))
        given = cold_start.payloads(stage, executions)
        given["WakeExecution"] = observer.wakes[-1]
        say(f"{len(given)} functions, {ROUNDS} first calls each with and without .pyc")
        started = cold_start.measure(stage, aws.directory / "build", given, ROUNDS)
        console.print(starts(started))
        say(f"a site of {FILES} files, built anew with 1 % changed, beside aws s3 sync --delete")
        console.print(publications(publication.measure(stage, FILES, BYTES)))
        say("done")
    return 0


def lags(found: Reaction) -> Table:
    table = Table(title="Lag after the rollout is steady, seconds", title_justify="left")
    for column in ("", "median", "max"):
        table.add_column(column, justify="left" if not column else "right")
    ours = [rollout.lag for rollout in found.real]
    theirs = [rollout.waiter for rollout in found.real if rollout.waiter is not None]
    table.add_row("the state machine", f"{median(ours):.2f}", f"{max(ours):.2f}")
    table.add_row("boto3 waiter, 15 s", f"{median(theirs):.2f}", f"{max(theirs):.2f}")
    ratio, worst = median(theirs) / median(ours), max(theirs) / max(ours)
    table.add_row("ratio", f"{ratio:.0f}", f"{worst:.0f}")
    return table


def rollouts(found: Reaction) -> Table:
    table = Table(title="What a rollout takes", title_justify="left")
    for column in ("rollout", "transitions", "Lambda invocations", "woken by events"):
        table.add_column(column, justify="left" if column == "rollout" else "right")
    _row(table, "under a minute", found.real)
    for rollout in found.scaled:
        _row(table, f"{rollout.length:.1f} minutes (scaled)", [rollout])
    return table


def _row(table: Table, name: str, seen: Sequence[Rollout]) -> None:
    counts = (
        sorted({rollout.transitions for rollout in seen}),
        sorted({rollout.invocations + rollout.wakes for rollout in seen}),
        sorted({rollout.wakes for rollout in seen}),
    )
    table.add_row(name, *(" to ".join(map(str, {c[0]: 0, c[-1]: 0})) for c in counts))


def publications(found: Comparison) -> Table:
    table = Table(title="Publishing the next build of a site", title_justify="left")
    for column in ("", "requests", "uploads", "copies", "MB sent", "seconds"):
        table.add_column(column, justify="left" if not column else "right")
    assert found.sync
    for name, run in (("the publication", found.publish), ("aws s3 sync --delete", found.sync)):
        kinds = (sum(run.requests.values()), run.requests["PUT"], run.requests.get("COPY", 0))
        table.add_row(name, *map(str, kinds), f"{run.sent / 1e6:.2f}", f"{run.seconds:.1f}")
    ours, theirs = found.publish, found.sync
    ratios = (
        sum(theirs.requests.values()) / sum(ours.requests.values()),
        theirs.requests["PUT"] / ours.requests["PUT"],
        theirs.sent / ours.sent,
        theirs.seconds / ours.seconds,
    )
    first, second, *rest = (f"{ratio:.1f}" for ratio in ratios)
    table.add_row("ratio", first, second, "", *rest)
    return table


def starts(found: Mapping[str, tuple[Start, Start]]) -> Table:
    table = Table(title="Start of the functions, CPU milliseconds", title_justify="left")
    for column in ("", "load", "first call", "cold", "without .pyc", "later call", "API calls"):
        table.add_column(column, justify="left" if not column else "right")
    for name, (shipped, without) in found.items():
        times = (shipped.load, shipped.first, shipped.cold, without.cold, shipped.later)
        table.add_row(name, *(f"{1000 * t:.0f}" for t in times), str(len(shipped.calls)))
    both = list(found.values())
    sums = (sum(s.cold for s, _ in both), sum(w.cold for _, w in both))
    table.add_section()
    table.add_row("all", "", "", *(f"{1000 * t:.0f}" for t in sums), "", "")
    return table


def commands(found: Mapping[str, float]) -> Table:
    table = Table(title="Start of the operator's command", title_justify="left")
    table.add_column("")
    table.add_column("seconds", justify="right")
    for typed, seconds in found.items():
        table.add_row(typed, f"{seconds:.2f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
