"""`python -m local_aws.server`: MiniStack with the shims, and a supervisor that outlives neither.

Two processes. The supervisor starts MiniStack and ends everything that MiniStack started (Lambda
workers, containers) when MiniStack ends, when it is told to stop, or, with `--tied`, when its
standard input closes because whoever started it died, even by SIGKILL. Should the supervisor itself
be killed, MiniStack gets a parent-death signal and does the same. Linux only.
"""

import argparse
import asyncio
import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import sys
from pathlib import Path

ACCOUNT = "000000000000"
REGION = "us-east-1"
HOST = "127.0.0.1"
# Every descendant that inherits the environment carries the directory of its instance, so that a
# start after a hard kill can tell the orphans of the one before from other processes.
MARKER = "LOCAL_AWS_DIRECTORY"
STATE = "state.json"
"""Says which port and process an instance has; written when it answers."""
DECISIONS = "state/decisions.jsonl"
"""Where in its directory an instance notes what IAM decided; see shims/decisions.py."""
LET_GO = b"let go"
"""Written to the standard input of a tied server, this unties it."""

_SCRATCH = ("state", "s3", "tmp", "names")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def environment(port: int, directory: Path) -> dict[str, str]:
    """What MiniStack reads from its environment (it reads most of it at import)."""
    return {
        MARKER: str(directory),
        "AUTH": "true",  # IAM is enforced: a deployment here proves least privilege
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # would open port 8883
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": REGION,
        "STATE_DIR": str(directory / "state"),
        "S3_DATA_DIR": str(directory / "s3"),
        "S3_PERSIST": "1",  # in memory, the sites of a few builds would be gigabytes
        "TMPDIR": str(directory / "tmp"),
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
        "PYTHONUNBUFFERED": "1",
    }


def base_environment() -> dict[str, str]:
    """This process's environment, without what would lead to a real AWS account or to our code."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    kept.pop("PYTHONPATH", None)  # a Lambda function sees its own code and its layers only
    return kept | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def listen(port: int) -> socket.socket:
    """A socket bound to `port` (0: any free one), not yet listening. OSError when it is taken."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def serve(bound: socket.socket, directory: Path) -> None:
    """Run MiniStack with the shims on this socket until SIGTERM. Does not return."""
    os.environ.update(environment(bound.getsockname()[1], directory))
    for name in _SCRATCH:
        (directory / name).mkdir(parents=True, exist_ok=True)

    # Imported only now: MiniStack reads its environment when it is imported.
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack.app import app

    from local_aws import shims

    shims.install()
    config = Config()
    config.bind = [f"fd://{bound.detach()}"]
    config.keep_alive_timeout = 75
    config.loglevel = os.environ.get("LOG_LEVEL", "INFO")

    async def run() -> None:
        # Nothing here is worth a graceful shutdown (all state is in memory), and waiting for
        # the Lambda functions that still run would only delay Ctrl-C.
        await hypercorn_serve(app, config, shutdown_trigger=asyncio.Event().wait)

    signal.signal(signal.SIGTERM, _end_at_once)
    asyncio.run(run())


def clear(directory: Path) -> None:
    """Remove an ended instance's files; the log stays."""
    for name in _SCRATCH:
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / STATE).unlink(missing_ok=True)


def supervise(server: int, *, tied: bool) -> int:
    """Wait until `server` ends or is to end, then end all that it started. Its exit code."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for order in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(order, stop)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    code = _reap(server)
    while code is None and not stopping:
        ready, _, _ = select.select([woken, sys.stdin] if tied else [woken], [], [])
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        if sys.stdin in ready:
            tied = os.read(sys.stdin.fileno(), 4096) == LET_GO
            stopping, tied = stopping or not tied, False
        code = _reap(server)
    # MiniStack first: it can then start nothing new while its children are being ended.
    kill_tree(os.getpid(), first=server)
    return 0 if stopping else (code if code is not None else 1)


def kill_tree(root: int, first: int | None = None) -> None:
    """SIGKILL everything below this process, `root`, until nothing of it is left."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if first is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
    while True:
        found = descendants(root)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Who lost a parent while the list was made may be missing in it, but is a child now: only
        # no child at all means that none is left.
        try:
            os.waitpid(-1, 0 if found else os.WNOHANG)
        except ChildProcessError:
            return


def descendants(root: int) -> list[int]:
    """The live processes below `root`."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def _parents() -> dict[int, int]:
    """pid to parent pid of every process; zombies are left out."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # "pid (command, which may contain anything) state ppid …"
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
    return parents


def _reap(server: int) -> int | None:
    """Collect dead children, adopted ones included; the exit code of `server` if it is dead."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == server:
                code = os.waitstatus_to_exitcode(status)
    return code


def _end_at_once(*_: object) -> None:
    kill_tree(os.getpid())
    os._exit(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local_aws.server", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=4566, help="port to listen on (default 4566)")
    where.add_argument("--fd", type=int, help="an inherited, bound socket to listen on instead")
    parser.add_argument("--directory", type=Path, required=True, help="where its files go")
    parser.add_argument("--temporary", action="store_true", help="remove the directory at the end")
    parser.add_argument("--tied", action="store_true", help="end when standard input closes")
    options = parser.parse_args(arguments)
    bound = socket.socket(fileno=options.fd) if options.fd is not None else listen(options.port)
    directory = options.directory.resolve()

    # Orphans of MiniStack become children of this process instead of init's, so none is lost.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    server = os.fork()
    if server == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != supervisor:  # it died before the signal was asked for
            os._exit(1)
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        serve(bound, directory)
        os._exit(1)
    bound.close()
    code = supervise(server, tied=options.tied)
    clear(directory)
    if options.temporary and code == 0:  # otherwise the log is still of use
        shutil.rmtree(directory, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
