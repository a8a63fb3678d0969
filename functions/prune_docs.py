"""Prune the docs: delete the releases that are not kept, and what failed ones left."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import publication, site
from deployer.aws import s3
from deployer.aws.log import Logger

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
    bucket, kept = site.from_document(event["spec"]).bucket, event["switch"].split(",")
    pruned = [name for name in s3.folders(bucket, publication.key("", "")[:-1]) if name not in kept]
    for name in pruned:
        s3.delete(bucket, publication.manifest_key(name))
        s3.delete(bucket, publication.key(name, ""))
    logger.info("docs pruned", pruned=pruned)
    return {"pruned": pruned}
