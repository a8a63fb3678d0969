"""Compare two facts: the release that was verified last, and what serves now.

Imports decisions only, no AWS.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from deployer.deploy import history
from deployer.deploy.history import History
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service, steady_task_definition, task_definition
from deployer.deploy.spec import ServiceSpec
from deployer.errors import RequestRejected


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
        """What serves, in words: versions, or task definitions without a record."""
        if not self.revisions:
            return "nothing"
        names = {record.get("taskDefinition"): record["version"] for record in self.records}
        return ", ".join(names.get(one) or one.rpartition("/")[2] for one in sorted(self.revisions))


def running(service: Service | None) -> set[str]:
    """Return the task definitions of a service's running tasks, as its deployments count them."""
    deployments = service.get("deployments", ()) if service else ()
    return {str(one["taskDefinition"]) for one in deployments if one.get("runningCount", 0) > 0}


def summary(
    spec: ServiceSpec, service: Service | None, serving: Serving, in_flight: bool
) -> dict[str, Any]:
    """Return both facts, and what follows from them, for a record or a script.

    Returns:
        `verified`: the last verified release; `serves`: what serves, None if unknown; `alarm`: what
        is wrong with that; `mend`: the command that makes the verified release serve again.
    """
    last, revisions = serving.last_verified, serving.revisions
    serves = revisions is not None and {
        "what": serving.what if revisions else None,
        "taskDefinitions": sorted(revisions),
        "verified": bool(serving.verified),
    }
    return {
        "verified": last and {"release": last["id"], "version": last["version"]},
        "serves": serves or None,
        "alarm": alarm(serving, in_flight),
        "mend": None if in_flight else mend(spec, service, serving),
    }


def alarm(serving: Serving, in_flight: bool) -> str | None:
    """Return the problem if another release than the last verified one serves, or none.

    Returns:
        None if the last verified release serves, if that is unknown, or before any release.
    """
    last = serving.last_verified
    if serving.revisions is None or serving.verified or (last is None and not serving.revisions):
        return None
    what = f"{serving.what} serves" if serving.revisions else "Nothing serves"
    if last is None:
        return f"{what}, and no release was ever verified."
    verified = f"the last verified release is {last['version']}"
    if in_flight:
        return f"{what}; {verified}. A deployment is running."
    return f"{what}{', and is not verified' if serving.revisions else ''}; {verified}."


def mend(spec: ServiceSpec, service: Service | None, serving: Serving) -> str | None:
    """Return the command that makes the last verified release serve again.

    None if it serves, or if that is unknown, or if no release was ever verified.
    """
    verified = serving.last_verified
    if verified is None or serving.verified is not False:
        return None
    if service is None:
        return f"  deployer deploy {verified['digest']}"
    if service.get("desiredCount", 0) == 0:
        return (
            f"  aws ecs update-service --cluster {spec.cluster} --service {spec.service}"
            f" --desired-count {spec.desired_count}"
        )
    if task_definition(service) == verified.get("taskDefinition"):
        return "  deployer doctor"  # it is deployed, but its tasks do not run
    return f"  deployer rollback {verified['id']}"


def serves_already(records: History, service: Service | None, record: Recorded) -> bool:
    """Return whether a release is the last verified one, and serves steadily."""
    verified, steady = history.live(records), steady_task_definition(service)
    return (
        verified is not None
        and steady is not None
        and steady == verified.get("taskDefinition") == record.get("taskDefinition")
    )


def refuse_what_serves(records: History, service: Service | None, record: Recorded) -> None:
    """Raise RequestRejected if the release serves already, according to ECS."""
    if serves_already(records, service, record):
        raise RequestRejected(f"{record['version']} ({record['id']}) serves already")


def earlier(records: History, service: Service | None) -> list[Recorded]:
    """Return the releases that were live, without the one that serves, newest first, each once."""
    each = {
        (entry["digest"], entry.get("taskDefinition")): entry
        for entry in reversed(history.good(records))
    }
    newest = {entry["id"] for entry in each.values()}
    return [
        entry
        for entry in history.good(records)
        if entry["id"] in newest and not serves_already(records, service, entry)
    ]


def of(records: History, revisions: Collection[str] | None) -> Serving:
    """Return what serves now, and the last verified release.

    Args:
        revisions: the task definitions of the service's running tasks; None if unknown.
    """
    newest: dict[str | None, Recorded] = {}
    for record in records:
        newest.setdefault(record.get("taskDefinition"), record)
    serving = tuple(newest[revision] for revision in sorted(revisions or ()) if revision in newest)
    return Serving(revisions, serving, history.live(records))
