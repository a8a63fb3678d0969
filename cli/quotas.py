"""What an account's quotas allow, and how to ask for more.

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
        """How to get more."""
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
    """The quota of builds that run at once in an environment of CodeBuild
    (https://docs.aws.amazon.com/codebuild/latest/userguide/limits.html)."""
    system = "ARM" if environment_type.startswith("ARM") else "Linux"
    size = compute_type.rpartition("_")[2]
    size = size if size[0].isdigit() else size.capitalize()
    shown = {"Xlarge": "XLarge", "2XLARGE": "2XLarge"}.get(size, size)
    return Quota(
        f"{system}/{shown} builds at once in CodeBuild",
        "codebuild",
        name=f"Concurrently running builds for {system}/{shown} environment",
    )


class Quotas:
    """An account's quotas, as Service Quotas knows them."""

    def __init__(self, account: Account) -> None:
        self._client = account.client("service-quotas")
        self._metrics = account.client("cloudwatch")

    def look(self, quota: Quota) -> Quota:
        """The quota with what is known of it. Raises AWS's errors where nobody may look."""
        found = self._named(quota) if quota.name else self._coded(quota)
        if found is None:
            return quota
        entry, applied = found
        known = replace(
            quota, code=entry["QuotaCode"], value=float(entry["Value"]), applied=applied
        )
        with contextlib.suppress(*AWS_ERRORS):  # what is used and requested is a help, no more
            known = replace(known, used=self._used(entry.get("UsageMetric")))
        with contextlib.suppress(*AWS_ERRORS):
            known = replace(known, requested=self._requested(known))
        return known

    def _coded(self, quota: Quota) -> tuple[Mapping[str, Any], bool] | None:
        about = {"ServiceCode": quota.service, "QuotaCode": quota.code}
        for ask, applied in (
            (self._client.get_service_quota, True),
            (self._client.get_aws_default_service_quota, False),
        ):
            try:
                return ask(**about)["Quota"], applied
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
        """What CloudWatch counted last, where it counts
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


# What they mean ----------------------------------------------------------------------------------


def room(quota: Quota, more: float, instead: str = "") -> Check:
    """Whether `more` of something fit beside what is used.

    instead: what else helps, where something does.
    """
    if quota.value is None:
        return _unknown("quota", quota)
    if quota.used + more <= quota.value:
        return Check("quota", OK, f"{quota.used:g} of {quota.value:g} {quota.what} used")
    fix = quota.increase(quota.used + more)
    if instead:
        fix += (f"or {instead}.",)
    said = f"{quota.used:g} of {quota.value:g} {quota.what} are used, {more:g} more needed"
    return Check("quota", FAILED, said, fix)


def fargate(quota: Quota, cpu: int, count: int, *, overlap: bool) -> Check:
    """Whether the service's tasks fit, and those of a release beside them.

    Args:
        cpu: CPU units of a task.
        overlap: whether old tasks stay until new ones are healthy.
    """
    needed = cpu * count / 1024
    check = room(quota, needed, "use smaller tasks (Cpu, DesiredCount)")
    if check.state != OK or not overlap:
        return replace(check, name="Fargate quota")
    if quota.value is not None and quota.used + 2 * needed > quota.value:
        said = (
            f"{quota.used:g} of {quota.value:g} {quota.what} are used; the tasks take {needed:g},"
            f" and during a release {2 * needed:g}"
        )
        why = "A release may have to wait for room until it times out."
        fix = quota.increase(quota.used + 2 * needed)
        return Check("Fargate quota", WARNING, said, fix, why)
    return replace(check, name="Fargate quota")


def concurrency(quota: Quota, *, now: bool = False) -> Check:
    """Whether CodeBuild may build at all; one build at a time is enough, since others queue.

    now: a build is to be started at once.
    """
    name = "CodeBuild quota"
    if quota.value is None:
        return _unknown(name, quota)
    if quota.value < 1:
        why = "Builds of images and of the docs site fail until then; pushed images deploy."
        said = f"{quota.value:g} {quota.what} are allowed in this account"
        return Check(name, FAILED if now else WARNING, said, quota.increase(1), why)
    if not quota.applied:
        said = (
            f"AWS's default is {quota.value:g} {quota.what}; it does not say what this account has"
        )
        why = (
            "In a new account that may be none: a build then fails with `Cannot have more than 0"
            " builds in queue for the account`."
        )
        return Check(name, WARNING, said, quota.increase(max(quota.value, 1)), why)
    return Check(name, OK, f"{quota.value:g} {quota.what}")


def _unknown(name: str, quota: Quota) -> Check:
    fix = (
        "See what the account has:",
        f"  aws service-quotas list-service-quotas --service-code {quota.service}"
        " --query 'Quotas[].[QuotaName,Value]' --output text",
    )
    return Check(name, WARNING, f"Service Quotas does not know how many {quota.what} fit", fix)


def plan(current: Mapping[str, Any] | None, *, database: bool) -> Check:
    """Whether the account's plan allows what is to be made.

    database: whether a database is to be made.
    current: by GetAccountPlanState; None if the account is older than plans, and so has them all
        (https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/free-tier-plans.html).
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
    """Ask for the account's plan. Raises AWS's errors where nobody may look."""
    try:
        current = account.client("freetier", "us-east-1").get_account_plan_state()
    except AWS_ERRORS as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        current = None
    return plan(current, database=database)
