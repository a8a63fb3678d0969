"""Who gives a request, and where the console shows what becomes of it."""

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from cli.requests import Requests, caller, link
from cli.screen import Screen
from deployer.widget import buttons
from tests.console import event


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::123456789012:user/ann", "ann"),
        ("arn:aws:iam::123456789012:user/team/ann", "ann"),
        (
            "arn:aws:sts::123456789012:assumed-role/Operators/ann@example.com",
            "Operators/ann@example.com",
        ),
        ("arn:aws:sts::123456789012:federated-user/ann", "ann"),
        ("arn:aws:iam::123456789012:root", "root"),
    ],
)
def test_the_caller_is_named_as_aws_knows_them(arn: str, name: str) -> None:
    assert caller(arn) == name


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "https://eu-central-1.console.aws.amazon.com/states/"),
        ("cn-north-1", "https://console.amazonaws.cn/states/"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/states/"),
    ],
)
def test_the_link_leads_to_the_consoles_of_all_partitions(region: str, host: str) -> None:
    arn = f"arn:aws:states:{region}:123456789012:execution:deployer-Deploy:one"
    assert link(arn).startswith(host)
    assert link(arn).endswith(f"/executions/details/{arn}")


@pytest.mark.parametrize("reason", ["login is broken", None])
@pytest.mark.parametrize("action", ["rollback", "hold", "resume"])
def test_a_button_of_the_widget_sends_what_the_command_sends(
    action: str, reason: str | None
) -> None:
    sent: list[Any] = []

    def start(stateMachineArn: str, input: str) -> Any:
        sent.append(json.loads(input))
        return {"executionArn": "arn:aws:states:us-east-1:123456789012:execution:deployer:one"}

    account = SimpleNamespace(client=lambda name: SimpleNamespace(start_execution=start))
    target: Any = SimpleNamespace(service="shop", account=account, output=lambda *_: "")
    command = Requests(target, Screen(io.StringIO(), quiet=True), follows=False)
    params = {"action": action, "service": "shop", "release": "r1"}
    pressed = buttons.parse(event(params, forms={"all": {"reason": reason}}))
    command.by = pressed.by
    match action:
        case "rollback":
            to: Any = {"id": "r1", "version": "1.0.0"}
            command.roll_back(to, hold=True, reason=reason, restore_database=False)
        case "hold":
            command.hold(reason)
        case "resume":
            command.resume()
    assert sent == [pressed.request]
