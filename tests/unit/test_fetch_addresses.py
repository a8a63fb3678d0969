"""Task of this rollout, network interface, public IP."""

from typing import Any

import pytest

import fetch_addresses
from tests.unit.conftest import Script
from tests.unit.samples import BALANCER, document, payload, task

pytestmark = pytest.mark.usefixtures("releases_table")


@pytest.fixture
def tasks(script: Script) -> Script:
    """A task of our rollout and one of the rollout before, each with a public address."""
    both = [task("t1"), task("t2", startedBy="ecs-svc/0")]
    script("ecs", "ListTasks", {"taskArns": [entry["taskArn"] for entry in both]})
    script("ecs", "DescribeTasks", {"tasks": both})
    script(
        "ec2",
        "DescribeNetworkInterfaces",
        lambda request: {
            "NetworkInterfaces": [
                {"NetworkInterfaceId": name, "Association": {"PublicIp": f"198.51.100.{name[-1]}"}}
                for name in request["NetworkInterfaceIds"]
            ]
        },
    )
    return script


def test_the_addresses_are_those_of_the_releases_own_tasks(tasks: Script, context: Any) -> None:
    assert fetch_addresses.handler(payload(), context) == {
        "url": "http://198.51.100.1:3000",
        "tasks": ["http://198.51.100.1:3000"],
    }


def test_from_inside_the_vpc_the_addresses_are_private(
    tasks: Script, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_SUBNETS", "subnet-1,subnet-2")
    assert fetch_addresses.handler(payload(), context)["url"] == "http://10.0.0.5:3000"


def test_behind_a_load_balancer_people_open_its_url(tasks: Script, context: Any) -> None:
    result = fetch_addresses.handler(payload(spec=document(**BALANCER)), context)
    assert result["url"] == "https://coder.example.com"


def test_a_task_without_a_public_address_has_no_url(tasks: Script, context: Any) -> None:
    private = {"NetworkInterfaces": [{"NetworkInterfaceId": "eni-t1"}]}
    tasks("ec2", "DescribeNetworkInterfaces", private)
    assert fetch_addresses.handler(payload(), context) == {"url": None, "tasks": []}
