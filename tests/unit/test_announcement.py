"""What people read of a release: whole, readable, and under a subject that SNS takes."""

from typing import Any

import pytest

import send_announcement
from deployer.deploy.announcement import announcement
from tests.unit.conftest import Script

LINES = [f'{n}: "level":"error" \\ {{"path": "/a"}} <html> {"x" * 60}\tünïcode' for n in range(50)]
REASON = 'the tasks stopped: exit code 1, "panic: no such host"\n' + "\n".join(LINES)
DETAIL = {
    "service": "coder",
    "id": "20261123T142502Z-3f2a9c1b7d10",
    "version": "1.2.0",
    "digest": "sha256:abc",
    "trigger": "push",
    "startedBy": "push",
    "startedAt": "2026-11-23T14:25:04.123Z",
    "execution": "arn:aws:states:us-east-1:123456789012:execution:deployer-Deploy:one",
    "state": "FAILED_ROLLED_BACK",
    "reason": REASON,
    "url": None,
}
NOTHING = dict.fromkeys(DETAIL) | {"state": "FAILED", "service": "repository:coder", "reason": ""}


def test_a_reason_arrives_whole_and_as_it_was_written(
    script: Script, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With quotes, backslashes and line ends, 4 kB of it."""
    assert len(REASON) > 4000
    monkeypatch.setenv("TOPIC", "arn:aws:sns:us-east-1:123456789012:releases")
    script("sns", "Publish", {"MessageId": "1"})
    send_announcement.handler({"detail": DETAIL}, context)
    (request,) = script.requests("Publish")
    assert request["TopicArn"].endswith(":releases")
    assert request["Subject"] == "coder 1.2.0 failed and was rolled back"
    headline, _, rest = request["Message"].partition("\n\n")
    assert headline == request["Subject"]
    assert rest.startswith(REASON)
    assert "Execution: arn:aws:states:" in rest and "URL" not in rest


@pytest.mark.parametrize(
    "state", ["STARTED", "SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK", "SUPERSEDED", "HELD"]
)
def test_every_state_is_said_in_words_and_by_its_name(state: str) -> None:
    message = announcement(DETAIL | {"state": state})
    assert state not in message.subject
    assert f"State: {state}" in message.text


def test_what_is_not_known_is_left_out() -> None:
    message = announcement(NOTHING)
    assert message.subject == "repository:coder failed"
    assert "None" not in message.text
    assert announcement(DETAIL | {"state": "NEW"}).subject == "coder 1.2.0 NEW"


def test_who_ordered_it_is_named() -> None:
    assert "Started by: push\n" in announcement(DETAIL).text
    by_hand = announcement(DETAIL | {"startedBy": "ada", "trigger": "manual"})
    assert "Started by: ada (manual)\n" in by_hand.text


@pytest.mark.parametrize("version", ["v" * 200, "1.0\n2", "1\x000", "größer-✓"])
def test_a_subject_is_one_that_sns_takes(version: str) -> None:
    """Printable ASCII without line breaks, below 100 characters.

    https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
    """
    subject = announcement(DETAIL | {"version": version}).subject
    assert subject.isascii() and subject.isprintable() and len(subject) < 100
    assert subject.startswith("coder ")


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"deployed": False}, "coder 1.2.0 runs already; nothing was deployed"),
        ({"deployed": True}, "coder 1.2.0 is live"),
        ({"service": "build:coder"}, "build:coder 1.2.0 is in ECR"),
        ({"service": "docs:coder"}, "docs:coder 1.2.0 is live"),
        (
            {"trigger": "hold", "version": "", "reason": "held: release freeze"},
            "coder is held: release freeze",
        ),
    ],
)
def test_only_what_was_deployed_is_called_live(changes: Any, subject: str) -> None:
    assert announcement(DETAIL | {"state": "SUCCEEDED", **changes}).subject == subject
