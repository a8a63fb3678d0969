"""CloudWatch alarms: those on a database, and those that a rollout must not raise."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused
from deployer.deploy import database


def _cloudwatch() -> Any:
    return client("cloudwatch")


def follow(service: str, instances: Collection[str], instance: str) -> bool:
    """Point the alarms of a service's monitoring stack at another database instance.

    Args:
        instances: the instances that the alarms may watch now.
    Returns:
        False if the role lacks permission.
    """
    try:
        pages = (
            _cloudwatch()
            .get_paginator("describe_alarms")
            .paginate(AlarmNamePrefix=f"{service}-monitoring-", AlarmTypes=["MetricAlarm"])
        )
        for alarm in (alarm for page in pages for alarm in page["MetricAlarms"]):
            if updated := database.watching(alarm, instances, instance):
                _cloudwatch().put_metric_alarm(**_settings(updated))
    except ClientError as error:
        if not refused(error):
            raise
        return False
    return True


def states(names: Sequence[str]) -> dict[str, str]:
    """Return the state of each alarm that exists: OK, ALARM or INSUFFICIENT_DATA, by its name."""
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in _described(names)}


def quiet(names: Sequence[str]) -> list[str]:
    """Return the alarms that are not raised now, in the order given.

    An alarm that is raised before a rollout says nothing about it, so it is not watched, as ECS
    does it (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html).
    """
    states_now = states(names)
    return [name for name in names if states_now.get(name) != "ALARM"]


def raised(names: Sequence[str]) -> list[str]:
    """Return in words which of the alarms are raised."""
    return [
        f"alarm {alarm['AlarmName']} is raised: {alarm.get('StateReason', 'without a reason')}"
        for alarm in _described(names)
        if alarm["StateValue"] == "ALARM"
    ]


def _described(names: Sequence[str]) -> list[Mapping[str, Any]]:
    if not names:
        return []
    pages = (
        _cloudwatch()
        .get_paginator("describe_alarms")
        .paginate(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    )
    return [
        alarm
        for page in pages
        for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ()))
    ]


def _settings(alarm: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a described alarm that PutMetricAlarm accepts."""
    shape = _cloudwatch().meta.service_model.operation_model("PutMetricAlarm").input_shape
    return {name: alarm[name] for name in shape.members if alarm.get(name) not in (None, [], "")}
