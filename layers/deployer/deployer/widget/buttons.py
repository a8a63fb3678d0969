"""What the widget's buttons request: the same as the commands, in the name of the dashboard.

CloudWatch invokes the function with the viewer's credentials and does not say whose they are:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
Imports decisions only, no AWS.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer import requests
from deployer.deploy.history import History
from deployer.errors import RequestRejected
from deployer.lock import HoldNote, LockRequest

LONGEST_REASON = 300  # characters
_RELEASE = {"rollback": True, "hold": False, "resume": False, "cancel": True}
"""The actions, and whether each names a release."""
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
_DASHBOARD = re.compile(r"[A-Za-z0-9_-]{1,255}")
_FIELDS = ("action", "service", "release", "seen")


@dataclass(frozen=True)
class Press:
    """A button that was pressed.

    Attributes:
        release: the id of the release to roll back to or to cancel; "" for none.
        seen: the state of the service that the widget showed then; see `state`.
        reason: what the viewer wrote; None for nothing.
        by: who pressed, for the record: the dashboard, for nobody else is known.
    """

    action: str
    service: str
    release: str
    seen: str
    reason: str | None
    by: str

    @property
    def request(self) -> dict[str, object]:
        """The input of the execution; that of a command, except who sends it."""
        match self.action:
            case "rollback":
                own = requests.to_roll_back(self.release, hold=True, reason=self.reason)
            case "hold":
                own = requests.to_hold(self.reason)
            case _:
                own = requests.to_resume()
        return {**own, "service": self.service, "by": self.by}

    @property
    def execution(self) -> str:
        """The name of the execution, at most 80 characters: the same for two viewers who press the
        same button of the same state."""
        what = json.dumps([self.action, self.service, self.release, self.seen])
        return f"widget-{self.action}-{hashlib.sha256(what.encode()).hexdigest()[:32]}"


def parse(event: Mapping[str, Any]) -> Press:
    """Return the button that was pressed.

    Args:
        event: the parameters of the `<cwdb-action>`, and CloudWatch's `widgetContext`.
    Raises:
        RequestRejected: a parameter or the reason is invalid.
    """
    action, service, release, seen = (event.get(name, "") for name in _FIELDS)
    if action not in _RELEASE:
        known = ", ".join(_RELEASE)
        raise RequestRejected(f"unknown action {str(action)[:80]!r}; expected one of: {known}")
    texts = {"service": service, "release": release, "seen": seen}
    required = {"service", *(["release"] if _RELEASE[action] else [])}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > 512 or (name in required and not value):
            raise RequestRejected(f"{action} needs {name}, a text of up to 512 characters")
    context = _mapping(event.get("widgetContext"))
    return Press(action, service, release, seen, _reason(context), _dashboard(context))


def _reason(context: Mapping[str, Any]) -> str | None:
    """Return what the viewer wrote into the widget's form."""
    reason = _mapping(_mapping(context.get("forms")).get("all")).get("reason") or ""
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise RequestRejected(f"the reason must be a line of up to {LONGEST_REASON} characters")
    return reason.strip() or None


def _dashboard(context: Mapping[str, Any]) -> str:
    name = context.get("dashboardName")
    known = isinstance(name, str) and _DASHBOARD.fullmatch(name)
    return f"the widget on dashboard {name}" if known else "a widget"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def state(
    records: History,
    holder: LockRequest | None,
    waiting: Sequence[LockRequest],
    hold: HoldNote | None,
) -> str:
    """Return what a viewer decides by, in short; it differs once any of it has changed."""
    newest = [(entry["id"], entry.get("outcome")) for entry in records[:1]]
    queue = [one["release"] for one in (*([holder] if holder else []), *waiting)]
    seen = json.dumps([newest, queue, hold and [hold["by"], hold["at"], hold["reason"]]])
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


def refuse_outdated(press: Press, current: str) -> None:
    """Raise RequestRejected if the service has changed since the widget showed it."""
    if press.seen != current:
        raise RequestRejected(
            f"{press.service} has changed since this was shown. Refresh the widget, and press again"
            " if it is still what you want"
        )
