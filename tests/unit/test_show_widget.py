"""The widget shows what the records and ECS say, and reads only."""

import json
from typing import Any

import pytest

import show_widget
from deployer.aws import client
from deployer.deploy.release import unidentified
from deployer.store import locks, releases
from tests.console import Shown, event
from tests.unit.conftest import Script, refusal
from tests.unit.samples import (
    EXECUTION,
    NOW,
    OLD_REVISION,
    OTHER_DIGEST,
    REVISION,
    document,
    lock_request,
    ours,
    release,
    rollout,
    service,
    task,
)

PRESS = "arn:aws:lambda:us-east-1:123456789012:function:deployer-PressButton"
OLD: Any = {
    "id": "20261120T090000Z-cdcdcdcdcdcd",
    "version": "2.0.0",
    "tag": "2.0.0",
    "digest": OTHER_DIGEST,
    "startedAt": "2026-11-20T09:00:00+00:00",
    "taskDefinition": OLD_REVISION,
    "execution": "arn:aws:states:us-east-1:123456789012:execution:Deploy:old",
}
FLIGHT: Any = {
    "id": "20261123T143000Z-efefefefefef",
    "version": "2.2.0",
    "digest": f"sha256:{'ef' * 32}",
    "execution": "arn:aws:states:us-east-1:123456789012:execution:Deploy:two",
}


def close(outcome: Any = "SUCCEEDED", ended: str = "2026-11-23T14:27:00", **changes: Any) -> None:
    entry = release(**changes)
    releases.open_release(entry)
    releases.close_release(entry, outcome, {"endedAt": f"{ended}+00:00", "reason": "done"})


@pytest.fixture(autouse=True)
def shop(releases_table: None, script: Script, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A service on which 2.1.0 is live, after 2.0.0."""
    monkeypatch.setenv("PRESS_BUTTON", PRESS)
    store(document())
    running = ours(createdAt=NOW)
    script("ecs", "DescribeServices", {"services": [{**service(running), "pendingCount": 0}]})
    script("ecs", "ListTasks", {"taskArns": [task()["taskArn"]]})
    script("ecs", "DescribeTasks", {"tasks": [task(taskDefinitionArn=REVISION)]})
    address = {"NetworkInterfaceId": "eni-t1", "Association": {"PublicIp": "203.0.113.7"}}
    script("ec2", "DescribeNetworkInterfaces", {"NetworkInterfaces": [address]})
    close(ended="2026-11-20T09:02:00", **OLD)
    close(taskDefinition=REVISION, rollout=rollout())
    return script


def store(spec: dict[str, Any]) -> None:
    name = f"/deployer/services/{spec['service']}"
    client("ssm").put_parameter(Name=name, Value=json.dumps(spec), Type="String", Overwrite=True)


def show(context: Any, **params: str) -> Shown:
    result = Shown(show_widget.handler(event(params), context))
    assert result.wrong == []
    return result


def test_it_describes_itself_and_does_nothing_else(script: Script, context: Any) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html"""
    assert "``` yaml\nservice: " in show_widget.handler({"describe": True}, context)
    assert script.calls == []


def test_a_service_is_shown_with_its_address_and_the_release_to_go_back_to(context: Any) -> None:
    page = show(context, service="coder")
    for fact in ("live and verified", "2.1.0", "1 of 1 running", "http://203.0.113.7:3000"):
        assert fact in page.text, fact
    back = page.button("Roll back to 2.0.0")
    assert (back.endpoint, back.params["release"]) == (PRESS, OLD["id"])
    assert page.button("Refresh").endpoint == context.invoked_function_arn


def test_the_stage_of_the_deployment_in_flight_is_that_of_its_execution(
    shop: Script, context: Any
) -> None:
    releases.open_release(release(**FLIGHT))
    locks.acquire("coder", lock_request(release=FLIGHT["id"], execution=FLIGHT["execution"]))
    waits = lock_request(release="r9", trigger="rollback", execution=EXECUTION)
    locks.enqueue("coder", waits)
    entered: Any = {"stateEnteredEventDetails": {"name": "Poll health"}, "type": "TaskStateEntered"}
    events: list[Any] = [{"type": "TaskScheduled"}, entered, {"type": "TaskStateExited"}]
    listed = [{"timestamp": NOW, "id": n, **one} for n, one in enumerate(events, 1)]
    shop("stepfunctions", "GetExecutionHistory", {"events": listed})
    page = show(context, service="coder")
    assert "2.2.0 (push), Poll health, for" in page.text and "r9 (rollback" in page.text
    (request,) = shop.requests("GetExecutionHistory")
    assert (request["executionArn"], request["reverseOrder"]) == (FLIGHT["execution"], True)
    assert page.button("Cancel", release="r9")

    shop("stepfunctions", "GetExecutionHistory", refusal("ExecutionDoesNotExist"))
    assert "2.2.0 (push), for" in show(context, service="coder").text


def test_a_hold_and_the_newest_held_push_are_shown(context: Any) -> None:
    locks.hold("coder", {"by": "ann", "at": "2026-11-23T14:00:00+00:00", "reason": "freeze"})
    close("HELD", **{**FLIGHT, "version": "2.3.0"})
    page = show(context, service="coder")
    assert "held by ann since" in page.text and "2.3.0 is the newest push held" in page.text
    assert "2.3.0" in page.button("Resume").confirmation


def test_a_release_of_another_schema_has_no_button(context: Any) -> None:
    store(document(database={"instance": "coder-db"}))
    older: Any = {**OLD, "id": "20261119T000000Z-r0", "schema": {"number": 11, "hash": "e"}}
    close(ended="2026-11-19T09:02:00", **older)
    labels = [(b.label, b.params.get("release")) for b in show(context, service="coder").buttons]
    assert ("Roll back", OLD["id"]) in labels and ("Roll back", "20261119T000000Z-r0") not in labels
    assert ("Details", "20261119T000000Z-r0") in labels


def test_without_permission_for_the_service_the_records_are_shown(
    shop: Script, context: Any
) -> None:
    shop("ecs", "DescribeServices", refusal("AccessDeniedException"))
    page = show(context, service="coder")
    assert "no permission to see the service" in page.text and "2.1.0" in page.text


def test_without_permission_for_the_tasks_the_recorded_address_is_shown(
    shop: Script, context: Any
) -> None:
    shop("ecs", "ListTasks", refusal("AccessDeniedException"))
    assert "1 of 1 running" in show(context, service="coder").text


def test_a_release_is_shown_in_full_with_what_it_changed(shop: Script, context: Any) -> None:
    entry = release(**FLIGHT, taskDefinition=REVISION)
    releases.open_release(entry)
    releases.note(entry, previous={"taskDefinition": OLD_REVISION, "version": "2.0.0"})
    definitions = [document(definition__memory=size)["taskDefinition"] for size in ("512", "1024")]
    shop("ecs", "DescribeTaskDefinition", *({"taskDefinition": one} for one in definitions))
    page = show(context, service="coder", release=FLIGHT["id"])
    assert "Outcome in flight" in page.text and "512 1024" in page.text


def test_a_release_whose_revision_is_gone_is_shown_without_what_it_changed(
    shop: Script, context: Any
) -> None:
    entry = release(**FLIGHT, taskDefinition=REVISION)
    releases.open_release(entry)
    releases.note(entry, previous={"taskDefinition": OLD_REVISION, "version": "2.0.0"})
    shop("ecs", "DescribeTaskDefinition", refusal("ClientException"))
    assert "Changes" not in show(context, service="coder", release=FLIGHT["id"]).text


def test_what_is_not_there_is_named(context: Any) -> None:
    assert "coder" in show(context, service="nothing").text
    assert "has no release r9" in show(context, service="coder", release="r9").text
    refused = unidentified({"service": "coder"}, EXECUTION, NOW.isoformat())
    releases.close_release(refused, "FAILED", {"reason": "unknown action"})
    assert "has no release" in show(context, service="coder", release=refused["id"]).text
    assert "needs service" in Shown(show_widget.handler(event({"service": 7}), context)).text
    store(document(cluster=7))
    assert "cluster" in show(context, service="coder").text


def test_when_aws_does_not_answer_the_widget_says_so(shop: Script, context: Any) -> None:
    shop("ecs", "DescribeServices", refusal("ThrottlingException"))
    page = show(context, service="coder")
    assert "DescribeServices" in page.text and "ThrottlingException" in page.text


def test_all_services_are_shown_as_long_as_there_is_time(context: Any) -> None:
    store(document(service="shop"))
    page = show(context)
    assert "coder 2.1.0" in page.text and "nothing yet" in page.text
    remaining = iter([570_000, 9_000])
    context.get_remaining_time_in_millis = lambda: next(remaining)
    page = show(context)
    assert [one.label for one in page.buttons] == ["coder", "shop"]
    assert "nothing yet" not in page.text


def test_it_writes_nothing(shop: Script, context: Any) -> None:
    show(context, service="coder")
    show(context)
    assert {name for name, _ in shop.calls} == {
        *("DescribeServices", "ListTasks", "DescribeTasks", "DescribeNetworkInterfaces")
    }
    assert locks.queue("coder").hold is None
