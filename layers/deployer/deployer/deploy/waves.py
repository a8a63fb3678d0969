"""A release that rolls out to several services: in which order, and how they stand together.

Imports decisions only, no AWS.
"""

from collections.abc import Mapping, Sequence

from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Health, Rollout, Verdict
from deployer.deploy.spec import ServiceSpec


def recorded(spec: ServiceSpec, record: Recorded | None) -> dict[str, Rollout]:
    """Return the rollouts that a release has begun, by their services."""
    if record is None:
        return {}
    of_parts = record.get("services", {})
    rollouts = {spec.service: record.get("rollout")} | {
        part.service: of_parts.get(part.service, {}).get("rollout") for part in spec.further
    }
    return {name: one for name, one in rollouts.items() if one}


def due(spec: ServiceSpec, number: int, rollouts: Mapping[str, Rollout]) -> list[ServiceSpec]:
    """Return the services of a wave that are not updated yet.

    Args:
        number: which wave, counted from 1. A late second try of one must not begin the next.
    """
    waves = spec.waves
    wave = waves[number - 1] if number <= len(waves) else []
    return [part for part in wave if part.service not in rollouts]


def refused(spec: ServiceSpec, record: Recorded) -> str | None:
    """Return the service whose update ECS was asked for, and that has no rollout; None if all
    have one."""
    rollouts = recorded(spec, record)
    return next((name for name in record.get("updating", ()) if name not in rollouts), None)


def polled(spec: ServiceSpec, rollouts: Mapping[str, Rollout]) -> list[tuple[ServiceSpec, Rollout]]:
    """Return the services that were updated, with their rollouts.

    A service must stay steady while those of later waves are updated, and has as long as they.
    """
    started = [(part, rollouts[part.service]) for part in spec.parts if part.service in rollouts]
    deadlines = [
        max(one["deadline"] for other, one in started if other is part or other.wave > part.wave)
        for part, _ in started
    ]
    return [
        (part, {**own, "deadline": deadline})
        for (part, own), deadline in zip(started, deadlines, strict=True)
    ]


def together(verdicts: Mapping[str, Verdict], *, more: bool, to_the_end: bool = False) -> Verdict:
    """Judge the rollouts of one release by the verdict on each service's.

    Args:
        more: whether services are yet to be updated.
        to_the_end: whether a failure counts only once no other rollout is on its way.
    """
    by_health: dict[Health, list[str]] = {}
    for service, verdict in verdicts.items():
        by_health.setdefault(verdict["health"], []).append(service)
    order: Sequence[Health] = ("FAILED", "ROLLING", "BAKING", "STEADY")
    if to_the_end:
        order = ("ROLLING", "BAKING", "FAILED", "STEADY")
    health = next(health for health in order if health in by_health)
    first = by_health[health][0]
    names = [first, *(service for service in verdicts if service != first)]
    result: Verdict = {
        "health": "NEXT" if health == "STEADY" and more else health,
        "ended": False,
        "error": verdicts[first]["error"],
        "reason": "; ".join(f"{service}: {verdicts[service]['reason']}" for service in names),
    }
    if health == "FAILED":
        result["service"] = first
    if health == "BAKING":
        result["seconds"] = max(verdicts[name].get("seconds", 0) for name in by_health[health])
    return result
