"""`deployer wait` and `deployer follow`: what a push became, for a CI job and for people."""

import json

import pytest

from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at


@pytest.mark.walk
def test_a_ci_job_waits_for_its_push_and_ends_as_it_ends(live: Operator) -> None:
    digest = live.stage.release("1.1.0")
    output = live.output("wait", "1.1.0")
    record = live.stage.records()[-1]
    assert (output["outcome"], output["version"], output["url"]) == (
        "SUCCEEDED",
        "1.1.0",
        record["url"],
    )
    assert output["execution"] == record["execution"]
    assert live.output("wait", digest)["id"] == record["id"], "also when it is over"

    live.stage.release("1.2.0", fault="exit-at-start")
    failed = live.run("wait", "1.2.0", "--json")
    assert failed.returncode == 1, failed.stderr
    assert json.loads(failed.stdout)["outcome"] == "FAILED_ROLLED_BACK"


def test_a_push_that_deploys_nothing_is_told_from_one_that_is_not_there(live: Operator) -> None:
    digest = live.stage.release("main")
    nothing = live.run("wait", "main")
    assert nothing.returncode == 6
    assert "do not name main" in nothing.stderr
    assert live.run("wait", digest, "--timeout", "60").returncode == 6
    missing = live.run("wait", "9.9.9")
    assert missing.returncode == 3
    assert "9.9.9 is not in repository" in missing.stderr
    assert live.run("wait", "1.0.0", "--timeout", "0").returncode == 2


def test_a_held_push_is_told_at_once_and_one_that_takes_too_long_goes_on(
    busy: tuple[Operator, str],
) -> None:
    operator, arn = busy
    late = operator.run("wait", "1.1.0", "--timeout", "1")
    assert late.returncode == 1
    assert "still runs" in late.stderr and "deployer cancel" in late.stderr
    with at(operator, "follow") as terminal:
        terminal.expect("Poll health")
        terminal.interrupt()
        assert terminal.ended() == 130
    assert operator.stage.look(arn).status == "RUNNING"
    assert operator.run("hold").returncode == 0
    operator.stage.release("1.2.0")
    held = operator.run("wait", "1.2.0")
    assert held.returncode == 5
    assert "deployer resume" in held.stderr
