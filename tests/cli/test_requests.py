"""Who gives a request, and where the console shows what becomes of it."""

import pytest

from cli.requests import caller
from deployer.notify import console


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::123456789012:user/ann", "ann"),
        ("arn:aws:iam::123456789012:user/team/ann", "ann"),
        (
            "arn:aws:sts::123456789012:assumed-role/Operators/ann@example.com",
            "Operators/ann@example.com",
        ),
        ("arn:aws:sts::123456789012:federated-user/ann", "ann"),
        ("arn:aws:iam::123456789012:root", "root"),
    ],
)
def test_the_caller_is_named_as_aws_knows_them(arn: str, name: str) -> None:
    assert caller(arn) == name


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "https://eu-central-1.console.aws.amazon.com/states/"),
        ("cn-north-1", "https://console.amazonaws.cn/states/"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/states/"),
    ],
)
def test_the_link_leads_to_the_consoles_of_all_partitions(region: str, host: str) -> None:
    arn = f"arn:aws:states:{region}:123456789012:execution:deployer-Deploy:one"
    assert console.execution(arn).startswith(host)
    assert console.execution(arn).endswith(f"/executions/details/{arn}")
