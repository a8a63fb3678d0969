"""The state of an execution of a state machine, from its description and its history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class State:
    """A state that an execution entered; times are seconds since the execution started.

    kind is Task, Choice, Pass, Wait, Succeed or Fail. While the execution is in it, `left` and
    `output` are None. `tries` is how often a task was begun, and `submitted` what the service that
    runs it answered at once: the build, for one that CodeBuild runs.
    """

    name: str
    at: float
    kind: str = "Task"
    left: float | None = None
    output: Any = None
    tries: int = 0
    submitted: Any = None


@dataclass(frozen=True)
class Execution:
    """The state of an execution of a state machine."""

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
        """Return the names of the entered states, without immediate repetitions."""
        names = [state.name for state in self.states]
        return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]


def look(sfn: Any, arn: str) -> Execution:
    """Return the state of an execution.

    Args:
        sfn: a client of Step Functions.
    """
    description = sfn.describe_execution(executionArn=arn)
    pages = sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
    events = [event for page in pages for event in page["events"]]
    started = description["startDate"]
    return Execution(
        arn=arn,
        status=description["status"],
        input=json.loads(description["input"]),
        error=description.get("error", ""),
        cause=description.get("cause", ""),
        output=json.loads(description["output"]) if description.get("output") else None,
        states=states(events, started),
        seconds=(events[-1]["timestamp"] - started).total_seconds() if events else 0.0,
    )


def states(events: Sequence[Mapping[str, Any]], started: datetime) -> list[State]:
    """Return the states in an execution's history. Parallel states are not supported."""
    entries: list[State] = []
    for event in events:
        at = (event["timestamp"] - started).total_seconds()
        if entered := event.get("stateEnteredEventDetails"):
            kind = event["type"].removesuffix("StateEntered")
            entries.append(State(entered["name"], at, kind))
        elif event["type"] in ("TaskScheduled", "LambdaFunctionScheduled") and entries:
            entries[-1] = replace(entries[-1], tries=entries[-1].tries + 1)
        elif (submitted := event.get("taskSubmittedEventDetails")) and entries:
            response = json.loads(submitted["output"]) if submitted.get("output") else None
            entries[-1] = replace(entries[-1], submitted=response)
        elif exited := event.get("stateExitedEventDetails"):
            output = json.loads(exited["output"]) if exited.get("output") else None
            entries[-1] = replace(entries[-1], left=at, output=output)
    return entries
