"""Which service spec has which service and repository, as the reconciler last read them.

A push to one of many services then reads its own spec instead of all of them.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from deployer.store import table

_FRESH = timedelta(minutes=15)
_MOST = 2000  # specs; an item holds 400 KB


def keep_index(index: Mapping[str, Mapping[str, str]], now: datetime) -> None:
    """Store the index of `deploy.spec.index`; an empty one if it is too large."""
    specs = index if len(index) <= _MOST else {}
    item = {"service": "reconcile", "id": "specs", "at": now.isoformat(), "specs": specs}
    table.put(item)


def names_with(field: str, value: str, now: datetime) -> list[str]:
    """Return the parameters whose spec has this value; none if the index is missing or old."""
    item = table.get("reconcile", "specs")
    if item is None or now - datetime.fromisoformat(item["at"]) > _FRESH:
        return []
    return [name for name, spec in item["specs"].items() if spec[field] == value]
