"""Verify that what answers over HTTP is the release, on the data that was there before."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import http
from deployer.aws.log import Logger
from deployer.deploy import addresses, verification
from deployer.deploy.addresses import Addresses
from deployer.deploy.release import Release
from deployer.deploy.rollout import Rollout
from deployer.deploy.spec import Verification, from_document
from deployer.deploy.verification import Finding, Probes

logger = Logger()

# How long one invocation asks before the workflow looks again whether the tasks still live.
_PATIENCE = 10.0  # seconds
_BETWEEN_ASKS = 0.5  # seconds


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    rollout: Rollout
    addresses: Addresses
    probes: Probes
    execution: str


class Verified(Finding):
    probes: Probes


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Verified:
    spec = from_document(event["spec"], "the service spec")
    if spec.verify is None:
        return {**verification.verified("the spec names nothing to ask"), "probes": {}}
    urls = addresses.to_ask(spec, event["addresses"])
    give_up = time.monotonic() + _PATIENCE
    while True:
        found = _ask(urls, spec.verify, event)
        if found["verdict"] == "VERIFIED" or time.monotonic() > give_up:
            break
        if found["verdict"] == "REFUTED" and not spec.load_balancer:
            break  # a load balancer may still hand out the last answers of old tasks
        time.sleep(_BETWEEN_ASKS)
    late = datetime.now(UTC) >= datetime.fromisoformat(event["rollout"]["deadline"])
    if found["verdict"] == "PENDING" and late:
        found = {**found, **verification.refuted("VerificationTimedOut", found["reason"])}
    logger.info("release asked", finding=found, urls=urls)
    return found


def _ask(urls: list[str], verify: Verification, event: Request) -> Verified:
    probes: Probes = {}
    finding = verification.pending("no task has an address yet")
    for url in urls:
        finding, probes = _ask_one(url, verify, event)
        if finding["verdict"] != "VERIFIED":
            return {**finding, "reason": f"{url}: {finding['reason']}", "probes": probes}
    return {**finding, "probes": probes}


def _ask_one(url: str, verify: Verification, event: Request) -> tuple[Finding, Probes]:
    finding = verification.healthy(verify, http.get(url + verify.path))
    if finding["verdict"] == "VERIFIED" and verify.version:
        answer = http.get(url + verify.version.path)
        finding = verification.right_version(verify.version, answer, event["release"]["version"])
    if finding["verdict"] != "VERIFIED":
        return finding, {}
    probes = http.probe(url, verify.unchanged)
    changed = verification.unchanged(event["probes"], probes)
    return (finding if changed["verdict"] == "VERIFIED" else changed), probes
