"""`deployer rollback`, `hold` and `resume`."""

import json
import re

import pytest

from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at
from tests.person import Person


@pytest.fixture
def twice(live: Operator) -> Operator:
    """An operator of a service on which 1.1.0 is live, and 1.0.0 was."""
    assert live.stage.deployed("1.1.0").status == "SUCCEEDED"
    return live


@pytest.mark.walk
def test_back_and_held_and_resumed(twice: Operator, ann: Person) -> None:
    output = twice.output("rollback", "previous", "--reason", "login is broken")
    assert (output["outcome"], output["version"]) == ("SUCCEEDED", "1.0.0")
    back = twice.stage.records()[-1]
    assert (back["trigger"], back["startedBy"]) == ("rollback", ann.name)

    assert twice.stage.deployed("1.2.0").status == "SUCCEEDED"
    assert twice.stage.records()[-1]["outcome"] == "HELD"
    planned = twice.output("deploy", "1.2.0", "--dry-run")
    assert planned["hold"]["reason"] == "login is broken"
    assert planned["hold"]["by"] == ann.name

    resumed = twice.output("resume")
    assert (resumed["outcome"], resumed["version"]) == ("SUCCEEDED", "1.2.0")
    again = twice.run("resume")
    assert (again.returncode, "is not held" in again.stdout) == (0, True)


def test_without_a_hold_pushes_deploy_on(twice: Operator) -> None:
    assert twice.run("rollback", "1.0.0", "--no-hold").returncode == 0
    assert twice.stage.deployed("1.2.0").status == "SUCCEEDED"
    assert twice.stage.records()[-1]["outcome"] == "SUCCEEDED"


def test_a_hold_keeps_pushes_back_and_says_who_and_why(live: Operator, ann: Person) -> None:
    held = live.output("hold", "--reason", "until Monday")
    assert (held["outcome"], held["reason"]) == ("SUCCEEDED", "held: until Monday")
    live.stage.deployed("1.1.0")
    record = live.stage.records()[-1]
    assert (record["outcome"], record["by"]) == ("HELD", ann.name)
    assert "until Monday" in record["reason"]
    live.stage.aws.client("ecr").batch_delete_image(
        repositoryName=live.stage.service, imageIds=[{"imageTag": "1.1.0"}]
    )
    other = live.run("resume", "--json")
    assert json.loads(other.stdout)["hold"]["by"] == ann.name


def test_at_a_terminal_where_to_is_asked(twice: Operator) -> None:
    assert twice.stage.deployed("1.2.0").status == "SUCCEEDED"
    with at(twice, "rollback") as shown:
        shown.expect("Releases to roll back to")
        shown.expect("1.1.0")
        shown.expect("1.0.0")
        shown.answer("[1-2, Enter to cancel]", "7")
        shown.answer("Please type a number from 1 to 2.", "2")
        shown.expect("back to 1.0.0")
        shown.expect("Live and verified")
        shown.expect("deployer resume")
        assert shown.ended() == 0
    assert twice.stage.records()[-1]["version"] == "1.0.0"
    with at(twice, "rollback", columns=50) as shown:
        shown.answer("Enter to cancel]", "")
        assert shown.ended() == 4
        assert "nothing was changed" in shown.screen
    assert len(twice.stage.records()) == 4


def test_nobody_there_to_answer_gets_the_list(twice: Operator) -> None:
    request = twice.run("rollback", "--json")
    assert request.returncode == 4
    (candidate,) = json.loads(request.stdout)["candidates"]
    assert (candidate["version"], candidate["possible"]) == ("1.0.0", True)
    plain = twice.run("rollback")
    assert (plain.returncode, "1.0.0" in plain.stdout) == (4, True)
    assert re.search("deployer rollback .*1.0.0", plain.stderr)


def test_where_it_cannot_go_is_said_and_why(twice: Operator) -> None:
    stage, before = twice.stage, len(twice.stage.own_executions())
    for to, code in (("9.9.9", 2), ("1.1.0", 6)):
        wrong = twice.run("rollback", to)
        assert wrong.returncode == code
        assert to in wrong.stderr
    gone = next(r for r in stage.records() if r["version"] == "1.0.0")
    stage.aws.client("ecr").batch_delete_image(
        repositoryName=stage.service, imageIds=[{"imageDigest": gone["digest"]}]
    )
    (candidate,) = json.loads(twice.run("rollback", "--json").stdout)["candidates"]
    assert not candidate["possible"]
    assert "gone from" in candidate["refusal"]
    assert twice.run("rollback", "previous").returncode == 6
    assert len(stage.own_executions()) == before


def test_while_another_runs_the_last_verified_release_is_the_previous_one(
    twice: Operator,
) -> None:
    """The list, the dry run and the rollback itself agree."""
    stage = twice.stage
    first, last = stage.records()[0], stage.records()[-1]
    stage.aws.client("ecs").update_service(
        cluster=stage.cluster, service=stage.service, taskDefinition=first["taskDefinition"]
    )
    offered = json.loads(twice.run("rollback", "--json").stdout)["candidates"]
    assert [(c["version"], c["possible"]) for c in offered] == [("1.1.0", True), ("1.0.0", True)]
    assert twice.output("rollback", "previous", "--dry-run")["release"]["to"] == last["id"]
    assert twice.output("rollback", offered[0]["id"])["version"] == "1.1.0"
    refused = twice.run("rollback", "1.1.0")
    assert (refused.returncode, "serves already" in refused.stderr) == (6, True)
    offered = json.loads(twice.run("rollback", "--json").stdout)["candidates"]
    assert [c["version"] for c in offered] == ["1.0.0"]


def test_another_schema_is_refused_and_no_snapshot_is_made_up(live: Operator) -> None:
    assert live.stage.deployed("1.1.0", schema=3).status == "SUCCEEDED"
    assert live.stage.records()[-1]["schema"] != live.stage.records()[0]["schema"]
    refused = live.run("rollback", "1.0.0")
    assert refused.returncode == 6
    assert "{" not in refused.stderr and "--restore-database" not in refused.stderr
    assert "would not start" in refused.stderr
    assert "no snapshot was taken" in refused.stderr
    (candidate,) = json.loads(live.run("rollback", "--json").stdout)["candidates"]
    assert "schema" in candidate["refusal"]
    without = live.run("rollback", "1.0.0", "--restore-database", "--yes")
    assert (without.returncode, "database" in without.stderr) == (6, True)


def test_nothing_to_go_back_to(live: Operator) -> None:
    nothing = live.run("rollback")
    assert (nothing.returncode, "nothing to roll back to" in nothing.stderr) == (6, True)


def test_a_dry_run_changes_nothing(twice: Operator) -> None:
    before = twice.stage.own_executions()
    output = twice.output("rollback", "1.0.0", "--dry-run")
    first = twice.stage.records()[0]
    assert output["taskDefinition"]["becomes"] == first["taskDefinition"]
    assert not output["taskDefinition"]["registers"]
    (image,) = output["taskDefinition"]["changes"]
    assert image["after"].endswith(first["digest"])
    assert output["holdAfter"]
    assert output["release"]["to"] == first["id"]
    assert twice.stage.own_executions() == before
