"""What a person needs to know when a test on the local AWS fails."""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demo.stage import Stage

_MACHINES = ("StateMachine", "BuildStateMachine", "DocsStateMachine")
_EXECUTIONS = 3
_LINES = 15


def stage_in(fixtures: Mapping[str, Any]) -> "Stage | None":
    """The service that a test is about, found among its fixtures."""
    module = sys.modules.get("demo.stage")
    if module is None:
        return None
    matches = [getattr(value, "stage", value) for value in fixtures.values()]
    stages = [stage for stage in matches if isinstance(stage, module.Stage)]
    return max(stages, key=lambda stage: stage.service != stage.cluster, default=None)


def explain(stage: "Stage") -> str:
    """Its executions with their states, its records, and the functions' last warnings."""
    lines: list[str] = []
    for part in (_executions, _records, _logs):
        try:
            lines += part(stage)
        except Exception as error:  # it must not hide the failure that it explains
            lines.append(f"({part.__name__.strip('_')} can't be shown: {error!r})")
    return "\n".join(lines)


def _executions(stage: "Stage") -> Iterator[str]:
    for machine in _MACHINES:
        if machine not in stage.outputs:
            continue
        looked = (stage.look(arn) for arn in stage.executions(machine))
        ours = (item for item in looked if stage.service in str(item.input))
        for item, _ in zip(ours, range(_EXECUTIONS), strict=False):
            yield f"{item.arn.rpartition(':')[2]} {item.status} after {item.seconds:.1f} s"
            if item.error:
                yield f"  {item.error}: {item.cause}"
            yield from (f"  {state.at:7.2f} s {state.name}" for state in item.states)


def _records(stage: "Stage") -> Iterator[str]:
    for service in (stage.service, f"build:{stage.service}", f"docs:{stage.service}"):
        for item in stage.items(service):
            yield f"{item.pop('service')} {item.pop('id')}: {item}"


def _logs(stage: "Stage") -> Iterator[str]:
    logs = stage.aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate()
    for group in (item["logGroupName"] for page in pages for item in page["logGroups"]):
        events = logs.filter_log_events(logGroupName=group)["events"]
        message = [event["message"].rstrip() for event in events]
        if group.startswith("/ecs/"):
            output = message if group.endswith(f"/{stage.service}") else []
        else:
            output = [
                line for line in message if any(w in line for w in ("ERROR", "WARNING", "error"))
            ]
        yield from (f"{group}: {line}" for line in output[-_LINES:])
