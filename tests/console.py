"""CloudWatch's console, as far as it is documented: what it sends to the function of a custom
widget, what it takes of the HTML, and what a click on it calls.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard.html
"""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

# "Most HTML tags are supported"; these are plain, of the user guide or of AWS's samples
# (https://github.com/aws-samples/cloudwatch-custom-widgets-samples), or mere text.
_ELEMENTS = {
    *("a", "b", "br", "code", "cwdb-action", "div", "form", "h2", "h3", "input", "label", "p"),
    *("pre", "span", "style", "table", "tbody", "td", "th", "thead", "tr"),
}
_VOID = {"br", "input"}
_ATTRIBUTES = {
    "a": {"class", "href"},
    "cwdb-action": {"action", "confirmation", "display", "endpoint", "event"},
    "div": {"class"},
    "input": {"maxlength", "name"},
    "p": {"class"},
    "b": {"class"},
    "span": {"class"},
}
_VALUES = {
    "action": {"call", "html"},
    "display": {"popup", "widget"},
    "event": {"click", "dblclick", "mouseenter"},
}
_ARN = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]+")
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: a response of a function
LONGEST = 6 * 1024 * 1024


def event(params: dict[str, Any] | None = None, **context: Any) -> dict[str, Any]:
    """What the console sends: the parameters, and what it knows of the dashboard.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
    """
    own: dict[str, Any] = {
        "dashboardName": "shop",
        "widgetId": "widget-16",
        "accountId": "000000000000",
        "locale": "en",
        "timezone": {"label": "UTC", "offsetISO": "+00:00", "offsetInMinutes": 0},
        "period": 300,
        "isAutoPeriod": True,
        "timeRange": {"mode": "relative", "start": 1627236199729, "end": 1627322599729},
        "theme": "light",
        "linkCharts": True,
        "title": "Releases",
        "forms": {"all": {}},
        "params": params or {},
        "width": 588,
        "height": 369,
    }
    return {**(params or {}), "widgetContext": {**own, **context}}


@dataclass
class Button:
    """An element that calls a function when it is clicked."""

    label: str
    endpoint: str
    display: str
    confirmation: str
    params: dict[str, Any]


@dataclass
class Shown(HTMLParser):
    """The HTML of a widget as a browser reads it.

    Attributes:
        wrong: what the console would remove or not understand.
    """

    html: str
    wrong: list[str] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _before: str = ""  # the element that ended last, if nothing has followed it yet
    _content: list[str] = field(default_factory=list)
    _action: dict[str, str] | None = None

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self._last = ""
        if len(json.dumps(self.html).encode()) > LONGEST:
            self.wrong.append("longer than a function may return")
        self.feed(self.html)
        self.close()
        self.wrong += [f"<{name}> is not closed" for name in self._open]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def button(self, label: str, **params: str) -> Button:
        """The button with this label, and these parameters among others."""
        (found,) = (
            one
            for one in self.buttons
            if one.label == label and params.items() <= one.params.items()
        )
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _ELEMENTS:
            self.wrong.append(f"<{tag}>")
        unknown = given.keys() - _ATTRIBUTES.get(tag, set())
        self.wrong += [f"{name} of <{tag}>" for name in sorted(unknown)]
        if not re.match("https?://", given.get("href", "https://")):
            self.wrong.append(f"href {given['href']}")
        if tag == "cwdb-action":
            self._action = given
            if not self._before:
                self.wrong.append("a <cwdb-action> that follows no element")
            for name, known in _VALUES.items():
                if given.get(name, next(iter(known))) not in known:
                    self.wrong.append(f"{name} {given[name]}")
            if given.get("action") == "call" and not _ARN.fullmatch(given.get("endpoint", "")):
                self.wrong.append("a call without the ARN of a function")
        self._content, self._before = [], ""
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}>")
        text = "".join(self._content)
        if tag == "cwdb-action" and self._action is not None:
            self._end_action(self._action, text)
            self._action = None
        if tag == "style" and re.search(r"@import|url\(|expression\(|[<\\]", text):
            self.wrong.append("a style that loads something")
        self._last, self._before, self._content = text, tag, []

    def _end_action(self, action: dict[str, str], text: str) -> None:
        try:
            params = json.loads(text)
        except ValueError:
            params = None
        if not isinstance(params, dict):
            self.wrong.append(f"parameters {text!r}")
            return
        self.buttons.append(
            Button(
                self._last,
                action.get("endpoint", ""),
                action.get("display", "widget"),
                action.get("confirmation", ""),
                params,
            )
        )

    def handle_data(self, data: str) -> None:
        self._content.append(data)
        if self._open[-1:] not in (["style"], ["cwdb-action"]):
            self.texts.append(data)
        if data.strip() and self._open[-1:] != ["cwdb-action"]:
            self._before = ""

    def handle_comment(self, data: str) -> None:
        self.wrong.append("a comment")
