"""Show executions, stacks, tables and questions to the user.

Live on a terminal; plain lines without control characters anywhere else.
"""

import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.executions import Execution, State
from cli.nextstep import Given
from deployer.wording import brief as brief
from deployer.wording import moment as moment
from deployer.wording import printable as printable
from deployer.wording import seconds_of as seconds_of
from deployer.wording import span as span

_OF_A_ROLLOUT = (
    *("Is it steady?", "Bake", "Fetch addresses", "Verify release"),
    *("Run task before", "Is the task before done?", "Run task after", "Is the task after done?"),
)
_NAME_WIDTH = 31  # "Poll health of previous release"
_NARROW = 60  # columns
_NOTHING = contextlib.nullcontext()

# The steps of an execution ------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A line of the display: a state, and its details so far.
    Times are seconds since the execution started; `left` is None while it is in the state.
    """

    at: float
    left: float | None
    name: str
    note: str
    failed: bool = False
    pending: bool = False  # it ended without a result, and is tried again
    tries: int = 1  # the maximum of all visits of the state


def steps(execution: Execution, standing: str = "") -> list[Step]:
    """Return the steps of an execution, in order; repeated polls are one step.

    Args:
        standing: what the current state waits for: the rollout's state, the lock's holder, or the
            build's phase.
    """
    active = [state for state in execution.states if state.kind in ("Task", "Wait")]
    rows = []
    for name, group in itertools.groupby(active, key=lambda state: state.name):
        visits = list(group)
        notes = [note for visit in visits if (note := _note(visit.output))]
        failed = _error(visits[-1].output) is not None
        tries = max(1, *(visit.tries for visit in visits))
        note = "; ".join([*notes[-1:], *([f"{tries} tries"] if tries > 1 else [])])
        pending = _pending(visits[-1].output)
        rows.append(Step(visits[0].at, visits[-1].left, name, note, failed, pending, tries))
    waits = execution.states and (
        polls(execution.states[-1]) or awaits_lock(execution) or builds(execution.states[-1])
    )
    if rows and standing and waits and execution.states[-1].left is None:
        rows[-1] = replace(rows[-1], note=standing)
    return rows


def polls(state: State) -> bool:
    return state.name.startswith("Poll health")


def builds(state: State) -> bool:
    """Return whether CodeBuild runs a build in this state."""
    return isinstance(state.submitted, dict) and "Build" in state.submitted


def awaits_lock(execution: Execution) -> bool:
    return [state.name for state in execution.states[-1:]] == ["Acquire lock"]


def rolls(state: State) -> bool:
    """Return whether a rollout, or a task before or after it, is in progress in this state."""
    return polls(state) or state.name in _OF_A_ROLLOUT


def _error(output: Any) -> str | None:
    """Return the failure in a state's output: a caught error, or a negative verdict."""
    if not isinstance(output, dict):
        return None
    if "Error" in output:
        return f"{output['Error']}: {message(str(output.get('Cause', '')))}"
    failed = output.get("health") == "FAILED" or output.get("verdict") == "REFUTED"
    return f"{output.get('reason', 'failed')}" if failed else None


def _pending(output: Any) -> bool:
    """Return whether a state has no result yet, such as no response from ECS or the service."""
    return isinstance(output, dict) and (
        output.get("verdict") == "PENDING" or output.get("health") in ("ROLLING", "BAKING")
    )


def _note(output: Any) -> str:
    """Return a short summary of a state's output."""
    if error := _error(output):
        return printable(error)
    if not isinstance(output, dict):
        return ""
    for key in ("reason", "outcome", "url", "taskDefinition", "kind"):
        if isinstance(text := output.get(key), str) and text:
            return printable(reachable(text) if key == "url" else _short(text))
    match output:
        case {"release": {"version": version, "service": service}}:
            return printable(f"{version} of {service}")
        case {"previous": {"version": str(version)}}:
            return printable(f"{version} runs now")
        case {"previous": None}:
            return "the first release"
    return ""


def message(cause: str) -> str:
    """Return the message in the JSON failure of a Lambda function or build; else the text."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        match json.loads(cause):
            case {"errorMessage": text}:
                return str(text)
            case {"Build": {"BuildStatus": status, "Phases": phases}}:
                failed = [p["PhaseType"] for p in phases if p.get("PhaseStatus") == status]
                return " ".join([f"the build is {status}", *(f"in {name}" for name in failed[:1])])
    return cause


def standing(service: Mapping[str, Any]) -> str:
    """Return the state of a service's rollout, from DescribeServices."""
    deployments = service.get("deployments", [])
    primary = next((d for d in deployments if d.get("status") == "PRIMARY"), None)
    if primary is None:
        return ""
    running, desired = primary.get("runningCount", 0), primary.get("desiredCount", 0)
    old = sum(d.get("runningCount", 0) for d in deployments) - running
    text = f"{_short(primary['taskDefinition'])}, {running} of {desired} running"
    text += f", {primary['pendingCount']} pending" if primary.get("pendingCount") else ""
    text += f", {old} from before" if old else ""
    text += f", {primary['failedTasks']} failed" if primary.get("failedTasks") else ""
    if primary.get("rolloutState") == "FAILED":
        return f"{text}; {primary.get('rolloutStateReason', 'failed')}"
    if primary.get("rolloutState") == "COMPLETED":
        return f"{text}, steady"
    return f"{text}, not healthy yet" if running == desired and not old else text


def _short(name: str) -> str:
    """Return the last part of an ARN; other texts unchanged."""
    return name.rpartition("/")[2] if name.startswith("arn:") else name


def reachable(url: str) -> str:
    """Return a URL as it answers: names below .localhost are the local AWS's, without TLS."""
    host = url.removeprefix("https://").partition("/")[0].partition(":")[0]
    return url.replace("https://", "http://", 1) if host.endswith(".localhost") else url


# The screen --------------------------------------------------------------------------------------


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the command, not rich, handle a reader that closed the output."""
        raise BrokenPipeError


class Screen:
    """The output for people: live on a terminal, plain lines anywhere else."""

    def __init__(
        self,
        stream: TextIO,
        *,
        quiet: bool = False,
        width: int | None = None,
        given: Callable[[], Given] = Given,
    ) -> None:
        """Open a screen.

        Args:
            given: returns the options that shown commands must repeat.
        """
        self.given = given
        self.live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.console = _Console(
            file=stream,
            quiet=quiet,
            width=width,
            force_terminal=self.live,  # no colours for a pipe, whatever the environment asks
            soft_wrap=not self.live,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def say(self, text: str = "", style: str | None = None) -> None:
        self.console.print(text, style=style)

    def command(self, text: str) -> None:
        """Show a command to copy, on one line however narrow the terminal is."""
        full = self.given().command(text)
        self.console.print(f"  {full}", style="cyan", soft_wrap=True)

    def title(self, text: str) -> None:
        self.say()
        self.say(text, style="bold")

    @contextlib.contextmanager
    def working(self, what: str = "") -> Iterator[None]:
        """Show a spinner while work is in progress.

        Args:
            what: the work; "" if another line names it.
        """
        if what and not self.live:
            self.say(f"{what} …")
        with self.console.status(f"{what} …" if what else "") if self.live else _NOTHING:
            yield

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table without lines; a narrow terminal folds its columns."""
        if not self.live:
            widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
            for row in (columns, *rows):
                cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
                self.say("  ".join(cells).rstrip())
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in columns:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table, soft_wrap=False)

    def ask(self, question: str) -> str:
        """Ask the user for a line.

        Raises:
            EOFError: the input ended.
        """
        self.console.print(f"{question} ", end="", soft_wrap=True)
        self.console.file.flush()
        line = sys.stdin.readline()
        if not line:
            self.say()
            raise EOFError(question)
        return line.strip()

    def agreed(self, question: str) -> bool:
        """Ask the user to confirm; an empty answer is no."""
        while True:
            answer = self.ask(f"{question} [y/N]").lower()
            if answer in ("y", "yes"):
                return True
            if answer in ("", "n", "no"):
                return False
            self.say("Please type y or n.")

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Show names and values."""
        if self.live:
            self.console.print(_grid(facts))
            return
        for name, fact in facts:
            self.say(f"  {name:<12} {fact}".rstrip())

    @contextlib.contextmanager
    def watching(self) -> "Iterator[Callable[[Sequence[tuple[str, str]]], None]]":
        """Show facts that change: in place on a terminal, otherwise a line for each new one."""
        if self.live:
            with Live(console=self.console, auto_refresh=False) as live:
                yield lambda facts: live.update(_grid(facts), refresh=True)
            return
        shown: set[tuple[str, str]] = set()

        def changed(facts: Sequence[tuple[str, str]]) -> None:
            nonlocal shown
            for fact in facts:
                if fact not in shown:
                    at = f"{datetime.now(UTC):%H:%M:%S}"
                    self.say(f"{at}  {fact[0]:<12} {fact[1]}".rstrip())
            for name in dict.fromkeys(name for name, _ in shown):
                if name not in dict(facts):
                    self.say(f"{datetime.now(UTC):%H:%M:%S}  {name:<12} no more")
            shown = set(facts)
            self.console.file.flush()

        yield changed

    def releases(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Show a table of release records."""
        narrow = self.console.width < _NARROW
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("Version", no_wrap=True)
        table.add_column("Outcome", overflow="fold")
        table.add_column("Seconds", justify="right", no_wrap=True)
        if not narrow:
            table.add_column("Why", overflow="fold")
        for record in records:
            duration, outcome = seconds_of(record), record.get("outcome", "in flight")
            cells = [
                str(record.get("version", "?")),
                outcome,
                f"{duration:.1f}" if duration else "",
            ]
            style = None if outcome == "SUCCEEDED" else "yellow"
            table.add_row(*cells, *([] if narrow else [brief(record)]), style=style)
        self.console.print(table, soft_wrap=False)
        if narrow:
            for record in records:
                self.say(f"{record.get('version', '?')}: {brief(record)}")

    @contextlib.contextmanager
    def transfer(self, size: int) -> "Iterator[Callable[[int], None]]":
        """Show an upload's progress; yields a function to call with the bytes of each part."""
        if not self.live:
            yield lambda _: None
            return
        bar = ProgressBar(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        with bar:
            task = bar.add_task("", total=size)
            yield lambda count: bar.advance(task, count)

    @contextlib.contextmanager
    def progress(self) -> "Iterator[Progress]":
        if not self.live:
            yield Plain(self.console)
            return
        with Live(console=self.console, refresh_per_second=10) as live:
            yield Animated(live)


def _grid(facts: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts:
        grid.add_row(f"  {name}", fact)
    return grid


class Progress:
    """Shows the progress of an execution."""

    def show(self, shown: Sequence[Step], elapsed: float, *, running: bool) -> None:
        raise NotImplementedError

    def tell(self, line: str) -> None:
        """Show a line that a task or ECS wrote meanwhile."""
        raise NotImplementedError


class Plain(Progress):
    """Prints a line when a state is entered, and one for each change of its note."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._notes: list[str] = []
        self._last = ""  # the step of the previous line

    def show(self, shown: Sequence[Step], elapsed: float, *, running: bool) -> None:
        for index, step in enumerate(shown):
            if index == len(self._notes):
                self._notes.append(step.note)
                self._print(step.at, step, step.name)
            elif step.note != self._notes[index]:
                self._notes[index] = step.note
                name = "" if step.name == self._last else step.name
                self._print(elapsed if step.left is None else step.left, step, name)

    def tell(self, line: str) -> None:
        self._last = ""
        self._console.print(f"{'':9}  {line}")

    def _print(self, at: float, step: Step, name: str) -> None:
        self._last = step.name
        self._console.print(f"{at:7.1f} s  {name:<{_NAME_WIDTH}}  {step.note}".rstrip())


class _Clock:
    """Seconds that count up while they are shown."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic() - seconds

    def __rich__(self) -> Text:
        return Text(f"{time.monotonic() - self._began:.1f} s")


class Animated(Progress):
    """Shows all steps so far, as many as fit; running ones come last, with a spinner."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._spinner = Spinner("dots", style="cyan")

    def show(self, shown: Sequence[Step], elapsed: float, *, running: bool) -> None:
        narrow = self._live.console.width < _NARROW
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(justify="right", style="dim", no_wrap=True)
        grid.add_column(overflow="fold", min_width=None if narrow else _NAME_WIDTH)
        if not narrow:
            grid.add_column(style="dim", overflow="fold")
        requested = sorted(shown, key=lambda step: step.left is None)
        for step in requested[-max(self._live.console.height - 3, 3) :]:
            now = running and (step.left is None or step is requested[-1])
            done = Text("·", "dim") if step.pending else Text("✓", "green")
            ended = Text("✗", "red") if step.failed else done
            cells = [f"{step.at:.1f} s", step.name, *([] if narrow else [step.note])]
            grid.add_row(self._spinner if now else ended, *cells)
            if narrow and step.note:
                grid.add_row("", "", step.note, style="dim")
        if running:
            grid.add_row("", _Clock(elapsed), "")
        self._live.update(grid)

    def tell(self, line: str) -> None:
        self._live.console.print(Text(f"  {line}", style="dim"))
