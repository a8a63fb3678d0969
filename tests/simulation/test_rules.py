"""The simulated AWS does what AWS's documents say; each test names the page."""

from typing import Any

import pytest

from tests.simulation import asl, runtime, worlds
from tests.simulation.ecs import threshold
from tests.simulation.errors import AwsError
from tests.simulation.world import World


@pytest.fixture
def world() -> Any:
    """A world with release 1.0.0 live in it."""
    made = worlds.world("checked", live=True)
    with runtime.within(made):
        yield made


@pytest.mark.parametrize(
    ("desired", "given", "failures"),
    [
        (1, {}, 3),
        (25, {}, 13),
        (400, {}, 200),
        (800, {}, 200),
        (1, {"type": "UNBOUNDED_PERCENT", "value": 50}, 1),
        (800, {"type": "UNBOUNDED_PERCENT", "value": 50}, 400),
        (800, {"type": "COUNT", "value": 2}, 2),
    ],
)
def test_the_circuit_breakers_threshold(desired: int, given: dict[str, Any], failures: int) -> None:
    """ECS developer guide, deployment-circuit-breaker."""
    assert threshold({"thresholdConfiguration": given} if given else {}, desired) == failures


def test_an_update_with_nothing_new_starts_no_deployment(world: World) -> None:
    """API reference, UpdateService; forceNewDeployment does start one."""
    service = world.ecs.services["coder"]
    before = service.primary
    world.ecs.update_service({"service": "coder", "taskDefinition": before.revision})
    assert service.primary is before
    world.ecs.update_service({"service": "coder", "forceNewDeployment": True})
    assert service.primary is not before


def test_an_inactive_revision_cannot_be_put(world: World) -> None:
    """API reference, DeregisterTaskDefinition."""
    revision = world.ecs.services["coder"].primary.revision
    world.ecs.revisions[revision]["taskDefinition"]["status"] = "INACTIVE"
    with pytest.raises(AwsError, match="inactive"):
        world.ecs.update_service({"service": "coder", "taskDefinition": revision})


def test_registering_again_makes_a_second_revision(world: World) -> None:
    """API reference, RegisterTaskDefinition: it has no client token."""
    asked = {"family": "twice", "containerDefinitions": []}
    first = world.ecs.register_task_definition(asked)
    second = world.ecs.register_task_definition(asked)
    arns = [made["taskDefinition"]["taskDefinitionArn"] for made in (first, second)]
    assert [arn.rpartition(":")[2] for arn in arns] == ["1", "2"]


def test_images_without_an_id_are_the_active_ones(world: World) -> None:
    """ECR API reference, DescribeImages."""
    assert world.ecr.describe_images({})["imageDetails"]
    for stored in world.ecr.stored.values():
        stored.active = False
    assert not world.ecr.describe_images({})["imageDetails"]


def test_the_time_of_a_push_is_a_whole_second(world: World) -> None:
    """What DescribeImages shows as imagePushedAt."""
    detail = world.ecr.describe_images({})["imageDetails"][0]
    assert detail["imagePushedAt"].microsecond == 0


def test_a_name_starts_one_execution(world: World) -> None:
    """Step Functions API reference, StartExecution."""
    first = world.sfn.begin("a-name", '{"action": "hold"}')
    assert world.sfn.begin("a-name", '{"action": "hold"}') == first
    with pytest.raises(AwsError) as refused:
        world.sfn.begin("a-name", "{}")
    assert refused.value.code == "ExecutionAlreadyExists"


def test_a_condition_that_does_not_hold_changes_nothing(world: World) -> None:
    """DynamoDB developer guide, Expressions.ConditionExpressions."""
    item = {"service": {"S": "s"}, "id": {"S": "i"}, "a": {"S": "1"}}
    asked = {"ConditionExpression": "attribute_not_exists(#id)",
             "ExpressionAttributeNames": {"#id": "id"}}  # fmt: skip
    world.table.put_item({"Item": item, **asked})
    with pytest.raises(AwsError) as refused:
        world.table.put_item({"Item": {**item, "a": {"S": "2"}}, **asked})
    assert refused.value.code == "ConditionalCheckFailedException"
    assert world.table.items["s"]["i"] == item


@pytest.mark.parametrize(
    ("error", "equals", "caught"),
    [
        ("Lambda.Unknown", ["States.TaskFailed"], True),
        ("States.Timeout", ["States.TaskFailed"], False),
        ("States.Timeout", ["States.ALL"], True),
        ("States.DataLimitExceeded", ["States.ALL"], False),
        ("States.Runtime", ["States.ALL"], False),
    ],
)
def test_which_errors_a_catcher_is_for(error: str, equals: list[str], caught: bool) -> None:
    """Step Functions developer guide, concepts-error-handling."""
    assert asl.names(error, equals) is caught
