"""The world around the deployer, in which its real state machine and handlers run."""

import json
import marshal
import pickle
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent

from tests.simulation import asl, runtime
from tests.simulation.application import App, Database
from tests.simulation.buckets import S3
from tests.simulation.cloud import SECRET, SECRET_ARN, Ecr, Rds, Scheduler, Table
from tests.simulation.ecs import ACCOUNT, REGION, SEALED, STALE, Ecs, Service, Task
from tests.simulation.engine import Box, Engine
from tests.simulation.errors import AwsError
from tests.simulation.invariants import Invariants

START = 1_795_435_200.0  # 2026-11-23T12:00:00Z
ECS_EVENT, ECR_EVENT, STATUS_EVENT = 0.5, 1.5, 1.0  # seconds until an event is there
RECONCILE = 300.0
LATENCY, INVOKE = 0.01, 0.03  # seconds that a call and a function's start take
SLOW = 15.0
DENIED, SKEW = 900.0, 5.0  # seconds until a denial is put right; that a clock is ahead
DAY = 86400.0
SUBNET, GROUP = "subnet-0123456789abcdef0", "sg-0123456789abcdef0"
HOME, ELSEWHERE = "coder", "elsewhere"  # the cluster that the deployer is for, and another
OTHER_GROUP = "sg-0123456789abcdef2"
BALANCER = "http://coder.example"
TARGET_GROUPS = [
    f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{name}/1"
    for name in ("coder", "internal")
]

# What can befall a call; see docs/simulation.md
CALL_FAULTS = (
    "throttled",
    "failed",
    "lost",
    "repeated",
    "killed-before",
    "killed-after",
    "timed-out",
    "slow",
    "twice",
    "stale",
    "conflicted",
    "stopped",
    "expired",
    "held",
    "denied",
    "paged",
    "skewed",
)
# The calls that a fault can befall, where it is not any
BEFALLS = {
    "stale": ("DescribeServices", "DescribeExecution", "DescribeImages"),
    "conflicted": (
        *("PutItem", "UpdateItem", "DeleteItem"),
        *("CreateSchedule", "UpdateSchedule", "DeleteSchedule"),
    ),
}
# what people do while a call of AWS takes its time; for the worlds of holds
INTERLEAVED = ("newer", "resumed")
EVENT_FAULTS = ("lost", "twice", "late")
_OWNERS = {
    "cloudwatch": "rds",
    "dynamodb": "table",
    "ecr": "ecr",
    "ecs": "ecs",
    "rds": "rds",
    "scheduler": "scheduler",
    "secretsmanager": "rds",
    "stepfunctions": "sfn",
    "s3": "s3",
    "codebuild": "codebuild",
    "cloudfrontkeyvaluestore": "switch",
}


class Killed(BaseException):
    """The function's process ends here, under the name that Step Functions gives that."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


HOSTILE = {
    "delete_image",
    "delete_service",
    "lose_secret",
    "lose_subnet",
    "no_room",
    "refuse_schedule",
    "scale",
    "seal",
    "snapshots_fail",
    "stop_task",
    "update",
}

# by which name Step Functions knows the errors of a service that it calls itself
PREFIXES = {
    "cloudfrontkeyvaluestore": "CloudFrontKeyValueStore",
    "codebuild": "CodeBuild",
    "dynamodb": "DynamoDB",
}
_REFUSALS = {"ConditionalCheckFailedException", "ConflictException", "AccessDeniedException"}


def service_exception(service: str) -> str:
    """The error of a service that has no name of its own."""
    return "AmazonDynamoDBException" if service == "dynamodb" else f"{PREFIXES[service]}Exception"


type Move = tuple[float, str, tuple[Any, ...]]


@dataclass(frozen=True)
class Plan:
    """What happens in one run: nothing else decides anything.

    spec    the service's spec, by its name in `worlds`.
    moves   what people and the build do: (seconds after the start, what, its arguments).
    live    whether release 1.0.0 is live before.
    faults  what befalls a call of AWS, by the call's number.
    news    what befalls an event, by the event's number.
    noise   the seed of latencies, lags of reads and jitter; None for none.
    """

    spec: str
    moves: tuple[Move, ...] = ()
    live: bool = True
    faults: Mapping[int, str] = field(default_factory=dict)
    news: Mapping[int, str] = field(default_factory=dict)
    noise: int | None = None

    @property
    def disturbed(self) -> bool:
        """Whether anything befalls a call or an event."""
        return bool(self.faults or self.news) or self.noise is not None

    @property
    def hostile(self) -> bool:
        """Whether something is done to the service or its surroundings past the deployer."""
        edits = [arguments for _, what, arguments in self.moves if what == "edit"]
        return any(what in HOSTILE for _, what, _ in self.moves) or ("cluster", ELSEWHERE) in edits


class Unmodelled(BaseException):
    """The deployer asks for something that the world does not know; no handler may catch that."""


@dataclass(eq=False)
class Invocation:
    """One run of a function."""

    function: str
    packed: bytes
    box: Box
    execution: "Execution | None"
    begun: float
    deadline: float
    payload: Any = None
    doubled: bool = False
    ended: bool = False
    integrated: bool = False  # by Step Functions itself, which calls AWS without a function


class Execution:
    """An execution of a state machine: what its interpreter needs of the world."""

    def __init__(self, world: "World", name: str, text: str, machine: str) -> None:
        self.world, self.name, self.text, self.machine = world, name, text, machine
        self.arn = f"{runtime.arn(machine).replace(':stateMachine:', ':execution:')}:{name}"
        self.started, self.ended = world.engine.now, 0.0
        self.path: list[str] = []
        self.first_poll = self.last_poll = 0.0  # when it looked at its rollout
        self.box: Box | None = None
        self.tokens: list[str] = []
        self.lag = world.lag_of(name)  # for so long DescribeExecution does not show a change of it
        self.context: dict[str, Any] = {"Id": self.arn, "Name": name}
        self.context["StartTime"] = runtime.iso(self.started)
        self._run = asl.Run(runtime.machine(machine), self, self.context, json.loads(text))
        self._process: Any = None
        self.drive()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None}  # of a world at rest, none of which is redriven

    def drive(self) -> None:
        """Let it run: at its start, and when it is redriven."""
        self.status, self.error, self.cause = "RUNNING", "", ""
        self.world.sfn.running += 1
        self._clock = self.world.engine.after(
            runtime.machine(self.machine).timeout,
            self.end,
            "TIMED_OUT",
            "States.Timeout",
            background=True,
        )
        self.world.engine.spawn(self._go)

    def _go(self) -> None:
        self._process = process = getcurrent()
        try:
            self._run()
        except asl.StateError as error:
            self.end("FAILED", error.error, error.cause)
        except asl.Over:
            pass
        else:
            self.end("SUCCEEDED")
        if self._process is process:
            self._process = None

    def end(self, status: str, error: str = "", cause: str = "") -> None:
        """End the execution, by itself or from outside."""
        if self.status != "RUNNING":
            return
        self.status, self.error, self.cause = status, error, cause
        self.ended = self.world.engine.now
        self.world.sfn.running -= 1
        self.world.engine.cancel(self._clock)
        for token in self.tokens:
            self.world.sfn.tokens[token] = None
        if self.box:
            self.world.engine.fill(self.box, ("over", None))
        self.world.trace("sfn", f"{self.name[:12]} {status} {error}: {cause[:200]}")
        self.world.execution_ended(self)

    # asl.Host

    def now_text(self) -> str:
        return runtime.iso(self.world.engine.now)

    def jitter(self) -> float:
        return self.world.jitter()

    def entered(self, name: str) -> None:
        self.path.append(name)
        if name == "Poll health":
            self.last_poll = self.world.engine.now
            self.first_poll = self.first_poll or self.last_poll
        self.world.trace("sfn", f"{self.name[:12]} enters {name}")
        self.world.invariants.entered(self)

    def sleep(self, seconds: float) -> None:
        self._await(Box(), seconds)

    def call(self, function: str, payload: bytes, timeout: float) -> Any:
        box = Box()
        self.world.invoke(function, payload, box, self)
        return self._result(self._await(box, timeout))

    def integrate(self, action: str, arguments: Any, timeout: float) -> Any:
        box = Box()
        self.world.integrate(action, asl.packed(arguments), box, self)
        try:
            return self._result(self._await(box, timeout))
        except asl.Over:
            if action.endswith(".sync"):
                self.world.codebuild.abandoned(box)
            raise

    def call_back(self, function: str, arguments: Callable[[str], bytes], timeout: float) -> Any:
        box, failed = Box(), Box()
        token = f"token-{len(self.world.sfn.tokens)}"
        self.tokens.append(token)
        self.world.sfn.tokens[token] = box
        failed.full = False
        self.world.invoke(function, arguments(token), box, self, calls_back=True)
        try:
            return self._result(self._await(box, timeout))
        finally:
            self.world.sfn.tokens[token] = None

    def _await(self, box: Box, seconds: float) -> Any:
        self.box = box
        result = self.world.engine.wait(box, seconds)
        if self.status != "RUNNING" or getcurrent() is not self._process:
            raise asl.Over
        self.box = None
        return result

    def _result(self, described: Any) -> Any:
        if described is None:
            raise asl.StateError("States.Timeout", "")
        kind, value = described
        if kind == "failed":
            raise asl.StateError(*value)
        return value


class Sfn:
    """Step Functions' API."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.executions: dict[str, Execution] = {}
        self.tokens: dict[str, Box | None] = {}
        self.running = 0

    def begin(self, name: str, text: str, machine: str = "deploy") -> str:
        prefix = runtime.arn(machine).replace(":stateMachine:", ":execution:")
        there = self.executions.get(f"{prefix}:{name}")
        if there:
            if there.status == "RUNNING" and there.text == text:
                return there.arn
            raise AwsError("ExecutionAlreadyExists", f"Execution Already Exists: '{name}'")
        result = Execution(self.world, name, text, machine)
        self.executions[result.arn] = result
        self.world.trace("sfn", f"{name[:12]} starts: {text[:160]}")
        return result.arn

    def start_execution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from tests.simulation.ecs import moment

        machine = request["stateMachineArn"].rpartition(":")[2].lower()
        arn = self.begin(request["name"], request["input"], machine)
        return {"executionArn": arn, "startDate": moment(self.executions[arn].started)}

    def describe_execution(self, request: Mapping[str, Any], stale: bool = False) -> dict[str, Any]:
        from tests.simulation.ecs import moment

        result, now = self.executions.get(request["executionArn"]), self.world.engine.now
        if result is None or now - result.started < (STALE if stale else result.lag):
            raise AwsError("ExecutionDoesNotExist", "Execution Does Not Exist")
        lags = result.status != "RUNNING" and now - result.ended < (STALE if stale else result.lag)
        return {
            "executionArn": result.arn,
            "stateMachineArn": runtime.arn(result.machine),
            "status": "RUNNING" if lags else result.status,
            "startDate": moment(result.started),
        }

    def send_task_success(self, request: Mapping[str, Any]) -> dict[str, Any]:
        token = request["taskToken"]
        if token not in self.tokens:
            raise AwsError("InvalidToken", "Invalid Token")
        box = self.tokens[token]
        if box is None or not self.world.engine.fill(box, ("done", json.loads(request["output"]))):
            raise AwsError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        return {}


class World:
    """All of it. Made by `worlds`; runs one plan.

    spec       the service spec's document.
    """

    codebuild: Any  # of worlds that build
    MACHINE = "deploy"  # which events and orders start
    OWNER = ""  # of the records, where that is not the service

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = dict(spec)
        self._spec_text = json.dumps(self.spec)
        self.engine = Engine(START)
        self.plan = Plan("")
        self.random: random.Random | None = None
        self.calls = self.told = self.looks = 0
        self.sites: list[tuple[str, str, str]] = []
        self.news_sites: list[str] = []
        self.lines: list[str] | None = None
        self.lost: set[str] = set()
        self.surroundings = {SUBNET, GROUP, OTHER_GROUP, SEALED}
        self.runs: dict[App, int] = {}
        self.broken_roles: set[str] = set()
        self.table = Table(self, START - DAY)
        self.ecr = Ecr(self, spec["repository"])
        self.rds = Rds(self)
        self.scheduler = Scheduler(self)
        self.s3 = S3(self)
        self.ecs = Ecs(self)
        self.sfn = Sfn(self)
        self.invariants = Invariants(self)
        self.answered: dict[str, float] = {}
        self.untold: set[tuple[str, str]] = set()  # tags put on images of which no event told
        self.put_at: dict[tuple[str, str | None], float] = {}  # when a tag was put on an image
        self.announced: list[Mapping[str, Any]] = []
        self.overlapped: set[str] = set()  # executions with two tries of a function at once
        self._last: dict[tuple[str, str], Invocation] = {}
        self.humans, self.last_human = 0, 0.0
        self.denied: dict[tuple[str, str], float] = {}
        self.page = 0  # how much a page holds; 0 for all
        self.skew: dict[str, float] = {}
        self.reconciled = 0.0  # when the last round of Reconcile that ended well began
        self.engine.after(RECONCILE, self._clock, background=True)

    # How a run goes

    def run(self, plan: Plan, lines: list[str] | None = None) -> "World":
        """Run a plan until all is quiet and Reconcile has nothing more to do."""
        self.plan, self.lines = plan, lines
        self.random = None if plan.noise is None else random.Random(plan.noise)
        self.calls = self.told = 0
        self.sites, self.news_sites = [], []
        start = self.engine.now
        self.invariants.begin()
        with runtime.within(self):
            for after, what, arguments in plan.moves:
                self.engine.at(start + after, getattr(self, f"do_{what}"), *arguments)
            last = start + max((after for after, _, _ in plan.moves), default=0.0)
            self._until_quiet(last)
            quiet = self.engine.now
            while True:
                self._until_quiet(max(self.denied.values(), default=0.0))
                begun, executions = self.engine.now, len(self.sfn.executions)
                self.engine.run(begun + RECONCILE + 40, lambda: False)
                self._until_quiet(last)
                denied = any(until > begun for until in self.denied.values())
                nothing_new = len(self.sfn.executions) == executions
                due = self.invariants.undecided() and self.engine.now < quiet + DAY
                lock = self.invariants.record("#lock") or {}
                due = due or lock.get("changesUntil", 0) > begun * 1e6  # the next round frees it
                if nothing_new and self.reconciled >= begun and not denied and not due:
                    break
                if self.engine.now > quiet + 2 * DAY:
                    self.invariants.broken("bounded", "no round of Reconcile is the last")
            self.invariants.at_rest()
        return self

    def _until_quiet(self, last: float) -> None:
        limit = self.engine.now + DAY

        def quiet() -> bool:
            if self.running() or self.engine.now < last:
                return False
            return not self.engine.foreground or self.engine.now > self._idle_since() + 60

        self.engine.run(limit, quiet)
        if self.running():
            self.invariants.broken("bounded", "an execution still runs after a day")

    def running(self) -> bool:
        return self.sfn.running > 0

    def _idle_since(self) -> float:
        return max((e.ended for e in self.sfn.executions.values()), default=self.engine.now)

    def saved(self) -> bytes:
        """The world at rest, to be started from again."""
        self.sites, self.news_sites = [], []
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)

    def trace(self, who: str, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.engine.now - START:9.2f}  {who:7} {text}")

    def jitter(self) -> float:
        return self.random.random() if self.random else 1.0

    def plan_lag(self) -> float:
        """How long reads lag behind this change of a service."""
        return self.random.choice((0.0, 0.0, 1.0, 3.0, 9.0)) if self.random else 0.0

    def lag_of(self, execution: str) -> float:
        """How long DescribeExecution lags behind an execution; see `Sfn.describe_execution`."""
        if self.plan.noise is None:
            return 0.0
        dice = random.Random(f"{self.plan.noise} {execution}")
        return dice.choice((0.0, 0.0, 1.0, 3.0, 9.0))

    def _latency(self) -> float:
        if not self.random:
            return LATENCY
        return self.random.choice((0.005, 0.01, 0.02, 0.05, 0.1, 0.4, 1.5))

    # Functions

    def invoke(
        self,
        function: str,
        packed: bytes,
        box: Box,
        execution: Execution | None = None,
        calls_back: bool = False,
        doubled: bool = False,
    ) -> None:
        """Run a function; the box gets its result, or its failure."""
        invocation = Invocation(
            function, packed, box, execution, self.engine.now, 0.0, doubled=doubled
        )
        self.engine.spawn(self._invoke, invocation, calls_back)

    def _invoke(self, invocation: Invocation, calls_back: bool) -> None:
        engine, function = self.engine, invocation.function
        process: Any = getcurrent()
        process.invocation = invocation
        self._note_overlap(invocation)
        invocation.deadline = engine.now + runtime.LIMITS.get(function, runtime.LIMIT)
        engine.pause(INVOKE)
        invocation.payload = marshal.loads(invocation.packed)
        outcome: tuple[str, Any]
        try:
            context = SimpleNamespace(
                get_remaining_time_in_millis=lambda: (invocation.deadline - engine.now) * 1000
            )
            text = json.dumps(runtime.handler(function)(invocation.payload, context))
        except Killed as killed:
            self.trace(function, f"dies: {killed.error}")
            outcome = "failed", (killed.error, "")
        except Exception as error:
            self.trace(function, f"raises {type(error).__name__}: {error}")
            self.invariants.raised(invocation, error)
            cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
            outcome = "failed", (type(error).__name__, cause)
        else:
            self.invariants.told(text, f"result of {function}")
            outcome = "done", json.loads(text)
            if function == "Reconcile" and "detail" not in invocation.payload:
                self.reconciled = invocation.begun
        invocation.ended = True
        if not invocation.doubled and not (calls_back and outcome[0] == "done"):
            engine.fill(invocation.box, outcome)

    def _note_overlap(self, invocation: Invocation) -> None:
        """Note which executions entered a state again whose function still ran."""
        if invocation.execution:
            arn = invocation.execution.arn
            earlier = self._last.get((arn, invocation.function))
            if earlier and not earlier.ended:
                self.overlapped.add(arn)
            self._last[arn, invocation.function] = invocation

    def integrate(self, action: str, payload: bytes, box: Box, execution: Execution | None) -> None:
        """Step Functions itself calls AWS."""
        now = self.engine.now
        result = Invocation(action, payload, box, execution, now, now + 50, integrated=True)
        self.engine.spawn(self._integrate, result)

    def _integrate(self, invocation: Invocation) -> None:
        process: Any = getcurrent()
        process.invocation, execution = invocation, invocation.execution
        service, operation = invocation.function.removesuffix(".sync").split(":")[-2:]
        prefix = PREFIXES[service]
        request = marshal.loads(invocation.packed)
        try:
            answer = self.call(service, operation[0].upper() + operation[1:], request)
        except (Killed, AwsError) as error:
            code = error.code if isinstance(error, AwsError) else ""
            known = code in _REFUSALS
            name = code if known else f"{service_exception(service)}"
            self.trace("sfn", f"{operation}: {code or error}")
            self.engine.fill(invocation.box, ("failed", (f"{prefix}.{name}", str(error))))
        else:
            if invocation.function.endswith(".sync"):
                self.codebuild.awaited(answer["build"]["id"], invocation.box)
                if execution and execution.status != "RUNNING":
                    self.codebuild.abandoned(invocation.box)
            else:
                self.engine.fill(invocation.box, ("done", answer))

    @property
    def owner(self) -> str:
        """Under what the releases table keeps what is simulated."""
        return self.OWNER or str(self.spec["service"])

    def deliver(self, function: str, event: Any, attempt: int = 0) -> None:
        """Run a function on an event: tried twice more if it fails, as Lambda does."""
        self.engine.spawn(self._deliver, function, asl.packed(event), attempt)

    def _deliver(self, function: str, packed: bytes, attempt: int) -> None:
        box = Box()
        self.invoke(function, packed, box)
        kind, _ = self.engine.wait(box)
        if kind == "failed" and attempt < 2:
            self.engine.after(60.0 * (attempt + 1), self._again, function, packed, attempt + 1)

    def _again(self, function: str, packed: bytes, attempt: int) -> None:
        self.engine.spawn(self._deliver, function, packed, attempt)

    def _clock(self) -> None:
        self.engine.after(RECONCILE, self._clock, background=True)
        self.deliver("Reconcile", {"detail-type": "Scheduled Event", "source": "aws.events"})

    # Calls of AWS

    def call(self, service: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call of AWS, or let the fault befall it that the plan has for it."""
        process: Any = getcurrent()
        invocation: Invocation = process.invocation
        number, self.calls = self.calls, self.calls + 1
        self.sites.append((invocation.function, service, operation))
        fault = self.plan.faults.get(number)
        if fault:
            self.trace(invocation.function, f"{operation} (call {number}) is {fault}")
        self._pause(invocation, SLOW if fault == "slow" else self._latency())
        match fault:
            case "throttled":
                raise AwsError("ThrottlingException", "Rate exceeded")
            case "failed":
                raise AwsError("InternalError", "", 500)
            case "conflicted" if operation in BEFALLS["conflicted"]:
                if service == "scheduler":
                    raise AwsError("ConflictException", "it is being changed", 409)
                raise AwsError("TransactionConflictException", "Transaction is ongoing")
            case "killed-before":
                raise Killed("Runtime.ExitError")
            case "twice" if not invocation.doubled and not invocation.integrated:
                self.invoke(
                    invocation.function, invocation.packed, Box(), invocation.execution, True, True
                )
            case "held":
                self._hold()
            case "newer":
                self.newer()
                self._pause(invocation, SLOW)
            case "resumed":
                self.do_order({"action": "resume"})
                self._pause(invocation, SLOW)
            case "denied":
                self.denied[invocation.function, operation] = self.engine.now + DENIED
            case "paged":
                self.page = 1
            case "skewed":
                self.skew[invocation.function] = SKEW
            case "stopped" | "expired" if invocation.execution:
                stopped = fault == "stopped"
                invocation.execution.end("ABORTED" if stopped else "TIMED_OUT")
        if self.engine.now < self.denied.get((invocation.function, operation), 0.0):
            raise AwsError("AccessDeniedException", f"{operation} is not authorized")
        if service == "ecs" and {request.get("cluster", HOME), *request.get("clusters", ())} != {
            HOME
        }:
            # template.yaml names the cluster (ClusterName) in what the functions may do
            raise AwsError("AccessDeniedException", f"{operation} is not authorized")
        answer = self._answer(invocation, service, operation, request, fault == "stale")
        match fault:
            case "lost":
                raise AwsError("", "")
            case "repeated":
                answer = self._answer(invocation, service, operation, request, False)
            case "killed-after":
                raise Killed("Lambda.Unknown")
            case "timed-out":
                self._pause(invocation, invocation.deadline - self.engine.now)
        return answer

    def _hold(self) -> None:
        """Somebody's order to hold the service has come as far as writing it down."""
        if self.invariants.record("#hold"):
            return  # a second hold keeps the first one's beginning
        note = {"service": self.owner, "id": "#hold", "by": "somebody", "reason": "test"}
        note["at"] = runtime.iso(self.engine.now)
        self.invariants.requested({"action": "hold"})
        self.table.put_item({"Item": {name: {"S": value} for name, value in note.items()}})

    def newer(self) -> None:
        """Somebody pushes what is newer than all before."""
        self.do_push(App("2.0.0", 1))

    def clock(self) -> float:
        """What time it is to the function that asks."""
        process: Any = getcurrent()
        self.looks += 1  # no two looks at a clock see the same microsecond
        ahead = self.skew.get(process.invocation.function, 0.0)
        return self.engine.now + ahead + self.looks % 1000 / 1e6

    def paged(self, described: list[Any], start: str | None) -> tuple[list[Any], str | None]:
        """A page of what was found, and where the next begins; None for nowhere. If pages are
        small, the first is empty."""
        if not self.page:
            return described, None
        begin = int(start or -1)
        following = begin + self.page if start else 0
        page = described[begin:following] if start else []
        return page, str(following) if following < len(described) else None

    def _pause(self, invocation: Invocation, seconds: float) -> None:
        left = invocation.deadline - self.engine.now
        if seconds >= left:
            self.engine.pause(max(0.0, left))
            raise Killed("Sandbox.Timedout")
        self.engine.pause(seconds)

    def _answer(
        self,
        invocation: Invocation,
        service: str,
        operation: str,
        request: Mapping[str, Any],
        stale: bool,
    ) -> dict[str, Any]:
        name = runtime.snake(operation)
        owner: Any = getattr(self, _OWNERS.get(service, ""), self)
        if not hasattr(owner, name):
            raise Unmodelled(f"{service} {operation}")
        self.invariants.asked(invocation, operation, request)
        if stale and operation == "DescribeServices":
            return self.ecs.describe_services(request, stale=True)
        if stale and operation == "DescribeExecution":
            return self.sfn.describe_execution(request, stale=True)
        if stale and operation == "DescribeImages":
            return self.ecr.describe_images(request, stale=True)
        answer: dict[str, Any] = getattr(owner, name)(request)
        if self.lines is not None:
            self.trace(invocation.function, f"{operation} {_short(request)}")
        self.invariants.answered(invocation, operation, request, answer)
        return answer

    # What is small: the network, roles, specs, logs and announcements

    def describe_subnets(self, request: Mapping[str, Any]) -> dict[str, Any]:
        (name,) = request["SubnetIds"]
        if name not in self.surroundings:
            raise AwsError("InvalidSubnetID.NotFound", name)
        return {"Subnets": [{"SubnetId": name, "VpcId": "vpc-1"}]}

    def describe_security_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        (name,) = request["GroupIds"]
        if name not in self.surroundings:
            raise AwsError("InvalidGroup.NotFound", name)
        anyone = [{"CidrIp": "0.0.0.0/0"}]
        port = {"IpProtocol": "tcp", "FromPort": 3000, "ToPort": 4000, "IpRanges": anyone}
        rules = {
            "IpPermissions": [port],
            "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": anyone}],
        }
        return {"SecurityGroups": [{"GroupId": name, "VpcId": "vpc-1", **rules}]}

    def describe_route_tables(self, request: Mapping[str, Any]) -> dict[str, Any]:
        gateway = {"GatewayId": "igw-1"} if self._public() else {"NatGatewayId": "nat-1"}
        way = {"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **gateway}
        associated = {"Associations": [{"Main": True}], "VpcId": "vpc-1", "RouteTableId": "rtb-1"}
        return {"RouteTables": [{**associated, "Routes": [way]}]}

    def _public(self) -> bool:
        """Whether the spec gives each task a public IP."""
        return self._part("network").get("assignPublicIp") == "ENABLED"

    def describe_vpc_endpoints(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"VpcEndpoints": []}

    def describe_target_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        (arn,) = request["TargetGroupArns"]
        matches = {"TargetGroupArn": arn, "TargetType": "ip", "VpcId": "vpc-1"}
        return {"TargetGroups": [{**matches, "LoadBalancerArns": ["balancer"]}]}

    def describe_load_balancers(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"LoadBalancers": [{"SecurityGroups": [GROUP]}]}

    def describe_log_streams(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"logStreams": []}

    def simulate_principal_policy(self, request: Mapping[str, Any]) -> dict[str, Any]:
        (action,) = request["ActionNames"]
        allowed = {"EvalActionName": action, "EvalDecision": "allowed"}
        return {"EvaluationResults": [allowed]}

    def describe_network_interfaces(self, request: Mapping[str, Any]) -> dict[str, Any]:
        matches = []
        for name in request["NetworkInterfaceIds"]:
            task = next((t for t in self._tasks() if f"eni-{t.name}" == name), None)
            if task is None:
                raise AwsError("InvalidNetworkInterfaceID.NotFound", name)
            entry: dict[str, Any] = {"NetworkInterfaceId": name}
            if self._public():
                entry["Association"] = {"PublicIp": task.public}
            matches.append(entry)
        return {"NetworkInterfaces": matches}

    def get_role(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["RoleName"]
        if name in self.broken_roles:
            raise AwsError("NoSuchEntity", name, 404)
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        return {
            "Role": {
                "Path": "/",
                "RoleName": name,
                "RoleId": "AROA0123456789ABCDEF",
                "Arn": arn,
                "CreateDate": runtime._Datetime.now(),
                "AssumeRolePolicyDocument": '{"Principal": {"Service": "scheduler.amazonaws.com"}}',
            }
        }

    def get_parameters_by_path(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["Path"] != runtime.ENVIRONMENT["SPEC_PATH"]:
            return {"Parameters": []}  # it has no documentation site
        name = f"{request['Path']}/{self.spec['service']}"
        matches = [{"Name": name, "Value": self._spec_text}]
        page, following = self.paged(matches, request.get("NextToken"))
        return {"Parameters": page, **({"NextToken": following} if following else {})}

    def describe_target_health(self, request: Mapping[str, Any]) -> dict[str, Any]:
        states = {"initial": "initial", "healthy": "healthy", "unhealthy": "unhealthy"}
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": task.private, "Port": 3000},
                    "TargetHealth": {"State": states[task.target] if task.wanted else "draining"},
                }
                for task in self._tasks()
                if task.target
            ]
        }

    def get_log_events(self, request: Mapping[str, Any]) -> dict[str, Any]:
        lines = [
            "listening on :3000",
            f"connecting to postgres://coder:{SECRET}@coder-db.example:5432/coder",
            f"password={SECRET}",
        ]
        return {"events": [{"timestamp": 0, "message": line} for line in lines]}

    def put_events(self, request: Mapping[str, Any]) -> dict[str, Any]:
        detail = json.loads(request["Entries"][0]["Detail"])
        self.invariants.announced(detail)
        self.announced.append(detail)
        self.trace("told", f"{detail['state']} {detail.get('version')}: {detail['reason'][:150]}")
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    def _tasks(self) -> list[Task]:
        return [task for service in self.ecs.services.values() for task in service.tasks]

    # What the application does

    def app_of(self, image: str) -> App:
        return self.ecr.apps[self._digest_of(image)]

    def _digest_of(self, image: str) -> str:
        """The digest of an image that a task definition names, by its digest or its tag."""
        named = image.rpartition("@")[2]
        return named if "@" in image else str(self.digest(image.rpartition(":")[2]))

    def pullable(self, image: str) -> bool:
        stored = self.ecr.stored.get(self._digest_of(image))
        return stored is not None and stored.active

    def times_run(self, app: App) -> int:
        self.runs[app] = self.runs.get(app, 0) + 1
        return self.runs[app]

    @property
    def database(self) -> Database:
        """The database to which the secret leads."""
        return self.rds.databases[self.rds.leads_to]

    def migrated(self, app: App, database: Database) -> None:
        if app.schema and app.schema > database.schema:
            database.schema = app.schema
            self.trace("app", f"{app.version} migrated the database to {app.schema}")

    def serving(self, url: str) -> list[Task]:
        """The tasks that may answer under a URL."""
        running = [t for t in self._tasks() if t.status == "RUNNING" and t.wanted]
        if url.startswith(BALANCER):
            return [t for t in running if t.target == "healthy"]
        host = url.split("/")[2]
        here = [t for t in running if host.partition(":")[0] == t.public]
        return [t for t in here if host == f"{t.public}{self._port(t)}"]

    def _port(self, task: Task) -> str:
        """Where a task's container listens, as a URL's host ends."""
        definition = self.ecs.revisions[task.deployment.revision]["taskDefinition"]
        return f":{definition['containerDefinitions'][0]['portMappings'][0]['containerPort']}"

    def http(self, url: str) -> Any:
        """What answers to a GET; None for nothing."""
        from deployer.deploy.verification import Answer

        process: Any = getcurrent()
        tasks = self.serving(url)
        self._pause(process.invocation, 0.02)
        if not tasks:
            return None
        task = tasks[self.calls % len(tasks)]
        app, path = task.app, "/" + url.split("/", 3)[3]
        if app.fault == "hangs":
            self._pause(process.invocation, 3.0)
            return None
        if task.ready is None or task.ready > self.engine.now:
            status = 503 if app.fault == "never-healthy" else None
            return Answer(status, {}, b"") if status else None
        self.answered[task.name] = self.engine.now
        assert task.database
        data = f"of-{task.name}" if app.fault == "empty-database" else task.database.data
        headers = {"x-coder-build-version": app.served}
        body = json.dumps({"version": app.served, "deployment_id": data}).encode()
        status = 404 if path.endswith("first") and app.fault == "empty-database" else 200
        return Answer(status, headers, body)

    def logged(self, level: str, message: str, values: Mapping[str, Any]) -> None:
        self.invariants.told(repr(values), f"log {message}")
        if level == "exception":
            self.trace("log", f"{message} {values}")

    # Events

    def emit(self, kind: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        """Tell of a change in ECS; the rules of template.yaml pass some of it on."""
        wanted = ("SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED", None)
        if detail.get("eventName") not in wanted:
            return
        event = {
            "source": "aws.ecs",
            "detail-type": kind,
            "detail": dict(detail),
            "resources": resources,
        }
        self._send(ECS_EVENT, self.wake, event)

    def wake(self, event: Any) -> None:
        """Start the Express workflow on an event; nothing starts it again if it fails."""
        self.invoke("Wake", asl.packed(event), Box())

    def _send(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        number, self.told = self.told, self.told + 1
        self.news_sites.append(str(arguments[0])[:40])
        fault = self.plan.news.get(number)
        if fault:
            self.trace("event", f"event {number} ({arguments[0]}) is {fault}")
        if self.random:
            seconds *= self.random.choice((0.2, 1.0, 1.0, 2.0, 5.0))
        if fault == "lost":
            detail = arguments[0].get("detail", {}) if isinstance(arguments[0], dict) else {}
            if "image-tag" in detail:
                self.untold.add((detail["image-digest"], detail["image-tag"]))
            return
        if fault == "twice":
            self.engine.after(seconds + 7.0, act, *arguments)
        self.engine.after(seconds + (200.0 if fault == "late" else 0.0), act, *arguments)

    def execution_ended(self, execution: Execution) -> None:
        if execution.status == "SUCCEEDED":
            return
        detail = {
            "executionArn": execution.arn,
            "stateMachineArn": runtime.arn(execution.machine),
            "status": execution.status,
            "input": execution.text,
            "startDate": int(execution.started * 1000),
        }
        event = {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "detail": detail,
        }
        self._send(STATUS_EVENT, self.deliver, "Reconcile", event)

    # What people and the build do

    def do_push(self, app: App, tag: str | None = "") -> str:
        """Push an image under its version as tag."""
        tag = app.version if tag == "" else tag
        digest = self.ecr.push(app, tag)
        self.trace("build", f"pushes {app} as {tag}: {digest[7:19]}")
        self.tell_push(digest, tag)
        return digest

    def tell_push(self, digest: str, tag: str | None) -> None:
        """A push has taken place; its event tells when, in whole seconds."""
        self.invariants.pushed(digest, tag)
        self.put_at[digest, tag] = float(int(self.engine.now))
        self._tell_push(digest, tag)

    def _tell_push(self, digest: str, tag: str | None) -> None:
        detail = {
            "result": "SUCCESS",
            "repository-name": self.ecr.repository,
            "image-digest": digest,
            "action-type": "PUSH",
            **({"image-tag": tag} if tag else {}),
        }
        event = {
            "version": "0",
            "source": "aws.ecr",
            "detail-type": "ECR Image Action",
            "time": runtime.iso(self.put_at[digest, tag]),
            "detail": detail,
        }
        self._send(ECR_EVENT, self._start_by_event, event)

    def do_retag(self, version: str, tag: str) -> None:
        """Promote an image that is there: put another tag on it."""
        digest = self.digest(version)
        if digest and self.ecr.tag(digest, tag):
            self.trace("build", f"puts {tag} on {version}: {digest[7:19]}")
            self.tell_push(digest, tag)

    def do_edit(self, name: str, value: Any) -> None:
        """The team changes a part of the spec: its cluster, schedules, container or network."""
        self.trace("person", f"sets {name} of the spec to {value}")
        self.spec = json.loads(self._spec_text)  # others share the old one
        if name in ("cluster", "schedules"):
            self.spec[name] = value
        else:
            self._part(name).update(value)
        self._spec_text = json.dumps(self.spec)

    def _part(self, name: str) -> dict[str, Any]:
        """A part of the spec; {} if it leaves that to ECS."""
        if name == "container":
            containers = self.spec.get("taskDefinition", {}).get("containerDefinitions", [{}])
            return containers[0]  # type: ignore[no-any-return]
        network = self.spec.get("serviceDefinition", {}).get("networkConfiguration", {})
        return network.get("awsvpcConfiguration", {})  # type: ignore[no-any-return]

    def do_refuse_schedule(self, name: str, refuses: bool) -> None:
        """Scheduler refuses any change of a schedule from now on, or no more."""
        self.trace("person", f"Scheduler refuses {name}: {refuses}")
        (self.scheduler.refuses.add if refuses else self.scheduler.refuses.discard)(name)

    def do_make_by_hand(self, definition: Mapping[str, Any], service: Mapping[str, Any]) -> None:
        """Somebody pushes an image, and makes a service of it with what ECS has."""
        self.ecr.push(App("0.9.0", 1), "0.9.0")
        first, *others = definition["containerDefinitions"]
        image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{self.spec['repository']}:0.9.0"
        containers = [{**first, "image": image}, *others]
        rendered = self.ecs.register_task_definition(
            {**definition, "containerDefinitions": containers}
        )
        (balancer,) = service["loadBalancers"]
        self.ecs.create_service(
            {
                **service,
                "serviceName": self.spec["service"],
                "cluster": self.spec["cluster"],
                "taskDefinition": rendered["taskDefinition"]["taskDefinitionArn"],
                "desiredCount": 2,
                "loadBalancers": [{**balancer, "targetGroupArn": arn} for arn in TARGET_GROUPS],
                "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 150},
            }
        )
        self.invariants.made_by_hand()

    def do_stop_task(self) -> None:
        """Somebody stops the tasks of releases that run."""
        for task in self.ecs.one_offs.values():
            if task.wanted:
                self.human("stops a task of a release")
                self.ecs.stop_one_off(task, "Task stopped by user")

    def do_seal(self) -> None:
        """The team chooses a security group that lets no task reach anything."""
        self.do_edit("network", {"securityGroups": [SEALED]})

    def do_push_index(self, app: App) -> None:
        """What buildx pushes: children without a tag, and an index under the tag."""
        child = self.ecr.push(app, None)
        self.tell_push(child, None)
        other = self.ecr.push(App(app.version, app.schema, "other"), None, "arm64")
        self.tell_push(other, None)
        digest = self.ecr.push_index([child], app.version)
        self.tell_push(digest, app.version)

    def do_tell_again(self, version: str, late: float = 0.0) -> None:
        """The event of a push comes once more, under another id."""
        digest = self.digest(version)
        if digest:
            self.engine.after(late, self._tell_push, digest, version)

    def _start_by_event(self, event: Mapping[str, Any]) -> None:
        name = f"event-{len(self.sfn.executions)}"
        self.sfn.begin(name, json.dumps(event), self.MACHINE)

    def do_order(self, command: Mapping[str, Any]) -> None:
        """Start an execution by hand."""
        self.trace("person", f"orders {dict(command)}")
        self.invariants.requested(command)
        name = f"order-{len(self.sfn.executions)}"
        self.sfn.begin(name, json.dumps(command), self.MACHINE)

    def do_stop(self) -> None:
        """Stop the execution that holds the lock, or the newest that runs."""
        running = [e for e in self.sfn.executions.values() if e.status == "RUNNING"]
        if running:
            self.trace("person", "stops an execution")
            self.invariants.stopped.add(running[0].arn)
            running[0].end("ABORTED")

    def do_redrive(self) -> None:
        """Redrive the execution that did not succeed last."""
        over = [e for e in self.sfn.executions.values() if e.status not in ("RUNNING", "SUCCEEDED")]
        if over:
            execution = max(over, key=lambda e: e.ended)
            self.trace("person", f"redrives {execution.name[:12]}")
            execution.first_poll = self.engine.now
            # the context object tells of redrives only if there were any
            execution.context["RedriveCount"] = execution.context.get("RedriveCount", 0) + 1
            execution.drive()

    def do_update(self) -> None:
        """Somebody deploys past us: the same image under another environment."""
        service = self._service()
        if service and service.deployments:
            now = self.ecs.revisions[service.primary.revision]["taskDefinition"]
            fields = {k: v for k, v in now.items() if k not in ("taskDefinitionArn", "status")}
            theirs = self.ecs.register_task_definition({**fields, "family": "by-hand"})
            self.human("updates the service")
            revision = theirs["taskDefinition"]["taskDefinitionArn"]
            self.ecs.update_service({"service": service.name, "taskDefinition": revision})

    def do_scale(self, desired: int) -> None:
        service = self._service()
        if service:
            self.human(f"scales to {desired}")
            self.ecs.update_service({"service": service.name, "desiredCount": desired})

    def do_configure(self) -> None:
        """The team sets what a rollout watches, past us."""
        service = self._service()
        if service:
            alarms = {"alarmNames": ["5xx"], "enable": True, "rollback": False}
            service.theirs = {"alarms": alarms, "bakeTimeInMinutes": 1}
            service.configuration = {**service.configuration, **service.theirs}

    def do_delete_service(self) -> None:
        service = self._service()
        if service:
            self.human("deletes the service")
            self.ecs.delete_service(service.name)

    def do_delete_image(self, version: str) -> None:
        self.human(f"deletes the image of {version}")
        self.ecr.stored.pop(self.digest(version) or "", None)

    def do_lose_secret(self) -> None:
        self.human("deletes the secret")
        self.lost.add(SECRET_ARN)

    def do_no_room(self, none: bool) -> None:
        self.trace("person", f"no addresses: {none}")
        self.ecs.no_room = none

    def do_snapshots_fail(self) -> None:
        self.rds.failing = True

    def do_lose_subnet(self) -> None:
        self.surroundings.discard(SUBNET)

    def human(self, what: str) -> None:
        self.trace("person", what)
        self.humans += 1
        self.last_human = self.engine.now

    def digest(self, version: str) -> str | None:
        """The digest under a version's tag; None if it was not pushed."""
        tagged = (d for d, stored in self.ecr.stored.items() if version in stored.tags)
        return next(tagged, None)

    def _service(self) -> Service | None:
        result = self.ecs.services.get(self.spec["service"])
        return result if result and result.status == "ACTIVE" else None

    def checked(self, service: Service) -> None:
        self.invariants.looked(service)


def _short(request: Mapping[str, Any]) -> str:
    return str({k: v for k, v in request.items() if k not in ("TableName", "cluster")})[:140]


__all__ = ["REGION", "Execution", "Invocation", "Killed", "Plan", "World"]
