"""Judge the rollout that we started, by the descriptions of the service and its tasks.

A rollout is an ECS deployment, identified by its id. No function here uses "the latest" deployment:
others may change the service, ECS may roll it back, and reads lag behind writes. Imports decisions
only, no AWS.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NotRequired, TypedDict

from deployer.deploy import stop_reasons
from deployer.deploy.stop_reasons import Task

type Service = Mapping[str, Any]
"""A service as DescribeServices returns it."""

# How long after an update DescribeServices may still show the state before it; the longest lag
# reported is a few seconds (bugcrowd/ecs-deployment-monitor waits 9 s), so this is ample.
READ_LAG = timedelta(seconds=30)

# A bake is watched in pieces, so that a failure in it is seen early.
BAKE_STEP = 60  # seconds

Health = Literal["STEADY", "NEXT", "BAKING", "ROLLING", "FAILED"]


class Rollout(TypedDict):
    """A rollout that we started: the ECS deployment's id and what it rolls out. ISO times, UTC.

    `startedAt` is when ECS created the deployment, `since` when we requested it. They differ if
    the service already had that task definition. Tasks that stopped before `since` do not count
    as failures. `port` is the port of its containers, `network` the network of its tasks. Once
    steady, they must run for `bake` seconds without a restart; until then, `alarms` must be quiet.
    """

    id: str
    taskDefinition: str
    startedAt: str
    since: str
    deadline: str
    bake: NotRequired[int]
    alarms: NotRequired[Sequence[str]]
    port: NotRequired[int]
    network: NotRequired[Mapping[str, Any]]


class Verdict(TypedDict):
    """The health of a rollout, and the reason for the verdict.

    `error` is the failure's name in the execution; it is empty unless FAILED. `ended` is whether
    an event of ECS said that the rollout ended; it is always False here. `seconds` is after how
    long to poll a BAKING rollout again. Of several services, `service` is the one that failed;
    NEXT means that those updated are steady, and that others are to be updated.
    """

    health: Health
    ended: bool
    error: str
    reason: str
    seconds: NotRequired[int]
    service: NotRequired[str]


def started(deployment: Mapping[str, Any], timeout: int, now: datetime) -> Rollout:
    """Return the rollout that an ECS deployment carries out.

    Args:
        deployment: one of a service's `deployments`.
        timeout: seconds from now until it must be steady.
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
    """Return the primary deployment, which ECS works towards; None if there is none."""
    for deployment in service.get("deployments", ()):
        if deployment.get("status") == "PRIMARY":
            return dict(deployment)
    return None


def task_definition(service: Service | None) -> str | None:
    """Return the task definition of a service's primary deployment; None without a service."""
    current = primary(service) if service else None
    return str(current["taskDefinition"]) if current else None


def steady_task_definition(service: Service | None) -> str | None:
    """Return the task definition that runs steadily; None during a rollout or without tasks."""
    if service is None:
        return None
    current = primary(service)
    if (
        current
        and current.get("rolloutState") == "COMPLETED"
        and current.get("runningCount", 0) > 0
    ):
        return str(current["taskDefinition"])
    return None


def network(service: Service) -> Mapping[str, Any] | None:
    """Return the network configuration of a service's primary deployment."""
    current = primary(service) or {}
    configuration: Mapping[str, Any] | None = current.get("networkConfiguration")
    return configuration or service.get("networkConfiguration")


def same_network(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Return whether two network configurations are the same; also if one is unknown."""
    return first is None or second is None or _network(first) == _network(second)


def _network(configuration: Mapping[str, Any]) -> tuple[set[str], set[str], bool]:
    vpc = configuration.get("awsvpcConfiguration", {})
    public = vpc.get("assignPublicIp") == "ENABLED"
    return set(vpc.get("subnets", ())), set(vpc.get("securityGroups", ())), public


def shows(
    service: Service | None,
    revision: str,
    rollout: Rollout | None,
    configuration: Mapping[str, Any] | None = None,
) -> bool:
    """Return whether a description of the service already shows our update.

    It does if the rollout is among the deployments, or the revision is in place. If not, the
    description may be older than the update, by up to READ_LAG.

    Args:
        configuration: the network of our update; None to compare the revision alone.
    """
    if service is None:
        return False
    current, rollout_id = primary(service), rollout["id"] if rollout else None
    if any(d["id"] == rollout_id for d in service.get("deployments", ())):
        return True
    if current is None or current["taskDefinition"] != revision:
        return False
    if rollout:  # the same revision may have been in place before
        created = current.get("createdAt")
        return created is None or created >= datetime.fromisoformat(rollout["startedAt"])
    return same_network(network(service), configuration)


def judge(
    service: Service | None,
    rollout: Rollout,
    stopped_tasks: Sequence[Task],
    unready: Sequence[str],
    threshold: int,
    now: datetime,
    running_tasks: Sequence[Task] = (),
    alarms: Sequence[str] = (),
) -> Verdict:
    """Judge a rollout.

    Args:
        service: the service; None if no service of that name is ACTIVE.
        rollout: the rollout to judge.
        stopped_tasks: the stopped tasks of its deployment. The circuit breaker does not count a
            task that reached RUNNING and then exits, so we count ourselves.
        unready: in words, what ECS does not check and is not ready yet, such as an unhealthy
            target of the load balancer; of no matter before ECS completed the rollout.
        threshold: how many failed tasks are too many.
        running_tasks: the running tasks of its deployment, if ECS completed it and it bakes.
        alarms: in words, which of its alarms are raised.
    """
    if service is None:
        if now - datetime.fromisoformat(rollout["startedAt"]) < READ_LAG:
            return _rolling("ECS does not show the new service yet")
        return _failed("ServiceMissing", "the service was deleted during the rollout")

    failures = [stop_reasons.why(task) for task in failed_tasks(rollout, stopped_tasks)]
    permanent = next((stop for stop in failures if not stop.heals), None)
    if permanent and not completed(service, rollout):  # else a task did start
        return _failed("RolloutFailed", f"the new task can't start: {permanent.reason}")

    verdict, bake = _judge_deployments(service, rollout, now), timedelta(0)
    if verdict["health"] != "FAILED" and alarms:
        return _failed("AlarmRaised", "; ".join(alarms))
    if verdict["health"] == "STEADY":
        bake = timedelta(seconds=rollout.get("bake", 0))
        if unready:
            verdict = _rolling("; ".join(unready[:3]))
        elif bake:
            verdict = _judge_bake(running_tasks, bake, now)
    if verdict["health"] in ("STEADY", "FAILED"):
        return verdict

    if len(failures) >= threshold:
        return _failed(
            "RolloutFailed", f"{len(failures)} new tasks failed; the last: {failures[-1].reason}"
        )
    if now >= datetime.fromisoformat(rollout["deadline"]) + bake:
        return _failed("RolloutTimedOut", f"not steady in time: {verdict['reason']}")
    return verdict


def failed_tasks(rollout: Rollout, stopped_tasks: Sequence[Task]) -> list[Task]:
    """Return the stopped tasks of a deployment that failed since the rollout began."""
    since = datetime.fromisoformat(rollout["since"])
    return [
        task
        for task in stopped_tasks
        if stop_reasons.failed(task) and task.get("stoppedAt", since) >= since
    ]


def completed(service: Service, rollout: Rollout) -> bool:
    """Return whether ECS completed the rollout and it is still the primary deployment."""
    current = primary(service) or {}
    return current.get("id") == rollout["id"] and current.get("rolloutState") == "COMPLETED"


def keeps_starting(service: Service) -> bool:
    """Return whether ECS starts, or may start, tasks of the service: it is not steady."""
    current = primary(service) or {}
    return service.get("desiredCount", 0) > 0 and not (
        current.get("rolloutState") == "COMPLETED"
        and current.get("failedTasks", 0) == 0
        and service.get("runningCount", 0) >= service["desiredCount"]
        and service.get("pendingCount", 0) == 0
    )


def stopped(service: Service) -> bool:
    """Return whether the service is scaled to zero, and none of its tasks is left."""
    counts = ("desiredCount", "runningCount", "pendingCount")
    return all(service.get(count, 0) == 0 for count in counts)


def _judge_deployments(service: Service, rollout: Rollout, now: datetime) -> Verdict:
    """Judge the rollout by the service's deployments alone."""
    current = primary(service)
    deployment = next((d for d in service.get("deployments", ()) if d["id"] == rollout["id"]), None)
    if deployment and deployment.get("rolloutState") == "FAILED":
        why = deployment.get("rolloutStateReason") or "ECS's circuit breaker gave it up"
        if current and current["id"] != deployment["id"]:
            return _failed("RolledBackByECS", f"ECS rolled it back: {why}")
        return _failed("RolloutFailed", f"ECS gave it up: {why}")
    if current is None or deployment is None or current["id"] != deployment["id"]:
        return _judge_displaced(current, deployment is not None, rollout, now)
    if service.get("desiredCount", 0) == 0:
        return _failed("ServiceScaledDown", "the service was scaled to zero during the rollout")

    running, desired = deployment.get("runningCount", 0), deployment.get("desiredCount", 0)
    others = sum(
        d.get("runningCount", 0) for d in service["deployments"] if d["id"] != rollout["id"]
    )
    counts = f"{running} of {desired} new tasks running, {others} old"
    if deployment.get("rolloutState") == "COMPLETED" and running > 0 and others == 0:
        return _verdict("STEADY", "", counts)
    return _rolling(counts)


def _judge_bake(running_tasks: Sequence[Task], bake: timedelta, now: datetime) -> Verdict:
    """Judge a steady rollout by how long its tasks run: one that restarted begins anew."""
    began = [task.get("startedAt", now) for task in running_tasks]  # one may be about to start
    ran = now - max(began, default=now)
    if ran >= bake:
        return _verdict("STEADY", "", f"its tasks run for {ran.total_seconds():.0f} s")
    reason = f"its tasks run for {ran.total_seconds():.0f} of {bake.total_seconds():.0f} s"
    remaining = math.ceil((bake - ran).total_seconds())
    return {**_verdict("BAKING", "", reason), "seconds": min(remaining, BAKE_STEP)}


def _judge_displaced(
    current: Mapping[str, Any] | None, listed: bool, rollout: Rollout, now: datetime
) -> Verdict:
    """Judge a rollout that is not primary: reads lag, ECS rolled back, or somebody deployed."""
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
    return {"health": health, "ended": False, "error": error, "reason": reason}
