"""What quotas allow: the decisions, and what Service Quotas is asked, in its own shapes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from cli import quotas
from cli.aws import Account
from cli.quotas import FARGATE, VPCS, Quota, Quotas, builds
from deployer.check import FAILED, OK, WARNING

LARGE = "Concurrently running builds for Linux/Large environment"


def test_room() -> None:
    assert quotas.room(replace(VPCS, used=4, value=5), 1).state == OK
    full = quotas.room(replace(VPCS, used=5, value=5), 1, "give VpcId, one of your own")
    assert (full.state, full.finding) == (FAILED, "5 of 5 VPCs are used, 1 more needed")
    assert "--service-code vpc --quota-code L-F678F1CE --desired-value 6" in full.fix[1]
    assert "give VpcId" in full.fix[-1]
    assert quotas.room(VPCS, 1).state == WARNING  # nobody knows


def test_an_increase_that_was_asked_for_is_not_asked_for_again() -> None:
    request = quotas.room(replace(VPCS, used=5, value=5, requested=10), 1)
    assert "request-service-quota-increase" not in " ".join(request.fix)
    assert "list-requested-service-quota-change-history-by-quota" in request.fix[1]
    too_few = quotas.room(replace(VPCS, used=5, value=5, requested=5), 1)
    assert "request-service-quota-increase" in too_few.fix[1]


@pytest.mark.parametrize(
    ("value", "used", "cpu", "count", "overlap", "state", "asks_for"),
    [
        (6, 0, 2048, 1, False, OK, ""),
        (6, 0, 2048, 1, True, OK, ""),
        (0, 0, 256, 1, False, FAILED, "0.25"),
        (2, 1, 2048, 1, False, FAILED, "3"),
        (6, 5.5, 512, 1, False, OK, ""),
        (2, 0, 2048, 1, True, WARNING, "4"),  # steady it fits; a release needs the double
        (6, 0, 4096, 2, False, FAILED, "8"),
    ],
)
def test_fargate(
    value: float, used: float, cpu: int, count: int, overlap: bool, state: str, asks_for: str
) -> None:
    check = quotas.fargate(replace(FARGATE, value=value, used=used), cpu, count, overlap=overlap)
    assert (check.name, check.state) == ("Fargate quota", state)
    if asks_for:
        assert f"--quota-code L-3032A538 --desired-value {asks_for}" in check.fix[1]


@pytest.mark.parametrize(
    ("quota", "now", "state", "message"),
    [
        (Quota("x", "codebuild", "L-1", value=0), False, WARNING, "--desired-value 1"),
        (Quota("x", "codebuild", "L-1", value=0), True, FAILED, "--desired-value 1"),
        (Quota("x", "codebuild", "L-1", value=1), True, OK, ""),
        (
            Quota("x", "codebuild", "L-1", value=15, applied=False),
            True,
            WARNING,
            "it does not say what this account has",
        ),
        (Quota("x", "codebuild"), False, WARNING, "list-service-quotas --service-code codebuild"),
    ],
)
def test_builds_at_once(quota: Quota, now: bool, state: str, message: str) -> None:
    check = quotas.concurrency(quota, now=now)
    assert check.state == state
    assert message in " ".join([check.finding, *check.fix])


@pytest.mark.parametrize(
    ("compute", "environment", "name"),
    [
        ("BUILD_GENERAL1_SMALL", "LINUX_CONTAINER", "Linux/Small"),
        ("BUILD_GENERAL1_LARGE", "LINUX_CONTAINER", "Linux/Large"),
        ("BUILD_GENERAL1_XLARGE", "LINUX_CONTAINER", "Linux/XLarge"),
        ("BUILD_GENERAL1_2XLARGE", "LINUX_CONTAINER", "Linux/2XLarge"),
        ("BUILD_GENERAL1_LARGE", "ARM_CONTAINER", "ARM/Large"),
    ],
)
def test_each_environment_of_codebuild_has_a_quota(
    compute: str, environment: str, name: str
) -> None:
    result = builds(compute, environment)
    assert result.name == f"Concurrently running builds for {name} environment"


@pytest.mark.parametrize(
    ("message", "database", "state"),
    [
        (None, True, OK),
        ({"accountPlanType": "PAID"}, True, OK),
        ({"accountPlanType": "FREE"}, True, FAILED),
        ({"accountPlanType": "FREE"}, False, WARNING),
    ],
)
def test_the_plan(message: dict[str, str] | None, database: bool, state: str) -> None:
    assert quotas.plan(message, database=database).state == state


# As AWS answers ----------------------------------------------------------------------------------


@pytest.fixture
def service(account: Account) -> Iterator[Stubber]:
    with Stubber(account.client("service-quotas")) as stub:
        yield stub


def answer(code: str, name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"QuotaCode": code, "QuotaName": name, "Value": value, **more}


HISTORY = "list_requested_service_quota_change_history_by_quota"


def test_a_quota_is_seen_with_what_is_used_and_asked_for(
    account: Account, service: Stubber
) -> None:
    metric = {
        "MetricNamespace": "AWS/Usage",
        "MetricName": "ResourceCount",
        "MetricDimensions": {"Class": "Standard/OnDemand", "Resource": "vCPU", "Type": "Resource"},
        "MetricStatisticRecommendation": "Maximum",
    }
    code = {"ServiceCode": "fargate", "QuotaCode": "L-3032A538"}
    output = answer("L-3032A538", "Fargate On-Demand vCPU", 6.0, UsageMetric=metric)
    service.add_response("get_service_quota", {"Quota": output}, code)
    requests = [
        {"DesiredValue": 12.0, "Status": "CASE_OPENED"},
        {"DesiredValue": 40.0, "Status": "DENIED"},
    ]
    service.add_response(HISTORY, {"RequestedQuotas": requests}, code)
    points = [
        {"Timestamp": datetime(2026, 1, 1, hour, tzinfo=UTC), "Maximum": float(hour)}
        for hour in (2, 3, 1)
    ]
    request = {name: ANY for name in ("Dimensions", "StartTime", "EndTime", "Period")} | {
        "Namespace": "AWS/Usage",
        "MetricName": "ResourceCount",
        "Statistics": ["Maximum"],
    }
    with Stubber(account.client("cloudwatch")) as metrics:
        metrics.add_response("get_metric_statistics", {"Datapoints": points}, request)
        seen = Quotas(account).look(FARGATE)
    assert (seen.value, seen.applied, seen.used, seen.requested) == (6, True, 3, 12)


def test_where_the_account_has_no_value_of_its_own_the_default_is_named_as_such(
    account: Account, service: Stubber
) -> None:
    service.add_client_error("get_service_quota", "NoSuchResourceException")
    service.add_response(
        "get_aws_default_service_quota", {"Quota": answer("L-3032A538", "Fargate", 6.0)}
    )
    service.add_client_error(HISTORY, "AccessDeniedException")  # a help, no more
    seen = Quotas(account).look(FARGATE)
    assert (seen.value, seen.applied, seen.used, seen.requested) == (6, False, 0, None)


def test_codebuilds_quotas_are_found_by_name(account: Account, service: Stubber) -> None:
    other = answer("L-9D07B6EF", LARGE.replace("Large", "Small"), 1.0)
    service.add_response(
        "list_service_quotas", {"Quotas": [other], "NextToken": "2"}, {"ServiceCode": "codebuild"}
    )
    service.add_response("list_service_quotas", {"Quotas": [answer("L-4DDC4A99", LARGE, 0.0)]})
    service.add_response(HISTORY, {"RequestedQuotas": []})
    seen = Quotas(account).look(builds("BUILD_GENERAL1_LARGE"))
    assert (seen.code, seen.value, seen.applied) == ("L-4DDC4A99", 0, True)

    service.add_response("list_service_quotas", {"Quotas": [other]})
    service.add_response(
        "list_aws_default_service_quotas", {"Quotas": [answer("L-4DDC4A99", LARGE, 1.0)]}
    )
    service.add_response(HISTORY, {"RequestedQuotas": []})
    seen = Quotas(account).look(builds("BUILD_GENERAL1_LARGE"))
    assert (seen.value, seen.applied) == (1, False)


def test_an_account_older_than_plans_has_none(account: Account) -> None:
    with Stubber(account.client("freetier", "us-east-1")) as stub:
        stub.add_client_error("get_account_plan_state", "ResourceNotFoundException")
        assert quotas.account_plan(account, database=True).state == OK
        output = {"accountId": "123456789012", "accountPlanStatus": "ACTIVE"}
        stub.add_response("get_account_plan_state", output | {"accountPlanType": "FREE"})
        assert quotas.account_plan(account, database=True).state == FAILED
        stub.add_client_error("get_account_plan_state", "AccessDeniedException")
        with pytest.raises(ClientError):
            quotas.account_plan(account, database=True)
