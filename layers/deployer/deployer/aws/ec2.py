"""Network facts from EC2."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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


def subnet_vpcs(subnets: Sequence[str]) -> Mapping[str, str]:
    """The VPC of each subnet that exists."""
    found: dict[str, str] = {}
    for subnet in subnets:
        # one call each: a single missing one fails the whole call and names only itself
        try:
            answer = _ec2().describe_subnets(SubnetIds=[subnet])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidSubnetID.NotFound":
                raise
        else:
            found |= {entry["SubnetId"]: entry["VpcId"] for entry in answer["Subnets"]}
    return found


def security_group_vpcs(groups: Sequence[str]) -> Mapping[str, str]:
    """The VPC of each security group that exists."""
    found: dict[str, str] = {}
    for group in groups:
        try:
            answer = _ec2().describe_security_groups(GroupIds=[group])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidGroup.NotFound":
                raise
        else:
            found |= {entry["GroupId"]: entry["VpcId"] for entry in answer["SecurityGroups"]}
    return found
