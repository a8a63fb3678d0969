"""Following an execution of a state machine: its states, its rollout as it goes, how it ended."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.executions import Execution
from cli.patience import UNANSWERED
from cli.screen import Screen, awaits_lock, message, printable, rolls, standing, steps
from cli.target import Target
from deployer.aws import ecs
from deployer.deploy import diagnosis
from deployer.deploy.rollout import primary
from deployer.docs import site
from deployer.store import locks, releases

LOOK_SECONDS = 0.2  # between two looks at a running execution, where looking costs nothing
_TASKS = 3  # of a rollout whose tasks crash one after another, the newest tell enough
_LINES = 12  # at one look, of a task
_WIDTH = 300  # characters of a line
# What does not show the rollout for once does not end the following.
_UNSEEN = (ClientError, *UNANSWERED)


def follow(
    look: Callable[[], Execution],
    screen: Screen,
    limit: float,
    rollout: Callable[[], str] = lambda: "",
    pause: float = LOOK_SECONDS,
    lock: Callable[[], str] = lambda: "",
    news: Callable[[], Iterable[str]] = tuple,
) -> Execution:
    """Show an execution until it ends.

    Args:
        limit: seconds after which it is not followed any more.
        rollout: how the rollout stands; asked while the execution polls it.
        pause: seconds between two looks.
        turn: who holds the lock; asked while the execution waits for it.
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
            waits = rollout() if rolling else lock() if awaits_lock(now) else ""
            for line in news() if rolling else ():
                progress.tell(line)
            seen, rolled = len(now.states), any(rolls(state) for state in now.states[-1:])
            progress.show(steps(now, waits if running else ""), elapsed, running=running)
            if not running:
                return now
            if elapsed > limit:
                raise TimeoutError(f"{now.arn} still runs after {limit:.0f} s, in {now.path[-1:]}")
            time.sleep(pause)


def conclude(record: Mapping[str, Any], ended: Execution, screen: Screen) -> None:
    """Show how an execution ended, in the words of its record; {} if it has none."""
    took, outcome = f"{ended.seconds:.1f} s", record.get("outcome", ended.status)
    if reason := deployed_nothing(record, ended):
        screen.say(f"Nothing was deployed: {printable(reason)}", style="yellow")
    elif outcome == "SUCCEEDED":
        where = f": {record['url']}" if record.get("url") else ""
        screen.say(f"Live and verified after {took}{where}", style="green")
    elif ended.status == "SUCCEEDED":
        reason = record.get("reason") or "another execution recorded it"
        screen.say(f"Nothing was deployed: {printable(reason)}", style="yellow")
    else:
        screen.say(f"{ended.error or ended.status} after {took}: {outcome}", style="red")
        screen.facts(list(_explained(record, ended)))


def deployed_nothing(record: Mapping[str, Any], ended: Execution) -> str | None:
    """Return why an execution deployed nothing; None if it deployed, or failed to.

    The record that it found may be another execution's, which did deploy.
    """
    output = ended.output if isinstance(ended.output, dict) else {}
    if output.get("decision") == "NOTHING":
        return str(output.get("reason"))
    if record.get("deployed") is False:
        return str(record.get("reason")).removeprefix("nothing was deployed, ")
    return None


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
        restored = record["outcome"] == "FAILED_ROLLED_BACK"
        kind = site.kind(str(record.get("service")))
        yield "rollback", printable(diagnosis.of_rollback(rollback, restored, kind))


# A service's rollout as it goes on ----------------------------------------------------------------


class Watch:
    """What is new about a service's rollout since an execution began, at each look."""

    def __init__(self, target: Target, since: datetime) -> None:
        self._target, self._since = target, since
        self._service: Mapping[str, Any] = {}
        self._told: set[str] = set()  # ids of events
        self._read: dict[str, str] = {}  # by log stream, the token from which to read on

    def standing(self) -> str:
        """How the rollout stands now: "" where that is not ours to see, or not there yet."""
        spec = self._target.spec
        with contextlib.suppress(*_UNSEEN):
            self._service = ecs.service(spec.cluster, spec.service) or {}
        return standing(self._service)

    def lock(self) -> str:
        """Who holds the lock that the execution waits for."""
        service = self._target.service
        with contextlib.suppress(*_UNSEEN):
            if holder := locks.queue(service).holder:
                record = releases.find(service, holder["release"])
                return f"{record['version'] if record else holder['release']} holds the lock"
        return ""

    def news(self) -> Iterator[str]:
        """What ECS and the rollout's tasks said since the last look."""
        yield from self._events()
        with contextlib.suppress(*_UNSEEN):
            for task in self._tasks():
                yield from self._lines(task)

    def _events(self) -> Iterator[str]:
        now = primary(self._service) or {}
        # what is older is of the deployment before, which may have held the lock meanwhile
        since = max(self._since, now.get("createdAt", self._since))
        for event in reversed(self._service.get("events", ())):
            if event["createdAt"] >= since and event["id"] not in self._told:
                self._told.add(event["id"])
                yield _line("ecs", event["message"])

    def _tasks(self) -> list[str]:
        """The ids of the newest tasks of the rollout that goes on, oldest first."""
        now, spec = primary(self._service), self._target.spec
        if now is None:
            return []
        tasks = ecs.stopped_tasks(spec.cluster, spec.service, now["id"])
        tasks += ecs.running_tasks(spec.cluster, spec.service, now["id"])
        new = [task for task in tasks if task.get("createdAt", self._since) >= self._since]
        return [task["taskArn"].rpartition("/")[2] for task in new[-_TASKS:]]

    def _lines(self, task: str) -> Iterator[str]:
        spec, logs = self._target.spec, self._target.account.client("logs")
        stream = f"ecs/{spec.container.name}/{task}"
        begun = {"nextToken": self._read[stream]} if stream in self._read else {}
        try:
            found = logs.get_log_events(
                logGroupName=spec.log_group, logStreamName=stream, startFromHead=True, **begun
            )
        except logs.exceptions.ResourceNotFoundException:
            return  # it wrote nothing yet
        self._read[stream] = found["nextForwardToken"]
        lines = [event["message"] for event in found["events"]]
        if len(lines) > _LINES:
            yield f"{task[:6]}: … {len(lines) - _LINES} lines more"
        for line in lines[-_LINES:]:
            yield _line(task[:6], line)


def _line(by: str, text: str) -> str:
    """What others wrote, fit to be shown: short, without credentials or control characters."""
    said = printable(text.rstrip())
    return f"{by}: {said if len(said) <= _WIDTH else said[: _WIDTH - 1] + '…'}"
