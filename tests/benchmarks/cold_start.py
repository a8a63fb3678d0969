"""What a function's first invocation costs, from the artifacts that `sam build` ships.

Each function is loaded and called in a process of its own, with the payload of an execution that
has ended: every function may be called again with the same, once that execution has the lock again.
The yardstick is a bare `boto3.client("ecs")`. Both have the libraries of Lambda's Python and no
others: boto3 imports awscrt and OpenSSL where they are. What is counted is CPU time, which a busy
machine does not change, and by which Lambda's share of a CPU stretches a start.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from demo.stage import Stage

_CHILD = """
import importlib, json, sys, time, types
module, payload = sys.argv[1], json.load(sys.stdin)
context = types.SimpleNamespace(
    function_name=module, memory_limit_in_mb=512, aws_request_id="benchmark",
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:" + module,
)
began = time.process_time()
handler = importlib.import_module(module).handler
loaded = time.process_time()
handler(payload, context)
called = time.process_time()
import botocore.client
calls, plain = [], botocore.client.BaseClient._make_api_call
def counted(client, operation, arguments):
    calls.append(operation)
    return plain(client, operation, arguments)
botocore.client.BaseClient._make_api_call = counted
again = time.process_time()
handler(payload, context)
warm = time.process_time() - again
print(json.dumps([loaded - began, called - loaded, warm, calls]))
"""

_BARE = """
import time
began = time.process_time()
import boto3
boto3.client("ecs")
print(time.process_time() - began)
"""

# What Lambda's Python has besides the standard library
_RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")


@dataclass(frozen=True)
class Start:
    """CPU seconds to load the module, call it first, call it again; and that call's API calls."""

    load: float
    first: float
    later: float
    calls: Sequence[str]

    @property
    def cold(self) -> float:
        return self.load + self.first


def payloads(stage: Stage, executions: Sequence[str]) -> dict[str, Any]:
    """What each function was given in these executions, by its logical id."""
    given: dict[str, Any] = {}
    pages = stage.aws.client("stepfunctions").get_paginator("get_execution_history")
    for arn in executions:
        for page in pages.paginate(executionArn=arn):
            for event in page["events"]:
                if direct := event.get("lambdaFunctionScheduledEventDetails"):
                    given[_logical(direct["resource"])] = json.loads(direct["input"])
                elif event["type"] == "TaskScheduled":
                    parameters = json.loads(event["taskScheduledEventDetails"]["parameters"])
                    given[_logical(parameters["FunctionName"])] = parameters["Payload"]
    return given


def _logical(function: str) -> str:
    """`IdentifyRelease` of `arn:…:function:<stack>-IdentifyRelease`."""
    return function.rpartition("-")[2]


@dataclass(frozen=True)
class Starts:
    """Each function's start with compiled modules, as shipped, and without, by its logical id; and
    the CPU seconds of a bare client."""

    functions: Mapping[str, tuple[Start, Start]]
    bare: float


def measure(stage: Stage, built: Path, given: Mapping[str, Any], rounds: int) -> Starts:
    """Start each function `rounds` times with what it was given, in turns with the yardstick."""
    runtime, uncompiled = _runtime(built.with_name("runtime")), built.with_name("uncompiled")
    shutil.copytree(built, uncompiled, ignore=shutil.ignore_patterns("__pycache__"))
    variables = {
        _logical(function["FunctionName"]): function["Environment"]["Variables"]
        for page in stage.aws.client("lambda").get_paginator("list_functions").paginate()
        for function in page["Functions"]
    }
    result, bare = {}, []
    for name, payload in sorted(given.items()):
        tries: tuple[list[Start], list[Start]] = ([], [])
        for _ in range(rounds):
            bare.append(_bare(stage, runtime))
            for directory, starts in zip((built, uncompiled), tries, strict=True):
                starts.append(_start(stage, name, payload, variables[name], directory, runtime))
        result[name] = (_least(tries[0]), _least(tries[1]))
    return Starts(result, min(bare))


def _least(starts: Sequence[Start]) -> Start:
    """Of several tries, what the machine's other work disturbed least."""
    return Start(
        min(start.load for start in starts),
        min(start.first for start in starts),
        min(start.later for start in starts),
        starts[-1].calls,
    )


def _runtime(directory: Path) -> Path:
    """A directory with the libraries of Lambda's Python, as links."""
    directory.mkdir()
    for name in _RUNTIME:
        result = distribution(name)
        tops = {file.parts[0] for file in result.files or () if ".." not in file.parts}
        for top in tops - {"__pycache__"}:
            (directory / top).symlink_to(Path(str(result.locate_file(top))))
    return directory


def _bare(stage: Stage, runtime: Path) -> float:
    environment = {**os.environ, **stage.aws.settings, "PYTHONPATH": str(runtime)}
    return float(_run(["-S", "-c", _BARE], environment, ""))


def _start(
    stage: Stage,
    name: str,
    payload: Any,
    variables: Mapping[str, str],
    built: Path,
    runtime: Path,
) -> Start:
    _give_lock(stage, payload)
    module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    environment = {
        **os.environ,
        **stage.aws.settings,
        "NO_PROXY": "*",
        "PYTHONPATH": f"{built / name}:{built / 'DeployerLayer' / 'python'}:{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",  # as in Lambda, where /opt and /var/task are read-only
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        **variables,
    }
    load, first, later, calls = json.loads(
        _run(["-S", "-c", _CHILD, module], environment, json.dumps(payload))
    )
    return Start(load, first, later, calls)


def _give_lock(stage: Stage, payload: Mapping[str, Any]) -> None:
    """Let the execution of a payload hold its service's lock, without which nothing is changed."""
    service = (payload.get("release") or payload.get("spec") or {}).get("service")
    if service:
        item = {
            "service": service,
            "id": "#lock",
            "execution": payload["execution"],
            "since": datetime.now(UTC).isoformat(),
        }
        stage.aws.client("dynamodb").put_item(
            TableName=stage.outputs["ReleasesTable"],
            Item={name: {"S": value} for name, value in item.items()},
        )


def _run(arguments: Sequence[str], environment: Mapping[str, str], given: str) -> str:
    """The last line that a Python process of these arguments prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[3:]}: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]
