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

ROUNDS = 10


def measure() -> dict[str, float]:
    """Seconds by what was typed; `aws --version` only where there is an `aws`."""
    ours = str(Path(sys.executable).with_name("deployer"))
    found = {
        "deployer --help": _least([ours, "--help"]),
        "deployer st<TAB>": _least([ours], _DEPLOYER_COMPLETE="bash_complete", COMP_CWORD="1"),
        "deployer status --help": _least([ours, "status", "--help"]),
    }
    if aws := shutil.which("aws"):
        found["aws --version"] = _least([aws, "--version"])
    return found


def _least(command: Sequence[str], **environment: str) -> float:
    taken = []
    for _ in range(ROUNDS + 1):  # the first one may have to compile
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
