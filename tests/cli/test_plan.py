"""What a dry run shows."""

from types import SimpleNamespace
from typing import Any

import pytest

from cli import plan
from cli.errors import REJECTED, WRONG
from cli.plan import rows
from deployer.deploy.spec import OneOff
from deployer.deploy.task_definitions import Change
from deployer.errors import ImageMissing, RequestRejected
from tests.cli.documents import check


@pytest.mark.parametrize(
    ("error", "there", "code"),
    [
        (ImageMissing("9.9.9 is not in repository coder"), False, WRONG),
        (ImageMissing("1.0.0 cannot be deployed: it is for linux/arm64"), True, REJECTED),
        (RequestRejected("image 'not/a tag' is neither"), False, WRONG),
    ],
)
def test_an_image_that_cannot_run_is_refused_and_one_that_is_missing_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, error: Any, there: bool, code: int
) -> None:
    monkeypatch.setattr(
        "deployer.aws.ecr.find", lambda repository, image: object() if there else None
    )
    target: Any = SimpleNamespace(spec=SimpleNamespace(repository="coder"))
    assert plan.refused(target, "1.0.0", error).code == code


def test_what_others_wrote_steers_no_terminal() -> None:
    ((what, before, after),) = rows([Change("environment A", None, "\x1b[2Jgone")])
    assert (what, before) == ("environment A", "-")
    assert "gone" in after and "\x1b" not in after


def test_the_tasks_before_and_after_the_rollout_are_named() -> None:
    migrate = OneOff(("migrate", "--url", "postgres://u:hunter2hunter2@db/app"), "app", 60)
    planned: Any = SimpleNamespace(before=migrate, after=None)
    ((name, text),) = plan._tasks(planned)
    assert name == "before"
    assert text.startswith("a task would run: migrate --url postgres://u:***@")
    assert text.endswith(" in container app, 60 s at most")
    document = plan._one_off_document(migrate)
    check("oneOff", document)
    assert "hunter2" not in repr(document)
    assert plan._one_off_document(None) is None
