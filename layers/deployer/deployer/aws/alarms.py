"""CloudWatch alarms on a database."""

from collections.abc import Collection
from typing import Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused
from deployer.deploy import database


def _cloudwatch() -> Any:
    return client("cloudwatch")


def follow(service: str, instances: Collection[str], instance: str) -> bool:
    """Let the alarms of a service's monitoring stack watch another database instance.

    Args:
        instances: those that they may watch now.
    Returns:
        False if that is not permitted.
    """
    try:
        pages = (
            _cloudwatch()
            .get_paginator("describe_alarms")
            .paginate(AlarmNamePrefix=f"{service}-monitoring-", AlarmTypes=["MetricAlarm"])
        )
        for alarm in (alarm for page in pages for alarm in page["MetricAlarms"]):
            if moved := database.watching(alarm, instances, instance):
                _cloudwatch().put_metric_alarm(**_settings(moved))
    except ClientError as error:
        if not refused(error):
            raise
        return False
    return True


def _settings(alarm: dict[str, Any]) -> dict[str, Any]:
    """What PutMetricAlarm takes of an alarm as DescribeAlarms shows it."""
    shape = _cloudwatch().meta.service_model.operation_model("PutMetricAlarm").input_shape
    return {name: alarm[name] for name in shape.members if alarm.get(name) not in (None, [], "")}
