"""The worlds: a service, what befalls it, and what is pushed and ordered."""

import pickle
from collections.abc import Mapping
from functools import cache
from typing import Any

from deployer.presets.coder import Coder
from tests.simulation import builds, sites
from tests.simulation.application import App
from tests.simulation.cloud import SECRET_ARN
from tests.simulation.ecs import ACCOUNT, REGION
from tests.simulation.world import (
    BALANCER,
    GROUP,
    OTHER_GROUP,
    SUBNET,
    TARGET_GROUPS,
    Plan,
    World,
)

_LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "/ecs/coder",
        "awslogs-region": REGION,
        "awslogs-stream-prefix": "ecs",
    },
}
_CONTAINER: dict[str, Any] = {
    "name": "coder",
    "portMappings": [{"containerPort": 3000}],
    "secrets": [{"name": "CODER_PG_CONNECTION_URL", "valueFrom": SECRET_ARN}],
    "logConfiguration": _LOGS,
}
_CHECKED = {**_CONTAINER, "healthCheck": {"command": ["CMD", "true"], "interval": 10, "retries": 3}}
_SPEC: dict[str, Any] = {
    "service": "coder",
    "cluster": "coder",
    "repository": "coder",
    "tags": r"[0-9]+\.[0-9]+\.[0-9]+|prod",
    "taskDefinition": {
        "family": "coder",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/coder-execution",
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/coder-task",
        "containerDefinitions": [_CHECKED],
    },
    "serviceDefinition": {
        "launchType": "FARGATE",
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": [SUBNET],
                "securityGroups": [GROUP],
                "assignPublicIp": "ENABLED",
            }
        },
    },
    "strategy": "rolling",
    "timeout": 300,
    "verify": Coder.fields["verify"],
}
_PLAIN = {"taskDefinition": {**_SPEC["taskDefinition"], "containerDefinitions": [_CONTAINER]}}
_BALANCED: dict[str, Any] = {
    **_PLAIN,
    "url": BALANCER,
    "serviceDefinition": {
        "launchType": "FARGATE",
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": [SUBNET], "securityGroups": [GROUP]}
        },
        "loadBalancers": [
            {
                "targetGroupArn": TARGET_GROUPS[0],
                "containerName": "coder",
                "containerPort": 3000,
            }
        ],
        "healthCheckGracePeriodSeconds": 30,
    },
}
_DATABASE = {"database": {"instance": "coder-db", "secret": SECRET_ARN, "snapshots": 2}}
SPECS: Mapping[str, Mapping[str, Any]] = {
    "adopted": {name: _SPEC[name] for name in ("service", "cluster", "repository", "tags")},
    "checked": _SPEC,
    "recreated": {**_SPEC, "strategy": "recreate"},
    "balanced": {**_SPEC, **_BALANCED},
    "plain": {**_SPEC, **_PLAIN},
    "three": {
        **_SPEC,
        **_BALANCED,
        "serviceDefinition": {**_BALANCED["serviceDefinition"], "desiredCount": 3},
    },
    "database": {**_SPEC, **_DATABASE, "strategy": "recreate"},
    "unverified": {k: v for k, v in _SPEC.items() if k != "verify"},
    "bare": {k: v for k, v in {**_SPEC, **_PLAIN}.items() if k != "verify"},
    "rendered": {**_SPEC, "rollback": "render"},
}

_TASKS = {
    "before": {"command": ["migrate"], "timeout": 60},
    "after": {"command": ["smoke"], "timeout": 60},
}
# apart: random plans choose among SPECS, and the same seed has to stay the same plan
TASK_SPECS: Mapping[str, Mapping[str, Any]] = {
    "tasks": {**_SPEC, **_TASKS},
    "migrated": {**SPECS["database"], "before": _TASKS["before"]},
}
SCHEDULES = {
    "hourly": {"schedule": "rate(1 hour)", "command": ["sync"]},
    "nightly": {"schedule": "cron(0 3 * * ? *)", "command": ["tidy"], "timezone": "Europe/Berlin"},
}
SCHEDULE_SPECS: Mapping[str, Mapping[str, Any]] = {
    "scheduled": {**_SPEC, "schedules": SCHEDULES},
    "scheduled and migrated": {**SPECS["database"], "schedules": SCHEDULES},
    "scheduled with a task after": {**_SPEC, "after": _TASKS["after"], "schedules": SCHEDULES},
}
RESCHEDULED = {
    "hourly": {**SCHEDULES["hourly"], "command": ["sync", "--all"]},
    "daily": {"schedule": "rate(1 day)", "command": ["report"]},
}


def _of_one_service(family: str, **more: Any) -> dict[str, Any]:
    """A further service: its tasks listen on no port."""
    fields = ("taskDefinition", "serviceDefinition", "strategy", "timeout")
    container = {n: v for n, v in _CHECKED.items() if n != "portMappings"}
    definition = {**_SPEC["taskDefinition"], "family": family, "containerDefinitions": [container]}
    own = {name: _SPEC[name] for name in fields} | {"taskDefinition": definition}
    return {"service": family, **own, **more}


_WORKER = _of_one_service("worker")
_SERVICES = {"services": [_WORKER]}
_WAVES = {"wave": 2, "services": [_WORKER, _of_one_service("cron", timeout=120, wave=1)]}
SERVICE_SPECS: Mapping[str, Mapping[str, Any]] = {
    "pair": {**_SPEC, **_SERVICES},
    "waves": {**_SPEC, **_WAVES},
    "later": {**_SPEC, "failureThreshold": 1, "services": [{**_WORKER, "wave": 2}]},
    "pair with a database": {**SPECS["database"], **_SERVICES},
    "waves after a task": {**TASK_SPECS["migrated"], **_WAVES},
    "waves and schedules": {**SCHEDULE_SPECS["scheduled"], **_WAVES},
}


def push(at: float, version: str, fault: str | None = None, **more: Any) -> Any:
    return at, "push", (App(version, more.pop("schema", 1), fault, **more),)


def command(at: float, action: str, **more: Any) -> Any:
    return at, "order", ({"action": action, **more},)


PLANS: Mapping[str, Plan] = {
    **sites.PLANS,
    **builds.PLANS,
    "two services": Plan("pair", (push(0, "1.0.1"),)),
    "two services, the first release": Plan("pair", (push(0, "1.0.1"),), live=False),
    "two services, the first release fails in one": Plan(
        "pair",
        (push(0, "1.0.1", "exit-at-start", service="worker"), push(400, "1.0.2")),
        live=False,
    ),
    "two services, and one crashes": Plan(
        "pair", (push(0, "1.0.1", "exit-at-start", service="worker"),)
    ),
    "two services, and one serves the wrong version": Plan(
        "pair", (push(0, "1.0.1", "wrong-version", service="coder"),)
    ),
    "two services, back by hand": Plan(
        "pair", (push(0, "1.0.1"), command(150, "rollback", to="previous"))
    ),
    "two services, restarted": Plan("pair", (command(0, "restart"),)),
    "two services, stopped midway": Plan("pair", (push(0, "1.0.1"), (9, "stop", ()))),
    "two services, stopped and redriven": Plan(
        "pair", (push(0, "1.0.1"), (9, "stop", ()), (9.5, "redrive", ()))
    ),
    "two services, and a newer push": Plan("pair", (push(0, "1.0.1"), push(8, "1.0.2"))),
    "two waves": Plan("waves", (push(0, "1.0.1"),)),
    "two waves, the first release": Plan("waves", (push(0, "1.0.1"),), live=False),
    "two waves, the first fails": Plan(
        "waves", (push(0, "1.0.1", "never-healthy", service="cron"),)
    ),
    "two waves, the second fails": Plan(
        "waves", (push(0, "1.0.1", "exit-at-start", service="coder"),)
    ),
    "two waves, the first fails during the second": Plan(
        "later", (push(0, "1.0.1", "exit-late", seconds=25.0, service="coder"),)
    ),
    "two waves, stopped in the second": Plan("waves", (push(0, "1.0.1"), (40, "stop", ()))),
    "two waves after a task": Plan("waves after a task", (push(0, "1.1.0", schema=2),)),
    "two waves and scheduled tasks": Plan("waves and schedules", (push(0, "1.0.1"),)),
    "two waves and scheduled tasks, and one fails": Plan(
        "waves and schedules", (push(0, "1.0.1", "exit-at-start", service="coder"),)
    ),
    "two services, and a migration whose worker fails": Plan(
        "pair with a database", (push(0, "1.1.0", "exit-at-start", schema=2, service="worker"),)
    ),
    "two services, and a worker that fails": Plan(
        "pair with a database", (push(0, "1.0.1", "never-healthy", service="worker"),)
    ),
    "tasks before and after": Plan("tasks", (push(0, "1.0.1"),)),
    "tasks before and after the first release": Plan("tasks", (push(0, "1.0.1"),), live=False),
    "a task before that fails": Plan("tasks", (push(0, "1.0.1", "before-fails"),)),
    "a task before that never ends": Plan("tasks", (push(0, "1.0.1", "before-hangs"),)),
    "a task before that cannot start": Plan(
        "tasks", ((0, "no_room", (True,)), push(1, "1.0.1"), (100, "no_room", (False,)))
    ),
    "a task after that fails": Plan("tasks", (push(0, "1.0.1", "after-fails"),)),
    "a task after that never ends": Plan("tasks", (push(0, "1.0.1", "after-hangs"),)),
    "a task before that is stopped by hand": Plan(
        "tasks", (push(0, "1.0.1"), (17, "stop_task", ()))
    ),
    "stopped during the task before": Plan("tasks", (push(0, "1.0.1"), (10, "stop", ()))),
    "stopped during the task after": Plan("tasks", (push(0, "1.0.1"), (65, "stop", ()))),
    "tasks, and back by hand": Plan(
        "tasks", (push(0, "1.0.1"), command(150, "rollback", to="previous"))
    ),
    "a restart of what has tasks": Plan("tasks", (command(0, "restart"),)),
    "a migration before the rollout": Plan("migrated", (push(0, "1.1.0", schema=2),)),
    "a migration before the rollout that fails": Plan(
        "migrated", (push(0, "1.1.0", "before-fails", schema=2), push(300, "1.1.1", schema=2))
    ),
    "a migration before a rollout that fails": Plan(
        "migrated", (push(0, "1.1.0", "never-healthy", schema=2),)
    ),
    "a migration before a release that cannot start": Plan(
        "migrated", (push(0, "1.1.0", "cannot-start", schema=2),)
    ),
    "stopped during a migration before the rollout": Plan(
        "migrated", (push(0, "1.1.0", schema=2), (125, "stop", ()))
    ),
    "schedules follow an update": Plan("scheduled", (push(0, "1.0.1"),)),
    "schedules of the first release": Plan("scheduled", (push(0, "1.0.1"),), live=False),
    "schedules, and the first release is refused": Plan(
        "scheduled",
        ((0, "refuse_schedule", ("nightly", True)), push(1, "1.0.1")),
        live=False,
    ),
    "schedules, and the wrong version": Plan("scheduled", (push(0, "1.0.1", "wrong-version"),)),
    "schedules, and a task after that fails": Plan(
        "scheduled with a task after", (push(0, "1.0.1", "after-fails"),)
    ),
    "schedules and a task after": Plan("scheduled with a task after", (push(0, "1.0.1"),)),
    "a schedule that is refused": Plan(
        "scheduled",
        (
            (0, "refuse_schedule", ("nightly", True)),
            push(1, "1.0.1"),
            (150, "refuse_schedule", ("nightly", False)),
            push(160, "1.0.2"),
        ),
    ),
    "a schedule that is refused again": Plan(
        "scheduled",
        (
            (0, "refuse_schedule", ("nightly", True)),
            push(0, "1.0.1"),
            (29.3, "refuse_schedule", ("hourly", True)),
            (150, "refuse_schedule", ("hourly", False)),
            (150, "refuse_schedule", ("nightly", False)),
            command(160, "restart"),
        ),
    ),
    "stopped while schedules change": Plan("scheduled", (push(0, "1.0.1"), (29.09, "stop", ()))),
    "other schedules": Plan(
        "scheduled", ((0, "edit", ("schedules", RESCHEDULED)), push(1, "1.0.1"))
    ),
    "other schedules, refused": Plan(
        "scheduled",
        (
            (0, "edit", ("schedules", RESCHEDULED)),
            (0, "refuse_schedule", ("hourly", True)),
            push(1, "1.0.1"),
        ),
    ),
    "no schedules any more": Plan(
        "scheduled", ((0, "edit", ("schedules", {})), push(1, "1.0.1"), push(150, "1.0.2"))
    ),
    "schedules by a restart": Plan(
        "scheduled", ((0, "edit", ("schedules", RESCHEDULED)), command(1, "restart"))
    ),
    "schedules, and back by hand": Plan(
        "scheduled", (push(0, "1.0.1"), command(150, "rollback", to="previous"))
    ),
    "schedules follow what stays": Plan(
        "scheduled and migrated", (push(0, "1.1.0", "wrong-version", schema=2),)
    ),
    "the first release": Plan("checked", (push(0, "1.0.1"),), live=False),
    "an update": Plan("checked", (push(0, "1.0.1"),)),
    "an update without health checks": Plan("plain", (push(0, "1.0.1"),)),
    "an update, recreated": Plan("recreated", (push(0, "1.0.1"),)),
    "an update behind a load balancer": Plan("balanced", (push(0, "1.0.1"),)),
    "three tasks behind a load balancer": Plan("three", (push(0, "1.0.1"),)),
    "nothing to verify": Plan("unverified", (push(0, "1.0.1"),)),
    "nothing to ask": Plan("bare", (push(0, "1.0.1"),)),
    "nothing to ask, and crashes": Plan("bare", (push(0, "1.0.1", "exit-late", seconds=20.0),)),
    "nothing to ask, and crashes twice": Plan("bare", (push(0, "1.0.1", "exit-twice"),)),
    "an index of several platforms": Plan("checked", ((0, "push_index", (App("1.0.1", 1),)),)),
    "a crash at the start": Plan("checked", (push(0, "1.0.1", "exit-at-start"),)),
    "a crash loop unseen by ECS": Plan("plain", (push(0, "1.0.1", "exit-at-start"),)),
    "a late crash": Plan("plain", (push(0, "1.0.1", "exit-late", seconds=20.0),)),
    "two crashes, then well": Plan("recreated", (push(0, "1.0.1", "exit-twice"),)),
    "a registry that is busy once": Plan("checked", (push(0, "1.0.1", "busy-once"),)),
    "the team's alarms, and a release that fails": Plan(
        "checked", ((0, "configure", ()), push(1, "1.0.1", "wrong-version"))
    ),
    "never healthy": Plan("recreated", (push(0, "1.0.1", "never-healthy"),)),
    "never healthy behind a balancer": Plan("balanced", (push(0, "1.0.1", "never-healthy"),)),
    "no answer, no check": Plan("plain", (push(0, "1.0.1", "hangs"),)),
    "a slow start": Plan("recreated", (push(0, "1.0.1", "slow-start", seconds=15.0),)),
    "the wrong version": Plan("checked", (push(0, "1.0.1", "wrong-version"),)),
    "an empty database": Plan("balanced", (push(0, "1.0.1", "empty-database"),)),
    "never ready, and ends": Plan("plain", (push(0, "1.0.1", "exit-unready", seconds=50.0),)),
    "what ran before does not start again": Plan(
        "recreated",
        (
            push(0, "1.0.1", "wrong-version"),
            (10, "no_room", (True,)),
            (1500, "no_room", (False,)),
        ),
    ),
    "out of memory": Plan("three", (push(0, "1.0.1", "out-of-memory"),)),
    "the wrong architecture": Plan("checked", (push(0, "1.0.1", "cannot-start"),)),
    "a migration": Plan("database", (push(0, "1.1.0", schema=2),)),
    "a migration, then wrong": Plan("database", (push(0, "1.1.0", "wrong-version", schema=2),)),
    "a migration that fails": Plan("database", (push(0, "1.1.0", "migration-fails", schema=2),)),
    "a migration that never gets healthy": Plan(
        "database", (push(0, "1.1.0", "never-healthy", schema=2),)
    ),
    "the first release fails": Plan(
        "checked",
        (push(0, "1.0.1", "exit-at-start"), push(400, "1.0.2")),
        live=False,
    ),
    "an image deleted midway": Plan(
        "checked",
        (push(0, "1.0.1"), (4.4, "delete_image", ("1.0.1",))),
    ),
    "a secret that is gone": Plan("checked", ((0, "lose_secret", ()), push(1, "1.0.1"))),
    "no addresses left": Plan(
        "checked",
        ((0, "no_room", (True,)), push(1, "1.0.1"), (200, "no_room", (False,))),
    ),
    "no addresses left, and a bad release after": Plan(
        "recreated",
        (
            (0, "no_room", (True,)),
            push(1, "1.0.1"),
            (900, "no_room", (False,)),
            push(900, "1.0.2", "exit-at-start"),
        ),
    ),
    "no subnet": Plan("checked", ((0, "lose_subnet", ()), push(1, "1.0.1"))),
    "two pushes": Plan("checked", (push(0, "1.0.1"), push(3, "1.0.2"))),
    "a push and a request at once": Plan(
        "checked", (push(0, "1.0.1"), command(1.5, "deploy", image="1.0.0"))
    ),
    "three pushes, the newest bad": Plan(
        "recreated",
        (push(0, "1.0.1"), push(2, "1.0.2"), push(4, "1.0.3", "exit-at-start")),
    ),
    "an event told again and late": Plan(
        "checked",
        (push(0, "1.0.1"), push(100, "1.0.2"), (200, "tell_again", ("1.0.1",))),
    ),
    "a rollback by hand": Plan(
        "checked",
        (
            push(0, "1.0.1"),
            command(100, "rollback", to="previous"),
            (250, "tell_again", ("1.0.1",)),
        ),
    ),
    "a rollback during a deployment": Plan(
        "recreated",
        (push(0, "1.0.1"), push(100, "1.0.2"), command(105, "rollback", to="1.0.0")),
    ),
    "a rollback, rendered": Plan(
        "rendered",
        (push(0, "1.0.1"), command(100, "rollback", to="previous", hold=False)),
    ),
    "a hold and its end": Plan(
        "checked",
        (command(0, "hold", reason="test"), push(5, "1.0.1"), command(60, "resume")),
    ),
    "a database restored": Plan(
        "database",
        (
            push(0, "1.1.0", schema=2),
            command(400, "rollback", to="previous", restoreDatabase=True),
        ),
    ),
    "a rollback that would not start": Plan(
        "database",
        (push(0, "1.1.0", schema=2), command(400, "rollback", to="previous")),
    ),
    "an older schema after a newer": Plan(
        "database",
        (push(0, "1.1.0", schema=2), push(400, "1.0.1")),
    ),
    "a push before a rollback is found after it": Plan(
        "checked",
        (push(0, "1.0.1"), push(70, "1.0.2"), command(110, "rollback", to="1.0.0", hold=False)),
        news={3: "lost"},
    ),
    "a restart": Plan("checked", (command(0, "restart"),)),
    "a restart, and a push while it waits": Plan(
        "checked", (push(0, "1.0.1"), command(5, "restart"), push(6, "1.0.2"))
    ),
    "a restart before any release": Plan("checked", (command(0, "restart"),), live=False),
    "scaled by the team": Plan("checked", ((0, "scale", (2,)), push(60, "1.0.1"))),
    "somebody else's change": Plan("checked", (push(0, "1.0.1"), (9, "update", ()))),
    "scaled to zero meanwhile": Plan("checked", (push(0, "1.0.1"), (9, "scale", (0,)))),
    "a service deleted and made again": Plan(
        "checked",
        ((0, "delete_service", ()), push(1, "1.0.1")),
    ),
    "promotions": Plan(
        "checked",
        (
            (0, "push", (App("1.0.1", 1), "build-1")),
            (2, "push", (App("1.0.2", 1), "build-2")),
            (60, "retag", ("build-2", "prod")),
            (150, "retag", ("build-1", "prod")),
        ),
    ),
    "promotions in a hurry": Plan(
        "checked",
        (
            (0, "push", (App("1.0.1", 1), "build-1")),
            (2, "push", (App("1.0.2", 1), "build-2")),
            (4, "retag", ("build-2", "prod")),
            (6, "retag", ("build-1", "prod")),
        ),
    ),
    "two tags of one push, which is bad": Plan(
        "recreated", (push(0, "1.0.1", "exit-at-start"), (1.2, "retag", ("1.0.1", "prod")))
    ),
    "a rollback after many pushes": Plan(
        "checked",
        (
            push(0, "1.0.1"),
            command(100, "hold", reason="test"),
            *(push(110 + n, f"1.0.{n + 2}") for n in range(10)),
            command(200, "rollback", to="previous"),
        ),
    ),
    "a network that lets nothing through": Plan(
        "checked",
        ((0, "seal", ()), (1, "retag", ("1.0.0", "prod"))),
    ),
    "another network for the same image, stopped midway": Plan(
        "checked",
        (
            (0, "edit", ("network", {"securityGroups": [OTHER_GROUP]})),
            (1, "retag", ("1.0.0", "prod")),
            (9, "stop", ()),
        ),
    ),
    "a container renamed, and a bad release of it": Plan(
        "balanced",
        (
            (0, "edit", ("container", {"name": "server"})),
            push(1, "1.0.1", "exit-at-start"),
        ),
    ),
    "a container renamed, and back by hand": Plan(
        "balanced",
        (
            (0, "edit", ("container", {"name": "server"})),
            push(1, "1.0.1"),
            command(300, "rollback", to="previous"),
        ),
    ),
    "another port, and back by hand": Plan(
        "checked",
        (
            (0, "edit", ("container", {"portMappings": [{"containerPort": 4000}]})),
            push(1, "1.0.1"),
            command(100, "rollback", to="previous"),
        ),
    ),
    "a restoration that is stopped": Plan(
        "database",
        (
            push(0, "1.1.0", schema=2),
            command(400, "rollback", to="previous", restoreDatabase=True),
            (830, "stop", ()),
        ),
    ),
    "a restoration after a migration that failed": Plan(
        "database",
        (
            push(0, "1.1.0", "never-healthy", schema=2),
            push(400, "1.1.1", schema=2),
            command(900, "rollback", to="1.0.0", restoreDatabase=True),
        ),
    ),
    "stopped midway": Plan("checked", (push(0, "1.0.1"), (9, "stop", ()))),
    "the first release of a service made by hand": Plan("adopted", (push(0, "1.0.1"),), live=False),
    "a service made by hand": Plan(
        "adopted",
        (
            push(0, "1.0.1"),
            push(200, "1.0.2", "exit-at-start"),
            command(500, "rollback", to="previous"),
        ),
    ),
    "a service made by hand, whose first release fails": Plan(
        "adopted", (push(0, "1.0.1", "never-healthy"), push(400, "1.0.2")), live=False
    ),
}


# the shortest schedules of what random plans found in the deployer; it is mended
FOUND: Mapping[str, Plan] = {
    "a recovery took back what the execution made live as it got the lock": Plan(
        "rendered",
        (push(0.0, "1.0.1", "exit-twice", seconds=5.0),),
        faults={21: "failed", 80: "expired"},
        noise=117316,
    ),
    "a hold was announced beside the failure that its stopped execution was recorded as": Plan(
        "adopted", (command(0.0, "hold", reason="test"),), faults={1: "stopped"}, noise=75698
    ),
    "a task of the failing release migrated the database that was being restored": Plan(
        "database",
        (
            push(0.0, "1.0.1", "out-of-memory", schema=2, seconds=20.0),
            command(400.0, "rollback", to="1.0.0", restoreDatabase=True),
        ),
        noise=46,
    ),
    "a restart brought back what ran before a push that was being recorded": Plan(
        "adopted",
        (
            (93.21025775448089, "push_index", (App("1.0.1", 1, seconds=5.0),)),
            command(169.88523467287703, "restart"),
        ),
        faults={52: "slow"},
        noise=38933,
    ),
    "a tag that was on two images within a second deployed the first": Plan(
        "rendered",
        (
            push(0.0, "1.0.1", seconds=20.0),
            (40.0, "push_index", (App("1.0.2", 1),)),
            (140.78528454864912, "retag", ("1.0.0", "prod")),
            (140.80204772658212, "retag", ("1.0.1", "prod")),
        ),
        noise=36780,
    ),
    "a push of an older schema left nothing running": PLANS["an older schema after a newer"],
    "a retried update rolled out again what ECS had given up": Plan(
        "balanced", (push(0, "1.0.1", "cannot-start"),), faults={48: "timed-out"}
    ),
    "a new service that reads do not show yet was called deleted": Plan(
        "checked", (push(0, "1.0.1"),), live=False, noise=1
    ),
    "a release that never ran went back to one from before a migration": Plan(
        "database",
        (
            push(0, "1.0.2", "never-healthy", schema=2),
            push(110, "1.0.1", schema=2),
            (130.0, "delete_image", ("1.0.1",)),
        ),
    ),
    "an address was asked for whose task had just stopped": Plan(
        "database",
        (
            (0.0, "push", (App("1.0.2", 1, "exit-late", 20.0),)),
            push(10, "1.0.4"),
            push(20, "1.0.1"),
        ),
        live=False,
        noise=8,
    ),
    "a hold that came between the look and the lock was passed over": Plan(
        "checked", (push(0, "1.0.1"),), faults={11: "held"}
    ),
    "a recovery that got the lock called the service unchanged": Plan(
        "checked", (push(0, "1.0.1"), (9.0, "stop", ())), faults={57: "denied"}
    ),
    "a look that lagged was taken for ECS's way back": Plan(
        "checked", ((0.0, "push_index", (App("1.0.2", 1),)),), faults={57: "stopped"}, noise=7
    ),
    "a new service that the way back did not see yet was left running": Plan(
        "database",
        (
            command(0, "rollback", to="1.0.0"),
            (80.0, "push", (App("1.0.1", 2, seconds=5.0),)),
            (120.0, "push_index", (App("1.0.3", 1, seconds=20.0),)),
        ),
        live=False,
        faults={50: "denied"},
        noise=1,
    ),
    "a recovery stopped the release that had come after": Plan(
        "unverified",
        (
            push(117, "1.0.1", "exit-twice", seconds=5.0),
            command(120, "deploy", image="1.0.1"),
            (170.0, "stop", ()),
        ),
        live=False,
    ),
    "ECS went back to a release that was never good": Plan(
        "database",
        (push(0, "1.0.2", "wrong-version"), push(110, "1.0.1", "never-healthy", schema=2)),
        live=False,
    ),
    "a retry that held the lock already waited for the end of a later hold": Plan(
        "recreated",
        (push(0, "1.0.1"), push(100, "1.0.2"), command(105, "rollback", to="1.0.0")),
        faults={74: "lost"},
    ),
    "a late second try of the lock left its claim": Plan(
        "recreated",
        (push(50, "1.0.2", "empty-database"), push(130, "1.0.1")),
        faults={51: "timed-out", 109: "twice", 138: "twice", 143: "lost"},
        noise=0,
    ),
    "a push after a first one that failed met an old desired count": Plan(
        "checked",
        (push(0, "1.0.3", "never-healthy"), (0.0, "push_index", (App("1.0.2", 1),))),
        live=False,
        noise=3304,
    ),
    "the data of a release left unverified were taken for the right ones": Plan(
        spec="plain",
        moves=(
            (80.0, "push", (App(version="1.0.2", schema=1, fault="exit-late", seconds=60.0),)),
            (
                110.0,
                "push",
                (App(version="1.0.1", schema=1, fault="empty-database", seconds=60.0),),
            ),
            (230.0, "order", ({"action": "deploy", "image": "1.0.1"},)),
        ),
        live=False,
        faults={70: "timed-out", 141: "stopped"},
        news={},
        noise=1248,
    ),
    "a request went back over a schema that a release left whose execution had ended midway": Plan(
        "database",
        (
            push(0, "1.0.1"),
            push(70, "1.0.3", "never-healthy", schema=2),
            command(150, "rollback", to="1.0.0", hold=False),
        ),
        faults={190: "expired"},
    ),
    "a request that failed before it changed anything was taken for one that came after": Plan(
        "database",
        (
            push(0, "1.0.1", "never-healthy", schema=2),
            (170, "stop", ()),
            command(210, "deploy", image="1.0.0"),
        ),
        faults={94: "expired"},
    ),
    "a stopped release's record was closed after a later one's and hid its schema": Plan(
        "database",
        (
            push(40, "1.0.2"),
            (80.0, "stop", ()),
            push(80, "1.0.3", schema=2),
            push(110, "1.0.4"),
        ),
        noise=68038,
    ),
    "a redriven execution registered a revision that nobody wanted any more": Plan(
        "three",
        (push(0, "1.0.1"), push(140, "1.0.2"), (200.0, "redrive", ())),
        faults={42: "stopped", 30: "paged"},
        news={1: "late"},
    ),
    "the team's count was set back just after a first release had failed": Plan(
        "checked",
        (push(0, "1.0.3", "cannot-start"), push(47, "1.0.1"), (50.0, "scale", (2,))),
        live=False,
        noise=11223,
    ),
    "a function of a stopped execution went on when another held the lock": Plan(
        "unverified",
        (
            (52.83050181940814, "push_index", (App("1.0.2", 1),)),
            push(58, "1.0.4", "exit-at-start", seconds=5.0),
            (60.0, "tell_again", ("1.0.2",)),
            command(110, "rollback", to="1.0.0", hold=False),
            push(120, "1.0.1"),
            push(128, "1.0.3"),
            (140.0, "stop", ()),
        ),
        faults={227: "slow", 109: "twice"},
    ),
    "a request that was slow undid a later one": Plan(
        "rendered",
        (
            push(0, "1.0.1"),
            command(213.9595816877115, "deploy", image="1.0.1"),
            command(216.89810700975286, "rollback", to="1.0.0", hold=False),
        ),
        noise=15891,
    ),
    "two tries of one function at once began two rollouts": Plan(
        "rendered",
        (push(90, "1.0.1", "exit-at-start", seconds=20.0), push(140, "1.0.2")),
        faults={94: "denied", 152: "twice"},
        noise=367,
    ),
    "a rollout that could not be noted was taken for one that had never run": Plan(
        "database",
        (push(0, "1.1.0", schema=2), command(400, "rollback", to="previous")),
        faults={85: "denied"},
    ),
    "ECS went back to a release whose record says that it failed": Plan(
        "checked",
        (
            push(0, "1.0.1", "wrong-version"),
            (1490, "no_room", (True,)),
            push(1500, "1.0.2"),
            (2500, "no_room", (False,)),
        ),
        faults={72: "denied"},
    ),
    "a recovery took back what a redriven execution had made live": Plan(
        "checked", (push(0, "1.0.1"), (21.73, "stop", ()), (21.9, "redrive", ()))
    ),
    "a release that restored a database stayed in a network that lets nothing through": Plan(
        "database",
        (
            (0, "push_index", (App("1.0.2", 2, "exit-at-start", 20.0),)),
            (40, "seal", ()),
            command(370, "rollback", to="1.0.0", restoreDatabase=True),
        ),
    ),
    "a promotion that the reconciler saw before its event counted from the tag's last move": Plan(
        "unverified",
        (
            push(0, "1.0.1"),
            (183, "retag", ("1.0.1", "prod")),
            push(213, "1.0.2"),
            (231, "retag", ("1.0.0", "prod")),
        ),
        news={5: "late"},
    ),
    "a service was scaled to zero between the last look and the record": Plan(
        "bare", (push(4, "1.0.2", "exit-twice", seconds=5.0), (124, "scale", (0,))), noise=21645
    ),
    "a tag put back while nothing could be read lost to an image that was pushed before": Plan(
        "bare",
        (
            (0, "retag", ("1.0.0", "prod")),
            push(140, "1.0.2"),
            (170, "retag", ("1.0.2", "prod")),
            (240, "retag", ("1.0.0", "prod")),
        ),
        faults={61: "denied"},  # the specs, for a quarter of an hour
    ),
    "a redriven execution changed the service without the lock": Plan(
        "database",
        (
            push(0, "1.1.0", schema=2),
            command(400, "rollback", to="previous", restoreDatabase=True),
            (401.03, "stop", ()),
            (402.9, "redrive", ()),
        ),
    ),
    "a second try of a wave began the next one": Plan(
        "waves", (push(0, "1.0.1"),), faults={73: "twice"}
    ),
    "a service stayed on what an earlier release had left unverified": Plan(
        "waves",
        (
            push(47, "1.0.2", schema=1),
            (138.45144936515678, "push", (App("1.0.1", 1, "exit-at-start", 60.0, "worker"),)),
            (141.0, "stop", ()),
        ),
        noise=1307,
    ),
    "a late preflight hid what a release had registered": Plan(
        "waves after a task",
        (push(0, "1.0.3", schema=1), push(0, "1.0.2", schema=1), push(110, "1.0.1", schema=1)),
        faults={293: "twice"},
        noise=115,
    ),
    "a late try changed the schedules of a release that had failed": Plan(
        "scheduled",
        ((0, "refuse_schedule", ("nightly", True)), push(1, "1.0.1")),
        faults={63: "twice"},
    ),
    "a task that was run a minute after it was recorded was called lost": Plan(
        "migrated", (push(180, "1.0.1", schema=2),), faults={96: "killed-after"}, noise=64
    ),
    "starting what a restoration had stopped counted as replacing it": Plan(
        "database",
        (
            (0, "update", ()),
            push(90, "1.0.1"),
            (180, "no_room", (True,)),
            command(330, "rollback", to="1.0.0", restoreDatabase=True),
            (760, "stop", ()),
        ),
    ),
    "a release superseded after it led the database back counted as leading it on": Plan(
        "database",
        (
            push(0, "1.1.0", schema=1),
            push(0, "1.0.2", schema=2),
            (0, "no_room", (True,)),
            (0, "scale", (2,)),
            push(130, "1.0.3", schema=2),
            command(210, "rollback", to="1.0.0", restoreDatabase=True),
            command(250, "resume"),
            (720, "stop", ()),
        ),
        noise=96681,
    ),
}


# A task definition that no spec describes: a proxy beside the application, and a volume.
_BY_HAND: Mapping[str, Any] = {
    **_PLAIN["taskDefinition"],
    "family": "made-by-hand",
    "containerDefinitions": [
        {**_CONTAINER, "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]},
        {"name": "proxy", "image": "public.ecr.aws/nginx/nginx:1.27", "essential": False},
    ],
    "volumes": [
        {"name": "data", "efsVolumeConfiguration": {"fileSystemId": "fs-0123456789abcdef0"}}
    ],
}

_KINDS: Mapping[str, tuple[type[World], Any]] = {
    "site": (sites.SiteWorld, sites.upload(0, "v0")),
    "builds": (builds.BuildWorld, builds.upload(0, "first")),
}


@cache
def _saved(spec: str, live: bool) -> bytes:
    result, first = _KINDS.get(spec, (World, push(0, "1.0.0")))
    specs = {**SPECS, **TASK_SPECS, **SCHEDULE_SPECS, **SERVICE_SPECS}
    world = result(specs.get(spec, _SPEC))
    if spec == "adopted":
        world.run(Plan(spec, ((0, "make_by_hand", (_BY_HAND, _BALANCED["serviceDefinition"])),)))
    if live:
        world.run(Plan(spec, (first,)))
    return world.saved()


def world(spec: str, live: bool) -> World:
    """A world at rest, with a release live in it or none."""
    result: World = pickle.loads(_saved(spec, live))
    return result


def run(plan: Plan, lines: list[str] | None = None) -> World:
    """Run a plan in its world. Raises Broken."""
    return world(plan.spec, plan.live).run(plan, lines)
