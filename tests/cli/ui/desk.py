"""A page of documents that a test makes up, and its server; no AWS."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import click

from cli.nextstep import Given
from cli.ui.feed import Board, Desk, Feed
from cli.ui.server import Page, Server

OK = {"ok": True, "seconds": 0.1, "error": None}
SINCE = "2026-11-27T10:00:00+00:00"
ID = "20261127T095900Z-abababababab-5fd9"


def refusal(message: str, *advice: str, code: int = 6) -> dict[str, Any]:
    error = {"code": code, "message": message, "advice": [*advice]}
    return {"ok": False, "seconds": 0.1, "error": error}


def release(version: str = "1.0.0", **fields: Any) -> dict[str, Any]:
    """What `status` says of a release."""
    digest = f"sha256:{'ab' * 32}"
    known: dict[str, Any] = {"release": ID, "version": version, "tag": version, "digest": digest}
    known |= {"trigger": "push", "startedBy": "push", "taskDefinition": "arn:aws:…/shop:7"}
    return {**known, "since": SINCE, **fields}


def status(**fields: Any) -> dict[str, Any]:
    """What `status` prints of a service on which 1.0.0 is live."""
    return {
        "ok": True,
        "service": "shop",
        "cluster": "shop",
        "live": release(),
        "verified": release(),
        "serves": {"what": "1.0.0", "taskDefinitions": ["arn:aws:…/shop:7"], "verified": True},
        "alarm": None,
        "mend": None,
        "differs": None,
        "url": "https://shop.example.com",
        "tasks": {"desired": 2, "running": 2, "pending": 0, "taskDefinition": "shop:7", "list": []},
        "inFlight": [],
        "waiting": [],
        "hold": None,
        "lastFailure": None,
        "docs": None,
        "build": None,
        "unseen": {},
    } | fields


def record(version: str = "1.0.0", **fields: Any) -> dict[str, Any]:
    """What `history` prints of a release."""
    known: dict[str, Any] = {
        "service": "shop",
        "id": ID,
        "version": version,
        "tag": version,
        "trigger": "push",
    }
    known |= {
        "digest": f"sha256:{'ab' * 32}",
        "startedBy": "push",
        "startedAt": SINCE,
        "trigger": "push",
    }
    known |= {"startedAt": SINCE, "trigger": "push"}
    known |= {"endedAt": SINCE, "execution": "arn:of:it", "outcome": "SUCCEEDED", "seconds": 61.0}
    return known | fields


@dataclass
class FakeDesk:
    """Answers each command with the document that a test gave for its words."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def given(self, service: str | None) -> Given:
        return Given(service=service)

    def problem(self, error: Exception) -> dict[str, Any]:
        return Desk.problem(cast(Desk, self), error)

    def answer(self, service: str | None, command: click.Command, *words: str) -> dict[str, Any]:
        asked = " ".join([str(command.name), *words])
        self.asked.append(asked)
        return dict(self.answers.get(asked, refusal(f"no answer to {asked!r}")))


@dataclass
class Served:
    """A page that is served."""

    desk: FakeDesk
    board: Board
    feed: Feed
    server: Server

    @property
    def address(self) -> str:
        return self.server.gate.address


@contextlib.contextmanager
def served(service: str = "shop") -> Iterator[Served]:
    """Serve a page about a service, of which nothing is known yet."""
    desk = FakeDesk()
    board = Board()
    feed = Feed(cast(Desk, desk), board)
    about = {"by": "ann", "account": "1", "region": "us-east-1", "stack": "deployer"}
    about |= {"restart": "deployer ui"}
    server = Server(Page(cast(Desk, desk), feed, service, about), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        thread.start()
        try:
            yield Served(desk, board, feed, server)
        finally:
            server.shutdown()
            thread.join()
