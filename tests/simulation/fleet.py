"""A fleet: many services of one deployer, pushed within a minute, under AWS's documented quotas.

One table, one cluster, one Reconcile and one virtual clock; each call goes to the repository,
service or target group that it names. What the quotas refuse, botocore tries again as the product
configures it, and then the state machines do.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from greenlet import getcurrent

from tests.simulation import runtime
from tests.simulation.application import App
from tests.simulation.cloud import Ecr
from tests.simulation.ecs import ACCOUNT, REGION, Ecs, Service, Task
from tests.simulation.errors import AwsError
from tests.simulation.invariants import Broken
from tests.simulation.world import (
    ECR_EVENT,
    GROUP,
    RECONCILE,
    SUBNET,
    Execution,
    Invocation,
    World,
)

TRIES = 5  # of one call by botocore, as deployer.aws configures it
CALL, START, COLD = 0.03, 0.05, 1.0  # seconds of a call, of a function's start, of a cold one
CONCURRENCY, SCALING = 1000, 10.0  # functions at once; seconds in which one gets 1,000 more
WAVE = 60.0  # seconds within which all services are pushed
PAGE = 10  # parameters on a page of GetParametersByPath
LIMIT = 7200.0


class Bucket:
    """A token bucket, as AWS's services throttle by."""

    def __init__(self, capacity: float, refill: float) -> None:
        self.capacity, self.refill = capacity, refill
        self._tokens, self._at = capacity, 0.0

    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take tokens, or return False if there are none."""
        self._fill(now)
        if self._tokens < min(tokens, 1.0):
            return False
        self._tokens -= tokens
        return True

    def reserve(self, now: float, tokens: float = 1.0) -> float:
        """Take tokens that may be still to come; return the seconds until they are there."""
        self._fill(now)
        self._tokens -= tokens
        return max(0.0, -self._tokens / self.refill)

    def _fill(self, now: float) -> None:
        self._tokens = min(self.capacity, self._tokens + (now - self._at) * self.refill)
        self._at = now


@dataclass(frozen=True)
class Quota:
    """A documented rate: a bucket that operations share. `code` is how the service refuses."""

    name: str
    service: str
    operations: frozenset[str]
    capacity: float
    refill: float
    source: str
    code: str = "ThrottlingException"
    status: int = 400


def _quota(name: str, service: str, operations: str, *rest: Any, **more: Any) -> Quota:
    return Quota(name, service, frozenset(operations.split()), *rest, **more)


_ECS = "ECS API reference, request-throttling"
_SFN = "Step Functions developer guide, service-quotas, all other regions"
_EC2 = "EC2 API reference, throttling"
_ECR = "ECR user guide, service-quotas"
_REFUSAL = {"code": "RequestLimitExceeded", "status": 503}
QUOTAS = (
    _quota("ECS: service modify", "ecs", "CreateService UpdateService", 50, 5, _ECS),
    _quota("ECS: service read", "ecs", "DescribeServices", 100, 20, _ECS),
    _quota("ECS: task definition modify", "ecs", "RegisterTaskDefinition", 20, 1, _ECS),
    _quota("ECS: task definition read", "ecs", "DescribeTaskDefinition", 50, 20, _ECS),
    _quota("ECS: cluster read", "ecs", "DescribeClusters", 50, 20, _ECS),
    _quota("ECS: cluster resource read", "ecs", "DescribeTasks ListTasks", 100, 20, _ECS),
    _quota("Step Functions: StartExecution", "stepfunctions", "StartExecution", 800, 150, _SFN),
    _quota("Step Functions: SendTask…", "stepfunctions", "SendTaskSuccess", 1500, 300, _SFN),
    _quota("Step Functions: Describe…", "stepfunctions", "DescribeExecution", 250, 10, _SFN),
    _quota(
        "Parameter Store: default throughput", "ssm", "GetParametersByPath GetParameters", 40, 40,
        "AWS general reference, ssm",
    ),
    _quota(
        "Elastic Load Balancing: all of the account", "elbv2",
        "DescribeTargetGroups DescribeTargetHealth DescribeLoadBalancers", 40, 10,
        "Elastic Load Balancing user guide, throttling",
    ),
    _quota(
        "EC2: non-mutating", "ec2",
        "DescribeSubnets DescribeRouteTables DescribeVpcEndpoints", 100, 20, _EC2, **_REFUSAL,
    ),
    _quota(
        "EC2: unfiltered non-mutating", "ec2", "DescribeSecurityGroups DescribeNetworkInterfaces",
        50, 10, _EC2, **_REFUSAL,
    ),
    _quota("ECR: BatchGetImage", "ecr", "BatchGetImage", 2000, 2000, _ECR),
    _quota(
        "ECR: GetDownloadUrlForLayer", "ecr", "GetDownloadUrlForLayer", 3000, 3000, _ECR,
    ),
    _quota(
        "CloudWatch Logs: DescribeLogStreams", "logs", "DescribeLogStreams", 25, 25,
        "CloudWatch Logs user guide, cloudwatch_limits_cwl",
    ),
    _quota(
        "EventBridge: PutEvents, the smallest region's", "events", "PutEvents", 600, 600,
        "EventBridge user guide, eb-quota",
    ),
)  # fmt: skip
# those that no call meets
TRANSITIONS = _quota("Step Functions: StateTransition", "", "", 800, 800, _SFN)
_FARGATE = "ECS developer guide, throttling"
LAUNCHES = _quota("Fargate: launches of tasks", "", "", 100, 20, _FARGATE)
_KEYS = "DynamoDB developer guide, bp-partition-key-design"
READS = _quota("DynamoDB: reads of a partition", "", "", 3000, 3000, _KEYS)
WRITES = _quota("DynamoDB: writes of a partition", "", "", 1000, 1000, _KEYS)
_NEW = "DynamoDB developer guide, on-demand-capacity-mode"
TABLE_READS = _quota("DynamoDB: reads of a new on-demand table", "", "", 12000, 12000, _NEW)
TABLE_WRITES = _quota("DynamoDB: writes of a new on-demand table", "", "", 4000, 4000, _NEW)
_BY_CALL = {(quota.service, name): quota for quota in QUOTAS for name in quota.operations}


def spec(name: str) -> dict[str, Any]:
    """A web service of two tasks behind a load balancer, rolling."""
    container = {
        "name": "app",
        "portMappings": [{"containerPort": 3000}],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": f"/ecs/{name}",
                "awslogs-region": REGION,
                "awslogs-stream-prefix": "ecs",
            },
        },
    }
    return {
        "service": name,
        "cluster": "coder",
        "repository": name,
        "tags": r"[0-9]+\.[0-9]+\.[0-9]+",
        "taskDefinition": {
            "family": name,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{name}-execution",
            "containerDefinitions": [container],
        },
        "serviceDefinition": {
            "launchType": "FARGATE",
            "desiredCount": 2,
            "networkConfiguration": {
                "awsvpcConfiguration": {"subnets": [SUBNET], "securityGroups": [GROUP]}
            },
            "loadBalancers": [
                {
                    "targetGroupArn": _target_group(name),
                    "containerName": "app",
                    "containerPort": 3000,
                }
            ],
            "healthCheckGracePeriodSeconds": 180,
        },
        "url": f"http://{name}.example",
        "strategy": "rolling",
        "timeout": 600,
        "verify": {
            "path": "/healthz",
            "version": {"path": "/healthz", "header": "X-Coder-Build-Version", "match": "build"},
        },
    }


def _target_group(name: str) -> str:
    return f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{name}/1"


class Registry:
    """The repositories, one of each service."""

    def __init__(self, world: World, names: list[str]) -> None:
        self.repositories = {name: Ecr(world, name) for name in names}
        self.configs: dict[str, Mapping[str, Any]] = {}
        for repository in self.repositories.values():
            repository.configs = self.configs

    def of(self, image: str) -> Ecr:
        """The repository of an image that a task definition names."""
        return self.repositories[image.partition("/")[2].partition("@")[0]]

    def _routed(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request.get("repositoryName") or request["repositoryNames"][0]
        answer: dict[str, Any] = getattr(self.repositories[name], operation)(request)
        return answer

    def describe_images(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._routed("describe_images", request)

    def batch_get_image(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._routed("batch_get_image", request)

    def describe_repositories(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._routed("describe_repositories", request)

    def get_download_url_for_layer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._routed("get_download_url_for_layer", request)


class Fargate(Ecs):
    """ECS whose tasks start no faster than Fargate launches them."""

    world: "Fleet"

    def queued(self) -> float:
        return self.world.waits(LAUNCHES)


class Watch:
    """In the place of the invariants of one service: counts, and lets no bug pass."""

    def __init__(self, world: "Fleet") -> None:
        self.world = world
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def entered(self, execution: Execution) -> None:
        self.world.entered(execution)

    def announced(self, detail: Mapping[str, Any]) -> None:
        if detail["state"] != "STARTED":
            self.outcomes[detail["service"], detail["id"]] += 1

    def raised(self, invocation: Invocation, error: Exception) -> None:
        if type(error).__module__ not in ("deployer.errors", "botocore.errorfactory"):
            raise Broken("no bug", f"{invocation.function}: {error!r}") from error

    def _passed(self, *_: Any) -> None:
        pass

    told = asked = answered = written = looked = _passed


@dataclass(frozen=True)
class Release:
    """A push of the wave, and what became of it. Times in seconds.

    pushed, ended  when; `ended` is None if nothing recorded an outcome.
    rollout        how long ECS took for it.
    """

    service: str
    good: bool
    pushed: float
    ended: float | None
    outcome: str
    rollout: float

    @property
    def right(self) -> bool:
        return self.outcome == ("SUCCEEDED" if self.good else "FAILED_ROLLED_BACK")

    @property
    def beyond(self) -> float:
        """From the push to the outcome, without ECS's own time."""
        return LIMIT if self.ended is None else self.ended - self.pushed - self.rollout


class Fleet(World):
    """Services of one deployer.

    bad     every how manieth release is bad; 0 for none.
    lost    whether no event of a push arrives.
    tagged  whether each image is pushed under `latest` too, which no spec names.
    scale   of all quotas: twenty services at a tenth of them meet what 200 do.
    """

    ecr: Any
    invariants: Any
    ecs: Fargate

    def __init__(
        self,
        number: int,
        bad: int = 0,
        lost: bool = False,
        tagged: bool = False,
        scale: float = 1.0,
        seed: int = 1,
    ) -> None:
        names = [f"svc-{n:03}" for n in range(number)]
        self.specs = {name: json.dumps(spec(name)) for name in names}
        super().__init__(spec(names[0]))
        self.number, self.bad, self.lost_events = number, bad, lost
        self.tagged, self.scale = tagged, scale
        self.dice = random.Random(seed)
        self.ecr, self.ecs = Registry(self, names), Fargate(self)
        self.invariants = Watch(self)
        self._limited = False
        self._environments: Counter[str] = Counter()
        self._idle: Counter[str] = Counter()
        self.concurrent = 0
        self._begin()

    def _begin(self) -> None:
        """Count from here on."""
        self._buckets: dict[object, Bucket] = {}
        self.count: Counter[str] = Counter()
        self.invoked: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self.transitions = self.peak = 0
        self.units = self.seconds = 0.0
        self.rounds: list[tuple[float, float]] = []  # of Reconcile: when, and how long
        self.releases: list[tuple[str, App, float, str]] = []

    # How a run goes

    def deploy(self) -> "Fleet":
        """Make all services live, then push all of them once more within a minute."""
        with runtime.within(self):
            for name in self.specs:
                self._push(name, App("1.0.0"))
            self._run(lambda: len(self.invariants.outcomes) == self.number)
            clock = self.engine.now + RECONCILE - (self.engine.now % RECONCILE) + 30
            self.engine.run(clock, lambda: False)
            self._begin()
            self._limited = True
            self.invariants.outcomes.clear()
            for place, name in enumerate(self.specs):
                app = self._app(place)
                self.engine.after(self.dice.uniform(0, WAVE), self._push, name, app)
            self.engine.run(clock + WAVE, lambda: False)
            self._run(lambda: len(self.invariants.outcomes) >= self.number)
            self.engine.run(self.engine.now + RECONCILE + 130, lambda: False)
        return self

    def _run(self, enough: Callable[[], bool]) -> None:
        limit = self.engine.now + LIMIT
        self.engine.run(limit, lambda: not self.running() and enough())

    def _app(self, place: int) -> App:
        if self.bad and place % self.bad == self.bad - 1:
            fault = ("never-healthy", "exit-at-start")[place // self.bad % 2]
            return App("1.0.1", None, fault)
        return App("1.0.1", None, "slow-start", self.dice.uniform(20, 140))

    def _push(self, name: str, app: App) -> None:
        digest = self.ecr.repositories[name].push(app, app.version)
        self.releases.append((name, app, float(int(self.engine.now)), digest))
        self._tell(name, digest, app.version)
        if self.tagged and self._limited:
            self.ecr.repositories[name].tag(digest, "latest")
            self._tell(name, digest, "latest")

    def _tell(self, name: str, digest: str, tag: str) -> None:
        detail = {
            "result": "SUCCESS",
            "repository-name": name,
            "image-digest": digest,
            "action-type": "PUSH",
            "image-tag": tag,
        }
        event = {
            "source": "aws.ecr",
            "detail-type": "ECR Image Action",
            "time": runtime.iso(float(int(self.engine.now))),
            "detail": detail,
        }
        if not (self.lost_events and self._limited):
            self._send(ECR_EVENT, self._start_by_event, event)

    def _start_by_event(self, event: Mapping[str, Any]) -> None:
        """EventBridge starts the execution; what is throttled, it tries again for a day."""
        if self._limited and not self._bucket(_BY_CALL["stepfunctions", "StartExecution"]).take(
            self.engine.now
        ):
            self.throttled["StartExecution by EventBridge"] += 1
            self.engine.after(self.dice.uniform(1, 60), self._start_by_event, event)
            return
        super()._start_by_event(event)

    def outcomes(self) -> Iterator[Release]:
        """What became of each release of the wave."""
        for name, app, pushed, digest in self.releases:
            items = self.table.items.get(name, {}).values()
            records = [item.plain for item in items if item.plain.get("digest") == digest]
            record = records[0] if len(records) == 1 else {}
            ended = datetime.fromisoformat(record["endedAt"]).timestamp() if record else None
            good = app.fault == "slow-start"
            outcome = str(record.get("outcome", len(records)))
            yield Release(name, good, pushed, ended, outcome, self._rollout(name, record))

    def _rollout(self, name: str, record: Mapping[str, Any]) -> float:
        """How long ECS took: the rollout, and the one that put the release before back."""
        if "rollout" not in record:
            return 0.0
        begun = datetime.fromisoformat(record["rollout"]["startedAt"]).timestamp()
        completed = self.ecs.services[name].last_completed
        return completed.completed - begun if completed else 0.0

    def failed(self) -> int:
        """How many executions of good releases failed: what they were for is started again."""
        begun = min(pushed for _, _, pushed, _ in self.releases)
        executions = [e for e in self.sfn.executions.values() if e.started >= begun]
        bad = sum(not release.good for release in self.outcomes())
        return sum(e.status != "SUCCEEDED" for e in executions) - bad

    def orphans(self) -> list[str]:
        """What no execution holds or waits for any more, but the table still has."""
        return [
            f"{owner} {name}"
            for owner, items in self.table.items.items()
            for name in items
            if name.startswith(("#lock", "#waiting"))
        ]

    # The quotas

    def _bucket(self, quota: Quota, of: str = "") -> Bucket:
        key = quota.name, of
        if key not in self._buckets:
            capacity = max(1.0, quota.capacity * self.scale)
            self._buckets[key] = Bucket(capacity, quota.refill * self.scale)
        return self._buckets[key]

    def waits(self, quota: Quota) -> float:
        """Seconds until what AWS itself does may be done, as the quota says."""
        return self._bucket(quota).reserve(self.engine.now) if self._limited else 0.0

    def jitter(self) -> float:
        return self.dice.random()

    def _latency(self) -> float:
        return CALL

    def call(self, service: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        process: Any = getcurrent()
        invocation: Invocation = process.invocation
        # Step Functions calls AWS for Wake, and tries again as its definition says
        tries = 1 if invocation.function == "Wake" else TRIES
        for number in range(1, tries + 1):
            refusal = self._refusal(service, operation, request)
            if refusal is None:
                break
            self.throttled[operation] += 1
            self._pause(invocation, CALL)
            if number == tries:
                self.given_up[f"{invocation.function}: {operation}"] += 1
                raise refusal
            # botocore.retries.standard.ExponentialBackoff
            self._pause(invocation, self.dice.random() * min(2 ** (number - 1), 20))
        self.count[operation] += invocation.function != "Reconcile"
        answer = super().call(service, operation, request)
        if service == "dynamodb" and self._limited:
            self._consume(operation, request, answer)
        return answer

    def _refusal(self, service: str, operation: str, request: Mapping[str, Any]) -> AwsError | None:
        if not self._limited:
            return None
        now = self.engine.now
        if service == "dynamodb":
            if all(b.take(now, 0.0) for b in self._capacity(operation, request)):
                return None
            return AwsError("ThrottlingException", "Throughput exceeds the current capacity")
        quota = _BY_CALL.get((service, operation))
        if quota is None or self._bucket(quota).take(now):
            return None
        return AwsError(quota.code, "Rate exceeded", quota.status)

    def _capacity(self, operation: str, request: Mapping[str, Any]) -> list[Bucket]:
        reads = operation in ("GetItem", "Query")
        one, all_ = (READS, TABLE_READS) if reads else (WRITES, TABLE_WRITES)
        return [self._bucket(one, _partition(request)), self._bucket(all_)]

    def _consume(
        self, operation: str, request: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> None:
        """Take the capacity units of an operation, whose size is known only now."""
        if operation in ("GetItem", "Query"):
            items = answer.get("Items") or [answer.get("Item", {})]
            units = max(1.0, sum(len(str(item)) for item in items) / 4096)
        elif operation in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"):
            twice = 2 if operation == "TransactWriteItems" else 1
            units = max(1.0, len(str(request)) / 1024) * twice
        else:
            return
        for bucket in self._capacity(operation, request):
            bucket.reserve(self.engine.now, units)
        self.units += units

    def entered(self, execution: Execution) -> None:
        """A state is entered, once the quota of transitions lets it."""
        if runtime.machine(execution.machine).states[execution.path[-1]].kind != "Task":
            self.transitions += 1
        wait = self.waits(TRANSITIONS)
        if wait:
            self.throttled["StateTransition"] += 1
            self.engine.pause(wait)

    def invoke(self, *arguments: Any, **more: Any) -> None:
        execution = arguments[3] if len(arguments) > 3 else None
        if execution:  # each try of a state counts
            self.transitions += 1
        super().invoke(*arguments, **more)

    def _invoke(self, invocation: Invocation, calls_back: bool) -> None:
        function, now = invocation.function, self.engine.now
        if function == "Wake":
            super()._invoke(invocation, calls_back)
            return
        if not self._environment(function):
            self.throttled["Lambda"] += 1
            error = "Lambda.TooManyRequestsException"
            self.engine.fill(invocation.box, ("failed", (error, "Rate Exceeded.")))
            return
        self.concurrent += 1
        self.peak = max(self.peak, self.concurrent)
        begun = self.engine.now
        super()._invoke(invocation, calls_back)
        self.concurrent -= 1
        self._idle[function] += 1
        self.invoked[function] += 1
        self.seconds += self.engine.now - begun
        if function == "Reconcile" and "detail" not in invocation.payload:
            self.rounds.append((now, self.engine.now - begun))

    def _environment(self, function: str) -> bool:
        """Take an idle execution environment, or start one; False if there may be none more."""
        if self._limited and self.concurrent >= CONCURRENCY:
            return False
        if self._idle[function]:
            self._idle[function] -= 1
            return True
        scaling = self._buckets.setdefault(function, Bucket(CONCURRENCY, CONCURRENCY / SCALING))
        if self._limited and not scaling.take(self.engine.now):
            return False
        self._environments[function] += 1
        self.engine.pause(COLD)
        return True

    # What the one service's world answers for one

    def app_of(self, image: str) -> App:
        app: App = self.ecr.of(image).apps[image.partition("@")[2]]
        return app

    def pullable(self, image: str) -> bool:
        return image.partition("@")[2] in self.ecr.of(image).stored

    def checked(self, service: Service) -> None:
        pass

    def serving(self, url: str) -> list[Task]:
        name = url.split("/")[2].partition(".")[0]
        tasks = self.ecs.services[name].tasks
        return [t for t in tasks if t.status == "RUNNING" and t.wanted and t.target == "healthy"]

    def describe_target_health(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["TargetGroupArn"].split("/")[1]
        service = self.ecs.services.get(name)
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": task.private, "Port": 3000},
                    "TargetHealth": {"State": task.target if task.wanted else "draining"},
                }
                for task in (service.tasks if service else ())
                if task.target
            ]
        }

    def get_parameters_by_path(self, request: Mapping[str, Any]) -> dict[str, Any]:
        path = request["Path"]
        if path != runtime.ENVIRONMENT["SPEC_PATH"]:
            return {"Parameters": []}
        begin = int(request.get("NextToken", "0"))
        names = list(self.specs)[begin : begin + PAGE]
        page = [{"Name": f"{path}/{name}", "Value": self.specs[name]} for name in names]
        following = begin + PAGE
        more = {"NextToken": str(following)} if following < len(self.specs) else {}
        return {"Parameters": page, **more}

    def get_parameters(self, request: Mapping[str, Any]) -> dict[str, Any]:
        texts = {name: self.specs.get(name.rpartition("/")[2]) for name in request["Names"]}
        there = [{"Name": name, "Value": text} for name, text in texts.items() if text]
        return {"Parameters": there}


def _partition(request: Mapping[str, Any]) -> str:
    """The partition key of a request; that of its first item in a transaction."""
    if "TransactItems" in request:
        ((_, request),) = request["TransactItems"][0].items()
    if "ExpressionAttributeValues" in request and "KeyConditionExpression" in request:
        return str(request["ExpressionAttributeValues"][":service"]["S"])
    key = request.get("Key") or request.get("Item")
    return str(key["service"]["S"]) if key else ""


# The table

KINDS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ", each under `latest` too": {"tagged": True},
    ", a tenth of them bad": {"bad": 10},
    ", all events lost": {"lost": True},
}
WHOLE = (
    *((number, "") for number in (1, 10, 50, 200)),
    *((200, kind) for kind in KINDS if kind),
)
_HEAD = (
    "services pushed within a minute",
    "right outcome",
    "executions failed for a throttle",
    "last outcome, beyond ECS's time",
    "median",
    "calls of AWS a release",
    "transitions a release",
    "Lambda seconds a release",
    "GetParametersByPath a push",
    "calls throttled",
    "functions at once",
    "Reconcile's longest round",
)


def run(number: int, kind: str) -> Fleet:
    """Push a fleet."""
    return Fleet(number, **KINDS[kind]).deploy()


def row(fleet: Fleet, kind: str) -> str:
    """What became of a fleet, as a line of the table."""
    releases, number = list(fleet.outcomes()), fleet.number
    beyond = sorted(release.beyond for release in releases)
    cells = (
        f"{number}{kind}",
        f"{sum(release.right for release in releases)}",
        f"{fleet.failed()}",
        f"{beyond[-1]:.0f} s",
        f"{beyond[number // 2]:.0f} s",
        f"{sum(fleet.count.values()) / number:.0f}",
        f"{fleet.transitions / number:.0f}",
        f"{fleet.seconds / number:.0f}",
        f"{fleet.count['GetParametersByPath'] / number:.1f}",
        f"{sum(fleet.throttled.values())}",
        f"{fleet.peak}",
        f"{max(seconds for _, seconds in fleet.rounds):.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Push the fleets; what became of them as docs/simulation.md holds it."""
    rows = [row(run(number, kind), kind) for number, kind in WHOLE]
    return "\n".join([f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}", *rows])


def quotas() -> str:
    """The quotas as docs/simulation.md holds them."""
    every = (*QUOTAS, TRANSITIONS, LAUNCHES, READS, WRITES, TABLE_READS, TABLE_WRITES)
    rows = [f"| {q.name} | {q.capacity:,} | {q.refill:,} | {q.source} |" for q in every]
    return "\n".join(["| quota | burst | a second | source |", "| --- | --- | --- | --- |", *rows])
