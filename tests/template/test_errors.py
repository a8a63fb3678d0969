"""The failures that the workflow knows by name are the classes of errors.py."""

import ast
import inspect
import re
from typing import Any

import botocore.session

from deployer import errors
from deployer.errors import DeployError
from tests.template.conftest import FUNCTIONS, MODULES, States, parsed
from tests.template.test_state_machine import caught_at, tasks

AWS_OWN = re.compile(
    r"(States|Lambda|Sandbox|Runtime|CodeBuild|CloudFrontKeyValueStore|DynamoDB|Sfn)\."
)
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
# https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
# https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
NAMED = {
    "Lambda": {
        *("ServiceException", "AWSLambdaException", "SdkClientException", "Unknown"),
        *("ClientExecutionTimeoutException", "TooManyRequestsException"),
    },
    "Sandbox": {"Timedout"},
    "Runtime": {"ExitError", "OutOfMemory"},
    "States": {"ALL", "QueryEvaluationError", "TaskFailed", "Timeout"},
}
# The errors of a service have the names of the AWS SDK for Java's exceptions:
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
SERVICES = {
    "CodeBuild": "codebuild",
    "CloudFrontKeyValueStore": "cloudfront-keyvaluestore",
    "DynamoDB": "dynamodb",
    "Sfn": "stepfunctions",
}
# The optimized integration has the names of the SDK for Java 1; see the SDK's own class
# https://docs.aws.amazon.com/AWSJavaSDK/latest/javadoc/com/amazonaws/services/dynamodbv2/model/AmazonDynamoDBException.html
BASE = {"DynamoDB": "AmazonDynamoDBException"}
CLASSES = {
    name
    for name, found in inspect.getmembers(errors, inspect.isclass)
    if found.__module__ == errors.__name__ and found is not DeployError
}


def matched(states: States) -> set[str]:
    """The names that the machine tells apart."""
    return {
        error
        for task in tasks(states).values()
        for rule in (*task.get("Retry", []), *task.get("Catch", []))
        for error in rule["ErrorEquals"]
        if not AWS_OWN.match(error)
    }


def raised() -> set[str]:
    """The names that the code raises."""
    matches = set()
    for module in (*FUNCTIONS, *MODULES):
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                assert isinstance(node.exc.func, ast.Name), f"{module.name}:{node.lineno}"
                matches.add(node.exc.func.id)
    return matches


def test_every_name_that_a_machine_matches_is_one_of_ours(states: States) -> None:
    assert matched(states) <= CLASSES
    assert matched(states) >= {"AwsUnavailable"}


def test_the_names_that_the_deployment_tells_apart(deploying: States) -> None:
    assert matched(deploying) == {"AwsUnavailable", "ServiceDraining", "TaskStopping"}


def test_every_error_is_raised_somewhere_and_what_is_not_matched_is_caught(
    states: States,
) -> None:
    assert raised() >= CLASSES
    for name, task in tasks(states).items():
        if name not in ("Record success", "Record docs"):
            assert caught_at(task), name


def test_nothing_is_raised_that_has_no_name() -> None:
    caught = {"Unsupported", "_Refused"}  # by the spec, which names the pattern or schedule
    assert raised() <= CLASSES | caught | {"DeployError"}


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = re.findall(r"^\s*[├└]── (\w+)\s+\S", errors.__doc__ or "", re.MULTILINE)
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == CLASSES
    for name in CLASSES:
        assert getattr(errors, name).__bases__ == (DeployError,)


def test_an_errors_words_are_the_cause() -> None:
    for name in CLASSES:
        assert "__init__" not in vars(getattr(errors, name))
        assert str(getattr(errors, name)("what happened")) == "what happened"
        assert not name.endswith(("Error", "Exception"))


def sdk_errors(prefix: str) -> set[str]:
    """The names of a service's exceptions in the SDK for Java, without the prefix."""
    shapes = botocore.session.get_session().get_service_model(SERVICES[prefix]).error_shapes
    modelled = {f"{shape.name.removesuffix('Exception')}Exception" for shape in shapes}
    return {*modelled, BASE.get(prefix, f"{prefix}Exception"), "SdkClientException"}


def test_every_error_of_awss_is_one_that_step_functions_documents(every: dict[str, Any]) -> None:
    for name, task in tasks(every["States"]).items():
        for rule in (*task.get("Retry", []), *task.get("Catch", [])):
            for error in filter(AWS_OWN.match, rule["ErrorEquals"]):
                prefix, _, own = error.partition(".")
                known = NAMED.get(prefix) or sdk_errors(prefix)
                assert own in known, f"{name}: {error}"
