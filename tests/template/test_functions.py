"""The state machine and the functions: placeholders, names, what goes in and what comes out."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from deployer.store.locks import CHANGE_SECONDS
from tests.template.conftest import FUNCTIONS, States, logical_id_of
from tests.template.test_state_machine import arrows, calls, expressions

# CloudWatch invokes them for whoever looks at a dashboard
OF_THE_WIDGET = {"show_widget", "press_button"}
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def logical_id(module: str) -> str:
    return "".join(word.capitalize() for word in module.split("_"))


def words(module: str) -> str:
    return module.replace("_", " ").capitalize()


def function_of(task: dict[str, Any]) -> str:
    """The module of the function that a task calls."""
    called = PLACEHOLDER.search(task["Arguments"].get("FunctionName", task["Resource"]))
    assert called, task["Resource"]
    return re.sub(r"(?<!^)([A-Z])", r"_\1", called[1]).lower()


def handed(task: dict[str, Any]) -> set[str]:
    """The names of what a task hands to its function."""
    return set(task["Arguments"].get("Payload", task["Arguments"]))


def request(module: str) -> set[str]:
    return set(importlib.import_module(module).Request.__required_keys__)


def answer(module: str) -> set[str]:
    """The names of what a function returns."""
    handler = inspect.unwrap(importlib.import_module(module).handler)
    return set(get_type_hints(handler)["return"].__annotations__) | {
        name
        for base in getattr(get_type_hints(handler)["return"], "__orig_bases__", ())
        for name in getattr(base, "__annotations__", {})
    }


def functions_of(template: dict[str, Any], machine: str) -> set[str]:
    """The functions that the template names to a machine; it may name other things too."""
    filled = template["Resources"][machine]["Properties"]["DefinitionSubstitutions"]
    types = {name: item["Type"] for name, item in template["Resources"].items()}
    functions = {name for name in filled if types.get(name) == "AWS::Serverless::Function"}
    for name in functions:
        assert filled[name] == {"Fn::GetAtt": [name, "Arn"]}
    return functions


def test_every_placeholder_is_filled_and_nothing_else(
    template: dict[str, Any], states: States, which: Path
) -> None:
    filled = template["Resources"][logical_id_of(which)]["Properties"]["DefinitionSubstitutions"]
    placeholders = {name for state in states.values() for name in PLACEHOLDER.findall(str(state))}
    assert placeholders == filled.keys()
    called = {logical_id(function_of(task)) for task in calls(states).values()}
    assert called == functions_of(template, logical_id_of(which))


def test_a_machine_may_invoke_each_function_that_it_calls_and_no_other(
    template: dict[str, Any], which: Path
) -> None:
    (policy,) = template["Resources"][f"{logical_id_of(which)}Role"]["Properties"]["Policies"]
    invoked = {
        resource["Fn::GetAtt"][0]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "lambda:InvokeFunction"
        for resource in statement["Resource"]
    }
    assert invoked == functions_of(template, logical_id_of(which))


def test_there_is_one_function_for_each_module(template: dict[str, Any]) -> None:
    functions = {
        name: resource["Properties"]["Handler"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert functions == {logical_id(m.stem): f"{m.stem}.handler" for m in FUNCTIONS}


def test_a_state_is_named_as_the_function_that_it_calls(states: States) -> None:
    for name, task in calls(states).items():
        assert name.startswith(words(function_of(task))), name


def test_every_function_is_called_by_a_machine_by_events_or_from_the_console(
    template: dict[str, Any], all_states: list[States]
) -> None:
    called = {function_of(task) for states in all_states for task in calls(states).values()}
    called.add("send_notification")  # by a queue, of infrastructure/notifications.yaml
    for module in FUNCTIONS:
        events = template["Resources"][logical_id(module.stem)]["Properties"].get("Events")
        callers = (module.stem in called, bool(events), module.stem in OF_THE_WIDGET)
        assert sum(callers) == 1, module.stem


def test_a_function_is_handed_what_it_asks_for(states: States) -> None:
    for name, task in calls(states).items():
        module = function_of(task)
        optional = importlib.import_module(module).Request.__optional_keys__
        assert handed(task) - optional == request(module), name


def test_what_a_state_reads_of_a_result_is_what_its_function_returns(states: States) -> None:
    for name, task in calls(states).items():
        read = {
            match
            for text in expressions(task)
            for match in re.findall(r"\$states\.result\.(\w+)", text)
        }
        assert read <= answer(function_of(task)), name


def sources(states: States, name: str) -> Iterator[str]:
    """The tasks whose result comes in at a state, by themselves or through choices."""
    for source, state in states.items():
        if name in arrows(state):
            if state["Type"] == "Task":
                yield source
            elif state["Type"] == "Choice":
                yield from sources(states, source)


def test_what_a_state_reads_of_its_input_is_what_the_function_before_returned(
    states: States,
) -> None:
    checked = 0
    for name, state in states.items():
        read = {
            match
            for text in expressions(state)
            for match in re.findall(r"\$states\.input\.(\w+)", text)
        }
        if not read:
            continue
        before = list(sources(states, name))
        assert before, name
        for task in before:
            if task not in calls(states):
                continue
            assert read <= answer(function_of(states[task])), f"{task} → {name}"
            checked += 1
    assert checked


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda module: module.stem)
def test_a_function_gives_up_before_its_state_does(
    template: dict[str, Any], states: States, module: Path
) -> None:
    """A function that is cut off by Step Functions goes on running unseen."""
    shared = template["Globals"]["Function"]["Timeout"]
    own = template["Resources"][logical_id(module.stem)]["Properties"]
    for name, task in calls(states).items():
        if function_of(task) == module.stem:
            assert own.get("Timeout", shared) < task["TimeoutSeconds"], name


def test_what_changes_a_service_is_over_when_its_turn_may_be_taken_over(
    template: dict[str, Any],
) -> None:
    shared, changing = template["Globals"]["Function"]["Timeout"], []
    for module in FUNCTIONS:
        own = template["Resources"][logical_id(module.stem)]["Properties"]
        # what is published nobody sees before the switch
        if "locks.lease(" in module.read_text() and module.stem != "publish_docs":
            changing.append(module.stem)
            assert own.get("Timeout", shared) < CHANGE_SECONDS, module.stem
    assert {"update_service", "roll_back", "restore_database"} <= {*changing}
