"""Which tests `make test` runs on the local AWS, and how pytest-xdist hands them out.

What a release comes to is proven by the simulation and by unit tests, in milliseconds. The local
AWS proves that template, roles, events and services fit together: for that one walk through each
feature is enough, marked `walk`. All other tests on the local AWS are `slow`, and run in
`make test-all`; so do those of the local AWS itself, unless it has just been changed.
"""

import functools
import subprocess
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from demo import ROOT
from tests.progress import suite_of

QUICK = "not slow"
"""The mark expression of `make test`."""
_ON_IT = {"deployer", "aws", "machines"}
_SUITES = {"tests/workflow", "tests/cli"}
_EMULATOR = {"local-aws/tests", "tests/demo"}
"""The tests of the local AWS, and of the demos that run on it."""


def leave_out(config: pytest.Config) -> None:
    """Do not even read files whose tests are all slow: doing so costs each worker seconds."""
    if config.option.markexpr == QUICK and not _emulator_changed():
        given = config.option.ignore_glob or []
        config.option.ignore_glob = [*given, *(f"{ROOT / suite}/*" for suite in _EMULATOR)]


def mark(items: list[pytest.Item]) -> None:
    """Mark as slow what is not in `make test`."""
    for item in items:
        suite = suite_of(item.nodeid)
        needs = {*getattr(item, "fixturenames", ())}
        on_it = suite in _SUITES and needs & _ON_IT and not item.get_closest_marker("walk")
        if on_it or (suite in _EMULATOR and not _emulator_changed()):
            item.add_marker(pytest.mark.slow)


@functools.cache
def _emulator_changed() -> bool:
    """Whether the local AWS or its tests differ from the commit, which `make test-all` proved."""
    output = subprocess.run(
        [
            "git",
            "status",
            "--porcelain",
            "--",
            "local-aws",
            "demo",
            "tests/demo",
            "requirements.lock",
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return bool(output.stdout)


class OneLocalAws(LoadFileScheduling):  # type: ignore[misc]
    """File by file, but all walks in one worker: so one local AWS is set up, and not one for each.

    The others have enough to do meanwhile; a walk mostly waits.
    """

    def _split_scope(self, nodeid: str) -> str:
        scope: Any = super()._split_scope(nodeid)
        walks = scope.startswith(("tests/workflow/", "tests/cli/commands/"))
        return "walks" if walks else str(scope)
