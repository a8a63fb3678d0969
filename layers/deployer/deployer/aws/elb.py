"""Target groups, their targets' health and load balancers in Elastic Load Balancing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client


def _elb() -> "ElasticLoadBalancingv2Client":
    return client("elbv2")  # type: ignore[no-any-return]


def healthy_addresses(target_group: str) -> set[str]:
    """Return the private addresses of a target group's healthy targets."""
    return {
        entry["Target"]["Id"]
        for entry in health(target_group)
        if entry["TargetHealth"]["State"] == "healthy"
    }


def health(target_group: str) -> list[Mapping[str, Any]]:
    """Return the target health descriptions of a target group."""
    response = _elb().describe_target_health(TargetGroupArn=target_group)
    return [dict(entry) for entry in response["TargetHealthDescriptions"]]


def target_group(arn: str) -> Mapping[str, Any] | None:
    """Return a target group, or None if it does not exist."""
    try:
        return dict(_elb().describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0])
    except _elb().exceptions.TargetGroupNotFoundException:
        return None


def load_balancers(arns: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return load balancers by their ARNs."""
    if not arns:
        return []
    balancers = _elb().describe_load_balancers(LoadBalancerArns=list(arns))["LoadBalancers"]
    return [dict(balancer) for balancer in balancers]
