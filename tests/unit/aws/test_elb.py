"""Target health from Elastic Load Balancing."""

from deployer.aws import elb
from tests.unit.conftest import Script
from tests.unit.samples import BALANCER


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
    group = str(BALANCER["targetGroup"])
    assert elb.healthy_addresses(group) == {"10.0.0.1", "10.0.0.6"}
    assert script.asked("DescribeTargetHealth") == [{"TargetGroupArn": group}]
