"""Follow an execution of a state machine: its states, its rollout, and how it ended."""

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import Account
from cli.executions import Execution
from cli.patience import UNANSWERED
from cli.screen import (
    Screen,
    awaits_lock,
    builds,
    message,
    printable,
    reachable,
    rolls,
    standing,
    steps,
)
from cli.target import Target
from deployer.aws import ecs
from deployer.deploy import diagnosis, documents
from deployer.deploy.documents import Log
from deployer.deploy.rollout import primary
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task
from deployer.docs import site
from deployer.store import locks, releases

LOOK_SECONDS = 0.2  # between two polls of a running execution, where polling costs nothing
_TASKS = 3  # if tasks crash one after another, the newest show enough
_LINES = 12  # of one task, per poll
_WIDTH = 300  # characters of a line
# Errors that only hide the rollout for one poll: following continues.
_UNSEEN = (ClientError, *UNANSWERED)
_PHASE = re.compile(r"^\[Container\].*Entering phase (\w+)")


def follow(
    look: Callable[[], Execution],
    screen: Screen,
    limit: float,
    rollout: Callable[[], str] = lambda: "",
    pause: float = LOOK_SECONDS,
    lock: Callable[[], str] = lambda: "",
    news: Callable[[], Iterable[str]] = tuple,
    build: "BuildWatch | None" = None,
) -> Execution:
    """Show an execution until it ends.

    Args:
        limit: seconds after which to stop following.
        rollout: returns the rollout's state; called while the execution polls it.
        pause: seconds between two polls.
        lock: returns who holds the lock; called while the execution waits for it.
        news: returns the rollout's events and log lines since the last call of `rollout`.
        build: shows the builds that CodeBuild runs.
    Raises:
        TimeoutError: it still runs after `limit` seconds.
    """
    followed, began, seen, rolled = time.monotonic(), None, 0, False
    with screen.progress() as progress:
        while True:
            now = look()
            began = began or time.monotonic() - now.seconds
            running, elapsed = now.status == "RUNNING", time.monotonic() - began
            # once more after it has left those states: the last lines matter most
            rolling = rolled or any(rolls(state) for state in now.states[seen:])
            waits = rollout() if rolling else lock() if awaits_lock(now) else ""
            for line in news() if rolling else ():
                progress.tell(line)
            for line in build.news(now) if build else ():
                progress.tell(line)
            waits = waits or (build.phase if build else "")
            seen, rolled = len(now.states), any(rolls(state) for state in now.states[-1:])
            progress.show(steps(now, waits if running else ""), elapsed, running=running)
            if not running:
                return now
            if time.monotonic() - followed > limit:
                raise TimeoutError(f"{now.arn} still runs after {limit:.0f} s, in {now.path[-1:]}")
            time.sleep(pause)


def conclude(record: Mapping[str, Any], execution: Execution, screen: Screen) -> None:
    """Show how an execution ended.

    Args:
        record: the record of its release; {} if there is none.
    """
    duration, outcome = f"{execution.seconds:.1f} s", record.get("outcome", execution.status)
    if reason := deployed_nothing(record, execution):
        screen.say(f"Nothing was deployed: {printable(reason)}", style="yellow")
    elif outcome == "SUCCEEDED":
        where = f": {reachable(record['url'])}" if record.get("url") else ""
        screen.say(f"Live and verified after {duration}{where}", style="green")
    elif execution.status == "SUCCEEDED":
        reason = record.get("reason") or "another execution recorded it"
        screen.say(f"Nothing was deployed: {printable(reason)}", style="yellow")
    else:
        screen.say(
            f"{execution.error or execution.status} after {duration}: {outcome}", style="red"
        )
        screen.facts(list(_explained(record, execution)))


def deployed_nothing(record: Mapping[str, Any], execution: Execution) -> str | None:
    """Return why an execution deployed nothing; None if it deployed or failed.

    The record may be that of another execution, which did deploy.
    """
    output = execution.output if isinstance(execution.output, dict) else {}
    if output.get("decision") == "NOTHING":
        return str(output.get("reason"))
    if record.get("deployed") is False:
        return str(record.get("reason")).removeprefix("nothing was deployed, ")
    return None


def _explained(record: Mapping[str, Any], execution: Execution) -> Iterator[tuple[str, str]]:
    failure = record.get("diagnosis")
    if not failure:
        yield "why", printable(message(record.get("reason") or execution.cause))
        return
    yield "why", printable(failure["cause"])
    for name, lines in (("stopped", failure["stops"]), ("last log", failure["log"])):
        for index, line in enumerate(lines):
            yield "" if index else name, printable(line)
    yield "what to do", printable(failure["advice"])
    if rollback := record.get("rollback"):
        restored = record["outcome"] == "FAILED_ROLLED_BACK"
        kind = site.kind(str(record.get("service")))
        yield "rollback", printable(diagnosis.of_rollback(rollback, restored, kind))


# A service's rollout in progress ------------------------------------------------------------------


class Watch:
    """The news of a release's rollout since an execution began, at each poll."""

    def __init__(self, target: Target, since: datetime) -> None:
        self._target, self._since = target, since
        self._services: dict[str, Mapping[str, Any]] = {}
        self._shown_events: set[str] = set()  # ids of events
        self._logs: dict[str, Log | None] = {}  # by task definition
        self._next_tokens: dict[str, str] = {}  # by log stream, the token from which to read on
        self._one_offs: list[str] = []  # the ARNs of the tasks before and after the rollout

    def standing(self) -> str:
        """Return the rollout's current state; "" without permission, or before it has begun."""
        parts = self._target.spec.parts
        with contextlib.suppress(*_UNSEEN):
            for part in parts:
                self._services[part.service] = ecs.service(part.cluster, part.service) or {}
        texts = {name: standing(service) for name, service in self._services.items()}
        if len(parts) == 1:
            return "".join(texts.values())
        return "; ".join(f"{name}: {text}" for name, text in texts.items() if text)

    def lock(self) -> str:
        """Return who holds the lock that the execution waits for; "" if unknown."""
        service = self._target.service
        with contextlib.suppress(*_UNSEEN):
            if holder := locks.queue(service).holder:
                record = releases.find(service, holder["release"])
                return f"{record['version'] if record else holder['release']} holds the lock"
        return ""

    def news(self) -> Iterator[str]:
        """Yield the events of ECS and the log lines of the tasks since the last poll."""
        yield from self._events()
        with contextlib.suppress(*_UNSEEN):
            for part, task in self._tasks():
                yield from self._lines(part, task)

    def _events(self) -> Iterator[str]:
        for service in self._services.values():
            deployment = primary(service) or {}
            # older events belong to the previous deployment, which may have held the lock meanwhile
            since = max(self._since, deployment.get("createdAt", self._since))
            for event in reversed(service.get("events", ())):
                if event["createdAt"] >= since and event["id"] not in self._shown_events:
                    self._shown_events.add(event["id"])
                    yield _line("ecs", event["message"])

    def _tasks(self) -> Iterator[tuple[ServiceSpec, Task]]:
        """Yield the newest tasks of each current rollout, oldest first, and the release's own."""
        spec = self._target.spec
        for part in spec.parts:
            deployment = primary(self._services.get(part.service, {}))
            if deployment is not None:
                tasks = ecs.stopped_tasks(part.cluster, part.service, deployment["id"])
                tasks += ecs.running_tasks(part.cluster, part.service, deployment["id"])
                since = self._since
                recent = [task for task in tasks if task.get("createdAt", since) >= since]
                yield from ((part, task) for task in recent[-_TASKS:])
        if spec.before or spec.after:
            yield from ((spec, task) for task in self._tasks_of_release())

    def _tasks_of_release(self) -> list[Task]:
        """Return the tasks before and after the rollout of the release that holds the lock."""
        service, cluster = self._target.service, self._target.spec.cluster
        holder = locks.queue(service).holder
        record = releases.find(service, holder["release"]) if holder else None
        runs = (record.get("before"), record.get("after")) if record else ()
        arns = [run["task"] for run in runs if run and "task" in run]
        self._one_offs = arns or self._one_offs  # the lock may be released before the last look
        return ecs.existing_tasks(cluster, self._one_offs)

    def _log(self, spec: ServiceSpec, task: Task) -> Log | None:
        """Return the log of the container of a task that runs the release's image."""
        revision = task["taskDefinitionArn"]
        if revision not in self._logs:
            described = ecs.task_definition(revision)
            definition = described[0] if described else {}
            container = documents.of_release(definition, spec.container, spec.repository)
            self._logs[revision] = documents.log(container)
        return self._logs[revision]

    def _lines(self, spec: ServiceSpec, running: Task) -> Iterator[str]:
        log, logs = self._log(spec, running), self._target.account.client("logs")
        if log is None:
            return
        task = running["taskArn"].rpartition("/")[2]
        stream = f"{log.prefix}{task}"
        position = {"nextToken": self._next_tokens[stream]} if stream in self._next_tokens else {}
        try:
            response = logs.get_log_events(
                logGroupName=log.group, logStreamName=stream, startFromHead=True, **position
            )
        except logs.exceptions.ResourceNotFoundException:
            return  # the task has not logged anything yet
        self._next_tokens[stream] = response["nextForwardToken"]
        lines = [event["message"] for event in response["events"]]
        if len(lines) > _LINES:
            yield f"{task[:6]}: … {len(lines) - _LINES} more lines"
        for line in lines[-_LINES:]:
            yield _line(task[:6], line)


class BuildWatch:
    """The news of the builds of an execution, at each poll: what their commands print."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._stream = self._token = ""
        self._read = False
        self.phase = ""

    def news(self, execution: Execution) -> Iterator[str]:
        """Yield the log lines since the last poll, and note the phase that the build is in."""
        state = next((state for state in reversed(execution.states) if builds(state)), None)
        if state is None:
            return
        group, stream = _build_log(state.submitted["Build"])
        if stream != self._stream:
            self._stream, self._token, self._read, self.phase = stream, "", False, ""
        if not self._read:
            with contextlib.suppress(*_UNSEEN):
                yield from self._lines(group, stream)
            self._read = state.left is not None  # once more after it ended
        self.phase = "" if self._read else self.phase

    def _lines(self, group: str, stream: str) -> Iterator[str]:
        position = {"nextToken": self._token} if self._token else {}
        try:
            response = self._account.client("logs").get_log_events(
                logGroupName=group, logStreamName=stream, startFromHead=True, **position
            )
        except self._account.client("logs").exceptions.ResourceNotFoundException:
            return  # it waits for a place, or has not logged anything yet
        self._token = response["nextForwardToken"]
        printed: list[str] = []
        for event in response["events"]:
            text = event["message"].rstrip()
            if entered := _PHASE.search(text):
                yield from _last(printed)
                printed.clear()
                self.phase = entered[1].lower().replace("_", " ")
                yield f"build: phase {self.phase}"
            elif text and not text.startswith("[Container]"):
                printed.append(text)
        yield from _last(printed)


def _last(printed: Sequence[str]) -> Iterator[str]:
    """Yield the last lines that a build printed since the last poll."""
    if len(printed) > _LINES:
        yield f"build: … {len(printed) - _LINES} more lines"
    for line in printed[-_LINES:]:
        yield _line("build", line)


def _build_log(build: Mapping[str, Any]) -> tuple[str, str]:
    """Return the log group and stream of a build: the stream is named as the build.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_LogsLocation.html
    """
    logs = build.get("Logs") or {}
    name, _, number = str(build.get("Id", "")).partition(":")
    group = logs.get("GroupName") or (logs.get("CloudWatchLogs") or {}).get("GroupName")
    return str(group or f"/aws/codebuild/{name}"), str(logs.get("StreamName") or number)


def _line(source: str, text: str) -> str:
    """Return a line from elsewhere to show: short, without credentials or control characters."""
    line = printable(text.rstrip())
    return f"{source}: {line if len(line) <= _WIDTH else line[: _WIDTH - 1] + '…'}"
