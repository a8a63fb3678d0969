"""Says which suite has ended and what it took, while a run goes on and at its end.

A suite is a folder of `tests/`. Its seconds are those of its tests and their fixtures, whichever
workers ran them; workers side by side spend more seconds than the clock shows.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import pytest


def suite_of(nodeid: str) -> str:
    """The folder of a test: `tests/unit/aws/test_ecs.py::test_x` is of `tests/unit`."""
    folders = PurePath(nodeid.partition("::")[0]).parts[:-1]
    return "/".join(folders[:2])


class Progress:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._expected: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._expect(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        suite = suite_of(report.nodeid)
        self._seconds[suite] += report.duration  # type: ignore[assignment]
        self._failed[suite] += report.failed
        if report.when == "teardown":
            self._ended[suite] += 1
            if self._ended[suite] == self._expected[suite] and len(self._expected) > 1:
                self._say(self._line(suite))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self._ended) > 1:
            terminalreporter.section("suites")
            for suite in sorted(self._ended):
                terminalreporter.write_line(self._line(suite))

    def _expect(self, nodeids: Iterable[str]) -> None:
        self._expected = Counter(map(suite_of, nodeids))

    def _line(self, suite: str) -> str:
        failed = f", {self._failed[suite]} failed" if self._failed[suite] else ""
        return f"{suite:<20} {self._ended[suite]:>5} tests {self._seconds[suite]:>7.1f} s{failed}"

    def _say(self, line: str) -> None:
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"\n{line}")
