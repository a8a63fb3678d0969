"""Show the widget on a CloudWatch dashboard: all services, one, or one release. It only reads.

CloudWatch invokes it with the viewer's permissions, and shows the HTML that it returns:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import requests
from deployer.aws import ecs, ssm
from deployer.deploy import history, rollout, serving, spec, task_definitions
from deployer.deploy.overview import Document
from deployer.deploy.release import Recorded
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.task_definitions import Change
from deployer.errors import DeployError, RequestRejected
from deployer.log import Logger
from deployer.store import locks, releases
from deployer.usecases import read_overview
from deployer.widget import buttons, view
from deployer.widget.view import Widget

logger = Logger()

_NEWEST = 12  # releases
_RESERVE = 10  # seconds: longer than one service takes with slow responses


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> str:
    if event.get("describe"):
        return view.DOCUMENTATION
    theme = str((event.get("widgetContext") or {}).get("theme"))
    widget = Widget(
        theme, context.invoked_function_arn, os.environ["PRESS_BUTTON"], datetime.now(UTC)
    )
    remaining = lambda: context.get_remaining_time_in_millis() / 1000  # noqa: E731
    try:
        if not event.get("service"):
            return _services(widget, remaining)
        name = requests.text(event, "service", "widget")
        service, _ = spec.for_service(ssm.service_specs(), name)
        if not event.get("release"):
            return _service(widget, service)
        return _release(widget, service, requests.text(event, "release", "widget"))
    except DeployError as error:
        logger.info("not shown", error=f"{error}")
        return view.problem(widget, f"{error}")


def _services(widget: Widget, remaining: Callable[[], float]) -> str:
    """Return the table of all services; those for which there is no time are named only."""
    entries: list[Document] = []
    unread: list[str] = []
    for service in spec.services(ssm.service_specs()):
        if remaining() < _RESERVE:
            unread.append(service.service)
        else:
            records = releases.history(service.service)
            entries.append(read_overview.brief(service, records))
    return view.services(widget, entries, unread)


def _service(widget: Widget, service: ServiceSpec) -> str:
    name = service.service
    records, queue = releases.history(name), locks.queue(name)
    current, seen = read_overview.service(service)
    earlier = serving.earlier(records, current)
    possible = {e["id"]: e for e in earlier if not _refusal(service, records, e)}
    try:
        previous = history.target(records, "previous", rollout.task_definition(current))
    except RequestRejected:
        previous = None
    return view.service(
        widget,
        read_overview.full(service, records, queue, current, seen),
        releases.newest(name, _NEWEST),
        possible,
        possible.get(previous["id"]) if previous else None,
        buttons.state(records, queue.holder, queue.waiting, queue.hold),
    )


def _refusal(service: ServiceSpec, records: history.History, release: Recorded) -> str | None:
    return history.unknown_schema(records, release, service.database is not None)


def _release(widget: Widget, service: ServiceSpec, name: str) -> str:
    record = releases.find_push(service.service, name)
    if record is None or "version" not in record:  # a request that was refused was no release
        raise RequestRejected(f"service {service.service} has no release {name}")
    return view.release(widget, record, _changes(record))


def _changes(record: Recorded) -> list[Change] | None:
    before, then = record.get("previous"), record.get("taskDefinition")
    if not before or not then or before["taskDefinition"] == then:
        return None
    described = [ecs.task_definition(name) for name in (before["taskDefinition"], then)]
    definitions = [one[0] for one in described if one]
    return task_definitions.changes(*definitions) if len(definitions) == 2 else None
