"""`deployer status`."""

import time
from collections.abc import Callable, Iterator, Sequence
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
from cli.screen import Screen, brief, moment, printable, reachable, span
from cli.target import Target
from deployer import http
from deployer.aws import ecs, elb, scheduler, ssm
from deployer.build import image_build
from deployer.deploy import (
    addresses,
    documents,
    history,
    overview,
    rollout,
    schedules,
    serving,
)
from deployer.deploy.history import History
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.stop_reasons import Task
from deployer.docs import serving as docs_serving
from deployer.docs import site
from deployer.docs.site import RecordedDocs
from deployer.store import builds, locks, publications
from deployer.usecases import read_overview

LOOK_SECONDS = 2.0  # between two polls with --watch

type Document = dict[str, Any]  # part of what --json prints


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
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
def status(call: Call, watch: bool) -> None:
    """Show what is live, running and queued, and what failed last; of all services, what is live,
    unless one is named with --service."""
    if watch:
        _watch(call)
    else:
        _ = call.account  # may ask for an MFA code, which a spinner would hide
        with call.screen.working():
            call.result |= _seen(call)
        if "services" not in call.result:
            say_alarm(call.screen, call.result)
            say_alarm(call.screen, call.result["docs"] or {"alarm": None}, "The docs: ")
        call.screen.facts(list(_rows(call.result, datetime.now(UTC))))


def say_alarm(screen: Screen, document: Document, of: str = "") -> None:
    """Warn if something other than the last verified release serves, with the command to fix it."""
    if document["alarm"]:
        screen.say(of + printable(document["alarm"]), "red")
        if document["mend"]:
            screen.command(document["mend"].strip())


def serves(target: Target) -> Document:
    """Return the last verified release, and the release that serves; see `serving.summary`."""
    return read_overview.serves(target.spec, target.history)


def _watch(call: Call) -> None:
    previous: Document = {}
    try:
        with call.screen.watching() as show:
            while True:
                current = patiently(lambda: _seen(call), call.screen)
                if call.json:
                    if current != previous:
                        call.tell(current)
                elif call.screen.live:
                    show(list(_rows(current, datetime.now(UTC))))
                else:
                    show(list(_rows(current)))  # without durations, which always change
                previous = current
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise CommandFailed(INTERRUPTED, "Stopped watching; running executions continue.") from None


# The document -------------------------------------------------------------------------------------


def _seen(call: Call) -> Document:
    """Return what --json prints: of one service, or of several where none is named."""
    if call.service is None and len(services := call.target.services) > 1:
        return {"services": [_brief(name, target) for name, target in services.items()]}
    return _document(call.target)


def _brief(name: str, target: Target | None) -> Document:
    """Return what the table of all services tells of one."""
    if target is None:
        return {"service": name, "problem": "its service spec is invalid: deployer doctor"}
    return read_overview.brief(target.spec, target.history)


def _document(target: Target) -> Document:
    """Return what --json prints; `unseen` lists what the caller has no permission to see."""
    spec, records, queue = target.spec, target.history, locks.queue(target.service)
    unseen: dict[str, str] = {}

    def request_or[T](what: str, request: Callable[[], T], otherwise: T) -> T:
        try:
            return request()
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            unseen[what] = str(error)
            return otherwise

    def own(part: ServiceSpec) -> tuple[Document, Service | None]:
        """Return the standing of one of the release's services."""
        service = request_or("service", lambda: ecs.service(part.cluster, part.service), None)
        tasks: list[Task] = []
        if service:
            tasks = request_or("tasks", lambda: ecs.tasks(part.cluster, part.service), [])
        healthy = request_or("targets", lambda: _healthy(service), None) if tasks else None
        permitted = not unseen.keys() & {"service", "tasks"}
        running = {t["taskDefinitionArn"] for t in tasks if t["lastStatus"] == "RUNNING"}
        its_records = history.of_service(records, part)
        live = history.live(its_records)
        state = serving.of(its_records, running if permitted else None)
        return {
            **serving.summary(part, service, state, bool(in_flight)),
            "url": request_or(
                "url", lambda: read_overview.url(part, tasks, live), live and live.get("url")
            ),
            "tasks": service
            and {
                **{name: service[f"{name}Count"] for name in ("desired", "running", "pending")},
                "taskDefinition": (rollout.primary(service) or service)["taskDefinition"],
                "list": _tasks(tasks, its_records, healthy),
            },
        }, service

    no_schedules: list[Document] = []
    in_flight = _in_flight(target, records, queue)
    live = history.live(records)
    verified = live and {**overview.release(live), "since": live["endedAt"]}
    leading, service = own(spec)
    further = {part.service: own(part)[0] for part in spec.further}
    summary = serving.together({spec.service: leading, **further})
    serve = [one["serves"] for one in (leading, *further.values())]
    return {
        "service": spec.service,
        "cluster": spec.cluster,
        "live": verified if all(one and one["verified"] for one in serve) else None,
        "verified": verified,
        **{name: summary[name] for name in ("serves", "alarm", "mend")},
        "differs": None if in_flight else _differs(service, verified),
        "url": leading["url"],
        "tasks": leading["tasks"],
        "further": [_further(part, further[part.service]) for part in spec.further],
        "schedules": request_or("schedules", lambda: _schedules(spec, records), no_schedules),
        "inFlight": in_flight,
        "waiting": [overview.claim(lock_request, records) for lock_request in queue.waiting],
        "hold": overview.hold(queue.hold, records),
        "lastFailure": overview.last_failure(records),
        "docs": _docs(target),
        "build": _build(target),
        "unseen": unseen,
    }


def _further(spec: ServiceSpec, own: Document) -> Document:
    """Return the standing of a further service of the release."""
    names = ("serves", "alarm", "mend", "url", "tasks")
    return {"service": spec.service, "wave": spec.wave, **{name: own[name] for name in names}}


def _differs(service: Service | None, verified: Document | None) -> str | None:
    """Return how the service's task definition differs from the verified release's; None if not."""
    runs = service and (rollout.primary(service) or service)["taskDefinition"]
    if not (runs and verified and verified["taskDefinition"] not in (None, runs)):
        return None
    name = runs.rpartition("/")[2]
    return f"the service uses {name}, which is not the live release's revision"


def _schedules(spec: ServiceSpec, records: History) -> list[Document]:
    """Return the scheduled tasks; only a service with any is looked up."""
    if not schedules.may_exist(spec, records):
        return []
    return [
        {
            "name": name,
            "schedule": schedule.get("ScheduleExpression"),
            "timezone": schedule.get("ScheduleExpressionTimezone"),
            "command": schedules.command(schedule),
            "taskDefinition": schedules.runs(schedule),
            "enabled": schedule.get("State") == "ENABLED",
        }
        for name, schedule in scheduler.schedules(schedules.group(spec.service)).items()
    ]


def _healthy(service: Service | None) -> set[str] | None:
    """Return the addresses that are healthy in each target group; None without one."""
    groups = documents.target_groups(service or {})
    return set.intersection(*map(elb.healthy_addresses, groups)) if groups else None


def _tasks(tasks: Sequence[Task], records: History, healthy: set[str] | None) -> list[Document]:
    versions = {entry.get("taskDefinition"): entry["version"] for entry in reversed(records)}
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


def _in_flight(target: Target, records: History, queue: locks.Queue) -> list[Document]:
    entries = overview.in_flight(queue.holder, queue.waiting, records)
    return [entry | _phase(target, entry["execution"]) for entry in entries]


def _phase(target: Target, execution: str) -> Document:
    """Return an execution's phase; its status is None if it is gone, or denied to the caller."""
    try:
        current = look(target.account.client("stepfunctions"), execution)
    except ClientError as error:
        if code_of(error) not in (*DENIED, "ExecutionDoesNotExist"):
            raise
        return {"status": None, "phase": None}
    return {"status": current.status, "phase": current.path[-1] if current.states else None}


def _docs(target: Target) -> Document | None:
    records = publications.history(site.owner(target.service))
    if not records:
        return None
    live, known = history.live(records), docs_serves(target, records)
    verified = {**overview.release(live), "since": live.get("endedAt")} if live else {}
    return {**verified, "url": known["url"], **{n: known[n] for n in ("serves", "alarm", "mend")}}


def docs_serves(target: Target, records: Sequence[RecordedDocs]) -> Document:
    """Return the documentation site's last verified release, and the one that it serves."""
    live = history.live(records)
    url = (str(live.get("url") or "") if live else "") or site.url(ssm.site_specs(), target.service)
    folder = docs_serving.served(http.get(f"{reachable(url)}/")) if url else None
    in_flight = any("outcome" not in entry for entry in records)
    return {"url": url, **docs_serving.summary(records, folder, in_flight)}


def _build(target: Target) -> Document | None:
    newest = next(iter(builds.newest(image_build.partition(target.service), 1)), None)
    if not newest:
        return None
    fields = {name: newest.get(name) for name in ("outcome", "startedAt", "endedAt", "execution")}
    return {**overview.release(newest), **fields, "reason": brief(newest)}


# Output -------------------------------------------------------------------------------------------


def _rows(document: Document, now: datetime | None = None) -> Iterator[tuple[str, str]]:
    """Yield the rows to show. Without `now` they stay the same until something changes."""
    if "services" in document:
        for entry in document["services"]:
            yield entry["service"], printable(_brief_text(entry, now))
        return
    live, tasks, verified = document["live"], document["tasks"], document["verified"]
    if now is None and document["alarm"]:
        yield "NOT VERIFIED", printable(document["alarm"])
    if verified:
        digest = verified["digest"].removeprefix("sha256:")[:12]
        text = f"{verified['version']} ({digest}) since {moment(verified['since'], now)}"
        yield "live" if live else "verified last", text
    else:
        yield "live", "nothing yet"
    if document["serves"] is None:
        yield "serves", "unknown: no permission to describe the ECS service"
    elif not live:
        yield "serves", printable(document["serves"]["what"] or "nothing")
    if document["url"]:
        yield "url", document["url"]
    if tasks:
        yield from _task_rows(tasks, now)
    if document["differs"]:
        yield "differs", document["differs"]
    for one in document["further"]:
        serves = one["serves"]
        what = "unknown" if serves is None else printable(serves["what"] or "nothing")
        unverified = "" if serves is None or serves["verified"] else ", not verified"
        yield one["service"], f"{what}{unverified}{' ' + one['url'] if one['url'] else ''}"
        if one["tasks"]:
            yield from _task_rows(one["tasks"], now)
    yield from _schedule_rows(document["schedules"])
    for entry in document["inFlight"]:
        phase = entry["phase"] or "its execution is gone, or you have no permission to see it"
        if entry["status"] not in ("RUNNING", None):
            phase = f"its execution ended ({entry['status']}); the deployer recovers it"
        yield "in flight", _release_text(entry, now, phase)
    for entry in document["waiting"]:
        yield "waiting", _release_text(entry, now)
    if hold := document["hold"]:
        yield (
            "held",
            printable(f"by {hold['by']} since {moment(hold['at'], now)}: {hold['reason']}"),
        )
        if held := hold["newestHeld"]:
            yield "", f"{held['version']} waits for the hold to end"
    if failed := document["lastFailure"]:
        when = f", {moment(failed['endedAt'], now)}" if failed["endedAt"] else ""
        yield "last failure", f"{failed['version']} {failed['outcome']}{when}"
        yield "why", failed["reason"]
        if failed["rollback"]:
            yield "rollback", printable(failed["rollback"])
        settled = verified and failed["endedAt"] and verified["since"] > failed["endedAt"]
        if failed["advice"] and not settled:
            yield "what to do", printable(failed["advice"])
    if docs := document["docs"]:
        yield from _docs_rows(docs, now)
    if built := document["build"]:
        state = built["outcome"] or "in flight"
        yield "build", f"{built['version']} {state}, {moment(built['startedAt'], now)}"
    for what, why in document["unseen"].items():
        yield "not seen", f"{what}: {printable(why)}"


def _docs_rows(docs: Document, now: datetime | None) -> Iterator[tuple[str, str]]:
    if now is None and docs["alarm"]:
        yield "docs", f"NOT VERIFIED: {printable(docs['alarm'])}"
    serves, words = docs["serves"], [docs["url"]]
    if "release" in docs:
        words.append(f"{docs['version']} since {moment(docs['since'], now)}")
    if serves is None:
        words.append("(what it serves is unknown: no answer)")
    elif not serves["verified"]:
        words.append(f"(verified last; it serves {serves['what'] or 'nothing'})")
    yield "docs", printable(" ".join(word for word in words if word))


def _brief_text(entry: Document, now: datetime | None) -> str:
    words = []
    if verified := entry.get("verified"):
        where = f" {entry['url']}" if entry["url"] else ""
        words.append(f"{verified['version']} since {moment(verified['since'], now)}{where}")
    elif "verified" in entry:
        words.append("nothing live yet")
    words += [f"PROBLEM: {entry['problem']}"] if entry["problem"] else []
    words += [f"in flight: {_release_text(one, now)}" for one in entry.get("inFlight", ())]
    if hold := entry.get("hold"):
        words.append(f"held by {hold['by']}: {hold['reason']}")
    return "; ".join(words)


def _task_rows(tasks: Document, now: datetime | None) -> Iterator[tuple[str, str]]:
    counts = f"{tasks['running']} of {tasks['desired']} running"
    yield "tasks", counts + (f", {tasks['pending']} pending" if tasks["pending"] else "")
    for task in tasks["list"]:
        health = {"HEALTHY": "healthy", "UNHEALTHY": "UNHEALTHY"}.get(task["health"] or "")
        target = {True: "in the load balancer", False: "NOT healthy in the load balancer"}
        since = f"since {moment(task['startedAt'], now)}" if task["startedAt"] else ""
        words = (task["version"], task["status"], health, target.get(task["targetHealthy"]), since)
        yield f"  {task['id'][:8]}", ", ".join(word for word in words if word)


def _schedule_rows(listed: Sequence[Document]) -> Iterator[tuple[str, str]]:
    for number, entry in enumerate(listed):
        zone = f" {entry['timezone']}" if entry["timezone"] not in (None, "UTC") else ""
        off = "" if entry["enabled"] else ", disabled"
        runs = f"'{entry['command']}' on {entry['taskDefinition']}{off}"
        text = f"{entry['name']}: {entry['schedule']}{zone}, {runs}"
        yield "" if number else "schedules", printable(text)


def _release_text(entry: Document, now: datetime | None, phase: str = "") -> str:
    by = f" by {entry['startedBy']}" if entry["startedBy"] and entry["trigger"] != "push" else ""
    what = f"{entry['version'] or entry['release']} ({entry['trigger']}{by})"
    began = datetime.fromisoformat(entry["since"])
    since = f"for {span((now - began).total_seconds())}" if now else f"since {moment(began)}"
    return ", ".join(word for word in (what, phase, since) if word)
