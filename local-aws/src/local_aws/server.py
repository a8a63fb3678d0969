"""`python -m local_aws.server`: MiniStack with the shims, and an end for all that it started.

It ends everything below it (Lambda workers, containers) when it is stopped, or, with `--tied`,
when its standard input closes because whoever started it died, even by SIGKILL. Should it be killed
itself, containers and databases notice it by a pipe, and the next start in its directory ends what
else is left. Linux only.
"""

import argparse
import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

import psutil

ACCOUNT = "000000000000"
REGION = "us-east-1"
HOST = "127.0.0.1"
# Every descendant that inherits the environment carries the directory of its instance, so that a
# start after a hard kill can tell the orphans of the one before from other processes.
MARKER = "LOCAL_AWS_DIRECTORY"
STATE = "state.json"
"""Says which port and process an instance has; written when it answers."""
DECISIONS = "state/decisions.jsonl"
"""Where in its directory an instance notes what IAM decided; see shims/roles.py."""
LET_GO = b"let go"
"""Written to the standard input of a tied server, this unties it."""

# What leads AWS's tools to no real account, and past any proxy.
ISOLATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": f"{HOST},localhost",
    "no_proxy": f"{HOST},localhost",
}

_SCRATCH = ("state", "s3", "tmp", "names")
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
        "PYTHONUNBUFFERED": "1",
    }


def base_environment() -> dict[str, str]:
    """This process's environment, without what would lead to a real AWS account or to our code."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    kept.pop("PYTHONPATH", None)  # a Lambda function sees its own code and its layers only
    return kept | ISOLATION


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


def serve(bound: socket.socket, directory: Path, *, tied: bool, temporary: bool) -> None:
    """Run MiniStack with the shims on this socket until it is to end. Does not return."""

    def end(*_: object) -> None:
        kill_tree(os.getpid())
        clear(directory)
        if temporary:
            shutil.rmtree(directory, ignore_errors=True)
        os._exit(0)

    launcher = os.dup(0)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)

    def end_with_launcher() -> None:
        if os.read(launcher, 4096) != LET_GO:
            os.kill(os.getpid(), signal.SIGTERM)

    for order in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(order, end)
    if tied:
        threading.Thread(target=end_with_launcher, daemon=True).start()
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

    asyncio.run(run())


def clear(directory: Path) -> None:
    """Remove an ended instance's files; the log stays."""
    for name in _SCRATCH:
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / STATE).unlink(missing_ok=True)


def kill_tree(root: int) -> None:
    """SIGKILL everything below this process, `root`, until nothing of it is left."""
    while True:
        pids = descendants(root)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Who lost a parent while the list was made may be missing in it, but is a child now: only
        # no child at all means that none is left.
        try:
            os.waitpid(-1, 0 if pids else os.WNOHANG)
        except ChildProcessError:
            return


def descendants(root: int) -> list[int]:
    """The processes below `root`."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    return []


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local_aws.server", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="an inherited, bound socket")
    parser.add_argument("--directory", type=Path, required=True, help="where its files go")
    parser.add_argument("--temporary", action="store_true", help="remove the directory at the end")
    parser.add_argument("--tied", action="store_true", help="end when standard input closes")
    options = parser.parse_args(arguments)
    bound = socket.socket(fileno=options.fd)
    directory = options.directory.resolve()

    # Orphans become children of this process instead of init's, so none is lost.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    serve(bound, directory, tied=options.tied, temporary=options.temporary)
    return 1


if __name__ == "__main__":
    sys.exit(main())
