"""Each test has a service of its own, of the worker's deployer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from demo import ROOT
from demo.stage import Stage
from tests.cli import preloaded
from tests.cli.documents import check_printed


@dataclass
class Operator:
    """A person at a terminal, or a script, with a service of a deployer."""

    stage: Stage
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        """The words to type: about this deployer and service, unless they say otherwise."""
        return [sys.executable, "-m", "cli", *self.words(*words)]

    def words(self, verb: str, *more: str) -> list[str]:
        about = {"--stack": self.stage.stack, "--service": self.stage.service}
        given = [w for name, value in about.items() if name not in more for w in (name, value)]
        return [verb, *given, *more]

    @property
    def env(self) -> dict[str, str]:
        own = {k: v for k, v in self.stage.aws.env.items() if k not in ("COLUMNS", "LINES")}
        path = os.pathsep.join([str(ROOT), str(ROOT / "layers/deployer")])
        return {**own, "PYTHONPATH": path, "TERM": "xterm", **self.environment}

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """The command without a terminal, to its end."""
        done = preloaded.run(self.words(*words), {**self.env, **environment}, timeout=300)
        check_printed(words, done.stdout)
        return done

    def output(self, *words: str) -> dict[str, Any]:
        """What the command tells a script; it must end well."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
def make(make_service: Callable[..., Stage]) -> Callable[..., Operator]:
    """Makes a service with its surroundings; takes parameters of infrastructure/service.yaml."""
    return lambda **parameters: Operator(make_service(**parameters))


@pytest.fixture
def operator(make: Callable[..., Operator]) -> Operator:
    """An operator of a service that was never deployed."""
    return make()


@pytest.fixture
def live(operator: Operator) -> Operator:
    """An operator of a service on which release 1.0.0 is live."""
    assert operator.stage.deployed("1.0.0").status == "SUCCEEDED"
    return operator


@pytest.fixture(scope="session")
def rolled_back(deployer: Stage) -> Iterator[Operator]:
    """An operator of a service on which 1.0.0 is back after 1.1.0 failed. Only to be looked at."""
    stage = deployer.beside("test-gone-back")
    assert stage.deployed("1.0.0").status == "SUCCEEDED"
    assert stage.deployed("1.1.0", fault="exit-at-start").status == "FAILED"
    yield Operator(stage)
    stage.end()
