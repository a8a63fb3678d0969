"""Whether and how a service goes back after a release failed."""

from typing import Literal, NotRequired, TypedDict

from deployer.database import how_to_restore
from deployer.release import Previous, Release, outdated, schema_grew
from deployer.rollout import Rollout, Service, primary


class Rollback(TypedDict):
    """What is done about a failed release.

    GO_BACK: put the previous one back. AWAIT: it is on its way back already. STOP: there is none,
    so stop the tasks that fail. LEAVE: nothing is to be done, or nothing safe can be; `reason`
    says which.
    """

    action: Literal["GO_BACK", "AWAIT", "STOP", "LEAVE"]
    reason: str
    rollout: NotRequired[Rollout]


def decide(
    service: Service | None,
    release: Release,
    revision: str | None,
    previous: Previous | None,
    was_running: bool,
    touched: bool,
    ran: bool,
    snapshot: str | None,
) -> Rollback:
    """Decide what to do about a release that failed.

    Args:
        service: the service now; None if there is none.
        revision: the task definition of the release that failed; None if it got none.
        previous: what ran before it.
        was_running: whether the service ran any tasks before.
        touched: whether the update of the service is known to have taken place.
        ran: whether any task of the release got as far as running, and so may have migrated
            the database.
        snapshot: the snapshot of the database taken before the release.
    """
    current = primary(service) if service else None
    if current is None:
        return _leave("there is no service")
    if previous and current["taskDefinition"] == previous["taskDefinition"]:
        if previous["taskDefinition"] == revision:
            return _leave("the release that failed is the one that ran before")
        if touched:
            return {"action": "AWAIT", "reason": "ECS put the previous release back itself"}
        return _leave("the service was not changed")
    if current["taskDefinition"] != revision:
        if touched:
            return _leave(f"somebody else put {current['taskDefinition']} in place; it stays")
        return _leave("the service was not changed")
    if previous is None and was_running:
        return _leave("no release is known to be good; the service stays as it is")
    if previous is None:
        return {
            "action": "STOP",
            "reason": "there is no previous release to go back to; the service was scaled to zero"
            " and the next push starts it again",
        }
    if (ran or release.get("restore")) and schema_grew(previous["schema"], release["schema"]):
        to = previous["release"] or "<release id>"
        return _leave(
            f"{previous['version'] or previous['taskDefinition']} can't run on the database schema"
            f" that {release['version']} brings. "
            + how_to_restore(release["service"], to, snapshot, release["version"])
        )
    applied = previous.get("databaseSchema")
    if not release.get("restore") and outdated(previous["schema"], applied):
        # an earlier release that failed and was left has migrated; this one may never have run
        return _leave(
            f"{previous['version']} can't run on the database schema {applied} that a release"
            " before this one brought. An order to roll back to it says which snapshot there is"
        )
    return {
        "action": "GO_BACK",
        "reason": f"going back to {previous['version'] or previous['taskDefinition']}",
    }


def _leave(reason: str) -> Rollback:
    return {"action": "LEAVE", "reason": reason}
