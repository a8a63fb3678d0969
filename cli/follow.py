"""Following an execution of a state machine, and telling how it ended."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cli.executions import Execution
from cli.screen import Screen, awaits_turn, message, printable, rolls, steps

LOOK_SECONDS = 0.2  # between two looks at a running execution, where looking costs nothing


def follow(
    look: Callable[[], Execution],
    screen: Screen,
    limit: float,
    rollout: Callable[[], str] = lambda: "",
    pause: float = LOOK_SECONDS,
    turn: Callable[[], str] = lambda: "",
    news: Callable[[], Iterable[str]] = tuple,
) -> Execution:
    """Show an execution until it ends.

    Args:
        limit: seconds after which it is not followed any more.
        rollout: how the rollout stands; asked while the execution polls it.
        pause: seconds between two looks.
        turn: who has the turn; asked while the execution waits for it.
        news: what the rollout's events and tasks said since `rollout` was asked last.
    Raises:
        TimeoutError: it still runs after that time.
    """
    began, seen, rolled = None, 0, False
    with screen.progress() as progress:
        while True:
            now = look()
            began = began or time.monotonic() - now.seconds
            running, elapsed = now.status == "RUNNING", time.monotonic() - began
            # once more when it has left those states: what was said last tells the most
            rolling = rolled or any(rolls(state) for state in now.states[seen:])
            standing = rollout() if rolling else turn() if awaits_turn(now) else ""
            for line in news() if rolling else ():
                progress.tell(line)
            seen, rolled = len(now.states), any(rolls(state) for state in now.states[-1:])
            progress.show(steps(now, standing if running else ""), elapsed, running=running)
            if not running:
                return now
            if elapsed > limit:
                raise TimeoutError(f"{now.arn} still runs after {limit:.0f} s, in {now.path[-1:]}")
            time.sleep(pause)


def conclude(record: Mapping[str, Any], ended: Execution, screen: Screen) -> None:
    """Show how an execution ended, in the words of its record; {} if it has none."""
    took, outcome = f"{ended.seconds:.1f} s", record.get("outcome", ended.status)
    if outcome == "SUCCEEDED":
        where = record.get("url") or "it has no address"
        screen.say(f"Live and verified after {took}: {where}", style="green")
    elif ended.status == "SUCCEEDED":
        reason = record.get("reason") or "it was recorded by another execution"
        screen.say(f"Nothing deployed: {printable(reason)}", style="yellow")
    else:
        screen.say(f"{ended.error or ended.status} after {took}: {outcome}", style="red")
        screen.facts(list(_explained(record, ended)))


def _explained(record: Mapping[str, Any], ended: Execution) -> Iterator[tuple[str, str]]:
    found = record.get("diagnosis")
    if not found:
        yield "why", printable(message(record.get("reason") or ended.cause))
        return
    yield "why", printable(found["cause"])
    for name, lines in (("stopped", found["stops"]), ("last log", found["log"])):
        for index, line in enumerate(lines):
            yield "" if index else name, printable(line)
    yield "what to do", printable(found["advice"])
    if rollback := record.get("rollback"):
        back = record["outcome"] == "FAILED_ROLLED_BACK"
        became = "the previous release is back and steady" if back else "it is not back"
        yield "rolled back", printable(f"{rollback['reason']}: {became}")
