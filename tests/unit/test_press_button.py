"""A button of the widget starts what the command starts, or says why not."""

import json
from typing import Any

import pytest

import press_button
from deployer.aws import client, sfn
from deployer.deploy.reconciliation import recovery_name
from deployer.store import locks, releases
from deployer.widget import buttons
from tests.console import Shown, event
from tests.unit.conftest import Machine, Script, refusal
from tests.unit.samples import (
    OLD_REVISION,
    OTHER_DIGEST,
    REVISION,
    document,
    lock_request,
    ours,
    release,
    service,
)

OLD = "20261120T090000Z-cdcdcdcdcdcd"
FLIGHT = "20261123T143000Z-efefefefefef"


def close(outcome: Any = "SUCCEEDED", ended: str = "2026-11-23T14:27:00", **changes: Any) -> None:
    entry = release(**changes)
    releases.open_release(entry)
    releases.close_release(entry, outcome, {"endedAt": f"{ended}+00:00", "reason": "done"})


@pytest.fixture(autouse=True)
def shop(releases_table: None, script: Script, machine: Machine) -> Script:
    """A service on which 2.1.0 is live, after 2.0.0; both images are there."""
    spec = json.dumps(document())
    client("ssm").put_parameter(Name="/deployer/services/coder", Value=spec, Type="String")
    script("ecs", "DescribeServices", {"services": [service(ours())]})
    active = {"taskDefinition": {"taskDefinitionArn": OLD_REVISION, "status": "ACTIVE"}}
    script("ecs", "DescribeTaskDefinition", active)
    there = {"repositoryUri": "registry/coder"}
    script("ecr", "DescribeRepositories", {"repositories": [there]})
    image = {"imageDigest": OTHER_DIGEST, "imagePushedAt": 0, "imageStatus": "ACTIVE"}
    script("ecr", "DescribeImages", {"imageDetails": [image]})
    script("ecr", "BatchGetImage", {"images": [{"imageManifest": "{}"}]})
    close(
        ended="2026-11-20T09:02:00",
        id=OLD,
        version="2.0.0",
        digest=OTHER_DIGEST,
        taskDefinition=OLD_REVISION,
        startedAt="2026-11-20T09:00:00+00:00",
    )
    close(taskDefinition=REVISION)
    return script


def seen() -> str:
    queue = locks.queue("coder")
    return buttons.state(releases.history("coder"), queue.holder, queue.waiting, queue.hold)


def press(action: str, context: Any, reason: str = "", **params: str) -> Shown:
    given = {"action": action, "service": "coder", "seen": seen(), **params}
    result = Shown(press_button.handler(event(given, forms={"all": {"reason": reason}}), context))
    assert result.wrong == []
    return result


def test_a_rollback_starts_the_execution_of_the_command(machine: Machine, context: Any) -> None:
    page = press("rollback", context, release=OLD, reason="login is broken")
    assert "coder is rolled back to 2.0.0" in page.text and "Later pushes are held" in page.text
    ((name, request),) = machine.executions().items()
    assert name.startswith("widget-rollback-") and f":execution:Deploy:{name}" in page.html
    assert request == {
        "action": "rollback",
        "to": OLD,
        "hold": True,
        "reason": "login is broken",
        "service": "coder",
        "by": "the widget on dashboard shop",
    }


def test_two_viewers_who_press_at_once_start_one_execution(machine: Machine, context: Any) -> None:
    before = seen()
    press("rollback", context, release=OLD, seen=before)
    page = press("rollback", context, release=OLD, seen=before, reason="another one's")
    assert "Somebody else has just pressed the same button" in page.text
    assert "/executions/details/" in page.html
    assert len(machine.executions()) == 1


def test_a_hold_and_a_resumption_start_theirs(machine: Machine, context: Any) -> None:
    assert "are held until somebody resumes" in press("hold", context, reason="freeze").text
    (request,) = machine.executions().values()
    assert request["action"] == "hold" and request["reason"] == "freeze"
    assert "is not held; nothing to resume" in press("resume", context).text
    locks.hold("coder", {"by": "ann", "at": "2026-11-23T14:00:00+00:00", "reason": "freeze"})
    assert "The hold of coder ends" in press("resume", context).text
    assert {r["action"] for r in machine.executions().values()} == {"hold", "resume"}


@pytest.mark.parametrize("action", ["rollback", "hold", "resume"])
def test_a_page_that_was_open_for_a_day_starts_nothing(
    machine: Machine, context: Any, action: str
) -> None:
    old = seen()
    close(id="r3", version="2.2.0", ended="2026-11-23T15:00:00", taskDefinition=REVISION)
    page = press(action, context, release=OLD, seen=old)
    assert "coder has changed since this was shown. Refresh the widget" in page.text
    assert machine.executions() == {}


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"release": "r9"}, "no release is named"),
        ({"release": "20261123T142502Z-abababababab"}, "serves already"),
        ({"release": OLD, "service": "other"}, "other"),
        ({"release": ""}, "rollback needs release"),
        ({"release": OLD, "reason": "x" * 400}, "the reason must be"),
    ],
)
def test_a_rollback_that_is_not_possible_is_refused_and_starts_nothing(
    machine: Machine, context: Any, params: dict[str, str], why: str
) -> None:
    assert why in press("rollback", context, **params).text
    assert machine.executions() == {}


def test_a_release_whose_image_or_revision_is_gone_is_refused(
    shop: Script, machine: Machine, context: Any
) -> None:
    shop("ecs", "DescribeTaskDefinition", refusal("ClientException"))
    assert "no longer ACTIVE" in press("rollback", context, release=OLD).text
    shop("ecr", "DescribeImages", refusal("ImageNotFoundException"))
    assert "is gone from ECR" in press("rollback", context, release=OLD).text
    assert machine.executions() == {}


def fly(machine: Machine, **changes: Any) -> str:
    """Begin the deployment of 2.2.0; its execution's ARN."""
    execution = machine.start("two")
    releases.open_release(release(id=FLIGHT, version="2.2.0", execution=execution, **changes))
    return execution


def test_a_cancelled_deployment_is_stopped_and_recovered(machine: Machine, context: Any) -> None:
    execution = fly(machine)
    locks.acquire("coder", lock_request(release=FLIGHT, execution=execution))
    page = press("cancel", context, release=FLIGHT)
    assert "2.2.0 is stopped. The last good release is restored." in page.text
    stopped = client("stepfunctions").describe_execution(executionArn=execution)
    assert stopped["status"] == "ABORTED"
    ((name, request),) = machine.executions().items()
    assert name == recovery_name(FLIGHT, execution)
    assert request == {"action": "recover", "service": "coder", "release": FLIGHT}


def test_a_release_that_waits_is_only_stopped(machine: Machine, context: Any) -> None:
    execution = fly(machine)
    locks.enqueue("coder", lock_request(release=FLIGHT, execution=execution))
    assert (
        "2.2.0 is stopped. It had changed nothing." in press("cancel", context, release=FLIGHT).text
    )
    assert machine.executions() == {}


def test_what_ended_meanwhile_is_not_stopped(
    machine: Machine, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not in flight; nothing was stopped" in press("cancel", context, release=OLD).text
    fly(machine)
    monkeypatch.setattr(sfn, "stop", lambda execution, by: "SUCCEEDED")
    assert "2.2.0 had just ended" in press("cancel", context, release=FLIGHT).text


def test_when_aws_does_not_answer_nothing_was_started(
    shop: Script, machine: Machine, context: Any
) -> None:
    shop("ecs", "DescribeServices", refusal("ThrottlingException"))
    assert "ThrottlingException" in press("rollback", context, release=OLD).text
    assert machine.executions() == {}


def test_it_describes_itself_and_does_nothing_else(machine: Machine, context: Any) -> None:
    assert "PressButton" in press_button.handler({"describe": True}, context)
    assert machine.executions() == {}
