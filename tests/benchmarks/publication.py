"""Publishing a site that was built anew, beside `aws s3 sync --delete` of the same site.

Both speak to the local AWS through one proxy, which counts what they ask for and what they send. A
fresh build gives every file a new time, as `git clone` and a generator do; one in a hundred has
another content.

    python -m tests.benchmarks.publication 20000 2000    files and megabytes, without the sync
    python -m tests.benchmarks.publication own           a small site, without its generator's time
"""

import http.client
import http.server
import json
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.site import DocsSite, tar_gz
from demo.stage import Stage
from local_aws.aws import LocalAws
from tests.workflow.test_docs import sources

PUBLISH = "PublishDocs"
CHANGED = 100  # one in so many
_LIMIT = 1800  # seconds
_CHILD = """
import json, os, resource, sys, time, types
import publish_docs
from deployer.store import locks, releases
asked, left = json.load(sys.stdin), 570_000
release = asked["release"]
mine = {"release": release["id"], "execution": asked["execution"], "trigger": "publish"}
locks.acquire(release["service"], mine)
calls, began = 0, time.monotonic()
while True:
    calls += 1
    until = time.monotonic() + 570
    context = types.SimpleNamespace(
        function_name="publish_docs", memory_limit_in_mb=1769, aws_request_id="benchmark",
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:publish_docs",
        get_remaining_time_in_millis=lambda: int((until - time.monotonic()) * 1000),
    )
    answer = publish_docs.handler(asked, context)
    asked["progress"] = answer["progress"]
    if answer["done"]:
        break
took = time.monotonic() - began
releases.close_release(release, "SUCCEEDED", {"endedAt": release["startedAt"]})
locks.release(release["service"], asked["execution"])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([took, calls, peak, answer["progress"]]))
"""


@dataclass(frozen=True)
class Run:
    """One way to bring a site to S3.

    Attributes:
        seconds: from its start to its end.
        requests: to S3 and the releases table, by method.
        sent: bytes of the requests' bodies.
        peak: the process's memory at its most, bytes; 0 if that was not looked at.
        progress: what the publication says of itself.
    """

    seconds: float
    requests: Mapping[str, int]
    sent: int
    peak: int = 0
    progress: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The first publication of a site, and the one of its next build in both ways."""

    first: Run
    publish: Run
    sync: Run | None


class Counting:
    """A proxy before the local AWS. `take` gives what was counted since it was last called."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._requests: Counter[str] = Counter()
        self._sent = 0

    def take(self) -> tuple[Counter[str], int]:
        result = self._requests, self._sent
        self._requests, self._sent = Counter(), 0
        return result

    def pass_on(self, request: http.server.BaseHTTPRequestHandler) -> None:
        size = int(request.headers.get("Content-Length") or 0)
        copied = "x-amz-copy-source" in request.headers
        self._requests["COPY" if copied else request.command] += 1
        self._sent += size
        with closing(http.client.HTTPConnection("127.0.0.1", self._target)) as connection:
            headers = dict(request.headers.items())
            connection.request(request.command, request.path, request.rfile.read(size), headers)
            response = connection.getresponse()
            body = response.read()
        request.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                request.send_header(name, value)
        length = response.headers["Content-Length"] if request.command == "HEAD" else len(body)
        request.send_header("Content-Length", str(length or 0))
        request.end_headers()
        request.wfile.write(body)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its URL, for as long as the block."""

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", lambda request: self.pass_on(request))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()


def files(count: int, size: int, build: int) -> Iterator[tuple[str, bytes]]:
    """The files of a build: each of `size` bytes that no compression shrinks; the next build has
    another content in one of `CHANGED`."""
    for number in range(count):
        seed = f"{number}" if number % CHANGED else f"{number} {build}"
        folder = f"part-{number // 100:03}/page-{number:05}/" if number else ""
        yield f"{folder}index.html", random.Random(seed).randbytes(size)


@dataclass
class Contest:
    """A site and both ways to publish it."""

    site: DocsSite
    counting: Counting
    endpoint: str
    directory: Path

    def _environment(self) -> dict[str, str]:
        settings = {**self.site.stage.aws.settings, "AWS_ENDPOINT_URL": self.endpoint}
        return {**os.environ, **settings, "NO_PROXY": "*"}

    def publish(self, build: int, count: int, size: int) -> Run:
        """Publish a build as the function does."""
        aws, name = self.site.stage.aws, f"built/{build}/site.zip"
        packed = self.directory / "site.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path, content in files(count, size, build):
                archive.writestr(path, content)
        bucket = self.site.stage.outputs["SourceBucket"]
        aws.client("s3").upload_file(str(packed), bucket, name)
        packed.unlink()
        built, layer = aws.directory / "build" / PUBLISH, "DeployerLayer/python"
        function = f"{self.site.stage.stack}-{PUBLISH}"
        response = aws.client("lambda").get_function_configuration(FunctionName=function)
        environment = {
            **self._environment(),
            **response["Environment"]["Variables"],
            "PYTHONPATH": f"{built}:{built.parent / layer}",
            "POWERTOOLS_LOG_LEVEL": "CRITICAL",
            "TMPDIR": str(self.directory),
        }
        request = {
            "spec": self._spec(),
            "release": _release(self.site.stage.service, build),
            "built": f"arn:aws:s3:::{bucket}/{name}",
            "progress": {"files": 0, "uploaded": 0, "copied": 0, "bytes": 0},
            "execution": f"build-{build}",
        }
        self.counting.take()
        child = [sys.executable, "-c", _CHILD]
        message = _run(child, environment, json.dumps(request))
        seconds, _, peak, progress = json.loads(message.splitlines()[-1])
        return Run(seconds, *self.counting.take(), peak * 1024, progress)

    def _spec(self) -> Any:
        ssm, name = self.site.stage.aws.client("ssm"), f"/deployer/docs/{self.site.site}"
        return json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])

    def sync(self, build: int, count: int, size: int, bucket: str) -> Run:
        """Write a build anew, as a build server does, and sync it."""
        tree = self.directory / "site"
        for path, content in files(count, size, build):
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self.counting.take()
        cli = Path(sys.executable).with_name("aws")
        began = time.monotonic()
        _run(
            [cli, "s3", "sync", "--quiet", "--delete", tree, f"s3://{bucket}"], self._environment()
        )
        return Run(time.monotonic() - began, *self.counting.take())


def own_times(stage: Stage, number: int) -> list[float]:
    """Publish the builds of a small site; the seconds of each that are not its generator's.

    Those are the phases of the build that install its packages and run its script. The first also
    starts the functions, replaces the error page, and waits for CloudFront to forget the former.
    """
    site, seconds = DocsSite.set_up(stage, "bench-own"), []
    for build in range(number):
        archive = tar_gz(sources({"docs/index.md": f"Build {build}."}))
        done = site.published(archive, f"v{build}.tar.gz")
        if done.status != "SUCCEEDED":
            raise RuntimeError(f"{done.error}: {done.cause}")
        (build_docs,) = [state for state in done.states if state.name == "Build docs"]
        theirs = [
            phase["EndTime"] - phase["StartTime"]
            for phase in build_docs.output["Build"]["Phases"]
            if phase["PhaseType"] in ("PRE_BUILD", "BUILD")
        ]
        seconds.append(done.seconds - sum(theirs) / 1000)
    return seconds


def _release(owner: str, build: int) -> dict[str, Any]:
    name = f"2026010{build}T000000Z-bench"
    at = f"2026-01-0{build}T00:00:00+00:00"
    return {
        **{"service": owner, "id": name, "folder": name, "version": str(build), "tag": None},
        **{"digest": f"source:{build}", "source": "", "sourceVersion": "", "trigger": "push"},
        **{"pushedAt": at, "startedAt": at, "startedBy": "benchmark", "execution": f"{build}"},
    }


def _run(command: Sequence[str | Path], environment: Mapping[str, str], given: str = "") -> str:
    done = subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, timeout=_LIMIT
    )
    if done.returncode:
        raise RuntimeError(f"{command[:8]}: {done.stderr[-2000:]}")
    return done.stdout


def measure(stage: Stage, count: int, size: int, *, beside: bool = True) -> Comparison:
    """Publish a site of `count` files of `size` bytes, and its next build.

    Args:
        beside: sync both builds too, into a bucket of their own.
    """
    aws = stage.aws
    site = DocsSite.set_up(stage, "bench-site")
    counting = Counting(aws.port)
    directory = aws.directory / "publication"
    directory.mkdir()
    with counting.running() as endpoint:
        contest = Contest(site, counting, endpoint, directory)
        first = contest.publish(1, count, size)
        publish = contest.publish(2, count, size)
        if not beside:
            return Comparison(first, publish, None)
        aws.client("s3").create_bucket(Bucket="bench-synced")
        contest.sync(1, count, size, "bench-synced")
        return Comparison(first, publish, contest.sync(2, count, size, "bench-synced"))


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["own"]:
        with LocalAws.start() as aws:
            stage = Stage.set_up(aws, "bench", patterns="bench*", say=print)
            print("own time, s:", *(f"{each:.1f}" for each in own_times(stage, 4)))
        return 0
    count, megabytes = int(arguments[0]), int(arguments[1])
    with LocalAws.start() as aws:
        stage = Stage.set_up(aws, "bench", patterns="bench*", say=print)
        result = measure(stage, count, megabytes * 1_000_000 // count, beside=False)
    for name, run in (("the first", result.first), ("the next", result.publish)):
        requests = ", ".join(f"{number} {kind}" for kind, number in sorted(run.requests.items()))
        print(
            f"{name}: {run.seconds:.0f} s, peak {run.peak / 1e6:.0f} MB, {requests},"
            f" {run.sent / 1e6:.1f} MB sent; {dict(run.progress)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
