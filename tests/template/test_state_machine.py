"""The state machine by itself: its arrows, its retries and catches, its variables."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cfnlint.api  # type: ignore[import-untyped]
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from deployer.store import releases
from tests.template.conftest import ROOT, States

WHOLE = "Update service"
"""The state that changes the service: what fails before leaves it as it was."""


def arrows(state: dict[str, Any]) -> Iterator[str]:
    """Where a state leads when nothing fails."""
    for key in ("Next", "Default"):
        if key in state:
            yield state[key]
    for choice in state.get("Choices", []):
        yield choice["Next"]


def catches(state: dict[str, Any]) -> Iterator[str]:
    for catch in state.get("Catch", []):
        yield catch["Next"]


def reachable(states: States, start: str, *, without: tuple[str, ...] = ()) -> set[str]:
    """The states that one comes to from `start` while nothing fails."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name not in seen and name not in without:
            seen.add(name)
            ahead += arrows(states[name])
    return seen


def tasks(states: States) -> dict[str, dict[str, Any]]:
    return {name: state for name, state in states.items() if state["Type"] == "Task"}


def calls(states: States) -> dict[str, dict[str, Any]]:
    """The tasks that call a function of ours; others call AWS themselves."""
    return {
        name: task
        for name, task in tasks(states).items()
        if re.fullmatch(
            r"\$\{\w+\}|arn:\$\{Partition\}:states:::lambda:invoke\S*", task["Resource"]
        )
    }


# arrows


def test_every_arrow_lands_and_every_state_is_reached(every: Any) -> None:
    states, targets = every["States"], {every["StartAt"]}
    for state in states.values():
        targets |= {*arrows(state), *catches(state)}
    assert targets == states.keys()


def test_every_state_leads_somewhere_or_ends(every: Any) -> None:
    for name, state in every["States"].items():
        ends = state["Type"] in ("Succeed", "Fail")
        assert ends == (not list(arrows(state))), name
        if state["Type"] == "Choice":
            assert "Default" in state, name


def test_a_failure_never_ends_in_success(deploying: States) -> None:
    caught = {target for state in deploying.values() for target in catches(state)}
    again = {name for name, state in deploying.items() if name in catches(state)}
    for start in caught - again:
        ends = {n for n in reachable(deploying, start) if deploying[n]["Type"] == "Succeed"}
        assert not ends, f"{start} leads to {ends}"


def test_the_definition_has_the_shape_that_step_functions_takes(every: Any) -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    text = json.dumps(every).replace("${Partition}", "aws")
    definition = json.loads(re.sub(r"\$\{\w+\}", arn, text))
    resource = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": "arn:aws:iam::123456789012:role/r",
            "Definition": definition,
        },
    }
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Deploy": resource}}
    assert [str(m) for m in cfnlint.api.lint_all(json.dumps(template))] == []


# retries and catches


def test_every_task_has_a_time_of_its_own_and_the_machine_too(every: Any) -> None:
    assert every["TimeoutSeconds"] > 0
    for name, state in tasks(every["States"]).items():
        most = 14400 if state["Resource"].endswith("startBuild.sync") else 600
        assert 0 < state["TimeoutSeconds"] <= most, name


def test_ten_minutes_of_a_rollout_cost_seven_slow_polls_at_most(deploying: States) -> None:
    """A deployment enters 19 states besides, and may enter 25."""
    for name in ("Poll health", "Poll health of previous release"):
        assert 600 // deploying[name]["TimeoutSeconds"] <= 7
        assert deploying[name]["TimeoutSeconds"] <= 90, "how late an end without an event is seen"


def test_every_function_is_retried_alike(states: States) -> None:
    """What passes by itself is retried by name; never by wildcard."""
    last = {name: json.dumps(state["Retry"][-1]) for name, state in calls(states).items()}
    assert len(set(last.values())) == 1, last
    for name, state in tasks(states).items():
        for retry in state.get("Retry", []):
            for error in retry["ErrorEquals"]:
                assert not error.startswith("States."), f"{name} retries {error}"
            assert retry["MaxAttempts"] > 0, name


def test_what_every_function_retries_is_lambdas_own_failure_and_aws_being_away(
    states: States,
) -> None:
    ours, *theirs = next(iter(calls(states).values()))["Retry"][-1]["ErrorEquals"]
    assert ours == "AwsUnavailable"
    for error in theirs:
        assert re.match(r"(Lambda|Sandbox|Runtime)\.", error)
    # https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
    assert {*theirs} >= {
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    }


def caught_at(state: dict[str, Any]) -> str | None:
    """Where whatever else fails is caught."""
    for catch in state.get("Catch", []):
        if catch["ErrorEquals"] == ["States.ALL"]:
            return str(catch["Next"])
    return None


def test_a_failure_before_the_service_is_touched_is_recorded(
    deploy: Any, deploying: States
) -> None:
    without = (WHOLE, "Stop task", "Diagnose failure")
    before = reachable(deploying, deploy["StartAt"], without=without)
    checked = [name for name in before if deploying[name]["Type"] == "Task"]
    assert len(checked) >= 3
    undo = "Does it restore the database?"  # which leads to the record if there is nothing to undo
    assert deploying[undo]["Default"] == "Record failure"
    for name in checked:
        expected = {"Record failure"}
        if name in ("Restore database", "Register task definition"):
            expected = {undo}
        if name == "Run task before":  # it may run on; Roll back finds the service unchanged
            expected = {"Stop task"}
        assert caught_at(deploying[name]) in expected, name


def test_a_failure_after_the_service_is_touched_is_diagnosed_and_rolled_back(
    deploying: States,
) -> None:
    after = reachable(deploying, WHOLE, without=("Diagnose failure", "Stop task", "Record success"))
    checked = [name for name in after if deploying[name]["Type"] == "Task"]
    assert {WHOLE, "Poll health", "Verify release"} <= set(checked)
    for name in checked:
        expected = "Stop task" if name == "Run task after" else "Diagnose failure"
        assert caught_at(deploying[name]) == expected, name


def test_no_failure_leaves_a_task_running(deploying: States) -> None:
    stop = deploying["Stop task"]
    assert caught_at(stop) == stop["Next"] == "Diagnose failure"
    for name in ("Run task before", "Run task after"):
        assert caught_at(deploying[name]) == "Stop task"
        assert deploying[deploying[name]["Next"]]["Default"] == "Stop task"
    recovers = deploying["Is the lock acquired?"]["Choices"][-2]
    assert recovers["Condition"] == "{% $recovers and ($before or $after) %}"
    assert recovers["Next"] == "Stop task"


def test_a_failure_of_the_way_back_is_recorded(deploying: States) -> None:
    assert caught_at(deploying["Diagnose failure"]) == "Roll back"
    assert caught_at(deploying["Record failure"]) == "Failed"
    back = reachable(deploying, "Roll back", without=("Record failure",))
    checked = [name for name in back if deploying[name]["Type"] == "Task"]
    assert len(checked) >= 2
    for name in checked:
        # where it goes on to Record failure, as there is no rollout of ours to poll
        assert caught_at(deploying[name]) in ("Record failure", "Does it roll back?"), name
    assert deploying["Does it roll back?"]["Default"] == "Record failure"


def test_a_verified_release_is_not_taken_back_because_it_could_not_be_recorded(
    deploying: States,
) -> None:
    assert "Roll back" not in {*catches(deploying["Record success"])}
    assert "Diagnose failure" not in {*catches(deploying["Record success"])}


def test_only_a_sleeping_task_may_time_out_and_go_on(states: States) -> None:
    for name, state in tasks(states).items():
        on_timeout = [
            catch["Next"]
            for catch in state.get("Catch", [])
            if "States.Timeout" in catch["ErrorEquals"]
        ]
        sleeps = state["Resource"].endswith(".waitForTaskToken")
        assert len(on_timeout) == sleeps, name
        assert all(name in reachable(states, target) for target in on_timeout), name


def test_what_fails_is_remembered(deploying: States) -> None:
    """Every arrow of failure into the record or the diagnosis brings the failure along."""
    for name, state in deploying.items():
        for catch in state.get("Catch", []):
            if name == "Stop task":
                continue  # the failure that led there is the one to remember
            if catch["Next"] in ("Diagnose failure", "Stop task") or (
                catch["Next"] == "Record failure" and caught_before_diagnosis(deploying, name)
            ):
                assert "$states.errorOutput" in catch["Assign"]["failure"], name


def caught_before_diagnosis(states: States, name: str) -> bool:
    return name not in reachable(states, "Diagnose failure")


# variables


def expressions(value: Any) -> Iterator[str]:
    """The JSONata in a value, without its text literals."""
    if isinstance(value, dict):
        for entry in value.values():
            yield from expressions(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from expressions(entry)
    elif isinstance(value, str) and value.startswith("{%"):
        yield re.sub(r"'[^']*'|\"[^\"]*\"", "", value)


def assigned(state: dict[str, Any]) -> set[str]:
    matches = set(state.get("Assign", {}))
    for inner in (*state.get("Catch", []), *state.get("Choices", [])):
        matches |= set(inner.get("Assign", {}))
    return matches


def used(state: dict[str, Any]) -> set[str]:
    names = {
        name
        for text in expressions(state)
        for name in re.findall(r"\$([A-Za-z]\w*)\b(?!\s*\()", text)
    }
    return names - {"states"}


def test_no_variable_is_used_or_set_that_was_not_named_at_the_start(
    machine: Any, states: States
) -> None:
    """A record can be made of whatever is known when something fails."""
    named = assigned(states[machine["StartAt"]])
    assert used(states[machine["StartAt"]]) == set()
    for name, state in states.items():
        assert used(state) <= named, name
        assert assigned(state) <= named, name


def test_every_variable_is_used(states: States) -> None:
    everything = {name for state in states.values() for name in assigned(state)}
    assert everything == {name for state in states.values() for name in used(state)}


@pytest.mark.parametrize("path", ["Error", "Cause"])
def test_the_colour_of_the_execution_is_the_truth(states: States, path: str) -> None:
    """It fails with the failure's own name and words."""
    (failed,) = (state for state in states.values() if state["Type"] == "Fail")
    assert failed[path] == f"{{% $failure.{path} %}}"


def test_the_errors_of_codebuild_are_those_that_step_functions_names() -> None:
    """An API's own errors, and what its SDK for Java calls all others:
    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"""
    service = ServiceModel(Loader().load_service_model("codebuild", "service-2"))
    known = {
        f"CodeBuild.{shape.name}" for shape in service.operation_model("StartBuild").error_shapes
    }
    known |= {"CodeBuild.CodeBuildException", "CodeBuild.SdkClientException"}
    users = 0
    for path in (Path(__file__).parents[2] / "statemachine").glob("*.asl.json"):
        for name, state in json.loads(path.read_text())["States"].items():
            handlers = [*state.get("Retry", []), *state.get("Catch", [])]
            named = {e for h in handlers for e in h["ErrorEquals"] if e.startswith("CodeBuild.")}
            assert named <= known, f"{name}: {named - known}"
            if state.get("Resource", "").endswith("codebuild:startBuild.sync"):
                users += 1
                retried = {e for h in state.get("Retry", []) for e in h["ErrorEquals"]}
                assert retried == {
                    "CodeBuild.AccountLimitExceededException",
                    "CodeBuild.CodeBuildException",
                    "CodeBuild.SdkClientException",
                }, name
    assert users == 3


def test_a_switch_that_somebody_else_changes_is_waited_for_and_not_without_end() -> None:
    text = (Path(__file__).parents[2] / "statemachine/docs.asl.json").read_text()
    states = json.loads(text)["States"]
    contested = 0
    for state in states.values():
        for catch in state.get("Catch", []):
            if catch["ErrorEquals"] == ["CloudFrontKeyValueStore.ConflictException"]:
                contested += 1
                assert catch["Assign"]["conflicts"] == "{% $conflicts + 1 %}"
                bound = states[catch["Next"]]
                assert bound["Choices"][0]["Condition"].startswith("{% $conflicts < ")
                wait = states[bound["Choices"][0]["Next"]]
                assert wait["Type"] == "Wait" and wait["Next"].startswith("Read switch")
    assert contested == 2


def test_every_state_and_standing_is_explained(deploying: States) -> None:
    """In docs/how-it-works.md, by the names that the console and the table show."""
    explained = (ROOT / "docs/how-it-works.md").read_text()
    table = explained[explained.index("## The states") : explained.index("### What a preflight")]
    missing = [name for name in deploying if name not in table]
    index = re.findall(r"^    (\w+)#<", str(releases.__doc__), re.M)
    missing += [name for name in index if f"`{name}#<" not in explained]
    assert len(index) == 5 and not missing
