"""A documentation site: S3, the build, the switch at the edge, and what must hold of them."""

import io
import json
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from greenlet import getcurrent

from tests.simulation import runtime
from tests.simulation.buckets import SITE_BUCKET as BUCKET
from tests.simulation.buckets import SOURCES, object_created
from tests.simulation.ecs import moment
from tests.simulation.engine import Box
from tests.simulation.errors import AwsError
from tests.simulation.invariants import ENDS, Invariants
from tests.simulation.world import (
    CALL_FAULTS,
    ECR_EVENT,
    EVENT_FAULTS,
    INTERLEAVED,
    Invocation,
    Plan,
    World,
)

EDGE = 3.0  # seconds until a switch has reached the edge
BUILD_SECONDS = 30.0
_OF_NEWEST = ("push", "resume", "deploy")  # a request to publish names no archive
_SITE_WRITES = {"PutObject", "CopyObject", "DeleteObjects"}
SITE = {
    "site": "guide",
    "url": "https://guide.example",
    "bucket": BUCKET,
    "distribution": "E1",
    "store": "arn:aws:cloudfront::123456789012:key-value-store/1",
    "build": {"role": "arn:aws:iam::123456789012:role/guide-docs-build"},
    "keepReleases": 2,
    "timeout": 60,
    "trailingSlash": "",
}


@dataclass(frozen=True)
class Site:
    """The sources of a site: what their build makes, and what is wrong with it."""

    version: str
    fault: str | None = None  # build-fails, no-front-page, unanswered

    @property
    def good(self) -> bool:
        return self.fault is None

    def sources(self) -> bytes:
        package = json.dumps({"scripts": {"build": self.version}})
        return _zip({"package.json": package, "pnpm-lock.yaml": "", "site": repr(self)})

    def built(self) -> bytes:
        pages = {"index.html": self.version, "a/index.html": f"a {self.version}", "same.css": "-"}
        if self.fault == "no-front-page":
            pages.pop("index.html")
        return _zip({**pages, "404.html": f"lost in {self.version[:2]}"})


def _zip(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


class Switch:
    """The key value store of the distribution."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.value, self.etag, self.seen = "", 0, ""

    def describe_key_value_store(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"ETag": str(self.etag)}

    def update_keys(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["IfMatch"] != str(self.etag):
            raise AwsError("ConflictException", "the store has another version")
        self.value, self.etag = _value(asked), self.etag + 1
        self.world.engine.after(EDGE, self._reach, self.value)
        return {"ETag": str(self.etag)}

    def _reach(self, value: str) -> None:
        self.seen = value

    @property
    def folders(self) -> list[str]:
        return [name for name in self.value.split(",") if name]


def _value(asked: Mapping[str, Any]) -> str:
    """The releases that an update of the store names, the live one first."""
    return next(str(p["Value"]).partition(";")[0] for p in asked["Puts"] if p["Key"] == "releases")


class Builds:
    """CodeBuild, as the project of the docs has it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: dict[str, Box | None] = {}
        self.asked: dict[str, Mapping[str, Any]] = {}

    def start_build(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = f"build-{len(self.asked)}"
        self.asked[name], self.waiting[name] = request, None
        self.world.engine.after(BUILD_SECONDS, self._end, name)
        return {"build": {"id": name}}

    def awaited(self, name: str, box: Box) -> None:
        self.waiting[name] = box

    def abandoned(self, box: Box) -> None:
        """The execution that waits for it has ended, so Step Functions stops it."""
        for name, waits in [*self.waiting.items()]:
            if waits is box:
                del self.waiting[name]

    def _end(self, name: str) -> None:
        box = self.waiting.pop(name, None)
        if box is None:
            return
        bucket, _, key = self.asked[name]["SourceLocationOverride"].partition("/")
        s3 = self.world.s3
        with zipfile.ZipFile(io.BytesIO(s3.find(bucket, key).body)) as archive:
            site: Site = eval(archive.read("site"))
        if site.fault == "build-fails":
            context = {"Message": "exit status 1"}
            phase = {"PhaseType": "BUILD", "PhaseStatus": "FAILED", "Contexts": [context]}
            build = {"Build": {"BuildStatus": "FAILED", "Phases": [phase]}}
            self.world.engine.fill(box, ("failed", ("States.TaskFailed", json.dumps(build))))
            return
        target = self.asked[name]["ArtifactsOverride"]
        key = f"{target['Path']}/{target['Name']}"
        s3.put(target["Location"], key, site.built())
        location = f"arn:aws:s3:::{target['Location']}/{key}"
        done = {"Build": {"Artifacts": {"Location": location}}}
        self.world.engine.fill(box, ("done", done))


class SiteWorld(World):
    """A world with a documentation site and no service."""

    MACHINE, OWNER = "docs", "docs:guide"

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__(spec)
        self.switch, self.codebuild = Switch(self), Builds(self)
        self.invariants: SiteInvariants = SiteInvariants(self)
        self.invalidated: dict[str, float] = {}
        self.uploads: list[tuple[float, str, Site]] = []  # when, which version, of what

    def get_parameters_by_path(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["Path"] != runtime.ENVIRONMENT["SITE_PATH"]:
            return {"Parameters": []}
        return {"Parameters": [{"Name": f"{request['Path']}/guide", "Value": json.dumps(SITE)}]}

    def create_invalidation(self, request: Mapping[str, Any]) -> dict[str, Any]:
        batch = request["InvalidationBatch"]
        begun = self.invalidated.setdefault(batch["CallerReference"], self.engine.now)
        status = "Completed" if self.engine.now - begun > 15 else "InProgress"
        shown = {"Id": "I1", "Status": status, "CreateTime": moment(begun)}
        return {"Invalidation": {**shown, "InvalidationBatch": batch}}

    def http(self, url: str) -> Any:
        from deployer.deploy.verification import Answer

        process: Any = getcurrent()
        self._pause(process.invocation, 0.02)
        folder, path = self.switch.seen.partition(",")[0], url.partition(".example/")[2]
        if not folder or self.site_in(folder).fault == "unanswered":
            return None
        key = f"releases/{folder}/{path}" + ("index.html" if not path or path[-1] == "/" else "")
        if key not in self.s3:
            return Answer(404, {}, b"")
        result = self.s3.objects[BUCKET, key][-1]
        return Answer(200, {"x-amz-meta-release": result.release}, result.body)

    def site_in(self, folder: str) -> Site:
        """The sources that a folder was built from."""
        records = [r for r in self.invariants.records() if r.get("folder") == folder]
        versions = {version: site for _, version, site in self.uploads}
        return versions[records[0]["sourceVersion"]]

    def do_upload(self, site: Site) -> None:
        """Somebody uploads an archive of the site's sources."""
        key = f"docs/guide/{site.version}.zip"
        version = self.s3.put(SOURCES, key, site.sources())["VersionId"]
        self.uploads.append((float(int(self.engine.now)), version, site))
        self.trace("person", f"uploads {site}: {version}")
        self._tell_upload(key, version)

    def do_tell_again(self, version: str, late: float = 0.0) -> None:
        """The event of an upload comes once more."""
        for _, entry, site in self.uploads:
            if site.version == version:
                self.engine.after(late, self._tell_upload, f"docs/guide/{version}.zip", entry)
                break

    def _tell_upload(self, key: str, version: str) -> None:
        event = object_created(key, version, runtime.iso(self.engine.now))
        self._send(ECR_EVENT, self._start_by_event, event)

    def newer(self) -> None:
        self.do_upload(Site("v9"))


class SiteInvariants(Invariants):
    """What must hold of a site."""

    world: SiteWorld

    def asked(self, invocation: Invocation, operation: str, request: Mapping[str, Any]) -> None:
        if operation in _SITE_WRITES and request["Bucket"] == BUCKET:
            self._has_lock(invocation, operation)
        if operation == "DeleteObjects":
            for entry in request["Delete"]["Objects"]:
                folder = entry["Key"].split("/")[1].removesuffix(".json")
                if folder in self.world.switch.folders:
                    self.broken("live site never half deleted", f"{entry['Key']} is deleted")
        if operation == "UpdateKeys" and request["IfMatch"] == str(self.world.switch.etag):
            self._may_switch(invocation, _value(request).split(",")[0])

    def answered(self, *_: Any) -> None:
        pass

    def looked(self, *_: Any) -> None:
        pass

    def _has_lock(self, invocation: Invocation, what: str) -> None:
        turn, execution = self.record("#lock"), invocation.execution
        mine = turn and execution and turn["execution"] == execution.arn
        if not mine or (turn or {}).get("changesUntil", 0) <= self.world.engine.now * 1e6:
            self.broken("one in flight", f"{invocation.function}: {what} without the lock")

    def _may_switch(self, invocation: Invocation, folder: str) -> None:
        execution = invocation.execution
        assert execution
        turn = self.record("#lock")
        if execution.status == "RUNNING" and (turn or {}).get("execution") != execution.arn:
            self.broken("one in flight", f"{execution.name} switches without the lock")
        if not self._whole(folder):
            self.broken("live site never half deleted", f"{folder} becomes live and is not whole")
        if execution.path[-1] != "Switch release":
            return
        release = next(r for r in self.records() if r["execution"] == execution.arn)
        if release["trigger"] not in _OF_NEWEST:
            return
        live = [r for r in self.records() if r.get("outcome") == "SUCCEEDED"]
        newest = max((r["pushedAt"] for r in live if r["trigger"] in _OF_NEWEST), default="")
        if release["pushedAt"] < newest:
            self.broken("newest push wins", f"{release['id']} after {newest}")
        hold, taken = self.record("#hold"), self.turns.get(execution.arn)
        if release["trigger"] == "push" and hold and taken and self.holds[hold["at"]] < taken:
            self.broken("a hold holds", f"{release['id']} goes on in spite of it")

    def _whole(self, folder: str) -> bool:
        key = BUCKET, f"manifests/{folder}.json"
        if key not in self.world.s3.objects:
            return False
        files = json.loads(self.world.s3.objects[key][-1].body)["files"]
        return all(f"releases/{folder}/{path}" in self.world.s3 for path in files)

    def _success(self, record: Mapping[str, Any]) -> None:
        if record["folder"] not in self.world.switch.seen.split(",")[:1]:
            self.broken("no false success", f"{record['id']} is not what is served")
        if not self.world.site_in(record["folder"]).good:
            self.broken("no false success", f"{record['version']} is called live")

    def _rolled_back(self, record: Mapping[str, Any]) -> None:
        if record["folder"] in self.world.switch.folders[:1]:
            self.broken("back and steady", f"{record['id']} is live still")

    def _each_push_has_its_record(self, records: list[Mapping[str, Any]]) -> None:
        known = {r["sourceVersion"] for r in records}
        newest: dict[str, str] = {site.version: entry for _, entry, site in self.world.uploads}
        unread = self.world.denied or "denied" in self.world.plan.faults.values()
        for entry in newest.values():  # of a key that was written twice S3 lists the newest only
            if entry not in known and not unread:
                self.broken("one outcome", f"{entry} has no record")

    def _no_false_failure(self, records: list[Mapping[str, Any]]) -> None:
        faults = [*self.world.plan.faults.values()]
        if {*faults} & ENDS or self.stopped or len(faults) > 1:
            return
        sites = {version: site for _, version, site in self.world.uploads}
        for record in records:
            site = sites.get(record["sourceVersion"])
            # one that waited for the lock may come after what it goes back to was pruned
            late = record["trigger"] == "rollback" and "not in bucket" in record.get("reason", "")
            if site and site.good and record["outcome"].startswith("FAILED") and not late:
                self.broken("no false failure", f"{site} failed: {record.get('reason')}")

    def _what_runs(self, records: list[Mapping[str, Any]]) -> None:
        good = [r for r in records if r["outcome"] == "SUCCEEDED" and r["trigger"] != "hold"]
        person = any("needs manual attention" in str(r.get("reason")) for r in records)
        live = next(iter(self.world.switch.folders), None)
        if good and not person and live != good[-1]["folder"]:
            self.broken("what runs", f"{live} is live, not {good[-1]['folder']}")
        for record in good:
            folder = record["folder"]
            if f"manifests/{folder}.json" in self.world.s3 and not self._whole(folder):
                self.broken("live site never half deleted", f"{folder} has a manifest, and less")
        self._newest(records, live)

    def _newest(self, records: list[Mapping[str, Any]], live: str | None) -> None:
        """The newest upload is live, unless it failed, is held, or a request came since."""
        requested = {command["action"] for _, command in self.requests} - {"hold", "resume"}
        ended = {*self.world.plan.faults.values()} & ENDS or self.stopped
        if requested or ended or not self.world.uploads or self.record("#hold"):
            return
        last = max(when for when, _, _ in self.world.uploads)
        newest = {version for when, version, _ in self.world.uploads if when == last}
        theirs = [r for r in records if r["sourceVersion"] in newest]
        if any(r["outcome"].startswith("FAILED") for r in theirs):
            return
        folders = {r["folder"] for r in theirs if r["outcome"] == "SUCCEEDED"}
        if live not in folders:
            self.broken("newest push wins", f"{live} is live, not one of {folders}")


def upload(at: float, version: str, fault: str | None = None) -> Any:
    return at, "upload", (Site(version, fault),)


def command(at: float, action: str, **more: Any) -> Any:
    return at, "order", ({"action": action, **more},)


PLANS: Mapping[str, Plan] = {
    "docs: the first release": Plan("site", (upload(0, "v1"),), live=False),
    "docs: an update": Plan("site", (upload(0, "v1"),)),
    "docs: a build that fails": Plan("site", (upload(0, "v1", "build-fails"),)),
    "docs: no front page": Plan("site", (upload(0, "v1", "no-front-page"),)),
    "docs: a release that nobody is served": Plan("site", (upload(0, "v1", "unanswered"),)),
    "docs: the first release is not served": Plan(
        "site", (upload(0, "v1", "unanswered"), upload(200, "v2")), live=False
    ),
    "docs: more than are kept": Plan("site", tuple(upload(n * 90, f"v{n + 1}") for n in range(3))),
    "docs: three uploads": Plan("site", (upload(0, "v1"), upload(3, "v2"), upload(6, "v3"))),
    "docs: a rollback": Plan(
        "site", (upload(0, "v1"), command(100, "rollback", to="previous"), upload(110, "v2"))
    ),
    "docs: the same sources again": Plan(
        "site", (upload(0, "v1"), command(100, "publish"), command(200, "rollback", to="previous"))
    ),
    "docs: the same upload again": Plan("site", (upload(0, "v1"), upload(100, "v1"))),
    "docs: a hold and its end": Plan(
        "site", (command(0, "hold"), upload(5, "v1"), command(60, "resume"))
    ),
    "docs: published while held": Plan(
        "site", (command(0, "hold"), upload(5, "v1"), command(60, "publish"))
    ),
    "docs: an upload while publishing is ordered": Plan(
        "site",
        (upload(0, "v1"), command(100, "publish"), upload(101, "v2")),
    ),
    "docs: stopped midway": Plan("site", (upload(0, "v1"), (37.0, "stop", ()))),
    "docs: stopped and redriven": Plan(
        "site", (upload(0, "v1"), (37.0, "stop", ()), upload(50, "v2"), (160.0, "redrive", ()))
    ),
}


HELD = ("docs: a hold and its end", "docs: published while held")
# the answer to Identify docs is lost after it chose an archive, and a newer one arrives
RETRIED = replace(PLANS["docs: an upload while publishing is ordered"], faults={74: "lost"})
# a recovery that lacks a permission does not get the lock
DENIED = replace(PLANS["docs: stopped midway"], faults={47: "denied"})
_FAULTS = (None, None, None, "build-fails", "no-front-page", "unanswered")


def random_plan(seed: int) -> Plan:
    """The plan that an integer is."""
    dice = random.Random(seed)
    moves: list[Any] = []
    for number in range(1, dice.choice((1, 2, 2, 3, 4, 10)) + 1):
        moves.append(upload(dice.uniform(0, 200), f"v{number}", dice.choice(_FAULTS)))
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        moves.append((dice.uniform(0, 300), *_deed(dice, len(moves))))
    calls = 60 * len(moves)
    number = dice.choice((0, 1, 1, 2, 4))
    faults = {
        dice.randrange(calls): dice.choice((*CALL_FAULTS, *INTERLEAVED)) for _ in range(number)
    }
    news = {dice.randrange(12): dice.choice(EVENT_FAULTS) for _ in range(dice.choice((0, 0, 1, 2)))}
    live, noise = dice.random() < 0.85, dice.choice((None, seed, seed))
    if dice.random() < 0.15:
        moves.append((dice.uniform(0, 400), "redrive", ()))
    moves.sort(key=lambda move: move[0])
    return Plan("site", tuple(moves), live=live, faults=faults, news=news, noise=noise)


def _deed(dice: random.Random, uploads: int) -> Any:
    requests: tuple[Mapping[str, Any], ...] = (
        {"action": "rollback", "to": "previous"},
        {"action": "rollback", "to": "v0", "hold": False},
        {"action": "publish"},
        {"action": "hold", "reason": "test"},
        {"action": "resume"},
    )
    output = "tell_again", (f"v{dice.randrange(uploads)}",)
    return dice.choice([*(("order", (command,)) for command in requests), ("stop", ()), output])


__all__ = ["PLANS", "SITE", "Site", "SiteWorld", "upload"]
