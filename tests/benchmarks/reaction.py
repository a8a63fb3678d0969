"""How soon the state machine goes on after ECS says that a rollout is steady or that a task of it
failed, beside boto3's waiter and ecs-deploy; and how many steps it takes.

All rollouts run at the same time and differ in length, so that the polls of a waiter meet their
ends at any phase, as those of real rollouts would.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.executions import Execution
from demo import oci as image
from demo.image import demo_release
from demo.stage import Stage
from tests.benchmarks.peers import EcsDeploy

# A slow start may take as long as it needs. Each check is a process, which the cores must bear.
_HEALTH_CHECK = {"interval": 10, "timeout": 3, "startPeriod": 300}
_EVENTS = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Deployment State Change", "ECS Task State Change"],
}
_LIMIT = timedelta(seconds=120)
_SCALED_MINUTE = 2  # seconds; shorter ones would count what the rollout takes here besides


@dataclass(frozen=True)
class Rollout:
    """One rollout as it was seen.

    Attributes:
        length: seconds from asking ECS for it to its end.
        lag: seconds from its end, by ECS's event, to the state after "Is it steady?".
        own: seconds of the whole execution without those.
        heard: seconds from its end to the arrival of ECS's event in a queue.
        waiter: as `lag`, for boto3's `services_stable` waiter, begun with the rollout; None if
            there was none.
        transitions: states entered by the execution.
        invocations: of Lambda functions by the execution.
        wakes: events of ECS that woke it, or could have.
    """

    length: float
    lag: float
    own: float
    heard: float
    waiter: float | None
    transitions: int
    invocations: int
    wakes: int


@dataclass(frozen=True)
class Failure:
    """What became of a release that can never start, in seconds after its first task stopped.

    Attributes:
        named: until the execution knows the cause.
        heard: until ECS's event arrives in a queue.
        ecs_deploy: until ecs-deploy ends with an error; None if it says that all is well.
        waiter: until boto3's waiter returns, which it does without an error: ECS has put the
            release before back by then.
    """

    named: float
    heard: float
    ecs_deploy: float | None
    waiter: float


@dataclass
class Observer:
    """Hears ECS's events from a queue, and starts a waiter with each rollout."""

    stage: Stage
    queue: str
    waited: set[str]
    wakes: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    waiters: dict[str, datetime] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def listening(cls, stage: Stage) -> "Observer":
        """One that hears everything from now on."""
        sqs, events = stage.aws.client("sqs"), stage.aws.client("events")
        queue = sqs.create_queue(QueueName="benchmark")["QueueUrl"]
        arn = f"arn:aws:sqs:{stage.aws.region}:{stage.aws.account}:benchmark"
        events.put_rule(Name="benchmark", EventPattern=json.dumps(_EVENTS))
        events.put_targets(Rule="benchmark", Targets=[{"Id": "queue", "Arn": arn}])
        return cls(stage, queue, set())

    def hear(self, services: Sequence[str]) -> None:
        """Listen until each of these services completed a rollout and the waiters returned."""
        sqs, rolling = self.stage.aws.client("sqs"), set(services)
        until = datetime.now(UTC) + _LIMIT
        while rolling:
            if datetime.now(UTC) > until:
                raise TimeoutError(f"the rollouts of {rolling} did not complete within {_LIMIT}")
            heard = sqs.receive_message(
                QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
            ).get("Messages", [])
            for message in heard:
                rolling.discard(self._hear(json.loads(message["Body"])))
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        for thread in self._threads:
            thread.join()

    def _hear(self, event: dict[str, Any]) -> str:
        """Note an event; the service whose rollout it completes, if it does."""
        detail, service = event["detail"], event["resources"][0].rsplit("/", 1)[-1]
        if event["detail-type"] == "ECS Task State Change":
            if detail["lastStatus"] == "STOPPED":
                self.wakes.append((datetime.now(UTC), event))
            return ""
        if detail["eventName"] == "SERVICE_DEPLOYMENT_IN_PROGRESS":
            if service in self.waited:
                self.waited.discard(service)
                self._threads.append(threading.Thread(target=self._wait, args=(service,)))
                self._threads[-1].start()
            return ""
        self.wakes.append((datetime.now(UTC), event))
        return service if detail["eventName"] == "SERVICE_DEPLOYMENT_COMPLETED" else ""

    def _wait(self, service: str) -> None:
        waiter = self.stage.aws.client("ecs").get_waiter("services_stable")
        waiter.wait(cluster=self.stage.cluster, services=[service])
        self.waiters[service] = datetime.now(UTC)

    def wakes_of(self, service: str, since: datetime) -> list[tuple[datetime, datetime, Any]]:
        """The events of a service since a moment: when each arrived, when it happened, and it."""
        matches = [
            (heard, datetime.fromisoformat(event["detail"]["updatedAt"]), event)
            for heard, event in self.wakes
            if _service_of(event) == service
        ]
        return [entry for entry in matches if entry[1] > since]

    def steady(self, service: str, since: datetime) -> datetime:
        """When ECS completed a rollout of a service that began after a moment."""
        completed = "SERVICE_DEPLOYMENT_COMPLETED"
        return next(
            happened
            for _, happened, event in self.wakes_of(service, since)
            if event["detail"].get("eventName") == completed
        )

    def seen(self, stage: Stage, execution: Execution, began: datetime) -> Rollout:
        """What was seen of the rollout of an execution that has ended."""
        if execution.status != "SUCCEEDED":
            raise RuntimeError(f"{stage.service}: {execution.error}: {execution.cause}")
        entered = {state.name: state for state in execution.states}
        rollout = entered["Update service"].output["id"]
        wakes = self.wakes_of(stage.service, began)
        heard, ended, _ = next(w for w in wakes if w[2]["detail"].get("deploymentId") == rollout)
        request = began + timedelta(seconds=entered["Update service"].at)
        went_on = began + timedelta(seconds=entered["Fetch addresses"].at)
        waited = self.waiters.get(stage.service)
        length = (ended - request).total_seconds()
        return Rollout(
            length=length,
            lag=(went_on - ended).total_seconds(),
            own=execution.seconds - length,
            heard=(heard - ended).total_seconds(),
            waiter=(waited - ended).total_seconds() if waited else None,
            transitions=len(execution.states),
            invocations=sum(state.kind == "Task" for state in execution.states),
            wakes=len(wakes),
        )


def _service_of(event: Mapping[str, Any]) -> str:
    group = event["detail"].get("group", "")
    return str(group.removeprefix("service:") or event["resources"][0].rsplit("/", 1)[-1])


@dataclass(frozen=True)
class Reaction:
    """`real` with the state machine as it is; `scaled` with a minute shrunk to two seconds;
    `ecs_deploy` its lags."""

    real: Sequence[Rollout]
    scaled: Sequence[Rollout]
    ecs_deploy: Sequence[float]


def measure(stage: Stage, observer: Observer, count: int, minutes: Sequence[int]) -> Reaction:
    """Run `count` rollouts of up to 14 s beside waiters, as many by ecs-deploy, and one for each of
    `minutes`, scaled."""
    machine, sfn = _scaled(stage), stage.aws.client("stepfunctions")
    names = [f"bench-{number}" for number in range(2 * count + len(minutes))]
    services = [_beside(stage, name) for name in names]
    real, theirs, scaled = services[:count], services[count : 2 * count], services[2 * count :]
    for service in services:  # one after the other: a machine has two cores
        service.deployed("1.0.0")
    observer.hear(names)
    observer.waited = {service.service for service in real}
    began = datetime.now(UTC)
    started, peers = [], []
    for n, (ours, peer) in enumerate(zip(real, theirs, strict=True)):
        slow = demo_release("1.1.0", fault="slow-start", seconds=14 * n / count)
        started.append(ours.started_by(ours.push(slow, "1.1.0")))
        peers.append(EcsDeploy.rolling_out(peer, slow))
    for service, length in zip(scaled, minutes, strict=True):
        seconds = length * _SCALED_MINUTE
        what = demo_release("1.1.0", fault="slow-start", seconds=seconds)
        service.push(what, "by-hand")  # a tag that no push deploys
        command = {"action": "deploy", "service": service.service, "image": "by-hand"}
        begun = sfn.start_execution(stateMachineArn=machine, input=json.dumps(command))
        started.append(begun["executionArn"])
    observer.hear(names)
    seen, lags = [], []
    for service, arn in zip([*real, *scaled], started, strict=True):
        ended = service.ended(arn)
        begun = sfn.describe_execution(executionArn=arn)["startDate"]
        seen.append(observer.seen(service, ended, begun))
    for run in peers:
        run.join()
        if not run.succeeded:
            raise RuntimeError(f"ecs-deploy: {run.said[-2000:]}")
        steady = observer.steady(run.stage.service, began)
        lags.append((run.ended - steady).total_seconds())
    for service in services:
        service.end()
    return Reaction(seen[:count], seen[count:], lags)


def measure_failure(stage: Stage, observer: Observer) -> Failure:
    """Release what cannot start, by the deployer, by ecs-deploy and beside a waiter."""
    services = [_beside(stage, f"bench-bad-{who}") for who in ("ours", "peer")]
    for service in services:  # one after the other: a machine has two cores
        service.deployed("1.0.0")
    observer.hear([service.service for service in services])
    ours, theirs = services
    observer.waited = {ours.service}
    began = datetime.now(UTC)
    broken = image.Image.build(
        image.Layer.of({"/nothing": b""}),
        entrypoint=["/no-such-program"],
        labels=demo_release("1.1.0").config["config"]["Labels"],
    )
    run = EcsDeploy.rolling_out(theirs, broken)
    execution = ours.ended(ours.started_by(ours.push(broken, "1.1.0")))
    run.join()
    observer.hear([ours.service])  # ECS completes the rollout of the release before, once more
    begun = stage.aws.client("stepfunctions").describe_execution(executionArn=execution.arn)[
        "startDate"
    ]
    heard, stopped = _first_stop(observer, ours.service, began)
    _, peers_stopped = _first_stop(observer, theirs.service, began)
    diagnosed = next(state for state in execution.states if state.name == "Diagnose failure")
    named = begun + timedelta(seconds=diagnosed.left or 0)
    for service in services:
        service.end()
    return Failure(
        named=(named - stopped).total_seconds(),
        heard=(heard - stopped).total_seconds(),
        ecs_deploy=None if run.succeeded else (run.ended - peers_stopped).total_seconds(),
        waiter=(observer.waiters[ours.service] - stopped).total_seconds(),
    )


def _first_stop(observer: Observer, service: str, since: datetime) -> tuple[datetime, datetime]:
    """When the first failed task of a service stopped since a moment, heard and happened."""
    return next(
        (heard, happened)
        for heard, happened, event in observer.wakes_of(service, since)
        if event["detail"].get("stopCode") == "TaskFailedToStart"
    )


def _beside(stage: Stage, name: str) -> Stage:
    check = json.loads(stage._surroundings()["HealthCheck"]) | _HEALTH_CHECK
    # `rolling`, since with `recreate` the waiter returns before the new task is healthy
    return stage.beside(name, HealthCheck=json.dumps(check), Strategy="rolling")


def _scaled(stage: Stage) -> str:
    """A copy of the state machine whose slow poll comes in scaled time.

    In a role of its own: the deployer's trusts Step Functions for the original only.
    """
    sfn, iam = stage.aws.client("stepfunctions"), stage.aws.client("iam")
    machine = sfn.describe_state_machine(stateMachineArn=stage.outputs["StateMachine"])
    definition = json.loads(machine["definition"])
    for state in definition["States"].values():
        if state.get("Resource", "").endswith(".waitForTaskToken"):
            state["TimeoutSeconds"] = state["TimeoutSeconds"] * _SCALED_MINUTE // 60
    original, role = machine["roleArn"].rpartition("/")[2], f"{stage.stack}-scaled"
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}}
    document = {"Version": "2012-10-17", "Statement": [trust | {"Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(document))["Role"]
    policy = iam.get_role_policy(RoleName=original, PolicyName="Own")["PolicyDocument"]
    iam.put_role_policy(RoleName=role, PolicyName="Own", PolicyDocument=json.dumps(policy))
    rendered = sfn.create_state_machine(
        name="scaled", definition=json.dumps(definition), roleArn=arn["Arn"]
    )
    return str(rendered["stateMachineArn"])
