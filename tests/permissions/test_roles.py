"""What the roles allow is what the workflow tests used, and no call was denied.

Runs after the workflow tests, which leave a record of every decision of IAM: `make test` does.
"""

import re
from dataclasses import replace

import pytest

from tests.permissions.reasons import DENIED, UNUSED
from tests.permissions.record import TEMPLATES, Permission, Record, read
from tests.template.conftest import ROOT, load


@pytest.fixture(scope="module")
def record(request: pytest.FixtureRequest) -> Record:
    result = read(request.config.cache.mkdir("permissions"))
    if result is None:
        pytest.fail(
            "There is no record of these roles: run all workflow tests first (make test does)"
        )
    return result


def listed(permissions: set[Permission]) -> str:
    return "\n".join(map(str, sorted(permissions)))


def test_every_role_of_the_templates_was_tried(record: Record) -> None:
    written = {
        f"{name}.{logical}"
        for name, path in TEMPLATES.items()
        for logical, resource in load(ROOT / path)["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    }
    functions = load(ROOT / TEMPLATES["deployer"])["Resources"].items()
    written |= {  # SAM makes them
        f"deployer.{name}Role"
        for name, resource in functions
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert record.roles == written


# Whatever service of the missing cluster was asked about, and whichever site a build tried
_ANY = "^(service/nowhere/).*()|^({Sources}/).*(/x.txt)|^(secret:docs/).*(/npm-.*)"


def denied(record: Record) -> set[Permission]:
    """Return what was denied."""
    return {
        replace(item, resource=re.sub(_ANY, r"\1\3\5*\2\4\6", item.resource))
        for item in record.denied
    }


def test_nothing_that_was_asked_was_denied(record: Record) -> None:
    assert not (result := denied(record) - DENIED.keys()), listed(result)


def test_nothing_is_allowed_that_was_never_used(record: Record) -> None:
    assert not (result := record.allowed - record.used - UNUSED.keys()), listed(result)


def test_a_reason_is_given_only_where_one_is_needed(record: Record) -> None:
    assert not (result := UNUSED.keys() & record.used), listed(result)
    assert not (result := UNUSED.keys() - record.allowed), listed(result)
    assert not (result := DENIED.keys() - denied(record)), listed(result)
