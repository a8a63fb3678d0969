"""`make benchmark` measures every figure. How good a figure is, a loaded machine cannot tell."""

import io

import pytest
from rich.console import Console

from tests.benchmarks.__main__ import MINUTES, QUICK, measured

pytestmark = pytest.mark.slow


def test_every_figure_is_measured() -> None:
    rows = list(measured(QUICK, Console(file=io.StringIO())))
    ours = {row.figure: row.ours for row in rows if row.figure}
    assert all(ours.values())
    assert {f"steps and calls, {minutes} min" for minutes in MINUTES} <= ours.keys()
    cold = {figure.split()[0] for figure in ours if " cold, " in figure}
    assert {"PollHealth", "VerifyRelease", "RollBack", "RecordSuccess", "RecordFailure"} <= cold
    assert {f"{kind}, from nothing to live, s" for kind in ("a worker", "Coder")} <= ours.keys()
    peers = " ".join(row.peer for row in rows)
    assert "waiter" in peers and "ecs-deploy" in peers and "s3 sync" in peers
