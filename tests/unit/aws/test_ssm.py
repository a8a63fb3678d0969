"""The service specs in SSM Parameter Store."""

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
