"""EventBridge delivers to a state machine as on AWS: in the rule's role, once for each event.

The execution's name is made from the event's id, so that a duplicate delivery collides with the
first one; what cannot be delivered goes to the target's dead-letter queue.

Follows the Amazon EventBridge user guide (Using identity-based policies; Using dead-letter queues).
That the name holds the event's id is observed, not documented:
https://yufushiro.dev/articles/20250827_eventbridge_sfn_dedup
"""

import json
import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id
from ministack.services import eventbridge, sqs, stepfunctions

from local.shims import Shim, expect, roles

_log = logging.getLogger("eventbridge")
_delivery: ContextVar[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = ContextVar(
    "delivery"
)
shim = Shim()


def install() -> None:
    expect(stepfunctions, _start_execution="data", _resolve_state_machine_arn="arn")
    expect(eventbridge, _dispatch_to_sqs="spec payload sqs_parameters")
    expect(
        sqs,
        queue_policy_allows="queue_arn service source_arn source_account",
        _queue_by_arn="arn",
    )
    shim.install()


def execution_name(event: str, rule: str, target: str) -> str:
    """The name of the execution that an event starts: the same for the same event and target."""
    return f"{event}_{uuid.uuid5(uuid.NAMESPACE_URL, f'{rule} {target}')}"


@shim.wraps(eventbridge, "_invoke_target", "target event rule view")
def _invoke_target(
    original: Callable[..., None],
    target: dict[str, Any],
    event: dict[str, Any],
    rule: dict[str, Any],
    view: Any = None,
) -> None:
    token = _delivery.set((target, event, rule))
    try:
        original(target, event, rule, view)
    finally:
        _delivery.reset(token)


@shim.replaces(eventbridge, "_dispatch_to_stepfunctions", "arn payload")
def _dispatch_to_stepfunctions(arn: str, payload: str) -> None:
    target, event, rule = _delivery.get()
    principal = "events.amazonaws.com"
    role = target.get("RoleArn") or ""
    if why := roles.denial(role, principal, "states:StartExecution", arn, "eventbridge"):
        return _undelivered(payload, "NO_PERMISSIONS", why)
    if stepfunctions._resolve_state_machine_arn(arn) is None:
        return _undelivered(payload, "RESOURCE_NOT_FOUND", f"State machine {arn} does not exist")
    name = execution_name(event["EventId"], rule["Arn"], target["Id"])
    status, _, body = stepfunctions._start_execution(
        {"stateMachineArn": arn, "input": payload, "name": name}
    )
    if status >= 400:
        answer = json.loads(body)
        if answer.get("__type") == "ExecutionAlreadyExists":
            _log.info("event %s was delivered before", event["EventId"])
        else:
            _undelivered(payload, answer.get("__type", ""), answer.get("message", ""))
    return None


def _undelivered(payload: str, code: str, message: str) -> None:
    """To the dead-letter queue, if there is one and its policy lets EventBridge in.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html. These errors are
    not ones that EventBridge retries.
    """
    target, _, rule = _delivery.get()
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    _log.warning("rule %s: not delivered to %s: %s", rule.get("Name"), target["Arn"], message)
    if not queue:
        return
    source = rule.get("Arn", "")
    if not sqs.queue_policy_allows(queue, "events.amazonaws.com", source, get_account_id()):
        _log.warning("rule %s: its dead-letter queue refuses EventBridge", rule.get("Name"))
        return
    eventbridge._dispatch_to_sqs(parse_arn(queue), payload)
    attributes = {
        "RULE_ARN": source,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
    }
    sqs._queue_by_arn(queue)["messages"][-1]["message_attributes"] = {
        name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
    }
