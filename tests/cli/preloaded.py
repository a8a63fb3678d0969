"""A command in a process that has its libraries already: loading them takes most of its CPU time.

Nothing else differs from `python -m cli`: it is a process of its own, with its own environment,
working directory, output and exit code.
"""

import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["boto3.session", "botocore.httpsession", "cli.commands.deploy", "cli.commands.doctor"]
)


def run(
    words: Sequence[str], environment: Mapping[str, str], timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run `deployer` with these words to its end, without a terminal."""
    with tempfile.TemporaryDirectory() as directory:
        output, errors = Path(directory, "output"), Path(directory, "errors")
        process = _CONTEXT.Process(
            target=_become, args=(list(words), dict(environment), str(output), str(errors))
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(words), timeout)
        return subprocess.CompletedProcess(
            list(words), process.exitcode, output.read_text(), errors.read_text()
        )


def _become(words: list[str], environment: dict[str, str], output: str, errors: str) -> None:
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT),
        (2, errors, os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    from cli.main import deployer

    deployer(words, prog_name="deployer")
