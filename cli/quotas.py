"""Check an account's quotas, and explain how to request more.

Decisions take plain values; `Quotas` asks Service Quotas. An account's own value may be far below
AWS's default in a new account, and for some quotas Service Quotas knows the default alone:
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.aws import AWS_ERRORS, Account, code_of
from deployer.check import FAILED, OK, WARNING, Check

_LATELY = timedelta(hours=1)


@dataclass(frozen=True)
class Quota:
    """A quota of an account in a Region.

    Attributes:
        what: what it counts, in words.
        service, code: Service Quotas' names for it; no code where it is found by `name`.
        name: Service Quotas' title for it.
        value: how many are allowed; None if that is not known.
        applied: whether `value` is this account's own, not merely AWS's default.
        used: how many CloudWatch counted last; 0 if it counts none.
        requested: what was asked for and is not decided yet; None if nothing was.
    """

    what: str
    service: str
    code: str = ""
    name: str = ""
    value: float | None = None
    applied: bool = True
    used: float = 0
    requested: float | None = None

    def increase(self, to: float) -> tuple[str, ...]:
        """Return how to request an increase."""
        if self.requested is not None and self.requested >= to:
            return (
                f"An increase to {self.requested:g} was asked for and is not decided yet:",
                "  aws service-quotas list-requested-service-quota-change-history-by-quota"
                f" --service-code {self.service} --quota-code {self.code}",
            )
        return (
            f"Ask AWS for {to:g} (minutes to days), then run this again:",
            "  aws service-quotas request-service-quota-increase"
            f" --service-code {self.service} --quota-code {self.code} --desired-value {to:g}",
            "or in the console, Service Quotas:"
            f" https://console.aws.amazon.com/servicequotas/home/services/{self.service}/quotas"
            f"/{self.code}",
        )


VPCS = Quota("VPCs", "vpc", "L-F678F1CE")
ADDRESSES = Quota("elastic IP addresses", "ec2", "L-0263D0A3")
LOAD_BALANCERS = Quota("application load balancers", "elasticloadbalancing", "L-53DA6B97")
DATABASES = Quota("RDS instances", "rds", "L-7B6409FD")
FARGATE = Quota("Fargate vCPUs", "fargate", "L-3032A538")


def builds(compute_type: str, environment_type: str = "LINUX_CONTAINER") -> Quota:
    """Return the quota of concurrent builds in an environment of CodeBuild
    (https://docs.aws.amazon.com/codebuild/latest/userguide/limits.html)."""
    system = "ARM" if environment_type.startswith("ARM") else "Linux"
    size = compute_type.rpartition("_")[2]
    size = size if size[0].isdigit() else size.capitalize()
    size_name = {"Xlarge": "XLarge", "2XLARGE": "2XLarge"}.get(size, size)
    return Quota(
        f"{system}/{size_name} builds at once in CodeBuild",
        "codebuild",
        name=f"Concurrently running builds for {system}/{size_name} environment",
    )


class Quotas:
    """An account's quotas, from Service Quotas."""

    def __init__(self, account: Account) -> None:
        self._client = account.client("service-quotas")
        self._metrics = account.client("cloudwatch")

    def look(self, quota: Quota) -> Quota:
        """Return the quota with its value, use and open requests.

        Raises:
            AWS_ERRORS: no permission, or AWS failed.
        """
        match = self._named(quota) if quota.name else self._coded(quota)
        if match is None:
            return quota
        entry, applied = match
        result = replace(
            quota, code=entry["QuotaCode"], value=float(entry["Value"]), applied=applied
        )
        with contextlib.suppress(*AWS_ERRORS):  # what is used and requested is a help, no more
            result = replace(result, used=self._used(entry.get("UsageMetric")))
        with contextlib.suppress(*AWS_ERRORS):
            result = replace(result, requested=self._requested(result))
        return result

    def _coded(self, quota: Quota) -> tuple[Mapping[str, Any], bool] | None:
        request = {"ServiceCode": quota.service, "QuotaCode": quota.code}
        for operation, applied in (
            (self._client.get_service_quota, True),
            (self._client.get_aws_default_service_quota, False),
        ):
            try:
                return operation(**request)["Quota"], applied
            except self._client.exceptions.NoSuchResourceException:
                continue
        return None

    def _named(self, quota: Quota) -> tuple[Mapping[str, Any], bool] | None:
        for operation, applied in (
            ("list_service_quotas", True),
            ("list_aws_default_service_quotas", False),
        ):
            pages = self._client.get_paginator(operation).paginate(ServiceCode=quota.service)
            for entry in (entry for page in pages for entry in page["Quotas"]):
                if entry["QuotaName"] == quota.name and "Value" in entry:
                    return entry, applied
        return None

    def _used(self, metric: Mapping[str, Any] | None) -> float:
        """Return the use that CloudWatch measured last; 0 if it does not measure it
        (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Quotas-Visualize-Alarms.html)."""
        if not metric:
            return 0
        now, statistic = datetime.now(UTC), metric["MetricStatisticRecommendation"]
        points = self._metrics.get_metric_statistics(
            Namespace=metric["MetricNamespace"],
            MetricName=metric["MetricName"],
            Dimensions=[{"Name": n, "Value": v} for n, v in metric["MetricDimensions"].items()],
            Statistics=[statistic],
            StartTime=now - _LATELY,
            EndTime=now,
            Period=300,
        )["Datapoints"]
        newest = max(points, key=lambda point: point["Timestamp"], default=None)
        return float(newest[statistic]) if newest else 0

    def _requested(self, quota: Quota) -> float | None:
        pages = self._client.get_paginator(
            "list_requested_service_quota_change_history_by_quota"
        ).paginate(ServiceCode=quota.service, QuotaCode=quota.code)
        open_ = [
            float(request["DesiredValue"])
            for page in pages
            for request in page["RequestedQuotas"]
            if request["Status"] in ("PENDING", "CASE_OPENED")
        ]
        return max(open_, default=None)


# Decisions ----------------------------------------------------------------------------------------


def room(quota: Quota, needed: float, alternative: str = "") -> Check:
    """Check that a quota has room.

    Args:
        needed: how many more are needed.
        alternative: what to do instead of an increase, if anything.
    """
    if quota.value is None:
        return _unknown("quota", quota)
    if quota.used + needed <= quota.value:
        return Check("quota", OK, f"{quota.used:g} of {quota.value:g} {quota.what} used")
    fix = quota.increase(quota.used + needed)
    if alternative:
        fix += (f"or {alternative}.",)
    problem = f"{quota.used:g} of {quota.value:g} {quota.what} are used, {needed:g} more needed"
    return Check("quota", FAILED, problem, fix)


def fargate(quota: Quota, cpu: int, count: int, *, overlap: bool) -> Check:
    """Check that the service's tasks fit, and during a release the new tasks too.

    Args:
        cpu: CPU units of a task.
        overlap: whether old tasks stay until new ones are healthy.
    """
    needed = cpu * count / 1024
    check = room(quota, needed, "use smaller tasks (Cpu, DesiredCount)")
    if check.state != OK or not overlap:
        return replace(check, name="Fargate quota")
    if quota.value is not None and quota.used + 2 * needed > quota.value:
        problem = (
            f"{quota.used:g} of {quota.value:g} {quota.what} are used; the tasks take {needed:g},"
            f" and during a release {2 * needed:g}"
        )
        why = "A release may have to wait for room until it times out."
        fix = quota.increase(quota.used + 2 * needed)
        return Check("Fargate quota", WARNING, problem, fix, why)
    return replace(check, name="Fargate quota")


def concurrency(quota: Quota, *, now: bool = False) -> Check:
    """Check that CodeBuild may run a build; one at a time is enough, because others queue.

    Args:
        now: a build will start immediately.
    """
    name = "CodeBuild quota"
    if quota.value is None:
        return _unknown(name, quota)
    if quota.value < 1:
        why = "Builds of images and of the docs site fail until then; pushed images deploy."
        problem = f"{quota.value:g} {quota.what} are allowed in this account"
        return Check(name, FAILED if now else WARNING, problem, quota.increase(1), why)
    if not quota.applied:
        problem = (
            f"AWS's default is {quota.value:g} {quota.what}; it does not say what this account has"
        )
        why = (
            "In a new account that may be none: a build then fails with `Cannot have more than 0"
            " builds in queue for the account`."
        )
        return Check(name, WARNING, problem, quota.increase(max(quota.value, 1)), why)
    return Check(name, OK, f"{quota.value:g} {quota.what}")


def _unknown(name: str, quota: Quota) -> Check:
    fix = (
        "See what the account has:",
        f"  aws service-quotas list-service-quotas --service-code {quota.service}"
        " --query 'Quotas[].[QuotaName,Value]' --output text",
    )
    return Check(name, WARNING, f"Service Quotas does not know how many {quota.what} fit", fix)


def plan(current: Mapping[str, Any] | None, *, database: bool) -> Check:
    """Check that the account's plan allows the new resources.

    Args:
        database: whether a database will be created.
        current: from GetAccountPlanState; None if the account is older than plans, and so has no
            limits (https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/free-tier-plans.html).
    """
    name = "account plan"
    if current is None or current.get("accountPlanType") != "FREE":
        return Check(name, OK, "not the free plan, which limits what can be made")
    fix = (
        "Upgrade it; its remaining credits stay:",
        "  aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1",
    )
    why = "It refuses a database with more than a day of backups (FreeTierRestrictionError)."
    verdict = FAILED if database else WARNING
    return Check(name, verdict, "the account is on AWS's free plan", fix, why)


def account_plan(account: Account, *, database: bool) -> Check:
    """Check the account's plan.

    Raises:
        AWS_ERRORS: no permission, or AWS failed.
    """
    try:
        current = account.client("freetier", "us-east-1").get_account_plan_state()
    except AWS_ERRORS as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        current = None
    return plan(current, database=database)
