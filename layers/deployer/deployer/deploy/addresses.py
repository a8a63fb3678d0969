"""Where a service can be reached, from its tasks as the runbook does it by hand:
task → network interface → public IP."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task


class Addresses(TypedDict):
    """`url` is what people open; `tasks` holds a URL for each task that has one of its own."""

    url: str | None
    tasks: list[str]


def interfaces(tasks: Sequence[Task]) -> list[str]:
    """The ids of the tasks' network interfaces, of those that have one already."""
    return [name for task in tasks if (name := _detail(task, "networkInterfaceId"))]


def private_address(task: Task) -> str | None:
    """A task's address in its subnet; None until it has one."""
    return _detail(task, "privateIPv4Address")


def _detail(task: Task, name: str) -> str | None:
    for attachment in task.get("attachments", ()):
        for detail in attachment.get("details", ()):
            if attachment.get("type") == "ElasticNetworkInterface" and detail["name"] == name:
                return str(detail["value"])
    return None


def of(
    spec: ServiceSpec, tasks: Sequence[Task], public: Mapping[str, str], port: int | None = None
) -> Addresses:
    """The addresses of a service.

    Args:
        tasks: its running tasks.
        public: the public IP address by network interface.
        port: where the tasks serve; None for the spec's.
    """
    found = [public[name] for name in interfaces(tasks) if name in public]
    urls = [f"http://{address}:{port or spec.container.port}" for address in found]
    if spec.load_balancer:
        return {"url": spec.load_balancer.url, "tasks": urls}
    return {"url": urls[0] if urls else None, "tasks": urls}


def to_ask(spec: ServiceSpec, addresses: Addresses) -> list[str]:
    """The URLs that must each answer for the release to be verified."""
    if spec.load_balancer:
        return [spec.load_balancer.url]
    return addresses["tasks"]
