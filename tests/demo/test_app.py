"""The demo application, as a process started from the files of its image."""

import ast
import contextlib
import http.client
import io
import json
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from demo.image import DEMO_APP, demo_release
from demo.oci import Image, Layer
from demo.stage import Stage
from local_aws.aws import LocalAws

WITHIN = 60.0  # seconds for what takes milliseconds, on a machine that is busy with much else
EXAMPLE_USER = {"email": "ada@example.com", "username": "ada", "password": "secret"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class App:
    """The process of a release, its log, and its port."""

    def __init__(self, program: Path, environment: dict[str, str]) -> None:
        self.seen: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [str(program)],
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "CODER_HTTP_ADDRESS": "127.0.0.1:0",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def logged(self, pattern: str) -> re.Match[str]:
        """The next log line that matches."""
        deadline = time.monotonic() + WITHIN
        while (line := self._lines.get(timeout=deadline - time.monotonic())) is not None:
            self.seen.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"ended without logging {pattern!r}: {self.seen}")

    def listening(self) -> "App":
        self.port = int(self.logged(r"^Started HTTP listener at http://127\.0\.0\.1:(\d+)$")[1])
        return self

    def serving(self) -> "App":
        self.listening().logged(r"\[info\]  coderd: serving")
        return self

    def ask(self, path: str, method: str = "GET", body: object = None) -> Answer:
        with contextlib.closing(self.connect()) as client:
            client.request(method, path, json.dumps(body) if body is not None else None)
            return answer_of(client)

    def connect(self) -> http.client.HTTPConnection:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)
        client.connect()
        return client

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """The exit code; the rest of the log is in `seen`."""
        code = self.process.wait(WITHIN)
        while (line := self._lines.get(timeout=WITHIN)) is not None:
            self.seen.append(line)
        return code

    def stop(self) -> int:
        self.signal()
        return self.ended()

    @property
    def deployment_id(self) -> str:
        return str(self.ask("/api/v2/buildinfo").json["deployment_id"])


def answer_of(client: http.client.HTTPConnection) -> Answer:
    with client.getresponse() as response:
        return Answer(response.status, dict(response.getheaders()), response.read())


type Start = Callable[..., App]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a release; `database=False` leaves the database unset. All end with the test."""
    apps: list[App] = []

    def start(image: Image | None = None, *, database: bool = True, **environment: str) -> App:
        root = tmp_path / f"container-{len(apps)}"
        for layer in (image or demo_release("1.0.0")).layers:
            with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
                archive.extractall(root, filter="data")
        if database:
            environment = {"CODER_PG_CONNECTION_URL": f"file://{tmp_path}/demo.db"} | environment
        apps.append(App(root / "opt/app/server.py", environment))
        return apps[-1]

    yield start
    for app in apps:
        app.process.kill()
        app.process.wait()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database that the applications use, as somebody else sees it."""
    path = tmp_path / "demo.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


# Answers


def test_every_answer_carries_the_version(start: Start) -> None:
    app = start().serving()

    requests = [("GET", "/healthz"), ("GET", "/nowhere"), ("POST", "/healthz"), ("DELETE", "/")]
    answers = [app.ask(path, method) for method, path in requests]

    assert [answer.status for answer in answers] == [200, 404, 405, 501]
    assert answers[0].body == b"OK"
    versions = {answer.headers["X-Coder-Build-Version"] for answer in answers}
    assert len(versions) == 1
    assert re.fullmatch(r"v1\.0\.0\+[0-9a-f]{7}", versions.pop())


def test_a_development_version_is_served_as_it_is(start: Start) -> None:
    app = start(demo_release("2.0.0-devel+e0f93fb88")).serving()

    answer = app.ask("/api/v2/buildinfo")

    assert answer.headers["X-Coder-Build-Version"] == "v2.0.0-devel+e0f93fb88"
    assert answer.json["version"] == "v2.0.0-devel+e0f93fb88"
    assert re.search(r"/commit/e0f93fb88[0-9a-f]{31}$", answer.json["external_url"])


def test_build_information_has_the_fields_of_coder(start: Start) -> None:
    app = start(CODER_ACCESS_URL="https://demo.example.com").serving()

    build = app.ask("/api/v2/buildinfo").json

    assert build.keys() == {
        *("agent_api_version", "dashboard_url", "deployment_id", "external_url"),
        *("provisioner_api_version", "telemetry", "upgrade_message", "version"),
        *("webpush_public_key", "workspace_proxy"),
    }
    assert build["dashboard_url"] == "https://demo.example.com"


def test_the_first_user_is_created_once(start: Start) -> None:
    app = start().serving()
    path = "/api/v2/users/first"

    before = app.ask(path)
    created = app.ask(path, "POST", EXAMPLE_USER)
    again = app.ask(path, "POST", EXAMPLE_USER | {"username": "grace"})
    after = app.ask(path)

    assert (before.status, before.json["message"]) == (
        404,
        "The initial user has not been created!",
    )
    assert (created.status, created.json.keys()) == (201, {"user_id", "organization_id"})
    assert again.status == 409
    assert (after.status, after.json["message"]) == (
        200,
        "The initial user has already been created!",
    )


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], None),
        ({"username": "ada", "password": 5}, ["email", "password"]),
        (EXAMPLE_USER | {"email": ""}, ["email"]),
    ],
)
def test_a_malformed_first_user_is_refused(
    start: Start, body: object, fields: list[str] | None
) -> None:
    app = start().serving()

    answer = app.ask("/api/v2/users/first", "POST", body)

    assert answer.status == 400
    named = [problem["field"] for problem in answer.json.get("validations", [])]
    assert named == (fields or [])
    assert app.ask("/api/v2/users/first").status == 404


@pytest.mark.parametrize(("length", "status"), [("-1", 400), ("x", 400), ("99999999", 413)])
def test_a_body_that_is_too_long_or_of_no_length_is_refused(
    start: Start, length: str, status: int
) -> None:
    app = start().serving()

    with contextlib.closing(app.connect()) as client:
        client.putrequest("POST", "/api/v2/users/first")
        client.putheader("Content-Length", length)
        client.endheaders()
        assert answer_of(client).status == status


def test_a_broken_database_is_an_error_but_not_ill_health(
    start: Start, database: sqlite3.Connection
) -> None:
    app = start().serving()
    database.execute("DROP TABLE users")

    broken = app.ask("/api/v2/users/first")

    assert (broken.status, broken.json["detail"]) == (500, "no such table: users")
    assert app.ask("/healthz").status == 200


def test_the_page_tells_people_what_runs(start: Start) -> None:
    app = start(demo_release("1.0.0+<b>", schema=2)).serving()

    page = app.ask("/")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    text = page.body.decode()
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert facts["Version"] == "v1.0.0+&lt;b&gt;"
    assert facts["Schema"] == "2"
    assert facts["Deployment id"] == app.deployment_id
    assert facts["First user"] == "not created"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts["Started at"])
    assert "<b>" not in text


def test_requests_are_logged(start: Start) -> None:
    app = start().serving()

    app.ask("/healthz?probe=1")

    app.logged(r"\[debu\]  coderd: GET  path=/healthz  status_code=200  took=[\d.]+ms$")


# Start and stop


def test_the_port_is_open_before_the_database_is_ready(
    start: Start, database: sqlite3.Connection
) -> None:
    database.execute("BEGIN IMMEDIATE")  # as another instance's migration
    app = start().listening()

    with contextlib.closing(app.connect()) as client:
        client.request("GET", "/healthz")
        assert client.sock is not None
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        database.execute("ROLLBACK")
        client.sock.settimeout(WITHIN)
        assert answer_of(client).body == b"OK"


def test_the_log_names_the_web_ui(start: Start) -> None:
    app = start(CODER_ACCESS_URL="https://demo.example.com").listening()

    app.logged(r"^View the Web UI: https://demo\.example\.com$")


def test_sigterm_ends_it_at_once_though_a_client_is_silent(start: Start) -> None:
    app = start().serving()

    with contextlib.closing(app.connect()):
        app.ask("/healthz")  # accepted after the silent one
        began = time.monotonic()
        assert app.stop() == 0
        assert time.monotonic() - began < 2  # a second is promised, the other is the machine's

    assert any(line.startswith("Stop caught") for line in app.seen)


def test_sigterm_lets_a_request_under_way_finish(start: Start) -> None:
    app = start().serving()
    body = json.dumps(EXAMPLE_USER).encode()

    with contextlib.closing(app.connect()) as client:
        client.putrequest("POST", "/api/v2/users/first")
        client.putheader("Content-Length", str(len(body)))
        client.endheaders()
        app.ask("/healthz")  # accepted after the one under way
        app.signal()
        app.logged("^Stop caught")
        client.send(body)
        assert answer_of(client).status == 201

    assert app.ended() == 0


def test_sigterm_before_it_serves_ends_it_too(start: Start, database: sqlite3.Connection) -> None:
    app = start(demo_release("1.0.0", fault="slow-start", seconds=60)).listening()
    app.logged("starts slowly")

    assert app.stop() == 0
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_taken_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app = start(CODER_HTTP_ADDRESS=f"127.0.0.1:{taken.getsockname()[1]}")

        assert app.ended() == 1
        assert "error: configure http(s): [Errno 98] Address already in use" in app.seen


@pytest.mark.parametrize(
    ("address", "message"),
    [("", "TLS is disabled"), ("3000", "host:port expected"), ("127.0.0.1:", "host:port expected")],
)
def test_a_malformed_address_is_refused(start: Start, address: str, message: str) -> None:
    app = start(CODER_HTTP_ADDRESS=address)

    assert app.ended() == 1
    assert message in app.seen[-1]


# The database


def test_the_deployment_id_belongs_to_the_database(start: Start, tmp_path: Path) -> None:
    first = start().serving()
    original = first.deployment_id
    first.stop()

    assert start(demo_release("1.1.0")).serving().deployment_id == original
    elsewhere = start(CODER_PG_CONNECTION_URL=f"file://{tmp_path}/other.db").serving()
    assert elsewhere.deployment_id != original


def test_a_newer_release_migrates_and_keeps_the_data(
    start: Start, database: sqlite3.Connection
) -> None:
    old = start(demo_release("1.0.0", schema=1)).serving()
    old.ask("/api/v2/users/first", "POST", EXAMPLE_USER)
    old.stop()
    assert database.execute("SELECT * FROM schema_migrations").fetchall() == [(1, 0)]

    new = start(demo_release("2.0.0", schema=3)).serving()

    assert new.ask("/api/v2/users/first").status == 200
    assert database.execute("SELECT * FROM schema_migrations").fetchall() == [(3, 0)]
    assert database.execute("SELECT username, status FROM users").fetchall() == [("ada", "active")]


def test_an_older_release_refuses_a_newer_schema(start: Start) -> None:
    start(demo_release("2.0.0", schema=2)).serving().stop()

    old = start(demo_release("1.0.0", schema=1)).listening()

    assert old.ended() == 1
    assert old.seen[-1] == (
        "error: connect to postgres failed: migrate up: - up: - no migration found for version 2:"
        " read down for version 2 .: file does not exist"
    )


def test_migrations_are_applied_together_or_not_at_all(
    start: Start, database: sqlite3.Connection
) -> None:
    start(demo_release("1.0.0", schema=1)).serving().stop()
    before = database.execute("SELECT * FROM sqlite_master").fetchall()
    image = demo_release("2.0.0", schema=3)
    last = {"/opt/app/migrations/000003_user_status.up.sql": b"DROP TABLE missing;\n"}

    app = start(replace(image, layers=(*image.layers, Layer.of(last))))

    assert app.ended() == 1
    assert app.seen[-1] == "error: connect to postgres failed: no such table: missing"
    assert database.execute("SELECT * FROM sqlite_master").fetchall() == before
    assert database.execute("SELECT * FROM schema_migrations").fetchall() == [(1, 0)]


def test_a_dirty_schema_is_refused(start: Start, database: sqlite3.Connection) -> None:
    start().serving().stop()
    database.execute("UPDATE schema_migrations SET dirty = true")

    app = start()

    assert app.ended() == 1
    assert app.seen[-1].endswith("Dirty database version 1. Fix and force version.")


def test_two_instances_that_start_together_share_one_database(start: Start) -> None:
    together = [start(demo_release("1.0.0", schema=3)) for _ in range(3)]

    assert len({app.serving().deployment_id for app in together}) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///nowhere/demo.db", "unable to open database file"),
        ("mysql://coder@db.example.com/coder", "not a 'mysql' URL"),
        ("postgres://coder@127.0.0.1:1/coder", "dial tcp 127.0.0.1:1: connection refused"),
        ("postgres://coder@127.0.0.1:1/coder?sslmode=prefer", 'unsupported sslmode "prefer"'),
        (f"file://{Path(__file__)}", "file is not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_named(start: Start, url: str, message: str) -> None:
    app = start(CODER_PG_CONNECTION_URL=url).listening()

    assert app.ended() == 1
    assert app.seen[-1].startswith("error: connect to postgres failed: ")
    assert message in app.seen[-1]


def test_without_a_database_it_has_one_that_ends_with_it(start: Start) -> None:
    first = start(database=False).listening()
    first.logged(r"^Using built-in PostgreSQL \(")
    first.logged("serving")
    first.ask("/api/v2/users/first", "POST", EXAMPLE_USER)
    assert first.ask("/api/v2/users/first").status == 200
    original = first.deployment_id
    first.stop()

    second = start(database=False).serving()

    assert second.deployment_id != original
    assert second.ask("/api/v2/users/first").status == 404


# PostgreSQL


class Postgres:
    """A database of a test's own, as somebody else sees it."""

    def __init__(self, server: str, name: str) -> None:
        self._run(f"{server}/postgres", f'CREATE DATABASE "{name}"')
        self.url = f"{server}/{name}"

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self._run(self.url, statement)

    def _run(self, url: str, statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(scope="module")
def server(aws: LocalAws) -> Iterator[str]:
    """The URL of an RDS instance, without a database's name."""
    stage = Stage(aws, "test-demo-app", "", "")
    instance = stage.make_database()
    response = aws.client("secretsmanager").get_secret_value(SecretId="test-demo-app/database-url")
    yield response["SecretString"].partition("/app?")[0]
    aws.client("rds").delete_db_instance(DBInstanceIdentifier=instance, SkipFinalSnapshot=True)


@pytest.fixture
def postgres(server: str, name: str) -> Postgres:
    return Postgres(server, name)


def test_a_newer_release_migrates_postgresql_and_an_older_one_refuses(
    start: Start, postgres: Postgres
) -> None:
    old = start(demo_release("1.0.0"), CODER_PG_CONNECTION_URL=postgres.url).serving()
    user = EXAMPLE_USER | {"username": "o'hara\"; DROP TABLE users; --ż"}
    assert old.ask("/api/v2/users/first", "POST", user).status == 201
    assert old.ask("/api/v2/users/first", "POST", user).status == 409
    original = old.deployment_id
    old.stop()

    image = demo_release("2.0.0", schema=3)
    new = start(image, CODER_PG_CONNECTION_URL=postgres.url).serving()
    assert new.ask("/api/v2/users/first").status == 200
    assert new.deployment_id == original
    assert postgres.query("SELECT username, status FROM users") == [(user["username"], "active")]
    assert postgres.query("SELECT version, dirty FROM schema_migrations") == [(3, False)]

    older = start(demo_release("1.0.0"), CODER_PG_CONNECTION_URL=postgres.url).listening()
    assert older.ended() == 1
    assert "no migration found for version 3" in older.seen[-1]


def test_migrations_of_postgresql_are_applied_together_or_not_at_all(
    start: Start, postgres: Postgres
) -> None:
    start(demo_release("1.0.0"), CODER_PG_CONNECTION_URL=postgres.url).serving().stop()
    image = demo_release("2.0.0", schema=3)
    last = {"/opt/app/migrations/000003_user_status.up.sql": b"DROP TABLE missing;\n"}
    broken = replace(image, layers=(*image.layers, Layer.of(last)))

    app = start(broken, CODER_PG_CONNECTION_URL=postgres.url)

    assert app.ended() == 1
    assert app.seen[-1] == ('error: connect to postgres failed: pq: table "missing" does not exist')
    assert postgres.query("SELECT version, dirty FROM schema_migrations") == [(1, False)]
    assert postgres.query("SELECT to_regclass('workspaces')") == [(None,)]


def test_instances_that_start_together_migrate_postgresql_one_after_the_other(
    start: Start, postgres: Postgres
) -> None:
    image = demo_release("1.0.0", schema=3)
    together = [start(image, CODER_PG_CONNECTION_URL=postgres.url) for _ in range(3)]
    assert len({app.serving().deployment_id for app in together}) == 1


def test_a_lost_connection_to_postgresql_is_made_again(start: Start, postgres: Postgres) -> None:
    app = start(CODER_PG_CONNECTION_URL=postgres.url).serving()
    postgres.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    lost = app.ask("/api/v2/users/first")
    assert (lost.status, lost.json["message"]) == (500, "An internal server error occurred.")
    assert app.ask("/api/v2/users/first").status == 404


# The faults


def test_exit_at_start_opens_no_port(start: Start) -> None:
    app = start(demo_release("1.0.0", fault="exit-at-start"))

    assert app.ended() == 3
    assert app.seen[-1] == "error: this release exits at start, with code 3"
    assert not any("listener" in line for line in app.seen)


def test_exit_late_answers_first(start: Start) -> None:
    app = start(demo_release("1.0.0", fault="exit-late", seconds=60)).serving()

    assert app.ask("/healthz").status == 200
    app.signal(signal.SIGALRM)  # as its timer does
    assert app.ended() == 1
    assert "error: this release exits after 60 seconds, with code 1" in app.seen


def test_exit_late_exits_by_itself(start: Start) -> None:
    app = start(demo_release("1.0.0", fault="exit-late", seconds=0.05)).serving()

    assert app.ended() == 1
    assert "error: this release exits after 0.05 seconds, with code 1" in app.seen


def test_never_healthy_answers_but_is_not_healthy(start: Start) -> None:
    app = start(demo_release("1.0.0", fault="never-healthy")).serving()

    health = app.ask("/healthz")

    assert health.status == 503
    assert health.headers["X-Coder-Build-Version"].startswith("v1.0.0+")
    assert app.ask("/api/v2/buildinfo").status == 200


def test_slow_start_keeps_its_clients_waiting(start: Start) -> None:
    app = start(demo_release("1.0.0", fault="slow-start", seconds=0.3)).listening()

    assert app.ask("/healthz").status == 200

    stamp = r"^\S+ (\d\d):(\d\d):(\S+) .*"
    began, served = (
        timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))
        for hours, minutes, seconds in (
            app.logged(stamp + what).groups() for what in ("starts slowly", "serving")
        )
    )
    assert (served - began) % timedelta(days=1) >= timedelta(seconds=0.29)


def test_wrong_version_serves_another(start: Start) -> None:
    image = demo_release("1.0.0", fault="wrong-version", serves="0.9.0")
    app = start(image).serving()

    assert image.config["config"]["Labels"]["org.opencontainers.image.version"] == "1.0.0"
    assert app.ask("/healthz").headers["X-Coder-Build-Version"].startswith("v0.9.0+")


def test_empty_database_leaves_the_configured_one_alone(
    start: Start, database: sqlite3.Connection
) -> None:
    good = start().serving()
    good.ask("/api/v2/users/first", "POST", EXAMPLE_USER)

    app = start(demo_release("2.0.0", schema=2, fault="empty-database")).listening()
    app.logged(r"^Using built-in PostgreSQL \(")
    app.logged("serving")

    assert app.ask("/healthz").status == 200
    assert app.ask("/api/v2/users/first").status == 404
    assert app.deployment_id != good.deployment_id
    assert database.execute("SELECT version FROM schema_migrations").fetchall() == [(1,)]


# The host's Python


def test_it_is_written_for_python_3_9() -> None:
    source = (DEMO_APP / "server.py").read_text()

    tree = ast.parse(source, feature_version=(3, 9))

    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules <= sys.stdlib_module_names
