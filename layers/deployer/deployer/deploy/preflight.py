"""What must be there before anything is changed."""

from collections.abc import Sequence
from datetime import datetime

from deployer.check import FAILED, Check
from deployer.deploy.history import History, applied_schema, live
from deployer.deploy.release import Release, outdated
from deployer.deploy.rollout import READ_LAG, Service
from deployer.deploy.spec import ServiceSpec
from deployer.errors import PreflightFailed, ServiceScaledDown

NEEDED = ("cluster", "network", "roles")
"""The checks without which a preflight knows nothing: it waits until AWS answers these."""

NAMED = (*NEEDED, "target group", "secrets", "log group", "database")
"""The checks of what the spec names and a release cannot do without."""


def check(results: Sequence[Check]) -> None:
    """Check that a release of the service can work; see `surroundings`.

    Args:
        results: of the checks. The deployer's parameters name what it has permissions for: what the
            spec names beside them cannot be checked, and that is not the same as fine.
    Raises:
        PreflightFailed: naming everything that is missing or wrong, with the fix.
    """
    problems = [
        " ".join([f"{result.found}.", *(line.strip() for line in result.fix)])
        for result in results
        if result.state == FAILED or (result.denied and result.name in NAMED)
    ]
    if problems:
        raise PreflightFailed("; ".join(problems))


def check_schema(release: Release, history: History) -> None:
    """Check that a release knows the schema that the database has; it may bring a newer one.

    Raises:
        PreflightFailed: it knows only an older one, with which it would not start.
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
    """The desired count to set with the update; None to leave the service's own.

    A service that never had a good release may stand at zero because we stopped a first release
    that failed: the next one starts it again. Just after that, reads may not show the zero yet; the
    count that they show is what it was, or what somebody has set since.

    Raises:
        ServiceScaledDown: somebody scaled the service to zero, so no release could be judged.
    """
    if service is None:
        return None
    shown = service.get("desiredCount", 0)
    if shown > 0:
        return shown if _just_stopped(history, now) else None
    if live(history):
        raise ServiceScaledDown(
            f"service {spec.service} is scaled to zero: scale it up, then deploy"
        )
    return spec.desired_count


def _just_stopped(history: History, now: datetime) -> bool:
    """Whether we scaled the service to zero so lately that reads may not show it."""
    stops = (e for e in history if (e.get("rollback") or {}).get("action") == "STOP")
    return any(
        now - datetime.fromisoformat(e["endedAt"]) < READ_LAG for e in stops if "endedAt" in e
    )
