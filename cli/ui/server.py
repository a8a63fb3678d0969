"""The server of `deployer ui`: the page, its events, and its buttons, on this machine only."""

import contextlib
import json
import secrets
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from string import Template
from typing import Any

import click

from cli.commands.cancel import cancel
from cli.commands.deploy import deploy
from cli.commands.doctor import doctor
from cli.commands.history import history
from cli.commands.hold import hold
from cli.commands.resume import resume
from cli.commands.rollback import rollback
from cli.ui import actions
from cli.ui.actions import Action, ActionInvalid
from cli.ui.feed import Board, Desk, Document, Feed
from cli.ui.gate import HEADERS, Gate, Refused, embedded

COMMANDS: Mapping[str, click.Command] = {
    "cancel": cancel,
    "deploy": deploy,
    "doctor": doctor,
    "hold": hold,
    "resume": resume,
    "rollback": rollback,
}
_FILES = {"page.css": "text/css", "page.js": "text/javascript"}
_BEAT_SECONDS = 5.0  # between two signs of life to a tab, which also find out whether it is closed


@dataclass
class Page:
    """What the page can show and do, whoever serves it.

    Attributes:
        service: the service that it opens with; None for the list of all, or the only one.
    """

    desk: Desk
    feed: Feed
    service: str | None
    about: Document

    @property
    def board(self) -> Board:
        return self.feed.board

    def html(self, service: str) -> str:
        """Return the page, with what is known already in it."""
        text = resources.files("cli.ui").joinpath("page.html").read_text()
        state = {"about": self.about, "service": service, "parts": self.board.of(service)}
        return Template(text).substitute(state=embedded(state))

    def events(self, service: str) -> Generator[str]:
        """Yield the parts for a tab: all at first, then each that changes; "" as a sign of life."""
        sent: Document = {}
        version = -1
        with self.board.watching(service):
            while True:
                newest = self.board.await_news(version, _BEAT_SECONDS)
                parts = self.board.of(service)
                news = [name for name in parts if name not in sent or sent[name] != parts[name]]
                for name in news:
                    yield f"event: {name}\ndata: {json.dumps(parts[name])}\n\n"
                if newest == version or not news:
                    yield ": alive\n\n"
                version, sent = newest, parts

    def release(self, service: str, name: str) -> Document:
        """Return the document of `history NAME`, and the command that shows what it logged."""
        document = self.desk.answer(service, history, "--", name)
        known = document.get("release") or {"id": name}
        given = self.desk.given(service)
        return {
            "document": document,
            "logs": given.command(f"deployer logs --release {shlex.quote(known['id'])}"),
        }

    def act(self, service: str, request: Any, what: str) -> Document:
        """Carry out a button's command, or show what it would change.

        Args:
            what: `act`; `preview`; or `command`, for the command alone.
        Returns:
            `command`: the command to copy; `document`: what it prints with --json, null for a
            command alone, and for a preview where it has none.
        Raises:
            ActionInvalid: no button asks for that.
        """
        action = actions.parse(request)
        shown = action.shown(self.desk.given(service))
        if what == "command" or (what == "preview" and not action.preview):
            return {"command": shown, "document": None}
        if what == "preview" or action.reads:
            words = action.preview or action.words
            return {"command": shown, "document": self._carry_out(service, words)}
        number = self.feed.begin(service, shown)
        document = self._carry_out(service, run_words(action))
        self.feed.finish(service, number, document, action.detached)
        return {"command": shown, "document": document}

    def _carry_out(self, service: str, words: tuple[str, ...]) -> Document:
        verb, *arguments = words
        return self.desk.answer(service, COMMANDS[verb], *arguments)


def run_words(action: Action) -> tuple[str, ...]:
    """Return the words of an action's command, which is not followed: the page does that."""
    return (*action.words, "--detach") if action.detached else action.words


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of the browser."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "deployer", ""
    timeout = 60.0  # seconds after which a connection without a request is closed

    def do_GET(self) -> None:
        with self._answered():
            name, query = self.server.gate.admit(self.path, self.headers)  # type: ignore[arg-type]
            service = query.get("service", self.server.page.service or "")
            match name:
                case "":
                    self._send("text/html", self.server.page.html(service))
                case "events":
                    self._stream(service)
                case "release":
                    document = self.server.page.release(service, query.get("id", ""))
                    self._send("application/json", json.dumps(document))
                case "page.css" | "page.js":
                    text = resources.files("cli.ui").joinpath(name).read_text()
                    self._send(_FILES[name], text)
                case _:
                    raise Refused(HTTPStatus.NOT_FOUND, "There is no such page.")

    def do_POST(self) -> None:
        with self._answered():
            name, query = self.server.gate.admit(self.path, self.headers)  # type: ignore[arg-type]
            length = self.server.gate.admit_action(self.headers)  # type: ignore[arg-type]
            body = self.rfile.read(length)
            if name not in ("act", "command", "preview"):
                raise Refused(HTTPStatus.NOT_FOUND, "There is no such page.")
            service = query.get("service", self.server.page.service or "")
            try:
                request = json.loads(body)
                done = self.server.page.act(service, request, name)
            except (ActionInvalid, ValueError) as error:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{error}") from error
            self._send("application/json", json.dumps(done))

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            self.close_connection = True  # its body was not read
            self._send("text/plain", f"{refused.why}\n", refused.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the tab was closed

    def _send(self, kind: str, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = text.encode()
        self.send_response(status)
        self._headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def _stream(self, service: str) -> None:
        """Send events until the tab is closed."""
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self._headers("text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.closing(self.server.page.events(service)) as events:
            for event in events:
                self.wfile.write(event.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the address has the token."""


class Server(ThreadingHTTPServer):
    """The page's server; `serve_forever` in the main thread, the feed in another."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what went wrong in the terminal, unless only a tab was closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    daemon_threads = True
    block_on_close = False

    def __init__(self, page: Page, port: int) -> None:
        """Listen on a port of this machine; 0 for a free one.

        Raises:
            OSError: the port is taken.
        """
        super().__init__(("127.0.0.1", port), _Handler)
        self.page = page
        self.gate = Gate(self.server_address[1], secrets.token_urlsafe(24))
