"""Compare two facts of a site: the release that was verified last, and the one that it serves now.

The site itself says what it serves: each response names its release. Imports decisions only, no
AWS.
"""

from collections.abc import Sequence
from typing import Any

from deployer.deploy import history
from deployer.deploy.verification import Answer
from deployer.docs.site import RecordedDocs


def served(answer: Answer | None) -> str | None:
    """Return the folder of the release that the front page belongs to.

    Returns:
        "" if the site serves none; None if it did not answer.
    """
    return None if answer is None else answer.headers.get("x-amz-meta-release", "")


def summary(records: Sequence[RecordedDocs], folder: str | None, in_flight: bool) -> dict[str, Any]:
    """Return both facts, and what follows from them, as `deploy.serving.summary` does.

    Args:
        folder: the release's that the site serves; "" for none, None if that is unknown.
    Returns:
        `verified`: the last verified release; `serves`: what serves, None if unknown; `alarm`: what
        is wrong with that; `mend`: the command that makes the verified release serve again.
    """
    verified = history.live(records)
    serves = next((r for r in records if folder and r.get("folder") == folder), None)
    what = (serves["version"] if serves else folder) or None
    is_verified = verified is not None and verified.get("folder") == folder
    alarm = _alarm(records, verified, folder, what)
    return {
        "verified": verified and {"release": verified["id"], "version": verified["version"]},
        "serves": None
        if folder is None
        else {"what": what, "release": serves["id"] if serves else None, "verified": is_verified},
        "alarm": f"{alarm} A publication is running." if alarm and in_flight else alarm,
        "mend": f"  deployer docs rollback {verified['id']}"
        if alarm and verified and not in_flight
        else None,
    }


def _alarm(
    records: Sequence[RecordedDocs],
    verified: RecordedDocs | None,
    folder: str | None,
    what: str | None,
) -> str | None:
    last = f"the last verified release is {verified['version']}." if verified else ""
    if folder is None:
        failed = _not_switched_back(records, verified)
        if failed is None:
            return None
        return f"{failed['version']} may serve: it failed, and switching back failed too; {last}"
    if verified is None:
        return f"{what} serves, and no release was ever verified." if what else None
    if verified.get("folder") == folder:
        return None
    return f"{f'{what} serves, and is not verified' if what else 'Nothing serves'}; {last}"


def _not_switched_back(
    records: Sequence[RecordedDocs], verified: RecordedDocs | None
) -> RecordedDocs | None:
    """Return the newest release after the verified one whose switch was not undone."""
    for entry in records:
        if verified is None or entry["id"] == verified["id"]:
            return None
        rollback = entry.get("rollback") or {}
        if entry.get("outcome") == "FAILED" and rollback.get("action") == "ROLL_BACK":
            return entry
    return None
