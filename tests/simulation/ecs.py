"""ECS in virtual time, as far as a deployer sees it; docs/simulation.md names the sources."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.simulation.application import App, Database
from tests.simulation.errors import AwsError

if TYPE_CHECKING:
    from tests.simulation.world import World

REGION, ACCOUNT = "us-east-1", "123456789012"
STALE = 30.0  # seconds that a stale read lags: no more than the deployer allows for
_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}"

# Seconds. AWS publishes none but the 40 and the 15 minutes; the others are what one sees.
ATTACH, PULL, STOP, RESTART = 8.0, 6.0, 2.0, 2.0
COUNTED_AFTER = 40.0
LONGEST_WAIT = 900.0
TARGET_INTERVAL, TARGET_FAILURES, DEREGISTRATION = 10.0, 2, 5.0
FORGOTTEN_AFTER = 3600.0


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


SEALED = "sg-0123456789abcdef1"  # lets no task reach anything


@dataclass(eq=False)
class Task:
    name: str
    deployment: "Deployment"
    app: App
    created: float
    status: str = "PROVISIONING"
    wanted: bool = True
    started: float | None = None
    stopped: float | None = None
    health: str = "UNKNOWN"
    target: str | None = None
    stop_code: str = ""
    reason: str = ""
    exit_code: int | None = None
    container_reason: str = ""
    was_healthy: bool = False
    failed_checks: bool = False
    ready: float | None = None
    database: Database | None = None

    @property
    def arn(self) -> str:
        return f"{_ARN}:task/{self.deployment.service.cluster}/{self.name}"

    @property
    def failed(self) -> bool:
        """Whether it ended because of what it is, not because it was told to."""
        return self.failed_checks or self.stop_code in (
            "TaskFailedToStart", "EssentialContainerExited",
        )  # fmt: skip

    @property
    def number(self) -> int:
        return int(self.name, 16)

    @property
    def private(self) -> str:
        return f"10.0.{self.number // 250}.{self.number % 250}"

    @property
    def public(self) -> str:
        return f"203.0.{self.number // 250}.{self.number % 250}"

    def described(self) -> dict[str, Any]:
        container: dict[str, Any] = {"name": "app", "lastStatus": self.status}
        if self.exit_code is not None:
            container["exitCode"] = self.exit_code
        if self.container_reason:
            container["reason"] = self.container_reason
        matches: dict[str, Any] = {
            "taskArn": self.arn,
            "taskDefinitionArn": self.deployment.revision,
            "startedBy": self.deployment.id,
            "lastStatus": self.status,
            "desiredStatus": "RUNNING" if self.wanted else "STOPPED",
            "healthStatus": self.health,
            "containers": [container],
            "attachments": [],
            "createdAt": moment(self.created),
        }
        if self.status != "PROVISIONING":
            details = {
                "networkInterfaceId": f"eni-{self.name}",
                "privateIPv4Address": self.private,
            }
            matches["attachments"] = [
                {
                    "type": "ElasticNetworkInterface",
                    "details": [{"name": k, "value": v} for k, v in details.items()],
                }
            ]
        if self.started is not None:
            matches["startedAt"] = moment(self.started)
        if self.stopped is not None:
            matches["stoppedAt"] = moment(self.stopped)
        if not self.wanted:
            matches |= {"stopCode": self.stop_code, "stoppedReason": self.reason}
        return matches


@dataclass(eq=False)
class OneOff:
    """A task that belongs to no service."""

    name: str
    request: Mapping[str, Any]
    app: App
    created: float
    lag: float  # seconds until reads show it
    status: str = "PROVISIONING"
    wanted: bool = True
    started: float | None = None
    stopped: float | None = None
    stop_code: str = ""
    reason: str = ""
    exit_code: int | None = None

    @property
    def arn(self) -> str:
        return f"{_ARN}:task/{self.request['cluster']}/{self.name}"

    @property
    def started_by(self) -> str:
        return str(self.request["startedBy"])

    @property
    def release(self) -> str:
        return self.started_by.rpartition("/")[2]

    @property
    def which(self) -> str:
        """Whether it runs before or after the rollout."""
        return self.started_by.split("/")[1]

    @property
    def family(self) -> str:
        return str(self.request["taskDefinition"]).rpartition("/")[2].partition(":")[0]

    def described(self) -> dict[str, Any]:
        (override,) = self.request["overrides"]["containerOverrides"]
        container: dict[str, Any] = {"name": override["name"], "lastStatus": self.status}
        if self.exit_code is not None:
            container["exitCode"] = self.exit_code
        shown: dict[str, Any] = {
            "taskArn": self.arn,
            "taskDefinitionArn": self.request["taskDefinition"],
            "startedBy": self.started_by,
            "group": self.request["group"],
            "lastStatus": self.status,
            "desiredStatus": "RUNNING" if self.wanted else "STOPPED",
            "containers": [container],
            "createdAt": moment(self.created),
        }
        if self.started is not None:
            shown["startedAt"] = moment(self.started)
        if self.stopped is not None:
            shown["stoppedAt"] = moment(self.stopped)
        if not self.wanted:
            shown |= {"stopCode": self.stop_code, "stoppedReason": self.reason}
        return shown


@dataclass(eq=False)
class Deployment:
    id: str
    service: "Service"
    revision: str
    network: Mapping[str, Any]
    created: float
    status: str = "PRIMARY"
    state: str = "IN_PROGRESS"
    why: str = ""
    failed: int = 0
    failed_starts: int = 0
    not_before: float = 0.0
    completed: float = 0.0

    def described(self) -> dict[str, Any]:
        tasks = [t for t in self.service.tasks if t.deployment is self]
        running = sum(t.status == "RUNNING" for t in tasks)
        desired = self.service.desired if self.status == "PRIMARY" else running
        return {
            "id": self.id,
            "status": self.status,
            "taskDefinition": self.revision,
            "desiredCount": desired,
            "pendingCount": sum(t.status in ("PROVISIONING", "PENDING") for t in tasks),
            "runningCount": running,
            "failedTasks": self.failed,
            "rolloutState": self.state,
            "rolloutStateReason": self.why,
            "createdAt": moment(self.created),
            "networkConfiguration": self.network,
        }


@dataclass(eq=False)
class Service:
    name: str
    cluster: str
    desired: int
    configuration: Mapping[str, Any]
    limits: tuple[int, int]
    network: Mapping[str, Any]
    balancers: list[Any]
    grace: int
    token: str
    status: str = "ACTIVE"
    deployments: list[Deployment] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    dead: list[Task] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    last_completed: Deployment | None = None
    theirs: Mapping[str, Any] = field(default_factory=dict)  # what the team set of it
    # what reads that lag behind the last change still show, and how long they may
    before: dict[str, Any] | None = None
    changed: float = -math.inf
    lag: float = 0.0

    @property
    def arn(self) -> str:
        return f"{_ARN}:service/{self.cluster}/{self.name}"

    @property
    def breaker(self) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self.configuration.get("deploymentCircuitBreaker", {})
        return result

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    def described(self) -> dict[str, Any]:
        return {
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": f"{_ARN}:cluster/{self.cluster}",
            "status": self.status,
            "desiredCount": self.desired,
            "runningCount": sum(t.status == "RUNNING" for t in self.tasks),
            "pendingCount": sum(t.status in ("PROVISIONING", "PENDING") for t in self.tasks),
            "taskDefinition": self.deployments[0].revision if self.deployments else "",
            "deployments": [d.described() for d in self.deployments],
            "deploymentConfiguration": self.configuration,
            "networkConfiguration": self.network,
            "loadBalancers": self.balancers,
            **({"healthCheckGracePeriodSeconds": self.grace} if self.balancers else {}),
            "events": [
                {"id": str(i), "createdAt": moment(at), "message": f"(service {self.name}) {text}"}
                for i, (at, text) in reversed(list(enumerate(self.events[-100:])))
            ],
        }


class Ecs:
    """The clusters, task definitions, services and tasks of one account."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.clusters = {"coder"}
        self.revisions: dict[str, dict[str, Any]] = {}
        self.families: dict[str, list[str]] = {}
        self.services: dict[str, Service] = {}
        self.one_offs: dict[str, OneOff] = {}  # by the client token of their request
        self.numbers = 0
        self.no_room = False

    # What the API answers

    def describe_clusters(self, request: Mapping[str, Any]) -> dict[str, Any]:
        matches = [
            {"clusterName": name, "status": "ACTIVE"}
            for name in request["clusters"]
            if name in self.clusters
        ]
        return {"clusters": matches, "failures": []}

    def describe_services(self, request: Mapping[str, Any], stale: bool = False) -> dict[str, Any]:
        matches = []
        for name in request["services"]:
            service = self.services.get(name)
            if service is None:
                continue
            lags = self.world.engine.now - service.changed < (STALE if stale else service.lag)
            shown = service.before if lags else service.described()
            if shown is not None:
                matches.append(shown)
        return {"services": matches, "failures": []}

    def create_service(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["serviceName"]
        there = self.services.get(name)
        if there and there.status != "INACTIVE":
            same = there.token == request.get("clientToken")
            if there.status == "ACTIVE" and same:
                return {"service": there.described()}
            word = "not idempotent" if there.status == "ACTIVE" else "Unable to Start a service"
            raise AwsError(
                "InvalidParameterException", f"Creation of service was {word} that is still there."
            )
        self._must_run(request["taskDefinition"])
        self._must_serve(request["taskDefinition"], request.get("loadBalancers", []))
        service = self.services[name] = Service(
            name=name,
            cluster=request["cluster"],
            desired=request["desiredCount"],
            configuration=request["deploymentConfiguration"],
            limits=_limits(request),
            network=request["networkConfiguration"],
            balancers=request.get("loadBalancers", []),
            grace=request.get("healthCheckGracePeriodSeconds", 0),
            token=request.get("clientToken", ""),
        )
        self._changed(service, None)
        self._roll_out(service, request["taskDefinition"])
        return {"service": service.described()}

    def update_service(self, request: Mapping[str, Any]) -> dict[str, Any]:
        service = self.services.get(request["service"])
        if service is None or service.status != "ACTIVE":
            known = service is not None
            code = "ServiceNotActiveException" if known else "ServiceNotFoundException"
            raise AwsError(code, "Service was not ACTIVE." if known else "Service not found.")
        revision = request.get("taskDefinition", service.primary.revision)
        network = request.get("networkConfiguration", service.network)
        if "taskDefinition" in request:
            self._must_run(revision)
        self._must_serve(revision, request.get("loadBalancers", []))
        self._changed(service, service.described())
        if "desiredCount" in request:
            service.desired = request["desiredCount"]
        if "deploymentConfiguration" in request:
            service.configuration = request["deploymentConfiguration"]
            service.limits = _limits(request)
        service.balancers = request.get("loadBalancers", service.balancers)
        service.grace = request.get("healthCheckGracePeriodSeconds", service.grace)
        forced = request.get("forceNewDeployment", False)
        if forced or revision != service.primary.revision or network != service.network:
            service.network = network
            self._roll_out(service, revision)
        else:
            self.look(service)
        return {"service": service.described()}

    def delete_service(self, name: str) -> None:
        service = self.services[name]
        service.status, service.desired = "DRAINING", 0
        self.look(service)

    def register_task_definition(self, request: Mapping[str, Any]) -> dict[str, Any]:
        family = request["family"]
        arns = self.families.setdefault(family, [])
        arn = f"{_ARN}:task-definition/{family}:{len(arns) + 1}"
        arns.append(arn)
        definition = {k: v for k, v in request.items() if k != "tags"}
        self.revisions[arn] = {
            "taskDefinition": {**definition, "taskDefinitionArn": arn, "status": "ACTIVE"},
            "tags": request.get("tags", []),
        }
        return dict(self.revisions[arn])

    def describe_task_definition(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["taskDefinition"]
        active = [a for a in self.families.get(name, []) if self._active(a)]
        arn = active[-1] if active else name
        if arn not in self.revisions:
            raise AwsError("ClientException", "Unable to describe task definition.")
        return dict(self.revisions[arn])

    def list_tasks(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if "serviceName" not in request:
            return self._list_one_offs(request)
        service = self.services.get(request["serviceName"])
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        wanted = request["desiredStatus"] == "RUNNING"
        tasks = [t for t in self._seen(service) if t.wanted == wanted]
        first, size = int(request.get("nextToken", "0")), self.world.page or 100
        answer: dict[str, Any] = {"taskArns": [t.arn for t in tasks[first : first + size]]}
        if len(tasks) > first + size:
            answer["nextToken"] = str(first + size)
        return answer

    def describe_tasks(self, request: Mapping[str, Any]) -> dict[str, Any]:
        every: dict[str, Task | OneOff] = {
            t.arn: t for s in self.services.values() for t in self._seen(s)
        }
        every |= {t.arn: t for t in self._shown_one_offs()}
        return {"tasks": [every[arn].described() for arn in request["tasks"] if arn in every]}

    # Tasks of no service

    def run_task(self, request: Mapping[str, Any]) -> dict[str, Any]:
        token, now = request["clientToken"], self.world.engine.now
        there = self.one_offs.get(token)
        if there and (there.stopped is None or now - there.stopped < FORGOTTEN_AFTER):
            if there.request != request:
                raise AwsError("ConflictException", "other parameters", resourceIds=[there.arn])
            return {"tasks": [there.described()], "failures": []}
        self._must_run(request["taskDefinition"])
        definition = self.revisions[request["taskDefinition"]]["taskDefinition"]
        (override,) = request["overrides"]["containerOverrides"]
        image = next(
            c["image"] for c in definition["containerDefinitions"] if c["name"] == override["name"]
        )
        self.numbers += 1
        lag = self.world.plan_lag()
        task = OneOff(f"{self.numbers:032x}", dict(request), self.world.app_of(image), now, lag)
        self.world.invariants.ran(task)
        self.one_offs[token] = task
        self.world.trace("ecs", f"task {self.numbers} {task.which} of {task.release} is launched")
        self.world.engine.after(ATTACH + PULL, self._run_one_off, task, image)
        return {"tasks": [task.described()], "failures": []}

    def stop_task(self, request: Mapping[str, Any]) -> dict[str, Any]:
        task = next((t for t in self.one_offs.values() if t.arn == request["task"]), None)
        if task is None:
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        self.stop_one_off(task, request["reason"])
        return {"task": task.described()}

    def stop_one_off(self, task: OneOff, reason: str) -> None:
        """Tell a task to stop; it takes some seconds."""
        if task.wanted:
            task.wanted, task.stop_code, task.reason = False, "UserInitiated", reason
            self.world.engine.after(STOP, self._ended_one_off, task, "UserInitiated", reason, 143)

    def _list_one_offs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = request.get("desiredStatus", "RUNNING") == "RUNNING"
        arns = [
            task.arn
            for task in self._shown_one_offs()
            if task.wanted == wanted
            and request.get("startedBy", task.started_by) == task.started_by
            and request.get("family", task.family) == task.family
        ]
        page, following = self.world.paged(arns, request.get("nextToken"))
        return {"taskArns": page, **({"nextToken": following} if following else {})}

    def _shown_one_offs(self) -> list[OneOff]:
        now = self.world.engine.now
        return [
            task
            for task in self.one_offs.values()
            if now - task.created >= task.lag
            and (task.stopped is None or now - task.stopped < FORGOTTEN_AFTER)
        ]

    def _run_one_off(self, task: OneOff, image: str) -> None:
        if not task.wanted:
            return
        if self.no_room or not self.world.pullable(image):
            reason = "Timeout waiting for network interface provisioning to complete."
            if not self.no_room:
                reason = f"CannotPullContainerError: failed to resolve ref {image}: not found"
            self._ended_one_off(task, "TaskFailedToStart", reason, None)
            return
        task.status, task.started = "RUNNING", self.world.engine.now
        database = self.world.database
        life = task.app.task(task.which, database)
        if life.migrated is not None:
            self.world.engine.after(life.migrated, self._migrated_by, task, database)
        if life.exits is not None:
            reason = "Essential container in task exited"
            code = "EssentialContainerExited"
            self.world.engine.after(life.exits, self._exited_one_off, task, code, reason, life.code)

    def _migrated_by(self, task: OneOff, database: Database) -> None:
        if task.status == "RUNNING":
            self.world.migrated(task.app, database)

    def _exited_one_off(self, task: OneOff, code: str, reason: str, exit_code: int) -> None:
        if task.wanted:
            self._ended_one_off(task, code, reason, exit_code)

    def _ended_one_off(self, task: OneOff, code: str, reason: str, exit_code: int | None) -> None:
        task.wanted, task.stop_code, task.reason = False, code, reason
        task.status, task.stopped = "STOPPED", self.world.engine.now
        task.exit_code = exit_code if task.started is not None else None
        self.world.trace("ecs", f"task {task.which} of {task.release} stopped: {reason}")
        detail = {
            "clusterArn": f"{_ARN}:cluster/{task.request['cluster']}",
            "lastStatus": "STOPPED",
            "startedBy": task.started_by,
            "taskArn": task.arn,
            "stoppedReason": reason,
        }
        self.world.emit("ECS Task State Change", detail, [task.arn])

    def _seen(self, service: Service) -> list[Task]:
        since = self.world.engine.now - FORGOTTEN_AFTER
        return [t for t in service.dead if (t.stopped or 0) > since] + service.tasks

    def _active(self, arn: str) -> bool:
        return bool(self.revisions[arn]["taskDefinition"]["status"] == "ACTIVE")

    def _must_serve(self, arn: str, balancers: list[Any]) -> None:
        containers = self.revisions[arn]["taskDefinition"]["containerDefinitions"]
        ports = {
            c["name"]: [m["containerPort"] for m in c.get("portMappings", ())] for c in containers
        }
        for balancer in balancers:
            name, port = balancer["containerName"], balancer["containerPort"]
            if name not in ports:
                why = f"The container {name} does not exist in the task definition."
                raise AwsError("InvalidParameterException", why)
            if port not in ports[name]:
                why = f"The container {name} did not have a container port {port} defined."
                raise AwsError("InvalidParameterException", why)

    def _must_run(self, arn: str) -> None:
        if arn not in self.revisions or not self._active(arn):
            raise AwsError("ClientException", "TaskDefinition is inactive")

    def _changed(self, service: Service, before: dict[str, Any] | None) -> None:
        service.before, service.changed = before, self.world.engine.now
        service.lag = self.world.plan_lag()

    # What the scheduler does

    def _roll_out(self, service: Service, revision: str) -> None:
        self.numbers += 1
        deployment = Deployment(
            f"ecs-svc/{1000000000000000000 + self.numbers}",
            service,
            revision,
            service.network,
            self.world.engine.now,
        )
        for earlier in service.deployments:
            earlier.status = "ACTIVE"
        service.deployments.insert(0, deployment)
        self._state(deployment, "IN_PROGRESS", f"ECS deployment {deployment.id} in progress.")
        self.look(service)

    def _state(self, deployment: Deployment, state: str, why: str) -> None:
        deployment.state, deployment.why = state, why
        service = deployment.service
        self.world.trace("ecs", f"{deployment.id[-4:]} {state}: {why}")
        detail = {
            "eventName": f"SERVICE_DEPLOYMENT_{state}",
            "deploymentId": deployment.id,
            "reason": why,
        }
        self.world.emit("ECS Deployment State Change", detail, [service.arn])

    def look(self, service: Service) -> None:
        """One step of the scheduler: start and stop what may be started and stopped now."""
        if service.status == "INACTIVE":
            return
        if service.status == "DRAINING":
            for task in [t for t in service.tasks if t.wanted]:
                self.stop(task, "ServiceSchedulerInitiated", "Service deleted")
            if not service.tasks:
                service.status, service.deployments = "INACTIVE", []
            return
        primary = service.primary
        if primary.state != "FAILED" or not service.desired:
            self._balance(service, primary)
        self._settle(service, primary)
        self.world.checked(service)

    def _balance(self, service: Service, primary: Deployment) -> None:
        desired, now = service.desired, self.world.engine.now
        low, high = service.limits
        minimum, maximum = math.ceil(desired * low / 100), desired * high // 100
        new = [t for t in service.tasks if t.wanted and t.deployment is primary]
        old = [t for t in service.tasks if t.wanted and t.deployment is not primary]
        healthy = sum(self.healthy(service, t) for t in new)
        missing = max(0, desired - len(new))
        room = max(0, maximum - len(service.tasks))
        if missing and room:
            if primary.not_before > now:
                self._look_later(service, primary.not_before - now)
            else:
                for _ in range(min(missing, room)):
                    self._launch(service, primary)
        superfluous = max(len(old) - max(0, desired - healthy), min(missing - room, len(old)))
        standing = healthy + sum(self.healthy(service, t) for t in old)
        stopped = 0
        for task in sorted(old, key=lambda t: (self.healthy(service, t), t.number)):
            if stopped >= superfluous:
                break
            counts = self.healthy(service, task)
            if counts and standing <= minimum:
                break
            standing -= counts
            stopped += 1  # noqa: SIM113
            self._scale_away(task, primary)
        for task in sorted(new, key=lambda t: (t.status == "RUNNING", t.number))[
            : max(0, len(new) - desired)
        ]:
            self._scale_away(task, primary)

    def _look_later(self, service: Service, seconds: float) -> None:
        # a service that starts its broken task again and again does so for ever
        self.world.engine.after(seconds, self.look, service, background=seconds > 60)

    def _scale_away(self, task: Task, primary: Deployment) -> None:
        reason = f"Scaling activity initiated by (deployment {primary.id})"
        self.stop(task, "ServiceSchedulerInitiated", reason)

    def healthy(self, service: Service, task: Task) -> bool:
        """Whether a task counts: its checks passed, or it has none and ran for 40 s."""
        if task.status != "RUNNING" or task.started is None:
            return False
        if self._check(task) or service.balancers:
            passed = task.health == "HEALTHY" or not self._check(task)
            return passed and (task.target == "healthy" or not service.balancers)
        return self.world.engine.now - task.started >= COUNTED_AFTER

    def _check(self, task: Task) -> Mapping[str, Any] | None:
        definition = self.revisions[task.deployment.revision]["taskDefinition"]
        result: Mapping[str, Any] | None = definition["containerDefinitions"][0].get("healthCheck")
        return result

    def _settle(self, service: Service, primary: Deployment) -> None:
        new = [t for t in service.tasks if t.deployment is primary]
        healthy = [t for t in new if t.wanted and self.healthy(service, t)]
        rolling = primary.state == "IN_PROGRESS"
        for task in healthy:
            if rolling and not task.was_healthy and service.breaker.get("resetOnHealthyTask", True):
                primary.failed = 0
            task.was_healthy = True
        live = {t.deployment for t in service.tasks}
        kept = [
            d
            for d in service.deployments
            if d is primary or d in live or (d is service.last_completed and rolling)
        ]
        service.deployments = kept
        if rolling and len(healthy) == len(service.tasks) == service.desired:
            service.deployments, service.last_completed = [primary], primary
            primary.completed = self.world.engine.now
            service.events.append((self.world.engine.now, "has reached a steady state."))
            self._state(primary, "COMPLETED", f"ECS deployment {primary.id} completed.")

    def _fail(self, deployment: Deployment) -> None:
        """Count a failure of a task; at the threshold the circuit breaker acts."""
        service = deployment.service
        if deployment.state != "IN_PROGRESS":
            return
        deployment.failed += 1
        breaker = service.breaker
        if not breaker.get("enable") or deployment.failed < threshold(breaker, service.desired):
            return
        self._state(deployment, "FAILED", "ECS deployment circuit breaker: tasks failed to start.")
        target = service.last_completed
        if breaker.get("rollback") and target and target is not deployment:
            deployment.status, target.status, target.failed = "ACTIVE", "PRIMARY", 0
            rest = [d for d in service.deployments if d not in (target, deployment)]
            service.deployments = [target, deployment, *rest]
            service.network = target.network
            self._state(
                target,
                "IN_PROGRESS",
                f"ECS deployment circuit breaker: rolling back to deploymentId {target.id}.",
            )
            self.world.checked(service)

    # A task's life

    def _launch(self, service: Service, deployment: Deployment) -> None:
        self.numbers += 1
        definition = self.revisions[deployment.revision]["taskDefinition"]
        app = self.world.app_of(definition["containerDefinitions"][0]["image"])
        app = app.within(service.name)
        task = Task(f"{self.numbers:032x}", deployment, app, self.world.engine.now)
        service.tasks.append(task)
        self.world.trace("ecs", f"task {self.numbers} of {deployment.id[-4:]} is launched")
        self.world.engine.after(ATTACH + self.queued(), self._attached, task)

    def queued(self) -> float:
        """How long a launch waits for its turn, in seconds."""
        return 0.0

    def _attached(self, task: Task) -> None:
        if not task.wanted:
            return
        if self.no_room:
            self._ended(
                task,
                "TaskFailedToStart",
                "Timeout waiting for network interface provisioning to complete.",
            )
            return
        task.status = "PENDING"
        self.world.engine.after(PULL, self._pulled, task)

    def _pulled(self, task: Task) -> None:
        if not task.wanted:
            return
        definition = self.revisions[task.deployment.revision]["taskDefinition"]
        container = definition["containerDefinitions"][0]
        lost = [s for s in container.get("secrets", ()) if s["valueFrom"] in self.world.lost]
        if SEALED in task.deployment.network["awsvpcConfiguration"]["securityGroups"]:
            self._ended(
                task,
                "TaskFailedToStart",
                "ResourceInitializationError: unable to pull secrets or registry auth: unable to"
                " retrieve secret from asm: context deadline exceeded",
            )
            return
        if lost:
            self._ended(
                task,
                "TaskFailedToStart",
                "ResourceInitializationError: unable to pull secrets or registry auth: unable to"
                f" retrieve secret from asm: {lost[0]['valueFrom']}: ResourceNotFoundException",
            )
        elif not self.world.pullable(container["image"]):
            self._ended(
                task,
                "TaskFailedToStart",
                f"CannotPullContainerError: pull image manifest has been retried 1 time(s):"
                f" failed to resolve ref {container['image']}: not found",
            )
        elif task.app.fault == "busy-once" and not any(
            t.deployment is task.deployment for t in task.deployment.service.dead
        ):
            self._ended(
                task,
                "TaskFailedToStart",
                "CannotPullContainerError: pull image manifest has been retried 5 time(s):"
                " unexpected status: 429 Too Many Requests",
            )
        elif task.app.fault == "cannot-start":
            task.exit_code = None
            self._ended(task, "TaskFailedToStart", "CannotStartContainerError: exec format error")
        else:
            self._run(task)

    def _run(self, task: Task) -> None:
        engine, service = self.world.engine, task.deployment.service
        task.status, task.started = "RUNNING", engine.now
        task.deployment.failed_starts = 0
        task.database = self.world.database
        life = task.app.life(task.database, self.world.times_run(task.app))
        if life.exits is not None:
            engine.after(life.exits, self._exited, task, life.code, life.reason)
        if life.migrated is not None:
            engine.after(life.migrated, self._migrated, task)
        task.ready = None if life.ready is None else engine.now + life.ready
        check = self._check(task)
        if check:
            limit = check.get("startPeriod", 0) + check["retries"] * check["interval"]
            self._checked_at(task, life.ready, check["interval"], limit, self._health)
        if service.balancers:
            task.target = "initial"
            limit = max(service.grace, TARGET_INTERVAL * TARGET_FAILURES)
            self._checked_at(task, life.ready, TARGET_INTERVAL, limit, self._target)
        if not check and not service.balancers:
            engine.after(COUNTED_AFTER, self.look, service)
        self.look(service)

    def _checked_at(
        self, task: Task, ready: float | None, interval: float, limit: float, tell: Any
    ) -> None:
        passes = None if ready is None else interval * max(1, math.ceil(ready / interval))
        if passes is None or passes > limit:
            self.world.engine.after(limit, tell, task, False)
        else:
            self.world.engine.after(passes, tell, task, True)

    def _migrated(self, task: Task) -> None:
        if task.status == "RUNNING" and task.database:
            self.world.migrated(task.app, task.database)

    def _health(self, task: Task, passed: bool) -> None:
        if not task.wanted:
            return
        task.health = "HEALTHY" if passed else "UNHEALTHY"
        if not passed:
            task.failed_checks = True
            self.stop(task, "ServiceSchedulerInitiated", "Task failed container health checks")
        self.look(task.deployment.service)

    def _target(self, task: Task, passed: bool) -> None:
        if not task.wanted:
            return
        task.target = "healthy" if passed else "unhealthy"
        if not passed:
            task.failed_checks = True
            reason = "Task failed ELB health checks in (target-group coder)"
            self.stop(task, "ServiceSchedulerInitiated", reason)
        self.look(task.deployment.service)

    def _exited(self, task: Task, code: int, reason: str) -> None:
        if not task.wanted:
            return
        task.exit_code, task.container_reason = code, reason
        self._ended(task, "EssentialContainerExited", "Essential container in task exited")

    def stop(self, task: Task, code: str, reason: str) -> None:
        """Tell a task to stop; it takes some seconds."""
        if not task.wanted:
            return
        task.wanted, task.stop_code, task.reason = False, code, reason
        wait = STOP + (DEREGISTRATION if task.target else 0)
        if task.status == "RUNNING":
            task.status = "DEACTIVATING"
        self.world.engine.after(wait, self._ended, task, code, reason)

    def _ended(self, task: Task, code: str, reason: str) -> None:
        service, deployment = task.deployment.service, task.deployment
        task.wanted, task.stop_code, task.reason = False, code, reason
        task.status, task.stopped = "STOPPED", self.world.engine.now
        service.tasks.remove(task)
        service.dead.append(task)
        self.world.trace("ecs", f"task {task.number} stopped: {reason}")
        if deployment.status == "PRIMARY" and service.status == "ACTIVE":
            self._judge(task)
        cluster = f"{_ARN}:cluster/{service.cluster}"
        detail = {
            "clusterArn": cluster,
            "lastStatus": "STOPPED",
            "startedBy": deployment.id,
            "taskArn": task.arn,
            "stoppedReason": reason,
        }
        self.world.emit("ECS Task State Change", detail, [task.arn])
        self.look(service)

    def _judge(self, task: Task) -> None:
        """What the end of a task means for its deployment."""
        deployment, wait = task.deployment, RESTART
        if task.stop_code == "TaskFailedToStart":
            deployment.failed_starts += 1
            over = max(0, deployment.failed_starts - 2)
            wait = min(RESTART * 2.0 ** min(over, 20), LONGEST_WAIT)
            self._fail(deployment)
        elif task.failed_checks:
            self._fail(deployment)
        elif task.stop_code != "EssentialContainerExited":
            return
        deployment.not_before = self.world.engine.now + wait


def threshold(breaker: Mapping[str, Any], desired: int) -> int:
    """How many failures trip the circuit breaker."""
    given = breaker.get("thresholdConfiguration", {"type": "BOUNDED_PERCENT", "value": 50})
    if given["type"] == "COUNT":
        return int(given["value"])
    count: int = math.ceil(given["value"] * desired / 100)
    return count if given["type"] == "UNBOUNDED_PERCENT" else min(200, max(3, count))


def _limits(request: Mapping[str, Any]) -> tuple[int, int]:
    given = request.get("deploymentConfiguration", {})
    return given.get("minimumHealthyPercent", 100), given.get("maximumPercent", 200)
