"""An execution of a state machine as it stands, from its description and its history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class State:
    """A state that an execution entered; times are seconds since the execution started.

    kind is Task, Choice, Pass, Wait, Succeed or Fail. While the execution is in it, `left` and
    `output` are None. `tries` is how often a task was begun.
    """

    name: str
    at: float
    kind: str = "Task"
    left: float | None = None
    output: Any = None
    tries: int = 0


@dataclass(frozen=True)
class Execution:
    """An execution of a state machine as it stands."""

    arn: str
    status: str
    input: Any
    error: str
    cause: str
    output: Any
    states: Sequence[State]
    seconds: float

    @property
    def path(self) -> list[str]:
        """The names of the states entered, a state that repeats itself named once."""
        names = [state.name for state in self.states]
        return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]


def look(sfn: Any, arn: str) -> Execution:
    """An execution as it stands. `sfn`: a client of Step Functions."""
    told = sfn.describe_execution(executionArn=arn)
    pages = sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
    events = [event for page in pages for event in page["events"]]
    begun = told["startDate"]
    return Execution(
        arn=arn,
        status=told["status"],
        input=json.loads(told["input"]),
        error=told.get("error", ""),
        cause=told.get("cause", ""),
        output=json.loads(told["output"]) if told.get("output") else None,
        states=states(events, begun),
        seconds=(events[-1]["timestamp"] - begun).total_seconds() if events else 0.0,
    )


def states(events: Sequence[Mapping[str, Any]], begun: datetime) -> list[State]:
    """The states in an execution's history. There are no parallel ones."""
    found: list[State] = []
    for event in events:
        at = (event["timestamp"] - begun).total_seconds()
        if entered := event.get("stateEnteredEventDetails"):
            kind = event["type"].removesuffix("StateEntered")
            found.append(State(entered["name"], at, kind))
        elif event["type"] in ("TaskScheduled", "LambdaFunctionScheduled") and found:
            found[-1] = replace(found[-1], tries=found[-1].tries + 1)
        elif exited := event.get("stateExitedEventDetails"):
            output = json.loads(exited["output"]) if exited.get("output") else None
            found[-1] = replace(found[-1], left=at, output=output)
    return found
