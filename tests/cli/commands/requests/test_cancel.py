"""`deployer cancel`."""

import json
from collections.abc import Iterator

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at
from tests.person import Person

pytestmark = pytest.mark.slow


def test_what_is_in_flight_is_stopped_and_the_last_good_release_is_back(
    busy: tuple[Operator, str], ann: Person
) -> None:
    operator, arn = busy
    unasked = operator.run("cancel")
    assert (unasked.returncode, operator.stage.look(arn).status) == (4, "RUNNING")
    output = operator.output("cancel", "--yes")
    good, cancelled = operator.stage.records()
    assert output["cancelled"] == [cancelled["id"]]
    assert output["outcome"] == cancelled["outcome"] == "FAILED_ROLLED_BACK"
    assert output["live"]["version"] == "1.0.0"
    assert operator.stage.described()["taskDefinition"] == good["taskDefinition"]
    stopped = operator.stage.aws.client("stepfunctions").describe_execution(executionArn=arn)
    assert (stopped["status"], stopped["cause"]) == ("ABORTED", f"by {ann.name}")
    assert not [item for item in operator.stage.items() if item["id"].startswith("#")]
    assert operator.stage.deployed("1.2.0").status == "SUCCEEDED"


def test_at_a_terminal_it_asks_and_shows_the_way_back(busy: tuple[Operator, str]) -> None:
    operator, arn = busy
    with at(operator, "cancel") as shown:
        shown.answer("Stop it? [y/N]", "n")
        assert shown.ended() == 4
    assert operator.stage.look(arn).status == "RUNNING"
    with at(operator, "cancel", "1.1.0") as shown:
        shown.answer("Stop it? [y/N]", "y")
        shown.expect("Poll health of previous release")
        shown.expect("1.0.0 is live")
        assert shown.ended() == 0


def waits(operator: Operator) -> tuple[str, str]:
    """An execution that waits for the lock, and its release."""
    before = operator.stage.own_executions()
    assert operator.run("deploy", "1.0.0", "--detach").returncode == 0
    (waiting,) = (e for e in operator.stage.own_executions() if e not in before)
    for now in operator.stage.follow(waiting):
        if now.states and now.states[-1].name == "Acquire lock":
            break
    (release,) = (r["id"] for r in operator.stage.records() if r["execution"] == waiting)
    return waiting, release


def test_what_waits_is_only_stopped(busy: tuple[Operator, str]) -> None:
    operator, arn = busy
    waiting, release = waits(operator)
    wrong = operator.run("cancel", "9.9.9", "--yes")
    assert (wrong.returncode, "1.1.0" in wrong.stderr) == (2, True)
    done = operator.run("cancel", release, "--yes", "--json")
    assert (done.returncode, "is on its way" in done.stderr) == (0, True), done.stderr
    output = json.loads(done.stdout)
    assert (output["cancelled"], output["outcome"]) == ([release], "FAILED")
    assert operator.stage.look(waiting).status == "ABORTED"
    assert operator.stage.look(arn).status == "RUNNING"


@pytest.fixture
def unheard(deployer: Stage) -> Iterator[None]:
    """The deployer does not hear of executions that end."""
    events = deployer.aws.client("events")
    rule = deployer.aws.client("cloudformation").describe_stack_resource(
        StackName=deployer.stack, LogicalResourceId="ReconcileExecutionEnded"
    )["StackResourceDetail"]["PhysicalResourceId"]
    events.disable_rule(Name=rule)
    yield
    events.enable_rule(Name=rule)


@pytest.mark.usefixtures("unheard")
def test_who_does_not_wait_for_the_record_is_told_what_is_stopped(
    busy: tuple[Operator, str],
) -> None:
    operator, _ = busy
    waiting, release = waits(operator)
    with at(operator, "cancel", release, "--yes") as shown:
        shown.expect("waiting until it is recorded")
        shown.interrupt()
        assert shown.ended() == 130
        assert "is stopped" in shown.screen and release in shown.screen
        assert "nothing is under way" not in shown.screen
    assert operator.stage.look(waiting).status == "ABORTED"


def test_all_is_all(busy: tuple[Operator, str]) -> None:
    operator, _ = busy
    assert operator.run("deploy", "1.0.0", "--detach").returncode == 0
    output = operator.output("cancel", "--all", "--yes")
    assert len(output["cancelled"]) == 2
    assert output["live"]["version"] == "1.0.0"
    assert all("outcome" in record for record in operator.stage.records())


def test_nothing_in_flight_is_no_failure(live: Operator) -> None:
    nothing = live.run("cancel")
    assert (nothing.returncode, "Nothing of" in nothing.stdout) == (0, True)
    assert live.output("cancel", "--all")["cancelled"] == []
