"""What must hold, whatever happens: docs/simulation.md says each in words.

Some are checked at the step that could break them, the others when all is quiet again.
"""

import marshal
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import refused
from tests.simulation import services
from tests.simulation.application import App
from tests.simulation.cloud import SECRET, Item
from tests.simulation.ecs import Deployment, OneOff, Service, Task

if TYPE_CHECKING:
    from tests.simulation.world import Execution, Invocation, World

TRANSITIONS, FRESH, LEASE = 1000, 90.0, 60.0
REACTION = 10.0  # seconds from ECS's end of a rollout to the record, if nothing is disturbed
_WRITES = {
    "RegisterTaskDefinition",
    "RunTask",
    "UpdateService",
    "CreateService",
    "CreateDBSnapshot",
    "RestoreDBInstanceFromDBSnapshot",
    "PutSecretValue",
    "CreateSchedule",
    "UpdateSchedule",
    "DeleteSchedule",
}
_SECRET = SECRET.encode()
_TELL = {"PutItem", "UpdateItem", "TransactWriteItems", "PutEvents"}
_CHANGES = ("UpdateService", "CreateService")
_SCHEDULES = ("CreateSchedule", "UpdateSchedule", "DeleteSchedule")
# faults after which a release may fail though it is good: its execution was ended from outside,
# or a permission was missing
ENDS = {"stopped", "expired", "denied"}


class Broken(AssertionError):
    """An invariant does not hold."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


class Invariants:
    """Watches a world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.stopped: set[str] = set()
        self.pushes: list[tuple[float, str, str | None]] = []
        self.requests: list[tuple[float, Mapping[str, Any]]] = []
        self.began: dict[tuple[str, str, str], list[str]] = {}
        self.last: dict[str, str] = {}  # the last rollout of each service
        self.rollouts: list[tuple[str, str, str]] = []
        self.newest_push = ""
        self.by_hand: Any = None  # what a service made by hand is, apart from its image
        self.writes = 0
        self.turns: dict[str, int] = {}  # which write gave it to an execution first
        self.holds: dict[str, int] = {}  # which write began it, by the time in it
        self.registered: dict[str, str] = {}
        self.humans_before = 0
        self.live: App | None = None
        self.first: Broken | None = None  # of this run

    def made_by_hand(self) -> None:
        """Somebody made the service: what the spec does not name must stay as it is."""
        self.by_hand = self._apart_from_its_image()

    def _apart_from_its_image(self) -> Any:
        """The service and its task definition, without its image and the circuit breaker."""
        service = self.world.ecs.services[self.world.spec["service"]]
        moves = ("deployments", "events", "runningCount", "pendingCount", "taskDefinition")
        shown = {k: v for k, v in service.described().items() if k not in moves}
        configuration = dict(shown["deploymentConfiguration"])
        configuration.pop("deploymentCircuitBreaker", None)
        definition = dict(self.world.ecs.revisions[service.primary.revision]["taskDefinition"])
        first, *others = definition.pop("containerDefinitions")
        definition.pop("taskDefinitionArn")
        containers = [{**first, "image": ""}, *others]
        return {**shown, "deploymentConfiguration": configuration}, definition, containers

    def begin(self) -> None:
        """A run begins: what was before it is no matter of this one."""
        self.stopped, self.pushes, self.requests = set(), [], []
        self.humans_before = self.world.humans
        self.first = None

    def broken(self, name: str, why: str) -> None:
        # kept, too: whoever announces something lets no error stop it
        self.first = self.first or Broken(name, why)
        raise self.first

    # At each step

    def pushed(self, digest: str, tag: str | None) -> None:
        self.pushes.append((self.world.engine.now, digest, tag))

    def requested(self, command: Mapping[str, Any]) -> None:
        self.requests.append((self.world.engine.now, command))

    def entered(self, execution: "Execution") -> None:
        if len(execution.path) > TRANSITIONS:
            self.broken("bounded", f"{execution.name} entered {TRANSITIONS} states")
        if execution.path[-1] == "Diagnose failure" and not self.world.plan.disturbed:
            self._called_at_once(execution)

    def _called_at_once(self, execution: "Execution") -> None:
        """A rollout whose tasks fail again and again is called failed when enough did."""
        for record in (r for r in self.records() if r["execution"] == execution.arn):
            for name, rollout in services.rollouts(self.world, record).items():
                service = self.world.ecs.services.get(name)
                dead = [t for t in service.dead if t.deployment.id == rollout] if service else []
                # what ended before is no failure of a release that found the rollout there
                result = (t.stopped or 0.0 for t in dead if t.failed)
                ends = sorted(when for when in result if when >= execution.first_poll)
                threshold = services.spec(self.world, name).get("failureThreshold", 3)
                late = ends[threshold - 1 :]
                if late and self.world.engine.now - late[0] > REACTION:
                    waited = self.world.engine.now - late[0]
                    self.broken("told in time", f"{waited:.0f} s after enough tasks had failed")

    def told(self, text: str, where: str) -> None:
        if SECRET in text:
            self.broken("no secret told", f"{where}: {text[:300]}")

    def _sent(self, request: Mapping[str, Any], operation: str) -> None:
        if _SECRET in marshal.dumps(dict(request)):  # a third of the time that its text takes
            self.told(str(request), operation)

    def raised(self, invocation: "Invocation", error: Exception) -> None:
        """A function failed by an error that nobody foresaw."""
        if isinstance(error, (AssertionError, NotImplementedError)):
            raise error
        if isinstance(error, (KeyError, TypeError, AttributeError, ValueError, StopIteration)):
            raise Broken("no bug", f"{invocation.function}: {error!r}") from error
        if self.world.denied and isinstance(error, ClientError) and refused(error):
            return
        if isinstance(error, ClientError) and not self.world.plan.hostile:
            raise Broken("every refusal is foreseen", f"{invocation.function}: {error}") from error

    def asked(self, invocation: "Invocation", operation: str, request: Mapping[str, Any]) -> None:
        if operation in _TELL:
            self._sent(request, operation)
        if operation not in _WRITES:
            return
        execution = invocation.execution
        passed = execution and (
            "Does it change the database?" in execution.path or "Diagnose failure" in execution.path
        )
        if not passed:
            self.broken("preflight first", f"{invocation.function} calls {operation} before it")
        if operation == "RestoreDBInstanceFromDBSnapshot":
            self._fits(invocation.payload["release"], request["DBSnapshotIdentifier"])
        if operation == "RunTask" or operation in _SCHEDULES:
            self._holds_the_lock(invocation)
        if (
            operation in _SCHEDULES
            and execution
            and not {*("Update schedules", "Update schedules of previous release")}
            & {*execution.path}
        ):
            self.broken("schedules follow", f"{invocation.function} calls {operation} too early")
        if operation in _CHANGES:
            self._task_before(invocation)
            self._may_change(invocation, request)
        if operation in _CHANGES and "taskDefinition" in request:
            self._schema(request["taskDefinition"], invocation)

    def _holds_the_lock(self, invocation: "Invocation") -> None:
        execution, turn = invocation.execution, self.record("#lock")
        held = turn is not None and execution is not None and turn["execution"] == execution.arn
        if execution and execution.status == "RUNNING" and not held:
            self.broken("one in flight", f"{execution.name} changes it without the lock")

    def ran(self, task: OneOff) -> None:
        """ECS runs a task of a release: for the first time, and after the snapshot?"""
        tasks = self._tasks_of(task.release)
        if any(other.which == task.which for other in tasks):
            self.broken("a task runs once", f"{task.started_by} runs again")
        if task.which == "after" or not self.world.spec.get("database") or not self.live:
            return
        grows = task.app.schema is not None and task.app.schema > self.world.database.schema
        if grows and "snapshot" not in (self.record(task.release) or {}):
            self.broken("a task runs once", f"{task.started_by} runs before the snapshot")

    def _tasks_of(self, release: str) -> list[OneOff]:
        return [t for t in self.world.ecs.one_offs.values() if t.release == release]

    def _task_before(self, invocation: "Invocation") -> None:
        """The service is about to be changed: is the task before the rollout done?"""
        release = invocation.payload["release"]
        due = "before" in self.world.spec and release["trigger"] in ("push", "deploy", "resume")
        ends = [t.exit_code for t in self._tasks_of(release["id"]) if t.which == "before"]
        if due and ends != [0]:
            why = f"{invocation.function} of {release['id']} after a task that ended with {ends}"
            self.broken("a failed task touches nothing", why)

    def _tasks_ended(self, record: Mapping[str, Any]) -> None:
        """A release gets its outcome: does none of its tasks run on, and did none fail unseen?"""
        tasks = self._tasks_of(record["id"])
        # one that is redriven may close the record while a recovery stops the task
        redriven = any("RedriveCount" in e.context for e in self.world.sfn.executions.values())
        left = [task for task in tasks if task.stopped is None]
        if left and not self.world.denied and not redriven:
            self.broken("no task runs on", f"{record['id']} is {record['outcome']}")
        ends = [t.exit_code for t in tasks if t.which == "after"]
        live = record["outcome"] == "SUCCEEDED" and record["trigger"] != "hold"
        if live and "after" in self.world.spec and ends != [0]:
            self.broken("no false success", f"the task after {record['id']} failed")

    def _fits(self, release: Mapping[str, Any], snapshot: str) -> None:
        """A snapshot is about to be restored for a release: does it know that database?"""
        held, _ = self.world.rds.schemas.get(snapshot, (None, ""))
        if held is not None and release["schema"] and held != release["schema"]["number"]:
            why = f"{snapshot} has schema {held}, {release['version']} knows {release['schema']}"
            self.broken("a snapshot fits", why)

    def _may_change(self, invocation: "Invocation", request: Mapping[str, Any]) -> None:
        """The deployer is about to change the service: is it its to change, and as it does?"""
        if not self.world.surroundings >= {*asked_subnets(request)}:
            self.broken("preflight first", "a subnet is missing")
        name = services.named(request)
        service = self.world.ecs.services.get(name)
        if service is None or service.status != "ACTIVE":
            return
        begun = invocation.execution.started if invocation.execution else 0.0
        meanwhile = self.world.last_human >= begun
        other = request.get("desiredCount") not in (None, 0, service.desired)
        if service.desired and other and not meanwhile:
            self.broken("the desired count is the team's", f"it was {service.desired}")
        restarts = invocation.function == "RestoreDatabase" and _restarts(service, invocation.begun)
        if request.get("desiredCount") == 0 and self.live and not restarts:
            self.broken("never dark", f"{invocation.function} scales a live service to zero")
        release = self.record(invocation.payload["release"]["id"]) or {}
        # a release of the same image may run on a revision that somebody else registered
        own = services.revisions(self.world, release).get(name) == service.primary.revision
        stays = request.get("taskDefinition", service.primary.revision) == service.primary.revision
        stays = stays and request.get("desiredCount") != 0
        theirs = self._theirs(service.primary.revision) and not own and not stays
        shown = "stale" not in self.world.plan.faults.values()
        shown = shown and service.changed + service.lag < invocation.begun
        if invocation.function == "RollBack" and theirs and shown:
            self.broken("others' changes stay", f"{service.primary.revision} is replaced")

    def _theirs(self, revision: str) -> bool:
        """Whether somebody else registered a revision meanwhile, past the deployer."""
        tags = {tag["key"] for tag in self.world.ecs.revisions[revision]["tags"]}
        return ":task-definition/by-hand:" in revision and "deployer:release" not in tags

    def _schema(self, revision: str, invocation: "Invocation") -> None:
        app, applied = self._app(revision), self.world.database.schema
        if app.schema is not None and app.schema < applied and self._known(applied, invocation):
            self.broken(
                "no older release on a newer schema",
                f"{invocation.function} puts {app.version} on schema {applied}",
            )

    def _known(self, schema: int, invocation: "Invocation") -> bool:
        """Whether the records can tell that the database has a schema: a release that brought it
        was live, or was left where it was because of it, or is what fails and ran."""
        for record in self.records():
            left = (record.get("rollback") or {}).get("action") == "LEAVE"
            brought = record["schema"] and record["schema"]["number"] >= schema
            if brought and (record.get("outcome") == "SUCCEEDED" or left):
                return True
            if brought and "outcome" not in record and self._ran(record, invocation.begun):
                return True
        return False

    def _ran(self, record: Mapping[str, Any], when: float) -> bool:
        """Whether a task of a release ran by then, also one before its rollout."""
        rollouts = {*services.rollouts(self.world, record).values()}
        tasks = [t for s in self.world.ecs.services.values() for t in (*s.dead, *s.tasks)]
        started = [t.started for t in tasks if t.deployment.id in rollouts]
        started += [t.started for t in self._tasks_of(record["id"])]
        return any(at is not None and at < when for at in started)

    def _app(self, revision: str) -> App:
        definition = self.world.ecs.revisions[revision]["taskDefinition"]
        return self.world.app_of(definition["containerDefinitions"][0]["image"])

    def answered(
        self,
        invocation: "Invocation",
        operation: str,
        request: Mapping[str, Any],
        answer: Mapping[str, Any],
    ) -> None:
        if operation == "RegisterTaskDefinition":
            arn = answer["taskDefinition"]["taskDefinitionArn"]
            tags = {tag["key"]: tag["value"] for tag in request["tags"]}
            of = f"{tags['deployer:release']} {request['family']}"
            earlier = self.registered.setdefault(of, arn)
            at_once = {"repeated", "twice"} & set(self.world.plan.faults.values())
            if earlier != arn and not at_once:
                self.broken("no needless revision", f"{arn} and {earlier} of one release")
        if operation in _CHANGES:
            self._changed(invocation, request, answer["service"])

    def _changed(
        self, invocation: "Invocation", request: Mapping[str, Any], service: Mapping[str, Any]
    ) -> None:
        """The deployer changed the service: is that one rollout at a time, and once?"""
        name = services.named(request)
        # without one, the service's own counts
        strategy = services.spec(self.world, name).get("strategy")
        limits = request.get("deploymentConfiguration", {})
        if strategy == "rolling" and limits.get("minimumHealthyPercent", 100) < 100:
            self.broken("never dark", "a rolling service may run nothing")
        rollout = service["deployments"][0]["id"]
        release = invocation.payload["release"]
        if self.last.get(name) == rollout:
            return
        if request.get("desiredCount") == 0:
            return
        if self.rollouts:
            before, of, execution = self.rollouts[-1]
            if of != release["id"] and not self._settled(of, execution):
                self.broken(
                    "one in flight", f"{rollout} of {release['id']} while {before} of {of} rolls"
                )
        began = self.began.setdefault((release["id"], invocation.function, name), [])
        began.append(rollout)
        humans = self.world.humans > self.humans_before
        noted = name in services.rollouts(self.world, self.record(release["id"]) or {})
        if len(began) > 1 and noted and not humans and not self._recovers(invocation):
            self.broken("one rollout a release", f"{invocation.function} began {began}")
        mine = invocation.execution.arn if invocation.execution else ""
        turn = self.record("#lock")
        if not turn or turn["execution"] != mine:
            alive = invocation.execution and invocation.execution.status == "RUNNING"
            if alive:
                self.broken("one in flight", f"{rollout} of {release['id']} without the lock")
        self.rollouts.append((rollout, release["id"], mine))
        self.last[name] = rollout
        if invocation.function == "UpdateService":
            services.updated(self.world, release, name)
        if release["trigger"] == "push" and invocation.function == "UpdateService":
            hold, taken = self.record("#hold"), self.turns.get(mine)
            if hold and taken and self.holds[hold["at"]] < taken:
                self.broken("a hold holds", f"{release['id']} goes on in spite of it")
            if self.newest_push and release["id"][:16] < self.newest_push[:16]:
                self.broken("newest push wins", f"{release['id']} after {self.newest_push}")
            self.newest_push = max(self.newest_push, release["id"])

    def _recovers(self, invocation: "Invocation") -> bool:
        return bool(invocation.execution and invocation.execution.name.startswith("recover-"))

    def _settled(self, release: str, execution: str) -> bool:
        """Whether a release has its outcome, or the execution that began its rollout is over."""
        record, began = self.record(release), self.world.sfn.executions[execution]
        over = began.status != "RUNNING"
        if "RedriveCount" in began.context:  # it ran on after another had taken the lock over
            over = over or (self.record("#lock") or {}).get("execution") != execution
        return record is None or "outcome" in record or over

    def record(self, release: str) -> Mapping[str, Any] | None:
        item = self.world.table.items.get(self.world.owner, {}).get(release)
        return item.plain if item else None

    def written(self, before: Item, after: Item) -> None:
        """An item of the table changed."""
        self.writes += 1
        match after["id"]["S"]:
            case "#lock":
                self.turns.setdefault(after["execution"]["S"], self.writes)
            case "#hold":
                self.holds.setdefault(after["at"]["S"], self.writes)
        if "rollout" in before and before.get("lockedAt") != after.get("lockedAt"):
            self.broken("history is whole", f"when {after['id']['S']} held the lock is overwritten")
        old, new = before.get("outcome"), after.get("outcome")
        if old and old != new and old["S"] != "IGNORED":
            self.broken("one outcome", f"{after['id']['S']}: {old['S']} became {new}")
        if new and new != old:
            self.world.trace("record", f"{after['id']['S']} is {new['S']}")
            self._tasks_ended(after.plain)
            if new["S"] == "SUCCEEDED" and after["trigger"]["S"] != "hold":
                self._success(after.plain)
            if new["S"] == "FAILED_ROLLED_BACK":
                self._rolled_back(after.plain)

    def announced(self, message: Mapping[str, Any]) -> None:
        """A release's start or outcome is announced: is it the recorded one, and told once?"""
        state, plan = message["state"], self.world.plan
        if state == "STARTED":
            return
        item = self.world.table.items.get(str(message["service"]), {}).get(message["id"])
        recorded = item.plain.get("outcome") if item else None
        if state != recorded:
            self.broken("announced once", f"{message['id']} is {recorded}, announced as {state}")
        again = [a for a in self.world.announced if (a["id"], a["state"]) == (message["id"], state)]
        # of two tries at once neither can know whether the other lived to announce it
        at_once = str(item.plain["execution"]) in self.world.overlapped if item else False
        if again and not plan.disturbed and not self.stopped and not at_once:
            self.broken("announced once", f"{message['id']} is announced as {state} again")

    def _rolled_back(self, record: Mapping[str, Any]) -> None:
        """A release is called rolled back: is the release before steady?"""
        lags = "stale" in self.world.plan.faults.values() or self.world.plan.noise is not None
        late = self.world.last_human > self.world.engine.now - REACTION
        if late or lags:
            return
        for service in services.those_there(self.world):
            if service.desired and service.primary.state != "COMPLETED":
                self.broken("back and steady", f"{record['id']}: {service.primary.state}")
        leading = self.world.ecs.services.get(self.world.spec["service"])
        revision = leading.primary.revision if leading and leading.deployments else None
        if revision and not self._theirs(revision):  # schedules are put back as they were
            self._schedules_run(revision, record)

    def _success(self, record: Mapping[str, Any]) -> None:
        """A release is called live: is it?"""
        service = self.world.ecs.services[self.world.spec["service"]]
        rollout = record["rollout"]["id"]
        ours = next((d for d in service.deployments if d.id == rollout), None)
        if ours is None or ours is not service.primary or ours.state != "COMPLETED":
            if self.world.humans > self.humans_before:
                return  # somebody changed it between the last look and the record
            self.broken("no false success", f"{rollout} of {record['id']} is not what runs")
            return
        app = self._app(ours.revision)
        if self.world.ecr.apps.get(record["digest"]) != app:
            self.broken("no false success", f"{app} runs, not {record['version']}")
        services.succeeded(self.world, record)
        self._schedules_run(ours.revision, record)
        app = app.within(service.name)
        before, self.live = self.live, app
        died = [t for t in service.dead if t.deployment is ours and self._recent(t.stopped)]
        running = [t for t in service.tasks if t.deployment is ours and t.status == "RUNNING"]
        # somebody may have deleted it between the last look and the record
        deleted = self.world.last_human > self.world.engine.now - REACTION
        if not running and not died:
            if deleted:
                return
            self.broken("no false success", f"no task of {record['version']} runs")
        self._baked([*running, *service.dead], ours, record)
        self._in_time(ours, record)
        verify = self.world.spec.get("verify")
        # what comes after the answer may take its time
        after = [t.created for t in self._tasks_of(record["id"]) if t.which == "after"]
        meanwhile = self.world.engine.now - min(after, default=self.world.engine.now)
        answers_at = {t.name: self.world.answered.get(t.name) for t in (*running, *died)}
        answered = [name for name, at in answers_at.items() if at and self._recent(at + meanwhile)]
        if verify and not answered and not deleted:
            self.broken("no false success", f"nothing of {record['version']} answered")
        wrong = {"wrong-version", "never-healthy", "hangs"}
        if before and before.fault != "empty-database":  # else nobody knows which data are right
            wrong.add("empty-database")
        if verify and app.fault in wrong:
            self.broken("no false success", f"{app} is called live")
        url = record.get("url")
        if verify and url:
            answers = [t for t in self.world.serving(url) if t.deployment is ours]
            if not answers and not died:
                self.broken("truthful URL", f"{url} leads to no task of {record['version']}")

    def _schedules_run(self, revision: str, record: Mapping[str, Any]) -> None:
        """A release is called live, or rolled back: do the schedules run the same revision?"""
        told = record["outcome"] != "SUCCEEDED" and self._schedules_are_told()
        for name, runs in self.world.scheduler.revisions().items():
            if runs != revision and not told:
                why = f"{name} runs {runs}, not {revision}: {record['id']} is {record['outcome']}"
                self.broken("schedules follow", why)

    def _schedules_are_told(self) -> bool:
        """Whether a record since the last success says that schedules could not be put back."""
        locked = [r for r in self.records() if "lockedAt" in r and "scheduled" in r]
        since = max((r["lockedAt"] for r in locked if r.get("outcome") == "SUCCEEDED"), default="")
        words = "schedules could not be put back"
        return any(words in r.get("reason", "") for r in locked if r["lockedAt"] > since)

    @property
    def _bake(self) -> float:
        """How long tasks must run, as docs/service-spec.md has it."""
        spec, service = self.world.spec, self.world.ecs.services[self.world.spec["service"]]
        definition = self.world.ecs.revisions[service.primary.revision]["taskDefinition"]
        probed = any("healthCheck" in one for one in definition["containerDefinitions"])
        checked = "verify" in spec or service.balancers or probed
        return float(spec.get("bake", 0 if checked else 60))

    def _baked(self, tasks: list[Task], ours: Deployment, record: Mapping[str, Any]) -> None:
        """Whether the tasks that ran at the last look had run for long enough, by now or by their
        end: one may end, and be replaced, between the look and the record."""
        now = self.world.engine.now
        last_look = self.world.sfn.executions[record["execution"]].last_poll
        ran = min(
            (
                (t.stopped or now) - t.started
                for t in tasks
                if t.deployment is ours and t.started is not None
                if t.started <= last_look <= (t.stopped or now)
            ),
            default=0.0,
        )
        if ran < self._bake - max(self.world.skew.values(), default=0.0):
            self.broken("no false success", f"{record['version']} has run for {ran:.0f} s")

    def _in_time(self, ours: Deployment, record: Mapping[str, Any]) -> None:
        execution = self.world.sfn.executions[record["execution"]]
        if self.world.plan.disturbed:
            return
        tasks = self.world.ecs.services[self.world.spec["service"]].tasks
        # without a health check a rollout is complete before its tasks answer
        ready = [t.ready for t in tasks if t.deployment is ours and t.ready is not None]
        baked = [t.started + self._bake for t in tasks if t.deployment is ours and t.started]
        ended = [t.stopped or 0.0 for t in self._tasks_of(record["id"])]
        others = services.ready_at(self.world, record)
        known = max([ours.completed, execution.first_poll, *ready, *baked, *ended, *others])
        waited = self.world.engine.now - known
        if waited > REACTION:
            self.broken("told in time", f"{waited:.0f} s after the rollout was complete")

    def _recent(self, when: float | None) -> bool:
        # each try that died after its look may hold the next one up for as long as its lease
        fresh = FRESH + LEASE * max(0, len(self.world.plan.faults) - 1)
        return when is not None and self.world.engine.now - when < fresh

    def looked(self, service: Service) -> None:
        """ECS's scheduler took a step: did it go where it must not by what we set?"""
        primary = service.primary
        if primary.state == "IN_PROGRESS" and primary.completed:
            app, applied = self._app(primary.revision), self.world.database.schema
            if app.schema is not None and app.schema < applied:
                self.broken("no older release on a newer schema", f"ECS goes back to {app.version}")
            came = {r["outcome"] for r in self._of(primary.revision) if "outcome" in r}
            acted = self.world.last_human >= primary.completed  # theirs may be what failed
            if came and "SUCCEEDED" not in came and not acted:
                self.broken("rollback is exact", f"ECS goes back to {app.version}: {came}")

    def _of(self, revision: str) -> list[Mapping[str, Any]]:
        return [r for r in self.records() if r.get("taskDefinition") == revision]

    # When all is quiet

    def at_rest(self) -> None:
        """Nothing happens any more: is all that was asked for done?"""
        if self.first:
            raise self.first
        records = self.records()
        for record in records:
            if "outcome" not in record:
                self.broken("one outcome", f"{record['id']} has none")
        self._no_orphans()
        left = [t.started_by for t in self.world.ecs.one_offs.values() if t.stopped is None]
        if left and not self.world.denied:
            self.broken("no task runs on", f"{left} still run")
        self._each_outcome_is_announced(records)
        self._each_push_has_its_record(records)
        self._no_false_failure(records)
        self._what_runs(records)
        services.at_rest(self.world, records)
        self._what_is_scheduled(records)
        self._the_rest_stays()
        self._where_the_data_is(records)
        self._history_is_whole(records)

    def _where_the_data_is(self, records: list[Mapping[str, Any]]) -> None:
        """The database's secret leads where the last restoration says, and what runs is there."""
        switched = [r for r in records if "restoration" in r]
        if not switched:
            return
        last = max(switched, key=lambda record: record.get("lockedAt", ""))
        if self._acted_since(last):
            return
        noted, leads = last["restoration"], self.world.rds.leads_to
        before, after = noted["before"]["instance"], noted["after"]["instance"]
        if self.world.rds.restored_from.get(after) != last["restore"]:
            self.broken("a snapshot fits", f"{after} is not of {last['restore']}")
        if last["outcome"] == "SUCCEEDED" and before not in self.world.rds.instances:
            self.broken("the data follows", f"{before} is gone")
        done = (last.get("rollback") or {}).get("database")
        back = (last["outcome"] == "FAILED_ROLLED_BACK" and not _kept(last)) or done is not None
        if last["outcome"] == "SUPERSEDED":  # it ended midway: does the deployer know where?
            remembered = self.record("#database") or {"instance": before}
            back = remembered["instance"] == before
        # where a permission kept the secret from being changed, the record says so
        unsure = last["outcome"] == "FAILED" and not back and "may point" in last["reason"]
        if leads != (before if back else after) and not unsure:
            self.broken("the data follows", f"{leads} after {last['reason']}")
        if self.world.rds.watched != leads and not unsure and not self.world.denied:
            watched = self.world.rds.watched
            self.broken("the data follows", f"alarms watch {watched}, not {leads}")
        for name in noted.get("stopped", {}):
            stopped = self.world.ecs.services.get(name)
            if stopped and not stopped.desired and not unsure:
                self.broken("never dark", f"{name} stays at zero: {last['reason']}")
        service = self.world.ecs.services.get(self.world.spec["service"])
        tasks = [t for t in service.tasks if t.status == "RUNNING" and t.wanted] if service else []
        elsewhere = [t for t in tasks if t.database is not self.world.database]
        if elsewhere and (back or last["outcome"] in ("SUCCEEDED", "FAILED_ROLLED_BACK")):
            self.broken("the data follows", f"a task is not on {leads}: {last['reason']}")

    def _history_is_whole(self, records: list[Mapping[str, Any]]) -> None:
        """No order fails because the deployer does not see what was live."""
        good = [r["endedAt"] for r in records if r["outcome"] == "SUCCEEDED" and "rollout" in r]
        for execution in self.world.sfn.executions.values():
            unseen = "no release was ever live" in execution.cause
            if unseen and any(began(at) < execution.started for at in good):
                self.broken("history is whole", f"{execution.name}: {execution.cause}")

    def undecided(self) -> bool:
        """Whether a push that could not be read as a release waits to be tried again."""
        known = self.world.table.items.get(f"tag:{self.world.spec['service']}", {})
        left = self.world.table.items.get(f"repository:{self.world.ecr.repository}", {})
        return any(
            f"{item.plain['digest']}#{item.plain['tag']}" not in known
            for item in left.values()
            if self._stands(item.plain["digest"], item.plain["tag"])
        )

    def _stands(self, digest: str, tag: str | None) -> bool:
        """Whether a tag is on an image, and deploys."""
        stored = self.world.ecr.stored.get(digest)
        deploys = tag is not None and re.fullmatch(self.world.spec["tags"], tag) is not None
        return deploys and stored is not None and stored.active and tag in stored.tags

    def records(self) -> list[Mapping[str, Any]]:
        """The records of the service's releases, in the order of their end."""
        items = self.world.table.items.get(self.world.owner, {})
        matches = [item.plain for name, item in items.items() if not name.startswith("#")]
        return sorted(
            (r for r in matches if "version" in r), key=lambda r: r.get("endedAt", r["startedAt"])
        )

    def _each_outcome_is_announced(self, records: list[Mapping[str, Any]]) -> None:
        if self.world.plan.faults or self.stopped:
            return
        output = {(detail["id"], detail["state"]) for detail in self.world.announced}
        for record in records:
            if record["outcome"] != "IGNORED" and (record["id"], record["outcome"]) not in output:
                self.broken("announced once", f"{record['id']}: {record['outcome']} is not")

    def _no_orphans(self) -> None:
        items = self.world.table.items.get(self.world.owner, {})
        left = [name for name in items if name == "#lock" or name.startswith("#waiting#")]
        if left:
            self.broken("no orphans", f"{left} are left")

    def _each_push_has_its_record(self, records: list[Mapping[str, Any]]) -> None:
        ignored = self.world.table.items.get(f"ignored:{self.world.spec['service']}", {})
        every = [*records, *(item.plain for item in ignored.values())]
        known = {(record["digest"], record["tag"]) for record in every}
        for when, digest, tag in self.pushes:
            if self._stands(digest, tag) and (digest, tag) not in known:
                self.broken("one outcome", f"the push of {tag} at {when} has no record")

    def _no_false_failure(self, records: list[Mapping[str, Any]]) -> None:
        """A good release whose execution was left alone succeeded, in a world that let it."""
        faults = set(self.world.plan.faults.values())
        if faults & ENDS or self.stopped or self.world.plan.hostile or len(faults) > 1:
            return
        if len(self.world.plan.faults) > 1 or self.world.humans > self.humans_before:
            return
        for record in records:
            app = self.world.ecr.apps.get(record["digest"])
            bad = record["outcome"] in ("FAILED", "FAILED_ROLLED_BACK")
            on_other_data = self.live is not None and self.live.fault == "empty-database"
            fits = app and self._knows_schema(app, records)
            if bad and app and app.good and fits and not on_other_data:
                why = record.get("reason", "")
                self.broken("no false failure", f"{app} is {record['outcome']}: {why}")

    def _knows_schema(self, app: App, records: list[Mapping[str, Any]]) -> bool:
        """Whether it knows the database's schema, and each that a release left in place may have
        brought: nobody but the database can tell whether a failed migration was undone."""
        left = [r for r in records if (r.get("rollback") or {}).get("action") == "LEAVE"]
        brought = [
            r["schema"]["number"] for r in left if r["schema"] and ("rollout" in r or "before" in r)
        ]
        # a restoration puts another in its place
        had = [database.schema for database in self.world.rds.databases.values()]
        return app.schema is None or app.schema >= max([*had, *brought])

    def _the_rest_stays(self) -> None:
        """Of an adopted service nothing changes but its image and the circuit breaker."""
        if self.by_hand is None or self.world.humans > self.humans_before:
            return
        now = self._apart_from_its_image()
        if now != self.by_hand:
            self.broken("others' changes stay", f"{now}, not {self.by_hand}")

    def _what_runs(self, records: list[Mapping[str, Any]]) -> None:
        """What the service runs is what the records say that it runs."""
        service = self.world.ecs.services.get(self.world.spec["service"])
        if service and any(service.configuration.get(k) != v for k, v in service.theirs.items()):
            self.broken("others' changes stay", f"{service.configuration}, not {service.theirs}")
        if service is None or service.status != "ACTIVE" or not service.deployments:
            if self.world.humans > self.humans_before:
                return
            if any(r["outcome"] == "SUCCEEDED" and "rollout" in r for r in records):
                self.broken("what runs", "there is no service")
            return
        primary = service.primary
        done = [
            r
            for r in records
            if "lockedAt" in r and ("rollout" in r or r.get("taskDefinition") == primary.revision)
        ]
        if not done:
            return
        newest = max(done, key=lambda r: r["lockedAt"])
        theirs = self._theirs(primary.revision)  # what ran before may be theirs
        if self._acted_since(newest) or (theirs and newest["outcome"] != "SUCCEEDED"):
            return
        good = [r for r in done if r["outcome"] == "SUCCEEDED"]
        if newest["outcome"] == "SUCCEEDED" and primary.revision != newest["taskDefinition"]:
            self.broken("what runs", f"{primary.revision}, not {newest['taskDefinition']}")
        last_good = good[-1]["taskDefinition"] if good else None
        if newest["outcome"] == "FAILED_ROLLED_BACK" and primary.revision != last_good:
            self.broken("rollback is exact", f"{primary.revision} runs; good was {last_good}")
        output = self.world.denied and "needs manual attention" in str(newest.get("reason"))
        elsewhere = good and primary.network != good[-1]["rollout"]["network"] and not output
        if newest["outcome"] != "SUCCEEDED" and primary.revision == last_good and elsewhere:
            self.broken("rollback is exact", f"{primary.network}: {newest['reason']}")
        action = (newest.get("rollback") or {}).get("action")
        if good and newest["outcome"] != "FAILED":
            self._serves(service, primary.revision)
        unmended = newest["outcome"] == "FAILED" and action not in ("LEAVE", "STOP")
        if unmended and not output and good and primary.revision != last_good:
            self.broken("what runs", f"{primary.revision} after {newest['reason']}")
        if not output:
            self._newest_or_ordered(records, good, primary.revision)

    def _what_is_scheduled(self, records: list[Mapping[str, Any]]) -> None:
        """The schedules run what the service runs, unless the record says that they do not; and
        there are those of the spec by which something went live last."""
        service = self.world.ecs.services.get(self.world.spec["service"])
        locked = [r for r in records if "lockedAt" in r and "scheduled" in r]
        if not locked or service is None or not service.deployments or self.world.denied:
            return
        newest = max(locked, key=lambda r: r["lockedAt"])
        if self._acted_since(newest) or self._schedules_are_told():
            return
        self._schedules_run(service.primary.revision, newest)
        names = {*self.world.scheduler.revisions()}
        good = [r for r in locked if r["outcome"] == "SUCCEEDED"]
        wanted = {*good[-1]["schedules"]["names"]} if good else {*names}
        if newest["outcome"] != "FAILED" and names != wanted:
            self.broken("schedules follow", f"there are {names}, not {wanted}")

    def _serves(self, service: Service, revision: str) -> None:
        app = self._app(revision)
        steady = app.good or app.fault == "wrong-version"
        healthy = [t for t in service.tasks if self.world.ecs.healthy(service, t)]
        if steady and not healthy and service.desired and not self.world.plan.hostile:
            self.broken("never dark", f"nothing of {app.version} runs at rest")

    def _newest_or_ordered(
        self, records: list[Mapping[str, Any]], good: list[Mapping[str, Any]], revision: str
    ) -> None:
        """The newest push that is good runs, unless a request says otherwise."""
        # a release that was recovered did not go live, whether another one came before that or not
        bad = [r for r in records if r["outcome"].startswith("FAILED") or "recoveredBy" in r]
        failed = {r["digest"] for r in bad}
        tagged = [(d, t) for _, d, t in self.pushes if self._stands(d, t)]
        self._sticky(records, good, revision)
        if not tagged or self.record("#hold"):
            return
        times = {put: self.world.put_at[put] for put in tagged}
        if self._ordered_since(records, max(times.values())):
            return
        last = [put for put, when in times.items() if when == max(times.values())]
        if any(self._unnoticed(*put) for put in last):
            return  # ECR does not tell when that was: it counts from the image's first push
        newest = [digest for digest, _ in last]
        apps = [self.world.ecr.apps[digest] for digest in newest]
        if failed & {*newest} or not all(app.good for app in apps) or not apps:
            return
        if self._app(revision) not in apps:  # of pushes within one second ECR knows no order
            self.broken("newest push wins", f"{self._app(revision)} runs, not {apps[0]}")

    def _ordered_since(self, records: list[Mapping[str, Any]], when: float) -> bool:
        """Whether a request by hand was carried out after a push, or ended the hold that had held
        the push back."""
        by_hand = [r for r in records if r["trigger"] in ("deploy", "rollback")]
        # a request is carried out even if a push that came while it waited was faster
        since = [r for r in by_hand if began(r.get("lockedAt") or r["startedAt"]) >= when]
        held = any(r["outcome"] == "HELD" and began(r["pushedAt"]) >= when for r in records)
        # one that failed stays if its schema allows no way back
        left = any((r.get("rollback") or {}).get("action") == "LEAVE" for r in since)
        return left or any(r["outcome"] == "SUCCEEDED" or held for r in since)

    def _acted_since(self, record: Mapping[str, Any]) -> bool:
        """Whether somebody changed the service past the deployer since a release held the lock, or
        took away for good what it needs."""
        acted = self.world.humans > self.humans_before
        late = self.world.last_human >= began(record["lockedAt"]) - REACTION
        gone = {"delete_image", "lose_secret"} & {what for _, what, _ in self.world.plan.moves}
        return acted and (late or bool(gone))

    def _unnoticed(self, digest: str, tag: str | None) -> bool:
        """Whether no event told that a tag was put on an image that had been there before."""
        before = self.world.ecr.stored[digest].pushed < self.world.put_at[digest, tag]
        return before and (digest, tag) in self.world.untold

    def _sticky(
        self, records: list[Mapping[str, Any]], good: list[Mapping[str, Any]], revision: str
    ) -> None:
        """What a request put in place runs until something newer is pushed or ordered."""
        backs = [r for r in good if r["trigger"] == "rollback"]
        if not backs:
            return
        back = max(backs, key=lambda r: r["startedAt"])
        left = [r for r in records if (r.get("rollback") or {}).get("action") == "LEAVE"]
        stay = (*good, *left)  # one whose schema allows no way back stays, too
        newer = [r for r in stay if r["startedAt"] > back["startedAt"] and r["trigger"] != "push"]
        pushed = [r for r in stay if r["trigger"] == "push" and r["pushedAt"] > back["startedAt"]]
        if not newer and not pushed and revision != back["taskDefinition"]:
            self.broken("a rollback sticks", f"{revision} runs, not {back['taskDefinition']}")


def _restarts(service: Service, since: float) -> bool:
    """Whether a service starts tasks again and again, or reads may still show that it did."""
    return (
        service.primary.state != "COMPLETED"
        or any(task.status != "RUNNING" for task in service.tasks)
        or any(task.deployment is service.primary for task in service.dead)
        or service.changed + service.lag >= since
    )


def _kept(record: Mapping[str, Any]) -> bool:
    """Whether what a release went back to is itself, in another network, and cannot run on the
    database as it was before the restoration."""
    before = record.get("previous") or {}
    known, applied = before.get("schema"), before.get("databaseSchema")
    older = known and applied and known["number"] < applied["number"]
    return bool(older) and before["taskDefinition"] == record.get("taskDefinition")


def began(text: str) -> float:
    """A time of a record, in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def asked_subnets(request: Mapping[str, Any]) -> list[str]:
    """The subnets that a request for a service names."""
    network = request.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    return list(network.get("subnets", []))
