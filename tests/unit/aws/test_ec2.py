"""Network facts from EC2."""

import pytest
from botocore.exceptions import ClientError

from deployer.aws import client, ec2
from tests.unit.conftest import Script, refusal

NOWHERE = "subnet-0123456789abcdef0"
NO_GROUP = "sg-0123456789abcdef0"


@pytest.fixture
def vpc(aws: None) -> str:
    return str(client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])


def subnet(vpc: str, cidr: str) -> str:
    return str(client("ec2").create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"])


def test_a_public_address_is_that_of_the_interfaces_association(vpc: str) -> None:
    result = [
        client("ec2").create_network_interface(SubnetId=subnet(vpc, f"10.0.{number}.0/24"))[
            "NetworkInterface"
        ]["NetworkInterfaceId"]
        for number in (1, 2)
    ]
    address = client("ec2").allocate_address(Domain="vpc")
    client("ec2").associate_address(
        AllocationId=address["AllocationId"], NetworkInterfaceId=result[0]
    )
    assert ec2.public_addresses(result) == {result[0]: address["PublicIp"]}


def test_an_interface_that_is_gone_does_not_hide_the_others(vpc: str) -> None:
    created = client("ec2").create_network_interface(SubnetId=subnet(vpc, "10.0.1.0/24"))
    there = created["NetworkInterface"]["NetworkInterfaceId"]
    address = client("ec2").allocate_address(Domain="vpc")
    client("ec2").associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=there)
    result = ec2.public_addresses([there, "eni-0123456789abcdef0"])
    assert result == {there: address["PublicIp"]}


def test_without_interfaces_nothing_is_asked(script: Script) -> None:
    script("ec2", "DescribeNetworkInterfaces", refusal("MustNotBeAsked"))
    assert ec2.public_addresses([]) == {}


def test_subnets_that_exist_are_described_and_others_do_not_hide_them(vpc: str) -> None:
    one, other = subnet(vpc, "10.0.1.0/24"), subnet(vpc, "10.0.2.0/24")
    result = ec2.subnets([one, NOWHERE, other])
    assert {name: entry["VpcId"] for name, entry in result.items()} == {one: vpc, other: vpc}


def test_security_groups_that_exist_are_described_and_others_do_not_hide_them(vpc: str) -> None:
    group = client("ec2").create_security_group(GroupName="g", Description="g", VpcId=vpc)
    result = ec2.security_groups([NO_GROUP, group["GroupId"]])
    assert {name: entry["VpcId"] for name, entry in result.items()} == {group["GroupId"]: vpc}


def test_a_refusal_is_not_taken_for_a_missing_network(script: Script) -> None:
    script("ec2", "DescribeSubnets", refusal("UnauthorizedOperation"))
    script("ec2", "DescribeSecurityGroups", refusal("UnauthorizedOperation"))
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.subnets([NOWHERE])
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.security_groups([NO_GROUP])


def test_route_tables_and_endpoints_are_those_of_the_vpc(vpc: str) -> None:
    other = str(client("ec2").create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"])
    client("ec2").create_vpc_endpoint(VpcId=other, ServiceName="com.amazonaws.us-east-1.s3")
    (main,) = ec2.route_tables([vpc])
    assert main["VpcId"] == vpc and any(a["Main"] for a in main["Associations"])
    assert ec2.endpoints([vpc]) == []
    assert [item["VpcId"] for item in ec2.endpoints([vpc, other])] == [other]
    assert ec2.route_tables([]) == ec2.endpoints([]) == []
