"""Every step can run twice: a Lambda that is tried again leaves what one run leaves.

Step Functions tries a function again whose answer was lost, after it had done its work.
"""

import copy
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from demo.site import zipped
from deployer.aws import client, ecs, rds
from deployer.build import image_build
from deployer.build.image_build import Upload
from deployer.deploy import database
from deployer.docs import publication, site
from deployer.docs.addresses import Missing
from deployer.docs.publication import File
from deployer.store import locks, releases
from deployer.widget import buttons
from tests.unit.conftest import Clock, Machine, Script, Web, refusal, surround
from tests.unit.samples import (
    ANOTHER_EXECUTION,
    NOW,
    OLD_REVISION,
    before,
    config,
    crashed,
    document,
    lock_request,
    manifest,
    ours,
    payload,
    push_event,
    recorded,
    release,
    service,
    task,
)
from tests.unit.test_site import SPEC, UPLOAD
from tests.unit.test_site import event as uploaded

pytestmark = pytest.mark.usefixtures("releases_table")

READS_ONLY = {
    "diagnose_docs_build",
    "diagnose_failure",
    "diagnose_image_build",
    "fetch_addresses",
    "show_widget",
    "send_announcement",  # a message, which may come twice
    "send_notification",  # likewise
    "verify_docs",
    "verify_release",
}
# the way back that the first try began is by then on its way
ANSWERS_ANEW = {"roll_back__go_back"}
READS = ("Describe", "List", "Get", "BatchGet", "Query")
COMPARED = ("Item", "Items", "Object", "Objects")
HOLD: Any = {"by": "ada", "at": "2026-11-23T14:00:00+00:00", "reason": "checkout is slow"}


class World:
    """An AWS in which a step has something to do; it notes what is written."""

    def __init__(self, script: Script, machine: Machine, web: Web) -> None:
        self.script, self.machine, self.web = script, machine, web
        self.written: list[tuple[str, str]] = []
        script("stepfunctions", "SendTaskSuccess", {})
        script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
        self.describe()

    def note(self, operation: str, params: dict[str, Any]) -> None:
        """Note a call that writes, but to the table and to S3, which are compared themselves."""
        if operation == "SendTaskSuccess":
            self.written.append((operation, params["taskToken"]))
        elif operation == "PutEvents":
            output = json.loads(params["Entries"][0]["Detail"])
            self.written.append((operation, f"{output['id']} {output['state']}"))
        elif not operation.startswith(READS) and not operation.endswith(COMPARED):
            self.written.append((operation, json.dumps(params, sort_keys=True, default=str)))

    def describe(self, **changes: Any) -> dict[str, Any]:
        """The service's spec."""
        spec = document(keepReleases=2, **changes)
        text = json.dumps(spec)
        client("ssm").put_parameter(
            Name="/deployer/services/coder", Value=text, Type="String", Overwrite=True
        )
        return spec

    def image(self) -> str:
        """An image in the repository; returns its digest."""
        client("ecr").create_repository(repositoryName="coder")
        text = json.dumps(manifest())
        result = client("ecr").put_image(
            repositoryName="coder", imageManifest=text, imageTag="2.1.0"
        )
        self.script("ecr", "GetDownloadUrlForLayer", {"downloadUrl": f"{self.web.url}/config"})
        self.web.answer("/config", json.dumps(config(deployer__schema__number="12")))
        return str(result["image"]["imageId"]["imageDigest"])

    def runs(self, *deployments: dict[str, Any]) -> None:
        """The service runs, and what it is updated to becomes its primary deployment."""
        shown = service(*deployments)

        def update(request: dict[str, Any]) -> Any:
            first = shown["deployments"][0]
            if request["taskDefinition"] != first["taskDefinition"]:
                first["status"] = "ACTIVE"
                rendered = ours(id="ecs-svc/9", taskDefinition=request["taskDefinition"])
                shown["deployments"].insert(0, rendered)
            return {"service": shown}

        self.script("ecs", "DescribeServices", lambda _: {"services": [shown]})
        self.script("ecs", "UpdateService", update)
        self.registered()
        self.script("ecs", "ListTasks", {"taskArns": [task()["taskArn"]]})
        self.script("ecs", "DescribeTasks", {"tasks": [task()]})

    def registered(self) -> None:
        """Every revision is of the service's own task definition."""
        definition = document()["taskDefinition"]
        self.script("ecs", "DescribeTaskDefinition", {"taskDefinition": definition})

    def flies(self, **changes: Any) -> Any:
        """A release is in flight and holds the lock, for which another waits."""
        entry = release(execution=self.machine.start("one"), **changes)
        releases.open_release(entry)
        locks.acquire("coder", lock_request(execution=entry["execution"]))
        locks.enqueue(
            "coder", lock_request(release="next", execution=ANOTHER_EXECUTION, token="next's")
        )
        return payload(release=entry, execution=entry["execution"])

    def snapshot(self) -> dict[str, Any]:
        """A database of which there is a snapshot; returns the spec that names it."""
        client("rds").create_db_instance(
            DBInstanceIdentifier="coder-db", Engine="postgres", DBInstanceClass="db.t4g.micro"
        )
        rds.take_snapshot("coder-db", "deployer-coder-1")
        text = "postgres://u:p@old:5432/coder"
        secret = client("secretsmanager").create_secret(Name="coder-db", SecretString=text)["ARN"]
        return self.describe(database={"instance": "coder-db", "secret": secret, "snapshots": 1})


CASES: dict[str, Callable[[World], Any]] = {}


def case(arrange: Callable[[World], Any]) -> Callable[[World], Any]:
    """A step's name, two underscores, and what it has to do: what it is called with."""
    CASES[arrange.__name__] = arrange
    return arrange


@case
def identify_release__push(world: World) -> Any:
    return payload(input=push_event(**{"image-digest": world.image()}))


@case
def identify_release__ignored(world: World) -> Any:
    return payload(input=push_event(**{"image-digest": world.image(), "image-tag": "nightly"}))


@case
def identify_release__deploy(world: World) -> Any:
    world.image()
    locks.hold("coder", HOLD)
    return payload(input={"action": "deploy", "image": "2.1.0"})


@case
def identify_release__rollback(world: World) -> Any:
    world.describe(rollback="render")
    digest = world.image()
    for number, of in ((1, digest), (2, "sha256:new")):
        old = recorded(id=f"2026112{number}T000000Z-a", digest=of, execution=f"execution-{number}")
        releases.close_release(old, "SUCCEEDED", {"endedAt": f"2026-11-2{number}T00:00:00+00:00"})
    return payload(input={"action": "rollback", "to": "previous"})


@case
def identify_release__hold(world: World) -> Any:
    return payload(input={"action": "hold", "reason": "freeze"})


@case
def identify_release__resume(world: World) -> Any:
    locks.hold("coder", HOLD)
    late = {"endedAt": "2026-11-23T14:26:00+00:00"}
    releases.close_release(release(execution=ANOTHER_EXECUTION), "HELD", late)
    return payload(input={"action": "resume"})


@case
def identify_release__resume_nothing(world: World) -> Any:
    locks.hold("coder", HOLD)
    return payload(input={"action": "resume"})


@case
def identify_release__recover(world: World) -> Any:
    dead = world.flies()["release"]
    command = {"action": "recover", "service": "coder", "release": dead["id"]}
    return payload(input=command, execution=ANOTHER_EXECUTION)


@case
def acquire_lock__take(world: World) -> Any:
    entry = release(execution=world.machine.start("one"))
    releases.open_release(entry)
    return payload(release=entry, execution=entry["execution"])


@case
def acquire_lock__wait(world: World) -> Any:
    world.flies(id="20261123T140000Z-first")
    entry = release(execution=world.machine.start("two"))
    releases.open_release(entry)
    startedAt = datetime.now(UTC).isoformat()
    return payload(release=entry, execution=entry["execution"], startedAt=startedAt)


@case
def acquire_lock__superseded(world: World) -> Any:
    newer = release(id="20261123T150000Z-new", pushedAt="2026-11-23T15:00:00+00:00")
    releases.open_release(newer)
    return world.flies()


@case
def acquire_lock__held(world: World) -> Any:
    locks.hold("coder", HOLD)
    entry = release(execution=world.machine.start("one"))
    releases.open_release(entry)
    return payload(release=entry, execution=entry["execution"])


@case
def check_preflight__previous(world: World) -> Any:
    surround(world.script)
    world.script("ec2", "DescribeNetworkInterfaces", {"NetworkInterfaces": []})
    world.runs(before(status="PRIMARY", runningCount=1))
    return world.flies()


@case
def back_up_database__complete(world: World) -> Any:
    """An older snapshot goes."""
    spec = world.snapshot()
    rds.take_snapshot("coder-db", f"{database.prefix('coder')}older")
    return world.flies() | {"spec": spec, "since": datetime.now(UTC).isoformat()}


@case
def restore_database__begin(world: World) -> Any:
    """RDS does not show the instance yet when the step looks again."""
    spec = world.snapshot()
    old = rds.instance("coder-db") or {}

    def shows(request: dict[str, Any]) -> Any:
        known = request["DBInstanceIdentifier"] == "coder-db"
        return {"DBInstances": [old]} if known else refusal("DBInstanceNotFound")

    world.script("rds", "DescribeDBInstances", shows)
    event = world.flies(restore="deployer-coder-1")
    return event | {"spec": spec, "since": datetime.now(UTC).isoformat()}


@case
def restore_database__complete(world: World) -> Any:
    spec = world.snapshot()
    event = world.flies(restore="deployer-coder-1")
    rds.restore("deployer-coder-1", database.instance_name("coder-db", event["release"]), {})
    return event | {"spec": spec, "since": datetime.now(UTC).isoformat()}


@case
def register_task_definition__new(world: World) -> Any:
    return world.flies() | {"previous": None}


@case
def register_task_definition__exact(world: World) -> Any:
    return world.flies(taskDefinition=OLD_REVISION)


def runs_tasks(world: World, task_shown: dict[str, Any]) -> Any:
    """A release has a task before its rollout, which ECS shows like this."""
    world.runs(before(status="PRIMARY", runningCount=1))
    world.script("ecs", "RunTask", {"tasks": [task_shown], "failures": []})
    world.script("ecs", "StopTask", {"task": task_shown})
    world.script("ecs", "DescribeTasks", {"tasks": [task_shown]})
    return world.flies() | {"spec": world.describe(before={"command": ["migrate"]})}


@case
def run_task__run(world: World) -> Any:
    return runs_tasks(world, task(desiredStatus="RUNNING"))


@case
def run_task__done(world: World) -> Any:
    return runs_tasks(world, crashed(taskDefinitionArn=OLD_REVISION))


@case
def stop_task__stopped(world: World) -> Any:
    event = runs_tasks(world, crashed())
    run: Any = {"startedBy": "x", "container": "coder", "command": ["migrate"], "timeout": 60}
    run |= {"requestedAt": NOW.isoformat(), "triedAt": NOW.isoformat(), "task": task()["taskArn"]}
    releases.note(event["release"], before=run)
    return event


@case
def update_service__update(world: World) -> Any:
    world.runs(before(status="PRIMARY", runningCount=1))
    return world.flies()


@case
def update_service__create(world: World) -> Any:
    world.registered()
    world.script("ecs", "DescribeServices", {"services": []})
    world.script("ecs", "CreateService", {"service": service(ours())})
    return world.flies()


def schedules(world: World, **changes: Any) -> Any:
    """A schedule that another release has left, and another one in the spec."""
    world.runs(before(status="PRIMARY", runningCount=1))
    client("scheduler").create_schedule_group(Name="deployer-coder")
    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/coder"
    task_definition = {"TaskDefinitionArn": OLD_REVISION}
    target: Any = {"Arn": cluster, "RoleArn": "r", "EcsParameters": task_definition}
    client("scheduler").create_schedule(
        GroupName="deployer-coder",
        Name="old",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    new = {"schedule": "rate(1 hour)", "command": ["sync"]}
    return world.flies() | {"spec": world.describe(schedules={"new": new}), **changes}


@case
def update_schedules__follow(world: World) -> Any:
    return schedules(world, rollback=None)


@case
def update_schedules__restore(world: World) -> Any:
    event = schedules(world, rollback={"action": "ROLL_BACK", "reason": "it failed"})
    note: Any = {"before": {}, "names": ["old"]}
    releases.note_schedules(event["release"], note)
    return event


@case
def poll_health__steady(world: World) -> Any:
    world.runs(ours())
    return world.flies()


@case
def roll_back__go_back(world: World) -> Any:
    world.runs(ours(rolloutState="FAILED"), before())
    return world.flies()


@case
def roll_back__stop(world: World) -> Any:
    world.runs(ours(rolloutState="FAILED"))
    world.script("ecs", "UpdateService", {"service": service(ours(), desiredCount=0)})
    return world.flies() | {"previous": None, "wasRunning": False}


@case
def record_success__expire(world: World) -> Any:
    for number in (1, 2, 3):
        ended = {"endedAt": f"2026-11-2{number}T00:00:00+00:00"}
        old = release(id=f"2026112{number}T000000Z-a", execution=f"execution-{number}")
        releases.close_release(old, "SUCCEEDED", ended)
    return world.flies() | {"spec": world.describe()}


@case
def record_failure__rolled_back(world: World) -> Any:
    return world.flies() | {"restored": True}


@case
def record_failure__unidentified(world: World) -> Any:
    return payload(release=None, input="gibberish")


def ended(execution: str, given: Any) -> dict[str, Any]:
    detail = {
        "executionArn": execution,
        "stateMachineArn": "arn",
        "status": "ABORTED",
        "startDate": 1_795_444_202_123,
    }
    kind = "Step Functions Execution Status Change"
    return {"detail-type": kind, "detail": detail | {"input": json.dumps(given)}}


@case
def reconcile__recover(world: World) -> Any:
    execution = world.flies()["execution"]
    world.machine.stop(execution)
    return ended(execution, push_event())


@case
def reconcile__close(world: World) -> Any:
    execution = world.flies(id="20261123T140000Z-other")["execution"]
    locks.release("coder", execution)
    world.machine.stop(execution)
    return ended(execution, push_event())


@case
def reconcile__unidentified(world: World) -> Any:
    return ended(ANOTHER_EXECUTION, {"action": "explode"})


@case
def reconcile__clock(world: World) -> Any:
    world.machine.stop(world.flies()["execution"])
    lost: dict[str, Any] = {"imageDigest": f"sha256:{'ee' * 32}", "imageTags": ["9.9.9"]}
    lost["imagePushedAt"] = datetime.now(UTC) - timedelta(minutes=5)
    world.script("ecr", "DescribeImages", {"imageDetails": [lost]})
    client("s3").create_bucket(Bucket="sources")
    return {"detail-type": "Scheduled Event"}


@case
def press_button__hold(world: World) -> Any:
    seen = buttons.state(releases.history("coder"), None, [], None)
    return {"action": "hold", "service": "coder", "seen": seen}


@case
def press_button__cancel(world: World) -> Any:
    return {"action": "cancel", "service": "coder", "release": world.flies()["release"]["id"]}


def builds(world: World, **changes: Any) -> Any:
    """A build is in flight and holds the lock, for which another waits."""
    source: Any = {"key": "image/coder/x.zip", "version": "1", "etag": "ab", "size": 1}
    source["at"] = "2026-11-23T14:00:00+00:00"
    execution, now = world.machine.start("one"), datetime.now(UTC)
    result = image_build.entry(Upload("coder", source["key"], "1", None), source, execution, now)
    releases.open_release(result)
    locks.acquire(result["service"], lock_request(execution=execution, pushedAt=source["at"]))
    waiting = lock_request(release="next", execution=ANOTHER_EXECUTION, token="next's")
    locks.enqueue(result["service"], waiting)
    known: dict[str, Any] = {"input": {}, "build": None, "diagnosis": None, "failure": None}
    return {
        **known,
        "release": result,
        "execution": execution,
        "startedAt": now.isoformat(),
    } | changes


@case
def identify_source__upload(world: World) -> Any:
    client("s3").create_bucket(Bucket="sources")
    client("s3").put_object(Bucket="sources", Key="image/coder/x.zip", Body=b"archive")
    world.describe()
    created = {"bucket": {"name": "sources"}, "object": {"key": "image/coder/x.zip"}}
    return payload(input={"detail-type": "Object Created", "detail": created})


@case
def stop_older_build__running(world: World) -> Any:
    request = builds(world)
    output = [{"name": "EXECUTION", "value": request["execution"]}]
    shown = {"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"}
    running = {
        "id": "p:1",
        "buildStatus": "IN_PROGRESS",
        "currentPhase": "BUILD",
        "environment": {**shown, "environmentVariables": output},
    }
    world.script("codebuild", "ListBuildsForProject", {"ids": ["p:1"]})
    world.script("codebuild", "BatchGetBuilds", {"builds": [running]})
    world.script("codebuild", "StopBuild", {})
    return {**request, "release": {**request["release"], "pushedAt": "2026-11-23T15:00:00+00:00"}}


@case
def record_build__pushed(world: World) -> Any:
    return builds(world, build={"Arn": "arn", "ExportedEnvironmentVariables": []})


@case
def record_build__failed(world: World) -> Any:
    return builds(world, failure={"Error": "SourcesRejected", "Cause": "it is empty"})


@case
def reconcile__build(world: World) -> Any:
    return ended(builds(world)["execution"], {})


DOCS = f"docs:{SPEC['site']}"
FILES = {"index.html": "front", "a/index.html": "a", "app.0f8e2d1c.css": "css"}


def docs(world: World, **changes: Any) -> Any:
    """A site of which `first` and then `second` were live, and a release in flight with the lock
    and its build done."""
    client("s3").create_bucket(Bucket="sources")
    client("s3").put_bucket_versioning(
        Bucket="sources", VersioningConfiguration={"Status": "Enabled"}
    )
    client("s3").create_bucket(Bucket=SPEC["bucket"])
    sources = {"package.json": '{"scripts": {"build": "next build"}}', "pnpm-lock.yaml": ""}
    put("sources", UPLOAD.key, zipped(sources))
    put("sources", "built.zip", zipped(FILES))
    spec = {**SPEC, "keepReleases": 2}
    text = json.dumps(spec)
    client("ssm").put_parameter(Name="/deployer/docs/coder", Value=text, Type="String")
    for number, name in enumerate(("first", "second")):
        folder: Any = {"service": DOCS, "id": name, "folder": name, "digest": f"source:{name}"}
        old = recorded(**folder, version=name, execution=name, source="s", sourceVersion="1")
        releases.close_release(old, "SUCCEEDED", {"endedAt": f"2026-11-2{number}T00:00:00+00:00"})
        files = {path: File(f"{name} {path}", 1, name) for path in (*FILES, "404.html")}
        contents = publication.Contents(files, Missing(), [])
        kept = json.dumps(publication.manifest(name, contents)).encode()
        put(SPEC["bucket"], publication.manifest_key(name), kept)
        for path in files:
            put(SPEC["bucket"], publication.key(name, path), name.encode())
    result = site.uploaded(UPLOAD, world.machine.start("one"), datetime.now(UTC))
    result["source"] = f"sources/{UPLOAD.key.replace('.tar.gz', '.zip')}"
    result["sourceVersion"] = put("sources", result["source"].partition("/")[2], zipped(sources))
    releases.open_release(result)
    locks.acquire(DOCS, lock_request(execution=result["execution"], release=result["id"]))
    locks.enqueue(DOCS, lock_request(release="next", execution=ANOTHER_EXECUTION, token="next's"))
    known: dict[str, Any] = {"spec": spec, "release": result, "execution": result["execution"]}
    known["progress"] = {"files": 0, "uploaded": 0, "copied": 0, "bytes": 0}
    switch = site.switch([result["folder"], "second"])
    known |= {"built": "arn:aws:s3:::sources/built.zip", "switch": switch, "warnings": []}
    return known | {"reason": "2 page(s) have the content", "startedAt": NOW.isoformat()} | changes


def put(bucket: str, key: str, body: bytes) -> str:
    """Put an object; returns its version."""
    return str(client("s3").put_object(Bucket=bucket, Key=key, Body=body).get("VersionId"))


def command(world: World, **request: Any) -> Any:
    """A request for that site, given while nothing is in flight."""
    flying = docs(world)
    releases.close_release(flying["release"], "FAILED", {"endedAt": NOW.isoformat()})
    locks.release(DOCS, flying["execution"])
    return {**flying, "input": request, "execution": world.machine.start("two")}


@case
def identify_docs__upload(world: World) -> Any:
    request, key = command(world), "docs/coder/v2.zip"
    version = put("sources", key, zipped(FILES))
    return {**request, "input": uploaded(key=key, **{"version-id": version})}


@case
def identify_docs__publish(world: World) -> Any:
    locks.hold(DOCS, HOLD)
    return command(world, action="publish")


@case
def identify_docs__rollback(world: World) -> Any:
    return command(world, action="rollback", to="previous")


@case
def identify_docs__hold(world: World) -> Any:
    return command(world, action="hold", reason="freeze")


@case
def identify_docs__resume(world: World) -> Any:
    locks.hold(DOCS, HOLD)
    request = command(world, action="resume")
    late = {"endedAt": "2026-11-23T14:26:00+00:00"}
    held = site.uploaded(UPLOAD, ANOTHER_EXECUTION, datetime.now(UTC))
    held["id"] = "held"
    releases.close_release(held, "HELD", late)
    return request


@case
def identify_docs__resume_nothing(world: World) -> Any:
    locks.hold(DOCS, HOLD)
    return command(world, action="resume")


@case
def identify_docs__recover(world: World) -> Any:
    dead = docs(world)
    request = {"action": "recover", "site": "coder", "release": dead["release"]["id"]}
    return {**dead, "input": request, "execution": ANOTHER_EXECUTION}


@case
def check_sources__archive(world: World) -> Any:
    return docs(world)


@case
def publish_docs__changed(world: World) -> Any:
    return docs(world)


@case
def publish_docs__kept(world: World) -> Any:
    request = docs(world, built=None)
    return {**request, "release": {**request["release"], "folder": "first"}}


@case
def invalidate_cache__error_page(world: World) -> Any:
    request = docs(world)
    put(SPEC["bucket"], publication.key(request["release"]["folder"], "404.html"), b"none")
    batch = {"Paths": {"Quantity": 1, "Items": ["/404.html"]}, "CallerReference": "r"}
    begun = {"Id": "I1", "Status": "InProgress", "CreateTime": NOW, "InvalidationBatch": batch}
    world.script("cloudfront", "CreateInvalidation", {"Invalidation": begun})
    return request


@case
def prune_docs__expired(world: World) -> Any:
    return docs(world)


@case
def record_docs__expire(world: World) -> Any:
    return docs(world)


@pytest.mark.parametrize("name", CASES)
def test_a_step_that_runs_twice_leaves_what_one_run_leaves(
    name: str,
    script: Script,
    machine: Machine,
    web: Web,
    clock: Clock,
    context: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for variable in ("BUILD", "SOURCES", "FETCH_PROJECT", "FETCH_SERVICE", "PROJECT"):
        monkeypatch.setenv(variable, "sources")
    monkeypatch.setattr(ecs, "time", clock)
    monkeypatch.setattr(releases, "missed_since", lambda: datetime.now(UTC) - timedelta(days=1))
    world, name_of = World(script, machine, web), "_make_api_call"
    call = getattr(BaseClient, name_of)

    def noted(self: Any, operation: str, params: dict[str, Any]) -> Any:
        world.note(operation, params)
        return call(self, operation, params)

    monkeypatch.setattr(BaseClient, name_of, noted)
    event, step = CASES[name](world), import_module(name.split("__")[0])
    world.written.clear()

    first = step.handler(copy.deepcopy(event), context)
    once, wrote = left(), set(world.written)
    world.written.clear()
    second = step.handler(copy.deepcopy(event), context)

    assert left() == once
    assert set(world.written) <= wrote, "another write than the first time's"
    assert said(second) == said(first) or name in ANSWERS_ANEW


def said(answer: Any) -> Any:
    """What the next state goes by; what a person reads may differ."""
    if isinstance(answer, str):
        return {}
    release = answer.get("release")
    known = {"release": release["id"] if isinstance(release, dict) else release}
    for word in ("decision", "action", "outcome", "health", "done", "name", "taskDefinition"):
        known[word] = answer.get(word)
    return known


def test_every_step_that_writes_is_among_them() -> None:
    steps = {path.stem for path in (Path(__file__).parents[2] / "functions").glob("*.py")}
    assert {name.split("__")[0] for name in CASES} == steps - READS_ONLY


def left() -> list[Any]:
    """What lies in the table and in S3."""
    result = boto3.resource("dynamodb").Table("releases").scan()["Items"]
    items = sorted(
        (steady(item) for item in result), key=lambda item: (item["service"], item["id"])
    )
    return items + [stored(one) for one in objects()]


def objects() -> list[Any]:
    """Every object of every bucket."""
    buckets = boto3.resource("s3").buckets.all()
    return [entry.Object() for bucket in buckets for entry in bucket.objects.all()]


def stored(one: Any) -> tuple[Any, ...]:
    """Where an object lies, what it holds and how it is served."""
    held = one.get()["Body"].read()
    return one.bucket_name, one.key, held, one.content_type, one.cache_control, one.metadata


def steady(value: Any) -> Any:
    """A value in which all moments of this hour are one, for a retry comes later."""
    if isinstance(value, dict):
        return {name: steady(one) for name, one in value.items() if name != "expiresAt"}
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    near = abs(datetime.now(UTC) - moment.astimezone(UTC)) < timedelta(hours=1)
    return "now" if near else value
