"""The life of a task, from PROVISIONING to STOPPED, with real processes as its containers.

AmazonECS/latest/developerguide/task-lifecycle-explanation.html (states), healthcheck.html. The
version counts as it was seen on Fargate: 1 PROVISIONING, 2 PENDING, 3 RUNNING, 4 asked to stop,
5 DEPROVISIONING, 6 STOPPED; each of them is an event.
"""

import contextvars
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import ecs

from local_aws.shims import containers, ecs_agent, ecs_events, load_balancer, network

_log = logging.getLogger("local_aws.ecs")

# Guards MiniStack's stores of tasks and services. Held for changes only, never while waiting.
lock = threading.RLock()
running: dict[str, "Task"] = {}
"""The tasks that have not stopped yet, by ARN."""
watchers: list[Callable[["Task"], None]] = []
"""Called, under `lock`, after every change of a task's record."""

# Fargate's interval is at least 5 s; 0.2 makes a check with that interval run every second.
_HEALTH_SCALE = float(os.environ.get("ECS_HEALTH_CHECK_SCALE", "1"))
_STOP_TIMEOUT = 30.0  # of containers whose definition has no stopTimeout


class Task:
    """A task and the thread that lives its life. `record` is what DescribeTasks shows."""

    def __init__(
        self,
        record: dict[str, Any],
        definition: dict[str, Any],
        network_configuration: dict[str, Any],
    ) -> None:
        self.record = record
        self.arn: str = record["taskArn"]
        self.definition = definition
        self.running_since: float | None = None
        self._essential = {c["name"] for c in self._definitions() if c.get("essential", True)}
        # Docker's command NONE means none.
        self._checks: dict[str, dict[str, Any]] = {
            c["name"]: check
            for c in self._definitions()
            if (check := c.get("healthCheck")) and check["command"] != ["NONE"]
        }
        # The scheduler's notes.
        self.was_healthy = False
        self.failed_health_checks = False
        self.judged = False
        self._network = network_configuration
        self._account: str = get_account_id()
        self._region: str = get_region()
        self._interface: network.Interface | None = None
        self._containers: dict[str, containers.Container] = {}
        self._inbox: queue.SimpleQueue[tuple[str, int | None]] = queue.SimpleQueue()
        self._stopping = threading.Event()

    @property
    def wanted(self) -> bool:
        """Whether it is to run: False from the moment something decided that it stops."""
        return bool(self.record["desiredStatus"] == "RUNNING")

    @property
    def checked(self) -> bool:
        """Whether an essential container has a health check."""
        return not self._essential.isdisjoint(self._checks)

    @property
    def passed(self) -> bool:
        """Whether all those health checks have passed. The task's healthStatus would not do: it
        is UNKNOWN for ever beside an essential container that has no check."""
        checked = self._essential & self._checks.keys()
        return all(self._container(name)["healthStatus"] == "HEALTHY" for name in checked)

    def start(self) -> None:
        """Begin, in a thread of its own. The record must be stored already."""
        with lock:
            running[self.arn] = self
            self._publish()
        threading.Thread(target=self._live, name=f"task-{self.arn[-8:]}", daemon=True).start()

    def stop(self, reason: str, code: str) -> None:
        """Decide that it stops. Its containers are stopped by its own thread; does not wait."""
        with lock:
            if not self.wanted:
                return
            self._change(
                desiredStatus="STOPPED",
                stoppedReason=reason,
                stopCode=code,
                stoppingAt=ecs_events.now(),
            )
        self._stopping.set()
        self._inbox.put(("", None))

    def _live(self) -> None:
        with request_scope(self._account, self._region):
            try:
                self._start()
                self._watch()
            except _Failed as failed:
                self.stop(str(failed), "TaskFailedToStart")
            except Exception as error:
                _log.exception("task %s", self.arn)
                self.stop(f"InternalError: {error}", "TaskFailedToStart")
            self._shut_down()

    # Starting

    def _start(self) -> None:
        if self.definition["networkMode"] == "awsvpc":
            self._interface = network.attach(self._network)
            attachment = self._interface.describe("ATTACHED")
            with lock:
                self.record["attachments"] = [attachment]
                self.record["availabilityZone"] = self._interface.zone
                for container in self.record["containers"]:
                    container["networkInterfaces"] = [
                        {
                            "attachmentId": self._interface.attachment,
                            "privateIpv4Address": self._interface.address,
                        }
                    ]
        with lock:
            if not self.wanted:
                return
            self._change(lastStatus="PENDING")
        try:
            self._start_containers()
        except ecs_agent.InitializationError as error:
            raise _Failed(f"ResourceInitializationError: {error}") from error
        with lock:
            if not self.wanted:
                return
            self.running_since = time.monotonic()
            self._change(lastStatus="RUNNING", startedAt=ecs_events.now())
        for name, check in self._checks.items():
            self._in_background(self._check_health, name, check)

    def _start_containers(self) -> None:
        agent = ecs_agent.Agent(
            self._account, self._region, self.definition.get("executionRoleArn") or ""
        )
        secrets = {c["name"]: agent.secrets(c) for c in self._definitions()}
        agent.log_in()
        logs = {c["name"]: self._open_log(agent, c) for c in self._definitions()}
        with lock:
            self.record.update(lastStatus="ACTIVATING", pullStartedAt=ecs_events.now())
        images = {}
        for definition in self._definitions():
            name = definition["name"]
            try:
                images[name] = containers.images.pull(
                    definition["image"], self._architecture(), agent
                )
            except containers.PullError as error:
                self._fail(name, f"CannotPullContainerError: {error}")
            self._container(name)["imageDigest"] = images[name].digest
        with lock:
            self.record["pullStoppedAt"] = ecs_events.now()
        for definition in self._definitions():
            if self._stopping.is_set():
                return
            name = definition["name"]
            try:
                self._run(definition, images[name], secrets[name], logs[name])
            except containers.StartError as error:
                self._fail(name, f"CannotStartContainerError: {error}")

    def _run(
        self,
        definition: dict[str, Any],
        image: containers.Image,
        secrets: dict[str, str],
        write: Callable[[str], None],
    ) -> None:
        name = definition["name"]
        override = self._override(name)
        environment = {pair["name"]: pair["value"] for pair in definition.get("environment") or []}
        environment |= secrets
        environment |= {pair["name"]: pair["value"] for pair in override.get("environment") or []}
        started = containers.Container(
            image,
            address=self._address,
            entrypoint=definition.get("entryPoint"),
            command=override.get("command") or definition.get("command"),
            working_directory=definition.get("workingDirectory"),
            environment=self._platform_environment() | environment,
            write=write,
            ended=lambda code: self._inbox.put((name, code)),
        )
        agent = {"name": "ExecuteCommandAgent", "lastStatus": "RUNNING"}
        with lock:
            self._containers[name] = started
            self._container(name).update(
                lastStatus="RUNNING",
                runtimeId=f"{self.arn.rsplit('/', 1)[-1]}-{int(started.id[:8], 16)}",
                **({"managedAgents": [agent]} if self.record["enableExecuteCommand"] else {}),
            )

    def _platform_environment(self) -> dict[str, str]:
        """What Fargate puts into every container, and the task role's credentials."""
        role = self.definition.get("taskRoleArn")
        return {
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_ENDPOINT_URL": ecs_agent.endpoint(),
        } | (ecs_agent.credentials(role) if role else {})

    def _open_log(
        self, agent: ecs_agent.Agent, definition: dict[str, Any]
    ) -> Callable[[str], None]:
        task = self.arn.rsplit("/", 1)[-1]
        config = ecs._awslogs_config(definition, task, task)
        if not config:
            return lambda line: None
        agent.open_log(config["group"], config["stream"], create_group=config["create_group"])
        if not agent.may_write(config["group"], config["stream"]):
            return lambda line: None

        def write(line: str) -> None:
            with request_scope(self._account, self._region):
                ecs._emit_awslogs_event(config, line)

        return write

    # Running

    def _watch(self) -> None:
        """Until it is to stop, or an essential container ends, or all do."""
        ended: set[str] = set()
        while not self._stopping.is_set():
            name, code = self._inbox.get()
            if code is None:
                continue
            ended.add(name)
            over = name in self._essential or len(ended) == len(self._containers)
            with lock:
                self._container(name).update(lastStatus="STOPPED", exitCode=code)
                if not over:
                    self._change()
            if over:
                self.stop("Essential container in task exited", "EssentialContainerExited")

    def _check_health(self, name: str, check: dict[str, Any]) -> None:
        """Docker's rules: the first check after an interval, `retries` failures in a row are
        UNHEALTHY, failures within the start period do not count until one check succeeded."""
        interval = (check.get("interval") or 30) * _HEALTH_SCALE
        grace = time.monotonic() + (check.get("startPeriod") or 0) * _HEALTH_SCALE
        failures = 0
        container = self._containers[name]
        while not self._stopping.wait(interval) and container.exit_code is None:
            code = container.run(check["command"], check.get("timeout") or 5)
            if code == 0 and not self._another_answers():
                failures, grace = 0, 0.0
                self._set_health(name, "HEALTHY")
            elif time.monotonic() >= grace:
                failures += 1
                if failures >= (check.get("retries") or 3):
                    self._set_health(name, "UNHEALTHY")

    def _another_answers(self) -> bool:
        mappings = (m for c in self._definitions() for m in c.get("portMappings") or [])
        return any(network.another_answers(self._address, m["containerPort"]) for m in mappings)

    def _set_health(self, name: str, status: str) -> None:
        with lock:
            container = self._container(name)
            if self.wanted and container["healthStatus"] != status:
                container["healthStatus"] = status
                statuses = {self._container(name)["healthStatus"] for name in self._essential}
                worst = next(s for s in ("UNHEALTHY", "UNKNOWN", "HEALTHY") if s in statuses)
                self._change(healthStatus=worst)

    # Stopping

    def _shut_down(self) -> None:
        if self.running_since is not None:
            with lock:
                self.record["lastStatus"] = "DEACTIVATING"
                self._tell()  # which takes it out of its target groups
            if self._interface:
                load_balancer.wait_until_idle(self._interface.address)
        with lock:
            self.record["lastStatus"] = "STOPPING"  # which is no event
        stopping = [
            self._in_background(
                self._containers[container["name"]].stop,
                container.get("stopTimeout") or _STOP_TIMEOUT,
            )
            for container in self._definitions()
            if container["name"] in self._containers
        ]
        for thread in stopping:
            thread.join()
        with lock:
            self.record["executionStoppedAt"] = ecs_events.now()
            for container in self.record["containers"]:
                container["lastStatus"] = "STOPPED"
                if started := self._containers.get(container["name"]):
                    container["exitCode"] = started.exit_code
            self._change(lastStatus="DEPROVISIONING")
        if self._interface:
            network.detach(self._interface)
            with lock:
                for attachment in self.record["attachments"]:
                    attachment["status"] = "DELETED"
        with lock:
            running.pop(self.arn, None)
            self._change(lastStatus="STOPPED", stoppedAt=ecs_events.now())

    # Helpers

    def _change(self, **fields: Any) -> None:
        self.record.update(fields)
        self.record["version"] += 1
        self._publish()

    def _publish(self) -> None:
        ecs_events.task_changed(self.record)
        self._tell()

    def _tell(self) -> None:
        for watcher in watchers:
            watcher(self)

    def _fail(self, container: str, reason: str) -> None:
        with lock:
            self._container(container)["reason"] = reason
        raise _Failed(reason)

    def _definitions(self) -> list[dict[str, Any]]:
        return self.definition["containerDefinitions"]

    def _container(self, name: str) -> dict[str, Any]:
        return next(c for c in self.record["containers"] if c["name"] == name)

    @property
    def _address(self) -> str:
        return self._interface.address if self._interface else "127.0.0.1"

    def _override(self, name: str) -> dict[str, Any]:
        overrides = self.record["overrides"].get("containerOverrides") or []
        return next((o for o in overrides if o.get("name") == name), {})

    def _architecture(self) -> str:
        return (self.definition.get("runtimePlatform") or {}).get("cpuArchitecture") or "X86_64"

    def _in_background(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        run = contextvars.copy_context().run  # account and region
        thread = threading.Thread(target=run, args=(target, *arguments), daemon=True)
        thread.start()
        return thread


class _Failed(Exception):
    """The task cannot start; the message is its stoppedReason."""


def launch(
    definition: dict[str, Any],
    *,
    cluster: str,
    group: str,
    started_by: str,
    network_configuration: dict[str, Any] | None,
    capacity: tuple[str, str | None],
    platform_version: str | None,
    execute_command: bool,
    overrides: dict[str, Any] | None = None,
    tags: list[dict[str, str]] | None = None,
) -> Task:
    """Start a task in the account and region of the request scope.

    Args:
        cluster: its ARN.
        capacity: the launch type, and the capacity provider if it has one.
    """
    owner = f"arn:aws:ecs:{get_region()}:{get_account_id()}"
    identifier = uuid.uuid4().hex
    place = f"{cluster.rsplit('/', 1)[-1]}/{identifier}"
    arn = f"{owner}:task/{place}"
    launch_type, capacity_provider = capacity
    fargate = launch_type == "FARGATE"
    now = ecs_events.now()
    version = platform_version if platform_version not in (None, "", "LATEST") else "1.4.0"
    record = {
        "attachments": [],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "availabilityZone": f"{get_region()}a",
        "capacityProviderName": capacity_provider,
        "clusterArn": cluster,
        "connectivity": "CONNECTED",
        "connectivityAt": now,
        "containers": [
            {
                "containerArn": f"{owner}:container/{place}/{uuid.uuid4()}",
                "taskArn": arn,
                "name": container["name"],
                "image": container["image"],
                "lastStatus": "PENDING",
                "networkInterfaces": [],
                "healthStatus": "UNKNOWN",
                "cpu": str(container.get("cpu") or 0),
            }
            | ({"memory": str(container["memory"])} if container.get("memory") else {})
            for container in definition["containerDefinitions"]
        ],
        "cpu": definition.get("cpu"),
        "createdAt": now,
        "desiredStatus": "RUNNING",
        "enableExecuteCommand": execute_command,
        "group": group,
        "healthStatus": "UNKNOWN",
        "lastStatus": "PROVISIONING",
        "launchType": launch_type,
        "memory": definition.get("memory"),
        "overrides": {
            "containerOverrides": [{"name": c["name"]} for c in definition["containerDefinitions"]],
            "inferenceAcceleratorOverrides": [],
        }
        | (overrides or {}),
        "platformVersion": version if fargate else None,
        "platformFamily": "Linux" if fargate else None,
        "startedBy": started_by,
        "tags": tags or [],
        "taskArn": arn,
        "taskDefinitionArn": definition["taskDefinitionArn"],
        "version": 1,
        "ephemeralStorage": definition.get("ephemeralStorage") or {"sizeInGiB": 20},
        "_container_ip": None,
    }
    configuration = (network_configuration or {}).get("awsvpcConfiguration") or {}
    task = Task(record, definition, configuration)
    with lock:
        ecs._tasks[arn] = record
        if tags:
            ecs._tags[arn] = list(tags)
        task.start()
    return task
