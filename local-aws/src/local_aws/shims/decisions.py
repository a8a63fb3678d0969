"""On record: what was asked of IAM in each role, and what it answered.

One JSON line for each principal, action, resource and answer, when they first come together. A test
compares these with what the roles allow.
"""

import json
import os
import threading
from pathlib import Path

from local_aws import server

_lock = threading.Lock()
_known: set[str] = set()


def record(principal: str, action: str, resource: str, *, allowed: bool) -> None:
    """Note a decision about a role's session, given by its ARN. Users are not noted."""
    _, _, who = principal.partition(":assumed-role/")
    role = who.partition("/")[0]
    if not role or server.MARKER not in os.environ:
        return
    line = json.dumps({"role": role, "action": action, "resource": resource, "allowed": allowed})
    with _lock:
        if line not in _known:
            _known.add(line)
            with (Path(os.environ[server.MARKER]) / server.DECISIONS).open("a") as file:
                file.write(line + "\n")
