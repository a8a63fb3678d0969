"""A release of several services: what must hold of them together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.simulation.ecs import Deployment, Service

if TYPE_CHECKING:
    from tests.simulation.world import World

COUNTED_AFTER = 60.0  # seconds of the bake where nothing is asked of a task


def names(world: "World") -> list[str]:
    """The services of the release, the leading one first."""
    return [world.spec["service"], *(one["service"] for one in world.spec.get("services", ()))]


def spec(world: "World", name: str) -> Mapping[str, Any]:
    """What the spec says of a service."""
    further: dict[str, Mapping[str, Any]] = {
        one["service"]: one for one in world.spec.get("services", ())
    }
    return further.get(name, world.spec)


def named(request: Mapping[str, Any]) -> str:
    """The service that a request changes."""
    return str(request.get("service") or request["serviceName"])


def rollouts(world: "World", record: Mapping[str, Any]) -> dict[str, str]:
    """The rollouts that a release has noted, by their services."""
    own = {world.spec["service"]: record, **record.get("services", {})}
    return {name: part["rollout"]["id"] for name, part in own.items() if "rollout" in part}


def revisions(world: "World", record: Mapping[str, Any]) -> dict[str, str]:
    own = {world.spec["service"]: record, **record.get("services", {})}
    return {n: part["taskDefinition"] for n, part in own.items() if part.get("taskDefinition")}


def those_there(world: "World") -> list[Service]:
    services = [world.ecs.services.get(name) for name in names(world)]
    return [one for one in services if one and one.status == "ACTIVE" and one.deployments]


def updated(world: "World", release: Mapping[str, Any], name: str) -> None:
    """The deployer has begun to roll out a service: are those of earlier waves steady?"""
    wave = spec(world, name).get("wave", 1)
    record = world.invariants.record(release["id"]) or {}
    known = rollouts(world, record)
    for other in names(world):
        if spec(world, other).get("wave", 1) >= wave:
            continue
        service = world.ecs.services.get(other)
        ours = [d for d in service.deployments if d.id == known.get(other)] if service else []
        if not (ours and ours[0].completed) and world.humans == world.invariants.humans_before:
            world.invariants.broken("waves in order", f"{name} is updated before {other} is steady")


def succeeded(world: "World", record: Mapping[str, Any]) -> None:
    """A release is called live: is it, in each of its services?"""
    if world.humans > world.invariants.humans_before:
        return
    for name in names(world)[1:]:
        service, known = world.ecs.services.get(name), rollouts(world, record)
        primary = service.primary if service and service.deployments else None
        if primary is None or primary.id != known.get(name) or primary.state != "COMPLETED":
            world.invariants.broken("no false success", f"{name} does not run {record['id']}")
        assert service and primary
        if not any(t.deployment is primary for t in (*service.tasks, *service.dead)):
            world.invariants.broken("no false success", f"no task of {name} has run")
        wrong = bool(service.tasks) and all(t.app.fault == "wrong-version" for t in service.tasks)
        if wrong and "verify" in spec(world, name):
            world.invariants.broken("no false success", f"{name} serves another version")


def ready_at(world: "World", record: Mapping[str, Any]) -> list[float]:
    """When the further services of a release were steady."""
    times = list[float]()
    for name, rollout in rollouts(world, record).items():
        service = world.ecs.services.get(name)
        primary = service.primary if service and service.deployments else None
        if service and primary and primary.id == rollout and name != world.spec["service"]:
            times += [primary.completed, *_baked(world, service, primary)]
    return times


def _baked(world: "World", service: Service, primary: Deployment) -> list[float]:
    """When the tasks of a service had run for long enough."""
    document = spec(world, service.name)
    definition = world.ecs.revisions[primary.revision]["taskDefinition"]
    probed = any("healthCheck" in one for one in definition["containerDefinitions"])
    checked = "verify" in document or service.balancers or probed
    bake = float(document.get("bake", 0 if checked else COUNTED_AFTER))
    return [t.started + bake for t in service.tasks if t.deployment is primary and t.started]


def at_rest(world: "World", records: list[Mapping[str, Any]]) -> None:
    """All is quiet: do all services run the same release, or none does anything?"""
    if not world.spec.get("services"):
        return
    acted = world.humans > world.invariants.humans_before
    done = [record for record in records if "lockedAt" in record and revisions(world, record)]
    if acted or not done:
        return
    newest = max(done, key=lambda record: record["lockedAt"])
    _record_names_each(world, newest)
    if newest["outcome"] == "SUCCEEDED":
        for name, revision in revisions(world, newest).items():
            service = world.ecs.services[name]
            if service.primary.revision != revision:
                why = f"{name} runs {service.primary.revision}, not {revision}"
                world.invariants.broken("all or none", why)
    # a schema that has grown leaves each service where it is, until a release succeeds
    good = max((r["lockedAt"] for r in done if r["outcome"] == "SUCCEEDED"), default="")
    since = [r.get("rollback") or {} for r in done if r["lockedAt"] > good]
    left = [one for one in since for each in _reactions(one) if "schema" in str(each.get("reason"))]
    denied = world.denied and "needs manual attention" in str(newest.get("reason"))
    running = {
        one.name: _digest(world, one.primary.revision) for one in those_there(world) if one.desired
    }
    if len({*running.values()}) > 1 and not left and not denied:
        world.invariants.broken("all or none", f"{running} after {newest.get('reason')}")


def _reactions(rollback: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [rollback, *(rollback.get("services") or {}).values()]


def _digest(world: "World", revision: str) -> str:
    definition = world.ecs.revisions[revision]["taskDefinition"]
    return str(definition["containerDefinitions"][0]["image"])


def _record_names_each(world: "World", record: Mapping[str, Any]) -> None:
    """Does a release's record say what has happened in each service?"""
    further, known = names(world)[1:], record.get("services", {})
    if record["outcome"] in ("SUCCEEDED", "FAILED_ROLLED_BACK") and {*known} < {*further}:
        world.invariants.broken("the record names each", f"{record['id']} has {[*known]}")
    began = {
        name for _, function, name in _began(world, record["id"]) if function == "UpdateService"
    }
    noted = {*record.get("updating", ())}
    if not began <= noted:
        world.invariants.broken("the record names each", f"{began - noted} of {record['id']}")
    rollback = record.get("rollback")
    whole = rollback and "failure" not in rollback and not world.denied
    if noted and rollback and whole and "services" not in rollback:
        world.invariants.broken("the record names each", f"{record['id']}: {rollback}")


def _began(world: "World", release: str) -> list[tuple[str, str, str]]:
    return [key for key in world.invariants.began if key[0] == release]
