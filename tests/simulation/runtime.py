"""The deployer's own code in the simulation: its handlers with the world in AWS's place.

What is replaced is what leaves the process: a call of AWS (below botocore's clients, whose service
models check each request and answer), an HTTP request, the clock and the log.
"""

import io
import json
import marshal
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import botocore.client
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ConnectionClosedError
from botocore.handlers import json_decode_policies

from tests.simulation.asl import Machine, Run, StateError
from tests.simulation.cloud import Item
from tests.simulation.ecs import ACCOUNT, REGION
from tests.simulation.errors import AwsError
from tests.simulation.shapes import check_answer, check_request

if TYPE_CHECKING:
    from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
_MACHINES = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:"
LIMITS = {
    "Reconcile": 120.0,
    "CheckSources": 570.0,
    "PublishDocs": 570.0,
    "PruneDocs": 570.0,
}  # seconds; as in template.yaml
LIMIT = 50.0
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "false",
    "AWS_SECRET_ACCESS_KEY": "false",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "RELEASES_TABLE": "releases",
    "SPEC_PATH": "/deployer/services",
    "SITE_PATH": "/deployer/docs",
    "HISTORY_DAYS": "365",
    **{name.upper(): f"{_MACHINES}{name}" for name in ("Build", "Deploy", "Docs")},
    "SOURCES": "sources",
    "PROJECT": "ImageBuild",
    "FETCH_PROJECT": "FetchSource",
    "FETCH_SERVICE": "coder",
    "POWERTOOLS_SERVICE_NAME": "deployer",
}

_here: "list[World]" = []


def here() -> "World":
    """The world that the code which runs now is in."""
    return _here[-1]


def arn(name: str) -> str:
    """The ARN of a state machine, by its definition's name."""
    return f"{_MACHINES}{name.capitalize()}"


@cache
def machine(name: str) -> Machine:
    text = (ROOT / f"statemachine/{name}.asl.json").read_text()
    return Machine(json.loads(text))


@cache
def snake(name: str) -> str:
    """`UpdateService` as `update_service`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:].replace("d_b_", "db_")


def handler(function: str) -> Callable[[Any, Any], Any]:
    """What runs for a name in the template: a function's handler, without the logger around it, or
    the Express workflow Wake."""
    if function == "Wake":
        return _wake
    module = snake(function)
    result: Callable[[Any, Any], Any] = sys.modules[module].handler
    return getattr(result, "__wrapped__", result)


class _Express:
    """What the Express workflow needs of the world: Step Functions calls AWS for it."""

    def now_text(self) -> str:
        return iso(here().engine.now)

    def sleep(self, seconds: float) -> None:
        here().engine.pause(seconds)

    def jitter(self) -> float:
        return here().jitter()

    def entered(self, name: str) -> None:
        here().trace("wake", f"enters {name}")

    def call(self, *_: Any) -> Any:
        raise NotImplementedError("an Express workflow that calls a function")

    call_back = call

    def integrate(self, action: str, arguments: Any, timeout: float) -> Any:
        """Call AWS; an error has the name that the SDK for Java gives it.

        https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
        """
        name, operation = action.removeprefix("aws-sdk:").split(":")
        service, prefix = _INTEGRATIONS[name]
        client = sys.modules["deployer.aws"].client(service)
        method = f"{operation[0].upper()}{operation[1:]}"
        request = arguments
        if service == "stepfunctions":  # its API begins its fields with a small letter
            request = {f"{key[0].lower()}{key[1:]}": value for key, value in arguments.items()}
        try:
            return json.loads(json.dumps(client._make_api_call(method, request)))
        except client.exceptions.ClientError as error:
            code = error.response["Error"]["Code"].removesuffix("Exception")
            raise StateError(f"{prefix}.{code}Exception", str(error)) from error
        except sys.modules["deployer.errors"].AwsUnavailable as error:
            raise StateError(f"{prefix}.SdkClientException", str(error)) from error


_INTEGRATIONS = {"dynamodb": ("dynamodb", "DynamoDB"), "sfn": ("stepfunctions", "Sfn")}


def _wake(event: Any, _: Any) -> Any:
    return Run(machine("wake"), _Express(), {}, event)()


class _Datetime(datetime):
    """The virtual clock, for code that asks `datetime`."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(here().clock(), tz)


def _now() -> float:
    return here().clock()


def _sleep(seconds: float) -> None:
    here().engine.pause(seconds)


_time = SimpleNamespace(time=_now, monotonic=_now, sleep=_sleep)


class _Log:
    """Takes what a function logs, for the trace and to look for secrets."""

    def info(self, message: str, **values: Any) -> None:
        here().logged("info", message, values)

    def error(self, message: str, **values: Any) -> None:
        here().logged("error", message, values)

    def exception(self, message: str, **values: Any) -> None:
        here().logged("exception", message, values)

    warning = error


class _Download:
    """A layer as ECR gives it to download."""

    def __init__(self, url: str, timeout: float) -> None:
        self._body = json.dumps(here().ecr.configs[url.rsplit("/", 1)[-1]]).encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, limit: int) -> bytes:
        return self._body[:limit]


def _make_api_call(client: Any, operation: str, params: dict[str, Any]) -> dict[str, Any]:
    model = client.meta.service_model
    if operation == "CopyObject":  # which botocore lets be named in its parts
        source = params["CopySource"]
        params = {**params, "CopySource": f"{source['Bucket']}/{source['Key']}"}
    check_request(model, operation, params)
    try:
        answer = here().call(model.service_name, operation, params)
    except AwsError as error:
        return _refuse(client, model, operation, error)
    check_answer(model, operation, answer)
    if operation == "GetRole":  # botocore parses its policy
        json_decode_policies(answer, model.operation_model(operation))
    return answer


def _refuse(client: Any, model: Any, operation: str, error: AwsError) -> dict[str, Any]:
    name = f"{model.service_id.hyphenize()}.{operation}"
    if error.code == "":  # no answer came
        lost = ConnectionClosedError(endpoint_url=f"https://{model.service_name}.example")
        client.meta.events.emit(f"after-call-error.{name}", exception=lost, context={})
        raise lost
    parsed = error.parsed
    client.meta.events.emit(
        f"after-call.{name}",
        http_response=SimpleNamespace(status_code=error.status),
        parsed=parsed,
        model=model.operation_model(operation),
        context={},
    )
    raise client.exceptions.from_code(error.code)(parsed, operation)


_paginators: dict[tuple[Any, str], Any] = {}
_get_paginator = botocore.client.BaseClient.get_paginator


def _kept_paginator(client: Any, operation: str) -> Any:
    key = client, operation
    if key not in _paginators:
        _paginators[key] = _get_paginator(client, operation)
    return _paginators[key]


@cache
def _modules() -> list[Any]:
    os.environ.update(ENVIRONMENT)
    for path in sorted((ROOT / "functions").glob("*.py")):
        import_module(path.stem)
    names = {path.stem for path in (ROOT / "functions").glob("*.py")}
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name in names or name == "deployer" or name.startswith("deployer.")
    ]


@contextmanager
def installed() -> Iterator[None]:
    """Put the deployer's code into the simulation, and take it out again."""
    environment = dict(os.environ)
    before: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    os.environ.update(ENVIRONMENT)
    for module in _modules():
        for name, value in (("datetime", _Datetime), ("time", _time), ("logger", _Log())):
            there = getattr(module, name, None)
            if there is datetime or there is time or (name == "logger" and there):
                put(module, name, value)
        if hasattr(module, "from_document"):
            put(module, "from_document", _kept_document(module.from_document))
    # so that what matters lies behind the newest records in plans of a few pushes already
    put(sys.modules["deployer.store.releases"], "_NEWEST", 8)
    table = sys.modules["deployer.store.table"]
    put(table, "_values", _kept_values(table._values))
    put(table, "_to_item", _Serializer().serialize)
    put(sys.modules["publish_docs"], "ThreadPoolExecutor", _Serial)
    put(sys.modules["publish_docs"], "_download", _downloaded)
    put(sys.modules["deployer.http"], "get", lambda url, timeout=3.0: here().http(url))
    put(sys.modules["deployer.http"], "addresses", lambda host, timeout=3.0: [])
    download = SimpleNamespace(request=SimpleNamespace(urlopen=_Download))
    put(sys.modules["deployer.aws.ecr"], "urllib", download)
    put(socket, "getaddrinfo", _outside)
    put(threading.Thread, "start", _outside)
    put(botocore.client.BaseClient, "_make_api_call", _make_api_call)
    put(botocore.client.BaseClient, "get_paginator", _kept_paginator)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
        os.environ.clear()
        os.environ.update(environment)


def _outside(*_: object) -> None:
    from tests.simulation.world import Unmodelled

    raise Unmodelled("a name of the real world, or a thread in real time")


class _Serial:
    """A pool of no threads: in virtual time one file comes after the other."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


def _downloaded(arn: str, _: str) -> io.BytesIO:
    """What a build made, kept in memory: worlds side by side share the disk."""
    bucket, _, key = arn.rpartition(":::")[2].partition("/")
    into = io.BytesIO()
    assert sys.modules["deployer.aws.s3"].download(bucket, key, into)
    return into


class _Serializer(TypeSerializer):
    """boto3's, which asks each text first whether it is anything else."""

    def serialize(self, value: Any) -> Any:
        return {"S": value} if type(value) is str else super().serialize(value)


@cache
def _kept_values(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Reading the same items of the table again and again takes as much."""

    def kept(item: Any) -> Any:
        if type(item) is not Item:
            return read(item)
        if not hasattr(item, "read"):
            item.read = marshal.dumps(read(item), 2)
        return marshal.loads(item.read)

    return kept


@cache
def _kept_document(read: Callable[..., Any]) -> Callable[..., Any]:
    """Reading the same spec again and again takes a tenth of a scenario's time."""
    known: dict[bytes, Any] = {}

    def kept(document: Any, *source: str) -> Any:
        key = marshal.dumps(document, 2)
        if key not in known:
            known[key] = read(document, *source)
        return known[key]

    return kept


@contextmanager
def within(world: "World") -> Iterator[None]:
    _here.append(world)
    try:
        yield
    finally:
        _here.pop()


def iso(seconds: float) -> str:
    """A time as Step Functions tells it."""
    output = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return output.replace("+00:00", "Z")
