"""EventBridge delivers to state machines, functions and topics only what it is permitted to.

A rule's state machine starts in the target's role; a function or a topic needs a resource policy
that lets the rule in (so does a queue on AWS, which is not asked here unless it is a dead-letter
queue). A schedule does all in its role. An execution's name is made from the event's id,
so that a duplicate delivery collides with the first one. What cannot be delivered goes to the
target's dead-letter queue.

Follows the Amazon EventBridge user guide (Use identity-based policies; Use resource-based policies;
Using dead-letter queues) and the EventBridge Scheduler user guide (Setting up the execution role).
That the name holds the event's id is observed, not documented:
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
from ministack.services import eventbridge, kms, lambda_svc, sns, sqs, stepfunctions

from local_aws.shims import Shim, after, roles

_log = logging.getLogger("eventbridge")
_delivery: ContextVar[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = ContextVar(
    "delivery"
)
shim = Shim()


def install() -> None:
    shim.install()
    after("AWS::SNS::Topic", _encrypt)


def _encrypt(topic: str, properties: dict[str, Any]) -> None:
    """CloudFormation forgets the topic's key."""
    if key := properties.get("KmsMasterKeyId"):
        sns._topics[topic]["attributes"]["KmsMasterKeyId"] = key


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
    except _NotJson as why:
        body = eventbridge._pattern_event_view(event).event_with_detail()
        _undelivered(json.dumps(body), "INVALID_JSON", str(why))
    finally:
        _delivery.reset(token)


class _NotJson(ValueError):
    """What an input transformer made cannot be delivered."""


@shim.wraps(eventbridge, "_apply_input_transformer", "transformer rule view")
def _apply_input_transformer(
    original: Callable[..., str], transformer: dict[str, Any], rule: dict[str, Any], view: Any
) -> str:
    """Deliver what an input transformer makes only if it is JSON: an object, or a quoted text on
    each line. "EventBridge doesn't escape values extracted by Input Path, when populating the Input
    Template", so a value with a quote or a line end breaks the text that it is put into.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    made = original(transformer, rule, view)
    template = transformer.get("InputTemplate", "").strip()
    quoted = template.startswith('"')
    try:
        for part in made.strip().split("\n") if quoted else [made]:
            json.loads(part)
    except json.JSONDecodeError as error:
        raise _NotJson(f"The input transformer made no JSON: {error}") from None
    return made


@shim.replaces(eventbridge, "_dispatch_to_stepfunctions", "arn payload")
def _dispatch_to_stepfunctions(arn: str, payload: str) -> None:
    target, event, rule = _delivery.get()
    role = target.get("RoleArn") or ""
    if why := roles.denial(
        role, _sender(rule), "states:StartExecution", arn, source=rule["Arn"], session="eventbridge"
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
    target, _, rule = _delivery.get()
    found = lambda_svc.function_policy_for_arn(arn)
    if found is None:
        return _undelivered(payload, "RESOURCE_NOT_FOUND", f"Function {arn} does not exist")
    action = "lambda:InvokeFunction"
    context = {"aws:sourcearn": rule["Arn"], "aws:sourceaccount": get_account_id()}
    allowed = _policy_allows(found[0], action, arn, context)
    if why := _refusal(target, rule, action, arn, allowed):
        return _undelivered(payload, "NO_PERMISSIONS", why)
    return original(arn, payload)


@shim.wraps(eventbridge, "_dispatch_to_sns", "arn payload")
def _dispatch_to_sns(original: Callable[..., None], arn: str, payload: str) -> None:
    target, _, rule = _delivery.get()
    # "You can't use Condition blocks in Amazon SNS topic policies for EventBridge": it does not say
    # which rule or account it speaks for, so a statement with such a condition never allows, and
    # neither does the policy that a topic has from the start.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
    found = sns.topic_policy_for_arn(arn)
    allowed = bool(found) and _policy_allows(found[0], "sns:Publish", arn)
    if allowed and (key := (sns._topics[arn].get("attributes") or {}).get("KmsMasterKeyId")):
        # The same goes for the policy of the topic's key:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        found = kms._resolve_key(key) or {"Arn": key}
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            permitted = "Policy" in found and _policy_allows(found["Policy"], action, found["Arn"])
            if why := _refusal(target, rule, action, found["Arn"], permitted):
                return _undelivered(payload, "NO_PERMISSIONS", why)
    if why := _refusal(target, rule, "sns:Publish", arn, allowed):
        return _undelivered(payload, "NO_PERMISSIONS", why)
    return original(arn, payload)


def _refusal(
    target: dict[str, Any], rule: dict[str, Any], action: str, resource: str, allowed: bool
) -> str | None:
    """Why not: a schedule needs a role that allows it, a rule a policy of the resource."""
    sender = _sender(rule)
    if sender == "scheduler.amazonaws.com":
        role = target.get("RoleArn") or ""
        return roles.denial(role, sender, action, resource, source=rule["Arn"], session="scheduler")
    if allowed:
        return None
    return (
        f"{sender} is not authorized to perform: {action} on resource: {resource} because no "
        f"resource-based policy allows the {action} action"
    )


def _sender(rule: dict[str, Any]) -> str:
    """The service that delivers: a schedule comes this way like a rule."""
    return f"{parse_arn(rule['Arn']).service}.amazonaws.com"


def _policy_allows(
    policy: str | dict[str, Any], action: str, resource: str, keys: dict[str, str] | None = None
) -> bool:
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=resource.split(":")[3],
        service_context=keys or {},
    )
    decision = iam_evaluator.evaluate_resource_policy(
        policy, context, service="events.amazonaws.com"
    )
    return bool(decision.decision == "Allow")


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
