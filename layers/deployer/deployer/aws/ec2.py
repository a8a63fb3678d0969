"""Subnets, security groups, routes, endpoints and network interfaces in EC2."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def _ec2() -> "EC2Client":
    return client("ec2")  # type: ignore[no-any-return]


def public_addresses(interfaces: Sequence[str]) -> Mapping[str, str]:
    """Return the public IP addresses of network interfaces, by the interface's id.

    Interfaces without one are left out, and deleted ones, whose task has stopped since.
    """
    if not interfaces:
        return {}
    try:
        response = _ec2().describe_network_interfaces(NetworkInterfaceIds=list(interfaces))
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidNetworkInterfaceID.NotFound":
            raise
        if len(interfaces) == 1:
            return {}
        addresses = (public_addresses([interface]) for interface in interfaces)
        return {name: address for part in addresses for name, address in part.items()}
    return {
        interface["NetworkInterfaceId"]: interface["Association"]["PublicIp"]
        for interface in response["NetworkInterfaces"]
        if interface.get("Association", {}).get("PublicIp")
    }


def verification_network() -> tuple[list[str], str]:
    """Return the subnets and security group from which releases are verified; none, the internet.

    The deployer's own, VerifySubnetIds and VerifySecurityGroupId.
    """
    names = os.environ.get("VERIFY_SUBNETS", "")
    return [name for name in names.split(",") if name], os.environ.get("VERIFY_GROUP", "")


def subnets(names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the descriptions of the subnets that exist, by id."""
    subnets_by_id: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys(names):
        # one call each: a missing subnet fails the whole call
        try:
            response = _ec2().describe_subnets(SubnetIds=[name])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidSubnetID.NotFound":
                raise
        else:
            subnets_by_id |= {entry["SubnetId"]: dict(entry) for entry in response["Subnets"]}
    return subnets_by_id


def security_groups(names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the descriptions of the security groups that exist, by id."""
    groups_by_id: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys(names):
        try:
            response = _ec2().describe_security_groups(GroupIds=[name])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidGroup.NotFound":
                raise
        else:
            groups_by_id |= {entry["GroupId"]: dict(entry) for entry in response["SecurityGroups"]}
    return groups_by_id


def route_tables(vpcs: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the route tables of VPCs."""
    if not vpcs:
        return []
    filters: Any = [{"Name": "vpc-id", "Values": list(vpcs)}]
    pages = _ec2().get_paginator("describe_route_tables").paginate(Filters=filters)
    return [dict(table) for page in pages for table in page["RouteTables"]]


def endpoints(vpcs: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the VPC endpoints of VPCs."""
    if not vpcs:
        return []
    filters: Any = [{"Name": "vpc-id", "Values": list(vpcs)}]
    pages = _ec2().get_paginator("describe_vpc_endpoints").paginate(Filters=filters)
    return [dict(endpoint) for page in pages for endpoint in page["VpcEndpoints"]]
