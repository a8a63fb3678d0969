"""What a month costs: the sums that the command prints are those of docs/cost.md."""

import re
from functools import cache
from pathlib import Path

import pytest

from demo import ROOT
from setup import cost, settings
from setup.settings import Project


@cache
def values(environment: str) -> tuple[list[str], dict[str, str]]:
    """The stacks that an environment of this checkout needs, and its effective settings."""
    project = Project(ROOT, environment)
    given = settings.load(project.file)
    effective = settings.effective(given, project.parameters)
    needed = settings.needed(project.stacks(given), effective)
    return [stack.kind for stack in needed], effective


@pytest.mark.parametrize(("environment", "table"), [("default", 0), ("production", 1)])
def test_the_sums_are_those_of_the_docs(environment: str, table: int) -> None:
    totals = re.findall(
        r"\*\*Together\*\* \| \| \*\*([0-9.]+)\*\*", Path(ROOT / "docs/cost.md").read_text()
    )
    kinds, effective = values(environment)
    assert sum(cost.monthly(kinds, effective).values()) == pytest.approx(
        float(totals[table]), abs=0.05
    )
    assert cost.unknown(kinds, effective) == ""


def test_what_one_leaves_out_costs_nothing() -> None:
    kinds, default = values("default")
    whole = cost.monthly(kinds, default)
    bare = default | {"Firewall": "false", "ContainerInsights": "disabled", "Cpu": "256"}
    bare |= {"Memory": "512", "AlarmTopicArn": "arn"}
    less = cost.monthly(kinds, bare)
    assert whole["load-balancer"] - less["load-balancer"] == pytest.approx(9)
    assert whole["monitoring"] - less["monitoring"] == pytest.approx(1)
    assert less["service"] < whole["service"] - 70
    assert cost.monthly(["service"], bare | {"DesiredCount": "2"})["service"] > less["service"] + 12
    private = cost.monthly(["network"], default | {"PrivateTasks": "true"})
    assert private["network"] == pytest.approx(36.5)


def test_notifications_cost_what_the_docs_say() -> None:
    text = Path(ROOT / "docs/cost.md").read_text()
    for given, price in (
        ({"Slack": "true"}, "0.86 for Slack"),
        ({"Webhook": "true", "Slack": "true"}, "1.26 for both"),
        ({"GitHubRepositories": "team/shop"}, "0.60 for GitHub"),
        ({"GitHubSubject": "repo:team/shop:environment:production"}, "0"),
    ):
        dollars = cost.monthly(["notifications"], given)["notifications"]
        assert dollars == pytest.approx(float(price.split()[0])) and price in text


def test_a_class_without_a_known_price_is_said() -> None:
    kinds, default = values("default")
    other = default | {"DatabaseClass": "db.r8g.16xlarge"}
    assert "db.r8g.16xlarge" in cost.unknown(kinds, other)
    assert cost.unknown(["service"], other) == ""
