"""What ECS sends to EventBridge, in AWS's shapes and off the request path.

AmazonECS/latest/developerguide/ecs_cwe_events.html, ecs_service_deployment_events.html
"""

import json
import logging
import queue
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import ecs, eventbridge

_log = logging.getLogger("local_aws.ecs")
_outbox: queue.SimpleQueue[tuple[str, str, dict[str, Any]]] = queue.SimpleQueue()


def now() -> str:
    """An ISO time as AWS writes it, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def task_changed(task: dict[str, Any]) -> None:
    """`ECS Task State Change`: the task as DescribeTasks shows it, with ISO times and updatedAt."""
    detail = ecs._sanitize(task) | {"updatedAt": now()}
    detail.pop("tags", None)
    # In events an attachment's type is "eni"; in the API it is "ElasticNetworkInterface".
    detail["attachments"] = [attached | {"type": "eni"} for attached in detail["attachments"]]
    _emit("ECS Task State Change", task["taskArn"], detail)


def deployment_changed(service: dict[str, Any], deployment: str, name: str, reason: str) -> None:
    """`ECS Deployment State Change`: SERVICE_DEPLOYMENT_IN_PROGRESS, _COMPLETED or _FAILED."""
    detail = {
        "eventType": "ERROR" if name == "SERVICE_DEPLOYMENT_FAILED" else "INFO",
        "eventName": name,
        "deploymentId": deployment,
        "updatedAt": now(),
        "reason": reason,
    }
    _emit("ECS Deployment State Change", service["serviceArn"], detail)


def say(service: dict[str, Any], message: str) -> None:
    """Add to the service's events, newest first; DescribeServices shows the last 100."""
    entry = {
        "id": str(uuid.uuid4()),
        "createdAt": now(),
        "message": f"(service {service['serviceName']}) {message}",
    }
    service["events"] = [entry, *service["events"][:99]]


def _emit(kind: str, resource: str, detail: dict[str, Any]) -> None:
    # Callers hold the lock and have made their change: what the event says can be read already.
    _, _, _, region, account, _ = resource.split(":", 5)
    event = {
        "EventId": str(uuid.uuid4()),
        "Source": "aws.ecs",
        "DetailType": kind,
        "Detail": json.dumps(detail),
        "EventBusName": "default",
        "Time": int(datetime.now(UTC).timestamp()),
        "Resources": [resource],
        "Account": account,
        "Region": region,
    }
    _outbox.put((account, region, event))


def _deliver() -> None:
    while True:
        account, region, event = _outbox.get()
        try:
            with request_scope(account, region):
                eventbridge._dispatch_event(event)
                eventbridge._archive_event(event)
        except Exception:
            _log.exception("%s was not delivered", event["DetailType"])


def install() -> None:
    """Start the thread that delivers, in order."""
    threading.Thread(target=_deliver, name="ecs-events", daemon=True).start()
