"""Write what GitHub's API takes of a release, from the event that announces it.

The event has it ready, because the rule and the state machine that send it
(infrastructure/notifications.yaml) can select a part of an event, but not write JSON safely.

https://docs.github.com/en/rest/commits/statuses#create-a-commit-status
https://docs.github.com/en/rest/deployments/deployments#create-a-deployment
https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from deployer.deploy import announcement
from deployer.wording import link

_REPOSITORY = re.compile(r"https://github\.com/([\w-]+)/([\w.-]+)")
_LONGEST = 140  # characters of a description; GitHub answers 422 to more
_SKIPPED = ("SUPERSEDED", "HELD")

# A commit status knows no neutral. GitHub counts neutral and skipped checks as passed, so a push
# that was skipped passes, and its description says that it was:
# https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/collaborating-on-repositories-with-code-quality-features/about-status-checks
_COMMIT: Mapping[str, Literal["pending", "success", "failure"]] = {
    "STARTED": "pending",
    "SUCCEEDED": "success",
    "SUPERSEDED": "success",
    "HELD": "success",
}
_DEPLOYMENT: Mapping[str, Literal["in_progress", "success", "inactive", "failure"]] = {
    "STARTED": "in_progress",
    "SUCCEEDED": "success",
    "SUPERSEDED": "inactive",
    "HELD": "inactive",
}


class CommitStatus(TypedDict):
    """The body of the request that sets a commit's status."""

    state: Literal["pending", "success", "failure"]
    context: str
    description: str
    target_url: str


class DeploymentStatus(TypedDict):
    """The body of the request that sets a deployment's status."""

    state: Literal["in_progress", "success", "inactive", "failure"]
    description: str
    log_url: str
    environment_url: str


class Deployment(TypedDict):
    """The body of the request that creates a deployment; `task` identifies the release."""

    ref: str
    task: str
    environment: str
    description: str
    auto_merge: bool
    required_contexts: list[str]


class GitHub(TypedDict):
    """A release as GitHub takes it. `repository` is owner/name, as the image's label has it."""

    repository: str
    owner: str
    name: str
    revision: str
    commitStatus: CommitStatus
    deployment: Deployment
    deploymentStatus: DeploymentStatus


def of(detail: Mapping[str, Any]) -> GitHub | None:
    """Return what GitHub takes of a `Release State Change`; None if its commit is not known there.

    Args:
        detail: the event's, as docs/how-it-works.md describes it.
    """
    commit = detail.get("builtFrom")
    place = _REPOSITORY.fullmatch((commit or {}).get("source") or "")
    if not commit or not place:
        return None
    state, execution = str(detail["state"]), str(detail["execution"])
    where = f"{announcement.deployer(execution)}/{detail['service']}"
    text = _description(detail)
    page = link(execution)
    return {
        "repository": f"{place[1]}/{place[2]}",
        "owner": place[1],
        "name": place[2],
        "revision": commit["revision"],
        "commitStatus": {
            "state": _COMMIT.get(state, "failure"),
            "context": where,
            "description": text,
            "target_url": page,
        },
        "deployment": {
            "ref": commit["revision"],
            "task": f"deploy:{detail['id']}",
            "environment": where,
            "description": text,
            "auto_merge": False,
            "required_contexts": [],  # it is deployed already, whatever the checks say
        },
        "deploymentStatus": {
            "state": _DEPLOYMENT.get(state, "failure"),
            "description": text,
            "log_url": page,
            "environment_url": detail.get("url") or "",
        },
    }


def _description(detail: Mapping[str, Any]) -> str:
    """Return the release in words, with its reason as far as that fits."""
    skipped = detail["state"] in _SKIPPED
    text = f"{'Skipped: ' if skipped else ''}{announcement.headline(detail)}"
    if detail["state"] not in ("STARTED", "SUCCEEDED") and detail.get("reason"):
        text += f": {detail['reason']}"
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
