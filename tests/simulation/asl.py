"""An interpreter of the part of the Amazon States Language that the state machines here use.

Follows https://docs.aws.amazon.com/step-functions/latest/dg/ (Task, Choice, Wait, Pass, Succeed,
Fail; Handling errors; Wait for a Callback with Task Token; Passing data with variables) and
https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html for JSONata. A field or
a state that it does not know is an error when the definition is read, not a thing passed over.
"""

import hashlib
import json
import marshal
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jsonata

LIMIT = 262_144  # bytes that a state may take or give
_LONGEST = 6  # characters of JSON that one byte may take: "\\u001f"
_MISSING: Any = ...
_NAME = re.compile(r"\$[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?!\w*\()")
_UNCAUGHT = ("States.DataLimitExceeded", "States.Runtime")
_COMMON = {"Type", "Comment", "QueryLanguage"}
_FIELDS = {
    "Pass": {"Assign", "Next"},
    "Task": {"Resource", "Arguments", "TimeoutSeconds", "Assign", "Retry", "Catch", "Next"},
    "Choice": {"Choices", "Default", "Assign"},
    "Wait": {"Seconds", "Next"},
    "Succeed": set[str](),
    "Fail": {"Error", "Cause"},
}
_CALLBACK = "arn:${Partition}:states:::lambda:invoke.waitForTaskToken"

type Scope = Mapping[str, Any]
type Compiled = Callable[[Scope], Any]


class StateError(Exception):
    """A state failed, under the name by which Retry and Catch know it."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error, cause)
        self.error, self.cause = error, cause


class Over(BaseException):
    """The execution was stopped or ran out of time; no Catch sees that."""


class Host(Protocol):
    """What an execution needs of the world around it."""

    def now_text(self) -> str: ...
    def sleep(self, seconds: float) -> None: ...
    def call(self, function: str, payload: bytes, timeout: float) -> Any: ...
    def call_back(
        self, function: str, arguments: Callable[[str], bytes], timeout: float
    ) -> Any: ...
    def integrate(self, action: str, arguments: Any, timeout: float) -> Any: ...
    def entered(self, name: str) -> None: ...
    def jitter(self) -> float: ...


class Expression:
    """A JSONata expression, compiled once.

    A path such as `$states.input.a` is walked here. Any other expression depends only on the paths
    that it names, so what the library made of the same values before is kept.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.plain = _NAME.fullmatch(text) is not None
        self.paths = [tuple(name[1:].split(".")) for name in dict.fromkeys(_NAME.findall(text))]
        self._compiled = jsonata.Jsonata(text)
        self._exists = jsonata.Jsonata(f"$exists(({text}))")
        self._known: dict[bytes, Any] = {}

    def __call__(self, scope: Scope) -> Any:
        values = [_walk(scope, path) for path in self.paths]
        if self.plain and values[0] is not _MISSING:
            return values[0]
        if "$now()" in self.text:
            return self.by_the_library(scope)
        key = marshal.dumps(values, 2)
        if key not in self._known:
            self._known[key] = self.by_the_library(scope)
        return self._known[key]

    def by_the_library(self, scope: Scope) -> Any:
        null = jsonata.utils.Utils.NULL_VALUE
        bound = {name: null if value is None else value for name, value in scope.items()}
        now = bound.pop("$now", None)
        try:
            self._compiled.register_lambda("now", lambda *_: now())
            self._compiled.register_lambda("hash", _hash)
            value = self._compiled.evaluate(None, bound)
        except Exception as error:
            raise StateError("States.QueryEvaluationError", f"{self.text}: {error}") from error
        if value is None and not self._exists.evaluate(None, bound):
            raise StateError("States.QueryEvaluationError", f"{self.text} gives nothing")
        return value


def _hash(text: str, algorithm: str) -> str:
    """https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html"""
    return hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest()


def _walk(scope: Scope, path: tuple[str, ...]) -> Any:
    value: Any = scope
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return _MISSING
        value = value[name]
    return value


def compile_template(template: Any) -> Compiled:
    """A field's value with `{% %}` in it, as a function of the scope."""
    if isinstance(template, str) and template.startswith("{%"):
        return Expression(template[2:-2].strip())
    if isinstance(template, dict):
        parts = {name: compile_template(value) for name, value in template.items()}
        return lambda scope: {name: part(scope) for name, part in parts.items()}
    if isinstance(template, list):
        items = [compile_template(value) for value in template]
        return lambda scope: [item(scope) for item in items]
    return lambda scope: template


class Machine:
    """A state machine's definition, read and compiled.

    functions  the Lambda's name by what the definition has in its place, such as `${AcquireLock}`.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        extra = definition.keys() - {
            "Comment", "QueryLanguage", "TimeoutSeconds", "StartAt", "States",
        }  # fmt: skip
        if extra or definition.get("QueryLanguage") != "JSONata":
            raise NotImplementedError(f"the state machine has {extra or 'no JSONata'}")
        self.timeout: float = definition["TimeoutSeconds"]
        self.start: str = definition["StartAt"]
        self.states = {name: _State(state) for name, state in definition["States"].items()}


class _State:
    def __init__(self, given: Mapping[str, Any]) -> None:
        self.kind: str = given["Type"]
        unknown = given.keys() - _COMMON - _FIELDS.get(self.kind, set())
        if self.kind not in _FIELDS or unknown:
            raise NotImplementedError(f"a {self.kind} state with {sorted(unknown)}")
        self.next: str = given.get("Next") or given.get("Default", "")
        self.assign = compile_template(given["Assign"]) if "Assign" in given else None
        self.choices = [
            (compile_template(c["Condition"]), c["Next"]) for c in given.get("Choices", ())
        ]
        self.seconds = compile_template(given.get("Seconds", 0))
        self.timeout: float = given.get("TimeoutSeconds", 99_999_999)
        self.retry: list[Mapping[str, Any]] = given.get("Retry", [])
        self.catch = [
            (c["ErrorEquals"], compile_template(c.get("Assign", {})), c["Next"])
            for c in given.get("Catch", ())
        ]
        self.error = compile_template(given.get("Error", ""))
        self.cause = compile_template(given.get("Cause", ""))
        self.resource: str = given.get("Resource", "")
        self.callback = self.resource == _CALLBACK
        self.integration = "" if self.callback else self.resource.partition(":::")[2]
        arguments = given.get("Arguments", {})
        if self.callback:
            self.function: str = arguments["FunctionName"][2:-1]
            arguments = arguments["Payload"]
        else:
            self.function = self.resource[2:-1]
        self.arguments = compile_template(arguments)


def names(error: str, equals: list[str]) -> bool:
    """Whether a retrier or catcher that names these errors is for this one."""
    if error in equals:
        return True
    if error in _UNCAUGHT:
        return False
    return "States.ALL" in equals or ("States.TaskFailed" in equals and error != "States.Timeout")


class Run:
    """One execution of a machine, from its input to its end. Raises StateError if it fails.

    Called again after it ended, it is redriven: it goes on with the state that it was in, whose
    retries count from none (https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html).
    """

    def __init__(
        self, machine: Machine, host: Host, context: Mapping[str, Any], given: Any
    ) -> None:
        self._machine, self._host = machine, host
        self._context = {"Execution": context}
        self.variables: dict[str, Any] = {}
        self._at = machine.start, given

    def __call__(self) -> Any:
        while True:
            name, value = self._at
            self._host.entered(name)
            state = self._machine.states[name]
            if state.kind == "Succeed":
                return value
            if state.kind == "Fail":
                scope = self._scope(value)
                raise StateError(state.error(scope), state.cause(scope))
            self._at = self._pass(state, value)

    def _pass(self, state: _State, value: Any) -> tuple[str, Any]:
        if state.kind == "Choice":
            scope = self._scope(value)
            for condition, following in state.choices:
                chosen = condition(scope)
                if not isinstance(chosen, bool):
                    raise StateError("States.QueryEvaluationError", f"no boolean: {chosen}")
                if chosen:
                    return following, value
            self._assign(state.assign, self._scope(value))
            return state.next, value
        if state.kind == "Wait":
            self._host.sleep(state.seconds(self._scope(value)))
            return state.next, value
        if state.kind == "Pass":
            self._assign(state.assign, self._scope(value))
            return state.next, value
        return self._task(state, value)

    def _task(self, state: _State, value: Any) -> tuple[str, Any]:
        counts = [0] * len(state.retry)
        while True:
            named = {"Name": self._at[0], "RetryCount": sum(counts)}
            self._context = {**self._context, "State": named}
            try:
                result = self._attempt(state, value)
                self._assign(state.assign, self._scope(value, result=result))
                return state.next, result
            except StateError as error:
                again = self._again(state, error, counts)
                if again is not None:
                    self._host.sleep(again)
                    continue
                output = {"Error": error.error, "Cause": error.cause}
                for equals, assign, following in state.catch:
                    if names(error.error, equals):
                        self._assign(assign, self._scope(value, errorOutput=output))
                        return following, output
                raise

    def _again(self, state: _State, error: StateError, counts: list[int]) -> float | None:
        """Seconds until the next attempt; None if there is none."""
        for index, retrier in enumerate(state.retry):
            if names(error.error, retrier["ErrorEquals"]):
                if counts[index] >= retrier["MaxAttempts"]:
                    return None
                delay: float = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** counts[index]
                counts[index] += 1
                delay = min(delay, retrier.get("MaxDelaySeconds", delay))
                return delay * self._host.jitter() if "JitterStrategy" in retrier else delay
        return None

    def _attempt(self, state: _State, value: Any) -> Any:
        scope = self._scope(value)
        if state.integration:
            return self._host.integrate(state.integration, state.arguments(scope), state.timeout)
        if not state.callback:
            payload = packed(state.arguments(scope))
            return self._host.call(state.function, payload, state.timeout)

        def payload_with(token: str) -> bytes:
            context = {**self._context, "Task": {"Token": token}}
            return packed(state.arguments(self._scope(value, context=context)))

        return self._host.call_back(state.function, payload_with, state.timeout)

    def _scope(self, value: Any, **more: Any) -> Scope:
        states = {"input": value, "context": self._context, **more}
        return {**self.variables, "states": states, "$now": self._host.now_text}

    def _assign(self, assign: Compiled | None, scope: Scope) -> None:
        if assign:
            self.variables.update(assign(scope))


def packed(value: Any) -> bytes:
    """What JSON can say, for somebody who may change it: by marshal, which takes a third of JSON's
    time. Raises StateError if its JSON is longer than a state may take."""
    result = marshal.dumps(value, 2)
    if len(result) * _LONGEST > LIMIT and len(json.dumps(value)) > LIMIT:
        raise StateError("States.DataLimitExceeded", f"{len(json.dumps(value))} characters")
    return result
