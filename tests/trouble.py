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
    found = [getattr(value, "stage", value) for value in fixtures.values()]
    stages = [stage for stage in found if isinstance(stage, module.Stage)]
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
        ours = (found for found in looked if stage.service in str(found.input))
        for found, _ in zip(ours, range(_EXECUTIONS), strict=False):
            yield f"{found.arn.rpartition(':')[2]} {found.status} after {found.seconds:.1f} s"
            if found.error:
                yield f"  {found.error}: {found.cause}"
            yield from (f"  {state.at:7.2f} s {state.name}" for state in found.states)


def _records(stage: "Stage") -> Iterator[str]:
    for service in (stage.service, f"build:{stage.service}", f"docs:{stage.service}"):
        for item in stage.items(service):
            yield f"{item.pop('service')} {item.pop('id')}: {item}"


def _logs(stage: "Stage") -> Iterator[str]:
    logs = stage.aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate()
    for group in (found["logGroupName"] for page in pages for found in page["logGroups"]):
        events = logs.filter_log_events(logGroupName=group)["events"]
        said = [event["message"].rstrip() for event in events]
        if group.startswith("/ecs/"):
            told = said if group.endswith(f"/{stage.service}") else []
        else:
            told = [line for line in said if any(w in line for w in ("ERROR", "WARNING", "error"))]
        yield from (f"{group}: {line}" for line in told[-_LINES:])
