"""EventBridge delivers to state machines and functions only what it is permitted to.

A rule's state machine starts in the target's role; a function needs a resource policy that lets the
rule in (on AWS so do a queue and a topic, which are not asked here). An execution's name is made
from the event's id, so that a duplicate delivery collides with the first one. What cannot be
delivered is lost, and the log says why.

Follows the Amazon EventBridge user guide (Use identity-based policies; Use resource-based
policies). That the name holds the event's id is observed, not documented:
https://yufushiro.dev/articles/20250827_eventbridge_sfn_dedup
"""

import json
import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, lambda_svc, stepfunctions

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
    if why := roles.denial(role, _SENDER, "states:StartExecution", arn, source=rule["Arn"]):
        return _undelivered(why)
    if stepfunctions._resolve_state_machine_arn(arn) is None:
        return _undelivered(f"State machine {arn} does not exist")
    name = execution_name(event["EventId"], rule["Arn"], target.get("Id", ""))
    status, _, body = stepfunctions._start_execution(
        {"stateMachineArn": arn, "input": payload, "name": name}
    )
    if status >= 400:
        answer = json.loads(body)
        if answer.get("__type") == "ExecutionAlreadyExists":
            _log.info("event %s was delivered before", event["EventId"])
        else:
            _undelivered(answer.get("message", ""))
    return None


@shim.wraps(eventbridge, "_dispatch_to_lambda", "arn payload")
def _dispatch_to_lambda(original: Callable[..., None], arn: str, payload: str) -> None:
    _, _, rule = _delivery.get()
    resource_policy = lambda_svc.function_policy_for_arn(arn)
    if resource_policy is None:
        return _undelivered(f"Function {arn} does not exist")
    action = "lambda:InvokeFunction"
    if roles.lets_in(resource_policy[0], _SENDER, action, arn, source=rule["Arn"]):
        return original(arn, payload)
    why = f"{_SENDER} is not authorized to perform: {action} on resource: {arn} because no "
    why += f"resource-based policy allows the {action} action"
    return _undelivered(why)


def _undelivered(why: str) -> None:
    target, _, rule = _delivery.get()
    _log.warning("rule %s: not delivered to %s: %s", rule.get("Name"), target["Arn"], why)
