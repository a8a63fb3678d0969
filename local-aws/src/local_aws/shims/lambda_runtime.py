"""Lambda's Python runtime as AWS has it: its error names, timeouts, exits and what it can import.

A failed function's errorType is the exception's class name, which is what Step Functions' Retry
and Catch match; MiniStack's worker reports each as Runtime.HandlerError. The environment holds
what Lambda's does (the function, its layers, boto3), so that a dependency missing from the layer
fails here too. A handler that raises keeps its environment; one that exits or times out loses it.

Follows the AWS Lambda developer guide (Lambda runtime environment lifecycle; Python Lambda function
errors; Defined runtime environment variables) and the Step Functions developer guide (Handling
errors: Sandbox.Timedout, Runtime.ExitError).
"""

import contextlib
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import psutil
from ministack import app
from ministack.core import lambda_runtime, tls
from ministack.core.responses import (
    new_uuid,
)
from ministack.services import lambda_svc

from local_aws import server
from local_aws.shims import Shim, roles

Failure = dict[str, Any]

_SCRIPT = Path(__file__).with_name("lambda_worker.py")
_INIT_SECONDS = 10.0
_LAMBDA = "lambda.amazonaws.com"
# What Lambda's Python runtime brings along.
_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
_lock = threading.Lock()
shim = Shim()
install = shim.install


@shim.wraps(lambda_runtime, "_worker_class_for", "config")
def _worker_class_for(original: Callable[..., type], config: dict[str, Any]) -> type:
    return PythonWorker if str(config.get("Runtime", "")).startswith("python") else original(config)


@shim.wraps(lambda_svc, "_execute_function_warm", "func event request_id")
def _execute_function_warm(
    original: Callable[..., dict[str, Any]], func: dict[str, Any], event: Any, request_id: str
) -> dict[str, Any]:
    """Puts the worker's failure, which MiniStack carries as the message, in its place."""
    result = original(func, event, request_id)
    body = result.get("body")
    if result.get("error") and isinstance(body, dict):
        try:
            failure = json.loads(body.get("errorMessage", ""))
        except json.JSONDecodeError:
            return result
        if isinstance(failure, dict) and "errorType" in failure:
            return {**result, "body": failure}
    return result


@shim.wraps(
    lambda_svc, "_emit_lambda_logs", "func request_id log_text error duration_ms log_source"
)
def _emit_lambda_logs(
    original: Callable[..., None], func: dict[str, Any], *given: Any, **named: Any
) -> None:
    """Lambda writes the log in the function's role, or not at all."""
    config = func.get("config") or func
    function = config["FunctionArn"]
    logs = ":".join(["arn:aws:logs", *function.split(":")[3:5], "log-group", _log_group(config)])
    stream = f"{logs}:log-stream:{config['FunctionName']}"
    actions = ("logs:CreateLogStream", "logs:PutLogEvents")
    if not any(roles.denial(config["Role"], _LAMBDA, a, stream, source=function) for a in actions):
        original(func, *given, **named)


def _log_group(config: dict[str, Any]) -> str:
    group = (config.get("LoggingConfig") or {}).get("LogGroup")
    return str(group or f"/aws/lambda/{config['FunctionName']}")


class PythonWorker(lambda_runtime.Worker):  # type: ignore[misc]
    """One execution environment: a process, a socket to it, and what it writes."""

    _proc: Any
    _channel: socket.socket | None = None
    _received = b""

    def invoke(
        self,
        event: Any,
        request_id: str,
        *,
        trace_id: str | None = None,
        depth: Any = None,
        durable: dict[str, Any] | None = None,
        invoked_function_arn: str | None = None,
    ) -> dict[str, Any]:
        """{"status": "ok", "result", "log"}, or with "error" the failure as JSON."""
        with self._lock:
            log: list[bytes] = []
            seconds = float(self.config.get("Timeout", 3))
            if self._proc is None or self._proc.poll() is not None:
                self._spawn()
                # An init that takes longer is begun again, with the function's own timeout.
                limit = _INIT_SECONDS + seconds
                answer = self._answer(time.monotonic() + limit, log)
                if answer != {"ready": True}:
                    return self._ended(answer, seconds, request_id, log)
            invocation = {
                "event": event,
                "request_id": request_id,
                "arn": invoked_function_arn or self.config["FunctionArn"],
                "deadline": time.time() + seconds,
            }
            deadline = time.monotonic() + seconds
            try:
                self._channel.sendall(json.dumps(invocation).encode() + b"\n")  # type: ignore[union-attr]
            except OSError:  # it ended since the last invocation
                return self._ended({}, seconds, request_id, log)
            answer = self._answer(deadline, log)
            if answer is None or not answer:
                return self._ended(answer, seconds, request_id, log)
            if "failure" in answer:
                return _failed(answer["failure"], log)
            return {"status": "ok", "result": answer["result"], "log": _text(log)}

    def _answer(self, deadline: float, log: list[bytes]) -> dict[str, Any] | None:
        """Its next answer; {} when it has exited, None when it is out of time."""
        assert self._channel is not None
        output = self._proc.stdout.fileno()
        while b"\n" not in self._received:
            ready = wait([self._channel, output], max(0, deadline - time.monotonic()))
            if not ready:
                return None
            if output in ready and (written := os.read(output, 65536)):
                log.append(written)
            elif self._channel in ready:
                received = self._channel.recv(65536)
                if not received:
                    return {}
                self._received += received
            elif output in ready:
                return {}  # both ends are closed
        line, _, self._received = self._received.partition(b"\n")
        self._drain(self._proc, log)
        return json.loads(line)

    def _drain(self, process: Any, log: list[bytes]) -> None:
        output = process.stdout.fileno()
        while wait([output], 0) and (written := os.read(output, 65536)):
            log.append(written)

    def _ended(
        self, answer: dict[str, Any] | None, seconds: float, request_id: str, log: list[bytes]
    ) -> dict[str, Any]:
        """The environment is lost: it exited, failed to start, or is killed now for its time."""
        process, self._proc = self._proc, None
        process.kill()
        self._drain(process, log)
        process.stdout.close()
        self._discard_tmpdir()
        if answer and "failure" in answer:
            return _failed({**answer["failure"], "requestId": request_id}, log)
        if answer is None:
            kind, reason = "Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds"
        else:
            kind, reason = "Runtime.ExitError", "Runtime exited without providing a reason"
        log.append(f"{request_id} {reason}\n".encode())
        message = f"RequestId: {request_id} Error: {reason}"
        return _failed({"errorType": kind, "errorMessage": message}, log)

    def _discard_tmpdir(self) -> None:
        """Called when MiniStack has ended the process: after an update, or idle for long."""
        if self._channel:
            self._channel.close()
        self._channel, self._received = None, b""

    def _spawn(self) -> None:
        code = _unpacked(self.code_zip)
        archives = map(lambda_svc._resolve_layer_zip, self.config.get("Layers") or [])
        layers = [_unpacked(archive) for archive in archives if archive]
        # /var/task first, then /opt, where a later layer lies over an earlier one.
        search = [code, *(path for layer in reversed(layers) for path in _python_paths(layer))]
        self._channel, theirs = socket.socketpair()
        self._received = b""
        request = {
            "environment": self._environment(code),
            "directory": str(code),
            "search": [str(entry) for entry in search],
        }
        with theirs:
            self._proc = Process(_forks.begin(request, theirs))
        if answer := self._answer(time.monotonic() + _INIT_SECONDS, []):
            self._proc.begun(answer["pid"])

    def _environment(self, code: Path) -> dict[str, str]:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
        config = self.config
        _, region = lambda_runtime._account_region_from_function_config(config)
        given = (config.get("Environment") or {}).get("Variables") or {}
        reserved = lambda_runtime._RESERVED_RUNTIME_ENV_VARS
        name = config["FunctionName"]
        scheme = "https" if tls.use_ssl_enabled() else "http"
        return {
            "AWS_ENDPOINT_URL": f"{scheme}://{server.HOST}:{app._MINISTACK_PORT}",
            **server.ISOLATION,
            server.MARKER: os.environ.get(server.MARKER, ""),
            lambda_runtime.HOST_PREFIX_ENV: "true",
            **{key: value for key, value in given.items() if key not in reserved},
            **lambda_runtime.execution_credentials(config),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
            "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": _log_group(config),
            "AWS_LAMBDA_LOG_STREAM_NAME": new_uuid(),
            "LAMBDA_TASK_ROOT": str(code),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONUTF8": "1",
            "TZ": ":UTC",
            "_HANDLER": config["Handler"],
        }


class Process:
    """A forked execution environment, as far as MiniStack's workers need `subprocess.Popen`."""

    stdin = stderr = None
    _process: psutil.Process | None = None

    def __init__(self, output: int) -> None:
        self.stdout = open(output, "rb", buffering=0)  # noqa: SIM115 - closed by who reads it

    def begun(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)

    def poll(self) -> int | None:
        """None while it lives."""
        return None if self._process and self._process.is_running() else 0

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def kill(self) -> None:
        if self._process:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._process.kill()

    terminate = kill


class _Forks:
    """The fork server (`lambda_worker`), started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def begin(self, request: dict[str, Any], channel: socket.socket) -> int:
        """Fork an environment that is spoken to over the channel; what it writes can be read."""
        read, write = os.pipe()
        with self._lock:
            try:
                descriptors = [channel.fileno(), write]
                socket.send_fds(self._connection(), [json.dumps(request).encode()], descriptors)
            finally:
                os.close(write)
        return read

    def _connection(self) -> socket.socket:
        if self._control is None or self._server is None or self._server.poll() is not None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._server = subprocess.Popen(
                    [
                        *(sys.executable, "-S", "-P", str(_SCRIPT), str(theirs.fileno())),
                        str(_runtime_packages()),
                    ],
                    env={
                        server.MARKER: os.environ.get(server.MARKER, ""),
                        "LANG": "en_US.UTF-8",
                        "PYTHONUTF8": "1",
                        "TZ": ":UTC",
                    },
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
        return self._control


_forks = _Forks()


def _failed(failure: Failure, log: list[bytes]) -> dict[str, Any]:
    return {"status": "error", "error": json.dumps(failure), "trace": "", "log": _text(log)}


def _text(log: list[bytes]) -> str:
    return b"".join(log).decode(errors="replace").rstrip("\n")


def _unpacked(archive: bytes) -> Path:
    """The archive's files, unpacked once for all environments that use it.

    So Python's compiled files are shared too, which the next cold start does not have to make.
    """
    target = Path(tempfile.gettempdir()) / "lambda" / hashlib.sha256(archive).hexdigest()[:32]
    with _lock:
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                with zipfile.ZipFile(io.BytesIO(archive)) as packed:
                    packed.extractall(scratch)
                Path(scratch).rename(target)
                Path(scratch).mkdir()  # which leaving the block removes
    return target


def _python_paths(layer: Path) -> list[Path]:
    python = layer / "python"
    return [*python.glob("lib/python*/site-packages"), python]


def _runtime_packages() -> Path:
    """A directory with the packages of Lambda's runtime and nothing else of this interpreter's."""
    target = Path(tempfile.gettempdir()) / "lambda" / "runtime"
    with _lock:
        if not target.exists():
            target.mkdir(parents=True)
            packages = Path(sysconfig.get_path("purelib"))
            for name in _RUNTIME:
                (target / name).symlink_to(packages / name)
    return target
