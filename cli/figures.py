"""The figures of a service's releases: how often, how fast, how safely, how quickly restored.

They are DORA's four (https://dora.dev/guides/dora-metrics/), of what the records say and of nothing
else. A record has no time of a commit, so the lead time begins with the push of the image. A
restart, a rollback, a hold and a release that changed nothing are no deployments of a change.

Imports decisions only, no AWS.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from deployer.deploy import history
from deployer.deploy.history import History
from deployer.deploy.release import Recorded

WEEK = timedelta(days=7)
_CHANGES = ("push", "deploy", "resume")  # the triggers that bring a change
_FAILED = ("FAILED", "FAILED_ROLLED_BACK")
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Value:
    """A measurement of one release: when it counts, and how much it is."""

    at: datetime
    amount: float


def document(records: History, now: datetime, weeks: int) -> dict[str, Any]:
    """Return the figures of the weeks before `now`, as `history --stats --json` prints them.

    Args:
        records: newest first, all that the table keeps.
        weeks: how many weeks of seven days, the last of which ends now.
    Returns:
        `deployments`: releases that went live, in all and per week.
        `leadTime`: seconds from the push of an image to its release being live and verified.
        `failureRate`: the share (0 to 1) of the changes that reached the service and failed, or
        were rolled back by hand.
        `timeToRestore`: seconds from when a failed release began to change the service (one that
        was rolled back by hand: from when it was live) until a release was live again.
        Each has a `series`, a value for each week, oldest first; null where there is none.
    """
    since = now - weeks * WEEK

    def recent(values: Iterable[Value]) -> list[Value]:
        return [value for value in values if since < value.at <= now]

    def weekly(values: Sequence[Value], of: Callable[[list[float]], float | None]) -> list[Any]:
        return [
            of([v.amount for v in values if end - WEEK < v.at <= end])
            for end in (now - week * WEEK for week in reversed(range(weeks)))
        ]

    live = recent(Value(_ended(entry), 1) for entry in records if _went_live(entry))
    lead, tried = recent(_lead_times(records)), recent(_tried(records))
    restored = [*_restorations(records)]
    times = recent(Value(at, seconds) for at, seconds in restored if seconds is not None)
    return {
        "weeks": weeks,
        "since": since.isoformat(),
        "until": now.isoformat(),
        "deployments": {
            "live": len(live),
            "perWeek": round(len(live) / weeks, 2),
            "series": weekly(live, lambda amounts: len(amounts)),
        },
        "leadTime": {**_spread(lead), "from": "push", "series": weekly(lead, _median)},
        "failureRate": {
            "share": _share([value.amount for value in tried]),
            "failed": sum(value.amount == 1 for value in tried),
            "of": len(tried),
            "series": weekly(tried, _share),
        },
        "timeToRestore": {
            **_spread(times),
            "unrestored": sum(seconds is None and since < at <= now for at, seconds in restored),
            "series": weekly(times, _median),
        },
    }


def _went_live(entry: Recorded) -> bool:
    """Return whether a release brought a change live."""
    brought = entry["trigger"] in _CHANGES and entry.get("deployed") is not False
    return brought and history.was_live(entry)


def _ended(entry: Recorded) -> datetime:
    return datetime.fromisoformat(entry.get("endedAt") or entry["startedAt"])


def _lead_times(records: History) -> Iterator[Value]:
    """Yield how long each push took to be live; the release of a held push has its `pushedAt`."""
    for entry in records:
        if entry["trigger"] in ("push", "resume") and _went_live(entry):
            waited = _ended(entry) - datetime.fromisoformat(entry["pushedAt"])
            yield Value(_ended(entry), waited.total_seconds())


def _tried(records: History) -> Iterator[Value]:
    """Yield each change that reached the service: 1 if it failed, 0 if it lasted."""
    revoked = {entry["id"] for entry, _ in _revoked(records)}
    for entry in records:
        if entry["trigger"] in _CHANGES and "outcome" in entry:
            failed = entry["outcome"] in _FAILED and _changed(entry)
            if failed or _went_live(entry):
                yield Value(_ended(entry), float(failed or entry["id"] in revoked))


def _changed(entry: Recorded) -> bool:
    """Return whether a release has changed any of its services."""
    return "rollout" in entry or "updating" in entry


def _revoked(records: History) -> Iterator[tuple[Recorded, Recorded]]:
    """Yield each change that was live and then rolled back by hand, with that rollback."""
    by_id = {entry["id"]: entry for entry in records}
    for entry in records:
        if entry["trigger"] == "rollback" and history.was_live(entry):
            previous = entry.get("previous")
            before = by_id.get((previous and previous["release"]) or "")
            if before and _went_live(before):
                yield before, entry


def _restorations(records: History) -> Iterator[tuple[datetime, float | None]]:
    """Yield when each failure began, and after how many seconds it was over; None if it is not."""
    for entry in records:
        if entry["trigger"] in _CHANGES and entry.get("outcome") in _FAILED and _changed(entry):
            rollout = entry.get("rollout")
            began = datetime.fromisoformat(rollout["since"] if rollout else entry["lockedAt"])
            ends = [_ended(entry)] if entry["outcome"] == "FAILED_ROLLED_BACK" else []
            ends += [_ended(one) for one in history.good(records) if _ended(one) > _ended(entry)]
            yield began, (min(ends) - began).total_seconds() if ends else None
    for before, rollback in _revoked(records):
        yield _ended(before), (_ended(rollback) - _ended(before)).total_seconds()


def _spread(values: Sequence[Value]) -> dict[str, Any]:
    amounts = [value.amount for value in values]
    slowest = round(max(amounts), 1) if amounts else None
    return {"median": _median(amounts), "slowest": slowest, "of": len(amounts)}


def _median(amounts: Sequence[float]) -> float | None:
    return round(median(amounts), 1) if amounts else None


def _share(amounts: Sequence[float]) -> float | None:
    return round(sum(amounts) / len(amounts), 3) if amounts else None


def sparkline(series: Sequence[float | None]) -> str:
    """Return a bar for each value, by its part of the largest; a blank where there is none."""
    top = max((value for value in series if value), default=0.0)
    return "".join(" " if value is None else _bar(value, top) for value in series)


def _bar(value: float, top: float) -> str:
    """Return a bar; zero alone has the lowest."""
    return _BARS[max(1, round((len(_BARS) - 1) * value / top)) if value else 0]
