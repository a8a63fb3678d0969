"""What MiniStack lacks, closed from outside.

Every shim is a module here with `install() -> None`, which wraps private parts of MiniStack before
it serves its first request. Those parts may change with any release, so the version is pinned and
each shim declares what it expects (`expect`, or `Shim` together with the change): a difference then
fails the start, by name.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

PINNED = "1.5.33"
MODULES = (
    "iam",
    "ecr",
    "lambda_runtime",
    "step_functions",
    "eventbridge",
    "containers",
    "network",
    "names",
    "load_balancer",
    "rds",
    "ecs",
    "cloudformation",
    "codebuild",
    "cloudfront",
    "logs",
    "s3",
    "service_quotas",
    "lags",
)


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
                raise ShimMismatch(
                    f"{where}.{name} takes ({actual}), not ({parameters}); {_advice()}"
                )


class Shim:
    """The changes of one shim, declared where they are defined and made by `install`.

    shim = Shim()

    @shim.replaces(ecr, "_list_images", "data")
    def list_images(data): ...

    @shim.wraps(ecr, "_put_image", "data")
    def put_image(original, data): ...

    install = shim.install
    """

    def __init__(self) -> None:
        self._changes: list[tuple[ModuleType | type, str, str, Callable[..., Any], bool]] = []
        self._installed = False

    def replaces[F: Callable[..., Any]](
        self, owner: ModuleType | type, name: str, parameters: str
    ) -> Callable[[F], F]:
        return self._change(owner, name, parameters, wraps=False)

    def wraps[F: Callable[..., Any]](
        self, owner: ModuleType | type, name: str, parameters: str
    ) -> Callable[[F], F]:
        """The decorated function gets the original before the arguments."""
        return self._change(owner, name, parameters, wraps=True)

    def install(self) -> None:
        """Check everything, then change everything. A second time does nothing."""
        if self._installed:
            return
        for owner, name, parameters, _, _ in self._changes:
            expect(owner, **{name: parameters})
        for owner, name, _, function, wraps in self._changes:
            changed = partial(function, getattr(owner, name)) if wraps else function
            setattr(owner, name, changed)
        self._installed = True

    def _change[F: Callable[..., Any]](
        self, owner: ModuleType | type, name: str, parameters: str, *, wraps: bool
    ) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            self._changes.append((owner, name, parameters, function, wraps))
            return function

        return decorate


def install() -> None:
    """Install every shim that exists, in order."""
    for name in MODULES:
        qualified = f"{__name__}.{name}"
        if importlib.util.find_spec(qualified):
            importlib.import_module(qualified).install()


def _advice() -> str:
    from importlib.metadata import version

    return f"the shims are written for MiniStack {PINNED}, this is {version('ministack')}"
