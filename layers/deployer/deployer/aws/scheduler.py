"""Schedules in EventBridge Scheduler."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from deployer.aws import client
from deployer.deploy.schedules import Change
from deployer.errors import AwsUnavailable, SchedulesFailed

_GIVEN_BY_AWS = ("Arn", "CreationDate", "LastModificationDate", "ResponseMetadata")
_NAMES = ("GroupName", "Name")


def _scheduler() -> Any:
    return client("scheduler")


def schedules(group: str) -> dict[str, dict[str, Any]]:
    """Return the schedules of a group by name, as UpdateSchedule takes them; {} without the group.

    Times are ISO 8601.
    """
    missing = _scheduler().exceptions.ResourceNotFoundException
    schedules_by_name = {}
    with contextlib.suppress(missing):
        pages = _scheduler().get_paginator("list_schedules").paginate(GroupName=group)
        for name in sorted(entry["Name"] for page in pages for entry in page["Schedules"]):
            with contextlib.suppress(missing):  # somebody has deleted it since
                schedules_by_name[name] = _fields(
                    _scheduler().get_schedule(GroupName=group, Name=name)
                )
    return schedules_by_name


def _fields(described: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in described.items()
        if name not in (*_GIVEN_BY_AWS, *_NAMES)
    }


def change(group: str, change: Change) -> None:
    """Create, update or delete a schedule of a group; create the group if it is missing.

    Raises:
        AwsUnavailable: it was created, changed or deleted at the same time.
        SchedulesFailed: Scheduler does not take it.
    """
    names = {"GroupName": group, "Name": change.name}
    with _refusals(change.name):
        if change.wanted is None:
            with contextlib.suppress(_scheduler().exceptions.ResourceNotFoundException):
                _scheduler().delete_schedule(**names)
        elif change.exists:
            _scheduler().update_schedule(**names, **change.wanted)
        else:
            _create(group, {**names, **change.wanted})


def _create(group: str, request: dict[str, Any]) -> None:
    try:
        _scheduler().create_schedule(**request)
    except _scheduler().exceptions.ResourceNotFoundException:
        with contextlib.suppress(_scheduler().exceptions.ConflictException):
            _scheduler().create_schedule_group(Name=group)
        _scheduler().create_schedule(**request)


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    known = _scheduler().exceptions
    try:
        yield
    except (known.ConflictException, known.ResourceNotFoundException) as error:
        raise AwsUnavailable(f"schedule {name} is being changed: {error}") from error
    except (known.ValidationException, known.ServiceQuotaExceededException) as error:
        message = error.response["Error"].get("Message", f"{error}")
        raise SchedulesFailed(f"schedule {name} was refused: {message}") from error
