"""Going back by hand, and what a rollback keeps from happening."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.executions import Execution
from demo.stage import Stage


def command(stage: Stage, action: str, **fields: Any) -> Execution:
    return stage.ended(stage.start({"action": action, "service": stage.service, **fields}))


@pytest.fixture
def two(live: Stage) -> Stage:
    """A service on which 1.1.0 is live and 1.0.0 was before."""
    assert live.deployed("1.1.0").status == "SUCCEEDED"
    return live


@pytest.mark.walk
def test_a_rollback_restores_the_very_task_definition_and_sticks(two: Stage) -> None:
    first = two.records()[0]

    done = command(two, "rollback", to="previous", by="ann", reason="checkout is slow")

    assert done.status == "SUCCEEDED"
    back = two.records()[-1]
    assert (back["trigger"], back["version"], back["to"]) == ("rollback", "1.0.0", first["id"])
    assert two.described()["taskDefinition"] == first["taskDefinition"]

    held = two.deployed("1.2.0")
    assert held.path[-1] == "Skipped"
    record = two.records()[-1]
    assert record["outcome"] == "HELD"
    assert "ann" in record["reason"] and "checkout is slow" in record["reason"]
    assert two.described()["taskDefinition"] == first["taskDefinition"]

    resumed = command(two, "resume", by="ann")
    assert resumed.status == "SUCCEEDED"
    assert two.records()[-1]["version"] == "1.2.0"
    assert two.deployed("1.3.0").path[-1] == "Deployed"


def test_going_back_twice_goes_further_back(two: Stage) -> None:
    two.deployed("1.2.0")
    command(two, "rollback", to="previous")
    command(two, "rollback", to="previous")
    assert [r["version"] for r in two.records() if r["trigger"] == "rollback"] == ["1.1.0", "1.0.0"]


@pytest.mark.parametrize("name", ["version", "digest", "id"])
def test_a_rollback_finds_its_target_by(two: Stage, name: str) -> None:
    assert command(two, "rollback", to=two.records()[0][name]).status == "SUCCEEDED"
    assert two.records()[-1]["version"] == "1.0.0"


def test_a_rollback_without_hold_lets_the_next_push_deploy(two: Stage) -> None:
    command(two, "rollback", to="previous", hold=False)
    assert two.deployed("1.2.0").path[-1] == "Deployed"


def test_a_deployment_by_hand_ends_a_hold(two: Stage) -> None:
    command(two, "rollback", to="previous")
    assert command(two, "deploy", image="1.1.0").status == "SUCCEEDED"
    assert two.deployed("1.2.0").path[-1] == "Deployed"


def test_a_hold_by_itself_and_a_resumption_with_nothing_held(live: Stage) -> None:
    assert command(live, "hold", by="bob", reason="release freeze").status == "SUCCEEDED"
    assert live.deployed("1.1.0").path[-1] == "Skipped"
    assert command(live, "resume").path[-1] == "Deployed"
    assert command(live, "hold").status == "SUCCEEDED"
    assert command(live, "resume").path[-1] == "Nothing to deploy"
    refused = command(live, "resume")
    assert (refused.status, refused.error) == ("FAILED", "RequestRejected")


def test_what_can_not_be_gone_back_to_is_refused_and_nothing_touched(two: Stage) -> None:
    two.deployed("1.2.0", fault="exit-at-start")
    before = two.described()
    for to, named in [("1.2.0", "never live"), ("7.7.7", "1.0.0")]:
        refused = command(two, "rollback", to=to)
        assert (refused.status, refused.error) == ("FAILED", "RequestRejected"), to
        assert named in refused.cause
    first = two.records()[0]
    two.aws.client("ecr").batch_delete_image(
        repositoryName=two.service, imageIds=[{"imageDigest": first["digest"]}]
    )
    gone = command(two, "rollback", to="1.0.0")
    assert (gone.status, gone.error) == ("FAILED", "ImageMissing")
    after = two.described()
    assert after["deployments"] == before["deployments"]
    assert two.deployed("1.3.0").path[-1] == "Deployed", "a refused rollback holds nothing"


def test_the_last_verified_release_may_be_put_back_where_it_should_be_live(two: Stage) -> None:
    """Another may run: somebody may have changed the service by hand."""
    stranger = two.records()[0]["taskDefinition"]
    two.aws.client("ecs").update_service(
        cluster=two.cluster, service=two.service, taskDefinition=stranger
    )
    assert command(two, "rollback", to="1.1.0").status == "SUCCEEDED"
    assert two.described()["taskDefinition"] == two.records()[1]["taskDefinition"]


def test_there_may_be_nothing_to_go_back_to(live: Stage, make: Callable[..., Stage]) -> None:
    refused = command(live, "rollback", to="previous")
    assert (refused.status, refused.error) == ("FAILED", "RequestRejected")
    assert "nothing to roll back to" in command(make(), "rollback", to="previous").cause


def test_no_older_release_is_put_on_a_newer_schema(live: Stage) -> None:
    assert live.deployed("2.0.0", schema=2).status == "SUCCEEDED"
    refused = command(live, "rollback", to="previous")
    assert (refused.status, refused.error) == ("FAILED", "RequestRejected")
    assert "schema" in refused.cause
    assert live.described()["taskDefinition"] == live.records()[1]["taskDefinition"]
