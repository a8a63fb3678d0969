"""Decide whether and how to roll back after a release failed. Imports decisions only, no AWS."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from deployer.deploy.database import how_to_restore
from deployer.deploy.image import shown
from deployer.deploy.release import Previous, Release, outdated, schema_grew
from deployer.deploy.rollout import Rollout, Service, network, primary, same_network

_UNCHANGED = "the service was not changed"
_MISSING = "there is no service"
_SAME = "the release that failed is the one that ran before"
_AS_BEFORE = (_UNCHANGED, _MISSING, _SAME)


class Rollback(TypedDict):
    """The reaction to a failed release.

    ROLL_BACK: deploy the previous release. AWAIT: ECS is rolling back to it already. STOP: no
    previous release exists, so stop the failing tasks. LEAVE: nothing needs to be done, or nothing
    safe can be; `reason` says which. `database` is the instance that the secret leads to again.
    `failure` is a state's error if the previous release is not steady again. `schedules` is the
    cause of the error if the service's schedules could not be put back. `stays` is whether the
    service goes on running the release that failed. Of a release to several services, `services`
    has the reaction in each further one.
    """

    action: Literal["ROLL_BACK", "AWAIT", "STOP", "LEAVE"]
    reason: str
    rollout: NotRequired[Rollout]
    database: NotRequired[str]
    failure: NotRequired[Mapping[str, Any]]
    schedules: NotRequired[str]
    stays: NotRequired[bool]
    services: NotRequired[Mapping[str, "Rollback"]]


def decide(
    service: Service | None,
    release: Release,
    revision: str | None,
    previous: Previous | None,
    was_running: bool,
    touched: bool,
    ran: bool,
    snapshot: str | None,
    replaced: bool = False,
    restored: bool = False,
    database: bool = True,
) -> Rollback:
    """Decide what to do about a release that failed.

    Args:
        service: the service now; None if it does not exist.
        revision: the failed release's task definition; None if it has none.
        previous: the release before it, to roll back to.
        was_running: whether the service ran any tasks before.
        touched: whether the update of the service is known to have taken place.
        ran: whether any task of the release was running, also one before the rollout, so that it
            may have migrated the database.
        snapshot: the snapshot of the database taken before the release.
        replaced: whether the release's rollout is known, and another deployment is primary.
        restored: whether the release switched the service to a restored database, to be switched
            back before the previous release starts.
        database: whether the service spec names the database.
    """
    current = primary(service) if service else None
    if current is None:
        return _leave(_MISSING)
    if service and previous and _in_place(service, previous):
        if not touched:
            return _leave(_UNCHANGED)
        if previous["taskDefinition"] != revision or replaced:
            return {"action": "AWAIT", "reason": "ECS put the previous release back itself"}
        if not restored:
            return _leave(_SAME)
    if current["taskDefinition"] != revision:
        if touched:
            return _leave(f"somebody else deployed {current['taskDefinition']}; it stays")
        return _leave(_UNCHANGED)
    if previous is None and was_running:
        return _leave("no release is known to be good; the service stays as it is", stays=True)
    if previous is None:
        return {
            "action": "STOP",
            "reason": "no previous release to roll back to; the service was scaled to zero, and the"
            " next push starts it again",
        }
    if ran and not restored and schema_grew(previous["schema"], release["schema"], database):
        to = previous["release"] or "<release id>"
        return _leave(
            f"{previous['version'] or previous['taskDefinition']} can't run on the database schema"
            f" that {release['version']} brings. "
            + how_to_restore(release["service"], to, snapshot, release["version"]),
            stays=True,
        )
    applied = previous.get("databaseSchema")
    moved = service is not None and not _in_place(service, previous)
    if restored and moved and _needs_restored(previous, revision):
        return {
            "action": "ROLL_BACK",
            "reason": f"rolling back to the network that {previous['version'] or revision} had,"
            " on the restored database",
        }
    if outdated(previous["schema"], applied) and restored:
        return _leave(
            f"{previous['version']} can't run on the database as it was, with schema"
            f" {shown(applied)}; {release['version']} stays on the restored one",
            stays=True,
        )
    if outdated(previous["schema"], applied) and not release.get("restore"):
        # an earlier failed release migrated the database; this one may never have run
        return _leave(
            f"{previous['version']} can't run on the database schema {shown(applied)} that an"
            " earlier release brought. Request a rollback to it to see whether a snapshot exists",
            stays=True,
        )
    return {
        "action": "ROLL_BACK",
        "reason": f"rolling back to {previous['version'] or previous['taskDefinition']}",
    }


def unchanged() -> Rollback:
    """Return that nothing needs to be done."""
    return _leave(_UNCHANGED)


def reactions(rollback: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the reaction in each service of a release."""
    return [rollback, *rollback.get("services", {}).values()]


def rollouts(service: str, rollback: Mapping[str, Any]) -> dict[str, Rollout]:
    """Return the rollouts of the previous release, by their services.

    Args:
        service: the leading one.
    """
    by_service = {service: rollback, **rollback.get("services", {})}
    return {name: one["rollout"] for name, one in by_service.items() if "rollout" in one}


def restores(rollback: Mapping[str, Any]) -> bool:
    """Return whether any service is brought back to its previous release."""
    return any(one["action"] in ("ROLL_BACK", "AWAIT") for one in reactions(rollback))


def complete(rollback: Mapping[str, Any]) -> bool:
    """Return whether no service keeps the release that failed, or somebody else's change, once all
    that are brought back are steady.

    Of one service, that follows from the polls of the rollback.
    """
    return "services" not in rollback or all(
        one["action"] != "LEAVE" or one["reason"] in _AS_BEFORE for one in reactions(rollback)
    )


def keeps_database(
    rollback: Rollback, service: Service | None, revision: str | None, previous: Previous | None
) -> bool:
    """Return whether the service may keep running on the restored database.

    The secret must then keep its URL.
    """
    current = primary(service) if service else None
    if current is None:
        return False
    if rollback["action"] in ("ROLL_BACK", "AWAIT"):
        return previous is not None and _needs_restored(previous, revision)
    if rollback["action"] == "STOP":
        return False
    before = previous["taskDefinition"] if previous else None
    return rollback["reason"] != _UNCHANGED and (
        current["taskDefinition"] != before or before == revision
    )


def _needs_restored(previous: Previous, revision: str | None) -> bool:
    """Return whether only the network changed and the previous release needs the restored database.

    It cannot run on the database from before the restoration.
    """
    applied = previous.get("databaseSchema")
    return previous["taskDefinition"] == revision and outdated(previous["schema"], applied)


def _in_place(service: Service, previous: Previous) -> bool:
    """Return whether the service has the previous release, in its network."""
    current = primary(service)
    return (
        current is not None
        and current["taskDefinition"] == previous["taskDefinition"]
        and same_network(network(service), previous["networkConfiguration"])
    )


def _leave(reason: str, *, stays: bool = False) -> Rollback:
    decision: Rollback = {"action": "LEAVE", "reason": reason}
    if stays:
        decision["stays"] = True
    return decision
