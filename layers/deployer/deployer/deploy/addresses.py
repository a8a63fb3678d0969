"""Find the addresses of a service: task → network interface → public IP.

Imports decisions only, no AWS.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task


class Addresses(TypedDict):
    """`url` is the one that people open; `tasks` has a URL for each task that can be asked.

    Of a release to several services, `services` has the further ones' by name, and `deadline` is
    until when all must answer.
    """

    url: str | None
    tasks: list[str]
    services: NotRequired[Mapping[str, "Addresses"]]
    deadline: NotRequired[str]


def interfaces(tasks: Sequence[Task]) -> list[str]:
    """Return the ids of the tasks' network interfaces; new tasks have none yet."""
    return [name for task in tasks if (name := _detail(task, "networkInterfaceId"))]


def private_address(task: Task) -> str | None:
    """Return a task's address in its subnet; None until it has one."""
    return _detail(task, "privateIPv4Address")


def _detail(task: Task, name: str) -> str | None:
    for attachment in task.get("attachments", ()):
        for detail in attachment.get("details", ()):
            if attachment.get("type") == "ElasticNetworkInterface" and detail["name"] == name:
                return str(detail["value"])
    return None


def of(
    spec: ServiceSpec,
    tasks: Sequence[Task],
    public: Mapping[str, str],
    port: int | None,
    *,
    inside: bool = False,
) -> Addresses:
    """Return the addresses of a service.

    Args:
        tasks: its running tasks.
        public: the public IP address by network interface.
        port: the tasks' port; None if they listen on none.
        inside: whether releases are verified from inside the VPC, at private addresses.
    """
    if inside:
        ips = [address for task in tasks if (address := private_address(task))]
    else:
        ips = [public[name] for name in interfaces(tasks) if name in public]
    urls = [f"http://{address}:{port}" for address in ips] if port else []
    if spec.url:
        return {"url": spec.url, "tasks": urls}
    return {"url": urls[0] if urls else None, "tasks": urls}


def to_ask(spec: ServiceSpec, addresses: Addresses) -> list[str]:
    """Return the URLs that must all respond for the release to be verified."""
    if spec.url:
        return [spec.url]
    return addresses["tasks"]
