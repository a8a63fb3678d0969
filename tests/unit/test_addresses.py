"""Task, network interface, public IP: the addresses at which a service can be reached."""

from typing import Any

import pytest

from deployer.deploy import addresses
from tests.unit.samples import BALANCER, spec, task

STARTING = task("t3", attachments=[{"type": "ElasticNetworkInterface", "details": []}])
ELSEWHERE = task(
    "t4",
    attachments=[
        {"type": "Service Connect", "details": [{"name": "networkInterfaceId", "value": "no"}]}
    ],
)


def test_a_tasks_interface_and_private_address_are_in_its_attachment() -> None:
    assert addresses.interfaces([task("t1"), task("t2")]) == ["eni-t1", "eni-t2"]
    assert addresses.private_address(task()) == "10.0.0.5"


@pytest.mark.parametrize("bare", [STARTING, ELSEWHERE, {}, {"attachments": []}])
def test_a_task_may_have_no_interface_yet(bare: dict[str, Any]) -> None:
    assert addresses.interfaces([bare]) == []
    assert addresses.private_address(bare) is None


def test_each_task_with_a_public_address_has_a_url() -> None:
    result = addresses.of(
        spec(),
        [task("t1"), STARTING, task("t2")],
        {"eni-t1": "198.51.100.1", "eni-t2": "::2"[2:]},
        3000,
    )
    assert result["tasks"][0] == "http://198.51.100.1:3000"
    assert result["url"] == result["tasks"][0]
    assert addresses.to_ask(spec(), result) == result["tasks"]


def test_a_service_whose_tasks_have_no_public_address_has_no_url() -> None:
    result = addresses.of(spec(), [task()], {}, 3000)
    assert result == {"url": None, "tasks": []}
    assert addresses.to_ask(spec(), result) == []


def test_from_inside_the_vpc_tasks_are_asked_at_their_private_addresses() -> None:
    found = addresses.of(spec(), [task(), STARTING], {"eni-t1": "198.51.100.1"}, 3000, inside=True)
    assert found["tasks"] == ["http://10.0.0.5:3000"]


def test_behind_a_load_balancer_its_url_is_the_one_that_counts() -> None:
    created = spec(**BALANCER)
    result = addresses.of(created, [task()], {"eni-t1": "198.51.100.1"}, 3000)
    assert result == {"url": "https://coder.example.com", "tasks": ["http://198.51.100.1:3000"]}
    assert addresses.to_ask(created, result) == ["https://coder.example.com"]


def test_a_task_that_listens_on_no_port_has_no_url() -> None:
    result = addresses.of(spec(), [task()], {"eni-t1": "198.51.100.1"}, None)
    assert result == {"url": None, "tasks": []}
