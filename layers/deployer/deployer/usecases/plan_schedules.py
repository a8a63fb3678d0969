"""Plan a service's schedules for a revision, for the workflow and for `deployer doctor`."""

from datetime import UTC, datetime

from deployer.aws import ecs
from deployer.deploy import one_off, schedules
from deployer.deploy.documents import Document
from deployer.deploy.schedules import Schedules
from deployer.deploy.spec import ServiceSpec


def planned(spec: ServiceSpec, revision: str, current: Schedules) -> dict[str, Document]:
    """Return the schedules that the service has when it runs a revision.

    Raises:
        SchedulesFailed: see `deploy.schedules.planned`.
    """
    if not spec.schedules:
        return {}
    placement = one_off.as_it_will_be(spec, ecs.service(spec.cluster, spec.service))
    definition, now = ecs.registered(revision), datetime.now(UTC)
    return schedules.planned(spec, current, placement, definition, revision, now)
