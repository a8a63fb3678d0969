"""CloudWatch alarms on a database."""

from collections.abc import Collection
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


def _settings(alarm: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a described alarm that PutMetricAlarm accepts."""
    shape = _cloudwatch().meta.service_model.operation_model("PutMetricAlarm").input_shape
    return {name: alarm[name] for name in shape.members if alarm.get(name) not in (None, [], "")}
