"""What `make remove` refuses before anything is deleted."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from cli.aws import Account
from cli.errors import UNREADY, CommandFailed
from setup.infrastructure import Infrastructure
from tests.cli.setup.conftest import infrastructure

CLUSTER = "arn:aws:ecs:us-east-1:123456789012"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/coder-service/1"


@pytest.fixture
def ecs(account: Account) -> Iterator[Stubber]:
    with Stubber(account.client("ecs")) as stub:
        yield stub


@pytest.fixture
def stacks(account: Account) -> Iterator[Stubber]:
    with Stubber(account.client("cloudformation")) as stub, Stubber(account.client("ssm")) as ssm:
        ssm.add_response("get_parameters_by_path", {"Parameters": []})
        described = {
            "StackName": "coder-service",
            "StackId": STACK,
            "StackStatus": "CREATE_COMPLETE",
            "CreationTime": "2026-01-01T00:00:00Z",
        }
        stub.add_response("describe_stacks", {"Stacks": [described]})
        resource = {
            "LogicalResourceId": "Cluster",
            "PhysicalResourceId": "coder",
            "ResourceType": "AWS::ECS::Cluster",
            "ResourceStatus": "CREATE_COMPLETE",
            "LastUpdatedTimestamp": "2026-01-01T00:00:00Z",
        }
        stub.add_response("list_stack_resources", {"StackResourceSummaries": [resource]})
        yield stub  # a deletion would be a call that is not foreseen


@pytest.fixture
def made(account: Account) -> Infrastructure:
    return infrastructure(account, "service", ServiceName="coder")


def runs(ecs: Stubber, services: list[str], tasks: dict[str, str]) -> None:
    arns = [f"{CLUSTER}:service/coder/{name}" for name in services]
    ecs.add_response("list_services", {"serviceArns": arns[:1], "nextToken": "2"})
    ecs.add_response("list_services", {"serviceArns": arns[1:]})
    ids = [f"{CLUSTER}:task/coder/{task}" for task in tasks]
    ecs.add_response("list_tasks", {"taskArns": ids})
    described: list[dict[str, Any]] = [
        {"taskArn": arn, "group": group} for arn, group in zip(ids, tasks.values(), strict=True)
    ]
    if ids:
        ecs.add_response("describe_tasks", {"tasks": described})


@pytest.mark.parametrize(
    ("services", "tasks", "message", "command"),
    [
        (
            ["coder", "shop"],
            {"t1": "service:coder", "t2": "service:shop"},
            "service shop",
            "  aws ecs delete-service --force --cluster coder --service shop",
        ),
        (
            ["coder"],
            {"t1": "service:coder", "t2": "family:migrate"},
            "task t2 (family:migrate)",
            "  aws ecs stop-task --cluster coder --task t2",
        ),
    ],
)
def test_a_cluster_that_others_use_is_not_deleted(
    made: Infrastructure,
    stacks: Stubber,
    ecs: Stubber,
    services: list[str],
    tasks: dict[str, str],
    message: str,
    command: str,
) -> None:
    runs(ecs, services, tasks)
    with pytest.raises(CommandFailed) as refused:
        made.remove()
    assert refused.value.code == UNREADY
    assert refused.value.message == (
        f"nothing was deleted: in the cluster coder runs more than coder: {message}"
    )
    assert [line for line in refused.value.advice if line.startswith("  ")] == [command]


def test_ones_own_service_and_its_tasks_are_no_others(
    made: Infrastructure, stacks: Stubber, ecs: Stubber
) -> None:
    runs(ecs, ["coder"], {"t1": "service:coder"})
    assert made._others_in("coder") == ([], {})
