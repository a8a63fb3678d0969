"""Start the local AWS, or attach to the one that runs, and deploy into it with the real SAM CLI.

with LocalAws.start() as aws:
    built = aws.build(Path("template.yaml"), Path("build"))
    aws.deploy("app", built, {"Stage": "demo"})
    aws.client("ecr").describe_repositories()
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from local_aws import server
from local_aws.shims import lambda_worker

if TYPE_CHECKING:
    import boto3

DIRECTORY = Path(".local")
"""Where, in the working directory, an instance lives that others may attach to."""
_SOURCES = Path(__file__).resolve().parent.parent

_READY_WITHIN = 60.0
_END_WITHIN = 10.0


class LocalAwsError(RuntimeError):
    """The local AWS could not do it; the message says why and what to do."""


class AlreadyRunning(LocalAwsError):
    """Another local AWS owns this directory."""


class PortTaken(LocalAwsError):
    """Something else listens on the port."""


class NotRunning(LocalAwsError):
    """There is no local AWS to attach to."""


class SamFailed(LocalAwsError):
    """`sam` ended with an error; the message holds what it wrote."""


@dataclass
class LocalAws:
    """A running local AWS. Made by `start` or `attach`, never directly."""

    port: int
    pid: int
    directory: Path
    region: str = server.REGION
    account: str = server.ACCOUNT
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _temporary: bool = field(default=False, repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def start(
        cls,
        port: int | None = None,
        directory: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        detach: bool = False,
    ) -> Self:
        """Start one and wait until it answers.

        port        0 or None takes a free one.
        directory   for its log, state and scratch files; None takes a temporary one, which
                    `stop` removes.
        settings    more environment for MiniStack, e.g. {"SFN_WAIT_SCALE": "0"}.
        detach      let it outlive this process. Otherwise it dies with it, whatever ends it.

        Raises AlreadyRunning, PortTaken, or LocalAwsError with the end of the log.
        """
        temporary = directory is None
        home = (directory or Path(tempfile.mkdtemp(prefix="local-aws-"))).resolve()
        with contextlib.ExitStack() as undo:
            if temporary or not home.exists():
                home.mkdir(parents=True, exist_ok=True)
                undo.callback(shutil.rmtree if temporary else _remove_if_empty, home)
            held = _hold(home)
            undo.callback(os.close, held)
            clear(home)
            bound = _bind(port or 0)
            undo.callback(bound.close)
            number = bound.getsockname()[1]
            process = _spawn(home, bound.fileno(), held, settings or {}, temporary=temporary)
            aws = cls(number, process.pid, home, _process=process, _temporary=temporary)
            undo.callback(aws.stop)
            # From here on only the server holds the port: a refused connection means it is dead.
            bound.close()
            aws._wait_until_ready()
            (home / server.STATE).write_text(
                json.dumps({"port": number, "pid": process.pid}) + "\n"
            )
            if detach:
                aws._let_go()
            undo.pop_all()
        os.close(held)  # the server has its own copy, and with it the lock
        return aws

    @classmethod
    def attach(cls, directory: Path = DIRECTORY) -> Self:
        """The one that runs in a directory. Raises NotRunning."""
        home = directory.resolve()
        if running(home):
            with contextlib.suppress(FileNotFoundError):
                state = json.loads((home / server.STATE).read_text())
                return cls(state["port"], state["pid"], home)
        raise NotRunning("No local AWS is running. Start one with: python -m local_aws up")

    @property
    def endpoint(self) -> str:
        return f"http://{server.HOST}:{self.port}"

    @property
    def registry(self) -> str:
        """Where `docker push` and its kin find the ECR registry: host:port."""
        return f"localhost:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def settings(self) -> dict[str, str]:
        """The variables that lead any AWS tool here, and only here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        } | server.ISOLATION

    @property
    def env(self) -> dict[str, str]:
        """The whole environment for a child process: `settings`, and this interpreter's tools."""
        tools = Path(sys.executable).parent
        return server.base_environment() | {
            **self.settings,
            # what a tool leaves behind belongs to this instance, and `stop` removes it
            server.MARKER: str(self.directory),
            "TMPDIR": str(self.directory / "tmp"),
            "PATH": os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)]),
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.3",
        }

    @cached_property
    def _session(self) -> "boto3.Session":
        """Has the credentials and the region of this instance, and no profile or file."""
        import boto3  # not needed to start, stop or ask, and slow to import
        import botocore.session

        nothing = (None, None, os.devnull, None)
        files = {"config_file": nothing, "credentials_file": nothing}
        return boto3.Session(
            aws_access_key_id=self.settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.settings["AWS_SECRET_ACCESS_KEY"],
            region_name=self.region,
            botocore_session=botocore.session.Session({"profile": (None,) * 4, **files}),
        )

    def client(self, service: str) -> Any:
        """The boto3 client of a service, made once."""
        with self._lock:
            if service not in self._clients:
                create: Any = self._session.client
                self._clients[service] = create(service, endpoint_url=self.endpoint)
            return self._clients[service]

    def build(self, template: Path, directory: Path) -> Path:
        """`sam build` into `directory`; the built template's path. Raises SamFailed.

        What has not changed since the last build is taken from the cache beside the template.
        """
        scratch = template.resolve().parent / ".aws-sam"
        scratch.mkdir(exist_ok=True)
        lock = _lock(scratch, wait=True)  # `sam` does not expect others in its cache
        try:
            self._sam(
                *("build", "--template-file", str(template), "--build-dir", str(directory)),
                *("--cached", "--cache-dir", str(scratch / "cache")),
            )
        finally:
            os.close(lock)
        return directory / "template.yaml"

    def package(self, template: Path, bucket: str, output: Path) -> None:
        """`sam package` of a built template into a bucket. Raises SamFailed."""
        self._sam(
            *("package", "--template-file", str(template), "--s3-bucket", bucket),
            *("--output-template-file", str(output), "--no-progressbar", "--region", self.region),
        )

    def deploy(
        self, stack: str, template: Path, parameters: Mapping[str, str] | None = None
    ) -> None:
        """`sam deploy` of a built template, created or updated. Raises SamFailed."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as overrides:
            # `sam` unescapes quotes in the values even of a file, and twice; JSON is YAML
            escaped = {k: v.replace('"', '\\\\"') for k, v in (parameters or {}).items()}
            json.dump(escaped, overrides)
            overrides.flush()
            command = [
                *("deploy", "--stack-name", stack, "--template-file", str(template)),
                *("--resolve-s3", "--no-confirm-changeset", "--no-fail-on-empty-changeset"),
                *("--no-progressbar", "--region", self.region, "--capabilities"),
                *("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
                *(["--parameter-overrides", f"file://{overrides.name}"] if parameters else []),
            ]
            try:
                self._sam(*command)
            except SamFailed as failure:
                raise SamFailed("\n".join([str(failure), *self._reasons(stack)])) from None

    def outputs(self, stack: str) -> dict[str, str]:
        """The outputs of a deployed stack."""
        described = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}

    def locate(self, host: str, port: int) -> tuple[str, int]:
        """Where a name of the local Route 53 and a port are on this machine.

        A name that Route 53 does not lead anywhere stays as it is.
        """
        return lambda_worker.located(str(self.directory), host, port)

    @property
    def authority(self) -> Path:
        """The certificate of who signs ACM's certificates here, once there is one."""
        return self.directory / lambda_worker.AUTHORITY

    def wait(self) -> int:
        """Wait until it ends; 0 if it was stopped. Only for the process that started it."""
        assert self._process is not None
        return self._process.wait()

    def stop(self) -> None:
        """End it and everything it started, and remove its files; the log stays in `directory`."""
        self.close()
        if self._process is not None:
            if self._process.stdin:
                self._process.stdin.close()  # which is an order to end, too
            self._process.terminate()
            try:
                self._process.wait(_END_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        elif running(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + _END_WITHIN
            while running(self.directory) and time.monotonic() < deadline:
                time.sleep(0.02)
        clear(self.directory)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def healthy(self) -> bool:
        """Whether it answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"{self.endpoint}/_ministack/health", timeout=5).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close this object's connections. What it was attached to runs on."""
        while self._clients:
            self._clients.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _let_go(self) -> None:
        """From now on it outlives this process."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(server.LET_GO)
        self._process.stdin.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while not self.healthy:
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended while starting" if ended else f"is not up after {_READY_WITHIN:.0f} s"
                raise LocalAwsError(f"The local AWS {what}. Its log ends:\n{self.log_tail()}")
            time.sleep(0.02)

    def _reasons(self, stack: str) -> list[str]:
        """Which resources the stack's last operation failed on, and why."""
        from botocore.exceptions import ClientError

        try:
            events = self.client("cloudformation").describe_stack_events(StackName=stack)
        except ClientError:  # there is no stack: sam has said what is wrong
            return []
        reasons = []
        for event in events["StackEvents"]:  # the newest first
            status, name = event["ResourceStatus"], event["LogicalResourceId"]
            if name == stack and status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
                break
            if status.endswith("_FAILED"):
                reasons.append(f"{name}: {status}: {event.get('ResourceStatusReason', '')}")
        return reasons

    def _sam(self, *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / "sam"), *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            errors = next((lines[i:] for i, line in enumerate(lines) if "Error:" in line), lines)
            end = "\n".join(errors[-20:])
            raise SamFailed(f"sam {arguments[0]} failed ({done.returncode}):\n{end}")


def running(directory: Path) -> bool:
    """Whether a local AWS lives in this directory. It holds a lock on it for as long as it does."""
    try:
        os.close(_lock(directory))
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def clear(directory: Path) -> None:
    """Remove what an ended instance left: files, and processes after a hard kill."""
    directory = directory.resolve()
    for pid in processes(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.clear(directory)


def processes(directory: Path) -> list[int]:
    """The processes of the directory's instance: they carry its name or work inside it (Linux)."""
    directory = directory.resolve()
    pids = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            inside = Path(process.cwd()).is_relative_to(directory / "tmp")
            if inside or process.environ().get(server.MARKER) == str(directory):
                pids.append(process.pid)
    return [pid for pid in pids if pid != os.getpid()]


def _lock(directory: Path, *, wait: bool = False) -> int:
    """A descriptor that holds the directory's lock. BlockingIOError if another has it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _hold(directory: Path) -> int:
    for _ in range(5):  # `running` holds the lock too, for an instant
        with contextlib.suppress(BlockingIOError):
            return _lock(directory)
        time.sleep(0.02)
    with contextlib.suppress(NotRunning):
        other = LocalAws.attach(directory)
        raise AlreadyRunning(f"A local AWS is already running: {other.endpoint} (pid {other.pid})")
    raise AlreadyRunning("A local AWS is just starting or stopping here.")


def _bind(port: int) -> socket.socket:
    try:
        return server.listen(port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise LocalAwsError(f"Port {port} cannot be used: {error.strerror}.") from error
        raise PortTaken(f"Port {port} is taken.") from error


def _spawn(
    directory: Path, listening: int, held: int, settings: Mapping[str, str], *, temporary: bool
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "local_aws.server", "--tied", "--fd", str(listening)]
    command += ["--temporary"] if temporary else []
    with (directory / "server.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--directory", str(directory)],
            cwd=_SOURCES,
            env={**server.base_environment(), **settings, server.MARKER: str(directory)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(listening, held),
            start_new_session=True,  # Ctrl-C is for the launcher, which then stops this in order
        )
