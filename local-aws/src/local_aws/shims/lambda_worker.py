"""Execution environments of Lambda functions: each is what /var/runtime/bootstrap is on AWS.

Started by `lambda_runtime` as a program of its own, without site-packages, which forks a process
for each environment; that is spoken to over a socket in JSON lines. Standard library only. Follows
the AWS Lambda developer guide (Define Lambda function handler in Python; Python Lambda function
errors) and the error names of
github.com/aws/aws-lambda-python-runtime-interface-client (bootstrap.py).
"""

import contextlib
import gc
import http.client
import importlib
import json
import os
import signal
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Failure = dict[str, Any]

NAMES = "names/records.json"
"""In the directory of the local AWS: what the names of Route 53's hosted zones lead to."""
AUTHORITY = "names/authority.pem"
"""There too: the certificate of who signs ACM's certificates, once there is one."""

_PRELOADED = (
    *("boto3", "boto3.session", "botocore.session", "botocore.client", "botocore.httpsession"),
    *("botocore.endpoint", "botocore.parsers", "botocore.signers", "botocore.regions"),
    *("botocore.retries.standard", "botocore.waiter", "botocore.paginate", "concurrent.futures"),
    *("dateutil.parser", "jmespath", "urllib3", "uuid", "decimal", "hashlib"),
)

_WARM = ("dynamodb", "ec2", "ecr", "ecs", "elbv2", "events", "logs", "s3", "ssm", "stepfunctions")


class Context:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    identity = None
    client_context = None

    def __init__(self, request_id: str, arn: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.time()) * 1000))


def main(control: socket.socket, packages: str) -> None:
    """Fork an execution environment for each request on `control`, until that is closed.

    A request comes with two descriptors: the environment's channel, and what it writes to. What
    every function imports is imported here once: a start then takes the time of the function's own
    modules.
    """
    sys.path.append(packages)
    for name in _PRELOADED:
        importlib.import_module(name)
    _warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 2)
        if not descriptors:
            return
        channel, output = descriptors
        if os.fork() == 0:
            control.close()
            _begin(json.loads(request), output)
            try:
                serve(socket.socket(fileno=channel))
            except SystemExit as end:
                print(end.code or "", file=sys.stderr)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        os.close(channel)
        os.close(output)


def _warm_up() -> None:
    """Read botocore's models of the services once, and keep the forks from copying them."""
    from boto3.session import Session
    from botocore.loaders import JSONFileLoader

    read: dict[str, Any] = {}
    load = JSONFileLoader.load_file

    def load_file(self: JSONFileLoader, path: str) -> Any:
        if path not in read:
            read[path] = load(self, path)
        return read[path]

    JSONFileLoader.load_file = load_file  # type: ignore[assignment,method-assign]
    session = Session("false", "false", region_name="us-east-1")
    for service in _WARM:
        session.client(service)  # type: ignore[call-overload]
    gc.collect()
    gc.freeze()


def _begin(request: dict[str, Any], output: int) -> None:
    """Become the environment that was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, descriptor in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(given, descriptor)
    os.close(nothing)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["directory"])
    with contextlib.suppress(OSError):  # what `ps` shows; there is room for 15 characters
        Path("/proc/self/comm").write_text(os.environ["AWS_LAMBDA_FUNCTION_NAME"][-15:])
    sys.path[:0] = request["search"]
    # What the function or a layer brings lies over what the runtime has.
    for name in {name.partition(".")[0] for name in _PRELOADED}:
        if any(Path(entry, name).exists() for entry in request["search"]):
            for loaded in [m for m in sys.modules if m.partition(".")[0] == name]:
                del sys.modules[loaded]


def serve(channel: socket.socket) -> None:
    """Answer invocations until the channel is closed."""
    _send(channel, {"pid": os.getpid()})
    lines = channel.makefile("r", encoding="utf-8")
    http.client.HTTPSConnection.connect = _connect  # type: ignore[assignment, method-assign]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if directory := os.environ.get("LOCAL_AWS_DIRECTORY"):
        _live_in(directory)
    handler = _find_handler(os.environ["_HANDLER"])
    _send(channel, {"ready": True} if callable(handler) else {"failure": handler})
    if not callable(handler):
        return
    for line in lines:
        invocation = json.loads(line)
        context = Context(invocation["request_id"], invocation["arn"], invocation["deadline"])
        answer = _invoke(handler, invocation["event"], context)
        # What it wrote has to be there before the answer is: the reader looks then.
        sys.stdout.flush()
        sys.stderr.flush()
        _send(channel, answer)


_connect_securely = http.client.HTTPSConnection.connect


def _connect(self: http.client.HTTPSConnection) -> None:
    """The local AWS speaks no TLS, and its distributions are below `localhost`, which never leaves
    the machine (RFC 6761) and which not every resolver knows."""
    if self.host.endswith(".localhost"):
        self.sock = socket.create_connection(("127.0.0.1", self.port), self.timeout)
    else:
        _connect_securely(self)


def _live_in(directory: str) -> None:
    """Names and certificates of the local AWS are good here."""
    resolve, trust = socket.getaddrinfo, ssl.SSLContext.load_default_certs

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        host, port = located(directory, host, port)
        return resolve(host, port, *arguments, **named)

    def load_default_certs(context: ssl.SSLContext, *arguments: Any) -> None:
        trust(context, *arguments)
        authority = Path(directory, AUTHORITY)
        if authority.exists():
            context.load_verify_locations(authority)

    socket.getaddrinfo = getaddrinfo
    ssl.SSLContext.load_default_certs = load_default_certs  # type: ignore[assignment,method-assign]


def located(directory: str, host: Any, port: Any) -> tuple[Any, Any]:
    """Where a name of Route 53 and a port are on this machine; the same if it is no such name.

    "*" stands for one label or more, and the most specific record counts.
    """
    try:
        names = json.loads(Path(directory, NAMES).read_bytes())
    except FileNotFoundError:
        return host, port
    name = host.lower() if isinstance(host, str) else ""
    ports, parent = names.get(name), name
    while ports is None and "." in parent:
        parent = parent.partition(".")[2]
        ports = names.get(f"*.{parent}")
    address, there = (ports or {}).get(str(port), (host, port))
    return address, there


def _find_handler(name: str) -> Callable[..., Any] | Failure:
    """The handler "package/module.function", or why there is none."""
    module_name, _, function = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        return _failure(
            "Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}"
        )
    except Exception as error:
        return _raised(error)
    handler = getattr(module, function, None)
    if callable(handler):
        return handler
    return _failure(
        "Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'"
    )


def _invoke(handler: Callable[..., Any], event: Any, context: Context) -> dict[str, Any]:
    try:
        result = handler(event, context)
    except Exception as error:
        return {"failure": _raised(error) | {"requestId": context.aws_request_id}}
    try:
        return {"result": json.loads(json.dumps(result))}
    except (TypeError, ValueError) as error:
        message = f"Unable to marshal response: {error}"
        return {"failure": _failure("Runtime.MarshalError", message)}


def _raised(error: Exception) -> Failure:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html"""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame[0]]
    stack = traceback.format_list(ours)
    name = type(error).__name__
    print(f"[ERROR] {name}: {error}\nTraceback (most recent call last):", file=sys.stderr)
    print("".join(stack), end="", file=sys.stderr)
    return {"errorMessage": str(error), "errorType": name, "stackTrace": stack}


def _failure(kind: str, message: str) -> Failure:
    print(f"[ERROR] {kind}: {message}", file=sys.stderr)
    return {"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": []}


def _send(channel: socket.socket, content: dict[str, Any]) -> None:
    channel.sendall(json.dumps(content).encode() + b"\n")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
