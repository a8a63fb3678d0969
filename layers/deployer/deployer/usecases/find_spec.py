"""Find the service spec of a push or a request, reading few parameters where there are many.

Parameter Store returns ten specs a page, and 40 pages a second to all of the account:
https://docs.aws.amazon.com/general/latest/gr/ssm.html. With more specs than a page, an index in the
releases table says which to read. These are read afresh, so a changed spec always counts. A spec
that is new to the index counts once the index is written again: within a minute if no other spec
deploys the push, and in the reconciler's next round otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployer import requests
from deployer.aws import ssm
from deployer.deploy import spec
from deployer.deploy.documents import Document
from deployer.deploy.spec import ServiceSpec, Unread
from deployer.errors import ServiceUnknown
from deployer.store import specs

type Matches = tuple[list[tuple[ServiceSpec, Document]], list[Unread]]

_PAGE = 10  # parameters that one call reads, by their path or their names
_TRUSTED = timedelta(minutes=15)  # three rounds of the reconciler
_COMPLETE = timedelta(minutes=1)


@dataclass(frozen=True)
class _Known:
    """Service specs: the text by the parameter's name.

    Attributes:
        age: of the index that named them; None if these are all.
    """

    parameters: Mapping[str, str]
    age: timedelta | None = None


def for_push(repository: str, tag: str | None) -> Matches:
    """Return the services that a push is for; see `spec.for_push`."""
    known = _find("repository", repository)
    if known.age is not None:
        settled = _settled(known, repository, tag)
        if settled:
            return settled
        known = _Known(all_specs())
    return spec.for_push(known.parameters, repository, tag)


def _settled(known: _Known, repository: str, tag: str | None) -> Matches | None:
    """Return what a push is for if no spec that is new to the index matters; None otherwise."""
    try:
        matches, invalid = spec.for_push(known.parameters, repository, tag)
    except ServiceUnknown:
        return None
    never = requests.ignored(tag) is not None
    lately = known.age is not None and known.age < _COMPLETE
    one = len(matches) == 1 and not invalid
    if one and (never or lately or (tag and matches[0][0].deploys(tag))):
        return matches, invalid
    return None


def for_service(service: str | None) -> tuple[ServiceSpec, Document]:
    """Return the spec of a service, parsed and as a document; see `spec.for_service`."""
    known = _find("service", service or "")
    named = [
        entry for entry in spec.index(known.parameters).values() if entry["service"] == service
    ]
    complete = known.age is None or len(named) == 1
    return spec.for_service(known.parameters if complete else all_specs(), service)


def all_specs() -> Mapping[str, str]:
    """Return all service specs; keep the index of them if they are more than a page."""
    read_at, parameters = datetime.now(UTC), ssm.service_specs()
    if len(parameters) > _PAGE:
        specs.keep_index(spec.index(parameters), read_at)
    return parameters


def _find(field: str, value: str) -> _Known:
    """Return the specs with a value, as far as the index knows them; all if there are few."""
    first, complete = ssm.first_service_specs()
    if complete:
        return _Known(first)
    names, others, age = specs.names_with(field, value, datetime.now(UTC))
    if age > _TRUSTED or not names or len(names) + len(others) > _PAGE:
        return _Known({}, age)
    named = ssm.service_specs_named([*names, *others])
    index = spec.index(named)
    unchanged = all(name in index and index[name][field] == value for name in names)
    return _Known(named if unchanged else {}, age)
