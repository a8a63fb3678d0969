"""Parameters in SSM Parameter Store."""

import pytest

from deployer.aws import client, ssm


def test_every_spec_under_the_path_is_read_however_many(aws: None) -> None:
    """GetParametersByPath gives ten at a time."""
    texts = {f"/deployer/services/s{number:02}": f"{number}" for number in range(25)}
    elsewhere = {"/deployer/other": "x", "/deployer/services/deep/er": "x"}
    for name, value in {**texts, **elsewhere}.items():
        client("ssm").put_parameter(Name=name, Value=value, Type="String")
    assert ssm.service_specs() == texts


def test_there_may_be_none(aws: None) -> None:
    assert ssm.service_specs() == {}


@pytest.mark.parametrize("name", ["/coder/key", "plain", "/slashed"])
def test_a_parameter_is_described_by_its_arn(aws: None, name: str) -> None:
    client("ssm").put_parameter(Name=name, Value="hidden", Type="String")
    arn = f"arn:aws:ssm:us-east-1:123456789012:parameter/{name.removeprefix('/')}"
    result = ssm.parameter(arn)
    assert result and result["Name"] == name and "hidden" not in str(result)
    assert ssm.parameter(f"{arn}-missing") is None
