"""Read the service's log lines, all or those of a release.

The awslogs driver names a task's stream `prefix/container/task`
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html). A task is a
release's if the release's rollout started it: ECS says so as long as it knows the task; after that,
it is known by when the stream began, between the release's rollout and the next.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from cli.aws import DENIED, code_of
from deployer.aws import ecs, logs
from deployer.aws.logs import Line
from deployer.deploy.history import History
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Rollout

_STEPS = [timedelta(minutes=1), *(timedelta(hours=h) for h in (0.25, 1, 6, 24, 7 * 24, 30 * 24))]
_EVER = datetime.fromtimestamp(0, UTC)
_LATE = timedelta(seconds=15)  # a line may arrive this much later than others of its time
_ROOM = 10_000  # lines to remember before the oldest are forgotten
_DRAINING = timedelta(minutes=5)  # how long tasks may run after their replacements started


def task_of(stream: str) -> str:
    """Return the id of a log stream's task."""
    return stream.rpartition("/")[2]


@dataclass(frozen=True)
class Period:
    """A time in which ECS started tasks of one release; `until` is None if it lasts."""

    rollout: str
    since: datetime
    until: datetime | None

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


def periods(records: History, release: Recorded) -> list[Period]:
    """Return when ECS started tasks of a release: by its rollout, and by rollbacks to it."""
    started: dict[str, datetime] = {}
    own: set[str] = set()
    for record in records:
        rollback, previous = record.get("rollback"), record.get("previous")
        for rollout, owner in (
            (record.get("rollout"), record["id"]),
            (
                rollback.get("rollout") if rollback else None,
                previous["release"] if previous else None,
            ),
        ):
            if rollout:
                started.setdefault(rollout["id"], _started(rollout))
                own |= {rollout["id"]} if owner == release["id"] else set()
    order = sorted(started, key=lambda name: started[name])
    following = dict(zip(order, [*(started[name] for name in order[1:]), None], strict=True))
    return [Period(name, started[name], following[name]) for name in order if name in own]


def _started(rollout: Rollout) -> datetime:
    return datetime.fromisoformat(rollout["startedAt"])


@dataclass
class Log:
    """The log lines of a container of the service; those of one release, if `periods` is set."""

    group: str
    cluster: str
    prefix: str
    periods: Sequence[Period] = ()
    _own: dict[str, bool] = field(default_factory=dict)

    def lines(self, since: datetime, until: datetime | None = None) -> Iterator[Line]:
        """Yield the lines from `since` on, oldest first."""
        if self.periods:
            since = max(since, self.periods[0].since)
            until = min(filter(None, (until, self._end())), default=None)
            if until and until < since:
                return
        for line in logs.lines(self.group, self.prefix, since, until):
            if self.periods and line.stream not in self._own:
                self._classify([line.stream])
            if not self.periods or self._own[line.stream]:
                yield line

    def last(self, count: int, since: datetime | None = None) -> list[Line]:
        """Return the last lines from `since` on, oldest first.

        Reads backwards in growing steps (a minute, an hour, a day and so on), so that neither a
        log of millions of lines nor one that has been silent for weeks takes long.
        """
        end = min(filter(None, (datetime.now(UTC), self._end())))
        first = since or (self.periods[0].since if self.periods else _EVER)
        lines: list[Line] = []
        until = end
        for begin in (*(end - step for step in _STEPS), first):
            begin = max(begin, first)
            if begin <= until:
                newest = deque(self.lines(begin, until), maxlen=count - len(lines))
                lines = [*newest, *lines]
            if len(lines) == count or begin == first:
                break
            until = begin - timedelta(milliseconds=1)
        return lines

    def _end(self) -> datetime | None:
        """Return when the release's last task stopped; None if tasks may still run."""
        last = self.periods[-1].until if self.periods else None
        return last + _DRAINING if last else None

    def _classify(self, streams: Collection[str]) -> None:
        """Determine which of these streams belong to the release."""
        rollouts = {period.rollout for period in self.periods}
        try:
            tasks = ecs.existing_tasks(self.cluster, [task_of(stream) for stream in streams])
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            tasks = []
        started_by = {task["taskArn"].rpartition("/")[2]: task.get("startedBy") for task in tasks}
        for stream in streams:
            if by := started_by.get(task_of(stream)):
                self._own[stream] = by in rollouts
            else:
                began = logs.begun(self.group, stream)
                self._own[stream] = any(began in period for period in self.periods if began)


@dataclass
class Tail:
    """The new lines of a log from `since` on, each once, however late it arrives."""

    log: Log
    since: datetime
    _newest: datetime = _EVER
    _seen: dict[str, datetime] = field(default_factory=dict)
    _room: int = _ROOM

    def mark_shown(self, line: Line) -> None:
        """Record a line that was shown already; the tail continues after it."""
        self.since = line.at
        self._note(line)

    def more(self) -> Iterator[Line]:
        """Yield the lines that arrived since the last call."""
        for line in self.log.lines(max(self.since, self._newest - _LATE)):
            if line.id not in self._seen:
                self._note(line)
                yield line
        self._forget()

    def _note(self, line: Line) -> None:
        self._seen[line.id] = line.at
        self._newest = max(self._newest, line.at)
        if len(self._seen) > self._room:
            self._forget()
            self._room = max(_ROOM, 2 * len(self._seen))

    def _forget(self) -> None:
        kept = self._newest - 2 * _LATE
        self._seen = {name: at for name, at in self._seen.items() if at >= kept}
