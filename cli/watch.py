"""A service's rollout as it goes on: how it stands, ECS's events, the new tasks' log lines."""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.screen import printable, standing
from cli.target import Target
from deployer.aws import ecs, releases, turns
from deployer.diagnosis import redact
from deployer.errors import AwsUnavailable
from deployer.rollout import primary

_TASKS = 3  # of a rollout whose tasks crash one after another, the newest tell enough
_LINES = 12  # at one look, of a task
_WIDTH = 300  # characters of a line


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
        with contextlib.suppress(ClientError, AwsUnavailable):
            self._service = ecs.service(spec.cluster, spec.service) or {}
        return standing(self._service)

    def turn(self) -> str:
        """Who has the turn that the execution waits for."""
        service = self._target.service
        with contextlib.suppress(ClientError, AwsUnavailable):
            if holder := turns.line(service).holder:
                record = releases.find(service, holder["release"])
                return f"{record['version'] if record else holder['release']} has the turn"
        return ""

    def news(self) -> Iterator[str]:
        """What ECS and the rollout's tasks said since the last look."""
        yield from self._events()
        with contextlib.suppress(ClientError, AwsUnavailable):
            for task in self._tasks():
                yield from self._lines(task)

    def _events(self) -> Iterator[str]:
        now = primary(self._service) or {}
        # what is older is of the deployment before, which may have had the turn meanwhile
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
    said = printable(redact(text.rstrip()))
    return f"{by}: {said if len(said) <= _WIDTH else said[: _WIDTH - 1] + '…'}"
