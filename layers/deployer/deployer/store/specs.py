"""Which service spec has which service and repository, as they were last read.

A push to one of many services then reads its own spec instead of all of them.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from deployer.store import table

_MOST = 300_000  # characters; an item holds 400 KB


def keep_index(index: Mapping[str, Mapping[str, str]], read_at: datetime) -> None:
    """Store the index of `deploy.spec.index`; an empty one if it is too large for an item."""
    specs = index if len(json.dumps(index)) <= _MOST else {}
    table.put({"service": "reconcile", "id": "specs", "at": read_at.isoformat(), "specs": specs})


def names_with(field: str, value: str, now: datetime) -> tuple[list[str], list[str], timedelta]:
    """Return the parameters whose spec has this value, those of other specs that name one of their
    services, and how old that knowledge is."""
    item = table.get("reconcile", "specs")
    if item is None:
        return [], [], timedelta.max
    services = {name: {one["service"], *_further(one)} for name, one in item["specs"].items()}
    names = [name for name, spec in item["specs"].items() if spec[field] == value]
    own = {service for name in names for service in services[name]}
    others = [name for name in services if name not in names and services[name] & own]
    return names, others, now - datetime.fromisoformat(item["at"])


def _further(entry: Mapping[str, str]) -> list[str]:
    return entry.get("further", "").split()  # an index of before an upgrade has none
