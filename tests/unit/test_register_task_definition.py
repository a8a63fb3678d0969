"""A revision that runs the pushed digest; none if nothing changed."""

from typing import Any

import pytest

import register_task_definition
from deployer.aws import client, ecs
from tests.unit.samples import IMAGE, OTHER_DIGEST, document, payload, previous, release

pytestmark = pytest.mark.usefixtures("lock_held")

OTHER_IMAGE = IMAGE.replace(IMAGE[-64:], OTHER_DIGEST[-64:])


def register(context: Any, **changes: Any) -> dict[str, Any]:
    given = payload(**{"previous": None} | changes)
    return dict(register_task_definition.handler(given, context))


def revisions() -> int:
    return len(client("ecs").list_task_definitions(familyPrefix="coder")["taskDefinitionArns"])


def test_a_new_image_gets_a_revision_that_tells_what_it_is(context: Any) -> None:
    result = register(context)
    assert result["new"]
    response = client("ecs").describe_task_definition(
        taskDefinition=result["taskDefinition"], include=["TAGS"]
    )
    assert response["taskDefinition"]["containerDefinitions"][0]["image"] == IMAGE
    tags = {tag["key"]: tag["value"] for tag in response["tags"]}
    assert tags["deployer:version"] == "2.1.0"
    assert tags["deployer:release"] == release()["id"]


def test_a_retry_whose_reply_was_lost_registers_no_second_revision(context: Any) -> None:
    first, second = register(context), register(context)
    assert not second["new"]
    assert first["taskDefinition"] == second["taskDefinition"]
    assert revisions() == 1


def test_another_image_or_another_spec_gets_a_revision_of_its_own(context: Any) -> None:
    register(context)
    assert register(context, release=release(image=OTHER_IMAGE))["new"]
    assert register(context, spec=document(definition__memory="4096"))["new"]
    assert revisions() == 3


def test_what_runs_now_is_kept_if_it_is_the_same(context: Any) -> None:
    """Also where somebody registered another revision since."""
    now = register(context)["taskDefinition"]
    register(context, release=release(image=OTHER_IMAGE))
    again = register(context, previous=previous(taskDefinition=now))
    assert again["taskDefinition"] == now
    assert not again["new"]


def test_a_revision_that_is_no_longer_active_is_made_again(context: Any) -> None:
    gone = register(context)["taskDefinition"]
    client("ecs").deregister_task_definition(taskDefinition=gone)
    rendered = register(context, previous=previous(taskDefinition=gone))
    assert rendered["new"]
    assert ecs.revision(rendered["taskDefinition"])


def test_a_revision_of_somebody_else_is_not_taken_for_ours(context: Any) -> None:
    theirs = {"name": "coder", "image": IMAGE, "memory": 512}
    ecs.register({"family": "coder", "containerDefinitions": [theirs]}, {})
    assert register(context)["new"]
