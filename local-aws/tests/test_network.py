"""The way from a task to its address, as the runbook goes it."""

import socket
from collections.abc import Iterator

import pytest

from ecs_support import World
from local_aws.aws import LocalAws


@pytest.fixture
def world(aws: LocalAws, name: str) -> Iterator[World]:
    result = World(aws, name)
    yield result
    result.close()


def test_the_interface_leads_to_the_task(world: World) -> None:
    world.create()
    world.steady()
    (arn,) = world.tasks()
    (attachment,) = world.task(arn)["attachments"]
    assert (attachment["type"], attachment["status"]) == ("ElasticNetworkInterface", "ATTACHED")
    details = {detail["name"]: detail["value"] for detail in attachment["details"]}
    response = world.ec2.describe_network_interfaces(
        NetworkInterfaceIds=[details["networkInterfaceId"]]
    )["NetworkInterfaces"][0]
    assert details == {
        "subnetId": world.subnet,
        "networkInterfaceId": response["NetworkInterfaceId"],
        "privateIPv4Address": response["PrivateIpAddress"],
    }
    assert response["Status"] == "in-use"
    assert response["Description"].endswith(f":attachment/{attachment['id']}")
    assert [group["GroupName"] for group in response["Groups"]] == ["default"]
    # http://PUBLIC-IP:3000, and the task that answers is that one.
    answer = world.get(arn)
    assert answer["HOST"] == response["Association"]["PublicIp"] == response["PrivateIpAddress"]
    container = world.task(arn)["containers"][0]["networkInterfaces"][0]
    assert container == {
        "attachmentId": attachment["id"],
        "privateIpv4Address": details["privateIPv4Address"],
    }


def test_two_tasks_listen_on_one_port(world: World) -> None:
    world.create(count=2)
    world.steady()
    first, second = world.tasks()
    assert world.get(first)["HOST"] != world.get(second)["HOST"]


def test_without_a_public_address_there_is_no_association(world: World) -> None:
    network = {"awsvpcConfiguration": {"subnets": [world.subnet], "assignPublicIp": "DISABLED"}}
    world.create(networkConfiguration=network)
    world.steady()
    details = world.task(world.tasks()[0])["attachments"][0]["details"]
    interface = next(d["value"] for d in details if d["name"] == "networkInterfaceId")
    response = world.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])
    assert "Association" not in response["NetworkInterfaces"][0]


def test_the_interface_goes_with_the_task(world: World) -> None:
    arn = world.run(world.define(world.script("exit 0")))
    ended = world.ended(arn)
    assert ended["attachments"][0]["status"] == "DELETED"
    details = {d["name"]: d["value"] for d in ended["attachments"][0]["details"]}
    gone = {"NetworkInterfaceIds": [details["networkInterfaceId"]]}
    assert world.ec2.describe_network_interfaces(**gone)["NetworkInterfaces"] == []
    # Its address is free for others.
    with socket.socket() as free:
        free.bind((details["privateIPv4Address"], 3000))


def test_the_default_vpc_leads_to_the_internet_and_its_group_lets_its_members_in(
    world: World,
) -> None:
    """vpc/latest/userguide: default-vpc-components.html, default-security-group.html"""
    (vpc,) = world.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    of_vpc = {"Name": "vpc-id", "Values": [vpc["VpcId"]]}
    main = {"Name": "association.main", "Values": ["true"]}
    (table,) = world.ec2.describe_route_tables(Filters=[of_vpc, main])["RouteTables"]
    ways = {route["DestinationCidrBlock"]: route["GatewayId"] for route in table["Routes"]}
    assert ways[vpc["CidrBlock"]] == "local"
    assert ways["0.0.0.0/0"].startswith("igw-")
    named = {"Name": "group-name", "Values": ["default"]}
    (group,) = world.ec2.describe_security_groups(Filters=[of_vpc, named])["SecurityGroups"]
    itself = [
        pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]
    ]
    assert group["GroupId"] in itself
