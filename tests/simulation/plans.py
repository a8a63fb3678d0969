"""Which plans are run: each single fault in each world, and random ones; and the shortest of those
that fail."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.simulation import worlds
from tests.simulation.application import App
from tests.simulation.invariants import Broken
from tests.simulation.world import (
    BEFALLS,
    CALL_FAULTS,
    ELSEWHERE,
    EVENT_FAULTS,
    INTERLEAVED,
    OTHER_GROUP,
    Move,
    Plan,
)
from tests.simulation.worlds import (
    PLANS,
    RESCHEDULED,
    SCHEDULE_SPECS,
    SCHEDULES,
    SERVICE_SPECS,
    SPECS,
    TASK_SPECS,
)

_CALLS = 70  # of one deployment, about


def single_faults(name: str) -> Iterator[Plan]:
    """Each fault at each call and event of a world."""
    plan = PLANS[name]
    undisturbed = worlds.run(plan)
    for number, (_, _, operation) in enumerate(undisturbed.sites):
        for fault in CALL_FAULTS:
            if operation in BEFALLS.get(fault, (operation,)):
                yield replace(plan, faults={**plan.faults, number: fault})
    for number in range(len(undisturbed.news_sites)):
        for fault in EVENT_FAULTS:
            yield replace(plan, news={**plan.news, number: fault})


def interleaved(name: str) -> Iterator[Plan]:
    """What people do meanwhile, at each call of a world."""
    plan = PLANS[name]
    for number in range(len(worlds.run(plan).sites)):
        for fault in INTERLEAVED:
            yield replace(plan, faults={**plan.faults, number: fault})


def random_plan(seed: int) -> Plan:
    """The plan that an integer is."""
    dice = random.Random(seed)
    spec = dice.choice(sorted(SPECS))
    moves: list[Move] = []
    for number in range(1, dice.choice((1, 1, 2, 2, 3, 4)) + 1):
        schema = dice.choice((1, 1, 2)) if spec == "database" else 1
        fault = dice.choice((None, None, None, *_FAULTS))
        app = App(f"1.0.{number}", schema, fault, dice.choice((5.0, 20.0, 60.0)))
        moves.append((dice.uniform(0, 150), dice.choice(("push",) * 5 + ("push_index",)), (app,)))
    versions = ["1.0.0", *(f"1.0.{n + 1}" for n in range(len(moves)))]
    for _ in range(dice.choice((0, 0, 1, 1, 2, 3))):
        moves.append((dice.uniform(0, 250), *_deed(dice, versions)))
    calls = _CALLS * len(moves)
    faults = {
        dice.randrange(calls): dice.choice(CALL_FAULTS) for _ in range(dice.choice((0, 1, 1, 2, 4)))
    }
    news = {dice.randrange(12): dice.choice(EVENT_FAULTS) for _ in range(dice.choice((0, 0, 1, 2)))}
    live, noise = dice.random() < 0.85, dice.choice((None, seed, seed))
    if dice.random() < 0.1:
        moves.append((dice.uniform(0, 400), "redrive", ()))
    moves += _more(random.Random(f"more {seed}"), spec, versions)
    moves.sort(key=lambda move: move[0])
    return Plan(spec, tuple(moves), live=live, faults=faults, news=news, noise=noise)


_OF_TASKS = ("before-fails", "before-hangs", "after-fails", "after-hangs")
_OF_A_ROLLOUT = ("cannot-start", "exit-at-start", "never-healthy", "wrong-version")


def _disturbed(dice: random.Random, seed: int, spec: str, moves: list[Move], calls: int) -> Plan:
    """A plan of moves with faults at some of its calls and events."""
    faults = {
        dice.randrange(calls): dice.choice(CALL_FAULTS) for _ in range(dice.choice((0, 1, 1, 2, 3)))
    }
    news = {dice.randrange(12): dice.choice(EVENT_FAULTS) for _ in range(dice.choice((0, 1, 2)))}
    moves.sort(key=lambda move: move[0])
    live, noise = dice.random() < 0.85, dice.choice((None, seed, seed))
    return Plan(spec, tuple(moves), live=live, faults=faults, news=news, noise=noise)


def random_task_plan(seed: int) -> Plan:
    """The plan of a service with tasks before and after its rollouts that an integer is."""
    dice = random.Random(f"tasks {seed}")
    spec = dice.choice(sorted(TASK_SPECS))
    moves: list[Move] = []
    for number in range(1, dice.choice((1, 1, 2, 3)) + 1):
        schema = dice.choice((1, 2)) if spec == "migrated" else 1
        fault = dice.choice((*(None,) * 6, *_OF_TASKS, *_OF_A_ROLLOUT))
        moves.append((dice.uniform(0, 200), "push", (App(f"1.0.{number}", schema, fault),)))
    versions = ["1.0.0", *(f"1.0.{n + 1}" for n in range(len(moves)))]
    for _ in range(dice.choice((0, 1, 1, 2))):
        tasks: list[tuple[str, tuple[Any, ...]]] = [("stop", ()), ("stop", ()), ("stop_task", ())]
        deed = dice.choice((*tasks, _deed(dice, versions), ("redrive", ())))
        moves.append((dice.uniform(0, 250), *deed))
    return _disturbed(dice, seed, spec, moves, 100 * len(versions))


def random_schedule_plan(seed: int) -> Plan:
    """The plan of a service with scheduled tasks that an integer is."""
    dice = random.Random(f"schedules {seed}")
    spec = dice.choice(sorted(SCHEDULE_SPECS))
    moves: list[Move] = []
    for number in range(1, dice.choice((1, 1, 2, 3)) + 1):
        schema = dice.choice((1, 2)) if spec == "scheduled and migrated" else 1
        fault = dice.choice((*(None,) * 8, "after-fails", *_OF_A_ROLLOUT))
        moves.append((dice.uniform(0, 200), "push", (App(f"1.0.{number}", schema, fault),)))
    versions = ["1.0.0", *(f"1.0.{n + 1}" for n in range(len(moves)))]
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        refused = dice.choice((*SCHEDULES, "daily")), dice.random() < 0.6
        edited = dice.choice(({}, SCHEDULES, RESCHEDULED))
        deeds: list[tuple[str, tuple[Any, ...]]] = [("stop", ()), ("stop", ()), ("redrive", ())]
        deeds += [("edit", ("schedules", edited)), ("order", ({"action": "restart"},))]
        deed = dice.choice((*deeds, ("refuse_schedule", refused), _deed(dice, versions)))
        moves.append((dice.uniform(0, 250), *deed))
    return _disturbed(dice, seed, spec, moves, 110 * len(versions))


def random_service_plan(seed: int) -> Plan:
    """The plan of a release of several services that an integer is."""
    dice = random.Random(f"services {seed}")
    spec = dice.choice(sorted(SERVICE_SPECS.keys() - {"later"}))  # which bears no crash at all
    names = ["coder", *(one["service"] for one in SERVICE_SPECS[spec]["services"])]
    moves: list[Move] = []
    for number in range(1, dice.choice((1, 1, 2, 3)) + 1):
        schema = dice.choice((1, 1, 2)) if "database" in SERVICE_SPECS[spec] else 1
        of_tasks = _OF_TASKS[:2] if "before" in SERVICE_SPECS[spec] else ()
        fault = dice.choice((*(None,) * 6, *_OF_A_ROLLOUT, *_FAULTS, *of_tasks))
        service = dice.choice((None, *names, *names))
        app = App(f"1.0.{number}", schema, fault, dice.choice((5.0, 20.0, 60.0)), service)
        moves.append((dice.uniform(0, 200), "push", (app,)))
    versions = ["1.0.0", *(f"1.0.{n + 1}" for n in range(len(moves)))]
    for _ in range(dice.choice((0, 0, 1, 1, 2))):
        deed = dice.choice((("stop", ()), ("stop", ()), _deed(dice, versions), ("redrive", ())))
        moves.append((dice.uniform(0, 250), *deed))
    if dice.random() < 0.1:
        moves.append((dice.uniform(0, 300), "order", ({"action": "restart"},)))
    calls = 110 * len(versions)
    faults = {
        dice.randrange(calls): dice.choice(CALL_FAULTS) for _ in range(dice.choice((0, 1, 1, 2, 3)))
    }
    news = {dice.randrange(16): dice.choice(EVENT_FAULTS) for _ in range(dice.choice((0, 1, 2)))}
    moves.sort(key=lambda move: move[0])
    live, noise = dice.random() < 0.85, dice.choice((None, seed, seed))
    return Plan(spec, tuple(moves), live=live, faults=faults, news=news, noise=noise)


_FAULTS = (
    "cannot-start",
    "exit-at-start",
    "exit-late",
    "exit-twice",
    "never-healthy",
    "hangs",
    "slow-start",
    "out-of-memory",
    "wrong-version",
    "empty-database",
    "migration-fails",
)


def _deed(dice: random.Random, versions: list[str]) -> tuple[str, tuple[Any, ...]]:
    version = dice.choice(versions)
    requests: tuple[Mapping[str, Any], ...] = (
        {"action": "rollback", "to": "previous"},
        {"action": "rollback", "to": "1.0.0", "hold": False},
        {"action": "rollback", "to": version},
        {"action": "hold", "reason": "test"},
        {"action": "resume"},
        {"action": "deploy", "image": version},
    )
    deeds: list[tuple[str, tuple[Any, ...]]] = [("order", (command,)) for command in requests]
    deeds += [("stop", ()), ("stop", ()), ("tell_again", (version,)), ("tell_again", (version,))]
    deeds += [("update", ()), ("scale", (dice.choice((0, 2)),)), ("delete_service", ())]
    deeds += [("delete_image", (version,)), ("no_room", (True,)), ("lose_secret", ())]
    return dice.choice(deeds)


def _more(dice: random.Random, spec: str, versions: list[str]) -> Iterator[Move]:
    """What only some plans have: promotions, edits of the spec, restorations, and many pushes."""
    if dice.random() < 0.3:
        for _ in range(dice.choice((1, 2, 3))):
            yield dice.uniform(0, 250), "retag", (dice.choice(versions), "prod")
    if dice.random() < 0.2 and spec != "adopted":
        edits: list[tuple[str, tuple[Any, ...]]] = [
            ("edit", ("network", {"securityGroups": [OTHER_GROUP]})),
            ("edit", ("container", {"name": "server"})),
            ("edit", ("container", {"portMappings": [{"containerPort": 4000}]})),
            ("edit", ("cluster", ELSEWHERE)),
            ("seal", ()),
        ]
        yield dice.uniform(0, 200), *dice.choice(edits)
    if spec == "database" and dice.random() < 0.5:
        back = {"action": "rollback", "to": dice.choice(("1.0.0", "previous"))}
        yield dice.uniform(150, 400), "order", ({**back, "restoreDatabase": True},)
        if dice.random() < 0.5:
            yield dice.uniform(400, 1000), "stop", ()
    if dice.random() < 0.1:
        for number in range(dice.choice((8, 12))):
            yield dice.uniform(0, 250), "push", (App(f"1.1.{number}", 1),)
        if dice.random() < 0.5:
            begin = dice.uniform(0, 200)
            yield begin, "order", ({"action": "hold", "reason": "test"},)
            yield begin + dice.uniform(5, 200), "order", ({"action": "resume"},)
    if dice.random() < 0.1:
        yield dice.uniform(0, 300), "order", ({"action": "restart"},)


def broken(plan: Plan) -> Broken | None:
    """What a plan breaks; None if every invariant holds."""
    try:
        worlds.run(plan)
    except Broken as found:
        return found
    return None


def shortest(plan: Plan, name: str) -> Plan:
    """A plan from which nothing can be left out without the invariant of that name holding."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _less(plan):
            result = broken(candidate)
            if result and result.name == name:
                plan, smaller = candidate, True
                break
    return plan


def _less(plan: Plan) -> Iterator[Plan]:
    for index in range(len(plan.moves)):
        yield replace(plan, moves=plan.moves[:index] + plan.moves[index + 1 :])
    for number in plan.faults:
        yield replace(plan, faults={k: v for k, v in plan.faults.items() if k != number})
    for number in plan.news:
        yield replace(plan, news={k: v for k, v in plan.news.items() if k != number})
    if plan.noise is not None:
        yield replace(plan, noise=None)
    for index, (at, what, arguments) in enumerate(plan.moves):
        for simpler in (0.0, float(int(at / 10) * 10), float(int(at))):
            if simpler < at:
                moves = [*plan.moves]
                moves[index] = simpler, what, arguments
                yield replace(plan, moves=tuple(sorted(moves, key=lambda move: move[0])))
        app = arguments[0] if arguments else None
        if isinstance(app, App) and app.fault:
            moves = [*plan.moves]
            moves[index] = at, what, (App(app.version, app.schema),)
            yield replace(plan, moves=tuple(moves))


def told(plan: Plan) -> str:
    """A plan as Python, and what happens in it step by step."""
    lines: list[str] = []
    try:
        worlds.run(plan, lines)
    except Broken as found:
        lines.append(f"BROKEN     {found}")
    return f"{plan!r}\n" + "\n".join(lines)
