"""Step Functions as AWS has it, where MiniStack's engine differs.

- Tasks of JSONata state machines: TimeoutSeconds, also as an expression and on callback tasks; a
  callback task fails when what it invokes fails; each attempt has a token of its own; Retry with
  MaxDelaySeconds and JitterStrategy; the history's event types.
- The state machine's role is what its tasks may do.
- An execution ends at once when it is stopped, and runs no Catch then.
- Output on Succeed and on a Choice's default; all expressions of one Assign see the values before.

Follows the AWS Step Functions developer guide (Task workflow state; Wait for a Callback with Task
Token; Handling errors; Passing data between states with variables) and API reference
(StopExecution, SendTaskSuccess).
"""

import contextvars
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import (
    error_response_json,
    get_account_id,
    get_region,
    json_response,
    new_uuid,
)
from ministack.services import stepfunctions

from local_aws.shims import Shim, roles

Data = dict[str, Any]
Call = Callable[..., Any]
Step = tuple[Any, str | None]

_ExecutionError = stepfunctions._ExecutionError
_log = logging.getLogger("states")
_CALLBACK = ".waitForTaskToken"
shim = Shim()


class _Stopped(SystemExit):
    """The execution is over. No `Exception`, so that no Catch, Retry or handler takes it."""


@dataclass
class _Run:
    """A running execution, as those who have to wake or end it see it."""

    execution: Data
    role: str
    over: threading.Event = field(default_factory=threading.Event)
    waiting: set["queue.SimpleQueue[Data]"] = field(default_factory=set)

    def end(self) -> None:
        self.over.set()
        for inbox in list(self.waiting):
            inbox.put({"over": True})


_current: ContextVar[_Run] = ContextVar("run")
_runs: dict[str, _Run] = {}
_lock = threading.Lock()
_open: dict[str, "queue.SimpleQueue[Data]"] = {}
_closed: set[str] = set()


def install() -> None:
    shim.install()
    # It delays each execution's first state; its other sleep is replaced below.
    stepfunctions.time = SimpleNamespace(time=time.time, sleep=lambda seconds: None)


# Executions
# -------------------------------------------------------------------------------------------------


@shim.wraps(stepfunctions, "_run_execution", "exec_arn")
def _run_execution(original: Call, exec_arn: str) -> None:
    execution = stepfunctions._executions[exec_arn]
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
    run = _runs[exec_arn] = _Run(execution, machine.get("roleArn", ""))
    _current.set(run)
    try:
        original(exec_arn)
    except _Stopped:
        _log.info("execution %s ended: %s", exec_arn, execution["status"])
    finally:
        del _runs[exec_arn]


@shim.wraps(stepfunctions, "_stop_execution", "data")
def _stop_execution(original: Call, data: Data) -> Any:
    answer = original(data)
    run = _runs.get(data.get("executionArn", ""))
    if run and answer[0] == 200:
        run.end()
    return answer


@shim.wraps(stepfunctions, "_add_event", "execution event_type details")
def _add_event(original: Call, execution: Data, event_type: str, details: Any = None) -> Any:
    """Whatever an ended execution would do next, it does not."""
    if execution["status"] != "RUNNING" and not event_type.startswith("Execution"):
        raise _Stopped
    return original(execution, event_type, details)


@shim.wraps(stepfunctions, "_fail_execution", "execution error cause")
def _fail_execution(original: Call, execution: Data, error: str, cause: str) -> None:
    if execution["status"] != "RUNNING":
        raise _Stopped
    original(execution, error, cause)
    execution["output"] = None


@shim.wraps(stepfunctions, "_describe_execution", "data")
def _describe_execution(original: Call, data: Data) -> Any:
    """An end is written field by field, the date last: until then the execution runs."""
    answer = original(data)
    shown = json.loads(answer[2])
    if answer[0] != 200 or shown["status"] == "RUNNING":
        return answer
    if not shown["stopDate"]:
        ended = ("output", "error", "cause")
        shown = {name: value for name, value in shown.items() if name not in ended}
        shown["status"] = "RUNNING"
    elif shown["status"] != "SUCCEEDED":
        shown["output"] = None
    return json_response(shown)


@shim.replaces(stepfunctions, "_scaled_sleep", "seconds")
def _scaled_sleep(seconds: float) -> None:
    if _current.get().over.wait(max(0, seconds * stepfunctions._SFN_WAIT_SCALE)):
        raise _Stopped


# Task states: https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html
# -------------------------------------------------------------------------------------------------


@shim.wraps(stepfunctions, "_execute_task", "state_def raw_input execution ctx")
def _execute_task(original: Call, state: Data, given: Any, execution: Data, ctx: Data) -> Step:
    if stepfunctions._state_query_language(state, ctx) != "JSONata":
        return original(state, given, execution, ctx)
    retried: dict[int, int] = {}
    while True:
        ctx["State"]["RetryCount"] = sum(retried.values())
        try:
            result = _attempt(state, given, execution, ctx)
            output = stepfunctions._apply_jsonata_output(
                state, given, ctx, result=result, default=result
            )
            _apply_state_assign(state, given, ctx, result=result)
            return output, stepfunctions._next_or_end(state)
        except _ExecutionError as error:
            retrier, index = stepfunctions._find_matching_retrier(
                state.get("Retry", []), error.error, retried
            )
            if retrier:
                _scaled_sleep(_delay(retrier, retried.get(index, 0)))
                retried[index] = retried.get(index, 0) + 1
                continue
            catcher = stepfunctions._find_matching_catcher(state.get("Catch", []), error.error)
            if not catcher:
                raise
            caught = {"Error": error.error, "Cause": error.cause}
            output = stepfunctions._apply_catcher(catcher, given, ctx, "JSONata", caught)
            return output, catcher["Next"]


def _delay(retrier: Data, count: int) -> float:
    """https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"""
    delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    return random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay


def _attempt(state: Data, given: Any, execution: Data, ctx: Data) -> Any:
    """Run the task once; its result. Adds the history's events, the failure's too."""
    resource: str = state["Resource"]
    calls_back = resource.endswith(_CALLBACK)
    if calls_back:
        ctx["Task"] = {"Token": new_uuid()}
    report = partial(_report, execution, resource)
    try:
        arguments = stepfunctions._apply_jsonata_arguments(state, given, ctx)
        limit = None
        if "TimeoutSeconds" in state:
            limit = stepfunctions._jsonata_state_field(
                state, "TimeoutSeconds", "number", given, ctx
            )
        report("Scheduled", arguments)
        if calls_back:
            result = _call_back(resource, arguments, ctx["Task"]["Token"], limit, report)
        else:
            report("Started")
            result = stepfunctions._invoke_resource_with_timeout(resource, arguments, limit)
    except _ExecutionError as error:
        report("TimedOut" if error.error == "States.Timeout" else "Failed", error)
        raise
    finally:
        ctx.pop("Task", None)
    report("Succeeded", result)
    return result


def _report(execution: Data, resource: str, what: str, about: Any = None) -> None:
    """Add an event to the history, in the words for a Lambda function or for any other task."""
    function = ":function:" in resource
    # arn:aws:states:::aws-sdk:ecs:describeServices is of type aws-sdk:ecs.
    kind, _, name = resource.partition(":::")[2].rpartition(":")
    details: Data = {} if function else {"resourceType": kind, "resource": name}
    if isinstance(about, _ExecutionError):
        details |= {"error": about.error, "cause": about.cause}
    elif what == "Scheduled":
        details |= {"input" if function else "parameters": json.dumps(about)}
        details |= {"resource": resource} if function else {"region": get_region()}
    elif what in ("Submitted", "Succeeded"):
        details["output"] = json.dumps(about)
    event = f"{'LambdaFunction' if function else 'Task'}{what}"
    key = f"{event[0].lower()}{event[1:]}EventDetails"
    stepfunctions._add_event(execution, event, {key: details} if details else None)


# Task tokens: https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
# -------------------------------------------------------------------------------------------------


def _call_back(
    resource: str,
    arguments: Any,
    token: str,
    limit: float | None,
    report: Callable[..., None],
) -> Any:
    """Invoke, then wait for what comes first: the token's result, a failure, the end of time."""
    run = _current.get()
    inbox: queue.SimpleQueue[Data] = queue.SimpleQueue()
    due = time.monotonic() + limit if limit else None
    with _lock:
        _open[token] = inbox
    run.waiting.add(inbox)
    try:
        report("Started")
        _invoke(resource.removesuffix(_CALLBACK), arguments, inbox)
        while True:
            if run.over.is_set():
                raise _Stopped
            left = max(0, due - time.monotonic()) if due else None
            try:
                message = inbox.get(timeout=left)
            except queue.Empty:
                raise _ExecutionError("States.Timeout", "") from None
            if "error" in message:
                raise message["error"]
            if "result" in message:
                return message["result"]
            if "submitted" in message:
                report("Submitted", message["submitted"])
    finally:
        run.waiting.discard(inbox)
        with _lock:
            _open.pop(token, None)
            _closed.add(token)


def _invoke(resource: str, arguments: Any, inbox: "queue.SimpleQueue[Data]") -> None:
    """Begin the call; its outcome arrives in the inbox."""

    def invoke() -> None:
        try:
            inbox.put({"submitted": stepfunctions._invoke_resource(resource, arguments)})
        except _ExecutionError as error:
            inbox.put({"error": error})
        except Exception as error:
            inbox.put({"error": _ExecutionError("States.Runtime", str(error))})

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(invoke,), daemon=True).start()


def _deliver(original: Call, data: Data, message: Data) -> Any:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html"""
    token = data.get("taskToken", "")
    with _lock:
        inbox = _open.pop(token, None)
        if inbox:
            _closed.add(token)
    if inbox:
        inbox.put(message)
        return json_response({})
    if token in _closed:
        gone = "Task Timed Out: 'Provided task does not exist anymore'"
        return error_response_json("TaskTimedOut", gone, 400)
    if token in stepfunctions._task_tokens:  # an activity's, or a JSONPath task's
        return original(data)
    return error_response_json("InvalidToken", "Invalid Token: 'Invalid token'", 400)


@shim.wraps(stepfunctions, "_send_task_success", "data")
def _send_task_success(original: Call, data: Data) -> Any:
    return _deliver(original, data, {"result": json.loads(data["output"])})


@shim.wraps(stepfunctions, "_send_task_failure", "data")
def _send_task_failure(original: Call, data: Data) -> Any:
    error = _ExecutionError(data.get("error", ""), data.get("cause", ""))
    return _deliver(original, data, {"error": error})


# The other states and their expressions
# https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
# -------------------------------------------------------------------------------------------------


@shim.wraps(stepfunctions, "_apply_output_path", "state_def data ctx")
def _apply_output_path(original: Call, state: Data, data: Any, ctx: Any = None) -> Any:
    """`Output` on Succeed."""
    if (
        state.get("Type") == "Succeed"
        and stepfunctions._state_query_language(state, ctx) == "JSONata"
    ):
        return stepfunctions._apply_jsonata_output(state, data, ctx, default=data)
    return original(state, data, ctx)


@shim.wraps(stepfunctions, "_execute_choice", "state_def raw_input ctx")
def _execute_choice(original: Call, state: Data, given: Any, ctx: Any = None) -> Step:
    """Conditions are boolean; `Output` and `Assign` of the state belong to its default."""
    if stepfunctions._state_query_language(state, ctx) != "JSONata":
        return original(state, given, ctx)
    for choice in state["Choices"]:
        if stepfunctions._jsonata_state_field(choice, "Condition", "boolean", given, ctx):
            return _leave(choice, given, ctx), choice["Next"]
    if "Default" not in state:
        raise _ExecutionError("States.NoChoiceMatched", "No choice rule matched and no Default")
    return _leave(state, given, ctx), state["Default"]


def _leave(state: Data, given: Any, ctx: Data) -> Any:
    output = stepfunctions._apply_jsonata_output(state, given, ctx, default=given)
    _apply_state_assign(state, given, ctx)
    return output


@shim.replaces(stepfunctions, "_apply_state_assign", "state_def raw_input ctx result error_output")
def _apply_state_assign(
    state_def: Data, raw_input: Any, ctx: Any, result: Any = None, error_output: Any = None
) -> None:
    language = stepfunctions._state_query_language(state_def, ctx)
    if ctx is not None and language == "JSONata" and "Assign" in state_def:
        assigned = stepfunctions._apply_jsonata_template(
            state_def["Assign"], raw_input, ctx, result=result, error_output=error_output
        )
        ctx.setdefault("variables", {}).update(assigned)


# The role: https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
# -------------------------------------------------------------------------------------------------


def _allow(action: str, resource: str, error: str, keys: Mapping[str, str] | None = None) -> None:
    """Raise `error` unless the role of the current execution allows the action.

    `keys` are the request's condition keys, in lower case.
    """
    run, sender = _current.get(), "states.amazonaws.com"
    machine = run.execution["stateMachineArn"]
    if why := roles.denial(run.role, sender, action, resource, source=machine, keys=keys):
        raise _ExecutionError(error, why)


def _allow_call(service: str, action: str, data: Any, error: str) -> None:
    resource = iam_actions.extract_resource_arn(
        service,
        "POST",
        "/",
        {"x-amz-target": f"{service}.{action}"},
        json.dumps(data).encode(),
        {k: [v] for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {},
        get_region(),
        get_account_id(),
    )
    namespace = iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service, service)
    _allow(f"{namespace}:{action}", resource, error)


@shim.wraps(stepfunctions, "_call_lambda", "func_ref event")
def _call_lambda(original: Call, func_ref: str, event: Any) -> Any:
    function = func_ref
    if not function.startswith("arn:"):
        function = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{function}"
    _allow("lambda:InvokeFunction", function, "Lambda.AWSLambdaException")
    return original(func_ref, event)


@shim.wraps(stepfunctions, "_dispatch_aws_sdk_json", "service_info service_name action input_data")
def _dispatch_aws_sdk_json(
    original: Call, service_info: Data, service_name: str, action: str, input_data: Any
) -> Any:
    service = service_info.get("service_key", service_name)
    name = stepfunctions._prefix_sdk_error(service_name, "AccessDeniedException")
    wire = stepfunctions._sdk_json_params(
        service_info, service, action[0].upper() + action[1:], input_data
    )
    _allow_call(service, action[0].upper() + action[1:], wire, name)
    return original(service_info, service_name, action, input_data)


@shim.wraps(stepfunctions, "_prefix_sdk_error", "service_name error_code")
def _prefix_sdk_error(original: Call, service_name: str, error_code: str) -> str:
    """Errors have the names of the AWS SDK for Java, whose exceptions all end in Exception.

    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """
    name = str(original(service_name, error_code))
    own = name.startswith("States.") or name.endswith("Exception") or service_name == "ec2"
    return name if own else f"{name}Exception"


@shim.wraps(stepfunctions, "_invoke_dynamodb", "op_name input_data")
def _invoke_dynamodb(original: Call, op_name: str, input_data: Any) -> Any:
    action = op_name[0].upper() + op_name[1:]
    _allow_call("dynamodb", action, input_data, "DynamoDB.AmazonDynamoDBException")
    return original(op_name, input_data)
