"""How soon an execution goes on after ECS says that the rollout is steady, and in how many steps.

All rollouts run at the same time and differ in length, so that a waiter's polls meet their ends at
any phase, as those of real rollouts would.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.executions import Execution
from local import image
from local.stage import Stage

# A slow start may take as long as it needs. Each check is a process, which the cores must bear.
_HEALTH_CHECK = {"interval": 10, "timeout": 3, "startPeriod": 300}
_EVENTS = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Deployment State Change", "ECS Task State Change"],
}
_LIMIT = timedelta(seconds=60)


@dataclass(frozen=True)
class Rollout:
    """One rollout as it was seen.

    Attributes:
        length: seconds from asking ECS for it to its end.
        lag: seconds from its end, as ECS's event tells it, to the state after "Is it steady?".
        waiter: the same for boto3's `services_stable` waiter, begun with the rollout; None if
            there was none.
        transitions: states entered by the execution.
        invocations: of Lambda functions by the execution.
        wakes: of the function that ECS's events invoke.
    """

    length: float
    lag: float
    waiter: float | None
    transitions: int
    invocations: int
    wakes: int


@dataclass
class Observer:
    """Hears ECS's events from a queue, and starts a waiter with each rollout."""

    stage: Stage
    queue: str
    waited: set[str]
    wakes: list[dict[str, Any]] = field(default_factory=list)
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
                self.wakes.append(event)
            return ""
        if detail["eventName"] == "SERVICE_DEPLOYMENT_IN_PROGRESS":
            if service in self.waited:
                self._threads.append(threading.Thread(target=self._wait, args=(service,)))
                self._threads[-1].start()
            return ""
        self.wakes.append(event)
        return service if detail["eventName"] == "SERVICE_DEPLOYMENT_COMPLETED" else ""

    def _wait(self, service: str) -> None:
        waiter = self.stage.aws.client("ecs").get_waiter("services_stable")
        waiter.wait(cluster=self.stage.cluster, services=[service])
        self.waiters[service] = datetime.now(UTC)

    def seen(self, stage: Stage, execution: Execution, began: datetime) -> Rollout:
        """What was seen of the rollout of an execution that has ended."""
        if execution.status != "SUCCEEDED":
            raise RuntimeError(f"{stage.service}: {execution.error}: {execution.cause}")
        entered = {state.name: state for state in execution.states}
        rollout = entered["Update service"].output["id"]
        wakes = [
            event
            for event in self.wakes
            if _service_of(event) == stage.service
            and datetime.fromisoformat(event["detail"]["updatedAt"]) > began
        ]
        told = next(event for event in wakes if event["detail"].get("deploymentId") == rollout)
        ended = datetime.fromisoformat(told["detail"]["updatedAt"])
        asked = began + timedelta(seconds=entered["Update service"].at)
        went_on = began + timedelta(seconds=entered["Fetch addresses"].at)
        waited = self.waiters.get(stage.service)
        return Rollout(
            length=(ended - asked).total_seconds(),
            lag=(went_on - ended).total_seconds(),
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
    """`real` with the state machine as it is; `scaled` with a poll's minute shrunk to a second."""

    real: Sequence[Rollout]
    scaled: Sequence[Rollout]


def measure(stage: Stage, observer: Observer, count: int, minutes: Sequence[int]) -> Reaction:
    """Run `count` rollouts of up to 14 s beside waiters, and one for each of `minutes`, scaled."""
    machine, sfn = _scaled(stage), stage.aws.client("stepfunctions")
    services = [_beside(stage, f"bench-{number}") for number in range(count + len(minutes))]
    real, scaled = services[:count], services[count:]
    for arn in [service.started_by(service.release("1.0.0")) for service in services]:
        stage.ended(arn)
    observer.hear([service.service for service in services])
    observer.waited = {service.service for service in real}
    started = [
        service.started_by(service.release("1.1.0", fault="slow-start", seconds=14 * n / count))
        for n, service in enumerate(real)
    ]
    for service, length in zip(scaled, minutes, strict=True):
        what = image.demo_release("1.1.0", fault="slow-start", seconds=length)
        service.push(what, "by-hand")  # a tag that no push deploys
        order = {"action": "deploy", "service": service.service, "image": "by-hand"}
        begun = sfn.start_execution(stateMachineArn=machine, input=json.dumps(order))
        started.append(begun["executionArn"])
    observer.hear([service.service for service in services])
    seen = []
    for service, arn in zip(services, started, strict=True):
        ended = service.ended(arn)
        begun = sfn.describe_execution(executionArn=arn)["startDate"]
        seen.append(observer.seen(service, ended, begun))
        service.end()
    return Reaction(seen[:count], seen[count:])


def _beside(stage: Stage, name: str) -> Stage:
    check = json.loads(stage._surroundings()["HealthCheck"]) | _HEALTH_CHECK
    # `rolling`, since with `recreate` the waiter returns before the new task is healthy
    return stage.beside(name, HealthCheck=json.dumps(check), Strategy="rolling")


def _scaled(stage: Stage) -> str:
    """A copy of the state machine whose slow poll comes each second instead of each minute.

    In a role of its own: the deployer's trusts Step Functions for the original only.
    """
    sfn, iam = stage.aws.client("stepfunctions"), stage.aws.client("iam")
    machine = sfn.describe_state_machine(stateMachineArn=stage.outputs["StateMachine"])
    definition = json.loads(machine["definition"])
    for state in definition["States"].values():
        if state.get("Resource", "").endswith(".waitForTaskToken"):
            state["TimeoutSeconds"] //= 60
    original, role = machine["roleArn"].rpartition("/")[2], f"{stage.stack}-scaled"
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}}
    document = {"Version": "2012-10-17", "Statement": [trust | {"Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(document))["Role"]
    policy = iam.get_role_policy(RoleName=original, PolicyName="Own")["PolicyDocument"]
    iam.put_role_policy(RoleName=role, PolicyName="Own", PolicyDocument=json.dumps(policy))
    made = sfn.create_state_machine(
        name="scaled", definition=json.dumps(definition), roleArn=arn["Arn"]
    )
    return str(made["stateMachineArn"])
