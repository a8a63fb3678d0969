"""Prune the docs: delete the releases that are not kept, and what failed ones left."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import publication, site
from deployer.aws import s3, turns

logger = Logger()


class Request(TypedDict):
    """`switch` names the releases that are kept, the live one first."""

    spec: Mapping[str, Any]
    switch: str
    execution: str


class Pruned(TypedDict):
    pruned: list[str]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Pruned:
    spec = site.from_document(event["spec"])
    with turns.change(site.owner(spec.site), event["execution"]) as go_on:
        pruned = _pruned(spec.bucket, event["switch"].split(","), go_on)
    logger.info("docs pruned", pruned=pruned)
    return {"pruned": pruned}


def _pruned(bucket: str, kept: Sequence[str], go_on: Callable[[], None]) -> list[str]:
    releases = s3.folders(bucket, publication.key("", "")[:-1])
    pruned = [name for name in releases if name not in kept]
    for name in pruned:
        # first: a release that has a manifest is whole, and can be rolled back to
        s3.delete(bucket, publication.manifest_key(name), go_on)
        s3.delete(bucket, publication.key(name, ""), go_on)
    return pruned
