"""One EC2 network interface for each task, as Fargate gives it one, at an address that answers.

Its private and its public address are both the loopback address at which the task's containers
listen, so that the runbook's way to a task (its attachment, the interface, the public address,
http://ADDRESS:3000) leads to it. AmazonECS/latest/developerguide/fargate-task-networking.html
"""

import collections
import random
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2

_TASKS = "127.9"  # where the addresses of tasks are
# An address is held by a socket at this UDP port of it, so no two servers give out the same one.
_LEASE_PORT = 47999
_LISTEN = "0A"  # TCP_LISTEN
_recent: collections.deque[str] = collections.deque(maxlen=4096)


@dataclass(frozen=True)
class Interface:
    """A task's network interface; `lease` keeps its address from being given out again."""

    id: str
    attachment: str
    address: str
    subnet: str
    zone: str
    lease: socket.socket

    def describe(self, status: str) -> dict[str, Any]:
        """The task's attachment, as DescribeTasks shows it."""
        details = {
            "subnetId": self.subnet,
            "networkInterfaceId": self.id,
            "privateIPv4Address": self.address,
        }
        return {
            "id": self.attachment,
            "type": "ElasticNetworkInterface",
            "status": status,
            "details": [{"name": name, "value": value} for name, value in details.items()],
        }


def attach(configuration: dict[str, Any]) -> Interface:
    """An interface for an `awsvpcConfiguration`, in the account and region of the request scope."""
    subnet = ec2._subnets[configuration["subnets"][0]]
    address, held = lease(_TASKS)
    interface = Interface(
        id=f"eni-0{random.randbytes(8).hex()}",
        attachment=str(uuid.uuid4()),
        address=address,
        subnet=subnet["SubnetId"],
        zone=subnet["AvailabilityZone"],
        lease=held,
    )
    groups = configuration.get("securityGroups") or [
        group["GroupId"]
        for group in ec2._security_groups.values()
        if group["VpcId"] == subnet["VpcId"] and group["GroupName"] == "default"
    ]
    owner = f"arn:aws:ecs:{get_region()}:{get_account_id()}"
    record: dict[str, Any] = {
        "NetworkInterfaceId": interface.id,
        "SubnetId": interface.subnet,
        "VpcId": subnet["VpcId"],
        "AvailabilityZone": interface.zone,
        "Description": f"{owner}:attachment/{interface.attachment}",
        "OwnerId": get_account_id(),
        "Status": "in-use",
        "PrivateIpAddress": address,
        "InterfaceType": "interface",
        "SourceDestCheck": True,
        "MacAddress": "02:00:00:00:00:00",
        "Groups": [
            {"GroupId": group, "GroupName": ec2._security_groups[group]["GroupName"]}
            for group in groups
        ],
        "Attachment": {
            "AttachmentId": f"eni-attach-0{random.randbytes(8).hex()}",
            "DeviceIndex": 1,
            "Status": "attached",
            "AttachTime": ec2._now_ts(),
        },
    }
    if configuration.get("assignPublicIp") == "ENABLED":
        record["PublicIp"] = address
    ec2._network_interfaces[interface.id] = record
    return interface


def detach(interface: Interface) -> None:
    """Delete the interface and free its address, which is not given out again soon."""
    ec2._network_interfaces.pop(interface.id, None)
    interface.lease.close()


def install() -> None:
    """Let DescribeNetworkInterfaces show what the interfaces of tasks have more."""
    ec2._eni_fields_xml = partial(_with_association, ec2._eni_fields_xml)
    ec2._init_defaults = partial(_as_on_aws, ec2._init_defaults)
    ec2._init_defaults()


def _as_on_aws(original: Callable[[], None]) -> None:
    """A default VPC leads to the internet, and its default group lets its members in.

    vpc/latest/userguide: default-vpc-components.html, default-security-group.html
    """
    original()
    routes = ec2._route_tables["rtb-00000001"]["Routes"]
    if not any(route["DestinationCidrBlock"] == "0.0.0.0/0" for route in routes):
        way: dict[str, Any] = {"GatewayId": ec2._DEFAULT_IGW_ID, "Origin": "CreateRoute"}
        routes.append({"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **way})
        group = ec2._security_groups[ec2._DEFAULT_SG_ID]
        itself = {"GroupId": group["GroupId"], "UserId": get_account_id()}
        rule: dict[str, Any] = {"IpProtocol": "-1", "UserIdGroupPairs": [itself]}
        lists: dict[str, Any] = {"IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}
        group["IpPermissions"].append({**rule, **lists})


def _with_association(original: Callable[..., str], eni: dict[str, Any], tag: str = "item") -> str:
    head, end, _ = original(eni, tag).rpartition(f"</{tag}>")
    if public := eni.get("PublicIp"):
        head += f"<association><publicIp>{public}</publicIp></association>"
    return head + end


def another_answers(address: str, port: int) -> bool:
    """Whether a program that listens everywhere answers for the task at this address."""
    listening = _listening(port) if address.startswith(f"{_TASKS}.") else set()
    return "0.0.0.0" in listening and address not in listening


def _listening(port: int) -> set[str]:
    """The IPv4 addresses at which a program of this machine listens to the port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = [row[1].split(":") for row in rows if row[3] == _LISTEN]
    return {socket.inet_ntoa(bytes.fromhex(ip)[::-1]) for ip, at in sockets if int(at, 16) == port}


def lease(within: str) -> tuple[str, socket.socket]:
    """A loopback address within e.g. "127.9" that nobody else has while the socket is open."""
    while True:
        address = f"{within}.{random.randrange(256)}.{random.randrange(1, 255)}"
        if address in _recent:
            continue
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind((address, _LEASE_PORT))
        except OSError:
            held.close()
            continue
        _recent.append(address)
        return address, held
