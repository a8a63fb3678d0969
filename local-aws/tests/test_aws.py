"""The launcher as a library: starting, attaching, the environment, and the real SAM CLI."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_aws import server
from local_aws.aws import (
    AlreadyRunning,
    LocalAws,
    LocalAwsError,
    NotRunning,
    PortTaken,
    SamFailed,
    running,
)
from support import Machines, succeed

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Spec: {Type: String}
  Maker: {Type: String, Default: ""}
Conditions:
  Broken: !Not [!Equals [!Ref Maker, ""]]
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      CodeUri: functions
      Handler: hello.handler
      Environment: {Variables: {SPEC: !Ref Spec}}
  Impossible:
    Type: Custom::Thing
    Condition: Broken
    Properties: {ServiceToken: !Ref Maker}
Outputs:
  Hello: {Value: !Ref Hello}
"""
HANDLER = 'import os\ndef handler(event, context): return os.environ["SPEC"]\n'
SPEC = json.dumps({"name": "demo", "words": 'say "hi", a\\b', "list": [1, "x y"], "end": "$1"})


@pytest.fixture(scope="module")
def built(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("sam")
    (source / "functions").mkdir()
    (source / "functions" / "hello.py").write_text(HANDLER)
    (source / "template.yaml").write_text(TEMPLATE)
    return aws.build(source / "template.yaml", source / "built")


def test_sam_builds_and_deploys_and_updates(aws: LocalAws, built: Path, name: str) -> None:
    for spec in (SPEC, "plain"):
        aws.deploy(name, built, {"Spec": spec})
        function = aws.outputs(name)["Hello"]
        answer = aws.client("lambda").invoke(FunctionName=function)
        assert json.load(answer["Payload"]) == spec
    aws.deploy(name, built, {"Spec": "plain"})  # nothing to do is no failure


def test_sams_error_is_in_the_exception(aws: LocalAws, built: Path, name: str) -> None:
    with pytest.raises(SamFailed, match="Parameter 'Spec' has no Default"):
        aws.deploy(name, built)
    with pytest.raises(SamFailed, match="Template file not found"):
        aws.build(built.parent / "nothing.yaml", built.parent)


def test_a_resource_that_cannot_be_made_is_named(aws: LocalAws, built: Path, name: str) -> None:
    gone = f"arn:aws:lambda:{aws.region}:{aws.account}:function:gone"
    with pytest.raises(SamFailed, match=r"\nImpossible: CREATE_FAILED: .*gone"):
        aws.deploy(name, built, {"Spec": "x", "Maker": gone})


def test_nothing_of_the_users_account_is_used(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://real.example")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    client = LocalAws.attach(aws.directory).client("sts")
    identity = client.get_caller_identity()
    assert (identity["Account"], client.meta.endpoint_url) == (aws.account, aws.endpoint)
    assert client.meta.region_name == aws.region
    client.close()
    environment = aws.env
    assert "AWS_PROFILE" not in environment
    assert "AWS_SESSION_TOKEN" not in environment
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint
    assert environment["AWS_REGION"] == aws.region
    assert os.environ["AWS_PROFILE"] == "production"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LocalAws]:
    with LocalAws.start(directory=tmp_path / "home") as running:
        yield running


def test_attaching_to_one_that_runs(other: LocalAws) -> None:
    attached = LocalAws.attach(other.directory)
    assert (attached.endpoint, attached.pid) == (other.endpoint, other.pid)
    attached.client("sqs").create_queue(QueueName="seen")
    assert "seen" in other.client("sqs").list_queues()["QueueUrls"][0]
    attached.stop()
    assert not running(other.directory)
    with pytest.raises(NotRunning, match="local_aws up"):
        LocalAws.attach(other.directory)


def test_a_second_start_names_the_first(other: LocalAws) -> None:
    with pytest.raises(AlreadyRunning, match=f"already running: {other.endpoint}"):
        LocalAws.start(directory=other.directory)
    assert other.healthy


def test_a_taken_port_is_named(other: LocalAws, tmp_path: Path) -> None:
    with pytest.raises(PortTaken, match=f"Port {other.port} is taken"):
        LocalAws.start(other.port, tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_port_one_may_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(port: int) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(server, "listen", refuse)
    with pytest.raises(LocalAwsError, match="Port 80 cannot be used: Permission denied"):
        LocalAws.start(80)


def test_settings_reach_ministack(tmp_path: Path) -> None:
    """With waits at a thousandth, ten minutes are short."""
    with LocalAws.start(settings={"SFN_WAIT_SCALE": "0.001"}) as aws:
        wait = {"Type": "Wait", "Seconds": 600, "Next": "Done"}
        Machines(aws).run({"Sleep": wait, "Done": succeed()})
