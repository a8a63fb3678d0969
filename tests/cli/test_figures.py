"""The figures of a service's releases, of records as the table keeps them."""

from datetime import timedelta
from typing import Any

import pytest

from cli import figures
from cli.commands.history import figure_rows
from deployer.deploy.history import History
from tests.cli.documents import check
from tests.unit.samples import NOW, recorded, rollout


def ended(days: float, outcome: str | None = "SUCCEEDED", took: float = 60, **fields: Any) -> Any:
    """A release that ended so many days ago, so many seconds after its push."""
    end = NOW - timedelta(days=days)
    begun = end - timedelta(seconds=took)
    record = recorded(
        id=fields.pop("id", f"of day {days}"),
        pushedAt=begun.isoformat(),
        startedAt=begun.isoformat(),
        endedAt=end.isoformat(),
        rollout=rollout(since=(begun + timedelta(seconds=20)).isoformat()),
        **fields,
    )
    if outcome is None:
        del record["outcome"], record["endedAt"]
    else:
        record["outcome"] = outcome  # type: ignore[typeddict-item]
    return record


def of(*records: Any, weeks: int = 4) -> dict[str, Any]:
    history: History = sorted(records, key=lambda r: r.get("endedAt", r["startedAt"]), reverse=True)
    document = figures.document(history, NOW, weeks)
    check("stats", document)
    return document


def test_what_went_live_counts_by_week() -> None:
    deployments = of(ended(1), ended(2), ended(20), ended(27.9), ended(28.1))["deployments"]
    assert deployments == {"live": 4, "perWeek": 1.0, "series": [1, 1, 0, 2]}


@pytest.mark.parametrize(
    "record",
    [
        ended(1, trigger="restart"),
        ended(1, trigger="rollback"),
        ended(1, trigger="hold"),
        ended(1, deployed=False),
        ended(1, "SUPERSEDED"),
        ended(1, "HELD"),
        ended(1, "IGNORED"),
        ended(1, None),
    ],
    ids=["restart", "rollback", "hold", "ran already", "superseded", "held", "ignored", "flying"],
)
def test_what_brings_no_change_live_does_not_count(record: Any) -> None:
    document = of(record)
    assert document["deployments"]["live"] == 0
    assert document["failureRate"]["of"] == 0
    assert document["leadTime"] == {
        "median": None, "slowest": None, "of": 0, "from": "push", "series": [None] * 4,
    }  # fmt: skip


def test_the_lead_time_begins_with_the_push_and_a_hold_is_part_of_it() -> None:
    waited = ended(1, took=3600, trigger="resume", to="held")
    by_hand = ended(1, took=9000, trigger="deploy")  # its `pushedAt` is when it was asked for
    lead = of(ended(8, took=60), ended(2, took=120), waited, by_hand)["leadTime"]
    assert (lead["median"], lead["slowest"], lead["of"]) == (120.0, 3600.0, 3)
    assert lead["series"] == [None, None, 60.0, 1860.0]


def test_a_change_failed_if_it_reached_the_service_and_did_not_last() -> None:
    refused = ended(3, "FAILED")
    del refused["rollout"]
    revoked = ended(2, id="revoked")
    back = ended(1, trigger="rollback", previous={"release": "revoked"})
    rate = of(ended(5), ended(4, "FAILED_ROLLED_BACK"), refused, revoked, back)["failureRate"]
    assert rate == {"share": 0.667, "failed": 2, "of": 3, "series": [None, None, None, 0.667]}


def test_it_is_restored_when_a_release_is_live_again() -> None:
    rolled_back = ended(9, "FAILED_ROLLED_BACK", took=100)
    left = ended(5, "FAILED", took=100)
    fixed = ended(4)
    restored = of(rolled_back, left, fixed)["timeToRestore"]
    assert restored["series"] == [None, None, 80.0, 86400.0 + 80]
    assert (restored["of"], restored["unrestored"]) == (2, 0)
    by_hand = of(ended(2, id="bad"), ended(1.5, trigger="rollback", previous={"release": "bad"}))
    assert by_hand["timeToRestore"]["median"] == 12 * 3600


def test_what_is_not_restored_is_counted_apart() -> None:
    restored = of(ended(5), ended(4, "FAILED"))["timeToRestore"]
    assert (restored["median"], restored["of"], restored["unrestored"]) == (None, 0, 1)


def test_the_terminal_shows_them_in_80_columns() -> None:
    records = [ended(d / 2, took=70000) for d in range(300)]
    records += [ended(d, "FAILED", took=90000) for d in range(90)]
    for weeks in (1, 12):
        for name, text in figure_rows(of(*records, weeks=weeks)):
            assert len(f"  {name:<12} {text}") <= 80, text


def test_a_sparkline_has_a_bar_for_each_week_and_none_where_nothing_was() -> None:
    assert figures.sparkline([0, 1, 4, 8, None]) == "▁▂▅█ "
    assert figures.sparkline([0, 0]) == "▁▁"
    assert figures.sparkline([None]) == " "
    assert figures.sparkline([0.1, 1000]) == "▂█"
