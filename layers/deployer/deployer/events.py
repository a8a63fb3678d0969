"""ECS's own events, as far as they wake an execution.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from deployer.rollout import Verdict


class News(TypedDict):
    """The rollout that an event is about, and what a sleeping poll is woken with: no verdict yet,
    only that it should look. `told` is whether ECS said that the rollout itself ended, so that
    the look may insist.
    """

    rollout: str
    verdict: Verdict


def news_of(event: Mapping[str, Any]) -> News:
    """The rollout that an event is about, and what it says.

    Args:
        event: an `ECS Deployment State Change`, or an `ECS Task State Change` of a service's task.
    """
    detail = event["detail"]
    if event["detail-type"] == "ECS Deployment State Change":
        return _news(detail["deploymentId"], True, f"{detail['eventName']}: {detail['reason']}")
    return _news(detail["startedBy"], False, f"task stopped: {detail.get('stoppedReason', '')}")


def _news(rollout: str, told: bool, reason: str) -> News:
    return {
        "rollout": rollout,
        "verdict": {"health": "ROLLING", "told": told, "error": "", "reason": reason},
    }
