"""Target health from Elastic Load Balancing."""

import pytest
from botocore.exceptions import ClientError

from deployer.aws import elb
from tests.unit.conftest import Script, refusal
from tests.unit.samples import GROUP


def test_only_targets_that_are_healthy_count(script: Script) -> None:
    states = {
        "10.0.0.1": "healthy",
        "10.0.0.2": "unhealthy",
        "10.0.0.3": "initial",
        "10.0.0.4": "draining",
        "10.0.0.5": "unused",
        "10.0.0.6": "healthy",
    }
    targets = [
        {"Target": {"Id": address}, "TargetHealth": {"State": state}}
        for address, state in states.items()
    ]
    script("elbv2", "DescribeTargetHealth", {"TargetHealthDescriptions": targets})
    group = GROUP
    assert elb.healthy_addresses(group) == {"10.0.0.1", "10.0.0.6"}
    assert script.requests("DescribeTargetHealth") == [{"TargetGroupArn": group}]


def test_a_target_group_is_there_or_not(script: Script) -> None:
    group = GROUP
    script("elbv2", "DescribeTargetGroups", {"TargetGroups": [{"TargetType": "ip"}]})
    assert elb.target_group(group) == {"TargetType": "ip"}
    script("elbv2", "DescribeTargetGroups", refusal("TargetGroupNotFound"))
    assert elb.target_group(group) is None
    script("elbv2", "DescribeTargetGroups", refusal("AccessDenied"))
    with pytest.raises(ClientError):
        elb.target_group(group)


def test_without_load_balancers_nothing_is_asked(script: Script) -> None:
    script("elbv2", "DescribeLoadBalancers", refusal("MustNotBeAsked"))
    assert elb.load_balancers([]) == []
