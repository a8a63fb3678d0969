"""`deployer status`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import click
from botocore.exceptions import ClientError

from cli.aws import DENIED, code_of
from cli.command import Call, command
from cli.errors import INTERRUPTED, CommandFailed
from cli.executions import look
from cli.patience import patiently
from cli.screen import Screen, brief, moment, printable, span
from cli.target import Target
from deployer.aws import ec2, ecs, elb
from deployer.build import image_build
from deployer.deploy import addresses, diagnosis, history, rollout, serving
from deployer.deploy.history import History
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task
from deployer.docs import site
from deployer.lock import LockRequest
from deployer.store import locks, releases

LOOK_SECONDS = 2.0  # between two looks with --watch

type Found = dict[str, Any]


@command(
    streams=itemgetter("watch"),
    epilog="""\b
Examples:
  deployer status
  deployer status --watch
  deployer status --json | jq -r .live.version
  deployer status --watch --json | jq -c .tasks     a line whenever anything changes
""",
)
@click.option("--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
def status(call: Call, watch: bool) -> None:
    """Show what is live, running and queued, and what failed last."""
    if watch:
        _watch(call)
    else:
        _ = call.account  # it may ask for an MFA code, which a spinner would hide
        with call.screen.working():
            call.result |= _found(call.target)
        say_alarm(call.screen, call.result)
        call.screen.facts(list(_facts(call.result, datetime.now(UTC))))


def say_alarm(screen: Screen, found: Found) -> None:
    """Say first if what serves is not the last verified release, with the command that mends it."""
    if found["alarm"]:
        screen.say(printable(found["alarm"]), "red")
        if found["mend"]:
            screen.command(found["mend"].strip())


def serves(target: Target) -> Found:
    """Return the last verified release and what serves; see `serving.told`."""
    spec, past = target.spec, target.history
    service: Service | None = None
    revisions: set[str] | None = None
    try:
        service = ecs.service(spec.cluster, spec.service)
        revisions = serving.running(service)
    except ClientError as error:
        if code_of(error) not in DENIED:
            raise
    in_flight = any("outcome" not in entry for entry in past)
    return serving.told(spec, service, serving.of(past, revisions), in_flight)


def _watch(call: Call) -> None:
    last: Found = {}
    try:
        with call.screen.watching() as show:
            while True:
                found = patiently(lambda: _found(call.target), call.screen)
                if call.json:
                    if found != last:
                        call.tell(found)
                elif call.screen.live:
                    show(list(_facts(found, datetime.now(UTC))))
                else:
                    show(list(_facts(found)))  # how long it is since then is no change
                last = found
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise CommandFailed(
            INTERRUPTED, "Stopped watching; what is under way in AWS goes on."
        ) from None


# What is there -----------------------------------------------------------------------------------


def _found(target: Target) -> Found:
    """All that --json tells. What the caller may not see is told in `unseen`."""
    spec, past, line = target.spec, target.history, locks.queue(target.service)
    unseen: dict[str, str] = {}

    def seen[T](what: str, asked: Callable[[], T], otherwise: T) -> T:
        try:
            return asked()
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            unseen[what] = str(error)
            return otherwise

    service = seen("service", lambda: ecs.service(spec.cluster, spec.service), None)
    tasks: list[Task] = []
    if service:
        tasks = seen("tasks", lambda: ecs.tasks(spec.cluster, spec.service), [])
    healthy = seen("targets", lambda: _healthy(spec), None) if tasks else None
    live = history.live(past)
    known = not unseen.keys() & {"service", "tasks"}
    running = {t["taskDefinitionArn"] for t in tasks if t["lastStatus"] == "RUNNING"}
    now = serving.of(past, running if known else None)
    verified = live and {**_release(live), "since": live["endedAt"]}
    in_flight = _in_flight(target, past, line)
    told = serving.told(spec, service, now, bool(in_flight))
    return {
        "service": spec.service,
        "cluster": spec.cluster,
        "live": verified if now.verified else None,
        "verified": verified,
        **{name: told[name] for name in ("serves", "alarm", "mend")},
        "url": seen("url", lambda: url(spec, tasks, live), live and live.get("url")),
        "tasks": service
        and {
            **{name: service[f"{name}Count"] for name in ("desired", "running", "pending")},
            "taskDefinition": (rollout.primary(service) or service)["taskDefinition"],
            "list": _tasks(tasks, past, healthy),
        },
        "inFlight": in_flight,
        "waiting": [_claim(lock_request, past) for lock_request in line.waiting],
        "hold": _hold(line, past),
        "lastFailure": _failure(past),
        "docs": _docs(target),
        "build": _build(target),
        "unseen": unseen,
    }


def _release(record: Mapping[str, Any]) -> Found:
    names = ("version", "tag", "digest", "trigger", "startedBy", "taskDefinition")
    return {"release": record["id"], **{name: record.get(name) for name in names}}


def url(spec: ServiceSpec, tasks: Sequence[Task], live: Mapping[str, Any] | None) -> str | None:
    """Where the service is now: a task that was replaced since has another public address."""
    running = [task for task in tasks if task["lastStatus"] == "RUNNING"]
    if spec.load_balancer or spec.network.public_ip:
        public = {} if spec.load_balancer else ec2.public_addresses(addresses.interfaces(running))
        return addresses.of(spec, running, public)["url"]
    return live.get("url") if live else None


def _healthy(spec: ServiceSpec) -> set[str] | None:
    """The addresses that the load balancer calls healthy; None without one."""
    return elb.healthy_addresses(spec.load_balancer.target_group) if spec.load_balancer else None


def _tasks(tasks: Sequence[Task], past: History, healthy: set[str] | None) -> list[Found]:
    versions = {entry.get("taskDefinition"): entry["version"] for entry in reversed(past)}
    return [
        {
            "id": task["taskArn"].rpartition("/")[2],
            "version": versions.get(task["taskDefinitionArn"]),
            "taskDefinition": task["taskDefinitionArn"],
            "status": task["lastStatus"],
            "health": task.get("healthStatus"),
            "targetHealthy": None
            if healthy is None
            else addresses.private_address(task) in healthy,
            "startedAt": task["startedAt"].isoformat() if "startedAt" in task else None,
        }
        for task in sorted(tasks, key=lambda task: str(task.get("createdAt")))
    ]


def _in_flight(target: Target, past: History, line: locks.Queue) -> list[Found]:
    """Who holds the lock, and what has none yet and does not wait for one either."""
    waiting = {lock_request["release"] for lock_request in line.waiting}
    holder = [line.holder] if line.holder else []
    names = {lock_request["release"] for lock_request in holder} | waiting
    begun = [e for e in past if "outcome" not in e and e["id"] not in names]
    return [
        *(
            _claim(lock_request, past) | _phase(target, lock_request["execution"])
            for lock_request in holder
        ),
        *(_started(entry) | _phase(target, entry["execution"]) for entry in begun),
    ]


def _claim(lock_request: LockRequest, past: History) -> Found:
    entry = next((entry for entry in past if entry["id"] == lock_request["release"]), None)
    return {
        "release": lock_request["release"],
        "version": entry["version"] if entry else None,
        "trigger": lock_request["trigger"],
        "startedBy": entry["startedBy"] if entry else None,
        "since": lock_request["since"],
        "execution": lock_request["execution"],
    }


def _started(entry: Mapping[str, Any]) -> Found:
    names = ("version", "trigger", "startedBy", "execution")
    told = {name: entry.get(name) for name in names}
    return {"release": entry["id"], **told, "since": entry["startedAt"]}


def _phase(target: Target, execution: str) -> Found:
    """Where an execution is; its status is None if it is gone, or not for the caller to see."""
    try:
        now = look(target.account.client("stepfunctions"), execution)
    except ClientError as error:
        if code_of(error) not in (*DENIED, "ExecutionDoesNotExist"):
            raise
        return {"status": None, "phase": None}
    return {"status": now.status, "phase": now.path[-1] if now.states else None}


def _hold(line: locks.Queue, past: History) -> Found | None:
    if not line.hold:
        return None
    held = history.newest_held(past, line.hold["at"])
    note = {name: line.hold.get(name) for name in ("by", "at", "reason")}
    return {**note, "newestHeld": _release(held) if held else None}


def _failure(past: History) -> Found | None:
    failed = next((e for e in past if str(e.get("outcome")).startswith("FAILED")), None)
    if not failed:
        return None
    found: Mapping[str, Any] = failed.get("diagnosis") or {}  # type: ignore[assignment]
    rollback, restored = failed.get("rollback"), failed.get("outcome") == "FAILED_ROLLED_BACK"
    return {
        **_release(failed),
        "outcome": failed.get("outcome"),
        "endedAt": failed.get("endedAt"),
        "reason": brief(failed),
        "rollback": diagnosis.of_rollback(rollback, restored, "service") if rollback else None,
        "advice": found.get("advice"),
    }


def _docs(target: Target) -> Found | None:
    live = history.live(releases.history(site.owner(target.service)))
    if not live:
        return None
    return {**_release(live), "since": live.get("endedAt"), "url": live.get("url")}


def _build(target: Target) -> Found | None:
    newest = next(iter(releases.newest(image_build.partition(target.service), 1)), None)
    if not newest:
        return None
    told = {name: newest.get(name) for name in ("outcome", "startedAt", "endedAt", "execution")}
    return {**_release(newest), **told, "reason": brief(newest)}


# How it is shown ---------------------------------------------------------------------------------


def _facts(found: Found, now: datetime | None = None) -> Iterator[tuple[str, str]]:
    """What people read. Without `now` it says the same until something changes."""
    live, tasks, verified = found["live"], found["tasks"], found["verified"]
    if now is None and found["alarm"]:
        yield "NOT VERIFIED", printable(found["alarm"])
    if verified:
        digest = verified["digest"].removeprefix("sha256:")[:12]
        said = f"{verified['version']} ({digest}) since {moment(verified['since'], now)}"
        yield "live" if live else "verified last", said
    else:
        yield "live", "nothing yet"
    if found["serves"] is None:
        yield "serves", "unknown: no permission to ask ECS"
    elif not live:
        yield "serves", printable(found["serves"]["what"] or "nothing")
    if found["url"]:
        yield "url", found["url"]
    if tasks:
        yield from _of_tasks(tasks, verified, bool(found["inFlight"]), now)
    for entry in found["inFlight"]:
        phase = entry["phase"] or "its execution is not to be seen"
        if entry["status"] not in ("RUNNING", None):
            phase = f"its execution is over ({entry['status']}); the deployer puts that right"
        yield "in flight", _of_claim(entry, now, phase)
    for entry in found["waiting"]:
        yield "waiting", _of_claim(entry, now)
    if hold := found["hold"]:
        yield (
            "held",
            printable(f"by {hold['by']} since {moment(hold['at'], now)}: {hold['reason']}"),
        )
        if held := hold["newestHeld"]:
            yield "", f"{held['version']} waits for the hold to end"
    if failed := found["lastFailure"]:
        when = f", {moment(failed['endedAt'], now)}" if failed["endedAt"] else ""
        yield "last failure", f"{failed['version']} {failed['outcome']}{when}"
        yield "why", failed["reason"]
        if failed["rollback"]:
            yield "rollback", printable(failed["rollback"])
        settled = verified and failed["endedAt"] and verified["since"] > failed["endedAt"]
        if failed["advice"] and not settled:
            yield "what to do", printable(failed["advice"])
    if docs := found["docs"]:
        where = f"{docs['url']} " if docs["url"] else ""
        yield "docs", f"{where}since {moment(docs['since'], now)}"
    if built := found["build"]:
        state = built["outcome"] or "in flight"
        yield "build", f"{built['version']} {state}, {moment(built['startedAt'], now)}"
    for what, why in found["unseen"].items():
        yield "not seen", f"{what}: {printable(why)}"


def _of_tasks(
    tasks: Found, live: Found | None, in_flight: bool, now: datetime | None
) -> Iterator[tuple[str, str]]:
    counts = f"{tasks['running']} of {tasks['desired']} running"
    yield "tasks", counts + (f", {tasks['pending']} pending" if tasks["pending"] else "")
    for task in tasks["list"]:
        health = {"HEALTHY": "healthy", "UNHEALTHY": "UNHEALTHY"}.get(task["health"] or "")
        target = {True: "in the load balancer", False: "NOT healthy in the load balancer"}
        since = f"since {moment(task['startedAt'], now)}" if task["startedAt"] else ""
        words = (task["version"], task["status"], health, target.get(task["targetHealthy"]), since)
        yield f"  {task['id'][:8]}", ", ".join(word for word in words if word)
    runs = tasks["taskDefinition"]
    if live and not in_flight and live["taskDefinition"] not in (None, runs):
        name = runs.rpartition("/")[2]
        yield "differs", f"the service is set to {name}, which is not the live release's"


def _of_claim(entry: Found, now: datetime | None, phase: str = "") -> str:
    by = f" by {entry['startedBy']}" if entry["startedBy"] and entry["trigger"] != "push" else ""
    what = f"{entry['version'] or entry['release']} ({entry['trigger']}{by})"
    began = datetime.fromisoformat(entry["since"])
    since = f"for {span((now - began).total_seconds())}" if now else f"since {moment(began)}"
    return ", ".join(word for word in (what, phase, since) if word)
