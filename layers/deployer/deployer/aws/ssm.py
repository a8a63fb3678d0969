"""Parameters in SSM Parameter Store: the specs of services and sites, and tasks' parameters."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.aws import client

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def _ssm() -> "SSMClient":
    return client("ssm")  # type: ignore[no-any-return]


def service_specs() -> Mapping[str, str]:
    """Return the service specs under SPEC_PATH: the text by the parameter's name."""
    return _below(os.environ["SPEC_PATH"])


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
