"""Step Functions: what state machines rest on, one real execution for each fact."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ministack.core.responses import json_response

from local_aws.aws import LocalAws
from local_aws.shims import step_functions
from support import Json, Machines, callback, succeed, task


def answers(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")


CAUGHT = {"ErrorEquals": ["States.ALL"], "Next": "Caught", "Output": "{% $states.errorOutput %}"}


# A function's failure


def test_a_failure_has_the_name_of_the_exception(machines: Machines) -> None:
    result = machines.fails({"Work": task(End=True)}, {"do": "raise"})
    assert result["error"] == "ImageMissing"
    cause = json.loads(result["cause"])
    assert (cause["errorType"], cause["errorMessage"]) == ("ImageMissing", "no image")
    assert cause["stackTrace"]
    assert "output" not in result


@pytest.mark.parametrize(
    ("status", "date", "shown"),
    [
        ("FAILED", None, {"status": "RUNNING", "stopDate": None}),
        ("SUCCEEDED", None, {"status": "RUNNING", "stopDate": None}),
        ("FAILED", "x", {"status": "FAILED", "stopDate": "x", "error": "E", "output": None}),
        ("SUCCEEDED", "x", {"status": "SUCCEEDED", "stopDate": "x", "error": "E", "output": "{}"}),
    ],
)
def test_an_end_that_is_being_written_is_not_shown(
    status: str, date: str | None, shown: Json
) -> None:
    stored = {"status": status, "stopDate": date, "output": "{}", "error": "E"}
    answer = step_functions._describe_execution(lambda data: json_response(stored), {})
    assert json.loads(answer[2]) == shown


def test_catch_by_name_sees_the_error_and_may_assign(machines: Machines) -> None:
    catch = [
        {"ErrorEquals": ["DeployError"], "Next": "Wrong"},  # Step Functions knows no inheritance
        {
            "ErrorEquals": ["ImageMissing"],
            "Next": "Caught",
            "Assign": {
                "said": "{% $parse($states.errorOutput.Cause).errorMessage %}",
                "failure": "{% $merge([$states.errorOutput, {'seen': true}]) %}",
            },
        },
    ]
    states = {
        "Work": task(Catch=catch, End=True),
        "Caught": succeed(Output={"said": "{% $said %}", "error": "{% $failure.Error %}"}),
        "Wrong": {"Type": "Fail"},
    }
    assert machines.run(states, {"do": "raise"}) == {"said": "no image", "error": "ImageMissing"}


@pytest.mark.parametrize("do", ["raise", "nothing"])
def test_the_history_speaks_of_a_lambda_function(machines: Machines, do: str) -> None:
    execution = machines.start({"Work": task(End=True)}, {"do": do})
    machines.ended(execution)
    outcome = "Failed" if do == "raise" else "Succeeded"
    assert machines.types(execution)[1:5] == [
        "TaskStateEntered",
        "LambdaFunctionScheduled",
        "LambdaFunctionStarted",
        f"LambdaFunction{outcome}",
    ]


# Task tokens


def test_a_token_is_answered_from_outside(machines: Machines) -> None:
    execution = machines.start({"Wait": callback({}, TimeoutSeconds=20, End=True)})
    token = machines.token(execution)
    machines.sfn.send_task_success(taskToken=token, output='{"health": "STEADY"}')
    assert json.loads(machines.ended(execution)["output"]) == {"health": "STEADY"}
    with answers("TaskTimedOut"):
        machines.sfn.send_task_success(taskToken=token, output="{}")


def test_a_token_may_be_answered_before_the_function_has_returned(machines: Machines) -> None:
    assert machines.run({"Wait": callback({"do": "answer"}, TimeoutSeconds=20, End=True)}) == {
        "early": True
    }


def test_a_token_nobody_gave(machines: Machines) -> None:
    with answers("InvalidToken"):
        machines.sfn.send_task_success(taskToken="guess", output="{}")
    with answers("InvalidToken"):
        machines.sfn.send_task_failure(taskToken="guess")


def test_a_token_fails_the_task(machines: Machines) -> None:
    execution = machines.start({"Wait": callback({}, TimeoutSeconds=20, End=True)})
    machines.sfn.send_task_failure(
        taskToken=machines.token(execution), error="Superseded", cause="a newer push"
    )
    result = machines.ended(execution)
    assert (result["status"], result["error"], result["cause"]) == (
        "FAILED",
        "Superseded",
        "a newer push",
    )


def test_a_function_that_fails_fails_the_callback_task(machines: Machines) -> None:
    started = time.monotonic()
    result = machines.fails({"Wait": callback({"do": "raise"}, TimeoutSeconds=20, End=True)})
    assert result["error"] == "ImageMissing"
    assert time.monotonic() - started < 5


def test_each_attempt_has_a_token_of_its_own(machines: Machines) -> None:
    retry = [{"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxDelaySeconds": 1}]
    execution = machines.start({"Wait": callback({}, TimeoutSeconds=20, Retry=retry, End=True)})
    first = machines.token(execution)
    machines.sfn.send_task_failure(taskToken=first, error="Again")
    machines.until(lambda: len(machines.tokens(execution)) == 2)
    tokens = machines.tokens(execution)
    assert tokens[0] == first != tokens[1]
    machines.sfn.send_task_success(taskToken=tokens[1], output='"second"')
    assert json.loads(machines.ended(execution)["output"]) == "second"


def test_a_callback_task_runs_out_of_time(machines: Machines) -> None:
    executions = {}
    for seconds in (1, "{% $states.input.seconds %}"):
        wait = callback({}, Catch=[CAUGHT], End=True, TimeoutSeconds=seconds)
        states = {"Wait": wait, "Caught": succeed()}
        executions[seconds] = machines.start(states, {"seconds": 1})
    for case, execution in executions.items():
        result = machines.ended(execution)
        assert result["status"] == "SUCCEEDED", case
        assert json.loads(result["output"])["Error"] == "States.Timeout", case
        took = (result["stopDate"] - result["startDate"]).total_seconds()
        assert 1 <= took < 4, case
        assert "TaskTimedOut" in machines.types(execution), case


def test_a_function_takes_longer_than_its_task_may(machines: Machines) -> None:
    work = task(TimeoutSeconds="{% $states.input.limit %}", Catch=[CAUGHT], End=True)
    given = {"do": "sleep", "seconds": 3, "limit": 1}
    caught = machines.run({"Work": work, "Caught": succeed()}, given)
    assert caught["Error"] == "States.Timeout"


# Ends


@pytest.mark.parametrize(
    "state",
    [
        callback({}, Catch=[CAUGHT], End=True),
        {"Type": "Wait", "Seconds": 600, "End": True},
        task(Arguments={"do": "sleep", "seconds": 2}, Catch=[CAUGHT], End=True),
    ],
    ids=["token", "wait", "function"],
)
def test_a_stopped_execution_ends_at_once_and_runs_no_catch(
    machines: Machines, state: Json
) -> None:
    execution = machines.start({"Sleep": state, "Caught": succeed()})
    machines.entered(execution, "Sleep")
    machines.sfn.stop_execution(executionArn=execution, error="ByHand", cause="enough")
    response = machines.sfn.describe_execution(executionArn=execution)
    assert (response["status"], response["error"], response["cause"]) == (
        "ABORTED",
        "ByHand",
        "enough",
    )
    if state["Type"] == "Task" and "waitForTaskToken" in state["Resource"]:
        token = machines.token(execution)
        with answers("TaskTimedOut"):
            machines.sfn.send_task_success(taskToken=token, output="{}")
    assert machines.types(execution)[-1] == "ExecutionAborted"


def test_what_a_stopped_execution_began_changes_nothing_when_it_ends(machines: Machines) -> None:
    work = task(Arguments={"do": "sleep", "seconds": 1}, Catch=[CAUGHT], Next="After")
    execution = machines.start({"Work": work, "Caught": succeed(), "After": succeed()})
    machines.entered(execution, "Work")
    machines.sfn.stop_execution(executionArn=execution)
    events = machines.types(execution)
    after = machines.start({"Work": task(Arguments={"do": "sleep", "seconds": 1.2}, End=True)})
    machines.ended(after)  # the first function has surely returned by then
    assert machines.types(execution) == events
    assert machines.sfn.describe_execution(executionArn=execution)["status"] == "ABORTED"


def test_an_execution_says_how_it_goes(
    aws: LocalAws, machines: Machines, listen: Callable[[Json], Callable[[int], list[Json]]]
) -> None:
    states: Json = {
        "Which?": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.end = 'fail' %}", "Next": "Fail"},
                {"Condition": "{% $states.input.end = 'wait' %}", "Next": "Wait"},
            ],
            "Default": "Succeed",
        },
        "Succeed": succeed(Output="done"),
        "Fail": {"Type": "Fail", "Error": "Broken", "Cause": "why"},
        "Wait": {"Type": "Wait", "Seconds": 600, "Next": "Succeed"},
    }
    machine = machines.make(states)
    receive = listen({"source": ["aws.states"], "detail": {"stateMachineArn": [machine]}})
    ends = {"succeed": "SUCCEEDED", "fail": "FAILED", "stop": "ABORTED"}
    for name in ends:
        end = name if name in ("succeed", "fail") else "wait"
        arn = machines.sfn.start_execution(
            stateMachineArn=machine, name=name, input=json.dumps({"end": end})
        )["executionArn"]
        if name == "stop":
            machines.entered(arn, "Wait")
            machines.sfn.stop_execution(executionArn=arn, error="ByHand")
    events = {(e["detail"]["name"], e["detail"]["status"]): e for e in receive(6)}
    assert set(events) == {
        (name, status) for name, ended in ends.items() for status in ("RUNNING", ended)
    }
    failed = events["fail", "FAILED"]
    assert failed["detail-type"] == "Step Functions Execution Status Change"
    assert failed["resources"] == [failed["detail"]["executionArn"]]
    detail = {name: failed["detail"][name] for name in ("status", "input", "error", "cause")}
    assert detail == {
        "status": "FAILED",
        "input": '{"end": "fail"}',
        "error": "Broken",
        "cause": "why",
    }
    assert failed["detail"]["startDate"] <= failed["detail"]["stopDate"]
    assert events["succeed", "SUCCEEDED"]["detail"]["output"] == '"done"'
    assert events["succeed", "RUNNING"]["detail"]["stopDate"] is None


# Retry


def test_retry_stops_at_the_first_match(machines: Machines) -> None:
    retry = [
        {"ErrorEquals": ["ImageMissing"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3},
    ]
    execution = machines.start({"Work": task(Retry=retry, End=True)}, {"do": "raise"})
    machines.ended(execution)
    assert machines.types(execution).count("LambdaFunctionFailed") == 1


def test_retry_with_jitter_and_a_longest_delay(machines: Machines) -> None:
    retry = [
        {
            "ErrorEquals": ["States.TaskFailed"],
            "IntervalSeconds": 1,
            "BackoffRate": 1000,
            "MaxDelaySeconds": 1,
            "MaxAttempts": 2,
            "JitterStrategy": "FULL",
        }
    ]
    execution = machines.start({"Work": task(Retry=retry, End=True)}, {"do": "raise"})
    machines.ended(execution)
    assert machines.types(execution).count("LambdaFunctionFailed") == 3


def test_task_failed_is_no_timeout(machines: Machines) -> None:
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1}]
    catch = [CAUGHT | {"ErrorEquals": ["States.TaskFailed"]}]
    wait = callback({}, TimeoutSeconds=1, Retry=retry, Catch=catch, End=True)
    execution = machines.start({"Wait": wait, "Caught": succeed()})
    assert machines.ended(execution)["error"] == "States.Timeout"
    assert machines.types(execution).count("TaskTimedOut") == 1


# Expressions


def test_succeed_has_an_output(machines: Machines) -> None:
    done = succeed(Output={"twice": "{% $states.input.n * 2 %}"})
    assert machines.run({"Done": done}, {"n": 21}) == {"twice": 42}
    assert machines.run({"Done": succeed()}, {"n": 21}) == {"n": 21}


def test_assign_sees_the_values_before(machines: Machines) -> None:
    states = {
        "Set": {"Type": "Pass", "Assign": {"a": 1, "b": 2, "none": None}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Say"},
        "Say": {"Type": "Pass", "Output": "{% [$a, $b, $none] %}", "End": True},
    }
    assert machines.run(states) == [2, 1, None]


def test_a_choices_default_has_an_output_and_a_condition_is_a_boolean(machines: Machines) -> None:
    choose: Json = {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input.go %}", "Next": "Done"}],
        "Default": "Done",
        "Output": "default",
    }
    states = {"Go?": choose, "Done": succeed()}
    assert machines.run(states, {"go": False}) == "default"
    assert machines.run(states, {"go": True}) == {"go": True}
    assert machines.fails(states, {"go": "yes"})["error"] == "States.QueryEvaluationError"


def test_the_context_object(machines: Machines) -> None:
    names = {
        "id": "Execution.Id",
        "name": "Execution.Name",
        "start": "Execution.StartTime",
        "input": "Execution.Input",
        "state": "State.Name",
        "machine": "StateMachine.Id",
    }
    output = {key: f"{{% $states.context.{path} %}}" for key, path in names.items()}
    execution = machines.start({"Look": {"Type": "Pass", "Output": output, "End": True}}, {"a": 1})
    result = machines.ended(execution)
    seen = json.loads(result["output"])
    assert seen["id"] == execution
    assert seen["name"] == result["name"] == execution.rpartition(":")[2]
    assert seen["input"] == {"a": 1}
    assert seen["state"] == "Look"
    assert seen["machine"] == result["stateMachineArn"]
    assert abs(result["startDate"].timestamp() - time.time()) < 60
    assert seen["start"].startswith(result["startDate"].strftime("%Y-%m-%dT%H:"))


def test_the_functions_of_jsonata(machines: Machines) -> None:
    expected = {
        "$min([3, 1, 2])": 1,
        "$max([3, 1, 2])": 3,
        "$ceil(1.2)": 2,
        "$parse('{\"a\": [1]}').a": [1],
        "$exists($states.input.tag)": True,
        "$exists($states.input.nothing)": False,
        "$merge([{'a': 1}, {'a': 2, 'b': 3}])": {"a": 2, "b": 3},
        "$string({'a': 1})": '{"a":1}',
        "$length($uuid())": 36,
        "$toMillis('1970-01-01T00:00:01Z')": 1000,
        "$millis() > $toMillis('2024-01-01T00:00:00Z')": True,
        "$toMillis($now()) <= $millis()": True,
        "$toMillis($states.context.Execution.StartTime) <= $millis()": True,
        "$states.input.tag = 'v1' ? 'yes' : 'no'": "yes",
        "$not($states.input.tag in ['v2'])": True,
        "($a := 2; $a + 1)": 3,
        "$states.input.tags[$ = 'a']": "a",
    }
    output = {expression: f"{{% {expression} %}}" for expression in expected}
    states = {"Say": {"Type": "Pass", "Output": output, "End": True}}
    assert machines.run(states, {"tag": "v1", "tags": ["a", "b"]}) == expected


def test_an_expression_without_a_result_can_be_caught(machines: Machines) -> None:
    work = task(Arguments={"tag": "{% $states.input.nothing %}"}, Catch=[CAUGHT], End=True)
    caught = machines.run({"Work": work, "Caught": succeed()})
    assert caught["Error"] == "States.QueryEvaluationError"


# The role


def test_the_role_has_to_allow_the_invocation(machines: Machines) -> None:
    for role in (
        machines.make_role("states.amazonaws.com", "lambda:InvokeFunction", "*:function:other"),
        machines.make_role("states.amazonaws.com", "lambda:GetFunction", "*"),
        machines.make_role("ecs.amazonaws.com", "lambda:InvokeFunction", "*"),
    ):
        direct = machines.fails({"Work": task(End=True)}, role=role)
        waiting = machines.fails({"Wait": callback({}, TimeoutSeconds=20, End=True)}, role=role)
        assert direct["error"] == waiting["error"] == "Lambda.AWSLambdaException"
        assert "is not authorized to" in direct["cause"]


def test_the_role_has_to_allow_what_other_services_do(aws: LocalAws, machines: Machines) -> None:
    table = machines.name
    aws.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    arn = f"arn:aws:dynamodb:{aws.region}:{aws.account}:table/{table}"
    allowed = machines.make_role("states.amazonaws.com", "dynamodb:PutItem", arn)
    other = machines.make_role("states.amazonaws.com", "dynamodb:PutItem", f"{arn}-other")
    for resource, error in (
        ("dynamodb:putItem", "DynamoDB.AmazonDynamoDBException"),
        ("aws-sdk:dynamodb:putItem", "DynamoDb.AccessDeniedException"),
    ):
        arguments = {"TableName": table, "Item": {"id": {"S": resource}}}
        put = {"Put": task(f"arn:aws:states:::{resource}", Arguments=arguments, End=True)}
        machines.run(put, role=allowed)
        result = machines.fails(put, role=other)
        assert result["error"] == error
        assert f"not authorized to perform: dynamodb:PutItem on resource: {arn}" in result["cause"]


def test_a_permissions_boundary_limits_the_role(aws: LocalAws, machines: Machines) -> None:
    iam, cloudformation = aws.client("iam"), aws.client("cloudformation")
    allow = {"Effect": "Allow", "Action": "lambda:GetFunction", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [allow]}
    boundary = iam.create_policy(PolicyName=machines.name, PolicyDocument=json.dumps(document))
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}}
    invoke = allow | {"Action": "lambda:InvokeFunction"}
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": f"{machines.name}-bound",
            "AssumeRolePolicyDocument": document
            | {"Statement": [trust | {"Action": "sts:AssumeRole"}]},
            "Policies": [{"PolicyName": "one", "PolicyDocument": document | {"Statement": invoke}}],
            "PermissionsBoundary": boundary["Policy"]["Arn"],
        },
    }
    cloudformation.create_stack(
        StackName=machines.name,
        TemplateBody=json.dumps({"Resources": {"Role": role}}),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=machines.name)
    arn = iam.get_role(RoleName=f"{machines.name}-bound")["Role"]["Arn"]
    work = {"Work": task(End=True)}
    assert machines.fails(work, role=arn)["error"] == "Lambda.AWSLambdaException"
    iam.delete_role_permissions_boundary(RoleName=f"{machines.name}-bound")
    machines.run(work, role=arn)
