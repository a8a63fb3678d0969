"""Every call of AWS that the adapters and state machines make is one of botocore's models.

The simulation holds the values against the same models, but only those of the calls that it makes
(tests/simulation/shapes.py); this finds a wrong name without making a call.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from tests.template.conftest import MACHINES, definition
from tests.template.test_permissions import ADAPTERS, calls, functions, makes_a_client, service_of
from tests.template.test_state_machine import tasks

# What an adapter calls of a client beside its operations.
CLIENT = {"get_paginator", "get_waiter", "exceptions", "meta"}


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def operation(service: str, method: str) -> OperationModel | None:
    for name in model(service).operation_names:
        if xform_name(name) == method:
            return model(service).operation_model(name)
    return None


def requests(adapter: str) -> Iterator[tuple[str, str, set[str], bool]]:
    """The service and method of each call, the names that it gives, and whether these are all."""
    tree = ADAPTERS[adapter]
    for call in calls(tree):
        target = call.func
        if not isinstance(target, ast.Attribute):
            continue
        method, keywords = target.attr, call.keywords
        if method == "paginate":  # _rds().get_paginator("describe_db_snapshots").paginate(…)
            assert isinstance(target.value, ast.Call), ast.unparse(call)
            (named,) = target.value.args
            assert isinstance(target.value.func, ast.Attribute)
            method, target = str(ast.literal_eval(named)), target.value.func
        maker = client_of(adapter, target.value)
        if maker and method not in CLIENT:
            given = {keyword.arg for keyword in keywords if keyword.arg}
            complete = len(given) == len(keywords)
            yield service_of(adapter, maker), method, given - {"PaginationConfig"}, complete


def client_of(adapter: str, node: ast.expr) -> str | None:
    """The function that makes the client on which something is called."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        maker = node.func.id
        if maker in functions(adapter) and makes_a_client(adapter, maker):
            return maker
    return None


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_asks_in_the_words_of_the_service(adapter: str) -> None:
    for service, method, given, complete in requests(adapter):
        result = operation(service, method)
        assert result, f"{service} has no {method}"
        shape = result.input_shape
        known = set(shape.members) if shape else set()
        assert given <= known, (service, method, given - known)
        if complete and shape:
            missing = set(shape.required_members) - given
            assert not missing, (service, method, missing)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_catches_what_the_service_raises(adapter: str) -> None:
    for node in ast.walk(ADAPTERS[adapter]):
        match node:
            case ast.Attribute(value=ast.Attribute(value=made, attr="exceptions"), attr=name):
                maker = client_of(adapter, made)
                assert maker, ast.unparse(node)
                shapes = model(service_of(adapter, maker)).error_shapes
                assert name in {shape.name for shape in shapes} | {"ClientError"}, name


def integrations() -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """The tasks that call a service themselves: service and method, as the SDK for Java says them.

    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """
    resource = re.compile(r"arn:\$\{Partition\}:states:::(?:aws-sdk:)?(\w+):(\w+)")
    for path in MACHINES:
        for name, task in tasks(dict(definition(path)["States"])).items():
            match = resource.match(task["Resource"])
            if match and match[1] != "lambda":
                yield f"{path.stem}: {name}", task["Arguments"], match[1], match[2]


def test_a_state_asks_in_the_words_of_the_service() -> None:
    services = {
        name.replace("-", ""): name for name in Loader().list_available_services("service-2")
    }
    seen = set()
    for where, arguments, service, method in integrations():
        result = operation(services[service], xform_name(method[0].upper() + method[1:]))
        assert result and result.input_shape, (where, service, method)
        problems = list(unknown(arguments, result.input_shape))
        assert problems == [], where
        capitals = {name[0].upper() + name[1:] for name in result.input_shape.required_members}
        assert capitals <= arguments.keys(), where
        seen.add(f"{service}:{method}")
    assert {"codebuild:startBuild", "cloudfrontkeyvaluestore:updateKeys"} <= seen


def unknown(value: Any, shape: Any) -> Iterator[str]:
    """The members of a request that its shape lacks; Step Functions writes them with capitals."""
    if shape.type_name == "structure" and isinstance(value, dict):
        members = {name[0].upper() + name[1:]: member for name, member in shape.members.items()}
        for name, entry in value.items():
            if name not in members:
                yield f"{shape.name}.{name}"
            else:
                yield from unknown(entry, members[name])
    elif shape.type_name == "list" and isinstance(value, list):
        for entry in value:
            yield from unknown(entry, shape.member)


def test_wrong_words_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation, a member and a nested member that are not there."""
    source = (
        "def _rds():\n    return client('rds')\n"
        "def look():\n    _rds().describe_db_instances(DBInstanceIdentifiers='a')\n"
    )
    monkeypatch.setitem(ADAPTERS, "rds", ast.parse(source))
    ((service, method, given, complete),) = requests("rds")
    assert (service, method, complete) == ("rds", "describe_db_instances", True)
    result = operation(service, method)
    assert result and result.input_shape and not given <= set(result.input_shape.members)
    assert operation("rds", "describe_db_instance") is None
    start = operation("codebuild", "start_build")
    assert start
    wrong = {"ProjectName": "a", "EnvironmentVariablesOverride": [{"Nmae": "A"}], "Projects": "a"}
    assert sorted(unknown(wrong, start.input_shape)) == [
        "EnvironmentVariable.Nmae",
        "StartBuildInput.Projects",
    ]
