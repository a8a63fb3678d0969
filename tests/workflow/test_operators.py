"""Who may give manual requests: people with the operators' policy, and a session with MFA."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.stage import Stage
from tests.person import Person


@pytest.fixture
def person(deployer: Stage) -> Person:
    return Person(deployer.aws, deployer.outputs["OperatorsPolicy"])


def hold(sfn: Any, stage: Stage) -> str:
    command = {"action": "hold", "service": stage.service, "by": "ann"}
    started = sfn.start_execution(
        stateMachineArn=stage.outputs["StateMachine"], input=json.dumps(command)
    )
    return str(started["executionArn"])


def refused(call: Callable[..., Any], *given: Any, **named: Any) -> str:
    with pytest.raises(ClientError) as failure:
        call(*given, **named)
    assert failure.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
    return str(failure.value)


@pytest.mark.walk
def test_orders_are_given_looked_after_and_stopped_with_mfa(service: Stage, person: Person) -> None:
    outputs, session = service.outputs, person.session(**person.mfa)
    stacks = person.client("cloudformation", session)
    assert stacks.describe_stacks(StackName=service.stack)["Stacks"]
    sfn = person.client("stepfunctions", session)
    arn = hold(sfn, service)
    assert service.ended(arn).status == "SUCCEEDED"
    assert sfn.describe_execution(executionArn=arn)["status"] == "SUCCEEDED"
    assert sfn.get_execution_history(executionArn=arn)["events"]
    executions = sfn.list_executions(stateMachineArn=outputs["StateMachine"])["executions"]
    assert arn in [execution["executionArn"] for execution in executions]
    running = hold(sfn, service)
    with suppress(sfn.exceptions.ValidationException):  # allowed, but it may have ended already
        sfn.stop_execution(executionArn=running)

    names = {"#s": "service"}
    response = person.client("dynamodb", session).query(
        TableName=outputs["ReleasesTable"],
        KeyConditionExpression="#s = :service",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={":service": {"S": service.service}},
    )
    assert response["Count"] > 0
    logs = person.client("logs", session)
    for group in (outputs["FunctionLogGroup"], f"/ecs/{service.service}"):
        assert "events" in logs.filter_log_events(logGroupName=group, limit=1)
    person.client("s3", session).put_object(
        Bucket=outputs["SourceBucket"], Key="docs/test/docs.zip", Body=b"x"
    )


def test_nothing_else_is_allowed(service: Stage, person: Person) -> None:
    session, outputs = person.session(**person.mfa), service.outputs
    sfn, machine = person.client("stepfunctions", session), outputs["StateMachine"]
    refused(sfn.update_state_machine, stateMachineArn=machine, definition="{}")
    refused(sfn.start_execution, stateMachineArn=machine.replace(service.stack, "other"))
    item = {"service": {"S": service.service}, "id": {"S": "#lock"}}
    table = person.client("dynamodb", session)
    refused(table.delete_item, TableName=outputs["ReleasesTable"], Key=item)
    ecs, about = person.client("ecs", session), {"cluster": service.cluster}
    refused(ecs.list_tasks, cluster="other")
    refused(ecs.update_service, **about, service=service.service, desiredCount=0)
    refused(ecs.stop_task, **about, task="0" * 32)
    ssm = person.client("ssm", session)
    refused(ssm.get_parameters_by_path, Path="/other")
    refused(ssm.put_parameter, Name=f"/deployer/services/{service.service}", Value="{}")
    s3 = person.client("s3", session)
    refused(s3.put_object, Bucket=outputs["SourceBucket"], Key="other.zip", Body=b"x")
    logs = person.client("logs", session)
    refused(logs.filter_log_events, logGroupName="/aws/lambda/other")


@pytest.mark.parametrize("by", ["access key", "session", "role"])
def test_without_mfa_no_order_is_taken(service: Stage, person: Person, by: str) -> None:
    ways: dict[str, Callable[[], dict[str, Any] | None]] = {
        "access key": lambda: None,
        "session": person.session,
        "role": lambda: person.role(service.outputs["OperatorsPolicy"]),
    }
    credentials = ways[by]()
    sfn, bucket = person.client("stepfunctions", credentials), service.outputs["SourceBucket"]
    assert "explicit deny" in refused(hold, sfn, service)
    s3 = person.client("s3", credentials)
    refused(s3.put_object, Bucket=bucket, Key="docs/test/docs.zip", Body=b"x")
    assert service.items() == []


def test_a_role_that_is_assumed_with_mfa_gives_orders(service: Stage, person: Person) -> None:
    session = person.role(service.outputs["OperatorsPolicy"], **person.mfa)
    arn = hold(person.client("stepfunctions", session), service)
    assert service.ended(arn).status == "SUCCEEDED"


def test_a_code_that_is_none_and_the_device_of_another_make_no_session(
    person: Person, deployer: Stage
) -> None:
    other = Person(deployer.aws, deployer.outputs["OperatorsPolicy"])
    refused(person.session, SerialNumber=person.device, TokenCode="12345x")
    refused(person.session, **other.mfa)


@pytest.fixture
def trusting(deployer: Stage, tmp_path: Path) -> Iterator[Stage]:
    """A deployer in an account on IAM Identity Center, whose sessions do not speak of MFA."""
    aws = deployer.aws
    built = aws.build(Path("template.yaml"), tmp_path)
    parameters = {"ServicePattern": "nothing", "RequireMfa": "false"}
    aws.deploy("trusting-deployer", built, parameters)
    yield Stage(aws, "nothing", "nothing", "trusting-deployer")
    aws.client("cloudformation").delete_stack(StackName="trusting-deployer")


def test_mfa_may_be_left_to_identity_center(trusting: Stage) -> None:
    policy = trusting.outputs["OperatorsPolicy"]
    person = Person(trusting.aws, policy)
    assert hold(person.client("stepfunctions", person.role(policy)), trusting)
