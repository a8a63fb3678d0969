"""How long the operator's command takes to start, beside AWS's own.

What is counted is wall-clock time, which is what a person waits; of several tries the least, which
the machine's other work disturbed least.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def measure(rounds: int) -> dict[str, float]:
    """Seconds by what was typed, an empty `python` too; `aws --version` where there is an `aws`."""
    ours = str(Path(sys.executable).with_name("deployer"))
    completion = {"_DEPLOYER_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    matches = {
        "python": _least(rounds, [sys.executable, "-c", ""]),
        "deployer --help": _least(rounds, [ours, "--help"]),
        "deployer st<TAB>": _least(rounds, [ours], **completion),
        "deployer status --help": _least(rounds, [ours, "status", "--help"]),
    }
    if aws := shutil.which("aws"):
        matches["aws --version"] = _least(rounds, [aws, "--version"])
    return matches


def _least(rounds: int, command: Sequence[str], **environment: str) -> float:
    taken = []
    for _ in range(rounds + 1):  # the first one may have to compile
        began = time.perf_counter()
        subprocess.run(
            command,
            env={**os.environ, "COMP_WORDS": "deployer st", **environment},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )
        taken.append(time.perf_counter() - began)
    return min(taken)
