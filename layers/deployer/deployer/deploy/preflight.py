"""Check what must hold before anything is changed. Imports decisions only, no AWS."""

from collections.abc import Sequence
from datetime import datetime

from deployer.check import FAILED, Check
from deployer.deploy.history import History, applied_schema, live
from deployer.deploy.release import Release, outdated
from deployer.deploy.rollout import READ_LAG, Service
from deployer.deploy.spec import ServiceSpec
from deployer.errors import PreflightFailed, ServiceScaledDown

NEEDED = ("definitions", "cluster", "network", "roles")
"""The checks that a preflight needs: it waits until AWS answers them."""

NAMED = (*NEEDED, "target group", "secrets", "log group", "alarms", "database", "schedules")
"""The checks of what the spec names and every release needs."""


def check(results: Sequence[Check]) -> None:
    """Check that a release of the service can work; see `surroundings`.

    Args:
        results: of the checks. The deployer's parameters limit its permissions; what the spec
            names beyond them cannot be checked, which counts as a problem.
    Raises:
        PreflightFailed: the message names each problem with its fix.
    """
    problems = [
        " ".join([f"{result.finding}.", *(line.strip() for line in result.fix)])
        for result in results
        if result.state == FAILED or (result.denied and result.name in NAMED)
    ]
    if problems:
        raise PreflightFailed("; ".join(problems))


def check_schema(release: Release, history: History) -> None:
    """Check that a release knows the database's schema; it may bring a newer one.

    Raises:
        PreflightFailed: it knows only an older one, so it would not start.
    """
    knows, applied = release["schema"], applied_schema(history)
    if release.get("restore") or knows is None or applied is None:
        return
    if outdated(knows, applied):
        raise PreflightFailed(
            f"{release['version']} knows database schema {knows['number']} and the database has"
            f" {applied['number']}, so it would not start"
        )


def desired_count(
    spec: ServiceSpec, service: Service | None, history: History, now: datetime
) -> int | None:
    """Return the desired count to set with the update; None to leave the service's own.

    A service without a verified release may be at zero because we stopped a failed first release;
    the next release starts it again. Right after the stop, reads may still show the previous count
    instead of zero, or a count that somebody has set since.

    A service that is only adopted is never stopped by us, so its count is its team's.

    Raises:
        ServiceScaledDown: somebody scaled the service to zero, so no release could be judged.
    """
    if service is None:
        return None
    count = service.get("desiredCount", 0)
    if count > 0:
        return count if _just_stopped(history, now) else None
    if live(history) or spec.service_definition is None:
        raise ServiceScaledDown(
            f"service {spec.service} is scaled to zero: scale it up, then deploy"
        )
    return spec.desired_count


def _just_stopped(history: History, now: datetime) -> bool:
    """Return whether we scaled the service to zero so recently that reads may not show it."""
    stops = (e for e in history if (e.get("rollback") or {}).get("action") == "STOP")
    return any(
        now - datetime.fromisoformat(e["endedAt"]) < READ_LAG for e in stops if "endedAt" in e
    )
