"""Write the notification about a release for subscribers.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from deployer.build import image_build

_OUTCOMES = {
    "STARTED": "is being deployed",
    "SUCCEEDED": "is live",
    "FAILED": "failed",
    "FAILED_ROLLED_BACK": "failed and was rolled back",
    "SUPERSEDED": "was superseded by a newer one",
    "HELD": "is held back",
}
_BUILD_OUTCOMES = {"STARTED": "is being built", "SUCCEEDED": "is in ECR"}


class Announcement(NamedTuple):
    """A message for people: `subject` is for e-mail, `text` is the whole message."""

    subject: str
    text: str


def announcement(detail: Mapping[str, Any]) -> Announcement:
    """Write the message about a `Release State Change`.

    Args:
        detail: the event's, as docs/how-it-works.md describes it; unknown fields of the release
            are None.
    """
    title = headline(detail)
    by, trigger = detail.get("startedBy"), detail.get("trigger")
    facts = {
        "State": detail["state"],
        "Started by": f"{by} ({trigger})" if by and trigger not in (None, by) else by,
        "Started at": detail.get("startedAt"),
        "Image": detail.get("digest"),
        "Serves": _serves(detail),
        "Last verified": (detail.get("verified") or {}).get("version"),
        "URL": detail.get("url"),
        "Execution": detail.get("execution"),
    }
    details = "\n".join(f"{label}: {fact}" for label, fact in facts.items() if fact)
    parts = (title, detail.get("reason"), details)
    return Announcement(_subject(title), "\n\n".join(part for part in parts if part))


def headline(detail: Mapping[str, Any]) -> str:
    """Return what became of the release, such as `shop 1.2.0 failed and was rolled back`."""
    name = " ".join(str(detail[key]) for key in ("service", "version") if detail.get(key))
    return f"{name} {_state_text(detail)}"


def deployer(execution: str) -> str:
    """Return the deployer's stack, after which its state machines are named `<stack>-Deploy`."""
    return execution.split(":")[6].rpartition("-")[0] or "deployer"


def _serves(detail: Mapping[str, Any]) -> str | None:
    """Return what served after a release failed; None if that is unknown."""
    serves = detail.get("serves")
    if not serves:
        return None
    return f"{serves['what'] or 'nothing'}{'' if serves['verified'] else ', not verified'}"


def _state_text(detail: Mapping[str, Any]) -> str:
    """Return the release's state, or the request that was carried out, to follow the service."""
    state, service = detail["state"], str(detail.get("service"))
    if state == "SUCCEEDED" and detail.get("trigger") == "hold":
        return f"is {detail['reason']}"  # a request that deploys nothing
    if state == "SUCCEEDED" and detail.get("deployed") is False:
        return "runs already; nothing was deployed"
    if state == "FAILED" and detail.get("rollback") == "FAILED":
        return "failed, and so did its rollback"
    if image_build.is_build(service) and state in _BUILD_OUTCOMES:
        return _BUILD_OUTCOMES[state]
    return _OUTCOMES.get(state, str(state))


def _subject(text: str) -> str:
    """Return text as SNS accepts it for a subject: one line of ASCII, below 100 characters."""
    subject = " ".join(text.split()).encode("ascii", "replace").decode()
    printable = "".join(character for character in subject if character.isprintable())
    return printable if len(printable) < 100 else f"{printable[:96]}..."
