"""The service's log lines, and which of them are a release's.

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
from deployer.deploy.spec import ServiceSpec

_STEPS = [timedelta(minutes=1), *(timedelta(hours=h) for h in (0.25, 1, 6, 24, 7 * 24, 30 * 24))]
_EVER = datetime.fromtimestamp(0, UTC)
_LATE = timedelta(seconds=15)  # a line may arrive this much later than others of its time
_ROOM = 10_000  # lines that are remembered before what is long past is forgotten
_DRAINING = timedelta(minutes=5)  # how long tasks may go on after those that replace them came


def prefix(spec: ServiceSpec, container: str | None = None) -> str:
    """How the names of a service's log streams begin, as `taskdef.render` has them."""
    return f"ecs/{container or spec.container.name}/"


def task_of(stream: str) -> str:
    """The id of the task whose log a stream is."""
    return stream.rpartition("/")[2]


@dataclass(frozen=True)
class Period:
    """A time in which the tasks that ECS started were a release's; `until` None: it still is."""

    rollout: str
    since: datetime
    until: datetime | None

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


def periods(past: History, release: Recorded) -> list[Period]:
    """When tasks were started for a release: by its own rollout, and by those that put it back."""
    known: dict[str, datetime] = {}
    ours: set[str] = set()
    for record in past:
        back, previous = record.get("rollback"), record.get("previous")
        for rollout, owner in (
            (record.get("rollout"), record["id"]),
            (back.get("rollout") if back else None, previous["release"] if previous else None),
        ):
            if rollout:
                known.setdefault(rollout["id"], _started(rollout))
                ours |= {rollout["id"]} if owner == release["id"] else set()
    request = sorted(known, key=lambda name: known[name])
    following = dict(zip(request, [*(known[name] for name in request[1:]), None], strict=True))
    return [Period(name, known[name], following[name]) for name in request if name in ours]


def _started(rollout: Rollout) -> datetime:
    return datetime.fromisoformat(rollout["startedAt"])


@dataclass
class Log:
    """The lines of a container of the service; of one release, where its periods are given."""

    group: str
    cluster: str
    prefix: str
    periods: Sequence[Period] = ()
    _ours: dict[str, bool] = field(default_factory=dict)

    def lines(self, since: datetime, until: datetime | None = None) -> Iterator[Line]:
        """The lines from `since` on, oldest first, as they are read."""
        if self.periods:
            since = max(since, self.periods[0].since)
            until = min(filter(None, (until, self._end())), default=None)
            if until and until < since:
                return
        for line in logs.lines(self.group, self.prefix, since, until):
            if self.periods and line.stream not in self._ours:
                self._know([line.stream])
            if not self.periods or self._ours[line.stream]:
                yield line

    def last(self, count: int, since: datetime | None = None) -> list[Line]:
        """The last so many lines, oldest first, of those from `since` on.

        What was written last is looked at first: a minute, an hour, a day and so on, so that
        neither a log of millions nor one that has been silent for weeks takes long.
        """
        end = min(filter(None, (datetime.now(UTC), self._end())))
        first = since or (self.periods[0].since if self.periods else _EVER)
        found: list[Line] = []
        until = end
        for begin in (*(end - step for step in _STEPS), first):
            begin = max(begin, first)
            if begin <= until:
                newest = deque(self.lines(begin, until), maxlen=count - len(found))
                found = [*newest, *found]
            if len(found) == count or begin == first:
                break
            until = begin - timedelta(milliseconds=1)
        return found

    def _end(self) -> datetime | None:
        """After when no task of the release wrote any more; None if some may still."""
        last = self.periods[-1].until if self.periods else None
        return last + _DRAINING if last else None

    def _know(self, streams: Collection[str]) -> None:
        """Find out which of these streams are the release's."""
        rollouts = {period.rollout for period in self.periods}
        try:
            tasks = ecs.known_tasks(self.cluster, [task_of(stream) for stream in streams])
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            tasks = []
        started_by = {task["taskArn"].rpartition("/")[2]: task.get("startedBy") for task in tasks}
        for stream in streams:
            if by := started_by.get(task_of(stream)):
                self._ours[stream] = by in rollouts
            else:
                began = logs.begun(self.group, stream)
                self._ours[stream] = any(began in period for period in self.periods if began)


@dataclass
class Tail:
    """What comes into a log, each line once, however late it arrives; none from before `since`."""

    log: Log
    since: datetime
    _newest: datetime = _EVER
    _seen: dict[str, datetime] = field(default_factory=dict)
    _room: int = _ROOM

    def told(self, line: Line) -> None:
        """A line was shown already; the tail goes on from it."""
        self.since = line.at
        self._note(line)

    def more(self) -> Iterator[Line]:
        """The lines that came since the last time."""
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
