"""Complete the commands that are printed for people to paste.

A check, an error or a runbook says `deployer resume` or `aws ecs list-clusters`. This module adds
the caller's own options (profile, Region, stack, service, environment), so that the pasted command
uses the same account and service.
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
_SETUP = re.compile(_BEGINS + r"python -m setup\b")


@dataclass(frozen=True)
class Given:
    """The options of a command; None is what the environment sets already.

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
        """Return advice with complete commands, which are the lines that begin with two spaces."""
        return [self.command(line) if line.startswith("  ") else line for line in advice]

    def command(self, line: str) -> str:
        """Return a complete command; options that it has already stay unchanged."""
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
            lambda f: f"{f[1]}{self.programs}python -m setup {setup_options}".rstrip(), line
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
    """Return the path of the checkout's programs, relative to the current directory; "" outside.

    They are on PATH under `make`, but not in the shell that called it.
    """
    tools = Path(sys.executable).parent
    here = Path.cwd()
    return f"{tools.relative_to(here)}/" if tools.is_relative_to(here) else ""


def unless_set(value: str | None, *variables: str, default: str | None = None) -> str | None:
    """Return a value to repeat; None if the environment or the default sets it already."""
    known: Sequence[str | None] = [os.environ.get(name) for name in variables]
    return None if value == next((v for v in known if v), default) else value
