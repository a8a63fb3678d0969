"""One EC2 network interface for each task, as Fargate gives it one, at an address that answers.

Its private and its public address are both the loopback address at which the task's containers
listen, so that the runbook's way to a task (its attachment, the interface, the public address,
http://ADDRESS:3000) leads to it. AmazonECS/latest/developerguide/fargate-task-networking.html
"""

import collections
import contextlib
import random
import socket
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2

_TASKS = "127.9"  # where the addresses of tasks are
EVERYWHERE = "0.0.0.0"
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
    mac: str
    subnet: str
    zone: str
    lease: socket.socket

    @property
    def private_dns(self) -> str:
        return f"ip-{self.address.replace('.', '-')}.ec2.internal"

    def describe(self, status: str) -> dict[str, Any]:
        """The task's attachment, as DescribeTasks shows it."""
        details = {
            "subnetId": self.subnet,
            "networkInterfaceId": self.id,
            "macAddress": self.mac,
            "privateDnsName": self.private_dns,
            "privateIPv4Address": self.address,
        }
        return {
            "id": self.attachment,
            "type": "ElasticNetworkInterface",
            "status": status,
            "details": [{"name": name, "value": value} for name, value in details.items()],
        }


def check(configuration: dict[str, Any]) -> str | None:
    """What ECS says of a configuration that names what EC2 does not know; None if it is good.

    The wording: https://github.com/eddmann/serverless-fargate/issues/20; that for security groups
    from memory.
    """
    if (get_account_id(), get_region()) not in ec2._default_initialized_scopes:
        ec2._init_defaults()
    for subnet in configuration.get("subnets") or []:
        if subnet not in ec2._subnets:
            return (
                f"Error retrieving subnet information for [{subnet}]: The subnet ID '{subnet}' "
                "does not exist (ErrorCode: InvalidSubnetID.NotFound)"
            )
    for group in configuration.get("securityGroups") or []:
        if group not in ec2._security_groups:
            return (
                f"Error retrieving security group information for [{group}]: The security group "
                f"'{group}' does not exist (ErrorCode: InvalidGroup.NotFound)"
            )
    return None


def attach(configuration: dict[str, Any]) -> Interface:
    """An interface for an `awsvpcConfiguration`, in the account and region of the request scope."""
    subnet = ec2._subnets[configuration["subnets"][0]]
    address, held = lease(_TASKS)
    mac = "02:" + ":".join(f"{random.randrange(256):02x}" for _ in range(5))
    interface = Interface(
        id=f"eni-0{random.randbytes(8).hex()}",
        attachment=str(uuid.uuid4()),
        address=address,
        mac=mac,
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
        "MacAddress": mac,
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
        "PrivateDnsName": interface.private_dns,
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
    ec2._ACTION_MAP["DescribeNetworkInterfaces"] = partial(
        _by_known_id, ec2._describe_network_interfaces
    )


def _as_on_aws(
    original: Callable[[], None],
) -> None:
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
    xml = original(eni, tag)
    more = ""
    if "PrivateDnsName" in eni:
        more += f"<privateDnsName>{eni['PrivateDnsName']}</privateDnsName>"
        more += "<requesterManaged>true</requesterManaged>"
    if public := eni.get("PublicIp"):
        name = f"ec2-{public.replace('.', '-')}.compute-1.amazonaws.com"
        more += (
            f"<association><ipOwnerId>amazon</ipOwnerId><publicDnsName>{name}</publicDnsName>"
            f"<publicIp>{public}</publicIp></association>"
        )
    head, end, _ = xml.rpartition(f"</{tag}>")
    return head + more + end


def _by_known_id(original: Callable[..., Any], parameters: Any) -> Any:
    """EC2 answers InvalidNetworkInterfaceID.NotFound for an id it does not know."""
    ids = ec2._parse_member_list(parameters, "NetworkInterfaceId")
    for eni in ids:
        if eni not in ec2._network_interfaces:
            message = f"The networkInterface ID '{eni}' does not exist"
            return ec2._error("InvalidNetworkInterfaceID.NotFound", message, 400)
    return original(parameters)


def listeners(port: int) -> dict[str, int]:
    """The sockets of this machine that listen at a port, as inodes, by address: proc_pid_net(5).

    One for IPv6 is EVERYWHERE too, or at the IPv4 address that is mapped into its own.
    """
    inodes = {}
    for table in ("tcp6", "tcp"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                columns = line.split()
                address, _, at = columns[1].partition(":")
                if columns[3] == _LISTEN and int(at, 16) == port:
                    # The last 32 bits, in this machine's order of bytes.
                    number = int(address[-8:], 16).to_bytes(4, sys.byteorder)
                    inodes[socket.inet_ntoa(number)] = int(columns[9])
    return inodes


def another_answers(address: str, port: int) -> bool:
    """Whether a program that listens everywhere answers for the task at this address."""
    inodes = listeners(port) if address.startswith(f"{_TASKS}.") else {}
    return EVERYWHERE in inodes and address not in inodes


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
