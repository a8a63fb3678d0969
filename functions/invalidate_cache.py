"""Replace the error page, the only page that all releases share, and invalidate it in CloudFront.

All other pages are cached under their release's own path, so a switch makes none of them stale.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import cloudfront, s3
from deployer.aws.s3 import Served
from deployer.docs import addresses, publication, site
from deployer.docs.site import DocsRelease
from deployer.log import Logger
from deployer.store import locks

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: DocsRelease
    execution: str


class Invalidated(TypedDict):
    done: bool


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Invalidated:
    spec, release = site.from_document(event["spec"]), event["release"]
    page = addresses.ERROR_PAGE
    served = Served(publication.HTML, publication.ERROR_CACHE, {"release": release["folder"]})
    with locks.lease(release["service"], event["execution"]):
        s3.copy(spec.bucket, publication.key(release["folder"], page), page, served)
        done = cloudfront.invalidate(spec.distribution, f"/{page}", release["id"])
    logger.info("cache invalidated", done=done)
    return {"done": done}
