"""Every unit test runs with false credentials, on moto or on scripted answers, off the network."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Key
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters
from moto import mock_aws

from deployer.aws import client
from deployer.store import locks
from tests.unit.samples import lock_request

REGION = "us-east-1"
ACCOUNT = "123456789012"

type Answer = Mapping[str, Any] | ClientError | Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function finds in its environment on Lambda; credentials that open nothing."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "false",
        "AWS_SECRET_ACCESS_KEY": "false",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "RELEASES_TABLE": "releases",
        "SPEC_PATH": "/deployer/services",
        "SITE_PATH": "/deployer/docs",
        "HISTORY_DAYS": "90",
        "POWERTOOLS_SERVICE_NAME": "deployer",
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # a tenth of a second for each test with a network
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection leaves this machine, and no name is looked up."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def loopback(host: object) -> bool:
        return str(host).startswith("127.") or host in ("localhost", "::1")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not loopback(address[0]):
            raise AssertionError(f"a unit test connects to {address}")
        connect(self, address)

    def guarded_look_up(host: Any, *arguments: Any, **named: Any) -> Any:
        if not loopback(host):
            raise AssertionError(f"a unit test looks up {host}")
        return look_up(host, *arguments, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture
def aws() -> Iterator[None]:
    """An empty AWS, by moto."""
    # the session is kept: reading botocore's models again costs a second per test
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield


@pytest.fixture
def releases_table(aws: None) -> None:
    """The releases table as template.yaml makes it."""
    client("dynamodb").create_table(
        TableName="releases",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "service", "AttributeType": "S"},
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "standing", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "service", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "Standing",
                "KeySchema": [
                    {"AttributeName": "service", "KeyType": "HASH"},
                    {"AttributeName": "standing", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


@pytest.fixture
def lock_held(releases_table: None) -> None:
    """The lock is the samples' execution's."""
    locks.acquire("coder", lock_request())


def items(service: str) -> list[Any]:
    """What the releases table holds under a service, as it lies there."""
    table = boto3.resource("dynamodb").Table("releases")
    result = table.query(KeyConditionExpression=Key("service").eq(service))
    return list(result["Items"])


@dataclass
class Machine:
    """Our state machine, by moto: its executions run until they are stopped."""

    arn: str

    def start(self, name: str) -> str:
        """Start an execution; returns its ARN."""
        started = client("stepfunctions").start_execution(stateMachineArn=self.arn, name=name)
        return str(started["executionArn"])

    def stop(self, execution: str) -> None:
        client("stepfunctions").stop_execution(executionArn=execution)

    def executions(self) -> dict[str, Any]:
        """Name and input of those that run."""
        request: dict[str, Any] = {"stateMachineArn": self.arn, "statusFilter": "RUNNING"}
        return {
            item["name"]: json.loads(
                client("stepfunctions").describe_execution(executionArn=item["executionArn"])[
                    "input"
                ]
            )
            for item in client("stepfunctions").list_executions(**request)["executions"]
        }


@pytest.fixture
def machine(aws: None, monkeypatch: pytest.MonkeyPatch) -> Machine:
    rendered = client("stepfunctions").create_state_machine(
        name="Deploy",
        definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/deploy",
    )
    monkeypatch.setenv("DEPLOY", rendered["stateMachineArn"])
    return Machine(rendered["stateMachineArn"])


@dataclass
class Script:
    """Answers of AWS, operation by operation, where moto has none that would do.

    `calls` holds what was asked. Requests and answers are checked against botocore's service
    model, so that no test rests on an answer that AWS could not give.
    """

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _turns: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    _registered: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __call__(self, service: str, operation: str, *answers: Answer) -> None:
        """Script an operation anew: each answer once, in turn, the last one for ever."""
        known = (service, operation) in self._turns
        self._turns[service, operation] = list(answers)
        if known:
            return
        created = client(service)
        model = created.meta.service_model.operation_model(operation)

        def note(params: dict[str, Any], **_: Any) -> None:
            self.calls.append((operation, dict(params)))

        def answer(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
            turns = self._turns[service, operation]
            turn = turns.pop(0) if len(turns) > 1 else turns[0]
            result = turn(self.calls[-1][1]) if callable(turn) else turn
            if isinstance(result, ClientError):
                status, parsed = 400, dict(result.response)
            else:
                status, parsed = 200, dict(result)
                if model.output_shape:  # some operations answer nothing
                    validate_parameters(parsed, model.output_shape)
            parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
            return AWSResponse("", status, HTTPHeaders(), None), parsed

        name = f"{created.meta.service_model.service_id.hyphenize()}.{operation}"
        for event, handler in (("provide-client-params", note), ("before-call", answer)):
            created.meta.events.register(f"{event}.{name}", handler)
            self._registered.callback(created.meta.events.unregister, f"{event}.{name}", handler)

    def close(self) -> None:
        """Leave the clients as they were: making new ones for each test takes half of its time."""
        self._registered.close()

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """The requests of one operation, in order."""
        return [params for name, params in self.calls if name == operation]


@pytest.fixture
def script(aws: None) -> Iterator[Script]:
    with contextlib.closing(Script()) as resource:
        yield resource


@pytest.fixture
def announced(script: Script) -> Any:
    """The states that were announced."""
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})

    def states() -> list[str]:
        requests = script.requests("PutEvents")
        return [json.loads(one["Entries"][0]["Detail"])["state"] for one in requests]

    return states


def refusal(code: str, message: str = "refused") -> ClientError:
    """The error by which AWS refuses a call."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "operation")


def surround(script: Script) -> None:
    """Script what a preflight looks at, all of it as the sample spec needs it."""
    subnet, group = "subnet-0123456789abcdef0", "sg-0123456789abcdef0"
    script("ecs", "DescribeClusters", {"clusters": [{"status": "ACTIVE"}]})
    script("ec2", "DescribeSubnets", {"Subnets": [{"SubnetId": subnet, "VpcId": "vpc-1"}]})
    anyone = [{"CidrIp": "0.0.0.0/0"}]
    rules = {"IpPermissions": [{"IpProtocol": "-1", "IpRanges": anyone}]}
    matches = {"GroupId": group, "VpcId": "vpc-1", **rules}
    script("ec2", "DescribeSecurityGroups", {"SecurityGroups": [matches]})
    way = {"GatewayId": "igw-1", "DestinationCidrBlock": "0.0.0.0/0", "State": "active"}
    table = {"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Associations": [{"Main": True}]}
    script("ec2", "DescribeRouteTables", {"RouteTables": [{**table, "Routes": [way]}]})
    script("ec2", "DescribeVpcEndpoints", {"VpcEndpoints": []})
    script("secretsmanager", "DescribeSecret", {"Name": "coder-db"})
    allowed = {"EvalActionName": "secretsmanager:GetSecretValue", "EvalDecision": "allowed"}
    script("iam", "SimulatePrincipalPolicy", {"EvaluationResults": [allowed]})
    script("logs", "DescribeLogStreams", {"logStreams": []})
    role = {"Path": "/", "RoleName": "r", "RoleId": "r" * 16, "Arn": "a" * 20, "CreateDate": 0}
    script("iam", "GetRole", {"Role": role})


@pytest.fixture
def context() -> Any:
    """A Lambda context, as far as the logger reads it."""
    return SimpleNamespace(
        function_name="function",
        memory_limit_in_mb=512,
        invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function",
        aws_request_id="a-request",
        get_remaining_time_in_millis=lambda: 570_000,
    )


@dataclass
class Clock:
    """The `time` of a module under test: sleeping moves it and takes no time."""

    now: float = 1000.0
    sleeps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Web:
    """A real HTTP server on this machine. `answers`: path → (status, headers, body), or a
    function that writes the answer itself. `paths` are those requested, in order."""

    url: str
    answers: dict[str, Any]
    paths: list[str]

    def answer(self, path: str, body: bytes | str = b"", status: int = 200, **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, named, content)


@pytest.fixture
def web() -> Iterator[Web]:
    answers: dict[str, Any] = {}
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            requests.append(self.path)
            answer = answers.get(self.path, (404, {}, b""))
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # who asks may have read enough
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Web(f"http://127.0.0.1:{server.server_port}", answers, requests)
        server.shutdown()
        thread.join()
