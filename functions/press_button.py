"""Do what a button of the widget asks for: roll back, hold, resume or cancel, as the commands do.

CloudWatch invokes it with the viewer's permissions and shows the HTML that it returns. Its answer
is also that of a refusal: an error of the function would be shown as such.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import requests
from deployer.aws import sfn, ssm
from deployer.deploy import history, reconciliation, serving, spec
from deployer.deploy.history import History
from deployer.deploy.release import carried_out_by
from deployer.deploy.spec import ServiceSpec
from deployer.errors import DeployError, RequestRejected
from deployer.log import Logger
from deployer.store import locks, releases
from deployer.store.locks import Queue
from deployer.usecases import read_overview, resolve_request
from deployer.widget import buttons, view
from deployer.widget.buttons import Press
from deployer.widget.view import Widget

logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: LambdaContext) -> str:
    if event.get("describe"):
        return view.DOCUMENTATION
    own, now = context.invoked_function_arn, datetime.now(UTC)
    widget = Widget(str((event.get("widgetContext") or {}).get("theme")), own, own, now)
    try:
        press = buttons.parse(event)
        service, _ = spec.for_service(ssm.service_specs(), press.service)
        what, execution = _carry_out(press, service, now)
    except DeployError as error:
        logger.info("refused", error=f"{error}")
        return view.problem(widget, f"{error}")
    logger.info("pressed", press=press, execution=execution, did=what)
    return view.pressed(widget, what, execution)


def _carry_out(press: Press, service: ServiceSpec, now: datetime) -> tuple[str, str | None]:
    """Carry out what a button asks for.

    Returns:
        What was done, and the ARN of the execution that was started.
    Raises:
        RequestRejected, ImageMissing: it is not possible, or no longer what the viewer saw.
    """
    records, queue = releases.history(service.service), locks.queue(service.service)
    if press.action == "cancel":
        return _cancel(press, records)
    current = buttons.state(records, queue.holder, queue.waiting, queue.hold)
    buttons.refuse_outdated(press, current)
    match press.action:
        case "rollback":
            what = f"{service.service} {_roll_back(press, service, records, now)}"
        case "hold":
            what = f"The pushes of {service.service} are held until somebody resumes."
        case _:
            what = _resume(service, queue)
    machine = os.environ["DEPLOY"]
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{press.execution}"
    if not sfn.start(machine, press.execution, press.request):
        what = "Somebody else has just pressed the same button; that request is carried out."
    return what, execution


def _roll_back(press: Press, service: ServiceSpec, records: History, now: datetime) -> str:
    """Refuse a rollback that is not possible, as the command does; return what will happen."""
    request = requests.parse(press.request)
    assert isinstance(request, requests.Rollback)
    target = history.target(records, press.release)
    current, _ = read_overview.service(service)
    serving.refuse_what_serves(records, current, target)
    release = resolve_request.to_roll_back(request, service, records, press.execution, now)
    return f"is rolled back to {release['version']} ({press.release}). Later pushes are held."


def _resume(service: ServiceSpec, queue: Queue) -> str:
    if queue.hold is None:
        raise RequestRejected(f"{service.service} is not held; nothing to resume")
    return f"The hold of {service.service} ends, and the newest held push is deployed."


def _cancel(press: Press, records: History) -> tuple[str, str | None]:
    """Stop a release; recover it at once if it held the lock, as the command does."""
    record = next((entry for entry in records if entry["id"] == press.release), None)
    if record is None or "outcome" in record:
        raise RequestRejected(f"{press.release} is not in flight; nothing was stopped")
    execution, since = carried_out_by(record)
    if sfn.running(execution, since) and sfn.stop(execution, press.by) != "ABORTED":
        raise RequestRejected(f"{record['version']} had just ended; nothing was stopped")
    holder = locks.queue(press.service).holder
    if holder is None or holder["release"] != press.release:
        return f"{record['version']} is stopped. It had changed nothing.", None
    name = reconciliation.recovery_name(press.release, execution)
    machine = os.environ["DEPLOY"]
    sfn.start(machine, name, reconciliation.recovery(record))  # or the reconciler has
    recovery = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    return f"{record['version']} is stopped. The last good release is restored.", recovery
