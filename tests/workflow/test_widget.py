"""The widget on the dashboard, on the local AWS: who may look, who may press, and what comes of it.

With PYTEST_PICTURES=1 it makes the picture of the widget in docs/operate.md.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import Browser

from demo import ROOT
from demo.stage import Stage
from tests.console import Button, Shown, event
from tests.person import VERSION, Person

PICTURE = ROOT / "docs" / "pictures" / "widget.png"
# What the user guide says that the console styles by default, in the colours of each theme.
THEMES = {"light": ("#ffffff", "#16191f", "#eaeded"), "dark": ("#0f1b2a", "#d1d5db", "#414d5c")}
CONSOLE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>widget</title><style>
body {{ background: {0}; color: {1}; font: 14px/1.45 "Open Sans", Arial, sans-serif; margin: 16px }}
table {{ border-collapse: collapse }} td, th {{ border-bottom: 1px solid {2} }}
a {{ color: {3} }} .btn {{ display: inline-block; padding: 1px 10px; border: 1px solid {3};
border-radius: 12px; font-weight: 700 }} input {{ background: {0}; color: {1}; width: 20em }}
cwdb-action {{ display: none }}</style>{4}"""


def function(stage: Stage, name: str) -> str:
    machine = stage.outputs["StateMachine"]
    region, account = machine.split(":")[3:5]
    return f"arn:aws:lambda:{region}:{account}:function:{stage.stack}-{name}"


class Viewer:
    """A person who looks at the service's dashboard, with a role that allows these functions."""

    def __init__(self, stage: Stage, *functions: str) -> None:
        self.stage, person = stage, Person(stage.aws)
        allowed = [function(stage, name) for name in functions]
        statement = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": allowed}
        policy = stage.aws.client("iam").create_policy(
            PolicyName=person.name,
            PolicyDocument=json.dumps({"Version": VERSION, "Statement": [statement]}),
        )
        session = person.role(policy["Policy"]["Arn"])
        self.lambdas = person.client("lambda", session)

    def show(self, **params: str) -> Shown:
        given = {"service": self.stage.service, **params}
        return invoke(self.lambdas, function(self.stage, "ShowWidget"), event(given))

    def click(self, button: Button, reason: str = "") -> Shown:
        context = {"dashboardName": self.stage.service, "forms": {"all": {"reason": reason}}}
        return invoke(self.lambdas, button.endpoint, event(button.params, **context))


def invoke(lambdas: Any, name: str, payload: dict[str, Any]) -> Shown:
    response = lambdas.invoke(FunctionName=name, Payload=json.dumps(payload))
    answer = response["Payload"].read().decode()
    assert "FunctionError" not in response, answer
    shown = Shown(json.loads(answer))
    assert shown.wrong == []
    return shown


def started(stage: Stage, page: Shown) -> str:
    """The execution that a button started."""
    return next(arn for arn in stage.executions() if f"/executions/details/{arn}" in page.html)


def seen(viewer: Viewer, text: str) -> Shown:
    """The widget once it shows a text."""
    deadline = time.monotonic() + 180
    while text not in (page := viewer.show()).text:
        assert time.monotonic() < deadline, page.text
        time.sleep(0.2)
    return page


@pytest.mark.walk
def test_who_may_look_looks_and_who_may_press_rolls_back_and_cancels(live: Stage) -> None:
    assert live.deployed("1.1.0").status == "SUCCEEDED"
    looks, presses = Viewer(live, "ShowWidget"), Viewer(live, "ShowWidget", "PressButton")
    page = looks.show()
    assert "live and verified" in page.text and live.records()[-1]["url"] in page.text
    assert live.service in looks.show(service="").text
    back = page.button("Roll back to 1.0.0")
    with pytest.raises(ClientError) as refusal:
        looks.click(back)
    assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
    assert len(live.records()) == 2

    answer = presses.click(back, "login is broken")
    assert "is rolled back to 1.0.0" in answer.text
    assert live.ended(started(live, answer)).status == "SUCCEEDED"
    record = live.records()[-1]
    assert (record["trigger"], record["version"]) == ("rollback", "1.0.0")
    assert record["startedBy"] == f"the widget on dashboard {live.service}"
    assert "has changed since this was shown" in presses.click(back).text

    page = looks.show()
    assert f"held by the widget on dashboard {live.service}" in page.text
    assert "login is broken" in page.text
    last = live.records()[-1]["id"]
    assert "image" in looks.show(release=last).text  # of what it changed
    resumed = presses.click(page.button("Resume"))
    assert live.ended(started(live, resumed)).status == "SUCCEEDED"

    live.release("1.2.0", fault="slow-start", seconds=30)
    page = seen(looks, "1.2.0 (push), Poll health")
    stopped = presses.click(page.button("Cancel"))
    assert "1.2.0 is stopped. The last good release is restored." in stopped.text
    assert live.ended(started(live, stopped)).status == "FAILED"  # as that of any failure
    assert live.records()[-1]["outcome"] == "FAILED_ROLLED_BACK"
    page = looks.show()
    assert "1.2.0 failed" in page.text and "live and verified" in page.text


def test_an_operator_presses_with_mfa_only(service: Stage) -> None:
    person = Person(service.aws, service.outputs["OperatorsPolicy"])
    name, given = function(service, "PressButton"), {"action": "hold", "service": service.service}
    shown = invoke(
        person.client("lambda"),
        function(service, "ShowWidget"),
        event({"service": service.service}),
    )
    hold = event(shown.button("Hold pushes").params)
    with pytest.raises(ClientError, match="AccessDenied"):
        invoke(person.client("lambda"), name, event(given))
    with_mfa = person.client("lambda", person.session(**person.mfa))
    assert "are held" in invoke(with_mfa, name, hold).text


def test_it_is_shown_in_both_themes(make: Callable[..., Stage], browser: Browser) -> None:
    stage = make(Strategy="rolling")
    for version in ("1.0.0", "1.1.0"):
        assert stage.deployed(version).status == "SUCCEEDED"
    assert stage.deployed("1.2.0", fault="exit-at-start").status == "FAILED"
    stage.release("1.3.0", fault="slow-start", seconds=30)
    viewer = Viewer(stage, "ShowWidget")
    seen(viewer, "1.3.0 (push), Poll health")
    for theme, colours in THEMES.items():
        given = event({"service": stage.service}, theme=theme)
        shown = invoke(viewer.lambdas, function(stage, "ShowWidget"), given)
        page = browser.new_page(
            viewport={"width": 1120, "height": 300},
            device_scale_factor=1.5,
            java_script_enabled=False,
        )
        link = "#0073bb" if theme == "light" else "#539fe5"
        page.set_content(CONSOLE.format(*colours, link, shown.html))
        assert page.get_by_text("1.2.0 failed").is_visible()
        assert page.get_by_text("Roll back to 1.1.0").is_visible()
        if theme == "light" and os.environ.get("PYTEST_PICTURES"):
            page.screenshot(path=PICTURE, full_page=True)
        page.close()
