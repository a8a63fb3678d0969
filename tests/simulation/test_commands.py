"""`make soak` and `make guards` run, in processes of their own."""

import shlex
import subprocess
import sys

import pytest

from tests.simulation.runtime import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["soak 20", "replay 3", "guards 'a hold holds'", "race"],
)
def test_a_command_of_the_simulation_finds_nothing_broken(command: str) -> None:
    run = [sys.executable, "-m", "tests.simulation"]
    subprocess.run([*run, *shlex.split(command)], cwd=ROOT, check=True)
