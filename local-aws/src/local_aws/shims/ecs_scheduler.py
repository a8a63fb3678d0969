"""The service scheduler: brings every service to what it should be, the way ECS does.

Rolling updates with minimum and maximum healthy percent, the deployment circuit breaker and its
rollback. Followed: AmazonECS/latest/developerguide/deployment-type-ecs.html, deployment-circuit-
breaker.html, service-throttle-logic.html, the API reference of DeploymentConfiguration and
Deployment (quoted where it decides something), https://github.com/aws/containers-roadmap/issues/1206
for what the breaker does not see. One thread decides, after every change of a task or service.

Not modelled: daemon services, blue/green, alarms, placement.
"""

import logging
import math
import os
import random
import threading
import time
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import ecs

from local_aws.shims import ecs_agent, ecs_events, ecs_tasks, load_balancer
from local_aws.shims.ecs_tasks import Task, lock

_log = logging.getLogger("local_aws.ecs")

Service = dict[str, Any]
Deployment = dict[str, Any]

# "the service scheduler will wait for 40 seconds after a task reaches a RUNNING state before the
# task is counted" (DeploymentConfiguration.minimumHealthyPercent), without a health check.
_STEADY_SECONDS = float(os.environ.get("ECS_STEADY_SECONDS", "0.5"))
# Before a task that ended is replaced. AWS takes some seconds, and publishes none.
_RESTART_SECONDS = float(os.environ.get("ECS_RESTART_SECONDS", "0.25"))
_LONGEST_WAIT = 15 * 60.0  # between restarts of tasks that cannot start (service-throttle-logic)
_IMPAIRED_AFTER = 3  # failed starts in a row; AWS publishes no number

# Of a service's fields, those that DescribeServices shows with its deployments.
_SHOWN_HERE = ("serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")

_TICK_SECONDS = 0.1  # between two looks at a service that is not steady
_changed = threading.Event()


def wake() -> None:
    """Look at all services now."""
    _changed.set()


def new_deployment(service: Service) -> Deployment:
    """A PRIMARY deployment of the service as it is now described; the one before becomes ACTIVE."""
    now = ecs_events.now()
    deployment: Deployment = {
        "id": f"ecs-svc/{random.randrange(10**18, 10**19)}",
        "status": "PRIMARY",
        "taskDefinition": service["taskDefinition"],
        "desiredCount": service["desiredCount"],
        "pendingCount": 0,
        "runningCount": 0,
        "failedTasks": 0,
        "createdAt": now,
        "updatedAt": now,
        "launchType": service["launchType"],
        "capacityProviderStrategy": service["capacityProviderStrategy"],
        "platformVersion": service["platformVersion"],
        "platformFamily": service["platformFamily"],
        "networkConfiguration": service["networkConfiguration"],
        **{field: service[field] for field in _SHOWN_HERE if field in service},
        "_failed_starts": 0,
        "_not_before": 0.0,
    }
    for earlier in service["deployments"]:
        earlier["status"] = "ACTIVE"
    service["deployments"] = [deployment, *service["deployments"]]
    reason = f"ECS deployment {deployment['id']} in progress."
    _roll_out(service, deployment, "IN_PROGRESS", reason)
    return deployment


def task_changed(task: Task) -> None:
    """A task of a service changed: count again, judge what ended, look at the service."""
    service = _service_of(task)
    if service is None:
        return
    deployment = _deployment_of(service, task)
    if task.record["lastStatus"] == "RUNNING" and deployment:
        deployment["_failed_starts"] = 0
    if not task.wanted and not task.judged:
        task.judged = True
        if deployment and deployment["status"] == "PRIMARY":
            _judge(service, deployment, task)
    recount(service)
    wake()


def recount(service: Service) -> None:
    """The counts of the service and of each deployment, and its targets in the target groups."""
    tasks = [task for task in ecs_tasks.running.values() if _service_of(task) is service]
    for counted, among in [
        (service, tasks),
        *((d, [t for t in tasks if _is_of(t, d)]) for d in service["deployments"]),
    ]:
        counted["runningCount"] = sum(t.record["lastStatus"] == "RUNNING" for t in among)
        counted["pendingCount"] = sum(
            t.record["lastStatus"] in ("PROVISIONING", "PENDING", "ACTIVATING") for t in among
        )
    cluster = service["clusterArn"].rsplit("/", 1)[-1]
    ecs._recount_cluster(cluster)
    ecs._sync_service_targets(cluster, service)


def _judge(service: Service, deployment: Deployment, task: Task) -> None:
    """What the end of a task means for its deployment.

    "A task is considered a failure if the service scheduler can't launch the task, the task doesn't
    transition to a RUNNING state, or if it fails any of its defined health checks and is stopped."
    (Deployment.failedTasks). So one that reached RUNNING and exited is none (issue 1206), and such
    an end "doesn't cause the throttle" either (service-throttle-logic).
    """
    wait = _RESTART_SECONDS
    if task.record["stopCode"] == "TaskFailedToStart":
        _count_failure(service, deployment)
        wait = _throttle(deployment)
    elif task.failed_health_checks:
        _count_failure(service, deployment)
    elif task.record["stopCode"] != "EssentialContainerExited":
        return
    deployment["_not_before"] = time.monotonic() + wait


def _throttle(deployment: Deployment) -> float:
    """Seconds until the next attempt, growing with each start that fails."""
    deployment["_failed_starts"] += 1
    longer: float = 2.0 ** min(max(0, deployment["_failed_starts"] - _IMPAIRED_AFTER + 1), 20)
    return min(_RESTART_SECONDS * longer, _LONGEST_WAIT)


def _count_failure(service: Service, deployment: Deployment) -> None:
    if deployment["rolloutState"] != "IN_PROGRESS":
        return
    deployment["failedTasks"] += 1
    deployment["updatedAt"] = ecs_events.now()
    breaker = _breaker(service)
    if not breaker.get("enable") or deployment["failedTasks"] < ecs._circuit_breaker_threshold(
        service
    ):
        return
    # Two wordings: DescribeServices' (issue 1488 of containers-roadmap) and the event's (AWS docs).
    _roll_out(
        service,
        deployment,
        "FAILED",
        "ECS deployment circuit breaker: tasks failed to start.",
        announce="ECS deployment circuit breaker: task failed to start.",
    )
    ecs_events.say(
        service, f"(deployment {deployment['id']}) deployment failed: tasks failed to start."
    )
    target = service.get("_last_completed")
    if breaker.get("rollback") and target and target is not deployment:
        deployment.update(status="ACTIVE", desiredCount=0)
        target.update(status="PRIMARY", desiredCount=service["desiredCount"], failedTasks=0)
        service["deployments"] = [target, *(d for d in service["deployments"] if d is not target)]
        for field in ("taskDefinition", "networkConfiguration", "platformVersion"):
            service[field] = target[field]
        ecs_events.say(service, f"rolling back to deployment {target['id']}.")
        _roll_out(
            service,
            target,
            "IN_PROGRESS",
            f"ECS deployment circuit breaker: rolling back to deploymentId {target['id']}.",
        )


def _reconcile(service: Service) -> None:
    """One step: start and stop what may be started and stopped now."""
    tasks = [task for task in ecs_tasks.running.values() if _service_of(task) is service]
    if service["status"] == "DRAINING":
        _drain(service, tasks)
        return
    if service["status"] != "ACTIVE":
        return
    primary: Deployment = service["deployments"][0]
    for task in tasks:
        if task.wanted and not _in_grace_period(service, task):
            _stop_if_unhealthy(service, task)
    # "A deployment in FAILED state doesn't launch any new tasks"; the old tasks stay as well.
    if primary["rolloutState"] != "FAILED" or not service["desiredCount"]:
        _balance(service, primary, tasks)
    tasks = [task for task in tasks if task.arn in ecs_tasks.running]
    _settle(service, primary, tasks)
    recount(service)


def _in_grace_period(service: Service, task: Task) -> bool:
    """healthCheckGracePeriodSeconds: "the period of time, in seconds, that the service scheduler
    ignores unhealthy Elastic Load Balancing … and container health checks after a task has first
    started"."""
    if task.running_since is None:
        return False
    grace: float = service["healthCheckGracePeriodSeconds"] * load_balancer.TIME_SCALE
    return task.running_since + grace > time.monotonic()


def _stop_if_unhealthy(service: Service, task: Task) -> None:
    identifier = task.arn.rsplit("/", 1)[-1]
    if task.record["healthStatus"] == "UNHEALTHY":
        task.failed_health_checks = True
        ecs_events.say(service, f"(task {identifier}) failed container health checks.")
        task.stop("Task failed container health checks", "ServiceSchedulerInitiated")
        return
    for group, port, target in _targets(service, task):
        if target and target.state == "unhealthy":
            task.failed_health_checks = True
            # troubleshoot-service-load-balancers.html, service-event-messages-list.html
            ecs_events.say(
                service,
                f"(task {identifier}) (port {port}) is unhealthy in (target-group {group}) due to "
                f"(reason {target.reason[1]}).",
            )
            task.stop(
                f"Task failed ELB health checks in (target-group {group})",
                "ServiceSchedulerInitiated",
            )
            return


def _targets(service: Service, task: Task) -> list[tuple[str, int, load_balancer.Target | None]]:
    """Target group, port and registration of the task in each of the service's target groups."""
    address = ecs._task_ip(task.record) or ""
    return [
        (group, port, load_balancer.target(group, address, port))
        for configured in service["loadBalancers"]
        if (group := configured.get("targetGroupArn"))
        for port in [configured["containerPort"]]
    ]


def _balance(service: Service, primary: Deployment, tasks: list[Task]) -> None:
    desired: int = service["desiredCount"]
    limits = service["deploymentConfiguration"]
    # "rounded up to the nearest integer", "rounded down": DeploymentConfiguration
    minimum = math.ceil(desired * limits["minimumHealthyPercent"] / 100)
    maximum = desired * limits["maximumPercent"] // 100
    new = [t for t in tasks if t.wanted and _is_of(t, primary)]
    old = [t for t in tasks if t.wanted and not _is_of(t, primary)]
    healthy = sum(_healthy(service, t) for t in new)

    missing = max(0, desired - len(new))
    # A task that stops takes its place until it is gone (from memory: the API reference speaks of
    # "the RUNNING or PENDING state" only).
    room = max(0, maximum - len(tasks))
    if missing and room and primary["_not_before"] <= time.monotonic():
        _launch(service, primary, min(missing, room))

    # Old tasks go when new healthy ones stand in for them, or when room is needed.
    superfluous = max(len(old) - max(0, desired - healthy), min(missing - room, len(old)), 0)
    standing = healthy + sum(_healthy(service, t) for t in old)
    for task in sorted(old, key=lambda t: _healthy(service, t)):
        counts = _healthy(service, task)
        if not superfluous or (counts and standing <= minimum):
            break
        standing -= counts
        superfluous -= 1
        _stop(service, task, primary)
    newest_first = sorted(new, key=lambda t: (t.record["lastStatus"] == "RUNNING", t.arn))
    for task in newest_first[: max(0, len(new) - desired)]:
        _stop(service, task, primary)


def _launch(service: Service, deployment: Deployment, count: int) -> None:
    definition = ecs._task_defs[ecs._resolve_td_key(deployment["taskDefinition"])]
    if why := ecs_agent.unassumable(definition):
        # such tasks are never made; the scheduler says so and tries again
        ecs_events.say(service, f"failed to launch a task with (error {why}).")
        _count_failure(service, deployment)
        deployment["_not_before"] = time.monotonic() + _throttle(deployment)
        return
    names = []
    for _ in range(count):
        task = ecs_tasks.launch(
            definition,
            cluster=service["clusterArn"],
            group=f"service:{service['serviceName']}",
            started_by=deployment["id"],
            network_configuration=deployment["networkConfiguration"],
            capacity=ecs._task_capacity(
                deployment["launchType"], deployment["capacityProviderStrategy"]
            ),
            platform_version=deployment["platformVersion"],
            execute_command=service["enableExecuteCommand"],
        )
        names.append(f"(task {task.arn.rsplit('/', 1)[-1]})")
    ecs_events.say(service, f"has started {count} tasks: {' '.join(names)}.")


def _stop(service: Service, task: Task, primary: Deployment) -> None:
    identifier = task.arn.rsplit("/", 1)[-1]
    ecs_events.say(service, f"has stopped 1 running tasks: (task {identifier}).")
    task.stop(
        f"Scaling activity initiated by (deployment {primary['id']})", "ServiceSchedulerInitiated"
    )


def _drain(service: Service, tasks: list[Task]) -> None:
    """DeleteService: "After all tasks have transitioned to either STOPPING or STOPPED status, the
    service status moves from DRAINING to INACTIVE."."""
    for task in tasks:
        task.stop("Service deleted", "ServiceSchedulerInitiated")
    left = ("STOPPING", "DEPROVISIONING", "STOPPED")
    if all(task.record["lastStatus"] in left for task in tasks):
        service["status"] = "INACTIVE"
        service["deployments"] = []
    recount(service)


def _settle(service: Service, primary: Deployment, tasks: list[Task]) -> None:
    """Whether the service is steady now, and with it its rollout."""
    new = [t for t in tasks if _is_of(t, primary)]
    healthy = [t for t in new if t.wanted and _healthy(service, t)]
    rolling = primary["rolloutState"] == "IN_PROGRESS"
    for task in healthy:
        # "a task that reaches a healthy state resets the failure count to 0"
        if rolling and not task.was_healthy and _breaker(service).get("resetOnHealthyTask", True):
            primary["failedTasks"] = 0
        task.was_healthy = True
    live = {t.record["startedBy"] for t in tasks}
    if rolling:
        service["deployments"] = [
            d
            for d in service["deployments"]
            if d is primary
            or d["id"] in live
            or d is service.get("_last_completed")
            or d["rolloutState"] == "FAILED"
        ]
    for earlier in service["deployments"][1:]:
        earlier["desiredCount"] = sum(t.wanted and _is_of(t, earlier) for t in tasks)
    steady = len(healthy) == len(tasks) == service["desiredCount"]
    if rolling and primary["_began"] + _STEADY_SECONDS > time.monotonic():
        steady = False  # not even a rollback to tasks that still run is over at once on AWS
    if steady and rolling:
        service["deployments"] = [primary]
        service["_last_completed"] = primary
        recount(service)
        ecs_events.say(service, f"(deployment {primary['id']}) deployment completed.")
        completed = f"ECS deployment {primary['id']} completed."
        _roll_out(service, primary, "COMPLETED", completed)
    steady = steady and primary["rolloutState"] == "COMPLETED"
    if steady and not service.get("_steady"):
        ecs_events.say(service, "has reached a steady state.")
    service["_steady"] = steady


def _roll_out(
    service: Service,
    deployment: Deployment,
    state: str,
    reason: str,
    *,
    announce: str | None = None,
) -> None:
    deployment.update(rolloutState=state, rolloutStateReason=reason, updatedAt=ecs_events.now())
    if state == "IN_PROGRESS":
        deployment["_began"] = time.monotonic()
    ecs_events.deployment_changed(
        service, deployment["id"], f"SERVICE_DEPLOYMENT_{state}", announce or reason
    )


def _healthy(service: Service, task: Task) -> bool:
    """Whether the task counts: all its health checks and those of its target groups passed, or,
    where there are none, it ran for long enough."""
    if task.record["lastStatus"] != "RUNNING" or task.running_since is None:
        return False
    targets = [target for _, _, target in _targets(service, task)]
    if not all(target and target.state == "healthy" for target in targets):
        return False
    if task.checked or targets:
        return task.passed
    return task.running_since + _STEADY_SECONDS <= time.monotonic()


def _breaker(service: Service) -> dict[str, Any]:
    return service["deploymentConfiguration"]["deploymentCircuitBreaker"]


def _is_of(task: Task, deployment: Deployment) -> bool:
    return bool(task.record["startedBy"] == deployment["id"])


def _deployment_of(service: Service, task: Task) -> Deployment | None:
    return next((d for d in service["deployments"] if _is_of(task, d)), None)


def _service_of(task: Task) -> Service | None:
    group: str = task.record["group"]
    _, _, _, region, account, _ = task.arn.split(":", 5)
    cluster = task.record["clusterArn"].rsplit("/", 1)[-1]
    name = f"{cluster}/{group.removeprefix('service:')}"
    if not group.startswith("service:"):
        return None
    return ecs._services.get_scoped(account, region, name)


def _run() -> None:
    while True:
        woken = _changed.wait(_TICK_SECONDS)
        _changed.clear()
        for service in list(ecs._services._data.values()):
            if service["status"] != "INACTIVE" and (woken or not service.get("_steady")):
                _, _, _, region, account, _ = service["serviceArn"].split(":", 5)
                try:
                    with lock, request_scope(account, region):
                        _reconcile(service)
                except Exception:
                    _log.exception("service %s", service["serviceName"])


def install() -> None:
    """Start the scheduler's thread."""
    ecs_tasks.watchers.append(task_changed)
    load_balancer.watchers.append(lambda group: wake())
    threading.Thread(target=_run, name="ecs-scheduler", daemon=True).start()
