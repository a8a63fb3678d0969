"""What the other tests rest on: a closed network, and scripted answers that AWS could give."""

import socket

import boto3
import pytest
from botocore.exceptions import HTTPClientError, ParamValidationError

from deployer.aws import client
from tests.unit.conftest import Script


def test_no_connection_leaves_this_machine() -> None:
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(AssertionError, match=r"example\.com"):
        socket.create_connection(("example.com", 80), timeout=1)


def test_no_call_to_aws_leaves_this_machine() -> None:
    with pytest.raises(HTTPClientError, match="a unit test looks up ssm"):
        boto3.client("ssm", region_name="us-east-1").describe_parameters()


def test_an_answer_that_aws_could_not_give_is_refused(script: Script) -> None:
    script("ecs", "DescribeServices", {"services": "none"})
    with pytest.raises(ParamValidationError):
        client("ecs").describe_services(services=["coder"])
