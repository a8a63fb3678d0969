"""Prune the docs: delete releases that are no longer kept, and files of failed releases."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3
from deployer.docs import publication, site
from deployer.docs.addresses import Pair
from deployer.log import Logger
from deployer.store import locks

logger = Logger()

_RESERVE = 25_000  # milliseconds; with less time left, the next prune goes on


class Request(TypedDict):
    """`switch` names the kept releases, the live one first."""

    spec: Mapping[str, Any]
    switch: list[Pair]
    execution: str


class Pruned(TypedDict):
    pruned: list[str]


class OutOfTime(Exception):
    """The function's time is nearly used up."""


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Pruned:
    spec = site.from_document(event["spec"])
    bucket, kept, pruned = spec.bucket, site.switched(event["switch"]), list[str]()

    def check_time() -> None:
        if context.get_remaining_time_in_millis() < _RESERVE:
            raise OutOfTime

    with suppress(OutOfTime), locks.lease(site.owner(spec.site), event["execution"]):
        for name in _not_kept(bucket, kept):
            check_time()
            # the manifest first: a release with a manifest must be complete, for a rollback to it
            s3.delete(bucket, publication.manifest_key(name), check_time)
            s3.delete(bucket, publication.key(name, ""), check_time)
            pruned.append(name)
    logger.info("docs pruned", pruned=pruned)
    return {"pruned": pruned}


def _not_kept(bucket: str, kept: Sequence[str]) -> list[str]:
    releases = s3.folders(bucket, publication.key("", "")[:-1])
    return [name for name in releases if name not in kept]
