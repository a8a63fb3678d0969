"""ECS's events, as the documentation shows them, wake the execution whose rollout they tell of.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from typing import Any

import pytest

from deployer import events


def deployment_event(name: str, reason: str) -> dict[str, Any]:
    return {
        "detail-type": "ECS Deployment State Change",
        "source": "aws.ecs",
        "resources": ["arn:aws:ecs:us-east-1:123456789012:service/coder/coder"],
        "detail": {
            "eventType": "INFO",
            "eventName": name,
            "deploymentId": "ecs-svc/1",
            "updatedAt": "2026-11-23T14:25:02Z",
            "reason": reason,
        },
    }


def task_event(**detail: Any) -> dict[str, Any]:
    return {
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "detail": {"startedBy": "ecs-svc/1", "lastStatus": "STOPPED"} | detail,
    }


@pytest.mark.parametrize("name", ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"])
def test_the_end_of_a_rollout_is_told(name: str) -> None:
    news = events.news_of(deployment_event(name, "ECS deployment ecs-svc/1 did."))
    assert news["rollout"] == "ecs-svc/1"
    assert news["verdict"]["told"]
    assert name in news["verdict"]["reason"]
    assert "ecs-svc/1 did." in news["verdict"]["reason"]


@pytest.mark.parametrize("reason", [{"stoppedReason": "Essential container in task exited"}, {}])
def test_a_stopped_task_is_news_of_its_rollout(reason: dict[str, str]) -> None:
    news = events.news_of(task_event(**reason))
    assert news["rollout"] == "ecs-svc/1"
    assert not news["verdict"]["told"]
    assert reason.get("stoppedReason", "") in news["verdict"]["reason"]


def test_no_event_is_a_verdict() -> None:
    """An event may be late, repeated or lost: only a look at the service judges."""
    for event in (deployment_event("SERVICE_DEPLOYMENT_FAILED", "x"), task_event()):
        assert events.news_of(event)["verdict"]["health"] == "ROLLING"
        assert events.news_of(event)["verdict"]["error"] == ""
