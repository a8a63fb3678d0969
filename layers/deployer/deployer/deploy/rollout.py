"""What the descriptions of a service and its tasks say about the rollout that we started.

A rollout is an ECS deployment, known by its id. Nothing here asks for `the latest`: others may
change the service, ECS may roll it back, and reads lag behind writes.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NotRequired, TypedDict

from deployer.deploy import stop_reasons
from deployer.deploy.stop_reasons import Task

type Service = Mapping[str, Any]
"""A service as DescribeServices gives it."""

# How long after an update DescribeServices may still show the state before it; the longest lag
# reported is a few seconds (bugcrowd/ecs-deployment-monitor waits 9 s), so this is ample.
READ_LAG = timedelta(seconds=30)

Health = Literal["STEADY", "ROLLING", "FAILED"]


class Rollout(TypedDict):
    """A rollout that we started: the ECS deployment's id and what it rolls out. ISO times, UTC.

    `startedAt` is when ECS made the deployment, `since` when we asked for it: they differ when
    the service was on that task definition already. Tasks that stopped before are not our failure.
    `port` is where its containers serve, `network` where its tasks run.
    """

    id: str
    taskDefinition: str
    startedAt: str
    since: str
    deadline: str
    port: NotRequired[int]
    network: NotRequired[Mapping[str, Any]]


class Verdict(TypedDict):
    """What became of a rollout so far, and why we say so.

    `error` names the failure as the execution reports it; it is empty unless FAILED. `told` is
    for wake-ups (see `events`); a verdict of our own has nothing to insist on.
    """

    health: Health
    told: bool
    error: str
    reason: str


def started(deployment: Mapping[str, Any], timeout: int, now: datetime) -> Rollout:
    """The rollout that an ECS deployment is.

    Args:
        deployment: one of a service's `deployments`.
        timeout: seconds until it must be steady, from now on.
    """
    created: datetime = deployment.get("createdAt", now)
    return {
        "id": deployment["id"],
        "taskDefinition": deployment["taskDefinition"],
        "startedAt": created.isoformat(),
        "since": max(created, now - READ_LAG).isoformat(),
        "deadline": (now + timedelta(seconds=timeout)).isoformat(),
    }


def primary(service: Service) -> Mapping[str, Any] | None:
    """The deployment that ECS works towards."""
    for deployment in service.get("deployments", ()):
        if deployment.get("status") == "PRIMARY":
            return dict(deployment)
    return None


def task_definition(service: Service | None) -> str | None:
    """Return the task definition that a service is set to; None without a service."""
    current = primary(service) if service else None
    return str(current["taskDefinition"]) if current else None


def steady_task_definition(service: Service | None) -> str | None:
    """The task definition that the service runs steadily; None while it rolls or runs nothing."""
    if service is None:
        return None
    now = primary(service)
    if now and now.get("rolloutState") == "COMPLETED" and now.get("runningCount", 0) > 0:
        return str(now["taskDefinition"])
    return None


def network(service: Service) -> Mapping[str, Any] | None:
    """Return the network that a service's tasks are to run in: its primary deployment's."""
    current = primary(service) or {}
    found: Mapping[str, Any] | None = current.get("networkConfiguration")
    return found or service.get("networkConfiguration")


def same_network(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Return whether two network configurations are the same, or one is not known."""
    return one is None or other is None or _network(one) == _network(other)


def _network(configuration: Mapping[str, Any]) -> tuple[set[str], set[str], bool]:
    vpc = configuration.get("awsvpcConfiguration", {})
    public = vpc.get("assignPublicIp") == "ENABLED"
    return set(vpc.get("subnets", ())), set(vpc.get("securityGroups", ())), public


def shows(
    service: Service | None,
    revision: str,
    rollout: Rollout | None,
    wanted: Mapping[str, Any] | None = None,
) -> bool:
    """Return whether a look at the service shows what our update of it did: the rollout among the
    deployments, or the revision in place. If not, it may be as old as READ_LAG.

    Args:
        wanted: the network of our update; None to look at the revision alone.
    """
    if service is None:
        return False
    current, ours = primary(service), rollout["id"] if rollout else None
    if any(d["id"] == ours for d in service.get("deployments", ())):
        return True
    if current is None or current["taskDefinition"] != revision:
        return False
    if rollout:  # the same revision may have been in place before
        made = current.get("createdAt")
        return made is None or made >= datetime.fromisoformat(rollout["startedAt"])
    return same_network(network(service), wanted)


def judge(
    service: Service | None,
    rollout: Rollout,
    stopped_tasks: Sequence[Task],
    unready: Sequence[str],
    threshold: int,
    now: datetime,
) -> Verdict:
    """Judge a rollout.

    Args:
        service: the service; None if there is none of that name that is ACTIVE.
        rollout: the one to judge.
        stopped_tasks: the stopped tasks of its deployment. The circuit breaker does not count a
            task that reached RUNNING and then exits, so we count ourselves.
        unready: what is not yet as it must be beside ECS's own view (such as a target that the
            load balancer does not call healthy), in words.
        threshold: how many failed tasks are too many.
    """
    if service is None:
        if now - datetime.fromisoformat(rollout["startedAt"]) < READ_LAG:
            return _rolling("ECS does not show the new service yet")
        return _failed("ServiceMissing", "the service was deleted during the rollout")

    failures = [stop_reasons.why(task) for task in failed_tasks(rollout, stopped_tasks)]
    hopeless = next((stop for stop in failures if not stop.heals), None)
    if hopeless and not _completed(service, rollout):  # what ECS completed was none after all
        return _failed("RolloutFailed", f"the new task can't start: {hopeless.reason}")

    verdict = _standing(service, rollout, now)
    if verdict["health"] != "ROLLING":
        if verdict["health"] == "STEADY" and unready:
            verdict = _rolling("; ".join(unready[:3]))
        else:
            return verdict

    if len(failures) >= threshold:
        return _failed(
            "RolloutFailed", f"{len(failures)} new tasks failed; the last: {failures[-1].reason}"
        )
    if now >= datetime.fromisoformat(rollout["deadline"]):
        return _failed("RolloutTimedOut", f"not steady in time: {verdict['reason']}")
    return verdict


def failed_tasks(rollout: Rollout, stopped_tasks: Sequence[Task]) -> list[Task]:
    """Those of a deployment's stopped tasks that failed since the rollout began."""
    since = datetime.fromisoformat(rollout["since"])
    return [
        task
        for task in stopped_tasks
        if stop_reasons.failed(task) and task.get("stoppedAt", since) >= since
    ]


def _completed(service: Service, rollout: Rollout) -> bool:
    """Whether ECS has completed the rollout, and nothing has come after it."""
    current = primary(service) or {}
    return current.get("id") == rollout["id"] and current.get("rolloutState") == "COMPLETED"


def _standing(service: Service, rollout: Rollout, now: datetime) -> Verdict:
    """How the rollout stands by the service's deployments alone."""
    current = primary(service)
    ours = next((d for d in service.get("deployments", ()) if d["id"] == rollout["id"]), None)
    if ours and ours.get("rolloutState") == "FAILED":
        why = ours.get("rolloutStateReason") or "ECS's circuit breaker gave it up"
        if current and current["id"] != ours["id"]:
            return _failed("RolledBackByECS", f"ECS rolled it back: {why}")
        return _failed("RolloutFailed", f"ECS gave it up: {why}")
    if current is None or ours is None or current["id"] != ours["id"]:
        return _displaced(current, ours is not None, rollout, now)
    if service.get("desiredCount", 0) == 0:
        return _failed("ServiceScaledDown", "the service was scaled to zero during the rollout")

    running, desired = ours.get("runningCount", 0), ours.get("desiredCount", 0)
    others = sum(
        d.get("runningCount", 0) for d in service["deployments"] if d["id"] != rollout["id"]
    )
    counts = f"{running} of {desired} new tasks running, {others} old"
    if ours.get("rolloutState") == "COMPLETED" and running > 0 and others == 0:
        return _verdict("STEADY", "", counts)
    return _rolling(counts)


def _displaced(
    current: Mapping[str, Any] | None, listed: bool, rollout: Rollout, now: datetime
) -> Verdict:
    """Another deployment is primary: a read that lags, a rollback by ECS, or somebody's change."""
    begun = datetime.fromisoformat(rollout["startedAt"])
    if current and current["createdAt"] > begun:
        return _failed(
            "RolloutReplaced",
            f"somebody else's deployment {current['id']} of {current['taskDefinition']}"
            " replaced it",
        )
    if not listed and now - begun < READ_LAG:
        return _rolling("ECS does not show the new deployment yet")
    return _failed("RolledBackByECS", "ECS rolled it back to the deployment before")


def _rolling(reason: str) -> Verdict:
    return _verdict("ROLLING", "", reason)


def _failed(error: str, reason: str) -> Verdict:
    return _verdict("FAILED", error, reason)


def _verdict(health: Health, error: str, reason: str) -> Verdict:
    return {"health": health, "told": False, "error": error, "reason": reason}
