"""Builds of a service's image: CodeBuild, the registry, and what must hold of them."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation import runtime
from tests.simulation.buckets import SOURCES, object_created
from tests.simulation.ecs import moment
from tests.simulation.engine import Box
from tests.simulation.invariants import ENDS, Invariants, began
from tests.simulation.world import (
    CALL_FAULTS,
    ECR_EVENT,
    EVENT_FAULTS,
    Invocation,
    Plan,
    World,
)

PROJECT, FETCH = "ImageBuild", "FetchSource"
_FOLDER = "image/coder/"
_TOKEN_LIFE = 300.0  # seconds; CodeBuild API reference, StartBuild, idempotencyToken
_PHASES = (
    *(("SUBMITTED", 1.0), ("QUEUED", 1.0), ("PROVISIONING", 8.0), ("DOWNLOAD_SOURCE", 2.0)),
    *(("INSTALL", 10.0), ("PRE_BUILD", 5.0), ("BUILD", 60.0), ("POST_BUILD", 30.0)),
    *(("UPLOAD_ARTIFACTS", 10.0), ("FINALIZING", 2.0), ("COMPLETED", 0.0)),
)
_MANIFEST = 25.0  # seconds of POST_BUILD: the layers come first, the manifest last
# In which phase a build fails, what its log says then, and whether the second try succeeds
_FAILURES: Mapping[str, tuple[str, str, bool]] = {
    "refused": ("PRE_BUILD", "image: VersionRefused: v is none of the tags", False),
    "does-not-compile": ("BUILD", "main.go:7:3: undefined: x", False),
    "interrupted": ("POST_BUILD", "image: PushInterrupted: a layer was lost on its way", False),
    "interrupted-once": ("POST_BUILD", "image: PushInterrupted: a layer was lost", True),
    "not-begun": ("PROVISIONING", "", False),
    "not-begun-once": ("PROVISIONING", "", True),
}
_ONCE = {name for name, (_, _, once) in _FAILURES.items() if once}


@dataclass(frozen=True)
class Archive:
    """An archive of sources: its name without the ending, what it holds, and what is wrong."""

    name: str
    content: str
    fault: str | None = None  # one of _FAILURES, or empty

    @property
    def good(self) -> bool:
        return self.fault is None or self.fault in _ONCE

    @property
    def key(self) -> str:
        return f"{_FOLDER}{self.name}.tar.gz"

    @property
    def body(self) -> bytes:
        return b"" if self.fault == "empty" else repr((self.content, self.fault)).encode()


@dataclass(eq=False)
class Build:
    """A build in CodeBuild."""

    name: str
    asked: Mapping[str, Any]
    begun: float
    status: str = "IN_PROGRESS"
    phases: list[str] = field(default_factory=list)
    said: str = ""
    exported: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> str:
        return str(self.asked["ProjectName"])

    @property
    def variables(self) -> Mapping[str, str]:
        output = self.asked.get("EnvironmentVariablesOverride", ())
        return {entry["Name"]: entry["Value"] for entry in output}

    def document(self) -> dict[str, Any]:
        """What Step Functions shows of it when it is over."""
        ended = "SUCCEEDED" if self.status == "SUCCEEDED" else "FAILED"
        phases: list[dict[str, Any]] = [
            {"PhaseType": name, "PhaseStatus": "SUCCEEDED", "DurationInSeconds": 1}
            for name in self.phases
        ]
        phases[-1] |= {"PhaseStatus": ended, "Contexts": [{"Message": "exit status 1"}]}
        variables = [{"Name": name, "Value": value} for name, value in self.exported.items()]
        return {
            "Arn": self.name,
            "BuildStatus": self.status,
            "Phases": phases,
            "Logs": {"GroupName": "builds", "StreamName": self.name, "DeepLink": "https://logs"},
            "ExportedEnvironmentVariables": variables,
        }


class CodeBuild:
    """The projects that build images and fetch commits."""

    def __init__(self, world: "BuildWorld") -> None:
        self.world = world
        self.builds: dict[str, Build] = {}
        self.tokens: dict[str, str] = {}
        self.waiting: dict[str, Box] = {}

    def start_build(self, request: Mapping[str, Any]) -> dict[str, Any]:
        token, now = request.get("IdempotencyToken"), self.world.engine.now
        before = self.builds.get(self.tokens.get(token or "", ""))
        if before and now - before.begun < _TOKEN_LIFE:
            return {"build": {"id": before.name}}
        build = Build(f"build-{len(self.builds)}", request, now)
        self.builds[build.name] = build
        if token:
            self.tokens[token] = build.name
        self.world.invariants.build_begun(build)
        self.world.engine.spawn(self._run, build)
        return {"build": {"id": build.name}}

    def awaited(self, name: str, box: Box) -> None:
        if self.builds[name].status == "IN_PROGRESS":
            self.waiting[name] = box
        else:
            self._tell(self.builds[name], box)

    def abandoned(self, box: Box) -> None:
        """The execution that waits for it has ended, so Step Functions stops it."""
        for name, waits in [*self.waiting.items()]:
            if waits is box:
                del self.waiting[name]
                self._end(self.builds[name], "STOPPED")

    def list_builds_for_project(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = f"${{{request['projectName']}}}"  # as the state machine's text names it
        ours = [b.name for b in self.builds.values() if b.project == wanted]
        return {"ids": ours[::-1]} if ours else {}

    def batch_get_builds(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"builds": [self._shown(self.builds[name]) for name in request["ids"]]}

    def _shown(self, build: Build) -> dict[str, Any]:
        variables = [{"name": n, "value": v} for n, v in build.variables.items()]
        return {
            "id": build.name,
            "buildStatus": build.status,
            "startTime": moment(build.begun),
            "currentPhase": build.phases[-1] if build.phases else "SUBMITTED",
            "phases": [{"phaseType": name} for name in build.phases],
            "environment": {
                "type": "LINUX_CONTAINER",
                "image": "i",
                "computeType": "BUILD_GENERAL1_SMALL",
                "environmentVariables": variables,
            },
        }

    def stop_build(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._end(self.builds[request["id"]], "STOPPED")
        return {}

    def _run(self, build: Build) -> None:
        if FETCH in build.project:
            self._fetch(build)
            return
        world, archive = self.world, self.world.archive_of(build)
        fault = archive.fault or ""
        if fault in _ONCE and world.tried(archive) > 1:
            fault = ""
        fails, message, _ = _FAILURES.get(fault, ("", "", False))
        for name, seconds in _PHASES:
            build.phases.append(name)
            if name == fails:
                world.engine.pause(seconds / 2)
                build.said = message
                self._end(build, "FAULT" if name == "PROVISIONING" else "FAILED")
                return
            if name == "POST_BUILD":
                world.engine.pause(_MANIFEST)
                if build.status == "IN_PROGRESS":
                    world.push_image(build, archive)
                seconds -= _MANIFEST
            world.engine.pause(seconds)
            if build.status != "IN_PROGRESS":
                return
        self._end(build, "SUCCEEDED")

    def _fetch(self, build: Build) -> None:
        commit = build.asked["SourceVersion"]
        build.phases.append("BUILD")
        self.world.engine.pause(20.0)
        if build.status != "IN_PROGRESS":
            return
        self.world.do_upload(Archive(commit, commit))
        self._end(build, "SUCCEEDED")

    def _end(self, build: Build, status: str) -> None:
        if build.status != "IN_PROGRESS":
            return
        build.status = status
        self.world.trace("builds", f"{build.name} is {status}")
        box = self.waiting.pop(build.name, None)
        if box:
            self._tell(build, box)

    def _tell(self, build: Build, box: Box) -> None:
        document = {"Build": build.document()}
        if build.status == "SUCCEEDED":
            self.world.engine.fill(box, ("done", document))
        else:
            error = "States.TaskFailed", json.dumps(document)
            self.world.engine.fill(box, ("failed", error))


class BuildWorld(World):
    """A world in which a service's image is built; nothing of it is deployed."""

    MACHINE, OWNER = "build", "build:coder"

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__(spec)
        self.codebuild = CodeBuild(self)
        self.invariants: BuildInvariants = BuildInvariants(self)
        self.uploads: list[tuple[float, str, Archive]] = []  # when, which version, of what
        self.images: dict[str, tuple[float, Build]] = {}  # by content: pushed when, by which build
        self.tries: dict[Archive, int] = {}

    def archive_of(self, build: Build) -> Archive:
        wanted = build.variables["SOURCE_VERSION"]
        return next(archive for _, version, archive in self.uploads if version == wanted)

    def tried(self, archive: Archive) -> int:
        self.tries[archive] = self.tries.get(archive, 0) + 1
        return self.tries[archive]

    def push_image(self, build: Build, archive: Archive) -> None:
        """The image tool puts the manifest into ECR, unless it is there."""
        build.exported = {"VERSION": archive.content, "OUTCOME": "PUSHED"}
        if archive.content in self.images:
            build.exported["OUTCOME"] = "SKIPPED"
            return
        self.invariants.image_pushed(build)
        self.images[archive.content] = self.engine.now, build
        self.trace("builds", f"{build.name} pushes {archive}")

    def get_log_events(self, request: Mapping[str, Any]) -> dict[str, Any]:
        message = self.codebuild.builds[request["logStreamName"]].said
        return {"events": [{"timestamp": 0, "message": message}] if message else []}

    def do_upload(self, archive: Archive) -> None:
        """Somebody uploads an archive of sources."""
        version = self.s3.put(SOURCES, archive.key, archive.body)["VersionId"]
        self.uploads.append((float(int(self.engine.now)), version, archive))
        self.trace("person", f"uploads {archive}: {version}")
        self._tell_upload(archive.key, version)

    def do_tell_again(self, name: str, late: float = 0.0) -> None:
        """The event of an upload comes once more."""
        for _, version, archive in self.uploads:
            if archive.name == name:
                self.engine.after(late, self._tell_upload, archive.key, version)
                break

    def _tell_upload(self, key: str, version: str) -> None:
        event = object_created(key, version, runtime.iso(self.engine.now))
        self._send(ECR_EVENT, self._start_by_event, event)

    def do_stop_build(self) -> None:
        """Somebody stops the build that runs, in CodeBuild."""
        for build in self.codebuild.builds.values():
            if build.status == "IN_PROGRESS":
                self.human(f"stops {build.name}")
                self.codebuild.stop_build({"id": build.name})

    def newer(self) -> None:
        self.do_upload(Archive(f"newer-{len(self.uploads)}", "newer"))

    def _hold(self) -> None:
        """Nobody holds builds."""


class BuildInvariants(Invariants):
    """What must hold of builds."""

    world: BuildWorld

    def asked(self, invocation: Invocation, operation: str, request: Mapping[str, Any]) -> None:
        if operation in ("PutItem", "UpdateItem", "TransactWriteItems", "PutEvents"):
            self._sent(request, operation)

    def answered(self, *_: Any) -> None:
        pass

    def looked(self, *_: Any) -> None:
        pass

    def _success(self, record: Mapping[str, Any]) -> None:
        content = self._archive(record).content
        if content not in self.world.images:
            self.broken("no false success", f"{record['id']}: {content} is not in ECR")

    def build_begun(self, build: Build) -> None:
        """A build begins."""
        if FETCH in build.project:
            return
        world, execution = self.world, build.variables["EXECUTION"]
        content = world.archive_of(build).content
        theirs = [
            b for b in world.codebuild.builds.values() if b is not build and PROJECT in b.project
        ]
        for other in theirs:
            if other.status != "IN_PROGRESS":
                continue
            same = world.archive_of(other).content == content
            what = "never two builds of one content" if same else "one in flight"
            self.broken(what, f"{build.name} begins while {other.name} runs")
        tries = 1 + sum(other.variables["EXECUTION"] == execution for other in theirs)
        if tries > 3:
            self.broken("bounded", f"{build.name} is try {tries} of {execution}")
        alive = world.sfn.executions[execution].status == "RUNNING"
        if alive and (self.record("#lock") or {}).get("execution") != execution:
            self.broken("one in flight", f"{build.name} begins without the lock")
        mine = self._of_execution(execution)
        theirs_before = [
            r
            for r in self.records()
            if r["content"] == mine["content"] and began(r["startedAt"]) < began(mine["startedAt"])
        ]
        last = max(theirs_before, key=lambda r: began(r["startedAt"]), default={})
        built = last.get("outcome") == "SUCCEEDED" and last["endedAt"] < mine["startedAt"]
        if mine["trigger"] == "push" and built:
            why = f"{build.name}: {last['id']} was built of {content}"
            self.broken("never two builds of one content", why)

    def image_pushed(self, build: Build) -> None:
        """A build puts its image into ECR."""
        record = self._of_execution(build.variables["EXECUTION"])
        if "outcome" in record:
            self.broken("no push after a refusal", f"{record['id']} is {record['outcome']}")
        for _, other in self.world.images.values():
            newer = self._of_execution(other.variables["EXECUTION"])
            pushes = record["trigger"] == newer["trigger"] == "push"
            if pushes and newer["pushedAt"] > record["pushedAt"]:
                self.broken("newest push wins", f"{record['id']} after {newer['id']}")

    def _of_execution(self, execution: str) -> Mapping[str, Any]:
        return next(r for r in self.records() if r["execution"] == execution)

    def _archive(self, record: Mapping[str, Any]) -> Archive:
        wanted = record["source"]["version"]
        return next(a for _, version, a in self.world.uploads if version == wanted)

    def at_rest(self) -> None:
        super().at_rest()
        if left := [
            b.name for b in self.world.codebuild.builds.values() if b.status == "IN_PROGRESS"
        ]:
            self.broken("no orphans", f"{left} still run")

    def _each_push_has_its_record(self, records: list[Mapping[str, Any]]) -> None:
        known = {(r["source"]["key"], began(r["pushedAt"])) for r in records}
        newest = {archive: when for when, _, archive in self.world.uploads}
        unread = self.world.denied or "denied" in self.world.plan.faults.values()
        for archive, when in newest.items():  # of a key that was written twice S3 lists the newest
            last = max(at for at, _, other in self.world.uploads if other.key == archive.key)
            lost = (archive.key, when) not in known and archive.fault != "empty"
            if lost and when == last and not unread:
                self.broken("one outcome", f"{archive} has no record")
        items = self.world.table.items.get(self.world.owner, {}).values()
        recorded = {item.plain.get("execution") for item in items}
        for execution in self.world.sfn.executions.values():
            if execution.status == "FAILED" and execution.arn not in recorded and not unread:
                self.broken("one outcome", f"{execution.name} failed without a record")

    def _no_false_failure(self, records: list[Mapping[str, Any]]) -> None:
        for record in records:
            self._fails_rightly(record)
            if record["outcome"] == "IGNORED":
                self._is_built(record, records)

    def _fails_rightly(self, record: Mapping[str, Any]) -> None:
        faults = [*self.world.plan.faults.values()]
        lenient = {*faults} & ENDS or self.stopped or len(faults) > 1
        stopped = self.world.humans > self.humans_before
        if lenient or stopped or not self._archive(record).good:
            return
        if record["outcome"] == "FAILED":
            self.broken("no false failure", f"{record['id']}: {record.get('reason')}")

    def _is_built(self, record: Mapping[str, Any], records: list[Mapping[str, Any]]) -> None:
        """What was ignored because its content was built, or was being built, has such a build."""
        same = [r for r in records if r["content"] == record["content"] and r is not record]
        late = [r for r in same if r["endedAt"] > record["startedAt"] and r["outcome"] != "IGNORED"]
        if not late and not any(r["outcome"] == "SUCCEEDED" for r in same):
            self.broken("no false failure", f"{record['id']}: {record['reason']}")

    def _what_runs(self, records: list[Mapping[str, Any]]) -> None:
        ended = bool({*self.world.plan.faults.values()} & ENDS or self.stopped)
        ended |= self.world.humans > self.humans_before  # who may have stopped the build
        for content, (_, build) in self.world.images.items():
            outcome = self._of_execution(build.variables["EXECUTION"])["outcome"]
            if outcome != "SUCCEEDED" and not ended:
                self.broken("no push after a refusal", f"{content} is in ECR, and {outcome}")
        self._newest(records)

    def _newest(self, records: list[Mapping[str, Any]]) -> None:
        """The newest upload is built, unless it failed."""
        if not self.world.uploads:
            return
        last = max(when for when, _, _ in self.world.uploads)
        newest = {version for when, version, _ in self.world.uploads if when == last}
        theirs = [r for r in records if r["source"]["version"] in newest and r["trigger"] == "push"]
        came = {r["outcome"] for r in theirs}
        requested = {r["id"] for r in records if r["trigger"] == "deploy"}
        if any(r.get("by") in requested for r in theirs):
            return  # a request that was given later was carried out
        if came and not came & {"SUCCEEDED", "FAILED", "IGNORED"}:
            self.broken("newest push wins", f"the newest upload is {came}")

    def _where_the_data_is(self, *_: Any) -> None:
        pass

    def _history_is_whole(self, *_: Any) -> None:
        pass


def upload(at: float, name: str, fault: str | None = None, content: str = "") -> Any:
    return at, "upload", (Archive(name, content or f"of {name}", fault),)


def command(at: float, name: str) -> Any:
    document = {"action": "build", "service": "coder", "key": f"{_FOLDER}{name}.tar.gz"}
    return at, "order", (document,)


def fetch(at: float, commit: str) -> Any:
    return at, "order", ({"action": "build", "service": "coder", "commit": commit},)


COMMIT = "e0f93fb88d0000000000000000000000000000a1"
PLANS: Mapping[str, Plan] = {
    "builds: an upload": Plan("builds", (upload(0, "a"),)),
    "builds: a commit": Plan("builds", (fetch(0, COMMIT),)),
    "builds: by order, and another archive meanwhile": Plan(
        "builds", (upload(0, "a"), command(200, "a"), upload(201.5, "a", content="other"))
    ),
    "builds: what does not compile": Plan(
        "builds", (upload(0, "a", "does-not-compile"), upload(200, "b"))
    ),
    "builds: a version that is refused": Plan("builds", (upload(0, "a", "refused"),)),
    "builds: nothing in it": Plan("builds", (upload(0, "a", "empty"),)),
    "builds: a push that is interrupted once": Plan(
        "builds", (upload(0, "a", "interrupted-once"),)
    ),
    "builds: a push that is always interrupted": Plan("builds", (upload(0, "a", "interrupted"),)),
    "builds: no machine": Plan("builds", (upload(0, "a", "not-begun"), upload(300, "a2"))),
    "builds: the same content, twice at once": Plan(
        "builds", (upload(0, "a", content="c"), upload(2, "b", content="c"))
    ),
    "builds: the same content again": Plan(
        "builds", (upload(0, "a", content="c"), upload(200, "b", content="c"))
    ),
    "builds: the same content by order, and again": Plan(
        "builds",
        (
            upload(0, "a", content="c"),
            command(50, "a"),
            upload(160, "b", "interrupted"),
            upload(230, "a", content="c"),
        ),
    ),
    "builds: the same content after it failed": Plan(
        "builds",
        (
            upload(0, "a", "not-begun", content="c"),
            (50, "stop", ()),
            upload(300, "b", "not-begun", content="c"),
        ),
    ),
    "builds: the same content after it was stopped for another": Plan(
        "builds",
        (upload(0, "a", content="c"), upload(40, "b"), upload(50, "a2", content="c")),
    ),
    "builds: a newer one while it builds": Plan("builds", (upload(0, "a"), upload(50, "b"))),
    "builds: a newer one while it pushes": Plan("builds", (upload(0, "a"), upload(112, "b"))),
    "builds: a newer one when it has pushed": Plan("builds", (upload(0, "a"), upload(122, "b"))),
    "builds: three uploads": Plan("builds", (upload(0, "a"), upload(3, "b"), upload(6, "c"))),
    "builds: two wait for one that pushes": Plan(
        "builds", (upload(0, "a"), upload(115, "b"), upload(117, "c"))
    ),
    "builds: stopped midway": Plan("builds", (upload(0, "a"), (60.0, "stop", ()), upload(90, "b"))),
    "builds: stopped, and no event tells of it": Plan(
        "builds", (upload(0, "a"), (60.0, "stop", ())), news={1: "lost"}
    ),
    "builds: an upload of which no event tells": Plan(
        "builds", (upload(0, "a"),), news={0: "lost"}
    ),
    "builds: stopped in CodeBuild": Plan("builds", (upload(0, "a"), (60.0, "stop_build", ()))),
    "builds: stopped and redriven": Plan(
        "builds", (upload(0, "a"), (60.0, "stop", ()), upload(380, "b"), (400.0, "redrive", ()))
    ),
}


# StartBuild begins a build, and its answer is lost; Identify source is tried again, and meanwhile
# another archive lies under the key
AT_CALLS = (
    replace(PLANS["builds: an upload"], faults={18: "lost"}),
    replace(PLANS["builds: by order, and another archive meanwhile"], faults={48: "timed-out"}),
)
# the shortest schedules of what random plans found in the deployer; it is mended
FOUND: Mapping[str, Plan] = {
    "two uploads of one content within a second had one record": Plan(
        "builds", (upload(0, "a", content="c"), upload(0, "b", content="c")), live=False
    ),
    "a redriven execution built without the lock": PLANS["builds: stopped and redriven"],
    "a content that a request was building was built once more": PLANS[
        "builds: the same content by order, and again"
    ],
}


def random_plan(seed: int) -> Plan:
    """The plan that an integer is."""
    dice = random.Random(f"builds {seed}")
    moves: list[Any] = []
    faults_of = (None, None, None, None, *_FAILURES, "empty")
    for number in range(1, dice.choice((1, 2, 2, 3, 4, 10)) + 1):
        name, content = dice.choice((f"a{number}", "again")), dice.choice(("", "", "c", "d"))
        fault = None if content else dice.choice(faults_of)
        moves.append(upload(dice.uniform(0, 250), name, fault, content))
    names = [move[2][0].name for move in moves]
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        name = dice.choice(names)
        deeds = (
            *(command(0, name), fetch(0, COMMIT), (0, "stop", ()), (0, "stop_build", ())),
            (0, "tell_again", (name, dice.choice((0.0, 100.0)))),
        )
        moves.append((dice.uniform(0, 350), *dice.choice(deeds)[1:]))
    calls, number = 40 * len(moves), dice.choice((0, 1, 1, 2, 4))
    faults = {dice.randrange(calls): dice.choice((*CALL_FAULTS, "newer")) for _ in range(number)}
    news = {dice.randrange(12): dice.choice(EVENT_FAULTS) for _ in range(dice.choice((0, 0, 1, 2)))}
    noise = dice.choice((None, seed, seed))
    if dice.random() < 0.15:
        moves.append((dice.uniform(0, 400), "redrive", ()))
    moves.sort(key=lambda move: move[0])
    return Plan("builds", tuple(moves), live=False, faults=faults, news=news, noise=noise)


__all__ = ["PLANS", "Archive", "BuildWorld", "upload"]
