"""Looking on where AWS does not answer for a while."""

import io

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cli.patience import patiently
from cli.screen import Screen
from deployer.errors import AwsUnavailable


class Look:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "found"


GONE = (AwsUnavailable("503"), EndpointConnectionError(endpoint_url="https://x"))


def test_it_looks_again_and_says_so_once() -> None:
    output = io.StringIO()
    assert patiently(Look(*GONE), Screen(output), pause=0) == "found"
    assert output.getvalue().count("trying again") == 1
    silent = io.StringIO()
    assert patiently(Look(), Screen(silent), pause=0) == "found"
    assert silent.getvalue() == ""


def test_patience_has_an_end_and_a_refusal_is_none_of_its_business() -> None:
    look = Look(*GONE)
    with pytest.raises(AwsUnavailable):
        patiently(look, Screen(io.StringIO()), patience=-1, pause=0)
    assert len(look.errors) == 1
    refusal = ClientError({"Error": {"Code": "ExpiredToken"}}, "Query")
    with pytest.raises(ClientError):
        patiently(Look(refusal), Screen(io.StringIO()), pause=0)


def test_an_execution_that_has_just_started_is_looked_for_again() -> None:
    """DescribeExecution is eventually consistent."""
    unknown = ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
    shown = io.StringIO()
    assert patiently(Look(unknown, unknown), Screen(shown), pause=0) == "found"
    assert shown.getvalue() == ""
