"""Tell two facts apart: the release that was verified last, and what serves now."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from deployer.deploy import history
from deployer.deploy.history import History
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service, steady_task_definition, task_definition
from deployer.deploy.spec import ServiceSpec


@dataclass(frozen=True)
class Serving:
    """What serves, by the tasks that ECS shows.

    Attributes:
        revisions: the task definitions of the running tasks; None if that is unknown.
        records: the newest record of each of them that the deployer knows.
        last_verified: the release that was verified last.
    """

    revisions: Collection[str] | None
    records: tuple[Recorded, ...]
    last_verified: Recorded | None

    @property
    def verified(self) -> bool | None:
        """Whether the last verified release serves; None if that is unknown."""
        if self.revisions is None:
            return None
        expected = self.last_verified and self.last_verified.get("taskDefinition")
        return expected is not None and expected in self.revisions

    @property
    def what(self) -> str:
        """What serves, in words: versions, or the task definitions of what is not ours."""
        if not self.revisions:
            return "nothing"
        names = {record.get("taskDefinition"): record["version"] for record in self.records}
        return ", ".join(names.get(one) or one.rpartition("/")[2] for one in sorted(self.revisions))


def running(service: Service | None) -> set[str]:
    """Return the task definitions of a service's running tasks, as its deployments count them."""
    deployments = service.get("deployments", ()) if service else ()
    return {str(one["taskDefinition"]) for one in deployments if one.get("runningCount", 0) > 0}


def told(
    spec: ServiceSpec, service: Service | None, found: Serving, in_flight: bool
) -> dict[str, Any]:
    """Return the two facts for a record or a script, and what follows from them.

    Returns:
        `verified`: the last verified release; `serves`: what serves, None if unknown; `alarm`: what
        is wrong with that; `mend`: the command that brings the verified release back.
    """
    last, revisions = found.last_verified, found.revisions
    serves = revisions is not None and {
        "what": found.what if revisions else None,
        "taskDefinitions": sorted(revisions),
        "verified": bool(found.verified),
    }
    return {
        "verified": last and {"release": last["id"], "version": last["version"]},
        "serves": serves or None,
        "alarm": alarm(found, in_flight),
        "mend": None if in_flight else mend(spec, service, found),
    }


def alarm(found: Serving, in_flight: bool) -> str | None:
    """Return what is wrong with what serves; None if the last verified release serves, if that is
    unknown, or if there is nothing yet."""
    last = found.last_verified
    if found.revisions is None or found.verified or (last is None and not found.revisions):
        return None
    what = f"{found.what} serves" if found.revisions else "Nothing serves"
    if last is None:
        return f"{what}, and no release was ever verified."
    verified = f"the last verified release is {last['version']}"
    if in_flight:
        return f"{what}; {verified}. A deployment is running."
    return f"{what}{', and is not verified' if found.revisions else ''}; {verified}."


def mend(spec: ServiceSpec, service: Service | None, found: Serving) -> str | None:
    """Return the command that makes the last verified release serve again.

    None if it serves, or if that is unknown, or if no release was ever verified.
    """
    verified = found.last_verified
    if verified is None or found.verified is not False:
        return None
    if service is None:
        return f"  deployer deploy {verified['digest']}"
    if service.get("desiredCount", 0) == 0:
        return (
            f"  aws ecs update-service --cluster {spec.cluster} --service {spec.service}"
            f" --desired-count {spec.desired_count}"
        )
    if task_definition(service) == verified.get("taskDefinition"):
        return "  deployer doctor"  # it is in place, and its tasks do not run
    return f"  deployer rollback {verified['id']}"


def serves_already(past: History, service: Service | None, record: Recorded) -> bool:
    """Return whether a release is the last verified one, and serves steadily."""
    verified, steady = history.live(past), steady_task_definition(service)
    return (
        verified is not None
        and steady is not None
        and steady == verified.get("taskDefinition") == record.get("taskDefinition")
    )


def of(past: History, revisions: Collection[str] | None) -> Serving:
    """Return what serves.

    Args:
        revisions: the task definitions of the service's running tasks; None if unknown.
    """
    known: dict[str | None, Recorded] = {}
    for record in past:
        known.setdefault(record.get("taskDefinition"), record)
    records = tuple(known[one] for one in sorted(revisions or ()) if one in known)
    return Serving(revisions, records, history.live(past))
