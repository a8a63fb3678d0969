"""The success rules of other tools beside the deployer's, on the same releases in the same worlds.

Each release is put once past the deployer, where the other rules watch it with the circuit breaker
and its rollback on, and pushed once to the deployer. What is true is known: whether the
application is good and the surroundings let it start.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation import runtime, worlds
from tests.simulation.application import App
from tests.simulation.cloud import REGISTRY
from tests.simulation.ecs import Deployment
from tests.simulation.world import Plan, World

SPECS = ("balanced", "checked", "plain", "recreated", "three")
LAGS = 0.0, 3.0  # seconds by which reads lag behind an update
RELEASES = (
    App("1.0.1", 1),
    App("1.0.1", 1, "cannot-start"),
    App("1.0.1", 1, "exit-at-start"),
    App("1.0.1", 1, "exit-late", 20.0),
    App("1.0.1", 1, "exit-late", 60.0),
    App("1.0.1", 1, "exit-twice"),
    App("1.0.1", 1, "never-healthy"),
    App("1.0.1", 1, "hangs"),
    App("1.0.1", 1, "slow-start", 15.0),
    App("1.0.1", 1, "out-of-memory"),
    App("1.0.1", 1, "wrong-version"),
    App("1.0.1", 1, "empty-database"),
    App("1.0.1", 2, "migration-fails"),
)

type Shown = Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A release of a service; `room` is whether there are addresses for its tasks."""

    spec: str
    app: App
    lag: float
    room: bool = True

    @property
    def good(self) -> bool:
        return self.app.good and self.room


@dataclass(frozen=True)
class Rule:
    """How a tool decides.

    every, limit  seconds between its looks, and until it gives up, which is a failure.
    decide        its verdict by what DescribeServices shows and by its rollout; None to go on.
    """

    name: str
    every: int
    limit: int
    decide: Callable[[Shown, Deployment], bool | None]


def _one_and_running(shown: Shown) -> bool:
    return len(shown["deployments"]) == 1 and shown["runningCount"] == shown["desiredCount"]


def _stable(shown: Shown, _: Deployment) -> bool | None:
    return True if _one_and_running(shown) else None


def _same_primary(shown: Shown, ours: Deployment) -> bool | None:
    return shown["deployments"][0]["id"] == ours.id if _one_and_running(shown) else None


def _no_complaint(shown: Shown, ours: Deployment) -> bool | None:
    complaints = (e for e in shown["events"] if e["createdAt"].timestamp() >= ours.created)
    failed = shown["deployments"][0]["rolloutState"] == "FAILED"
    if failed or any("unable" in event["message"] for event in complaints):
        return False
    return _stable(shown, ours)


def _service_deployment(shown: Shown, ours: Deployment) -> bool | None:
    if ours.state == "IN_PROGRESS":
        return None
    return ours.state == "COMPLETED" and shown["taskDefinition"] == ours.revision


RULES = (
    Rule("aws ecs wait services-stable", 15, 600, _stable),
    Rule("amazon-ecs-deploy-task-definition since 2.6.2", 15, 1800, _same_primary),
    Rule("ecs-deploy", 1, 300, _no_complaint),
    Rule("ecspresso, --wait-until deployed", 10, 600, _service_deployment),
)
OURS = "the deployer"


def scenarios() -> Iterator[Scenario]:
    for spec in SPECS:
        for lag in LAGS:
            for app in RELEASES:
                yield Scenario(spec, app, lag)
            yield Scenario(spec, RELEASES[0], lag, room=False)


def _world(scenario: Scenario) -> World:
    world: Any = worlds.world(scenario.spec, live=True)
    world.plan_lag = lambda: scenario.lag
    world.ecs.no_room = not scenario.room
    result: World = world
    return result


def watched(scenario: Scenario) -> dict[str, bool]:
    """What the rules of others say of a release that is put past the deployer."""
    world = _world(scenario)
    with runtime.within(world):
        ours = _put(world, scenario.app)
        verdicts: dict[str, bool] = {}
        begun = world.engine.now
        while len(verdicts) < len(RULES):
            after = round(world.engine.now - begun)
            shown = world.ecs.describe_services({"services": ["coder"]})["services"][0]
            for rule in RULES:
                if rule.name in verdicts or after % rule.every:
                    continue
                verdict = rule.decide(shown, ours)
                if verdict is not None or after >= rule.limit:
                    verdicts[rule.name] = bool(verdict)
            world.engine.run(world.engine.now + 1, lambda: False)
    return verdicts


def _put(world: World, app: App) -> Deployment:
    service = world.ecs.services["coder"]
    image = f"{REGISTRY}/coder@{world.ecr.push(app, None)}"
    now = world.ecs.revisions[service.primary.revision]["taskDefinition"]
    containers = [{**now["containerDefinitions"][0], "image": image}]
    rendered = world.ecs.register_task_definition(
        {"family": "coder", "containerDefinitions": containers}
    )
    breaker = {"enable": True, "rollback": True}
    service.configuration = {**service.configuration, "deploymentCircuitBreaker": breaker}
    revision = rendered["taskDefinition"]["taskDefinitionArn"]
    world.ecs.update_service({"service": "coder", "taskDefinition": revision})
    return service.primary


def deployed(scenario: Scenario) -> bool:
    """What the deployer says of the release when it is pushed."""
    world = _world(scenario)
    room = (0.0, "no_room", (not scenario.room,))
    world.run(Plan(scenario.spec, (room, (0.0, "push", (scenario.app,)))))
    digest = world.digest(scenario.app.version)
    (record,) = (r for r in world.invariants.records() if r["digest"] == digest)
    return bool(record["outcome"] == "SUCCEEDED")


def table() -> str:
    """Run the race; its result as docs/simulation.md holds it."""
    names = [*(rule.name for rule in RULES), OURS]
    runs = list(scenarios())
    kinds = [(good, lag) for good in (False, True) for lag in LAGS]
    wrong = {name: dict.fromkeys(kinds, 0) for name in names}
    for scenario in runs:
        verdicts = {**watched(scenario), OURS: deployed(scenario)}
        for name, verdict in verdicts.items():
            wrong[name][scenario.good, scenario.lag] += verdict != scenario.good
    heads = [
        f"false {'failures' if good else 'successes'}, reads {lag:.0f} s late,"
        f" of {sum((s.good, s.lag) == (good, lag) for s in runs)}"
        for good, lag in kinds
    ]
    rows = [[name, *(str(wrong[name][kind]) for kind in kinds)] for name in names]
    lines = [["rule", *heads], ["---"] * (len(kinds) + 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
