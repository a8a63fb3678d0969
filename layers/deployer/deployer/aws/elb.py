"""Target health from Elastic Load Balancing."""

from typing import TYPE_CHECKING

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client


def _elb() -> "ElasticLoadBalancingv2Client":
    return client("elbv2")  # type: ignore[no-any-return]


def healthy_addresses(target_group: str) -> set[str]:
    """The private addresses that the load balancer calls healthy in a target group."""
    found = _elb().describe_target_health(TargetGroupArn=target_group)
    return {
        entry["Target"]["Id"]
        for entry in found["TargetHealthDescriptions"]
        if entry["TargetHealth"]["State"] == "healthy"
    }
