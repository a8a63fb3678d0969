"""What MiniStack lacks, closed from outside.

Every shim is a module here with `install() -> None`, which wraps private parts of MiniStack before
it serves its first request. Those parts may change with any release, so the version is pinned and
each change declares the parameters of what it replaces: a difference fails the start, by name.
"""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
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


def _check(owner: ModuleType | type, name: str, parameters: str) -> None:
    """Raise ShimMismatch unless `owner` has a callable with these parameters, "name ref body"."""
    function, where = getattr(owner, name, None), f"{owner.__name__}.{name}"
    actual = " ".join(inspect.signature(function).parameters) if callable(function) else None
    if actual != parameters:
        is_now = "is gone" if function is None else f"takes ({actual}), not ({parameters})"
        installed = f"this is {version('ministack')}"
        raise ShimMismatch(f"{where} {is_now}; written for MiniStack {PINNED}, {installed}")


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
        """Check everything, then change everything."""
        for owner, name, parameters, _, _ in self._changes:
            _check(owner, name, parameters)
        for owner, name, _, function, wraps in self._changes:
            changed = partial(function, getattr(owner, name)) if wraps else function
            setattr(owner, name, changed)

    def _change[F: Callable[..., Any]](
        self, owner: ModuleType | type, name: str, parameters: str, *, wraps: bool
    ) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            self._changes.append((owner, name, parameters, function, wraps))
            return function

        return decorate


def after(kind: str, do: Callable[[str, dict[str, Any]], object]) -> None:
    """Call `do(id, properties)` after CloudFormation made or changed a resource of this type."""
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS[kind]
    for operation, place in (("create", 1), ("update", 2)):

        def then(original: Callable[..., Any], place: int, *arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            do(result[0], arguments[place])
            return result

        handlers[operation] = partial(then, handlers[operation], place)


def install() -> None:
    """Install every shim, in order."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}").install()
