"""Check an expression of EventBridge Scheduler: is it one, and does it ever fire?

The rules are those of https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html

Imports nothing of the deployer.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Collection, Iterator
from datetime import date
from functools import cache

FORM = "cron(0 3 * * ? *) or rate(1 hour)"

_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")  # Scheduler counts them from 1
_FIELDS = "minutes, hours, day-of-month, month, day-of-week and year"
_RATE = re.compile(r"rate\([1-9][0-9]{0,8} (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\(([^()]*)\)")
_ZONE_LIMIT = 50  # characters

type _Fits = Callable[[date], bool]


class _Refused(Exception):
    """An expression that Scheduler refuses; the message says why."""


def problem(expression: str, since: int = _FIRST_YEAR) -> str:
    """Return why Scheduler refuses an expression, or never fires it; "" if it fires.

    Args:
        since: the first year that counts. Without it the answer is the same at any time.
    """
    if expression.startswith("at("):
        return f"fires only once, and a schedule stays with every release: use {FORM}"
    if _RATE.fullmatch(expression):
        return ""
    match = _CRON.fullmatch(expression)
    if not match:
        return f"must be such as {FORM}"
    try:
        days = _days(match[1].split(), since)
    except _Refused as why:
        return f"{why}"
    if next(days, None) is None:
        later = f" after {since - 1}" if since > _FIRST_YEAR else ""
        return f"never fires: it names no day that exists{later}"
    return ""


def timezone_problem(zone: str) -> str:
    """Return why a time zone is not one; "" if it is, or if this machine knows none.

    Lambda's image has no database of them. Scheduler then refuses what is none.
    """
    if zone == "UTC" or (len(zone) <= _ZONE_LIMIT and _is_zone(zone)):
        return ""
    if not _is_zone("Europe/Berlin"):
        return ""
    return "is not a time zone such as Europe/Berlin"


@cache
def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo  # most specs name none, and it costs a cold start 3 ms

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True


def _days(fields: list[str], since: int) -> Iterator[date]:
    """Return the days on which a cron expression fires, in order."""
    if len(fields) != 6:
        raise _Refused(f"has {len(fields)} fields and must have six: {_FIELDS}")
    _values("minutes", fields[0], range(60))
    _values("hours", fields[1], range(24))
    months = _values("month", fields[3], range(1, 13), _MONTHS)
    years = _values("year", fields[5], range(_FIRST_YEAR, _LAST_YEAR + 1))
    of_month, of_week = fields[2], fields[4]
    if (of_month == "?") == (of_week == "?"):
        raise _Refused("must have ? in either day-of-month or day-of-week")
    fits = _by_month(of_month) if of_week == "?" else _by_week(of_week)
    return (
        day
        for year in sorted(years)
        if year >= since
        for month in sorted(months)
        for day in _of(year, month)
        if fits(day)
    )


def _of(year: int, month: int) -> Iterator[date]:
    return (date(year, month, day) for day in range(1, monthrange(year, month)[1] + 1))


def _values(field: str, text: str, allowed: range, names: Collection[str] = ()) -> Collection[int]:
    """Return the values that a field stands for: numbers, ranges and steps, with commas.

    Args:
        names: of the allowed values, in their order.
    """
    values: set[int] = set()
    for part in text.split(","):
        ends, slash, step = part.partition("/")
        if slash and not (step.isdecimal() and int(step)):
            raise _Refused(f"has {part} in {field}: after / comes a number from 1")
        if ends == "*":
            first, last = allowed[0], allowed[-1]
        else:
            low, dash, high = ends.partition("-")
            first = _number(field, low, allowed, names)
            last = _number(field, high, allowed, names) if dash else first
            last = allowed[-1] if slash and not dash else last
        if first > last:
            raise _Refused(f"has {part} in {field}: a range goes upwards")
        values |= set(range(first, last + 1, int(step or 1)))
    return values


def _number(field: str, text: str, allowed: range, names: Collection[str]) -> int:
    if text.upper() in names:
        return allowed[[*names].index(text.upper())]
    if not text.isdecimal() or int(text) not in allowed:
        or_names = f" or {next(iter(names))} to {[*names][-1]}" if names else ""
        raise _Refused(f"has {text!r} in {field}: {allowed[0]} to {allowed[-1]}{or_names}")
    return int(text)


def _by_month(text: str) -> _Fits:
    """Return whether a day fits day-of-month: also L, its last, and 3W, the weekday next to 3."""
    if text == "L":
        return lambda day: day.day == monthrange(day.year, day.month)[1]
    if match := re.fullmatch(r"(\d{1,2})W", text):
        (wanted,) = _values("day-of-month", match[1], range(1, 32))
        return lambda day: day == _nearest_weekday(day.year, day.month, wanted)
    values = _values("day-of-month", text, range(1, 32))
    return lambda day: day.day in values


def _nearest_weekday(year: int, month: int, wanted: int) -> date | None:
    last = monthrange(year, month)[1]
    if wanted > last:
        return None
    near = (wanted, wanted - 1, wanted + 1, wanted - 2, wanted + 2)  # it stays in its month
    return next(
        day for n in near if 1 <= n <= last for day in [date(year, month, n)] if day.weekday() < 5
    )


def _by_week(text: str) -> _Fits:
    """Return whether a day fits day-of-week: also 6L, the last one, and 6#2, the second."""
    if match := re.fullmatch(r"(\w+)#([1-5])", text):
        named = _number("day-of-week", match[1], range(1, 8), _DAYS)
        week = int(match[2]) - 1
        return lambda day: _week_day(day) == named and (day.day - 1) // 7 == week
    if text == "L":
        return lambda day: _week_day(day) == 7
    if match := re.fullmatch(r"(\w+)L", text):
        named = _number("day-of-week", match[1], range(1, 8), _DAYS)
        return lambda day: (
            _week_day(day) == named and day.day + 7 > monthrange(day.year, day.month)[1]
        )
    values = _values("day-of-week", text, range(1, 8), _DAYS)
    return lambda day: _week_day(day) in values


def _week_day(day: date) -> int:
    """Return the number of a weekday, as Scheduler counts: SUN is 1."""
    return day.isoweekday() % 7 + 1
