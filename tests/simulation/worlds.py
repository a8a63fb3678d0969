"""The worlds: a service, what befalls it, and what is pushed and ordered."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.simulation.application import App
from tests.simulation.cloud import SECRET_ARN
from tests.simulation.ecs import ACCOUNT, REGION
from tests.simulation.world import BALANCER, GROUP, SUBNET, Plan, World

type Moves = tuple[tuple[float, str, tuple[Any, ...]], ...]

_SPEC: dict[str, Any] = {
    "service": "coder",
    "cluster": "coder",
    "repository": "coder",
    "tags": r"[0-9]+\.[0-9]+\.[0-9]+",
    "executionRole": f"arn:aws:iam::{ACCOUNT}:role/coder-execution",
    "taskRole": f"arn:aws:iam::{ACCOUNT}:role/coder-task",
    "container": {
        "port": 3000,
        "secrets": {"CODER_PG_CONNECTION_URL": SECRET_ARN},
        "healthCheck": {"command": ["CMD", "true"], "interval": 10, "retries": 3},
    },
    "logGroup": "/ecs/coder",
    "network": {"subnets": [SUBNET], "securityGroups": [GROUP], "publicIp": True},
    "strategy": "rolling",
    "timeout": 300,
    "verify": {
        "path": "/healthz",
        "version": {"path": "/healthz", "header": "X-Coder-Build-Version", "match": "build"},
        "unchanged": [
            {"path": "/api/v2/buildinfo", "field": "deployment_id"},
            {"path": "/api/v2/users/first"},
        ],
    },
}
_BALANCED = {
    "network": {**_SPEC["network"], "publicIp": False},
    "loadBalancer": {
        "targetGroup": f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/coder/1",
        "url": BALANCER,
        "gracePeriod": 30,
    },
    "container": {k: v for k, v in _SPEC["container"].items() if k != "healthCheck"},
}
_PLAIN = {"container": _BALANCED["container"]}
_DATABASE = {"database": {"instance": "coder-db", "secret": SECRET_ARN, "snapshots": 2}}
SPECS: Mapping[str, Mapping[str, Any]] = {
    "checked": _SPEC,
    "recreated": {**_SPEC, "strategy": "recreate"},
    "balanced": {**_SPEC, **_BALANCED},
    "plain": {**_SPEC, **_PLAIN},
    "three": {**_SPEC, **_BALANCED, "desiredCount": 3},
    "database": {**_SPEC, **_DATABASE, "strategy": "recreate"},
    "unverified": {k: v for k, v in _SPEC.items() if k != "verify"},
    "rendered": {**_SPEC, "rollback": "render"},
}


@dataclass(frozen=True)
class Setting:
    """A world: its spec, whether a release is live in it, and what happens."""

    name: str
    spec: str
    moves: Moves
    live: bool = True
    hostile: bool = False


def push(at: float, version: str, fault: str | None = None, **more: Any) -> Any:
    return at, "push", (App(version, more.pop("schema", 1), fault, **more),)


def order(at: float, action: str, **more: Any) -> Any:
    return at, "order", ({"action": action, **more},)


SETTINGS = (
    Setting("the first release", "checked", (push(0, "1.0.1"),), live=False),
    Setting("an update", "checked", (push(0, "1.0.1"),)),
    Setting("an update without health checks", "plain", (push(0, "1.0.1"),)),
    Setting("an update, recreated", "recreated", (push(0, "1.0.1"),)),
    Setting("an update behind a load balancer", "balanced", (push(0, "1.0.1"),)),
    Setting("three tasks behind a load balancer", "three", (push(0, "1.0.1"),)),
    Setting("nothing to verify", "unverified", (push(0, "1.0.1"),)),
    Setting("an index of several platforms", "checked", ((0, "push_index", (App("1.0.1", 1),)),)),
    Setting("a crash at the start", "checked", (push(0, "1.0.1", "exit-at-start"),)),
    Setting("a crash loop unseen by ECS", "plain", (push(0, "1.0.1", "exit-at-start"),)),
    Setting("a late crash", "plain", (push(0, "1.0.1", "exit-late", seconds=20.0),)),
    Setting("two crashes, then well", "recreated", (push(0, "1.0.1", "exit-twice"),)),
    Setting("never healthy", "recreated", (push(0, "1.0.1", "never-healthy"),)),
    Setting("never healthy behind a balancer", "balanced", (push(0, "1.0.1", "never-healthy"),)),
    Setting("no answer, no check", "plain", (push(0, "1.0.1", "hangs"),)),
    Setting("a slow start", "recreated", (push(0, "1.0.1", "slow-start", seconds=15.0),)),
    Setting("the wrong version", "checked", (push(0, "1.0.1", "wrong-version"),)),
    Setting("an empty database", "balanced", (push(0, "1.0.1", "empty-database"),)),
    Setting("out of memory", "three", (push(0, "1.0.1", "out-of-memory"),)),
    Setting("the wrong architecture", "checked", (push(0, "1.0.1", "cannot-start"),)),
    Setting("a migration", "database", (push(0, "1.1.0", schema=2),)),
    Setting("a migration, then wrong", "database", (push(0, "1.1.0", "wrong-version", schema=2),)),
    Setting("a migration that fails", "database", (push(0, "1.1.0", "migration-fails", schema=2),)),
    Setting(
        "the first release fails",
        "checked",
        (push(0, "1.0.1", "exit-at-start"), push(400, "1.0.2")),
        live=False,
    ),
    Setting(
        "an image deleted midway",
        "checked",
        (push(0, "1.0.1"), (4.4, "delete_image", ("1.0.1",))),
        hostile=True,
    ),
    Setting(
        "a secret that is gone", "checked", ((0, "lose_secret", ()), push(1, "1.0.1")), hostile=True
    ),
    Setting(
        "no addresses left",
        "checked",
        ((0, "no_room", (True,)), push(1, "1.0.1"), (200, "no_room", (False,))),
        hostile=True,
    ),
    Setting("no subnet", "checked", ((0, "lose_subnet", ()), push(1, "1.0.1")), hostile=True),
    Setting("two pushes", "checked", (push(0, "1.0.1"), push(3, "1.0.2"))),
    Setting(
        "three pushes, the newest bad",
        "recreated",
        (push(0, "1.0.1"), push(2, "1.0.2"), push(4, "1.0.3", "exit-at-start")),
    ),
    Setting(
        "an event told again and late",
        "checked",
        (push(0, "1.0.1"), push(100, "1.0.2"), (200, "tell_again", ("1.0.1",))),
    ),
    Setting(
        "a rollback by hand",
        "checked",
        (
            push(0, "1.0.1"),
            order(100, "rollback", to="previous"),
            (250, "tell_again", ("1.0.1",)),
        ),
    ),
    Setting(
        "a rollback during a deployment",
        "recreated",
        (push(0, "1.0.1"), push(100, "1.0.2"), order(105, "rollback", to="1.0.0")),
    ),
    Setting(
        "a rollback, rendered",
        "rendered",
        (push(0, "1.0.1"), order(100, "rollback", to="previous", hold=False)),
    ),
    Setting(
        "a hold and its end",
        "checked",
        (order(0, "hold", reason="test"), push(5, "1.0.1"), order(60, "resume")),
    ),
    Setting(
        "a database restored",
        "database",
        (
            push(0, "1.1.0", schema=2),
            order(400, "rollback", to="previous", restoreDatabase=True),
        ),
    ),
    Setting(
        "somebody else's change", "checked", (push(0, "1.0.1"), (9, "update", ())), hostile=True
    ),
    Setting(
        "scaled to zero meanwhile", "checked", (push(0, "1.0.1"), (9, "scale", (0,))), hostile=True
    ),
    Setting(
        "a service deleted and made again",
        "checked",
        ((0, "delete_service", ()), push(1, "1.0.1")),
        hostile=True,
    ),
    Setting("stopped midway", "checked", (push(0, "1.0.1"), (9, "stop", ()))),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


@cache
def _saved(spec: str, live: bool) -> bytes:
    world = World(SPECS[spec])
    if live:
        world.run(Plan("", (push(0, "1.0.0"),)))
    return world.saved()


def world(setting: Setting) -> World:
    """A world at rest, in which the setting can begin."""
    made: World = pickle.loads(_saved(setting.spec, setting.live))
    made.hostile = setting.hostile
    return made


def run(plan: Plan, lines: list[str] | None = None) -> World:
    """Run a plan in its world. Raises Broken."""
    return world(BY_NAME[plan.world]).run(plan, lines)


def planned(name: str, **more: Any) -> Plan:
    """The plan of a world with nothing but what happens in it."""
    return Plan(name, BY_NAME[name].moves, **more)


