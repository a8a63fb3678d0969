"""Prune the docs: delete the releases that are not kept, and what failed ones left."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3
from deployer.aws.log import Logger
from deployer.docs import publication, site
from deployer.store import locks

logger = Logger()

_RESERVE = 25_000  # milliseconds: what is left of the deletions goes the next time


class Request(TypedDict):
    """`switch` names the releases that are kept, the live one first."""

    spec: Mapping[str, Any]
    switch: str
    execution: str


class Pruned(TypedDict):
    pruned: list[str]


class OutOfTime(Exception):
    """The call ends soon."""


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Pruned:
    spec = site.from_document(event["spec"])
    bucket, kept, pruned = spec.bucket, event["switch"].split(","), list[str]()

    def in_time() -> None:
        if context.get_remaining_time_in_millis() < _RESERVE:
            raise OutOfTime

    with suppress(OutOfTime), locks.lease(site.owner(spec.site), event["execution"]):
        for name in _not_kept(bucket, kept):
            in_time()
            # first: a release that has a manifest is whole, and can be rolled back to
            s3.delete(bucket, publication.manifest_key(name), in_time)
            s3.delete(bucket, publication.key(name, ""), in_time)
            pruned.append(name)
    logger.info("docs pruned", pruned=pruned)
    return {"pruned": pruned}


def _not_kept(bucket: str, kept: Sequence[str]) -> list[str]:
    releases = s3.folders(bucket, publication.key("", "")[:-1])
    return [name for name in releases if name not in kept]
