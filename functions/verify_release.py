"""Verify over HTTP that the release answers, with the same data as before."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.deploy import addresses, verification
from deployer.deploy.addresses import Addresses
from deployer.deploy.release import Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import Verification, from_document
from deployer.deploy.verification import Finding, Probes
from deployer.log import Logger

logger = Logger()

# How long one invocation sends requests before the workflow checks the tasks again.
_PATIENCE = 10.0  # seconds
_REQUEST_PAUSE = 0.5  # seconds


class Request(TypedDict):
    """`rollout` is None before an update: then the probes are read, for the comparison after it."""

    spec: Mapping[str, Any]
    release: Release
    rollout: Rollout | None
    addresses: Addresses
    probes: Probes
    execution: str


class Verified(Finding):
    probes: Probes


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Verified:
    spec = from_document(event["spec"], "the service spec")
    if spec.verify is None:
        return {**verification.verified("the spec has no `verify`"), "probes": {}}
    urls = addresses.to_ask(spec, event["addresses"])
    if event["rollout"] is None:
        values = [http.probe(url, spec.verify.unchanged) for url in urls[:1]]
        return {
            **verification.verified("read"),
            "probes": {**event["probes"], **(values or [{}])[0]},
        }
    deadline = time.monotonic() + _PATIENCE
    while True:
        finding = _verify(urls, spec.verify, event)
        if finding["verdict"] == "VERIFIED" or time.monotonic() > deadline:
            break
        if finding["verdict"] == "REFUTED" and not spec.url:
            break  # a load balancer may still route to old tasks
        time.sleep(_REQUEST_PAUSE)
    late = datetime.now(UTC) >= datetime.fromisoformat(event["rollout"]["deadline"])
    if finding["verdict"] == "PENDING" and late:
        finding = {**finding, **verification.refuted("VerificationTimedOut", finding["reason"])}
    logger.info("release verified", finding=finding, urls=urls)
    return finding


def _verify(urls: list[str], verify: Verification, event: Request) -> Verified:
    probes: Probes = {}
    finding = verification.pending("no task has an address yet")
    for url in urls:
        finding, probes = _verify_url(url, verify, event)
        if finding["verdict"] != "VERIFIED":
            return {**finding, "reason": f"{url}: {finding['reason']}", "probes": probes}
    return {**finding, "probes": probes}


def _verify_url(url: str, verify: Verification, event: Request) -> tuple[Finding, Probes]:
    finding = verification.healthy(verify, http.get(url + verify.path))
    if finding["verdict"] == "VERIFIED" and verify.version:
        response = http.get(url + verify.version.path)
        finding = verification.right_version(verify.version, response, event["release"]["version"])
    if finding["verdict"] != "VERIFIED":
        return finding, {}
    probes = http.probe(url, verify.unchanged)
    comparison = verification.unchanged(event["probes"], probes)
    return (finding if comparison["verdict"] == "VERIFIED" else comparison), probes
