"""AWS that throttles, fails or does not answer is one error, whatever the service and the call."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from deployer import aws
from deployer.errors import AwsUnavailable
from tests.unit.conftest import refusal

ATTEMPTS = 5

type Wire = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def fresh_clients() -> Iterator[None]:
    aws.client.cache_clear()
    yield
    aws.client.cache_clear()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Puts answers of our own on the wire, below botocore's retries, the last one for ever.

    Each is a status with a body, or an error. Returns what is sent.
    """
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)

    def answer(service: str, *answers: tuple[int, bytes] | Exception) -> list[str]:
        turns, sent = list(answers), list[str]()

        def send(request: Any, **_: Any) -> Any:
            sent.append(request.url)
            turn = turns.pop(0) if len(turns) > 1 else turns[0]
            if isinstance(turn, Exception):
                raise turn
            response: Any = AWSResponse(request.url, turn[0], HTTPHeaders(), None)
            response._content = turn[1]
            return response

        aws.client(service).meta.events.register_first("before-send", send)
        return sent

    return answer


def json_error(code: str) -> bytes:
    return f'{{"__type": "com.amazonaws#{code}", "message": "Rate exceeded"}}'.encode()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_that_stays_is_aws_being_unavailable(wire: Wire, status: int) -> None:
    sent = wire("ecs", (status, b"<html>"))
    with pytest.raises(AwsUnavailable, match=f"DescribeServices: {status}"):
        aws.client("ecs").describe_services(services=["coder"])
    assert len(sent) == ATTEMPTS


@pytest.mark.parametrize(
    "code",
    [
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
    ],
)
def test_throttling_that_stays_is_aws_being_unavailable(wire: Wire, code: str) -> None:
    sent = wire("ecs", (400, json_error(code)))
    with pytest.raises(AwsUnavailable, match=code):
        aws.client("ecs").describe_services(services=["coder"])
    assert len(sent) == ATTEMPTS


def test_a_service_that_speaks_xml_throttles_alike(wire: Wire) -> None:
    body = (
        b"<ErrorResponse><Error><Code>Throttling</Code><Message>x</Message></Error></ErrorResponse>"
    )
    wire("elbv2", (400, body))
    with pytest.raises(AwsUnavailable, match="Throttling"):
        aws.client("elbv2").describe_target_groups()


URL = "https://ecs.us-east-1.amazonaws.com/"


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        EndpointConnectionError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_is_aws_being_unavailable(wire: Wire, error: Exception) -> None:
    sent = wire("ecs", error)
    with pytest.raises(AwsUnavailable, match="DescribeServices"):
        aws.client("ecs").describe_services(services=["coder"])
    assert len(sent) == ATTEMPTS


@pytest.mark.parametrize("code", ["AccessDeniedException", "ClusterNotFoundException"])
def test_a_refusal_stays_what_it_is_and_is_not_repeated(wire: Wire, code: str) -> None:
    sent = wire("ecs", (400, json_error(code)))
    with pytest.raises(ClientError, match=code):
        aws.client("ecs").describe_services(services=["coder"])
    assert len(sent) == 1


def test_a_call_that_fails_once_succeeds(wire: Wire) -> None:
    sent = wire("ecs", (503, b""), (200, b'{"services": []}'))
    assert aws.client("ecs").describe_services(services=["coder"])["services"] == []
    assert len(sent) == 2


def test_a_service_has_one_client() -> None:
    assert aws.client("ecs") is aws.client("ecs")
    assert aws.client("ecs") is not aws.client("ssm")


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("AccessDeniedException", True),
        ("AccessDenied", True),
        ("NoSuchEntity", False),
        ("ValidationException", False),
    ],
)
def test_a_permission_that_lacks_is_told_from_other_refusals(code: str, refused: bool) -> None:
    assert aws.refused(refusal(code)) == refused
