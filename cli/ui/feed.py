"""The documents that the page shows, read again and again by one thread for all tabs.

Each part is the document of a command, so the page decides nothing a second time:

    services   `status`, of all services
    status     `status --service …`
    history    `history`
    stats      `history --stats`
    drift      what `doctor` says of it, unless all is well
    flights    the deployments in flight: their stages, the rollout, ECS's events and log lines
    commands   those of `status`, complete with the options that the operator gave
    requests   what was started on this page, and how it ended
    problem    why the parts above are old; null if they are not

A tab that is open watches one service, or only the list of all. While no tab is open, nothing is
read. When AWS throttles, the pauses grow.
"""

import io
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import click
from botocore.exceptions import ClientError, NoCredentialsError

import deployer.aws
from cli import checks
from cli.aws import DENIED, Account, code_of
from cli.command import Call, answer
from cli.commands.history import history, phase
from cli.commands.status import status
from cli.doctor.account import drift
from cli.ending import document, failure_of
from cli.errors import FAILED, UNREADY, WRONG, CommandFailed
from cli.executions import Execution, look
from cli.follow import Watch
from cli.nextstep import Given
from cli.requests import link
from cli.screen import Screen, awaits_lock, brief, message, rolls, steps
from cli.target import Target, find
from cli.ui import stages
from deployer.check import OK
from deployer.redaction import redact_all
from deployer.store import locks, releases

PULSE_SECONDS = 0.4  # from one look at whether anything changed to the next
CALM_SECONDS = 3.0  # after which everything is read again although nothing changed
SERVICES_SECONDS = 2.0  # between two looks at all services; five times that for a tab of one
TARGET_SECONDS = 60.0  # after which the stack and the credentials are read again
PAUSE_SECONDS = 4.0  # after a failure; doubled with each that follows, up to the next
LONGEST_PAUSE = 30.0
LINES = 400  # of a deployment, the newest
REQUESTS = 20  # the newest
STATS_SECONDS = DRIFT_SECONDS = 60.0

type Document = dict[str, Any]


@dataclass
class Board:
    """The newest parts, and those who wait for the next. Shared by all threads."""

    parts: dict[str, Document] = field(default_factory=dict)  # by service; "" has what all share
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _version: int = 0
    _watched: dict[str, int] = field(default_factory=dict)  # services, and by how many tabs

    def put(self, service: str, name: str, document: Any) -> None:
        """Set a part; tabs are woken if it differs."""
        with self._changed:
            mine = self.parts.setdefault(service, {})
            if name not in mine or mine[name] != document:
                mine[name] = document
                self._wake()

    def of(self, service: str) -> Document:
        """Return the parts that a tab of a service shows."""
        with self._changed:
            own = self.parts.get(service, {}) if service else {}
            return {**self.parts.get("", {}), **own}

    @contextmanager
    def watching(self, service: str) -> Iterator[None]:
        """Have a service watched while a tab of it is open."""
        with self._changed:
            self._watched[service] = self._watched.get(service, 0) + 1
            self._wake()
        try:
            yield
        finally:
            with self._changed:
                self._watched[service] -= 1
                if not self._watched[service]:
                    del self._watched[service]

    @property
    def watched(self) -> list[str]:
        with self._changed:
            return list(self._watched)

    def wake(self) -> None:
        """Have everything read again at once."""
        with self._changed:
            self._wake()

    def _wake(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def await_news(self, seen: int, seconds: float) -> int:
        """Wait until there is a newer version than `seen`, and return it."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, seconds)
            return self._version

    def await_tab(self, seconds: float) -> bool:
        """Wait until a tab is open; return whether one is."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._watched), seconds)


class Desk:
    """The account and its services, for several threads; opened again as credentials change."""

    def __init__(self, call: Call) -> None:
        """Open the account, as a command does: at the terminal it may ask for an MFA code."""
        self._call, self._lock = call, threading.Lock()
        self._had_session = call.account.temporary
        self._target, self._opened = call.target, 0.0
        self.reopen()

    @property
    def target(self) -> Target:
        """Return the deployer, found anew once a minute: a page stays open for days."""
        with self._lock:
            if time.monotonic() - self._opened > TARGET_SECONDS:
                self._find(self._target.account)
            return self._target

    def reopen(self) -> None:
        """Read the credentials again, such as after `aws sso login` in a terminal.

        Raises:
            CommandFailed: a code of an MFA device is needed; only a terminal asks for it.
        """
        try:
            account = Account(self._call.profile, self._call.region, asks=False)
            account.for_threads()
            deployer.aws.client.cache_clear()
            with self._lock:
                self._find(account)
        except NoCredentialsError as error:
            if not self._had_session:
                raise
            raise CommandFailed(
                UNREADY,
                "your session is over",
                ["A command in a terminal asks for a new code; the page then goes on:",
                 "  deployer status"],
            ) from error  # fmt: skip

    def _find(self, account: Account) -> None:
        self._target = find(account, self._call.stack, self._call.service)
        self._opened = time.monotonic()

    def call(self, service: str | None) -> Call:
        """Return a call of a command about a service; its screen shows nothing."""
        return self._about(self.target, service)

    def given(self, service: str | None) -> Given:
        """Return the options that a command about a service repeats; asks AWS for nothing."""
        return self._about(self._target, service).given

    def _about(self, target: Target, service: str | None) -> Call:
        call = Call(self._call.profile, self._call.region, self._call.stack, service, json=True)
        call.__dict__ |= {
            "account": target.account,
            "target": replace(target, requested=service),
            "screen": Screen(io.StringIO(), quiet=True),
        }
        return call

    def answer(self, service: str | None, command: click.Command, *words: str) -> Document:
        """Return the document of a command about a service, whatever goes wrong."""
        try:
            return answer(self.call(service), command, words)
        except Exception as error:  # not even the deployer was found
            return {"ok": False, "seconds": 0.0, "error": self.problem(error)}

    def problem(self, error: Exception) -> Document:
        """Return the error that a command would end with for the same reason."""

        def fail() -> None:
            raise error

        try:
            failure = failure_of(fail)
        except Exception:
            failure = CommandFailed(FAILED, f"{type(error).__name__}: {error}")
        if failure:
            failure.advice = self.given(None).lines(failure.advice)
        ended: Document = document({}, failure, 0)["error"]
        return ended


@dataclass
class Flight:
    """A deployment that is followed: its execution, and what its tasks wrote."""

    execution: str
    watch: Watch
    since: datetime
    lines: list[str] = field(default_factory=list)
    count: int = 0
    seen: int = 0
    rolled: bool = False
    document: Document = field(default_factory=dict)

    def look(self, target: Target) -> None:
        """Read how far it is."""
        now = look(target.account.client("stepfunctions"), self.execution)
        rolling = self.rolled or any(rolls(state) for state in now.states[self.seen :])
        waits = self.watch.standing() if rolling else ""
        for line in self.watch.news() if rolling else ():
            self.lines = [*self.lines, line][-LINES:]
            self.count += 1
        if awaits_lock(now):
            waits = self.watch.lock()
        self.seen, self.rolled = len(now.states), any(rolls(s) for s in now.states[-1:])
        self.document = self._document(now, waits)

    def _document(self, now: Execution, waits: str) -> Document:
        passed = steps(now, waits if now.status == "RUNNING" else "")
        return {
            "execution": self.execution,
            "link": link(self.execution),
            "status": now.status,
            "startedAt": self.since.isoformat(),
            "seconds": round(now.seconds, 1),
            **stages.graph(now, passed),
            "phases": [phase(step) for step in passed],
            "standing": waits,
            "lines": self.lines,
            "count": self.count,
        }


@dataclass
class Feed:
    """Reads the parts for a board, until `stop`."""

    desk: Desk
    board: Board
    flights: dict[str, dict[str, Flight]] = field(default_factory=dict)  # by service, execution
    requests: dict[str, dict[int, Document]] = field(default_factory=dict)  # by service, number
    stop: threading.Event = field(default_factory=threading.Event)
    _keys: dict[str, Any] = field(default_factory=dict)
    _read: dict[str, float] = field(default_factory=dict)  # when each part was read last
    _took: float = 0.0  # seconds, to read the list of all services
    _problems: dict[str, Document | None] = field(default_factory=dict)  # by service, "" of all
    _failures: dict[str, int] = field(default_factory=dict)  # likewise, one after the other
    _again: dict[str, float] = field(default_factory=dict)  # likewise: when to try again
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, first: str) -> None:
        """Read while a tab is open, and once before, for the tab that is about to open.

        Args:
            first: the service that it shows; "" for the list of all.
        """
        with self.board.watching(first):
            self.round()
        while not self.stop.is_set():
            if self.board.await_tab(1.0):
                self.stop.wait(self.round())

    def round(self) -> float:
        """Read what is due, and return the seconds until the next round."""
        began, watched = time.monotonic(), self.board.watched
        for name in watched:
            if began >= self._again.get(name, began):
                self._try(name)
        if "" not in watched and self._services_due(5 * SERVICES_SECONDS):
            with suppress(Exception):  # what a tab of one service misses is only the other names
                self._services()
        return max(PULSE_SECONDS - (time.monotonic() - began), PULSE_SECONDS / 4)

    def _try(self, name: str) -> None:
        """Read a service, or the list of all; if it fails, the page says why, and tries again."""
        problem = self._problems.get(name)
        try:
            if problem and problem["code"] != WRONG:
                self.desk.reopen()
                self.flights.pop(name, None)  # they read with the credentials from before
                self._keys.pop(name, None)
            if name:
                problem = self._service(name)
            elif problem or self._services_due(SERVICES_SECONDS):
                problem = self._services()
        except Exception as error:  # whatever it is
            problem = self.desk.problem(error)
        if problem:
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            pause = min(PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE)
            self._again[name] = time.monotonic() + pause
            problem = {**problem, "again": pause}
        else:
            self._failures.pop(name, None)
            self._again.pop(name, None)
        self._problems[name] = problem
        self.board.put(name, "problem", problem)

    def _services_due(self, seconds: float) -> bool:
        """Whether to read the list of all: of many, a fifth of the time at most goes to them."""
        return self._due("services", max(seconds, 5 * self._took))

    def _due(self, name: str, seconds: float) -> bool:
        return time.monotonic() - self._read.get(name, -seconds) >= seconds

    def _services(self) -> Document | None:
        """Read the list of all services; return the error, if it could not be read."""
        began = self._read["services"] = time.monotonic()
        document = self.desk.answer(None, status)
        self._took = time.monotonic() - began
        if "services" not in document and not document["error"]:
            # of one service alone: it is the list
            names = ("service", "verified", "url", "serves", "inFlight", "hold")
            entry = {name: document[name] for name in names} | {"problem": document["alarm"]}
            document = {"services": [entry], "error": None}
        if not document["error"]:
            self.board.put("", "services", document["services"])
        error: Document | None = document["error"]
        return error

    def _service(self, service: str) -> Document | None:
        """Read a service, if it changed or was read long ago; return the error, if any."""
        key = locks.queue(service), releases.newest(service, 3)
        full = f"service {service}"
        flying = bool(self.flights.get(service))
        error: Document | None = None
        if key != self._keys.get(service) or self._due(full, 1.0 if flying else CALM_SECONDS):
            self._read[full] = time.monotonic()
            error = self._documents(service)
            self._keys[service] = None if error else key
        self._follow(service)
        self._requests(service)
        if self._due(f"stats {service}", STATS_SECONDS):
            self._read[f"stats {service}"] = time.monotonic()
            self._put(service, "stats", history, "--stats")
        if self._due(f"drift {service}", DRIFT_SECONDS):
            self._read[f"drift {service}"] = time.monotonic()
            self._drift(service)
        return error

    def _drift(self, service: str) -> None:
        given, found = self.desk.given(service), drift(self.desk.call(service).target)
        problems = [checks.document(check, given) for check in found if check.state != OK]
        self.board.put(service, "drift", problems)

    def _documents(self, service: str) -> Document | None:
        before = self.board.of(service).get("history")
        for name, command in (("status", status), ("history", history)):
            if error := self._put(service, name, command):
                return error
        if before != self.board.of(service).get("history"):
            for part in ("stats", "drift"):  # they change with the releases
                self._read.pop(f"{part} {service}", None)
        self._depart(service)
        return None

    def _put(self, service: str, name: str, command: click.Command, *words: str) -> Document | None:
        document = self.desk.answer(service, command, *words)
        error: Document | None = document.pop("error")
        if not error:
            document.pop("seconds")  # how long it took to read changes each time
            if name == "status":
                self.board.put(service, "commands", self._commands(service, document))
            self.board.put(service, name, document)
        return error

    def _commands(self, service: str, document: Document) -> Document:
        """Return the commands of a status document, complete, to be copied."""
        given = self.desk.given(service)
        alarms = {"mend": document, "docs": document["docs"] or {}}
        return {
            name: part["mend"] and given.command(part["mend"].strip())
            for name, part in alarms.items()
            if "mend" in part
        }

    # The deployments in flight --------------------------------------------------------------------

    def _depart(self, service: str) -> None:
        """Begin to follow the deployments in flight; one that ended stays until the next."""
        parts = self.board.of(service)
        entries = [*parts["status"]["inFlight"], *parts["status"]["waiting"]]
        arns = {entry["execution"]: entry for entry in entries}
        newest: Document = next(iter(parts["history"]["releases"]), {})
        shown = {*arns, newest.get("execution"), newest.get("recoveredBy")}
        followed = self.flights.setdefault(service, {})
        for left in followed.keys() - shown:
            del followed[left]
        target = self.desk.call(service).target
        for arn, entry in arns.items():
            if arn not in followed:
                since = datetime.fromisoformat(entry["since"])
                followed[arn] = Flight(arn, Watch(target, since), since)

    def _follow(self, service: str) -> None:
        """Read the deployments in flight; one that ended stays shown as it ended."""
        flights = self.flights.get(service, {})
        target = self.desk.call(service).target
        for flight in flights.values():
            if flight.document.get("status") in (None, "RUNNING"):
                try:
                    flight.look(target)
                except ClientError as error:
                    if code_of(error) not in (*DENIED, "ExecutionDoesNotExist"):
                        raise
        self.board.put(service, "flights", [f.document for f in flights.values() if f.document])

    # What was started here ------------------------------------------------------------------------

    def begin(self, service: str, command: str) -> int:
        """Note a command that a button runs, for every tab to see, and return its number."""
        number = next(self._numbers)
        request = {"id": number, "command": command, "status": "RUNNING", "execution": None}
        request |= {"outcome": None, "version": None, "reason": None, "advice": []}
        self.requests.setdefault(service, {})[number] = request
        self._put_requests(service)
        return number

    def finish(self, service: str, number: int, document: Mapping[str, Any], follow: bool) -> None:
        """Note what a command came to, or the execution that it started, which is followed."""
        request, error = self.requests[service][number], document["error"]
        execution = document.get("execution")
        status = "RUNNING" if follow and execution else "ENDED"
        ended = {name: document.get(name) for name in ("outcome", "version", "reason")}
        if error:
            status = "REFUSED" if execution is None else "FAILED"
            ended |= {"reason": error["message"], "advice": error["advice"]}
        self.requests[service][number] = {
            **request, "execution": execution, "status": status, **ended
        }  # fmt: skip
        self._put_requests(service)
        self._keys.pop(service, None)
        self.board.wake()

    def _requests(self, service: str) -> None:
        sfn = self.desk.target.account.client("stepfunctions")
        for number, request in [*self.requests.get(service, {}).items()]:
            if request["status"] == "RUNNING" and request["execution"]:
                described = sfn.describe_execution(executionArn=request["execution"])
                if described["status"] != "RUNNING":
                    self.requests[service][number] = _ended(request, described)
                    self._put_requests(service)

    def _put_requests(self, service: str) -> None:
        newest = [*self.requests.get(service, {}).values()][-REQUESTS:]
        self.board.put(service, "requests", newest)


def _ended(request: Document, described: Mapping[str, Any]) -> Document:
    """Return a request whose execution ended, with what it came to, by the release's record."""
    record: Mapping[str, Any] = releases.of_any_kind.handled_by(request["execution"]) or {}
    reason = brief(record) or message(described.get("cause") or "") or None
    ended = {name: record.get(name) for name in ("outcome", "version")}
    ended |= {"status": described["status"], "reason": reason}
    return redact_all({**request, **ended}, by_name=False)
