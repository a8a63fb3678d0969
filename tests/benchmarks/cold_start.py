"""What a function's first invocation costs, from the artifacts that `sam build` ships.

Each function is loaded and called in a process of its own, with a payload that the state machine
gave it before: every function may be called again with the same. What is counted is CPU time, which
a busy machine does not change, and by which Lambda's share of a CPU stretches a start.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from local.stage import Stage

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


def measure(
    stage: Stage, built: Path, given: Mapping[str, Any], rounds: int
) -> dict[str, tuple[Start, Start]]:
    """Each function's start with compiled modules, as shipped, and without; by its logical id."""
    bare = built.with_name("bare")
    shutil.copytree(built, bare, ignore=shutil.ignore_patterns("__pycache__"))
    variables = {
        _logical(function["FunctionName"]): function["Environment"]["Variables"]
        for page in stage.aws.client("lambda").get_paginator("list_functions").paginate()
        for function in page["Functions"]
    }
    found = {}
    for name, payload in sorted(given.items()):
        with ThreadPoolExecutor() as both:  # so that a busy moment of the machine meets both
            start = partial(_start, stage, name, payload, variables[name])
            pairs = [tuple(both.map(start, (built, bare))) for _ in range(rounds)]
        shipped, without = zip(*pairs, strict=True)
        found[name] = (_least(shipped), _least(without))
    return found


def _least(starts: Sequence[Start]) -> Start:
    """Of several tries, what the machine's other work disturbed least."""
    return Start(
        min(start.load for start in starts),
        min(start.first for start in starts),
        min(start.later for start in starts),
        starts[-1].calls,
    )


def _start(
    stage: Stage, name: str, payload: Any, variables: Mapping[str, str], built: Path
) -> Start:
    module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    environment = {
        **os.environ,
        **stage.aws.settings,
        "NO_PROXY": "*",
        "PYTHONPATH": f"{built / name}:{built / 'DeployerLayer' / 'python'}",
        "PYTHONDONTWRITEBYTECODE": "1",  # as in Lambda, where /opt and /var/task are read-only
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, module],
        input=json.dumps(payload),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    load, first, later, calls = json.loads(done.stdout.splitlines()[-1])
    return Start(load, first, later, calls)
