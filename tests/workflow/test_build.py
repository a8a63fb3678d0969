"""From an uploaded source archive to the URL, and what is refused on the way."""

import contextlib
import http.client
import http.server
import io
import json
import shutil
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.executions import Execution
from demo import source
from demo.app import server as demo
from demo.image import DEMO_APP
from demo.stage import Stage, StageError
from local_aws.aws import LocalAws
from tests.workflow.conftest import route

NIX = shutil.which("nix-shell") is not None
PLAIN = {**source.BUILD, "mode": "plain"}
BUILT = ["Initialise", "Identify source", "Is there something to build?", "Stop older build"]
BUILT += [
    "Acquire lock",
    "Is the lock acquired?",
    "Check lock",
    "Run build",
    "Record build",
    "Built",
]
SERVER = (DEMO_APP / "server.py").read_text()


def built(stage: Stage, content: bytes, name: str = "source.tar.gz") -> Execution:
    """The execution that an upload starts, when it has ended."""
    ended = stage.ended(stage.upload(content, name))
    print(ended.path[-1], ended.cause)
    return ended


def last(stage: Stage) -> dict[str, Any]:
    """The record of the newest build."""
    return max(stage.builds(), key=lambda record: record["startedAt"])


def ran(stage: Stage) -> list[dict[str, Any]]:
    """The service's builds in CodeBuild."""
    client = stage.aws.client("codebuild")
    ids = client.list_builds_for_project(projectName=f"{stage.stack}-ImageBuild")["ids"]
    response = client.batch_get_builds(ids=ids)["builds"] if ids else []
    output = {"name": "SERVICE", "value": stage.service, "type": "PLAINTEXT"}
    return [b for b in response if output in b["environment"]["environmentVariables"]]


def lines(stage: Stage, build: dict[str, Any]) -> list[str]:
    response = stage.aws.client("logs").get_log_events(
        logGroupName=build["logs"]["groupName"],
        logStreamName=build["logs"]["streamName"],
        startFromHead=True,
    )
    return [event["message"] for event in response["events"]]


def tags(stage: Stage) -> set[str]:
    images = stage.aws.client("ecr").describe_images(repositoryName=stage.service)["imageDetails"]
    return {tag for image in images for tag in image.get("imageTags", [])}


def labels(stage: Stage, digest: str) -> dict[str, str]:
    ecr = stage.aws.client("ecr")
    image = ecr.batch_get_image(repositoryName=stage.service, imageIds=[{"imageDigest": digest}])
    config = json.loads(image["images"][0]["imageManifest"])["config"]["digest"]
    link = ecr.get_download_url_for_layer(repositoryName=stage.service, layerDigest=config)
    with urllib.request.urlopen(link["downloadUrl"]) as content:
        return dict(json.load(content)["config"]["Labels"])


def assert_nothing_left(stage: Stage) -> None:
    open_ = [i for i in stage.items(f"build:{stage.service}") if i["id"].startswith("#")]
    assert open_ == []
    assert all("outcome" in record for record in stage.builds())


# source in, release out


@pytest.mark.walk
def test_an_upload_ends_with_the_new_version_live(service: Stage) -> None:
    print("the build ran within nix-shell" if NIX else "nix-shell is not installed: mode plain")
    service.specify(build=source.BUILD if NIX else PLAIN)
    ended = built(service, source.archive("v1.2.0"))
    assert (ended.status, ended.path) == ("SUCCEEDED", BUILT)

    record = last(service)
    assert (record["outcome"], record["version"], record["tag"]) == ("SUCCEEDED", "1.2.0", "1.2.0")
    assert {"INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"} <= record["durations"].keys()
    assert "cloudwatch" in record["log"]
    assert record["reason"].startswith(f"{service.service} 1.2.0 was built from {record['commit']}")
    output = labels(service, record["digest"])
    known = demo.read_migrations(DEMO_APP)
    assert output["org.opencontainers.image.revision"] == record["commit"]
    assert output["org.opencontainers.image.version"] == "1.2.0"
    assert output["org.opencontainers.image.created"].startswith("2026-01-01T00:00:00")
    assert output["deployer.schema.number"] == str(known[-1].number)
    (build,) = ran(service)
    message = lines(service, build)
    assert any("(nix-shell)" in line for line in message) == NIX
    assert any(line == "image: OCI layout, built without docker" for line in message) == (
        "image: built with docker" not in message
    )

    assert service.ended(service.started_by(record["digest"])).path[-1] == "Deployed"
    release = service.record(record["digest"])
    assert release["version"] == "1.2.0"
    with urllib.request.urlopen(f"{release['url']}/api/v2/buildinfo") as answer:
        assert json.load(answer)["version"].startswith("v1.2.0")
    assert_nothing_left(service)


def test_the_same_content_builds_once(service: Stage) -> None:
    service.specify(build=PLAIN)
    content = source.archive("v1.0.0")
    assert route(built(service, content)) == BUILT
    again = built(service, content, "again.tar.gz")
    assert again.path[-1] == "Nothing to build"
    assert "was built before: 1.0.0" in last(service)["reason"]
    assert len(ran(service)) == 1

    packed_otherwise = built(service, source.archive("v1.0.0", kind="zip"), "source.zip")
    assert route(packed_otherwise) == BUILT
    record = last(service)
    assert record["skipped"]
    assert record["reason"] == (
        f"{service.service} 1.0.0 is in ECR already, built from the same content"
    )
    assert len(service.executions()) >= 1
    assert tags(service) == {"1.0.0"}
    assert len({r["digest"] for r in service.builds() if r["outcome"] == "SUCCEEDED"}) == 1


def test_the_version_names_the_commit_alike_in_every_clone(service: Stage) -> None:
    service.specify(build=PLAIN)
    built(service, source.archive(None))
    record = last(service)
    assert record["version"] == f"2.0.0-devel+{record['commit'][:12]}"
    assert record["tag"] == record["version"].replace("+", "-")
    assert service.ended(service.started_by(record["digest"])).path[-1] == "Deployed"
    assert service.record(record["digest"])["version"] == record["version"]


def test_a_commit_of_the_connected_repository_ends_with_its_version_live(
    deployer: Stage, github: Path
) -> None:
    service = deployer.beside("test-fetched")
    service.specify(build=PLAIN)
    commit = source.repository(github / "example/demo", "v1.4.0")
    command = {"action": "build", "service": service.service, "commit": commit[:12]}
    fetched = service.ended(service.start(command, "BuildStateMachine"))
    assert fetched.path[-2:] == ["Fetch source", "Fetched"], fetched.cause

    archive = service.aws.client("s3").head_object(
        Bucket=service.outputs["SourceBucket"], Key=f"image/{service.service}/{commit}.tar.gz"
    )
    started = service.started_by(archive["VersionId"], machine="BuildStateMachine")
    assert route(service.ended(started)) == BUILT
    record = last(service)
    assert (record["version"], record["commit"]) == ("1.4.0", commit)
    assert service.ended(service.started_by(record["digest"])).path[-1] == "Deployed"
    service.end()


# what fails


def test_a_compile_error_is_in_the_record_and_the_service_is_as_it_was(live: Stage) -> None:
    live.specify(build=PLAIN)
    before = live.described()["taskDefinition"]
    broken = SERVER.replace("def main(", "def main((", 1)
    ended = built(live, source.archive("v1.1.0", {"server.py": broken}))
    assert (ended.path[-1], ended.error) == ("Failed", "BuildFailed")
    line = next(n for n, text in enumerate(SERVER.splitlines(), 1) if text.startswith("def main("))
    assert "the build command failed (2): make build/coder_linux_$ARCHITECTURE" in ended.cause
    assert f'File "server.py", line {line}' in ended.cause
    record = last(live)
    assert record["outcome"] == "FAILED"
    assert any("SyntaxError" in text for text in record["diagnosis"]["lines"])
    assert tags(live) == {"1.0.0"}
    assert live.described()["taskDefinition"] == before
    assert len(ran(live)) == 1, "a compile error is not tried again"

    assert route(built(live, source.archive("v1.1.0"))) == BUILT
    assert_nothing_left(live)


def test_the_same_version_from_other_content_is_refused(live: Stage) -> None:
    live.specify(build=PLAIN)
    ended = built(live, source.archive("v1.0.0"))
    assert ended.error == "VersionRefused"
    assert "1.0.0 is in" in ended.cause
    assert "already, built from other content" in ended.cause


def test_a_base_image_that_docker_may_not_pull_is_named(refusing: Stage) -> None:
    registry = "000000000000.dkr.ecr.nowhere.invalid"
    refusing.specify(build={**PLAIN, "baseImage": f"{registry}/base@sha256:{'0' * 64}"})
    ended = built(refusing, source.archive("v1.5.0"), "base.tar.gz")
    refusing.specify(build=PLAIN)
    assert ended.error == "BuildFailed"
    assert registry in ended.cause
    assert tags(refusing) == set()


def packed(*members: tuple[str, str, bytes]) -> bytes:
    """A tar.gz of (name, link, content); a member with a link is one."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, link, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def version(script: str) -> bytes:
    return source.archive("v1.0.0", {"scripts/version.sh": f"#!/bin/sh\n{script}\n"})


BAD = {
    "not an archive": (b"hello", "cannot be read as an archive"),
    "nothing in it": (packed(), "is empty: it holds no file"),
    "climbs out": (packed(("a/../../b", "", b"x")), "'a/../../b' climbs out of the archive"),
    "absolute": (packed(("/etc/cron.d/x", "", b"x")), "'/etc/cron.d/x' climbs out"),
    "link out": (packed(("a/b", "../../etc", b"")), "is a link to '../../etc', outside"),
    "no script": (
        source.archive("v1.0.0", {"scripts/version.sh": None}),
        "the archive has no ./scripts/version.sh, which the version command runs",
    ),
    "no history": (source.archive(None, history=False), "the version command failed (128)"),
    "no version": (version("true"), "printed no version"),
    "bad version": (version("echo 1.0_0"), "is not a valid version for a tag"),
    "not deployed": (
        version("echo nightly"),
        "do not match nightly: a push of it would deploy nothing",
    ),
}


@pytest.fixture(scope="module")
def refusing(deployer: Stage) -> Iterator[Stage]:
    stage = deployer.beside("test-refusing")
    stage.specify(build=PLAIN)
    yield stage
    stage.end()


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_that_names_the_cause(refusing: Stage, name: str) -> None:
    content, cause = BAD[name]
    ended = built(refusing, content, f"{name}.tar.gz")
    assert ended.path[-1] == "Failed"
    assert cause in ended.cause
    assert "\n" not in ended.cause
    assert last(refusing)["outcome"] == "FAILED"
    assert tags(refusing) == set()
    assert refusing.records() == []


def test_an_image_for_another_architecture_is_not_pushed(refusing: Stage) -> None:
    image = "./scripts/build_docker.sh --arch arm64 --version $VERSION --target $IMAGE server.py"
    refusing.specify(build={**PLAIN, "image": image})
    ended = built(refusing, source.archive("v1.3.0"), "arm.tar.gz")
    refusing.specify(build=PLAIN)
    assert ended.error == "BuildFailed"
    assert "the image is for arm64, and the service runs on linux/amd64" in ended.cause
    assert tags(refusing) == set()


@pytest.mark.parametrize(
    ("command", "error", "cause"),
    [
        ({"action": "build"}, "RequestRejected", "a request to build is"),
        ([], "RequestRejected", "the input must be an object"),
        (
            {"action": "build", "service": "nobody", "key": "image/nobody/x.tar.gz"},
            "SourcesRejected",
            "is not in the bucket",
        ),
        (
            {"action": "build", "service": "test-refusing", "commit": "e0f93fb88"},
            "RequestRejected",
            "no repository of test-refusing is connected",
        ),
    ],
)
def test_an_order_that_cannot_be_carried_out_says_why(
    refusing: Stage, command: Any, error: str, cause: str
) -> None:
    started = refusing.aws.client("stepfunctions").start_execution(
        stateMachineArn=refusing.outputs["BuildStateMachine"], input=json.dumps(command)
    )
    ended = refusing.ended(started["executionArn"])
    assert ended.error == error
    assert cause in ended.cause


# what comes between


class Faulty(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the local AWS, and drops the connection in the middle of a push."""

    aws: LocalAws
    left = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("X-Amz-Target", "").endswith("UploadLayerPart") and Faulty.left:
            Faulty.left -= 1
            self.close_connection = True
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.aws.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def drop(deployer: Stage) -> Iterator[Callable[[int], None]]:
    """Call with how many parts of layers are lost on their way to ECR."""
    Faulty.aws = deployer.aws
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client, name = deployer.aws.client("codebuild"), f"{deployer.stack}-ImageBuild"
    environment = client.batch_get_projects(names=[name])["projects"][0]["environment"]
    endpoint = f"http://127.0.0.1:{server.server_port}"
    variable = {"name": "AWS_ENDPOINT_URL_ECR", "value": endpoint, "type": "PLAINTEXT"}
    client.update_project(
        name=name, environment={**environment, "environmentVariables": [variable]}
    )
    yield lambda count: setattr(Faulty, "left", count)
    client.update_project(name=name, environment=environment)
    server.shutdown()
    server.server_close()


def test_a_push_that_drops_midway_goes_on(service: Stage, drop: Callable[[int], None]) -> None:
    service.specify(build=PLAIN)
    drop(4)  # three are botocore's own tries of one request
    ended = built(service, source.archive("v1.0.0"))
    message = lines(service, ran(service)[0])
    assert route(ended) == BUILT, "\n".join(message[-40:])
    assert [line for line in message if line.startswith("push interrupted, 4 tries left")]
    assert service.ended(service.started_by(last(service)["digest"])).path[-1] == "Deployed"


SLOWLY = {**PLAIN, "compile": "[ ! -e slow ] || sleep 60; make build/coder_linux_$ARCHITECTURE"}


def running(stage: Stage) -> dict[str, Any]:
    """The build that runs the tree's own command."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for build in ran(stage):
            if build["currentPhase"] == "BUILD":
                return build
        time.sleep(0.1)
    raise StageError("no build came to its build phase")


def test_a_newer_upload_stops_the_older_build(service: Stage) -> None:
    service.specify(build=SLOWLY)
    older = service.upload(source.archive("v1.0.0", {"slow": ""}), "older.tar.gz")
    stopped = running(service)
    time.sleep(1.0)  # S3 tells times in seconds
    newer = service.upload(source.archive("v1.1.0"), "newer.tar.gz")
    ended = service.ended(newer)
    assert ended.path[-1] == "Built", ended.cause
    assert service.ended(older).path[-1] == "Skipped"
    response = service.aws.client("codebuild").batch_get_builds(ids=[stopped["id"]])["builds"][0]
    assert response["buildStatus"] == "STOPPED"
    first, second = sorted(service.builds(), key=lambda record: record["pushedAt"])
    assert (first["outcome"], first["by"]) == ("SUPERSEDED", second["id"])
    assert tags(service) == {"1.1.0"}
    assert_nothing_left(service)


def test_a_stopped_execution_leaves_nothing_open_and_wakes_who_waits(service: Stage) -> None:
    service.specify(build=SLOWLY)
    arn = service.upload(source.archive("v1.0.0", {"slow": ""}), "stopped.tar.gz")
    build = running(service)
    service.specify(build=PLAIN)
    key = f"image/{service.service}/stopped.tar.gz"
    waiting = service.start(
        {"action": "build", "service": service.service, "key": key}, "BuildStateMachine"
    )
    for now in service.follow(waiting):
        if "Acquire lock" in now.path:
            break
    service.aws.client("stepfunctions").stop_execution(executionArn=arn)
    assert service.ended(waiting).path[-1] == "Built"
    (stopped,) = [record for record in service.builds() if record["execution"] == arn]
    assert stopped["outcome"] == "FAILED"
    assert stopped["reason"] == "its execution ended before the build did; upload the archive again"
    assert_nothing_left(service)
    response = service.aws.client("codebuild").batch_get_builds(ids=[build["id"]])["builds"][0]
    assert response["buildStatus"] == "STOPPED"
