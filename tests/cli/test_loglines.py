"""Which log lines are a release's, and following a log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli import loglines
from cli.loglines import Log, Period, Tail, periods
from deployer.aws import ecs, logs
from deployer.aws.logs import Line

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def rollout(name: str, minutes: float) -> dict[str, Any]:
    return {"id": name, "startedAt": after(minutes).isoformat()}


FIRST: Any = {"id": "1", "rollout": rollout("a", 0)}
FAILED: Any = {
    "id": "2",
    "rollout": rollout("b", 10),
    "previous": {"release": "1"},
    "rollback": {"rollout": rollout("c", 15)},
}
AGAIN: Any = {"id": "3", "rollout": rollout("c", 15)}  # the service was on that one already
REFUSED: Any = {"id": "4", "rollback": None}
PAST = [REFUSED, AGAIN, FAILED, FIRST]


@pytest.mark.parametrize(
    ("release", "described"),
    [
        (FIRST, [Period("a", after(0), after(10)), Period("c", after(15), None)]),
        (FAILED, [Period("b", after(10), after(15))]),
        (AGAIN, [Period("c", after(15), None)]),
        (REFUSED, []),
    ],
)
def test_when_tasks_were_started_for_a_release(release: Any, described: list[Period]) -> None:
    assert periods(PAST, release) == described


class Kept:
    """A log group: lines by stream, and what ECS knows of the tasks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[Line] = []
        self.tasks: dict[str, str] = {}
        self.windows: list[timedelta] = []
        monkeypatch.setattr(logs, "lines", self._lines)
        monkeypatch.setattr(logs, "begun", self._begun)
        monkeypatch.setattr(ecs, "existing_tasks", self._known)

    def write(self, minutes: float, stream: str, text: str) -> None:
        self.written.append(
            Line(f"id-{len(self.written)}", after(minutes), f"ecs/x/{stream}", text)
        )

    def _lines(self, group: str, prefix: str, since: datetime, until: Any = None) -> Any:
        self.windows.append((until or after(600)) - since)
        matches = [x for x in self.written if since <= x.at and (until is None or x.at <= until)]
        return iter(sorted(matches, key=lambda line: line.at))

    def _begun(self, group: str, stream: str) -> datetime | None:
        return min((line.at for line in self.written if line.stream == stream), default=None)

    def _known(self, cluster: str, ids: Any) -> Any:
        return [
            {"taskArn": f"arn:task/x/{name}", "startedBy": self.tasks[name]}
            for name in ids
            if name in self.tasks
        ]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    result = Kept(monkeypatch)
    result.write(1, "old", "first says a")
    result.write(11, "new", "failed says b")
    result.write(12, "old", "first says it stops")
    result.write(16, "back", "first is back")
    return result


def texts(release: Any) -> list[str]:
    log = Log("/g", "c", "ecs/x/", periods(PAST, release))
    return [line.text for line in log.last(100)]


def test_a_tasks_lines_are_those_of_the_release_that_started_it(kept: Kept) -> None:
    assert texts(FAILED) == ["failed says b"]
    assert texts(FIRST) == ["first says a", "first says it stops", "first is back"]


def test_ecs_knows_better_than_the_time(kept: Kept) -> None:
    kept.write(10.5, "late", "first started this, and it was slow to write")
    kept.tasks = {"late": "a", "new": "b"}
    assert texts(FAILED) == ["failed says b"]
    assert "first started this, and it was slow to write" in texts(FIRST)


def test_the_last_lines_are_looked_for_from_the_end(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    class At(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return after(16.5)

    monkeypatch.setattr(loglines, "datetime", At)
    log = Log("/g", "c", "ecs/x/")
    assert [line.text for line in log.last(1)] == ["first is back"]
    assert kept.windows == [timedelta(minutes=1)]
    for count, item in ((2, 2), (100, 4), (0, 0)):
        assert len(log.last(count)) == item
    assert [line.text for line in log.last(9, after(12))] == [
        "first says it stops",
        "first is back",
    ]


def test_following_tells_each_line_once_and_late_ones_too(kept: Kept) -> None:
    tail = Tail(Log("/g", "c", "ecs/x/"), after(11))
    assert [line.text for line in tail.more()] == [
        "failed says b",
        "first says it stops",
        "first is back",
    ]
    kept.write(15.9, "slow", "it was on its way")
    kept.write(16, "back", "at the same moment")
    assert [line.text for line in tail.more()] == ["it was on its way", "at the same moment"]
    assert list(tail.more()) == []
    kept.write(30, "back", "later")
    assert [line.text for line in tail.more()] == ["later"]
    assert len(tail._seen) == 1  # what is long past is forgotten


def test_following_goes_on_from_what_was_shown(kept: Kept) -> None:
    log = Log("/g", "c", "ecs/x/")
    kept.write(16.1, "back", "one")
    kept.write(16.1, "back", "two")
    tail = Tail(log, after(600))
    tail.mark_shown(kept.written[-2])
    kept.write(16.2, "back", "three")
    assert [line.text for line in tail.more()] == ["two", "three"]


def test_a_flood_takes_no_more_memory_than_half_a_minute_of_it(kept: Kept) -> None:
    for number in range(30_000):
        kept.write(20 + number / 1000, "flood", f"{number}")
    tail = Tail(Log("/g", "c", "ecs/x/"), after(20))
    most = max(len(tail._seen) for _ in tail.more())
    assert most <= 10_001
