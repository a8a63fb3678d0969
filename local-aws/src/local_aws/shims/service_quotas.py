"""Service Quotas and the account's plan, which MiniStack lacks: those of an account that has been
in use for a while.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/Welcome.html
"""

import json
from typing import Any

from ministack import app
from ministack.core import iam_actions, router
from ministack.core.responses import error_response_json, json_response

_BUILDS = "Concurrently running builds for Linux/{} environment"
_QUOTAS = [
    {"ServiceCode": service, "QuotaCode": code, "QuotaName": name, "Value": value}
    for service, code, name, value in (
        ("vpc", "L-F678F1CE", "VPCs per Region", 100.0),
        ("fargate", "L-3032A538", "Fargate On-Demand vCPU resource count", 64.0),
        ("codebuild", "L-9D07B6EF", _BUILDS.format("Small"), 5.0),
        ("codebuild", "L-2DC20C30", _BUILDS.format("Medium"), 5.0),
        ("codebuild", "L-4DDC4A99", _BUILDS.format("Large"), 5.0),
    )
]


async def _quotas(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> Any:
    request = json.loads(body or b"{}")
    quotas = [quota for quota in _QUOTAS if quota["ServiceCode"] == request.get("ServiceCode")]
    match headers["x-amz-target"].rpartition(".")[2]:
        case "ListServiceQuotas" | "ListAWSDefaultServiceQuotas":
            return json_response({"Quotas": quotas})
        case "GetServiceQuota" | "GetAWSDefaultServiceQuota":
            for quota in quotas:
                if quota["QuotaCode"] == request["QuotaCode"]:
                    return json_response({"Quota": quota})
            return error_response_json("NoSuchResourceException", "no such quota", 400)
    return json_response({"RequestedQuotas": []})


async def _plan(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> Any:
    return error_response_json("ResourceNotFoundException", "the account has no plan", 400)


def install() -> None:
    for name, target, handler in (
        ("servicequotas", "ServiceQuotasV20190624", _quotas),
        ("freetier", "AWSFreeTierService", _plan),
    ):
        app.SERVICE_HANDLERS[name] = handler
        router.SERVICE_PATTERNS[name] = {"target_prefixes": [target], "credential_scope": name}
        iam_actions.SERVICE_TO_IAM_NAMESPACE[name] = name
