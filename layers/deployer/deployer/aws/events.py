"""Release events on EventBridge."""

import json
from typing import TYPE_CHECKING, Any

from deployer.aws import client
from deployer.deploy.release import Entry, Unidentified
from deployer.log import Logger
from deployer.notify import github
from deployer.redaction import redact

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "deployer"
DETAIL_TYPE = "Release State Change"

logger = Logger()


def _events() -> "EventBridgeClient":
    return client("events")  # type: ignore[no-any-return]


def announce(
    release: Entry | Unidentified,
    state: str,
    reason: str,
    url: str | None = None,
    **more: Any,
) -> None:
    """Send an event for a release: that it STARTED, or its outcome. Errors are only logged.

    Args:
        more: further fields of the event; see docs/how-it-works.md.
    """
    names = ("service", "id", "version", "digest", "trigger", "startedBy", "startedAt", "execution")
    detail = {name: release.get(name) for name in (*names, "builtFrom")}
    detail |= {"state": state, "reason": redact(reason), "url": url, **more}
    try:
        detail["github"] = github.of(detail)
        entry = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}
        response = _events().put_events(Entries=[entry])  # type: ignore[list-item]
    except Exception:
        logger.exception("could not announce", state=state)
        return
    if response["FailedEntryCount"]:
        logger.error("could not announce", state=state, answer=response["Entries"])
