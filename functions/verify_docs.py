"""Verify that the site answers with the release that was published."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.aws.log import Logger
from deployer.deploy.verification import Finding, refuted, verified
from deployer.docs import publication, site
from deployer.docs.publication import Sample
from deployer.docs.site import DocsRelease

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: DocsRelease
    sample: list[Sample]
    since: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Finding:
    spec, asked = site.from_document(event["spec"]), datetime.now(UTC)
    found = _ask(spec.url, event["release"], event["sample"])
    late = asked - datetime.fromisoformat(event["since"]) > timedelta(seconds=spec.timeout)
    if found["verdict"] == "PENDING" and late:
        found = refuted("VerificationFailed", found["reason"])
    logger.info("docs asked", finding=found)
    return found


def _ask(url: str, release: DocsRelease, sample: list[Sample]) -> Finding:
    for page in sample:
        found = publication.answers(page, release["folder"], http.get(url + page["path"]))
        if found["verdict"] != "VERIFIED":
            return found
    nowhere = f"/{release['id']}/"
    found = publication.misses(nowhere, http.get(url + nowhere))
    if found["verdict"] != "VERIFIED":
        return found
    return verified(f"{len(sample)} page(s) have the content that was published")
