"""The graph of a deployment, of an execution as far as it came."""

import json
from typing import Any

from cli.executions import Execution, State
from cli.screen import steps
from cli.ui import stages
from demo import ROOT

STEADY = {"health": "STEADY"}
ROLLING = {"health": "ROLLING"}
FAILED = {"health": "FAILED", "reason": "3 tasks exited"}


def graph(*names: Any, status: str = "RUNNING", last: bool = True) -> dict[str, list[str]]:
    """The names by their lanes, each with its state; a state takes a second.

    Args:
        names: of the states, or pairs with an output.
        last: whether the last one is still being carried out.
    """
    pairs = [entry if isinstance(entry, tuple) else (entry, {}) for entry in names]
    entered = [State(name, float(i), "Task", i + 1.0, out) for i, (name, out) in enumerate(pairs)]
    if status == "RUNNING" and last:
        entered[-1] = State(entered[-1].name, entered[-1].at)
    execution = Execution("arn", status, {}, "", "", None, entered, float(len(entered)))
    lanes = stages.graph(execution, steps(execution))
    return {
        lane: [f"{stage['name']}: {stage['state']}" for stage in shown]
        for lane, shown in lanes.items()
    }


BEGUN = ("Identify release", "Acquire lock", "Check preflight", "Register task definition")


def test_what_lies_ahead_is_shown_before_anything_was_passed() -> None:
    shown = graph("Identify release")
    assert shown["stages"][0] == "Identify release: now"
    assert [name.partition(":")[0] for name in shown["stages"]] == list(stages.AHEAD)
    assert shown["failure"] == []


def test_stages_that_only_some_deployments_have_are_where_they_were_entered() -> None:
    shown = graph(*BEGUN[:3], "Back up database", "A state of tomorrow")
    assert shown["stages"][3:6] == [
        "Back up database: done",
        "A state of tomorrow: now",
        "Register task definition: ahead",
    ]


def test_polls_are_one_stage_also_between_others() -> None:
    polls = (("Poll health", ROLLING), ("Poll health", STEADY))
    again = ("Verify release", {"verdict": "PENDING"})
    shown = graph(*BEGUN, "Update service", *polls, "Fetch addresses", again, "Poll health")
    assert shown["stages"][4:] == [
        "Update service: done",
        "Poll health: now",
        "Fetch addresses: done",
        "Verify release: again",
        "Record success: ahead",
    ]


def test_the_time_of_a_stage_is_the_sum_of_its_visits() -> None:
    names = ["Poll health", "Fetch addresses", "Poll health", "Verify release"]
    entered = [State(name, 2.0 * i, "Task", 2.0 * i + 1.5, STEADY) for i, name in enumerate(names)]
    execution = Execution("arn", "SUCCEEDED", {}, "", "", None, entered, 8.0)
    shown = stages.graph(execution, steps(execution))["stages"]
    assert [(s["name"], s["at"], s["seconds"]) for s in shown] == [
        ("Poll health", 0.0, 3.0),
        ("Fetch addresses", 2.0, 1.5),
        ("Verify release", 6.0, 1.5),
    ]


def test_from_a_failure_on_the_way_back_is_shown() -> None:
    polled = ("Poll health", FAILED)
    shown = graph(*BEGUN, "Update service", polled, "Diagnose failure", "Roll back")
    assert shown["stages"][-1] == "Poll health: failed"
    assert shown["failure"] == [
        "Diagnose failure: done",
        "Roll back: now",
        "Poll health of previous release: ahead",
        "Record failure: ahead",
    ]


def test_a_refusal_is_only_recorded() -> None:
    refused = ("Check preflight", {"Error": "PreflightFailed", "Cause": "no route"})
    shown = graph(*BEGUN[:2], refused, "Record failure", status="FAILED")
    assert shown == {
        "stages": ["Identify release: done", "Acquire lock: done", "Check preflight: failed"],
        "failure": ["Record failure: done"],
    }


def test_what_follows_a_failure_leads_back_whatever_it_is() -> None:
    polled = ("Poll health", FAILED)
    shown = graph(*BEGUN, "Update service", polled, "A state of tomorrow", "Diagnose failure")
    assert shown["stages"][-1] == "Poll health: failed"
    assert shown["failure"][:2] == ["A state of tomorrow: done", "Diagnose failure: now"]


def test_an_execution_that_was_stopped_failed_where_it_was() -> None:
    assert graph(*BEGUN[:2], status="ABORTED")["stages"][-1] == "Acquire lock: failed"


def test_a_recovery_has_no_failure_of_its_own() -> None:
    shown = graph(*BEGUN[:2], "Diagnose failure", "Roll back", status="FAILED")
    assert shown == {
        "stages": ["Identify release: done", "Acquire lock: done"],
        "failure": ["Diagnose failure: done", "Roll back: done"],
    }


def test_every_stage_is_one_of_the_state_machine() -> None:
    states = json.loads((ROOT / "statemachine/deploy.asl.json").read_text())["States"]
    assert {*stages.AHEAD, *stages.FAILURE} <= set(states)
