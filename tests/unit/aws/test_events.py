"""Telling the world what became of a release is never worth a failure."""

import json
from typing import Any

import pytest

from deployer.aws import events
from deployer.deploy.release import unidentified
from tests.unit.conftest import Script, refusal
from tests.unit.samples import EXECUTION, push_event, release

TOLD = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}


def test_a_release_is_announced_as_documented(script: Script) -> None:
    script("events", "PutEvents", TOLD)
    events.announce(release(), "SUCCEEDED", "it serves version 2.1.0", "https://coder.example.com")
    ((entry,),) = (request["Entries"] for request in script.requests("PutEvents"))
    assert (entry["Source"], entry["DetailType"]) == ("deployer", "Release State Change")
    assert json.loads(entry["Detail"]) == {
        "service": "coder",
        "id": release()["id"],
        "version": "2.1.0",
        "digest": release()["digest"],
        "trigger": "push",
        "startedBy": "push",
        "startedAt": release()["startedAt"],
        "execution": EXECUTION,
        "state": "SUCCEEDED",
        "reason": "it serves version 2.1.0",
        "url": "https://coder.example.com",
        "builtFrom": None,
        "github": None,
    }


def test_a_commit_is_announced_with_what_github_takes(script: Script) -> None:
    script("events", "PutEvents", TOLD)
    commit = {"revision": "0" * 40, "source": "https://github.com/team/shop"}
    events.announce(release(builtFrom=commit), "FAILED", "password=hunter2 was refused")
    detail = json.loads(script.requests("PutEvents")[0]["Entries"][0]["Detail"])
    assert detail["builtFrom"] == commit
    assert detail["github"]["commitStatus"]["state"] == "failure"
    assert "hunter2" not in json.dumps(detail)


def test_what_was_never_a_release_is_announced_by_what_is_known(script: Script) -> None:
    script("events", "PutEvents", TOLD)
    events.announce(unidentified(push_event(), EXECUTION, "2026-11-23T14:25:04Z"), "FAILED", "why")
    detail = json.loads(script.requests("PutEvents")[0]["Entries"][0]["Detail"])
    assert (detail["service"], detail["version"]) == ("repository:coder", None)


@pytest.mark.parametrize(
    "answer",
    [
        refusal("AccessDeniedException"),
        refusal("ThrottlingException"),
        {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]},
    ],
    ids=["refused", "throttled", "not taken"],
)
def test_an_announcement_that_fails_is_logged_and_nothing_more(
    script: Script, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []
    for level in ("error", "exception"):
        monkeypatch.setattr(events.logger, level, lambda text, **more: logged.append((text, more)))
    script("events", "PutEvents", answer)
    events.announce(release(), "FAILED", "why")
    ((text, more),) = logged
    assert (text, more["state"]) == ("could not announce", "FAILED")
    if isinstance(answer, dict):
        assert more["answer"] == answer["Entries"]


def test_an_announcement_that_arrives_is_not_logged(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("events", "PutEvents", TOLD)
    monkeypatch.setattr(events, "logger", None)
    events.announce(release(), "STARTED", "the lock is free")
    assert len(script.requests("PutEvents")) == 1
