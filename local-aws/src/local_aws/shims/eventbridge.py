"""EventBridge delivers to state machines and functions only what it is permitted to.

A rule's state machine starts in the target's role; a function needs a resource policy that lets the
rule in (so does a queue on AWS, which is not asked here unless it is a dead-letter queue, and a
topic). An execution's name is made from the event's id, so that a duplicate delivery collides with
the first one. What cannot be delivered goes to the target's dead-letter queue.

Follows the Amazon EventBridge user guide (Use identity-based policies; Use resource-based policies;
Using dead-letter queues). That the name holds the event's id is observed, not documented:
https://yufushiro.dev/articles/20250827_eventbridge_sfn_dedup
"""

import json
import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id
from ministack.services import eventbridge, lambda_svc, sqs, stepfunctions

from local_aws.shims import Shim, roles

_log = logging.getLogger("eventbridge")
_SENDER = "events.amazonaws.com"
_delivery: ContextVar[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = ContextVar(
    "delivery"
)
shim = Shim()


install = shim.install


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
    role = target.get("RoleArn") or ""
    if why := roles.denial(
        role, _SENDER, "states:StartExecution", arn, source=rule["Arn"], session="eventbridge"
    ):
        return _undelivered(payload, "NO_PERMISSIONS", why)
    if stepfunctions._resolve_state_machine_arn(arn) is None:
        return _undelivered(payload, "RESOURCE_NOT_FOUND", f"State machine {arn} does not exist")
    name = execution_name(event["EventId"], rule["Arn"], target.get("Id", ""))
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


@shim.wraps(eventbridge, "_dispatch_to_lambda", "arn payload")
def _dispatch_to_lambda(original: Callable[..., None], arn: str, payload: str) -> None:
    _, _, rule = _delivery.get()
    found = lambda_svc.function_policy_for_arn(arn)
    if found is None:
        return _undelivered(payload, "RESOURCE_NOT_FOUND", f"Function {arn} does not exist")
    action = "lambda:InvokeFunction"
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=arn,
        region=arn.split(":")[3],
        service_context={"aws:sourcearn": rule["Arn"], "aws:sourceaccount": get_account_id()},
    )
    policy = iam_evaluator.evaluate_resource_policy(found[0], context, service=_SENDER)
    if policy.decision == "Allow":
        return original(arn, payload)
    why = f"{_SENDER} is not authorized to perform: {action} on resource: {arn} because no "
    why += f"resource-based policy allows the {action} action"
    return _undelivered(payload, "NO_PERMISSIONS", why)


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
    if not sqs.queue_policy_allows(queue, _SENDER, source, get_account_id()):
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
