"""What MiniStack lacks, closed from outside.

Every shim is a module here with `install() -> None`, which wraps private parts of MiniStack before
it serves its first request. Those parts may change with any release, so the version is pinned and
each shim declares what it expects with `expect`: a change then fails the start, by name.
"""

import importlib
import importlib.util
import inspect
from types import ModuleType

PINNED = "1.5.33"
MODULES = ("ecr", "lambda_runtime", "step_functions", "containers", "network", "ecs", "codebuild")


class ShimMismatch(RuntimeError):
    """MiniStack is not as this shim was written for it."""


def expect(owner: ModuleType | type, **signatures: str | None) -> None:
    """Raise ShimMismatch unless `owner` has these attributes.

    A value is the parameter names of a callable, space separated ("data" or "name ref headers
    body"), or None for an attribute that is only required to exist.
    """
    where = owner.__name__
    for name, parameters in signatures.items():
        found = getattr(owner, name, None)
        if found is None and not hasattr(owner, name):
            raise ShimMismatch(f"{where}.{name} is gone; {_advice()}")
        if parameters is not None:
            actual = " ".join(inspect.signature(found).parameters) if callable(found) else ""
            if actual != parameters:
                raise ShimMismatch(f"{where}.{name} takes ({actual}), not ({parameters}); {_advice()}")


def install() -> None:
    """Install every shim that exists, in order."""
    for name in MODULES:
        qualified = f"{__name__}.{name}"
        if importlib.util.find_spec(qualified):
            importlib.import_module(qualified).install()


def _advice() -> str:
    from importlib.metadata import version

    return f"the shims are written for MiniStack {PINNED}, this is {version('ministack')}"
