"""Network facts from EC2."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def _ec2() -> "EC2Client":
    return client("ec2")  # type: ignore[no-any-return]


def public_addresses(interfaces: Sequence[str]) -> Mapping[str, str]:
    """The public IP address of each network interface that has one, by the interface's id.

    One that is gone has none: its task has stopped since it was asked for.
    """
    if not interfaces:
        return {}
    try:
        found = _ec2().describe_network_interfaces(NetworkInterfaceIds=list(interfaces))
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidNetworkInterfaceID.NotFound":
            raise
        if len(interfaces) == 1:
            return {}
        one_by_one = (public_addresses([interface]) for interface in interfaces)
        return {name: address for one in one_by_one for name, address in one.items()}
    return {
        interface["NetworkInterfaceId"]: interface["Association"]["PublicIp"]
        for interface in found["NetworkInterfaces"]
        if interface.get("Association", {}).get("PublicIp")
    }


def subnets(names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """The subnets of these that exist, described, by id."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys(names):
        # one call each: a single missing one fails the whole call and names only itself
        try:
            answer = _ec2().describe_subnets(SubnetIds=[name])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidSubnetID.NotFound":
                raise
        else:
            found |= {entry["SubnetId"]: dict(entry) for entry in answer["Subnets"]}
    return found


def security_groups(names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """The security groups of these that exist, described, by id."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys(names):
        try:
            answer = _ec2().describe_security_groups(GroupIds=[name])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidGroup.NotFound":
                raise
        else:
            found |= {entry["GroupId"]: dict(entry) for entry in answer["SecurityGroups"]}
    return found


def route_tables(vpcs: Sequence[str]) -> list[Mapping[str, Any]]:
    """The route tables of some VPCs."""
    if not vpcs:
        return []
    of_vpcs: Any = [{"Name": "vpc-id", "Values": list(vpcs)}]
    pages = _ec2().get_paginator("describe_route_tables").paginate(Filters=of_vpcs)
    return [dict(table) for page in pages for table in page["RouteTables"]]


def endpoints(vpcs: Sequence[str]) -> list[Mapping[str, Any]]:
    """The VPC endpoints of some VPCs."""
    if not vpcs:
        return []
    of_vpcs: Any = [{"Name": "vpc-id", "Values": list(vpcs)}]
    pages = _ec2().get_paginator("describe_vpc_endpoints").paginate(Filters=of_vpcs)
    return [dict(found) for page in pages for found in page["VpcEndpoints"]]
