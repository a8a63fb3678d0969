"""What the people who subscribed read of a release.

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
_OF_BUILDS = {"STARTED": "is being built", "SUCCEEDED": "is in ECR"}


class Announcement(NamedTuple):
    """A message for people: `subject` heads an e-mail, `text` is all that it says."""

    subject: str
    text: str


def announcement(detail: Mapping[str, Any]) -> Announcement:
    """Write the message about a `Release State Change`.

    Args:
        detail: the event's, as docs/how-it-works.md describes it; what is not known of the release
            is None.
    """
    name = " ".join(str(detail[key]) for key in ("service", "version") if detail.get(key))
    headline = f"{name} {_became(detail)}"
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
    known = "\n".join(f"{label}: {fact}" for label, fact in facts.items() if fact)
    parts = (headline, detail.get("reason"), known)
    return Announcement(_subject(headline), "\n\n".join(part for part in parts if part))


def _serves(detail: Mapping[str, Any]) -> str | None:
    """Return what served when a release had failed; None if that is unknown."""
    serves = detail.get("serves")
    if not serves:
        return None
    return f"{serves['what'] or 'nothing'}{'' if serves['verified'] else ', not verified'}"


def _became(detail: Mapping[str, Any]) -> str:
    """Return what became of a release, or which order was carried out, after the service's name."""
    state, service = detail["state"], str(detail.get("service"))
    if state == "SUCCEEDED" and detail.get("trigger") == "hold":
        return f"is {detail['reason']}"  # a request that deploys nothing
    if state == "SUCCEEDED" and detail.get("deployed") is False:
        return "runs already; nothing was deployed"
    if state == "FAILED" and detail.get("rollback") == "FAILED":
        return "failed, and so did its rollback"
    if image_build.is_build(service) and state in _OF_BUILDS:
        return _OF_BUILDS[state]
    return _OUTCOMES.get(state, str(state))


def _subject(text: str) -> str:
    """Text as SNS takes it for a subject: printable ASCII on one line, below 100 characters."""
    line = " ".join(text.split()).encode("ascii", "replace").decode()
    printable = "".join(character for character in line if character.isprintable())
    return printable if len(printable) < 100 else f"{printable[:96]}..."
