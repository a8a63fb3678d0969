"""Lambda's Python runtime: what a function sees, and what its failure looks like from outside."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local_aws.aws import LocalAws
from support import Function, Machines, packed

CODE = """
import json, logging, os, sys, time
from boto3 import client

class DeployError(Exception): pass
class ImageMissing(DeployError): pass
count = 0

def handler(event, context):
    global count
    count += 1
    print("printed", event)
    logging.getLogger().warning("logged")
    match event["do"]:
        case "raise": raise ImageMissing("no image sha256:1")
        case "sleep": time.sleep(event["seconds"])
        case "exit": sys.exit(event["code"])
        case "unserializable": return object()
        case "meet":
            open(event["mine"], "w").close()
            while not os.path.exists(event["theirs"]):
                time.sleep(0.01)
        case "secret": return client("ssm").get_parameter(Name="/nothing/for/me")
        case "whoami": return client("sts").get_caller_identity()["Arn"]
        case "import": return __import__(event["module"]).__name__
    return {
        "count": count,
        "pid": os.getpid(),
        "environment": dict(os.environ),
        "path": sys.path,
        "context": {
            "name": context.function_name,
            "request": context.aws_request_id,
            "arn": context.invoked_function_arn,
            "group": context.log_group_name,
            "left": context.get_remaining_time_in_millis(),
        },
    }
"""


@pytest.fixture
def make(aws: LocalAws, name: str) -> Iterator[Callable[..., Function]]:
    result: list[Function] = []

    def one(code: bytes | None = None, **settings: Any) -> Function:
        result.append(Function(aws, f"{name}-{len(result)}", code or packed(app=CODE), **settings))
        return result[-1]

    yield one
    for function in result:
        function.client.delete_function(FunctionName=function.name)


def lines(aws: LocalAws, group: str) -> list[str]:
    logs = aws.client("logs")
    return [e["message"] for e in logs.filter_log_events(logGroupName=group)["events"]]


def test_an_exception_keeps_its_name_and_its_environment(
    aws: LocalAws, make: Callable[..., Function]
) -> None:
    function = make()
    before = function("nothing")
    failed = function("raise")["failed"]
    assert failed["errorType"] == "ImageMissing"
    assert failed["errorMessage"] == "no image sha256:1"
    assert failed["requestId"]
    (frame,) = failed["stackTrace"]
    assert 'in handler\n    case "raise": raise ImageMissing("no image sha256:1")\n' in frame
    after = function("nothing")
    assert (after["pid"], after["count"]) == (before["pid"], before["count"] + 2)


def test_a_function_out_of_time(aws: LocalAws, make: Callable[..., Function]) -> None:
    function = make(Timeout=1)
    first = function("nothing")["pid"]
    started = time.monotonic()
    failed = function("sleep", seconds=30)["failed"]
    assert 1 <= time.monotonic() - started < 4
    assert failed["errorType"] == "Sandbox.Timedout"
    assert failed["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert function("nothing")["pid"] != first


@pytest.mark.parametrize("code", [3, 0])
def test_a_function_that_exits(make: Callable[..., Function], code: int) -> None:
    function = make()
    failed = function("exit", code=code)["failed"]
    assert failed["errorType"] == "Runtime.ExitError"
    assert failed["errorMessage"].startswith("RequestId: ")
    assert failed["errorMessage"].endswith(" Error: Runtime exited without providing a reason")
    assert function("nothing")["count"] == 1


@pytest.mark.parametrize(
    ("code", "handler", "kind"),
    [
        ("import nowhere", "app.handler", "Runtime.ImportModuleError"),
        ("", "app.handler", "Runtime.HandlerNotFound"),
        ("1 / 0", "app.handler", "ZeroDivisionError"),
        ("", "other.handler", "Runtime.ImportModuleError"),
    ],
)
def test_a_function_that_cannot_start(
    make: Callable[..., Function], code: str, handler: str, kind: str
) -> None:
    function = make(packed(app=code), Handler=handler)
    assert function("nothing")["failed"]["errorType"] == kind
    function.client.update_function_configuration(FunctionName=function.name, Handler="app.handler")
    function.client.update_function_code(
        FunctionName=function.name, ZipFile=packed(app="def handler(e, c): return e")
    )
    assert function("nothing") == {"do": "nothing"}


def test_a_result_that_is_not_json(make: Callable[..., Function]) -> None:
    assert make()("unserializable")["failed"]["errorType"] == "Runtime.MarshalError"


def test_two_invocations_at_once_have_an_environment_each(
    make: Callable[..., Function], tmp_path: Any
) -> None:
    """Each waits for what only the other one does."""
    function = make()
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    with ThreadPoolExecutor(2) as pool:
        answers = [
            pool.submit(function, "meet", mine=one, theirs=two),
            pool.submit(function, "meet", mine=two, theirs=one),
        ]
        assert len({answer.result()["pid"] for answer in answers}) == 2


def test_what_it_writes_is_in_its_log_group(
    aws: LocalAws, make: Callable[..., Function], name: str
) -> None:
    function = make()
    request = function("nothing")["context"]["request"]
    function("raise")
    written = lines(aws, f"/aws/lambda/{function.name}")
    assert written[0] == f"START RequestId: {request} Version: $LATEST"
    assert written[1] == "printed {'do': 'nothing'}"
    assert written[2] == "logged"
    assert written[3] == f"END RequestId: {request}"
    assert "[ERROR] ImageMissing: no image sha256:1" in written


def test_a_log_group_of_ones_choice(
    aws: LocalAws, make: Callable[..., Function], name: str
) -> None:
    group = f"/functions/{name}"
    aws.client("logs").create_log_group(logGroupName=group)
    function = make(LoggingConfig={"LogGroup": group})
    assert function("nothing")["context"]["group"] == group
    assert "printed {'do': 'nothing'}" in lines(aws, group)


def test_a_flood_of_output_does_not_block_it(aws: LocalAws, make: Callable[..., Function]) -> None:
    code = "def handler(e, c):\n    for n in range(4000): print('x' * 100)\n    return n"
    function = make(packed(app=code))
    assert function("nothing") == 3999
    assert sum(line == "x" * 100 for line in lines(aws, f"/aws/lambda/{function.name}")) > 100


def test_its_environment_is_lambdas_and_not_this_machines(
    aws: LocalAws, make: Callable[..., Function]
) -> None:
    function = make(Environment={"Variables": {"CLUSTER": "demo", "AWS_REGION": "moon-1"}})
    seen = function("nothing")
    environment = seen["environment"]
    assert environment["CLUSTER"] == "demo"
    assert environment["AWS_REGION"] == aws.region
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint
    assert not {"HOME", "USER", "VIRTUAL_ENV", "AUTH"} & set(environment)
    assert 9000 < seen["context"]["left"] <= 10000
    assert seen["context"]["arn"].endswith(f":function:{function.name}")


def test_it_imports_what_lambda_has_and_nothing_else(make: Callable[..., Function]) -> None:
    function = make()
    assert function("import", module="boto3") == "boto3"
    for missing in ("aws_lambda_powertools", "yaml", "ministack", "local_aws"):
        assert function("import", module=missing)["failed"]["errorType"] == "ModuleNotFoundError"


def test_it_imports_its_layers(aws: LocalAws, make: Callable[..., Function], name: str) -> None:
    layers = []
    for number, content in enumerate(("who = 'first'", "who = 'second'")):
        archive = packed(
            python__shared=content, **{f"python__lib__python3.13__site-packages__only{number}": ""}
        )
        version = aws.client("lambda").publish_layer_version(
            LayerName=f"{name}-{number}", Content={"ZipFile": archive}
        )
        layers.append(version["LayerVersionArn"])
    code = "import shared, only0, only1\ndef handler(e, c): return shared.who"
    assert make(packed(app=code), Layers=layers)("nothing") == "second"


def test_it_acts_in_its_role_and_no_further(make: Callable[..., Function]) -> None:
    function = make()
    assert f":assumed-role/{function.name}/{function.name}" in function("whoami")
    failed = function("secret")["failed"]
    assert failed["errorType"] == "AccessDeniedException"
    assert "ssm:GetParameter" in failed["errorMessage"]


def test_the_role_has_to_let_lambda_in_and_lambda_write_the_log(
    aws: LocalAws, machines: Machines, name: str
) -> None:
    def make(role: str, name: str) -> None:
        aws.client("lambda").create_function(
            FunctionName=name,
            Role=role,
            Runtime="python3.13",
            Handler="app.handler",
            Code={"ZipFile": packed(app="def handler(event, context): print('ran')")},
        )

    here = f"arn:aws:lambda:{aws.region}:{aws.account}:function:{name}"
    logs = aws.client("logs")
    logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
    for action, lines in (("logs:CreateLogStream", 0), ("logs:*", 1)):
        only = {"aws:SourceArn": here, "aws:SourceAccount": aws.account}
        role = machines.make_role("lambda.amazonaws.com", action, "*", StringEquals=only)
        make(role, name)
        aws.client("lambda").invoke(FunctionName=name)
        aws.client("lambda").delete_function(FunctionName=name)
        result = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="ran")
        assert len(result["events"]) == lines
