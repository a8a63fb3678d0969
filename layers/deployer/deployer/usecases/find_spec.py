"""Find the service spec of a push or a request, reading few parameters where there are many.

Parameter Store returns ten specs a page, and 40 pages a second to all of the account:
https://docs.aws.amazon.com/general/latest/gr/ssm.html. With more than a page of specs, the
reconciler's index says which ones to read; these are read afresh, and settle it alone if one of
them is for the push or request.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from deployer import requests
from deployer.aws import ssm
from deployer.deploy import spec
from deployer.deploy.documents import Document
from deployer.deploy.spec import ServiceSpec, Unread
from deployer.errors import ServiceUnknown
from deployer.store import specs

_PAGE = 10  # parameters that one call reads by their names


def for_push(
    repository: str, tag: str | None
) -> tuple[list[tuple[ServiceSpec, Document]], list[Unread]]:
    """Return the services that a push is for; see `spec.for_push`."""
    parameters, complete = _parameters("repository", repository)
    if not complete:
        try:
            matches, invalid = spec.for_push(parameters, repository, tag)
        except ServiceUnknown:
            matches, invalid = [], []
        if len(matches) == 1 and not invalid and _is_settled(matches[0][0], tag):
            return matches, invalid
        parameters = ssm.service_specs()
    return spec.for_push(parameters, repository, tag)


def _is_settled(match: ServiceSpec, tag: str | None) -> bool:
    """Return whether a push deploys this service, or none whatever the specs say."""
    return tag is None or requests.ignored(tag) is not None or bool(match.deploys(tag))


def for_service(service: str | None) -> tuple[ServiceSpec, Document]:
    """Return the spec of a service, parsed and as a document; see `spec.for_service`."""
    parameters, complete = _parameters("service", service or "")
    if not complete and len(parameters) != 1:
        parameters = ssm.service_specs()
    return spec.for_service(parameters, service)


def _parameters(field: str, value: str) -> tuple[Mapping[str, str], bool]:
    """Return the specs with a value as the index knows them; all if there are few.

    Returns:
        The text by the parameter's name; none if the index is of no use. Whether these are all.
    """
    first, complete = ssm.first_service_specs()
    if complete:
        return first, True
    names = specs.names_with(field, value, datetime.now(UTC))
    if not 0 < len(names) <= _PAGE:
        return {}, False
    named = ssm.service_specs_named(names)
    unchanged = [entry[field] == value for entry in spec.index(named).values()]
    return named if unchanged == [True] * len(names) else {}, False
