"""Verify that the site serves the published release."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.deploy.verification import Finding, refuted, verified
from deployer.docs import publication, site
from deployer.docs.publication import Sample
from deployer.docs.site import DocsRelease
from deployer.log import Logger

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: DocsRelease
    sample: list[Sample]
    since: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Finding:
    spec, now = site.from_document(event["spec"]), datetime.now(UTC)
    finding = _verify(spec.url, event["release"], event["sample"])
    late = now - datetime.fromisoformat(event["since"]) > timedelta(seconds=spec.timeout)
    if finding["verdict"] == "PENDING" and late:
        finding = refuted("VerificationFailed", finding["reason"])
    logger.info("docs verified", finding=finding)
    return finding


def _verify(url: str, release: DocsRelease, sample: list[Sample]) -> Finding:
    for page in sample:
        finding = publication.answers(page, release["folder"], http.get(url + page["path"]))
        if finding["verdict"] != "VERIFIED":
            return finding
    missing = f"/{release['id']}/"
    finding = publication.misses(missing, http.get(url + missing))
    if finding["verdict"] != "VERIFIED":
        return finding
    return verified(f"{len(sample)} page(s) have the content that was published")
