#!/usr/bin/env python3
"""A small web application that stands in for Coder's server.

It starts, answers, migrates, refuses and stops as Coder's server does where a deployer can tell
the difference, and is otherwise as small as can be: the standard library only, any Python from 3.9.

Environment, with Coder's names and defaults:

    CODER_HTTP_ADDRESS        where to listen: `127.0.0.1:3000`; a task needs `0.0.0.0:3000`.
    CODER_PG_CONNECTION_URL   the database: `postgresql://user:password@host:port/name?sslmode=…`
                              with `require` (the default) or `disable`; or an SQLite file as
                              `file:///absolute/path`, which is made if it is missing. Unset: a
                              database of its own that is gone with the process, as Coder's
                              built-in PostgreSQL is with the task.
    CODER_ACCESS_URL          the address that the start-up log and build information name. Unset:
                              the listener's own, where Coder would open a tunnel.

What the release is, and what is wrong with it, is part of the image and lies beside this file:

    release.json              version, revision (40 hex digits), fault (see FAULTS), seconds
    migrations/               NNNNNN_name.up.sql; the highest number is the release's schema

With arguments it becomes the command that they are, as `deployer run -- COMMAND` gives them.

Exit codes: 0 when asked to stop, 1 when it cannot start or go on, 3 for the fault `exit-at-start`.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import hmac
import html
import http.server
import json
import os
import signal
import socket
import socketserver
import sqlite3
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

HERE = Path(__file__).resolve().parent

FAULTS = {
    "exit-at-start": "exits with code 3 before it opens its port",
    "exit-late": "answers for `seconds`, then exits with code 1",
    "never-healthy": "opens its port and answers, but /healthz is 503 for ever",
    "slow-start": "opens its port and answers nothing for `seconds`",
    "empty-database": "comes up with an empty database instead of the configured one",
}

FINISH_SECONDS = 0.5  # how long requests under way may take once we are asked to stop
LOCK_SECONDS = 15  # how long to wait for another instance's migration (golang-migrate's default)
MIGRATION_LOCK = 1037  # any number that all releases share
MAX_BODY_BYTES = 64 * 1024


class Stopped(BaseException):
    """A signal asked us to stop."""


def log(line: str) -> None:
    # Not through sys.stderr: a request's thread that holds its lock at exit would abort the exit.
    os.write(2, f"{line}\n".encode())


def event(level: str, message: str, **fields: object) -> None:
    """Log one line in the form of Coder's human-readable log."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}"
    log(f"{stamp} [{level}]  coderd: {message}" + "".join(f"  {k}={v}" for k, v in fields.items()))


# The release -------------------------------------------------------------------------------------


class Release(NamedTuple):
    version: str
    revision: str
    fault: str | None
    seconds: float

    @property
    def served_version(self) -> str:
        """The version as Coder's buildinfo.Version() tells it: a `v` before, the commit behind."""
        version = f"v{self.version}"
        return version if "+" in version else f"{version}+{self.revision[:7]}"


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    def statements(self) -> Iterator[str]:
        # sqlite3's executescript() would commit our transaction before it begins.
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""
        if statement.strip():
            raise Refused(f"migration {self.name} does not end with a semicolon")


def read_release(directory: Path) -> Release:
    return Release(**json.loads((directory / "release.json").read_text(encoding="utf-8")))


def read_migrations(directory: Path) -> list[Migration]:
    files = sorted((directory / "migrations").glob("*.up.sql"))
    return [
        Migration(int(file.name.split("_")[0]), file.name, file.read_text(encoding="utf-8"))
        for file in files
    ]


# The database ------------------------------------------------------------------------------------

Row = Sequence[Any]


class DatabaseError(Exception):
    """The database cannot be reached or used; the message is its own where it has said one."""


class Refused(DatabaseError):
    """The database is there, but not for this release."""


class Connection(Protocol):
    """What the two kinds of database have in common."""

    begin: ClassVar[Sequence[str]]
    """The statements that begin a transaction in which nobody else migrates."""

    def execute(self, statement: str, *values: str) -> list[Row]:
        """Run one statement with values for $1, $2 and so on, and return its rows."""


class Sqlite:
    """An SQLite file, or a database in memory when the path is None."""

    begin: ClassVar[Sequence[str]] = ("BEGIN IMMEDIATE",)

    def __init__(self, path: str | None) -> None:
        try:
            self._connection = sqlite3.connect(
                ":memory:" if path is None else f"file://{path}",
                uri=path is not None,
                timeout=LOCK_SECONDS,
                isolation_level=None,  # transactions begin where we say BEGIN
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise DatabaseError(error) from error

    def execute(self, statement: str, *values: str) -> list[Row]:
        named = {str(number): value for number, value in enumerate(values, 1)}
        try:
            return self._connection.execute(statement, named).fetchall()
        except sqlite3.Error as error:
            raise DatabaseError(error) from error


class Postgres:
    """A connection to a PostgreSQL server, made when it is needed and made again when it broke.

    The few messages of the protocol that it takes, with SCRAM-SHA-256 (RFC 5802, RFC 7677) for the
    password: https://www.postgresql.org/docs/current/protocol.html
    The messages of errors are those of Coder's driver, https://github.com/lib/pq.
    """

    begin: ClassVar[Sequence[str]] = (
        "BEGIN",
        f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",
        f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})",
    )

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        options = dict(urllib.parse.parse_qsl(parts.query))
        self._address = parts.hostname or "localhost", parts.port or 5432
        self._user = urllib.parse.unquote(parts.username or "")
        self._password = urllib.parse.unquote(parts.password or "")
        self._database = urllib.parse.unquote(parts.path[1:]) or self._user
        self._mode = options.get("sslmode", "require")
        if self._mode not in ("require", "disable"):
            raise DatabaseError(f'pq: unsupported sslmode "{self._mode}"; require or disable')
        self._socket: socket.socket | None = None

    def execute(self, statement: str, *values: str) -> list[Row]:
        try:
            if self._socket is None:
                self._connect()
            self._send(b"P", b"\0" + statement.encode() + b"\0" + bytes(2))  # parse
            bound = b"".join(len(v.encode()).to_bytes(4, "big") + v.encode() for v in values)
            self._send(b"B", bytes(4) + len(values).to_bytes(2, "big") + bound + bytes(2))  # bind
            self._send(b"E", bytes(5))  # execute
            self._send(b"S")  # sync: the server says when it is done, or what failed
            return [self._row(body) for kind, body in self._until_ready() if kind == b"D"]
        except OSError as error:
            self._close()
            host, port = self._address
            reason = (error.strerror or str(error)).lower()
            raise DatabaseError(f"dial tcp {host}:{port}: {reason}") from error

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, LOCK_SECONDS)
        self._socket.settimeout(2 * LOCK_SECONDS)
        try:
            if self._mode == "require":
                self._send(b"", (80877103).to_bytes(4, "big"))
                if self._socket.recv(1) != b"S":
                    raise DatabaseError("pq: SSL is not enabled on the server")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False  # `require` encrypts, and trusts any certificate
                context.verify_mode = ssl.CERT_NONE
                self._socket = context.wrap_socket(self._socket)
            startup = f"user\0{self._user}\0database\0{self._database}\0\0"
            self._send(b"", (3 << 16).to_bytes(4, "big") + startup.encode())
            self._log_in()
        except BaseException:
            self._close()
            raise

    def _log_in(self) -> None:
        bare = f"n=,r={base64.b64encode(os.urandom(18)).decode()}"
        expected = b""
        for kind, body in self._until_ready():
            if kind != b"R":
                continue
            method, received = int.from_bytes(body[:4], "big"), body[4:]
            if method == 10:  # a choice of SASL mechanisms
                if b"SCRAM-SHA-256" not in received.split(b"\0"):
                    raise DatabaseError("pq: the server does not offer SCRAM-SHA-256")
                first = f"n,,{bare}".encode()
                size = len(first).to_bytes(4, "big")
                self._send(b"p", b"SCRAM-SHA-256\0" + size + first)
            elif method == 11:
                answer, expected = self._prove(bare, received.decode())
                self._send(b"p", answer)
            elif method == 12 and not hmac.compare_digest(received, expected):
                raise DatabaseError("pq: the server does not know the password either")
            elif method not in (0, 12):
                raise DatabaseError(f"pq: unknown authentication response: {method}")

    def _prove(self, bare: str, challenge: str) -> tuple[bytes, bytes]:
        """The proof that we know the password, and the one that the server must give in turn."""
        received = dict(field.split("=", 1) for field in challenge.split(","))
        salt, rounds = base64.b64decode(received["s"]), int(received["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, rounds)
        final = f"c=biws,r={received['r']}"
        signed = f"{bare},{challenge},{final}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = (int.from_bytes(key, "big") ^ int.from_bytes(signature, "big")).to_bytes(32, "big")
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        answer = f"{final},p={base64.b64encode(proof).decode()}".encode()
        return answer, b"v=" + base64.b64encode(server)

    def _until_ready(self) -> Iterator[tuple[bytes, bytes]]:
        """The messages of the server until it waits for the next statement. Raises what it says
        went wrong; after an error at login it closes, and is not ready again."""
        failure = None
        while True:
            try:
                head = self._receive(5)
                kind, body = head[:1], self._receive(int.from_bytes(head[1:], "big") - 4)
            except OSError:
                if failure:
                    self._close()
                    raise failure from None
                raise
            if kind == b"E":
                fields = {field[:1]: field[1:] for field in body.split(b"\0")}
                failure = DatabaseError(f"pq: {fields[b'M'].decode(errors='replace')}")
            elif kind == b"Z":
                if failure:
                    raise failure
                return
            else:
                yield kind, body

    def _send(self, kind: bytes, body: bytes = b"") -> None:
        assert self._socket
        self._socket.sendall(kind + (len(body) + 4).to_bytes(4, "big") + body)

    def _receive(self, size: int) -> bytes:
        assert self._socket
        content = b""
        while len(content) < size:
            part = self._socket.recv(size - len(content))
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "unexpected EOF")
            content += part
        return content

    def _row(self, body: bytes) -> Row:
        row: list[str | None] = []
        at = 2
        for _ in range(int.from_bytes(body[:2], "big")):
            size = int.from_bytes(body[at : at + 4], "big", signed=True)
            at += 4
            row.append(None if size < 0 else body[at : at + size].decode())
            at += max(size, 0)
        return row

    def _close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None


def connect(url: str | None) -> Connection:
    """The database that a URL names; None for one that lives in memory. Raises DatabaseError."""
    if url is None:
        return Sqlite(None)
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("postgres", "postgresql"):
        return Postgres(url)
    if parts.scheme == "file" and parts.path.startswith("/"):
        return Sqlite(parts.path)
    raise DatabaseError(
        f"the demo wants postgresql://… or file:///path, not a {parts.scheme!r} URL"
    )


class Database:
    """What the application keeps, in one connection, used by one thread at a time.

    Every method raises DatabaseError when the database cannot be used.
    """

    def __init__(self, connection: Connection) -> None:
        self._lock = threading.Lock()
        self._connection = connection

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Bring the schema up to the last migration: all of them in one transaction, or none."""
        with self._lock:
            for statement in self._connection.begin:
                self._connection.execute(statement)
            try:
                self._migrate(self._connection.execute, migrations)
            except DatabaseError:
                with contextlib.suppress(DatabaseError):
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _migrate(self, execute: Callable[..., list[Row]], migrations: Sequence[Migration]) -> None:
        execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"
        )
        rows = execute("SELECT version, CASE WHEN dirty THEN 1 ELSE 0 END FROM schema_migrations")
        current, dirty = (int(value) for value in rows[0]) if rows else (0, 0)
        if dirty:
            raise Refused(f"Dirty database version {current}. Fix and force version.")
        if current and current not in {migration.number for migration in migrations}:
            raise Refused(
                f"migrate up: - up: - no migration found for version {current}:"
                f" read down for version {current} .: file does not exist"
            )
        for migration in migrations:
            if migration.number > current:
                for statement in migration.statements():
                    execute(statement)
                current = migration.number
        execute("DELETE FROM schema_migrations")
        execute(f"INSERT INTO schema_migrations VALUES ({current}, false)")
        execute(
            "INSERT INTO site_configs VALUES ('deployment_id', $1) ON CONFLICT DO NOTHING",
            str(uuid.uuid4()),
        )

    def deployment_id(self) -> str:
        """What tells this database from every other: made with it, and never changed."""
        rows = self._execute("SELECT value FROM site_configs WHERE key = 'deployment_id'")
        return str(rows[0][0])

    def has_user(self) -> bool:
        return bool(self._execute("SELECT 1 FROM users LIMIT 1"))

    def create_first_user(self, email: str, username: str) -> str | None:
        """Return the new user's id, or None when there is a first user already."""
        user = str(uuid.uuid4())
        self._execute(
            "INSERT INTO users (id, email, username)"
            " SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM users)",
            *(user, email, username),
        )
        return user if self._execute("SELECT 1 FROM users WHERE id = $1", user) else None

    def _execute(self, statement: str, *values: str) -> list[Row]:
        with self._lock:
            return self._connection.execute(statement, *values)


# The answers -------------------------------------------------------------------------------------

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo {version}</title>
<style>
  body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 12vh auto }}
  h1 {{ font-size: 1.4rem; margin: 0 0 1rem }}
  dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: 0 }}
  dt {{ color: #667 }}
  dd {{ margin: 0; font-family: ui-monospace, monospace }}
</style>
<h1>The demo application is live.</h1>
<dl>
{rows}
</dl>
</html>
"""


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str


def text(status: HTTPStatus, body: str, content_type: str = "text/plain; charset=utf-8") -> Answer:
    return Answer(status, body.encode(), content_type)


def as_json(status: HTTPStatus, body: dict[str, Any]) -> Answer:
    return text(status, json.dumps(body) + "\n", "application/json; charset=utf-8")


class Application:
    """What the server answers, once its database is ready."""

    def __init__(
        self, release: Release, schema: int, database: Database, access_url: str, started: str
    ) -> None:
        self.release = release
        self.schema = schema
        self.database = database
        self.deployment_id = database.deployment_id()
        self.access_url = access_url
        self.started = started

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/"): self.show_page,
            ("GET", "/healthz"): self.check_health,
            ("GET", "/api/v2/buildinfo"): self.tell_build,
            ("GET", "/api/v2/users/first"): self.find_first_user,
            ("POST", "/api/v2/users/first"): lambda: self.create_first_user(body),
        }
        if (method, path) in routes:
            try:
                return routes[method, path]()
            except DatabaseError as error:
                detail = {"message": "An internal server error occurred.", "detail": str(error)}
                return as_json(HTTPStatus.INTERNAL_SERVER_ERROR, detail)
        if path in {known for _, known in routes}:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "")
        return as_json(HTTPStatus.NOT_FOUND, {"message": "Route not found."})

    def check_health(self) -> Answer:
        if self.release.fault == "never-healthy":
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "this release never gets healthy")
        return text(HTTPStatus.OK, "OK")

    def tell_build(self) -> Answer:
        return as_json(
            HTTPStatus.OK,
            {
                "agent_api_version": "1.0",
                "dashboard_url": self.access_url,
                "deployment_id": self.deployment_id,
                "external_url": f"https://example.com/demo/commit/{self.release.revision}",
                "provisioner_api_version": "1.0",
                "telemetry": False,
                "upgrade_message": "",
                "version": self.release.served_version,
                "webpush_public_key": "",
                "workspace_proxy": False,
            },
        )

    def find_first_user(self) -> Answer:
        if self.database.has_user():
            message = "The initial user has already been created!"
            return as_json(HTTPStatus.OK, {"message": message})
        message = "The initial user has not been created!"
        return as_json(HTTPStatus.NOT_FOUND, {"message": message})

    def create_first_user(self, body: bytes) -> Answer:
        """Make the first user, for anyone who asks, as Coder does. Nobody can log in here, so the
        password is asked for and forgotten."""
        try:
            user = json.loads(body)
            if not isinstance(user, dict):
                raise ValueError("not an object")
        except ValueError as error:
            detail = {"message": "Request body must be valid JSON.", "detail": str(error)}
            return as_json(HTTPStatus.BAD_REQUEST, detail)
        fields = ("email", "username", "password")
        missing = [name for name in fields if not (isinstance(user.get(name), str) and user[name])]
        if missing:
            validations = [{"field": name, "detail": "required"} for name in missing]
            problem = {"message": "Validation failed.", "validations": validations}
            return as_json(HTTPStatus.BAD_REQUEST, problem)
        created = self.database.create_first_user(user["email"], user["username"])
        if created is None:
            message = "The initial user has already been created."
            return as_json(HTTPStatus.CONFLICT, {"message": message})
        ids = {"user_id": created, "organization_id": self.deployment_id}
        return as_json(HTTPStatus.CREATED, ids)

    def show_page(self) -> Answer:
        facts = {
            "Version": self.release.served_version,
            "Schema": self.schema,
            "Deployment id": self.deployment_id,
            "First user": "created" if self.database.has_user() else "not created",
            "Started at": self.started,
        }
        rows = (
            f"  <dt>{name}</dt><dd>{html.escape(str(fact))}</dd>" for name, fact in facts.items()
        )
        version = html.escape(self.release.served_version)
        page = PAGE.format(version=version, rows="\n".join(rows))
        return text(HTTPStatus.OK, page, "text/html; charset=utf-8")


# The server --------------------------------------------------------------------------------------


class Listener(socketserver.ThreadingTCPServer):
    """Listens from the moment it is made; whoever connects before serve_forever() waits."""

    # Not http.server.HTTPServer: its server_bind() looks the host name up, which may take seconds.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    application: Application


class Handler(http.server.BaseHTTPRequestHandler):
    server: Listener
    server_version = "demo"
    sys_version = ""
    timeout = 10  # seconds for a client to say what it wants

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def respond(self) -> None:
        began = time.monotonic()
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            return self.send_error(HTTPStatus.BAD_REQUEST)
        if int(length) > MAX_BODY_BYTES:
            return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        path = urllib.parse.urlsplit(self.path).path
        answer = self.server.application.answer(self.command, path, self.rfile.read(int(length)))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        took = f"{(time.monotonic() - began) * 1000:.1f}ms"
        event("debu", self.command, path=path, status_code=int(answer.status), took=took)

    def end_headers(self) -> None:
        release = self.server.application.release
        self.send_header("X-Coder-Build-Version", release.served_version)
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """respond() logs requests, with the time that they took."""

    def log_message(self, format: str, *args: object) -> None:
        event("warn", format % args, remote_addr=self.client_address[0])


def read_address(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not value:
        raise ValueError("TLS is disabled. Enable with --tls-enable or specify a HTTP address")
    if not host or not port.isdigit():
        raise ValueError(f"invalid address {value!r} in CODER_HTTP_ADDRESS: host:port expected")
    return host, int(port)


def run() -> int:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    release = read_release(HERE)
    migrations = read_migrations(HERE)
    event("info", "starting", version=release.served_version)
    if release.fault is not None and release.fault not in FAULTS:
        log(f"error: release.json names an unknown fault: {release.fault}")
        return 1
    if release.fault == "exit-at-start":
        log("error: this release exits at start, with code 3")
        return 3

    # Coder's order: the port is open, and whoever connects waits, before the database is checked.
    try:
        address = read_address(os.environ.get("CODER_HTTP_ADDRESS", "127.0.0.1:3000"))
        listener = Listener(address, Handler)
    except (OSError, ValueError) as error:
        log(f"error: configure http(s): {error}")
        return 1
    host, port = listener.server_address[:2]
    url = f"http://{host!s}:{port}"
    log(f"Started HTTP listener at {url}")
    database_url = os.environ.get("CODER_PG_CONNECTION_URL")
    if release.fault == "empty-database" or not database_url:
        database_url = None
        log("Using built-in PostgreSQL (/home/coder/.config/coderv2/postgres)")
    access_url = os.environ.get("CODER_ACCESS_URL") or url
    log(f"View the Web UI: {access_url}")

    if release.fault == "slow-start":
        event("info", "this release starts slowly", seconds=release.seconds)
        time.sleep(release.seconds)
    try:
        database = Database(connect(database_url))
        database.migrate(migrations)
        schema = migrations[-1].number
        listener.application = Application(release, schema, database, access_url, started)
    except DatabaseError as error:
        log(f"error: connect to postgres failed: {error}")
        return 1

    def die(signum: int, frame: FrameType | None) -> NoReturn:
        log(f"error: this release exits after {release.seconds:g} seconds, with code 1")
        os._exit(1)  # an exception may be swallowed by what it interrupts, and then we live on

    signal.signal(signal.SIGALRM, die)
    event("info", "serving", schema=schema, deployment_id=listener.application.deployment_id)

    try:
        if release.fault == "exit-late":
            signal.setitimer(signal.ITIMER_REAL, release.seconds)
        # In the main thread, so that a signal ends it at once; its polling would serve shutdown().
        listener.serve_forever(poll_interval=3600)
    except Stopped:
        log("Stop caught, waiting for provisioner jobs to complete and gracefully exiting.")
        listener.server_close()
        finish_by = time.monotonic() + FINISH_SECONDS
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(max(0, finish_by - time.monotonic()))
    return 0


def main() -> int:
    if sys.argv[1:]:  # as the entrypoints of many images do
        os.execvp(sys.argv[1], sys.argv[1:])

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        return run()
    except Stopped:
        log("Stop caught before the server was ready, exiting.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
