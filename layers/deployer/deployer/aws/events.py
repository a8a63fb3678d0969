"""Telling the world on EventBridge what became of a release."""

import json
from typing import TYPE_CHECKING, Any

from deployer.aws import client
from deployer.aws.log import Logger
from deployer.deploy.release import Entry, Unidentified
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
    """Tell of a release: that it STARTED, or its outcome. Telling is never worth a failure.

    Args:
        more: what else the event says; see docs/how-it-works.md.
    """
    shown = ("service", "id", "version", "digest", "trigger", "startedBy", "startedAt", "execution")
    detail = {name: release.get(name) for name in shown}
    detail |= {"state": state, "reason": redact(reason), "url": url, **more}
    entry = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}
    try:
        answer = _events().put_events(Entries=[entry])  # type: ignore[list-item]
    except Exception:
        logger.exception("could not announce", state=state)
        return
    if answer["FailedEntryCount"]:
        logger.error("could not announce", state=state, answer=answer["Entries"])
