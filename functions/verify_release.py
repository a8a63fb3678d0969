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
from deployer.deploy.spec import ServiceSpec, Verification, from_document
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
    if all(part.verify is None for part in spec.parts):
        return {**verification.verified("the spec has no `verify`"), "probes": {}}
    if event["rollout"] is None:
        return {
            **verification.verified("read"),
            "probes": {**event["probes"], **_read(spec, event)},
        }
    patience = time.monotonic() + _PATIENCE
    finding: Verified = {**verification.verified(""), "probes": {}}
    reasons, probes = list[str](), dict[str, str]()
    for part in spec.parts:
        if part.verify is None:
            continue
        finding = _verify(part, part.verify, patience, event)
        reason = f"{part.service}: {finding['reason']}" if spec.further else finding["reason"]
        finding = {**finding, "reason": reason}
        if finding["verdict"] != "VERIFIED":
            break
        reasons.append(reason)
        probes |= verification.in_release(finding["probes"], part.lead and part.service)
    else:
        finding = {**finding, "reason": "; ".join(reasons), "probes": probes}
    last = event["addresses"].get("deadline") or event["rollout"]["deadline"]
    late = datetime.now(UTC) >= datetime.fromisoformat(last)
    if finding["verdict"] == "PENDING" and late:
        finding = {**finding, **verification.refuted("VerificationTimedOut", finding["reason"])}
    if finding["verdict"] == "REFUTED" and spec.further:
        finding["service"] = part.service
    logger.info("release verified", finding=finding, addresses=event["addresses"])
    return finding


def _addresses(spec: ServiceSpec, event: Request) -> Addresses:
    """Return the addresses of one of the release's services."""
    further = event["addresses"].get("services", {})
    nowhere: Addresses = {"url": None, "tasks": []}
    return further.get(spec.service, nowhere) if spec.lead else event["addresses"]


def _read(spec: ServiceSpec, event: Request) -> Probes:
    """Return what the services that run respond; nothing of those that are not to be asked."""
    values = dict[str, str]()
    for part in spec.parts:
        hosts = _addresses(part, event)
        if part.verify and (hosts["url"] or hosts["tasks"]):
            for url in addresses.to_ask(part, hosts)[:1]:
                probes = http.probe(url, part.verify.unchanged)
                values |= verification.in_release(probes, part.lead and part.service)
    return values


def _verify(spec: ServiceSpec, verify: Verification, patience: float, event: Request) -> Verified:
    """Verify one of the release's services.

    Args:
        patience: until when to ask again, by time.monotonic().
    """
    urls = addresses.to_ask(spec, _addresses(spec, event))
    before = verification.of_service(event["probes"], spec.lead and spec.service)
    while True:
        finding = _verify_urls(urls, verify, before, event)
        if finding["verdict"] == "VERIFIED" or time.monotonic() > patience:
            return finding
        if finding["verdict"] == "REFUTED" and not spec.url:
            return finding  # a load balancer may still route to old tasks
        time.sleep(_REQUEST_PAUSE)


def _verify_urls(urls: list[str], verify: Verification, before: Probes, event: Request) -> Verified:
    probes: Probes = {}
    finding = verification.pending("no task has an address yet")
    for url in urls:
        finding, probes = _verify_url(url, verify, before, event)
        if finding["verdict"] != "VERIFIED":
            return {**finding, "reason": f"{url}: {finding['reason']}", "probes": probes}
    return {**finding, "probes": probes}


def _verify_url(
    url: str, verify: Verification, before: Probes, event: Request
) -> tuple[Finding, Probes]:
    finding = verification.healthy(verify, http.get(url + verify.path))
    if finding["verdict"] == "VERIFIED" and verify.version:
        response = http.get(url + verify.version.path)
        finding = verification.right_version(verify.version, response, event["release"]["version"])
    if finding["verdict"] != "VERIFIED":
        return finding, {}
    probes = http.probe(url, verify.unchanged)
    comparison = verification.unchanged(before, probes)
    return (finding if comparison["verdict"] == "VERIFIED" else comparison), probes
