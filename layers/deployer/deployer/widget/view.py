"""Render the widget as HTML, without script: its buttons are <cwdb-action> elements.

CloudWatch removes scripts, <iframe> and <use>, and ties a <cwdb-action> to the element before it:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_interactivity.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_security.html
Imports decisions only, no AWS.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from deployer.deploy.overview import Document
from deployer.deploy.task_definitions import Change
from deployer.widget.buttons import LONGEST_REASON
from deployer.wording import brief, link, moment, printable, seconds_of, span

DOCUMENTATION = """\
## Releases

What serves, whether it is verified, the deployment in flight, and the newest releases of a service
of the deployer; without `service`, a table of all. Its buttons invoke the function PressButton with
your permissions.

``` yaml
service: shop
```
"""
_LONGEST_TEXT = 600  # characters of a cause, in a table or an advice
_LINES = 30  # of a log, the newest

# Each has a contrast of 4.5 to 1 and more on CloudWatch's background of that theme.
_COLOURS = {
    "light": {"good": "#0b6b1c", "bad": "#b5121b", "wait": "#7a4b00", "dim": "#545b64"},
    "dark": {"good": "#5fd38d", "bad": "#ff9592", "wait": "#f5c26b", "dim": "#a9b4c0"},
}
_STYLE = (
    "<style>"
    ".dw table{{width:100%}} .dw td,.dw th{{text-align:left;vertical-align:top;padding:3px 8px}}"
    ".dw pre{{white-space:pre-wrap;overflow-wrap:anywhere}} .dw .good{{color:{good}}}"
    ".dw .bad{{color:{bad}}} .dw .wait{{color:{wait}}} .dw .dim{{color:{dim}}}"
    " .dw .line{{white-space:nowrap}}"
    "</style>"
)
_OUTCOMES = {
    "SUCCEEDED": ("good", "verified"),
    "FAILED": ("bad", "failed"),
    "FAILED_ROLLED_BACK": ("bad", "failed, rolled back"),
    "SUPERSEDED": ("dim", "superseded"),
    "HELD": ("wait", "held"),
    "IGNORED": ("dim", "deploys nothing"),
    "": ("wait", "in flight"),
}


class Html(str):
    """HTML. Any other text is escaped when it is put into it."""


@dataclass(frozen=True)
class Widget:
    """How the widget is shown.

    Attributes:
        theme: CloudWatch's, `light` or `dark`.
        show: the ARN of the function that shows the widget.
        press: the ARN of the function that its buttons call.
        now: the time.
    """

    theme: str
    show: str
    press: str
    now: datetime

    def wrap(self, *parts: str) -> Html:
        """Return the whole HTML that CloudWatch shows."""
        style = Html(_STYLE.format(**_COLOURS.get(self.theme, _COLOURS["light"])))
        return _html('<div class="dw">{}{}</div>', style, _join(parts))

    def ago(self, when: str) -> str:
        return moment(when, self.now)


def problem(widget: Widget, what: str) -> Html:
    """Return what could not be shown or done, and why."""
    return widget.wrap(_html('<p class="bad">{}</p>', _clipped(what)))


def pressed(widget: Widget, what: str, execution: str | None = None) -> Html:
    """Return what a button came to.

    Args:
        execution: the ARN of the execution that it started, or that already does the same.
    """
    where = _html('<p><a href="{}">The execution</a></p>', link(execution)) if execution else ""
    hint = Html('<p class="dim">Close this, and refresh the widget to follow it.</p>')
    return widget.wrap(_html("<p>{}</p>", _clipped(what)), where, hint)


# All services -------------------------------------------------------------------------------------


def services(widget: Widget, entries: Sequence[Document], unread: Sequence[str]) -> Html:
    """Return the table of all services.

    Args:
        entries: as `status --json` has them, of those that were read.
        unread: the names of those that there was no time to read.
    """
    rows = [_service_row(widget, entry) for entry in entries]
    rows += [[_open(widget, name), *[""] * 4] for name in unread]
    if not rows:
        return widget.wrap(Html("<p>There is no service yet.</p>"))
    return widget.wrap(_table(("Service", "Live", "Since", "In flight", ""), rows))


def _service_row(widget: Widget, entry: Document) -> list[str]:
    live = entry.get("verified")
    version = _release_name(live) if live else Html('<span class="dim">nothing yet</span>')
    notes = [_html('<span class="bad">{}</span>', entry["problem"])] if entry["problem"] else []
    if hold := entry.get("hold"):
        notes.append(_html('<span class="wait">held by {}: {}</span>', hold["by"], hold["reason"]))
    flights = [_flight(widget, one) for one in entry.get("inFlight", ())]
    return [
        _open(widget, entry["service"]),
        version,
        widget.ago(live["since"]) if live else "",
        _join(flights, "<br>"),
        _join(notes, "<br>"),
    ]


def _open(widget: Widget, service: str) -> Html:
    return _call(_html("<a>{}</a>", service), widget.show, {"service": service})


# One service --------------------------------------------------------------------------------------


def service(
    widget: Widget,
    document: Document,
    records: Sequence[Mapping[str, Any]],
    targets: Collection[str],
    previous: Mapping[str, Any] | None,
    seen: str,
) -> Html:
    """Return what is shown of a service.

    Args:
        document: as `read_overview.full` returns it.
        records: of its newest releases.
        targets: the ids of those that it may be rolled back to.
        previous: the record of the one that `rollback previous` names.
        seen: the state that all this shows; see `buttons.state`.
    """
    name = document["service"]
    press = _Buttons(widget, name, seen, bool(document["inFlight"] or document["waiting"]))
    refresh = _call(Html('<a class="btn">Refresh</a>'), widget.show, {"service": name})
    every = _call(Html('<a class="btn">All services</a>'), widget.show, {})
    return widget.wrap(
        _html("<h2>{} {}</h2>", name, _badge(document)),
        _alarm(document),
        _facts(_service_facts(widget, document, press)),
        _failure(widget, document),
        _form(),
        _html("<p>{} {} {}</p>", press.main(document, previous), refresh, every),
        Html("<h3>Releases</h3>"),
        _table(
            ("Version", "Outcome", "By", "Started", "Took", ""),
            [_release_row(widget, record, press, targets) for record in records],
        ),
    )


def _badge(document: Document) -> Html:
    if document["alarm"]:
        return Html('<span class="bad">not verified</span>')
    if document["live"]:
        return Html('<span class="good">live and verified</span>')
    return Html('<span class="dim">nothing live yet</span>')


def _alarm(document: Document) -> Html:
    if not document["alarm"]:
        return Html()
    mend = (document["mend"] or "").strip()
    return _html('<p class="bad">{}</p>{}', document["alarm"], _html("<pre>{}</pre>", mend))


def _service_facts(
    widget: Widget, document: Document, press: "_Buttons"
) -> Iterator[tuple[str, str]]:
    if verified := document["verified"]:
        name = "Live" if document["live"] else "Verified last"
        digest = verified["digest"].removeprefix("sha256:")[:12]
        yield name, f"{_release_name(verified)} ({digest}) since {widget.ago(verified['since'])}"
    if document["serves"] is None:
        yield "Serves", "unknown: the deployer has no permission to see the service"
    if document["url"]:
        yield "URL", _url(document["url"])
    if tasks := document["tasks"]:
        pending = f", {tasks['pending']} pending" if tasks["pending"] else ""
        yield "Tasks", f"{tasks['running']} of {tasks['desired']} running{pending}"
    for entry in document["inFlight"]:
        yield "In flight", _html("{} {}", _flight(widget, entry), press.cancel(entry, waits=False))
    for entry in document["waiting"]:
        yield "Waiting", _html("{} {}", _flight(widget, entry), press.cancel(entry, waits=True))
    if hold := document["hold"]:
        held = hold["newestHeld"]
        newest = f"; {_release_name(held)} is the newest push held" if held else ""
        by = f"held by {hold['by']} since {widget.ago(hold['at'])}: {hold['reason']}{newest}"
        yield "Pushes", _html('<span class="wait">{}</span>', by)


def _flight(widget: Widget, entry: Document) -> Html:
    phase = f", {entry['phase']}" if entry.get("phase") else ""
    by = "" if entry["trigger"] == "push" else f" by {entry['startedBy'] or 'somebody'}"
    began = datetime.fromisoformat(entry["since"])
    lasts = span(max((widget.now - began).total_seconds(), 0))
    text = f"{_release_name(entry)} ({entry['trigger']}{by}){phase}, for {lasts}"
    return _html('<a href="{}">{}</a>', link(entry["execution"]), text)


def _failure(widget: Widget, document: Document) -> Html:
    """Return the last failure, unless a release has been verified since."""
    failed, verified = document["lastFailure"], document["verified"]
    if not failed or (verified and str(failed["endedAt"] or "") < str(verified["since"])):
        return Html()
    then = " ".join(line for line in (failed["rollback"], failed["advice"]) if line)
    return _html(
        '<p><b class="bad">{} failed</b>, {}: {}</p><p>{}</p><p>{}</p>',
        _release_name(failed),
        widget.ago(failed["endedAt"]) if failed["endedAt"] else "just now",
        _clipped(failed["reason"]),
        _clipped(then),
        _details(widget, document["service"], failed["release"], "Cause and log lines"),
    )


def _form() -> Html:
    return _html(
        '<form><label>Reason, for the record <input name="reason" maxlength="{}"></label></form>',
        LONGEST_REASON,
    )


@dataclass(frozen=True)
class _Buttons:
    """The buttons of a service; each asks first, and says what will happen.

    Attributes:
        busy: whether a deployment runs or waits.
    """

    widget: Widget
    service: str
    seen: str
    busy: bool

    def main(self, document: Document, previous: Mapping[str, Any] | None) -> Html:
        """Return the buttons that name no release of the table."""
        back = self.roll_back(previous, f"Roll back to {previous['version']}") if previous else ""
        if hold := document["hold"]:
            held = hold["newestHeld"]
            then = f"{_release_name(held)}, the newest held push, is deployed" if held else ""
            asks = f"End the hold of {self.service}? {then or 'No push was held'}."
            return _html("{} {}", back, self._button("Resume", asks, action="resume"))
        asks = (
            f"Hold the pushes of {self.service}? They are recorded, and not deployed until"
            " somebody resumes. A running deployment continues."
        )
        return _html("{} {}", back, self._button("Hold pushes", asks, action="hold"))

    def roll_back(self, record: Mapping[str, Any], label: str) -> Html:
        asks = (
            f"Roll {self.service} back to {record['version']} ({record['id']})? It is deployed and"
            " verified as every release is. Later pushes are held until somebody resumes."
            f"{' The deployment in flight ends first.' if self.busy else ''}"
        )
        return self._button(label, asks, action="rollback", release=record["id"])

    def cancel(self, entry: Document, *, waits: bool) -> Html:
        then = "If it has changed the service, the last good release is restored."
        then = "It has changed nothing yet." if waits else then
        asks = f"Stop {_release_name(entry)} of {self.service}? {then}"
        return self._button("Cancel", asks, action="cancel", release=entry["release"])

    def _button(self, label: str, asks: str, **params: str) -> Html:
        full = {**params, "service": self.service, "seen": self.seen}
        anchor = _html('<a class="btn">{}</a>', label)
        return _call(anchor, self.widget.press, full, asks, popup=True)


def _release_row(
    widget: Widget, record: Mapping[str, Any], press: _Buttons, targets: Collection[str]
) -> list[str]:
    outcome, seconds = str(record.get("outcome", "")), seconds_of(record)
    colour, name = _OUTCOMES.get(outcome, ("dim", outcome))
    if record["trigger"] == "hold":  # or the end of one
        colour, name = "dim", "done"
    elif record.get("deployed") is False:
        name = "verified; it ran already"
    why, by = _clipped(brief(record)), f"{record['trigger']} by {record['startedBy']}"
    back = press.roll_back(record, "Roll back") if record["id"] in targets else ""
    return [
        record["version"] or record["trigger"],
        _html(
            '<span class="{}">{}</span>{}',
            colour,
            name,
            _html('<br><span class="dim">{}</span>', why) if why else "",
        ),
        "push" if record["trigger"] == "push" else by,
        _html('<span class="line">{}</span>', widget.ago(record["startedAt"])),
        _html('<span class="line">{}</span>', span(seconds)) if seconds is not None else "",
        _html(
            '<span class="line">{} {}</span>',
            _details(widget, record["service"], record["id"], "Details"),
            back,
        ),
    ]


def _details(widget: Widget, service: str, release: str, label: str) -> Html:
    params = {"service": service, "release": release}
    return _call(_html('<a class="btn">{}</a>', label), widget.show, params, popup=True)


# One release --------------------------------------------------------------------------------------


def release(widget: Widget, record: Mapping[str, Any], changes: Sequence[Change] | None) -> Html:
    """Return one release in full.

    Args:
        record: its record.
        changes: of the task definition, from what ran before it; None if that is unknown.
    """
    failure = record.get("diagnosis") or {}
    parts: list[str] = [
        _html("<h2>{} {}</h2>", record["service"], record["version"] or record["trigger"]),
        _facts(_release_facts(widget, record)),
    ]
    if failure:
        parts += [_html("<h3>Why it failed</h3><p>{}</p>", failure["cause"])]
    for title, key in (("Tasks that stopped", "stops"), ("Last lines of the log", "log")):
        if lines := failure.get(key):
            shown = Html(escape("\n".join(printable(str(line)) for line in lines[-_LINES:])))
            parts.append(_html("<h3>{}</h3><pre>{}</pre>", title, shown))
    if failure.get("advice"):
        parts.append(_html("<h3>What to do</h3><p>{}</p>", failure["advice"]))
    if changes:
        rows = [[c.what, c.before or "-", c.after or "-"] for c in changes]
        parts += [Html("<h3>Changes</h3>"), _table(("", "before", "then"), rows)]
    parts.append(
        _html('<p class="dim">In full: <code>deployer history {}</code></p>', record["id"])
    )
    return widget.wrap(*parts)


def _release_facts(widget: Widget, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seconds = seconds_of(record)
    yield "Release", record["id"]
    yield "Outcome", str(record.get("outcome", "in flight"))
    if record.get("reason") and not record.get("diagnosis"):
        yield "Why", _clipped(record["reason"])
    yield "By", f"{record['trigger']}, by {record['startedBy']}"
    yield "Started", widget.ago(record["startedAt"])
    if seconds is not None:
        yield "Took", span(seconds)
    for name, key in (("Tag", "tag"), ("Digest", "digest"), ("Rolled back to", "to")):
        if record.get(key):
            yield name, str(record[key])
    yield "Execution", _html('<a href="{}">in Step Functions</a>', link(record["execution"]))


# HTML ---------------------------------------------------------------------------------------------


def _html(form: str, *values: object) -> Html:
    """Return HTML with values in its places, each escaped unless it is HTML itself."""
    return Html(form.format(*(v if isinstance(v, Html) else _escaped(v) for v in values)))


def _escaped(value: object) -> str:
    return escape(printable(str(value)))


def _join(parts: Iterable[str], between: str = "") -> Html:
    return Html(between.join(p if isinstance(p, Html) else _escaped(p) for p in parts))


def _facts(facts: Iterable[tuple[str, str]]) -> Html:
    rows = (_html("<tr><th>{}</th><td>{}</td></tr>", name, fact) for name, fact in facts)
    return _html("<table>{}</table>", _join(rows))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    head = _join(_html("<th>{}</th>", name) for name in columns)
    body = _join(
        _html("<tr>{}</tr>", _join(_html("<td>{}</td>", cell) for cell in row)) for row in rows
    )
    form = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return _html(form, head, body)


def _call(
    anchor: Html,
    endpoint: str,
    params: Mapping[str, str],
    asks: str = "",
    *,
    popup: bool = False,
) -> Html:
    """Return an element that calls a function when it is clicked.

    Args:
        asks: what to confirm first.
        popup: whether the answer is shown in a popup, rather than in place of the widget.
    """
    # neither the parser of the HTML nor one of its text meets a character that means something
    content = json.dumps(params).replace("<", "\\u003c").replace("&", "\\u0026")
    return _html(
        '{}<cwdb-action action="call" display="{}" endpoint="{}"{}>{}</cwdb-action>',
        anchor,
        "popup" if popup else "widget",
        endpoint,
        _html(' confirmation="{}"', asks) if asks else Html(),
        Html(content),
    )


def _url(url: str) -> Html:
    """Return a link, or the mere text of what is not an HTTP URL."""
    form = '<a href="{}">{}</a>' if url.startswith(("http://", "https://")) else "{1}"
    return _html(form, url, url)


def _release_name(entry: Mapping[str, Any]) -> str:
    return str(entry["version"] or entry["release"])


def _clipped(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[: _LONGEST_TEXT - 1]}…"
