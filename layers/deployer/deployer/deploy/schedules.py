"""A service's scheduled tasks: the schedules in EventBridge Scheduler that follow its release.

They are in a schedule group of the service's own, so all that is in it is the deployer's. A
schedule runs a task of the release that is live: it is changed after the verification, and a
rollback restores it. Documents are in the shape of GetSchedule.
https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html

Imports decisions only, no AWS.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from deployer.deploy import documents
from deployer.deploy.documents import Document
from deployer.errors import SchedulesFailed
from deployer.redaction import STRUCK, redact, redact_all

if TYPE_CHECKING:
    from deployer.deploy.rollback import Rollback
    from deployer.deploy.rollout import Service
    from deployer.deploy.spec import ServiceSpec

type Schedules = Mapping[str, Document]
"""Schedules by name, in the shape of GetSchedule, without their name, group, ARN and dates."""

# What a new one has. Scheduler tries for an hour to run a task, and then leaves it to the next
# time; by default it would for a day. A team may set others by hand.
_AT_FIRST: Document = {
    "State": "ENABLED",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {
        "EcsParameters": {"TaskCount": 1},
        "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 185},
    },
}
# The service alone says which of these its tasks have.
_AS_THE_SERVICE = (
    *("CapacityProviderStrategy", "LaunchType", "NetworkConfiguration", "PlatformVersion"),
)


class Note(TypedDict):
    """What a release's record keeps before its schedules are changed.

    `before` are the schedules as they were, and `names` those that the release has.
    """

    before: Schedules
    names: list[str]


@dataclass(frozen=True)
class Change:
    """A schedule to write or to delete.

    Attributes:
        wanted: what it is to be; None to delete it.
        exists: whether it exists now.
    """

    name: str
    wanted: Document | None
    exists: bool

    @property
    def what(self) -> str:
        """In words, such as for a dry run."""
        if self.wanted is None:
            return "deleted"
        return "updated" if self.exists else "created"


def group(service: str) -> str:
    """Return the name of a service's schedule group."""
    return f"deployer-{service}"


def role_name(service: str) -> str:
    """Return the name of the role in which Scheduler runs a service's tasks."""
    return f"{service}-schedules"


def role(spec: "ServiceSpec", of: str) -> str:
    """Return the ARN of the role in which Scheduler runs a service's tasks.

    Args:
        of: any ARN in the account.
    """
    _, partition, _, _, account, *_ = of.split(":")
    return f"arn:{partition}:iam::{account}:role/{role_name(spec.service)}"


def may_exist(spec: "ServiceSpec", history: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a service has schedules by its spec or by the newest record that tells.

    Args:
        history: the records, newest first.
    """
    notes = (entry["schedules"] for entry in history if entry.get("schedules"))
    newest = next(notes, None)
    return bool(spec.schedules or (newest and (newest["names"] or newest["before"])))


def planned(
    spec: "ServiceSpec",
    current: Schedules,
    placement: Document,
    definition: Document,
    revision: str,
    now: datetime,
) -> dict[str, Document]:
    """Return the schedules that a service has when it runs a revision.

    What the spec does not say of a schedule stays as somebody set it: whether it is enabled, its
    retries, its dead-letter queue.

    Args:
        placement: where the service's tasks run, as RunTask takes it.
        definition: the revision, with its containers.
    Raises:
        SchedulesFailed: the revision lacks a container that the spec names.
    """
    return {
        name: _planned(spec, name, current.get(name), placement, definition, revision, now)
        for name in spec.schedules
    }


def _planned(
    spec: "ServiceSpec",
    name: str,
    current: Document | None,
    placement: Document,
    definition: Document,
    revision: str,
    now: datetime,
) -> Document:
    schedule = spec.schedules[name]
    if missing := documents.no_container(schedule.container, definition):
        raise SchedulesFailed(f"schedules.{name}.container: {missing}")
    container = schedule.container or documents.release_container(spec, definition)
    kept = current or _AT_FIRST
    target = kept["Target"]
    parameters = {
        field: value
        for field, value in target.get("EcsParameters", {}).items()
        if field not in _AS_THE_SERVICE
    }
    command = {"name": container, "command": [*schedule.command]}
    return {
        **_upcoming(kept, now),
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.timezone,
        "Target": {
            **target,
            "Arn": _cluster(revision, spec.cluster),
            "RoleArn": role(spec, revision),
            "Input": json.dumps({"containerOverrides": [command]}),
            "EcsParameters": {
                **parameters,
                **_placement(placement),
                "Group": f"deployer-schedule:{name}",
                "TaskDefinitionArn": revision,
            },
        },
    }


def _upcoming(schedule: Document, now: datetime) -> dict[str, Any]:
    """Return a schedule without a start that is over, which Scheduler refuses in a request."""
    start = schedule.get("StartDate")
    over = start is not None and datetime.fromisoformat(start) <= now
    return {n: value for n, value in schedule.items() if not (over and n == "StartDate")}


def _cluster(revision: str, name: str) -> str:
    return f"{revision.partition(':task-definition/')[0]}:cluster/{name}"


def _placement(placement: Document) -> dict[str, Any]:
    """Return in Scheduler's shape where tasks run; ECS takes either providers or a launch type."""
    fields: dict[str, Any] = {}
    vpc = documents.vpc(placement)
    if vpc:
        inner = {f"{name[:1].upper()}{name[1:]}": value for name, value in vpc.items()}
        fields["NetworkConfiguration"] = {"awsvpcConfiguration": inner}
    if placement.get("capacityProviderStrategy"):
        fields["CapacityProviderStrategy"] = placement["capacityProviderStrategy"]
    elif placement.get("launchType"):
        fields["LaunchType"] = placement["launchType"]
    if placement.get("platformVersion"):
        fields["PlatformVersion"] = placement["platformVersion"]
    return fields


def changes(current: Schedules, wanted: Schedules) -> list[Change]:
    """Return what makes the schedules of a group those that are wanted; the order is kept."""
    written = [
        Change(name, schedule, name in current)
        for name, schedule in wanted.items()
        if current.get(name) is None or not _same(current[name], schedule)
    ]
    return written + [Change(name, None, exists=True) for name in current if name not in wanted]


def _same(current: Document, wanted: Document) -> bool:
    """Return whether a schedule is as wanted; AWS adds fields of its own to what it was sent."""
    return all(_equal(current.get(name), value) for name, value in wanted.items())


def _equal(current: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(current, Mapping):
        return _same(current, wanted)
    return bool(current == wanted)


# A rollback ---------------------------------------------------------------------------------------


def note(current: Schedules, wanted: Schedules) -> Note:
    """Return what the record keeps before a change: the schedules as they are, without secrets."""
    return {"before": redact_all(dict(current), by_name=False), "names": [*wanted]}


def stays(
    rollback: "Rollback", service: "Service | None", revision: str | None, previous: str | None
) -> bool:
    """Return whether the service still runs a release that failed, so that its schedules should.

    Args:
        rollback: what was decided.
        service: the service now; only needed if the rollback failed itself.
        revision: the release's.
        previous: the revision of the release before it.
    """
    if "failure" not in rollback:
        return rollback.get("stays", False)
    rollouts = (service or {}).get("deployments", ())
    runs = next((one["taskDefinition"] for one in rollouts if one["status"] == "PRIMARY"), None)
    return revision is not None and runs == revision != previous


def before(note: Note, current: Schedules, now: datetime) -> dict[str, Document]:
    """Return the schedules as they were before a release changed them.

    What somebody else has added to the group meanwhile stays.

    Raises:
        SchedulesFailed: a command with a credential in it, which no record holds, is not there
            any more.
    """
    others = {
        name: schedule
        for name, schedule in current.items()
        if name not in note["names"] and name not in note["before"]
    }
    return others | {
        name: _unredacted(name, _upcoming(schedule, now), current.get(name, {}))
        for name, schedule in note["before"].items()
    }


def _unredacted(name: str, schedule: dict[str, Any], current: Document) -> dict[str, Any]:
    """Return a schedule with its command as it was, which the release left as it is mostly."""
    command = current.get("Target", {}).get("Input")
    same = redact_all(command, by_name=False) == schedule["Target"].get("Input")
    if same:
        return {**schedule, "Target": {**schedule["Target"], "Input": command}}
    if STRUCK in schedule["Target"].get("Input", ""):
        raise SchedulesFailed(
            f"schedule {name} had a credential in its command, which is kept nowhere"
        )
    return schedule


# What is shown ------------------------------------------------------------------------------------


def runs(schedule: Document) -> str:
    """Return the revision that a schedule runs, such as `shop-releases:12`."""
    target = schedule.get("Target", {}).get("EcsParameters", {})
    return str(target.get("TaskDefinitionArn", "no task")).rpartition("/")[2]


def command(schedule: Document) -> str:
    """Return the command of a schedule, without secrets; "" if it has none."""
    try:
        overrides = json.loads(schedule.get("Target", {}).get("Input") or "{}")
        words = overrides["containerOverrides"][0]["command"]
        return redact(" ".join(words))
    except (ValueError, LookupError, TypeError):
        return ""


def timed(schedule: Document) -> str:
    """Return when a schedule fires, in its own words."""
    zone = schedule.get("ScheduleExpressionTimezone", "UTC")
    return f"{schedule.get('ScheduleExpression', '')}{'' if zone == 'UTC' else f' {zone}'}"


def outlook(spec: "ServiceSpec", current: Schedules) -> dict[str, str]:
    """Return in words what a release does with each schedule."""
    texts = {name: "would be deleted" for name in current if name not in spec.schedules}
    for name, schedule in spec.schedules.items():
        zone = "" if schedule.timezone == "UTC" else f" {schedule.timezone}"
        task = redact(" ".join(schedule.command))
        how = "would run the release" if name in current else "would be created"
        texts[name] = f"{how}: {schedule.expression}{zone}, '{task}'"
    return texts


def drift(current: Schedules, wanted: Schedules) -> Iterator[str]:
    """Yield in words how the schedules in Scheduler differ from those of the live release."""
    for change in changes(current, wanted):
        there = current.get(change.name)
        if there is None:
            yield f"schedule {change.name} is missing"
        elif change.wanted is None:
            yield f"schedule {change.name} is not in the service spec"
        elif runs(there) != runs(change.wanted):
            yield (f"schedule {change.name} runs {runs(there)}, and {runs(change.wanted)} is live")
        elif timed(there) != timed(change.wanted):
            yield (
                f"schedule {change.name} is {timed(there)}, and the spec says"
                f" {timed(change.wanted)}"
            )
        elif command(there) != command(change.wanted):
            yield (
                f"schedule {change.name} runs '{command(there)}', and the spec says"
                f" '{command(change.wanted)}'"
            )
        else:
            yield f"schedule {change.name} has another target than the service's tasks"
