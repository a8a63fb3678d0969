"""What the deployer knows of an application: defaults for its service spec, and checks of its own.

A preset is named in the service spec; nothing else names an application. Each is a subclass of
`Preset` in a module of this package, loaded when a spec names it.
"""

import importlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from deployer.check import Check
from deployer.symptoms import Pattern

NAMES: Mapping[str, str] = {"coder": "deployer.presets.coder"}
"""The modules by the presets' names."""


class Preset:
    """An application that the deployer knows nothing about.

    Attributes:
        fields: defaults of the service spec's fields.
        grace_period: seconds that a starting task may fail the load balancer's health checks.
        database_urls: the variables that may hold the URL of the application's database.
        wildcard: whether the application serves the subdomains of its domain, too.
        sources: files of the application's sources that name its variables.
        symptoms: the failures that only its log lines show.
        wrong: the kinds of symptoms that are failures although the application runs.
    """

    fields: Mapping[str, Any] = {}
    grace_period: int | None = None
    database_urls: Sequence[str] = ("DATABASE_URL",)
    wildcard = False
    sources: Sequence[str] = ()
    symptoms: Sequence[Pattern] = ()
    wrong: Collection[str] = ()

    def problems(self, container: Mapping[str, Any], url: str | None) -> Iterator[tuple[str, str]]:
        """Yield the fields of the release's container that are wrong, and why.

        Args:
            container: as RegisterTaskDefinition takes it.
            url: the base URL behind a load balancer.
        """
        yield from ()

    def names_in(self, sources: str) -> frozenset[str]:
        """Return the variables that a file of the application's sources names."""
        return frozenset()

    def variables(self, names: Collection[str], named: Collection[str]) -> Iterator[Check]:
        """Check the names of the container's variables and secrets, for `deployer doctor`.

        Args:
            named: the variables that its sources name; none if unknown.
        """
        yield from ()

    def answers(self, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Check]:
        """Check the values of the `unchanged` probes, as verified and now."""
        yield from ()


@cache
def named(name: str | None) -> Preset:
    """Return a preset; without a name, one that knows nothing."""
    if name is None:
        return Preset()
    preset: Preset = importlib.import_module(NAMES[name]).PRESET
    return preset
