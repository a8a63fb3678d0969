"""An expression that Scheduler refuses, or never fires, is named; every other one passes."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deploy import schedule_expressions
from deployer.deploy.schedule_expressions import problem, timezone_problem


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 hour)",
        "rate(5 minutes)",
        "rate(30 days)",
        "cron(0 3 * * ? *)",
        "cron(0/15 8-17 ? * MON-FRI *)",
        "cron(0 0 L * ? *)",
        "cron(0 0 15W * ? *)",
        "cron(0 0 ? * 6L *)",
        "cron(0 0 ? * fri#2 *)",
        "cron(0 0 ? * L *)",
        "cron(0 0 29 2 ? *)",
        "cron(0 0 29 2 ? 2028)",
        "cron(1,31 * 1,15 JAN,JUL ? 2027-2199/4)",
    ],
)
def test_what_fires_passes(expression: str) -> None:
    assert problem(expression, 2026) == ""


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("at(2027-01-01T00:00:00)", "fires only once"),
        ("0 3 * * *", "must be such as cron(0 3 * * ? *) or rate(1 hour)"),
        ("rate(0 minutes)", "must be such as"),
        ("rate(1.5 hours)", "must be such as"),
        ("rate(1 week)", "must be such as"),
        ("cron(0 3 * * ?)", "has 5 fields and must have six"),
        ("cron(0 3 * * * *)", "must have ? in either day-of-month or day-of-week"),
        ("cron(0 3 ? * ? *)", "must have ? in either day-of-month or day-of-week"),
        ("cron(60 3 * * ? *)", "has '60' in minutes: 0 to 59"),
        ("cron(0 24 * * ? *)", "has '24' in hours: 0 to 23"),
        ("cron(0 3 0 * ? *)", "has '0' in day-of-month: 1 to 31"),
        ("cron(0 3 * 13 ? *)", "has '13' in month: 1 to 12 or JAN to DEC"),
        ("cron(0 3 ? * 8 *)", "has '8' in day-of-week: 1 to 7 or SUN to SAT"),
        ("cron(0 3 ? * FRI#6 *)", "has 'FRI#6' in day-of-week"),
        ("cron(0 3 * * ? 1969)", "has '1969' in year: 1970 to 2199"),
        ("cron(0/0 3 * * ? *)", "has 0/0 in minutes: after / comes a number from 1"),
        ("cron(30-10 3 * * ? *)", "has 30-10 in minutes: a range goes upwards"),
        ("cron(0 3 31 2 ? *)", "never fires: it names no day that exists"),
        ("cron(0 3 31 4,6,9,11 ? *)", "never fires: it names no day that exists"),
        ("cron(0 3 29 2 ? 2026-2027)", "never fires: it names no day that exists"),
        ("cron(0 3 30W 2 ? *)", "never fires: it names no day that exists"),
        ("cron(0 3 ? 2 FRI#5 2027)", "never fires: it names no day that exists"),
    ],
)
def test_what_is_refused_or_never_fires_is_named(expression: str, why: str) -> None:
    assert problem(expression).startswith(why)


def test_a_year_that_is_over_counts_only_where_the_time_is_known() -> None:
    """A spec that was valid does not become invalid on New Year's Day."""
    assert problem("cron(0 3 1 1 ? 2020)") == ""
    over = "never fires: it names no day that exists after 2025"
    assert problem("cron(0 3 1 1 ? 2020)", 2026) == over


@given(st.dates(date(1970, 1, 1), date(2199, 12, 31)))
def test_each_day_is_found_by_its_own_expressions(day: date) -> None:
    week_day = day.strftime("%a").upper()
    number = (day.day - 1) // 7 + 1
    for expression in (
        f"cron(0 0 {day.day} {day.month} ? {day.year})",
        f"cron(0 0 ? {day.month} {week_day}#{number} {day.year})",
        f"cron(0 0 {day.day}W {day.month} ? {day.year})",
        f"cron(0 0 L {day.month} ? {day.year})",
        f"cron(0 0 ? {day.month} {week_day}L {day.year})",
    ):
        assert problem(expression) == ""


@given(st.text(max_size=30))
def test_any_text_is_judged(text: str) -> None:
    assert isinstance(problem(f"cron({text})"), str)
    assert isinstance(timezone_problem(text), str)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "Europe/" + 50 * "x"])
def test_what_is_not_a_time_zone_is_named(zone: str) -> None:
    assert timezone_problem(zone) == "is not a time zone such as Europe/Berlin"


def test_without_a_database_of_time_zones_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_expressions, "_is_zone", lambda name: False)
    assert timezone_problem("Mars/Olympus") == timezone_problem("UTC") == ""
