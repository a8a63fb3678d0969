"""Write a release's outcome as a message for Slack, or decide that it is not worth one.

https://docs.slack.dev/reference/block-kit/blocks/section-block and
https://docs.slack.dev/messaging/formatting-message-text
"""

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from deployer.deploy import announcement
from deployer.deploy.release import Record
from deployer.wording import link, span

_LONGEST = 3000  # characters of a section's text
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_FAILED = ("FAILED", "FAILED_ROLLED_BACK")
_ICONS = {
    "SUCCEEDED": ":large_green_circle:",
    "FAILED": ":red_circle:",
    "FAILED_ROLLED_BACK": ":large_orange_circle:",
    "HELD": ":double_vertical_bar:",
}
"""The outcomes of which Slack hears: nobody can do anything about the others."""


def message(event: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any] | None:
    """Return the body for an incoming webhook; None if the channel need not hear of it.

    The same failure in a row is announced in full once, then in brief as the 2nd, 4th, 8th …

    Args:
        event: EventBridge's, with a `Release State Change` as its detail.
        records: the service's, newest first.
    """
    detail = event["detail"]
    if detail["state"] not in _ICONS:
        return None
    before = list(_before(detail, records))
    failures = sum(1 for _ in itertools.takewhile(lambda r: r["outcome"] in _FAILED, before))
    count = 1
    if detail["state"] != "SUCCEEDED":
        own = next((r for r in records if r["id"] == detail["id"]), None)
        same = itertools.takewhile(lambda r: own and _cause(r) == _cause(own), before)
        count += sum(1 for _ in same)
    if count & (count - 1):
        return None
    title = announcement.headline(detail)
    if count > 1:
        title += f", {count} times in a row for the same cause"
    elif detail["state"] == "SUCCEEDED" and failures:
        title += f", after {failures} that failed"
    sections = [
        f"{_ICONS[detail['state']]} *{_clipped(title, 500)}*",
        "" if count > 1 or detail["state"] == "SUCCEEDED" else _block(detail.get("reason") or ""),
        " · ".join(_facts(event)),
        _block(_command(detail)),
    ]
    return {
        "text": _clipped(title, _LONGEST),  # what a notification shows
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}}
            for text in sections
            if text
        ],
    }


def _before(detail: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Record]:
    """Yield the outcomes before this one that count, newest first."""
    since = next((r.get("endedAt", "") for r in records if r["id"] == detail["id"]), "")
    for record in records:
        counts = record.get("outcome") in _ICONS and record["trigger"] != "hold"
        if counts and record["id"] != detail["id"] and record.get("endedAt", "") < since:
            yield record


def _cause(record: Record) -> tuple[Any, ...]:
    """Return what makes two outcomes the same to whoever reads of them."""
    diagnosis: Mapping[str, Any] = record.get("diagnosis") or {}  # type: ignore[assignment]
    failed = record.get("outcome") in _FAILED
    return failed, diagnosis.get("error"), diagnosis.get("kind")


def _facts(event: Mapping[str, Any]) -> Iterator[str]:
    """Yield who and how long, what serves, and the pages to look at."""
    detail = event["detail"]
    if by := detail.get("startedBy"):
        trigger = detail.get("trigger")
        yield _clipped(f"by {by}{f' ({trigger})' if trigger not in (None, by) else ''}", 200)
    if began := detail.get("startedAt"):
        took = datetime.fromisoformat(event["time"]) - datetime.fromisoformat(began)
        yield f"took {span(max(took.total_seconds(), 0))}"
    if serves := detail.get("serves"):
        yield _clipped(f"serves {serves['what'] or 'nothing'}", 200)
    if url := detail.get("url"):
        yield f"<{_link(url)}|open>"
    if execution := detail.get("execution"):
        yield f"<{_link(link(execution))}|execution>"


def _command(detail: Mapping[str, Any]) -> str:
    """Return the command to go on with; "" if there is none."""
    service, state = str(detail.get("service")), detail["state"]
    if ":" in service or not detail.get("id") or detail.get("trigger") == "hold":
        return ""  # a build, a site, or nothing that was read as a release
    words = {"HELD": ["resume"], "SUCCEEDED": ["status"]}.get(state, ["history", detail["id"]])
    stack = announcement.deployer(detail["execution"])
    about = ["--service", service, *(["--stack", stack] if stack != "deployer" else [])]
    return shlex.join(["deployer", *words, *about])


def _block(text: str) -> str:
    """Return text as it is, in a block of code."""
    return f"```{_clipped(text.replace('```', chr(39) * 3), _LONGEST - 6)}```" if text else ""


def _clipped(text: str, longest: int) -> str:
    """Return text escaped as Slack wants it, and cut before an escape that does not fit."""
    result = ""
    for character in text:
        escaped = _ESCAPES.get(character, character)
        if len(result) + len(escaped) >= longest:
            return f"{result}…"
        result += escaped
    return result


def _link(url: str) -> str:
    return _clipped(url.replace("|", "%7C"), 1000)
