"""Parameters in SSM Parameter Store: the specs of services and sites, and tasks' parameters."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def _ssm() -> "SSMClient":
    return client("ssm")  # type: ignore[no-any-return]


def service_specs() -> Mapping[str, str]:
    """Return the service specs under SPEC_PATH: the text by the parameter's name."""
    return _below(os.environ["SPEC_PATH"])


def first_service_specs() -> tuple[Mapping[str, str], bool]:
    """Return the first page of the service specs, as `service_specs` does, and whether it has all.

    A page has ten at most:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
    """
    page = _ssm().get_parameters_by_path(Path=os.environ["SPEC_PATH"])
    return {p["Name"]: p["Value"] for p in page["Parameters"]}, "NextToken" not in page


def service_specs_named(names: Sequence[str]) -> Mapping[str, str]:
    """Return the service specs with these names, ten at most; missing ones are left out."""
    parameters = _ssm().get_parameters(Names=list(names))["Parameters"]
    return {p["Name"]: p["Value"] for p in parameters}


def site_specs() -> Mapping[str, str]:
    """Return the site specs under SITE_PATH: the text by the parameter's name."""
    return _below(os.environ["SITE_PATH"])


def _below(path: str) -> Mapping[str, str]:
    pages = _ssm().get_paginator("get_parameters_by_path").paginate(Path=path)
    return {p["Name"]: p["Value"] for page in pages for p in page["Parameters"]}


def parameter(arn: str) -> dict[str, Any] | None:
    """Return a parameter's description, without its value; None if it does not exist."""
    name = arn.partition(":parameter/")[2]
    # `/name` and `name` have the same ARN
    names = [f"/{name}"] if "/" in name else [name, f"/{name}"]
    filters: Any = [{"Key": "Name", "Option": "Equals", "Values": names}]
    pages = _ssm().get_paginator("describe_parameters").paginate(ParameterFilters=filters)
    return next((dict(parameter) for page in pages for parameter in page["Parameters"]), None)
