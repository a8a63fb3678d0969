"""How texts, times and links are shown to people: on a terminal, on the page and in the widget."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployer.redaction import redact

_CONSOLES = {"cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com"}


def printable(text: str) -> str:
    """Return an untrusted text, such as a log line, without credentials and control characters."""
    return "".join(character if character.isprintable() else " " for character in redact(text))


def seconds_of(record: Mapping[str, Any]) -> float | None:
    """Return how long a release took; None while it is in flight."""
    if "endedAt" not in record:
        return None
    begun, ended = (datetime.fromisoformat(record[key]) for key in ("startedAt", "endedAt"))
    return (ended - begun).total_seconds()


def brief(record: Mapping[str, Any]) -> str:
    """Return a record's reason in brief."""
    diagnosis = record.get("diagnosis")
    return printable(diagnosis["cause"] if diagnosis else record.get("reason") or "")


def span(seconds: float) -> str:
    """Return a rounded duration: `45 s`, `3 min 20 s`, `2 h 5 min`, `3 d`."""
    whole = round(seconds)
    for size, name, below, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count} {name}" + (f" {rest // below} {part}" if rest >= below else "")
    if whole >= 60:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole} s"


def moment(when: str | datetime, now: datetime | None = None) -> str:
    """Return a time in UTC, and how long ago it was if `now` is given.

    Args:
        when: the time, or its text in ISO 8601.
    """
    at = datetime.fromisoformat(when) if isinstance(when, str) else when
    shown = f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{shown}, {span(max((now - at).total_seconds(), 0))} ago" if now else shown


def link(arn: str) -> str:
    """Return the console's URL of an execution."""
    region = arn.split(":")[3]
    ends = (end for start, end in _CONSOLES.items() if region.startswith(start))
    domain = next(ends, "aws.amazon.com")
    host = f"{region}.console" if domain == "aws.amazon.com" else "console"
    return f"https://{host}.{domain}/states/home?region={region}#/v2/executions/details/{arn}"
