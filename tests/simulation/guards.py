"""Guards of the deployer, taken away one at a time: each time some invariant must break.

A guard that can be taken away unnoticed is one that the simulation does not prove, or that the
deployer does not need.
"""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from itertools import chain, count, islice
from types import SimpleNamespace
from typing import Any

from deployer import aws, lock
from deployer.aws import ec2, ecs, events, s3, sfn
from deployer.build import image_build
from deployer.deploy import (
    database,
    diagnosis,
    history,
    identification,
    one_off,
    preflight,
    reconciliation,
    rollback,
    rollout,
    schedules,
    service,
    stop_reasons,
    task_definitions,
    verification,
    waves,
)
from deployer.store import builds as aws_builds
from deployer.store import locks, publications, releases, table
from tests.simulation import builds, plans, runtime, sites
from tests.simulation.asl import Machine
from tests.simulation.invariants import Broken
from tests.simulation.world import Plan
from tests.simulation.worlds import FOUND, PLANS

_CAME_TO_RUN = ("SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK")

type Put = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Guard:
    """What is taken away, how, and which invariant it protects: that one must break."""

    name: str
    protects: str
    take_away: Callable[[Put], None]
    of: str = "deploy"  # whose plans: deploy, docs or builds


@dataclass(frozen=True)
class Caught:
    """What broke without a guard, in which plan, and after how many."""

    plan: Plan
    broken: Broken
    tried: int


def table_of_guards() -> str:
    """The guards as docs/simulation.md holds them."""
    lines = ["| guard | what breaks without it |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {guard.name} | {guard.protects} |" for guard in GUARDS)])


def breaks(guard: Guard, plan: Plan) -> bool:
    """Whether a plan breaks an invariant without a guard."""
    with _without(guard):
        return plans.broken(plan) is not None


def caught(guard: Guard, seeds: int = 400) -> Caught | None:
    """Look for a plan that breaks what a guard protects, without it; None if none of many does."""
    tries = _PLANS[guard.of](seeds)
    with _without(guard):
        for tried, plan in enumerate(tries, 1):
            result = plans.broken(plan)
            if result and result.name == guard.protects:
                return Caught(plan, result, tried)
    return None


def _plans(seeds: int) -> Iterator[Plan]:
    ours = [name for name in PLANS if name not in (*sites.PLANS, *builds.PLANS)]
    named = (PLANS[name] for name in ours)
    random = map(plans.random_plan, range(seeds))
    closely = ("tasks before and after", "a schedule that is refused")
    sampled = chain(_sample(tuple(ours), 61), _sample(closely, 7))
    together = map(plans.random_service_plan, range(seeds))
    return chain(named, FOUND.values(), sampled, random, together)


def _plans_of_sites(seeds: int) -> Iterator[Plan]:
    held = (plan for name in sites.HELD for plan in plans.interleaved(name))
    named = (*sites.PLANS.values(), sites.RETRIED, sites.DENIED)
    random = map(sites.random_plan, range(5 * seeds))
    return chain(named, held, _sample(tuple(sites.PLANS), 13), random)


def _plans_of_builds(seeds: int) -> Iterator[Plan]:
    random = map(builds.random_plan, range(5 * seeds))
    named = (*builds.PLANS.values(), *builds.AT_CALLS)
    return chain(named, _sample(tuple(builds.PLANS), 13), random)


_PLANS = {"deploy": _plans, "docs": _plans_of_sites, "builds": _plans_of_builds}


@cache
def _sample(names: tuple[str, ...], stride: int) -> list[Plan]:
    every = (plan for name in names for plan in plans.single_faults(name))
    return list(islice(every, 3, None, stride))


@contextmanager
def _without(guard: Guard) -> Iterator[None]:
    before: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    guard.take_away(put)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def _function(name: str) -> Any:
    return import_module(name)


def _returns(owner: Any, name: str, value: Any) -> Callable[[Put], None]:
    return lambda put: put(owner, name, lambda *_, **__: value)


def _lock_without_condition(put: Put) -> None:
    def take(service: str, lock_request: Any, instead_of: str = "") -> bool:
        table.put({"service": service, "id": "#lock", **lock_request})
        locks.dequeue(service, lock_request["release"])
        return True

    put(locks, "acquire", take)


def _lock_released_by_anyone(put: Put) -> None:
    pass_on = locks.release

    def given_up(service: str, execution: str) -> None:
        table.delete_if(service, "#lock", "attribute_exists(#id)")
        pass_on(service, execution)

    put(locks, "release", given_up)


def _outcome_written_again(put: Put) -> None:
    update_if = table.update_if

    def always(service: str, name: str, values: Any, condition: str, **compared: Any) -> Any:
        if "outcome" in values:
            condition = "attribute_exists(#id) OR attribute_not_exists(#id)"
        return update_if(service, name, values, condition, **compared)

    put(table, "update_if", always)


def _opened_whatever_is_there(put: Put) -> None:
    def opened(document: Any, _: Any = None) -> None:
        releases.carry_out(document["execution"], document)
        table.put(document)

    put(releases, "open_release", opened)
    put(releases, "open_push", opened)


def _hold_recorded_in_two_steps(put: Put) -> None:
    def recorded(release: Any, reason: str, now: datetime) -> bool:
        releases.open_release(release)
        details = {"endedAt": now.isoformat(), "reason": reason}
        releases.close_release(release, "SUCCEEDED", details)
        return True

    put(releases, "record_hold", recorded)


def _hold_overlooked(put: Put) -> None:
    decide = lock.decide
    put(lock, "decide", lambda m, h, w, _, past: decide(m, h, w, None, past))
    _hold_looked_for_once(put)


def _hold_looked_for_once(put: Put) -> None:
    def put_if(values: Any, absent: str, condition: str, **compared: Any) -> bool:
        return table.put_if(values, condition, **compared) is None

    put(table, "put_without", put_if)


def _orders_overtake_nothing(put: Put) -> None:
    overtaken = lock._overtaken

    def by_pushes(mine: Any, own: Any, holder: Any, past: Any) -> Any:
        pushes = [entry for entry in past if entry["trigger"] == "push"]
        return overtaken(mine, own, holder, pushes)

    put(lock, "_overtaken", by_pushes)


def _ids_decide_alone(put: Put) -> None:
    put(lock, "_wins_tie", lambda entry, mine, _, waits: waits and entry["id"] > mine["release"])


def _any_rollout_will_do(put: Put) -> None:
    any_judge: Any = rollout.judge

    def judged(service: Any, started: dict[str, Any], *rest: Any) -> Any:
        current = rollout.primary(service) if service else None
        return any_judge(service, {**started, "id": current["id"]} if current else started, *rest)

    put(rollout, "judge", judged)


def _crashes_uncounted(put: Put) -> None:
    judge = rollout.judge
    put(rollout, "judge", lambda s, r, t, u, _, now, *more: judge(s, r, [], u, 10**9, now, *more))


def _running_is_steady(put: Put) -> None:
    judge = rollout.judge

    def judged(service: Any, *rest: Any) -> Any:
        if service:
            deployments = [{**d, "rolloutState": "COMPLETED"} for d in service["deployments"]]
            service = {**service, "deployments": deployments}
        return judge(service, *rest)

    put(rollout, "judge", judged)


def _nobody_else_deploys(put: Put) -> None:
    decide = rollback.decide

    def decided(service: Any, document: Any, _: Any, *rest: Any, **named: Any) -> Any:
        current = rollout.primary(service) if service else None
        revision = current["taskDefinition"] if current else None
        return decide(service, document, revision, *rest, **named)

    put(rollback, "decide", decided)


def _schema_overlooked_going_back(put: Put) -> None:
    put(rollback, "schema_grew", lambda *_: False)


def _ecs_goes_back_always(put: Put) -> None:
    update = service.update

    def always(spec: Any, there: Any, revision: str, _: bool, *rest: Any) -> Any:
        return update(spec, there, revision, True, *rest)

    put(service, "update", always)


def _ecs_goes_back_to_whatever_completed(put: Put) -> None:
    may_roll_back = service.may_roll_back

    def always(spec: Any, release: Any, previous: Any, there: Any) -> Any:
        steady = {"status": "PRIMARY", "rolloutState": "COMPLETED", "runningCount": 1}
        if previous and there:
            steady["taskDefinition"] = previous["taskDefinition"]
            there = {**there, "networkConfiguration": previous["networkConfiguration"]}
            there["deployments"] = [steady]
        return may_roll_back(spec, release, previous, there)

    put(service, "may_roll_back", always)


def _settings_cleared(put: Put) -> None:
    configuration = service._configuration
    put(service, "_configuration", lambda spec, back, _: configuration(spec, back, {}))


def _busy_for_ever(put: Put) -> None:
    put(stop_reasons, "_REASONS", tuple(r for r in stop_reasons._REASONS if r[0] != "service-busy"))


def _lock_whatever_the_outcome(put: Put) -> None:
    put(_function("acquire_lock"), "_is_open", lambda _: True)
    decide = lock.decide

    def decided(mine: Any, holder: Any, waiting: Any, hold: Any, past: Any) -> Any:
        fields = ("outcome", "endedAt", "reason", "lockedAt", "rollout")
        ours: Any = [e for e in past if e["id"] == mine["release"]]
        past = [e for e in past if e["id"] != mine["release"]]
        past += [{k: v for k, v in e.items() if k not in fields} for e in ours]
        return decide(mine, holder, waiting, hold, past)

    put(lock, "decide", decided)


def _addresses_must_be_there(put: Put) -> None:
    def asked(interfaces: Any) -> Any:
        if not interfaces:
            return {}
        response = ec2._ec2().describe_network_interfaces(NetworkInterfaceIds=list(interfaces))
        there = [entry for entry in response["NetworkInterfaces"] if "Association" in entry]
        return {e["NetworkInterfaceId"]: e["Association"]["PublicIp"] for e in there}

    put(ec2, "public_addresses", asked)


def _claim_left_in_line(put: Put) -> None:
    stays = {**vars(locks), "dequeue": lambda *_: None}
    put(_function("record_success"), "locks", SimpleNamespace(**stays))

    def leave(service: str, release: str, execution: str | None = None) -> None:
        if execution is None:
            locks.dequeue(service, release)

    put(_function("reconcile"), "locks", SimpleNamespace(**{**vars(locks), "dequeue": leave}))


def _count_left_as_it_is(put: Put) -> None:
    put(preflight, "desired_count", lambda spec, there, *_: None if there else spec.desired_count)


def _content_of_its_own(put: Put) -> None:
    numbers = iter(range(10**9))
    put(task_definitions, "content_hash", lambda _: f"content-{next(numbers)}")


def _rollout_begun_again(put: Put) -> None:
    noted = releases.rollout

    def forgotten(release: Any) -> None:
        noted(release)

    put(releases, "rollout", forgotten)


def _desired_count_set(put: Put) -> None:
    put(preflight, "desired_count", lambda spec, *_: spec.desired_count)


def _failed_release_is_good(put: Put) -> None:
    put(history, "good", lambda past: [e for e in past if str(e.get("outcome")) in _CAME_TO_RUN])


def _woken_too_late(put: Put) -> None:
    put(sfn, "_ASLEEP_NO_MORE", ())


def _throttles_unknown(put: Put) -> None:
    put(aws, "_THROTTLES", ())


def _ordered_by_the_image(put: Put) -> None:
    pushed = identification.pushed

    def by_the_image(push: Any, spec: Any, described: Any, *rest: Any) -> Any:
        push = replace(push, time=described.pushed_at) if described else push
        return pushed(push, spec, described, *rest)

    put(identification, "pushed", by_the_image)


def _snapshot_by_the_release(put: Put) -> None:
    to_restore = database.to_restore

    def by_the_release(past: Any, target: Any) -> Any:
        before: list[tuple[Any, Any]] = [(e, e["previous"]) for e in past if e.get("previous")]
        output: Any = [{**e, "previous": {**p, "databaseSchema": p["schema"]}} for e, p in before]
        return to_restore(output, target)

    put(database, "to_restore", by_the_release)


def _undecided_for_good(put: Put) -> None:
    missed = reconciliation.missed

    def but_the_undecided(service: Any, images: Any, past: Any, undecided: Any, *rest: Any) -> Any:
        result = missed(service, images, past, [], *rest)
        return [p for p in result if (p.digest, p.tag) not in reconciliation.tries(undecided)]

    put(reconciliation, "missed", but_the_undecided)


def _event_of_what_was_found(put: Put) -> None:
    event: Any = vars(reconciliation.MissedPush)["event"]
    always = property(lambda push: {**event.fget(push), "reconciled": True})
    put(reconciliation.MissedPush, "event", always)


def _machine_with(
    change: Callable[[dict[str, Any]], None], which: str = "deploy"
) -> Callable[[Put], None]:
    def take_away(put: Put) -> None:
        text = (runtime.ROOT / f"statemachine/{which}.asl.json").read_text()
        definition = copy.deepcopy(json.loads(text))
        change(definition["States"])
        changed = Machine(definition)
        plain = runtime.machine
        put(runtime, "machine", lambda name: changed if name == which else plain(name))

    return take_away


def _without_retries(states: dict[str, Any]) -> None:
    for state in states.values():
        state.pop("Retry", None)


def _without_slow_poll(states: dict[str, Any]) -> None:
    states["Poll health"]["Catch"].pop(0)


def _silent_without_the_lock(states: dict[str, Any]) -> None:
    states["Acquire lock"]["Catch"][-1]["Assign"].pop("rollback")


def _done_whatever_its_end(which: str, following: str) -> Callable[[dict[str, Any]], None]:
    def change(states: dict[str, Any]) -> None:
        states[f"Is the task {which} done?"]["Default"] = following

    return change


def _tasks_run_on(states: dict[str, Any]) -> None:
    states["Is the lock acquired?"]["Choices"].pop(2)


def _token_of_its_own(put: Put) -> None:
    numbers = count()
    put(one_off, "token", lambda *_: f"token-{next(numbers)}")


def _only(chosen: Callable[[Any], bool]) -> Callable[[Put], None]:
    """Roll back looks at some of the services that may have been updated."""

    def take_away(put: Put) -> None:
        module = _function("roll_back")
        every = module._services
        put(module, "_services", lambda *given: [one for one in every(*given) if chosen(one)])

    return take_away


def _all_at_once(spec: Any, number: int, rollouts: Any) -> list[Any]:
    return [part for part in spec.parts if part.service not in rollouts]


def _whichever_wave_is_left(spec: Any, number: int, rollouts: Any) -> list[Any]:
    every = _all_at_once(spec, number, rollouts)
    return [part for part in every if part.wave == min(one.wave for one in every)]


def _schedules_noted_anew(put: Put) -> None:
    put(releases, "note_schedules", lambda entry, note: releases.note(entry, schedules=note))


def _schedules_left_untold(states: dict[str, Any]) -> None:
    states["Update schedules of previous release"]["Catch"][0]["Assign"].pop("rollback")


def _without_rollback(states: dict[str, Any]) -> None:
    states["Diagnose failure"]["Next"] = "Record failure"


def _one_more_try_for_crashes(states: dict[str, Any]) -> None:
    for retrier in (r for s in states.values() for r in s.get("Retry", ())):
        retrier["ErrorEquals"] = [e for e in retrier["ErrorEquals"] if "." not in e] or ["None"]


def _without_the_lock(function: str) -> Callable[[Put], None]:
    free = {**vars(locks), "lease": lambda *_: nullcontext(lambda: None)}
    return lambda put: put(_function(function), "locks", SimpleNamespace(**free))


def _switched_by_anyone(states: dict[str, Any]) -> None:
    states["Read switch"]["Next"] = "Switch release"
    states["Read switch again"]["Next"] = "Switch back"


def _conflict_is_a_failure(states: dict[str, Any]) -> None:
    for name in ("Switch release", "Switch back"):
        states[name]["Catch"] = states[name]["Catch"][-1:]


def _files_before_their_manifest(put: Put) -> None:
    delete = s3.delete

    def turned(bucket: str, prefix: str, go_on: Any) -> None:
        folder, _, name = prefix.partition("/")
        other = f"releases/{name.removesuffix('.json')}/"
        delete(bucket, other if folder == "manifests" else f"manifests/{name[:-1]}.json", go_on)

    put(s3, "delete", turned)


def _held_whatever_the_hold(put: Put) -> None:
    put(
        releases,
        "close_held",
        lambda document, message: releases.close_release(document, "HELD", message),
    )


def _hold_ends_last(put: Put) -> None:
    identify = _function("identify_docs")
    resumed = identify._handle_resume

    def late(*arguments: Any) -> Any:
        result = resumed(*arguments)
        locks.release_hold(sites.SiteWorld.OWNER)
        return result

    put(identify, "_handle_resume", late)
    peek = {**vars(locks), "end_hold": lambda service, _: locks.queue(service).hold}
    put(identify, "locks", SimpleNamespace(**peek))


def _built_without_the_turn(states: dict[str, Any]) -> None:
    states["Run build"]["Arguments"]["ProjectName"] = "${ImageBuild}"


def _without_token(states: dict[str, Any]) -> None:
    states["Run build"]["Arguments"].pop("IdempotencyToken")


def _tried_for_ever(states: dict[str, Any]) -> None:
    states["Try again?"]["Choices"][0]["Condition"] = "{% $states.input.diagnosis.again %}"


def _tried_once(states: dict[str, Any]) -> None:
    states["Try again?"]["Choices"][0]["Condition"] = "{% $attempts < 1 %}"


def _archive_chosen_again(put: Put) -> None:
    forgetful = {**vars(aws_builds), "of_execution": lambda _: None}
    put(_function("identify_source"), "builds", SimpleNamespace(**forgetful))


def _upload_chosen_again(put: Put) -> None:
    forgetful = {**vars(publications), "of_execution": lambda _: None}
    put(_function("identify_docs"), "publications", SimpleNamespace(**forgetful))


def _always_restored(states: dict[str, Any]) -> None:
    states["Poll health of previous release"]["Assign"]["restored"] = True


def _pending_looks_no_more(states: dict[str, Any]) -> None:
    for choice in states["Is it verified?"]["Choices"]:
        if "PENDING" in choice["Condition"]:
            choice["Next"] = "Fetch addresses"


def _turn_noted_by_recovery(put: Put) -> None:
    take = locks.acquire

    def taken(service: str, lock_request: Any, instead_of: str = "") -> bool:
        if not take(service, lock_request, instead_of):
            return False
        if lock_request["trigger"] == "recover":
            there = "attribute_not_exists(#outcome)"
            table.update_if(service, lock_request["release"], {"lockedAt": "9999"}, there)
        return True

    put(locks, "acquire", taken)


class _Eventual:
    """DynamoDB, asked for reads that are eventually consistent."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_item(self, **request: Any) -> Any:
        return self._client.get_item(**{**request, "ConsistentRead": False})

    def get_paginator(self, operation: str) -> Any:
        pages = self._client.get_paginator(operation)

        def paginate(**request: Any) -> Any:
            return pages.paginate(**{**request, "ConsistentRead": False})

        return SimpleNamespace(paginate=paginate)


def _reads_that_lag(put: Put) -> None:
    client = table._dynamodb
    put(table, "_dynamodb", lambda: _Eventual(client()))


def _announced_twice(put: Put) -> None:
    announce = events.announce

    def twice(*message: Any, **more: Any) -> None:
        announce(*message, **more)
        announce(*message, **more)

    put(events, "announce", twice)


def _closed_whatever_is_there(put: Put) -> None:
    close = releases.close_release

    def closed(*message: Any) -> bool:
        close(*message)
        return True

    put(releases, "close_release", closed)


SITE_GUARDS = tuple(
    Guard(f"docs: {name}", protects, take_away, of="docs")
    for name, protects, take_away in (
        ("publishing needs the lock", "one in flight", _without_the_lock("publish_docs")),
        ("pruning needs the lock", "one in flight", _without_the_lock("prune_docs")),
        ("the switch needs the lock", "one in flight", _machine_with(_switched_by_anyone, "docs")),
        (
            "a conflict at the switch is looked at again",
            "no false failure",
            _machine_with(_conflict_is_a_failure, "docs"),
        ),
        (
            "a recovery that did not get the lock says so",
            "what runs",
            _machine_with(_silent_without_the_lock, "docs"),
        ),
        (
            "a manifest goes before its files",
            "live site never half deleted",
            _files_before_their_manifest,
        ),
        (
            "a retry keeps to its archive",
            "no false failure",
            _upload_chosen_again,
        ),
        ("held only while there is a hold", "newest push wins", _held_whatever_the_hold),
        ("a hold ends before the choice", "newest push wins", _hold_ends_last),
        (
            "a newer push supersedes a resume",
            "newest push wins",
            _returns(lock, "_newer_push", None),
        ),
        (
            "a newer upload supersedes a request to publish",
            "newest push wins",
            lambda put: put(lock, "_of_newest", lambda asked, _: asked["trigger"] == "resume"),
        ),
    )
)
BUILD_GUARDS = tuple(
    Guard(f"builds: {name}", protects, take_away, of="builds")
    for name, protects, take_away in (
        (
            "a redriven one needs the lock",
            "one in flight",
            _machine_with(_built_without_the_turn, "build"),
        ),
        (
            "a lost answer begins no second one",
            "never two builds of one content",
            _machine_with(_without_token, "build"),
        ),
        (
            "a content is built once",
            "never two builds of one content",
            _returns(aws_builds, "claim", None),
        ),
        (
            "a content that failed is built again",
            "no false failure",
            _returns(image_build, "already_built", "built before"),
        ),
        ("three tries are the most", "bounded", _machine_with(_tried_for_ever, "build")),
        ("what may pass is tried again", "no false failure", _machine_with(_tried_once, "build")),
        (
            "what may have pushed is not stopped",
            "no push after a refusal",
            _returns(image_build, "may_be_stopped", True),
        ),
        ("a newer upload supersedes", "newest push wins", _returns(lock, "_overtaken", None)),
        (
            "a retry keeps to its archive",
            "no false failure",
            _archive_chosen_again,
        ),
        (
            "what an execution left open is closed",
            "one outcome",
            lambda put: put(_function("reconcile"), "_settle", lambda *_: []),
        ),
        (
            "the clock closes what no event told",
            "one outcome",
            lambda put: put(_function("reconcile"), "_abandoned", lambda *_: iter(())),
        ),
        (
            "uploads without an event are found",
            "one outcome",
            lambda put: put(_function("reconcile"), "_missed_uploads", lambda *_: iter(())),
        ),
        ("an outcome is written once", "one outcome", _outcome_written_again),
    )
)
GUARDS = (
    *SITE_GUARDS,
    *BUILD_GUARDS,
    Guard("the lock is taken under a condition", "no false failure", _lock_without_condition),
    Guard("only its holder releases the lock", "one in flight", _lock_released_by_anyone),
    Guard("who holds the lock is asked whether it lives", "one in flight", _returns(
        sfn, "running", False)),
    Guard("who changes something holds the lock still", "one in flight", _returns(
        locks, "lease", nullcontext())),
    Guard("a function of a stopped execution is waited for", "one in flight", lambda put: put(
        locks, "CHANGE_SECONDS", 0)),
    Guard("one function changes something at a time", "one rollout a release", lambda put: put(
        locks, "_HELD_IDLE", "#execution = :me")),
    Guard("a release with an outcome gets no lock", "what runs", _lock_whatever_the_outcome),
    Guard("a recovery that got the lock looks again", "what runs", _returns(
        _function("acquire_lock"), "_is_open", True)),
    Guard("a dead holder's lock is taken over", "no orphans", _returns(sfn, "running", True)),
    Guard("an outcome is written once", "one outcome", _outcome_written_again),
    Guard("a push has one record", "one outcome", _opened_whatever_is_there),
    Guard("a newer push supersedes", "newest push wins", _returns(lock, "_overtaken", None)),
    Guard("a request supersedes older pushes", "a rollback sticks", _orders_overtake_nothing),
    Guard("a restart is for what is live", "newest push wins", _returns(lock, "live", None)),
    Guard("of one second's pushes the tag decides", "newest push wins", _ids_decide_alone),
    Guard("a hold is recorded with its outcome", "announced once", _hold_recorded_in_two_steps),
    Guard("a hold holds", "a hold holds", _hold_overlooked),
    Guard("a hold counts until the lock is taken", "a hold holds", _hold_looked_for_once),
    Guard("a look that lags is repeated", "rollback is exact", _returns(ecs, "shows", True)),
    Guard("a recovery stands aside for a later release", "never dark", _returns(
        lock, "_later", None)),
    Guard("a rollout is known by its id", "no false success", _any_rollout_will_do),
    Guard("tasks that die are counted", "told in time", _crashes_uncounted),
    Guard("steady is what ECS calls COMPLETED", "no false success", _running_is_steady),
    Guard("reads may lag", "no false failure", lambda put: put(rollout, "READ_LAG", timedelta(0))),
    Guard("the token is kept for the events", "told in time", _returns(
        releases, "remember_token", None)),
    Guard("the served version is asked", "no false success", _returns(
        verification, "right_version", verification.verified("unasked"))),
    Guard("the data is compared", "no false success", _returns(
        verification, "unchanged", verification.verified("unasked"))),
    Guard("somebody else's change stays", "others' changes stay", _nobody_else_deploys),
    Guard("no way back over a schema", "no older release on a newer schema",
          _schema_overlooked_going_back),
    Guard("ECS goes not back over a schema", "no older release on a newer schema",
          _ecs_goes_back_always),
    Guard("ECS goes back only to what we would go back to", "rollback is exact",
          _ecs_goes_back_to_whatever_completed),
    Guard("the team's settings of a service stay", "others' changes stay", _settings_cleared),
    Guard("a registry that was busy heals", "no false failure", _busy_for_ever),
    Guard("no way back over a schema that a failed release brought",
          "no older release on a newer schema", _returns(rollback, "outdated", False)),
    Guard("a release whose execution ended midway may have migrated",
          "no older release on a newer schema", _returns(history, "_may_have_migrated", False)),
    Guard("data that no release verified are not those to keep", "no false success", _returns(
        history, "unproven", False)),
    Guard("who is done leaves the line", "no orphans", _claim_left_in_line),
    Guard("a service that was stopped is started", "no false failure", _count_left_as_it_is),
    Guard("a recovery that did not get the lock says so", "what runs", _machine_with(
        _silent_without_the_lock)),
    Guard("a task's address may be gone already", "every refusal is foreseen",
          _addresses_must_be_there),
    Guard("a push of an older schema is refused", "no older release on a newer schema", _returns(
        preflight, "check_schema", None)),
    Guard("the surroundings are checked first", "preflight first", _returns(
        preflight, "check", None)),
    Guard("one revision for one content", "no needless revision", _content_of_its_own),
    Guard("a rollout that was noted is not begun again", "one rollout a release",
          _rollout_begun_again),
    Guard("the desired count is the team's", "the desired count is the team's",
          _desired_count_set),
    Guard("the way back is a release that was live", "rollback is exact",
          _failed_release_is_good),
    Guard("who sleeps no more need not be woken", "every refusal is foreseen", _woken_too_late),
    Guard("a throttle is tried again", "every refusal is foreseen", _throttles_unknown),
    Guard("credentials are struck out", "no secret told", lambda put: put(
        diagnosis, "redact", str)),
    Guard("a promotion counts from when its tag was put there", "newest push wins",
          _ordered_by_the_image),
    Guard("the event of a promotion that was found says when it was", "newest push wins",
          _event_of_what_was_found),
    Guard("what matters is seen behind however much else", "history is whole", lambda put: put(
        releases, "_LASTING", ())),
    Guard("a snapshot is chosen by the schema that the database had", "a snapshot fits",
          _snapshot_by_the_release),
    Guard("a restoration is undone if what follows fails", "the data follows", lambda put: put(
        releases, "restoration", lambda _: None)),
    Guard("the network is compared, too", "rollback is exact", _returns(
        rollback, "same_network", True)),
    Guard("name and port are those of the revision", "every refusal is foreseen", lambda put: put(
        service, "_fitting", lambda _, balancers, __: list(balancers))),
    Guard("what nothing can be asked of must run for a while", "no false success", lambda put: put(
        service, "UNCHECKED_BAKE", 0)),
    Guard("what could not be decided is tried again", "one outcome", _undecided_for_good),
    Guard("pushes without an event are found", "one outcome", _returns(
        reconciliation, "missed", [])),
    Guard("what a stopped execution left is put right", "one outcome", lambda put: put(
        _function("reconcile"), "_settle", lambda *_: [])),
    Guard("a failed state is tried again", "no false failure", _machine_with(_without_retries)),
    Guard("a function that dies is tried again", "no false failure", _machine_with(
        _one_more_try_for_crashes)),
    Guard("the clock finds what no event told", "no false failure", _machine_with(
        _without_slow_poll)),
    Guard("a failure goes back", "what runs", _machine_with(_without_rollback)),
    Guard("rolled back is what is steady", "back and steady", _machine_with(_always_restored)),
    Guard("who waits for an answer looks at the tasks, too", "told in time", _machine_with(
        _pending_looks_no_more)),
    Guard("a recovery leaves when the release held the lock", "history is whole",
          _turn_noted_by_recovery),
    Guard("a task is run with one token", "a task runs once", _token_of_its_own),
    Guard("the service is updated after its task", "a failed task touches nothing", _machine_with(
        _done_whatever_its_end("before", "Update service"))),
    Guard("a release is live after its task", "no false success", _machine_with(
        _done_whatever_its_end("after", "Record success"))),
    Guard("what a stopped execution has run is stopped", "no task runs on", _machine_with(
        _tasks_run_on)),
    Guard("no task starts while the database is switched", "no older release on a newer schema",
          _returns(rollout, "keeps_starting", False)),
    Guard("a task before the rollout may have migrated", "no older release on a newer schema",
          _returns(one_off, "may_have_run", False)),
    Guard("all services must be steady", "no false success", lambda put: put(
        waves, "together", lambda verdicts, **_: verdicts["coder"])),
    Guard("all services go back", "all or none", _only(lambda one: one.spec.lead is None)),
    Guard("a service whose update was asked for goes back", "all or none", _only(
        lambda one: one.rollout is not None)),
    Guard("a wave waits for the one before", "waves in order", lambda put: put(
        waves, "due", _all_at_once)),
    Guard("a late second try of a wave begins no other", "waves in order", lambda put: put(
        waves, "due", _whichever_wave_is_left)),
    Guard("schedules go back with the release", "schedules follow", lambda put: put(
        _function("update_schedules"), "_restore", lambda *_: [])),
    Guard("schedules go where the release stays", "schedules follow", _returns(
        schedules, "stays", False)),
    Guard("what schedules were is noted once", "schedules follow", _schedules_noted_anew),
    Guard("a late try changes no schedules", "schedules follow", lambda put: put(
        _function("update_schedules"), "_restored", lambda _: False)),
    Guard("what has other schedules is not called rolled back", "schedules follow", _machine_with(
        _schedules_left_untold)),
    Guard("reads of the table are consistent", "rollback is exact", _reads_that_lag),
    Guard("an outcome is announced once", "announced once", _announced_twice),
    Guard("another's outcome is not announced over", "announced once", _closed_whatever_is_there),
)  # fmt: skip
