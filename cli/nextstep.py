"""The commands that are printed for people to paste: each in full, wherever it was written down.

A check, an error or a runbook says `deployer resume` or `aws ecs list-clusters`. What the caller
gave on the command line (profile, Region, stack, service, environment) is added here, so that the
pasted command is about the same account and service.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STACK, DEFAULT_ENVIRONMENT = "deployer", "default"

_BEGINS = r"(^\s*|[|;&]\s*)"  # of a line, or of a part of a pipeline
_AWS = re.compile(_BEGINS + r"aws (?!configure|sso )")
_DEPLOYER = re.compile(_BEGINS + r"deployer( [a-z]+)?")
_MAKE = re.compile(_BEGINS + r"make (deploy|remove)\b")
_SETUP = re.compile(_BEGINS + r"python -m cli\.setup")


@dataclass(frozen=True)
class Given:
    """What a command was called with; None is what the environment says anyway.

    Attributes:
        environment: of the settings, for `make deploy`.
        programs: where the checkout's own programs are, such as `.venv/bin/`; "" if on PATH.
    """

    profile: str | None = None
    region: str | None = None
    stack: str | None = None
    service: str | None = None
    environment: str | None = None
    programs: str = ""

    def lines(self, advice: Iterable[str]) -> list[str]:
        """Advice with its commands in full; a line that begins with two spaces is a command."""
        return [self.command(line) if line.startswith("  ") else line for line in advice]

    def command(self, line: str) -> str:
        """A command in full. What it names already is left as it is."""
        account = self._options(line, ("profile", self.profile), ("region", self.region))
        names = [("stack", self.stack), ("service", self.service)]
        options = self._options(line, ("profile", self.profile), ("region", self.region), *names)
        line = _AWS.sub(lambda match: f"{match[0]}{account}", line)
        line = _DEPLOYER.sub(lambda match: self._deployer(match, options), line)
        line = _MAKE.sub(self._make, line)
        environment = ("environment", self._environment)
        setup_options = self._options(
            line, ("profile", self.profile), ("region", self.region), environment
        )
        return _SETUP.sub(
            lambda f: f"{f[1]}{self.programs}python -m cli.setup {setup_options}".rstrip(), line
        )

    @property
    def _environment(self) -> str | None:
        return None if self.environment == DEFAULT_ENVIRONMENT else self.environment

    def _deployer(self, match: re.Match[str], options: str) -> str:
        verb = match[2] or ""
        suffix = "" if verb == "" else f" {options}".rstrip()
        return f"{match[1]}{self.programs}deployer{verb}{suffix}"

    def _make(self, match: re.Match[str]) -> str:
        """make takes no profile and no Region: the environment does."""
        variables = (("AWS_PROFILE", self.profile), ("AWS_REGION", self.region))
        before = "".join(f"{name}={shlex.quote(value)} " for name, value in variables if value)
        chosen = f" ENVIRONMENT={shlex.quote(self._environment)}" if self._environment else ""
        return f"{match[1]}{before}make {match[2]}{chosen}"

    def _options(self, line: str, *options: tuple[str, str | None]) -> str:
        return "".join(
            f"--{name} {shlex.quote(value)} "
            for name, value in options
            if value and f"--{name} " not in f"{line} "
        )


def of_the_checkout() -> str:
    """Where the programs are that run from a checkout, for a shell in it; "" if not below it.

    Under `make` they are on PATH, and in the shell that called it they are not.
    """
    tools = Path(sys.executable).parent
    here = Path.cwd()
    return f"{tools.relative_to(here)}/" if tools.is_relative_to(here) else ""


def unless_set(value: str | None, *variables: str, default: str | None = None) -> str | None:
    """A value to repeat; None if a pasted command has it from the environment or by default."""
    known: Sequence[str | None] = [os.environ.get(name) for name in variables]
    return None if value == next((v for v in known if v), default) else value
