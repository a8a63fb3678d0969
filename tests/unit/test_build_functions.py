"""The functions of the Build machine: identified, stopped, diagnosed, recorded, closed."""

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

import diagnose_image_build
import identify_source
import record_build
import stop_older_build
from deployer.aws import client
from deployer.build import image_build
from deployer.build.image_build import Upload
from deployer.errors import RequestRejected, SourcesRejected
from deployer.store import locks, releases
from tests.unit.conftest import Script
from tests.unit.samples import ANOTHER_EXECUTION, EXECUTION, NOW, document
from tests.unit.test_image_build import KEY, SOURCE, event, finished

pytestmark = pytest.mark.usefixtures("releases_table")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "SOURCES": "sources",
        "FETCH_PROJECT": "",
        "FETCH_SERVICE": "coder",
    }.items():
        monkeypatch.setenv(name, value)
    client("s3").create_bucket(Bucket="sources")
    client("s3").put_bucket_versioning(
        Bucket="sources", VersioningConfiguration={"Status": "Enabled"}
    )
    client("ssm").put_parameter(
        Name="/deployer/services/coder", Value=json.dumps(document()), Type="String"
    )
    return "sources"


def uploaded(content: bytes = b"archive", key: str = KEY) -> dict[str, Any]:
    answer = client("s3").put_object(Bucket="sources", Key=key, Body=content)
    return event(key, **{"version-id": answer["VersionId"]})


def identify(given: Any, context: Any, execution: str = EXECUTION) -> Any:
    request = {"input": given, "execution": execution, "startedAt": NOW.isoformat()}
    return identify_source.handler(request, context)  # type: ignore[arg-type]


def test_an_upload_is_opened_and_its_tools_are_where_codebuild_finds_them(
    bucket: str, context: Any
) -> None:
    result = identify(uploaded(), context)
    assert result["decision"] == "BUILD"
    output = {variable["Name"]: variable["Value"] for variable in result["variables"]}
    assert (output["SOURCE_KEY"], output["EXECUTION"]) == (KEY, EXECUTION)
    folder = result["tools"].partition("/")[2]
    for name in ("image.yaml", "image.py"):
        assert client("s3").get_object(Bucket=bucket, Key=folder + name)["Body"].read()
    record = releases.of_execution(EXECUTION)
    assert record and record["service"] == "build:coder" and "outcome" not in record


def test_the_same_content_is_built_once_and_again_when_that_failed(
    bucket: str, context: Any
) -> None:
    first = identify(uploaded(), context)
    again = identify(uploaded(), context, ANOTHER_EXECUTION)
    if again["release"]["id"] != first["release"]["id"]:  # in another second
        assert again["decision"] == "NOTHING"
        assert releases.find("build:coder", again["release"]["id"])["outcome"] == "IGNORED"  # type: ignore[index]
    releases.close_release(first["release"], "FAILED", {"endedAt": NOW.isoformat()})
    command = {"action": "build", "service": "coder", "key": KEY}
    assert identify(command, context, f"{EXECUTION}-3")["decision"] == "BUILD"


@pytest.mark.parametrize(
    ("content", "key", "why"),
    [(b"", KEY, "is empty"), (b"x", "image/coder/notes.txt", "must end in .tar.gz")],
)
def test_what_cannot_be_built_is_rejected(
    bucket: str, context: Any, content: bytes, key: str, why: str
) -> None:
    with pytest.raises(SourcesRejected, match=why):
        identify(uploaded(content, key), context)


def test_an_object_that_is_gone_is_said_so(bucket: str, context: Any) -> None:
    with pytest.raises(SourcesRejected, match="is not in the bucket sources"):
        identify(event(**{"version-id": "gone"}), context)


def test_a_commit_is_fetched_where_a_repository_is_connected(
    bucket: str, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = {"action": "build", "service": "coder", "commit": "e0f93fb88"}
    with pytest.raises(RequestRejected, match="no repository of coder is connected"):
        identify(command, context)
    monkeypatch.setenv("FETCH_PROJECT", "deployer-FetchSource")
    result = identify(command, context)
    assert (result["decision"], result["project"]) == ("FETCH", "deployer-FetchSource")
    assert result["commit"] == "e0f93fb88"


def mine(minute: int = 0, execution: str = EXECUTION) -> image_build.Build:
    at = NOW.replace(minute=minute)
    source = {**SOURCE, "at": at.isoformat()}
    return image_build.entry(Upload("coder", KEY, "v1", None), source, execution, at)  # type: ignore[arg-type]


def opened(minute: int = 0, execution: str = EXECUTION) -> image_build.Build:
    result = mine(minute, execution)
    releases.open_release(result)
    assert locks.acquire(result["service"], claim_of(result))
    return result


def claim_of(document: image_build.Build) -> Any:
    return {
        "release": document["id"],
        "execution": document["execution"],
        "trigger": document["trigger"],
        "pushedAt": document["pushedAt"],
        "since": document["startedAt"],
    }


def running(phase: str, execution: str) -> dict[str, Any]:
    variable = {"name": "EXECUTION", "value": execution, "type": "PLAINTEXT"}
    return {
        "id": "p:1",
        "buildStatus": "IN_PROGRESS",
        "currentPhase": phase,
        "phases": [{"phaseType": phase}],
        "environment": {
            "environmentVariables": [variable],
            "type": "LINUX_CONTAINER",
            "image": "i",
            "computeType": "BUILD_GENERAL1_SMALL",
        },
    }


@pytest.mark.parametrize(
    ("phase", "of", "minute", "stopped"),
    [
        ("BUILD", EXECUTION, 5, True),
        ("POST_BUILD", EXECUTION, 5, False),
        ("BUILD", ANOTHER_EXECUTION, 5, False),
        ("BUILD", EXECUTION, 0, False),
    ],
)
def test_a_newer_upload_stops_the_build_of_the_holder_that_has_not_pushed(
    script: Script,
    context: Any,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    of: str,
    minute: int,
    stopped: bool,
) -> None:
    monkeypatch.setenv("PROJECT", "deployer-ImageBuild")
    opened(1)
    script("codebuild", "ListBuildsForProject", {"ids": ["p:1"]})
    script("codebuild", "BatchGetBuilds", {"builds": [running(phase, of)]})
    script("codebuild", "StopBuild", {})
    newer = mine(minute, ANOTHER_EXECUTION)
    answer = stop_older_build.handler({"release": newer, "execution": ANOTHER_EXECUTION}, context)
    assert answer == {"stopped": "p:1" if stopped else None}
    assert len(script.requests("StopBuild")) == stopped


def test_nothing_is_stopped_where_nothing_runs(
    script: Script, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT", "deployer-ImageBuild")
    request: Any = {"release": mine(5), "execution": EXECUTION}
    assert stop_older_build.handler(request, context) == {"stopped": None}
    opened(1, ANOTHER_EXECUTION)
    script("codebuild", "ListBuildsForProject", {})
    assert stop_older_build.handler(request, context) == {"stopped": None}


def test_the_lines_of_the_builds_own_log_are_read(script: Script, context: Any) -> None:
    failed = finished("FAILED")
    failed["Logs"] |= {"GroupName": "/builds", "StreamName": "one"}
    line = {"message": "image: SourcesRejected: it is empty", "timestamp": 1, "ingestionTime": 1}
    script("logs", "GetLogEvents", {"events": [line]})
    failure: Any = {"Error": "States.TaskFailed", "Cause": json.dumps({"Build": failed})}
    result = diagnose_image_build.handler({"failure": failure, "execution": EXECUTION}, context)
    assert result["diagnosis"]["error"] == "SourcesRejected"
    assert result["build"] == failed
    assert script.requests("GetLogEvents")[0]["logStreamName"] == "one"


@pytest.mark.parametrize(
    ("error", "cause", "says"),
    [
        (
            "CodeBuild.AccountLimitExceededException",
            "Cannot have more than 0 builds in queue for the account (Service: AWSCodeBuild;"
            " Status Code: 400; Error Code: AccountLimitExceededException)",
            "0 builds in queue.*service-quotas",
        ),
        ("CodeBuild.ResourceNotFoundException", "Project cannot be found", "deploy the deployer's"),
        ("CodeBuild.CodeBuildException", "", "CodeBuild.CodeBuildException"),
        ("CodeBuild.InvalidInputException", '{"quoted": "json"}', "quoted"),
        ("CodeBuild.SdkClientException", '["a list"]', "a list"),
    ],
)
def test_an_error_of_startbuild_itself_is_no_failed_build(
    context: Any, announced: Any, error: str, cause: str, says: str
) -> None:
    failure: Any = {"Error": error, "Cause": cause}
    result = diagnose_image_build.handler({"failure": failure, "execution": EXECUTION}, context)
    assert result["build"] is None
    assert result["diagnosis"]["error"] == "BuildNotBegun"
    assert not result["diagnosis"]["again"]
    answer = record(context, release=opened(), failure=failure, diagnosis=result["diagnosis"])
    assert answer["error"] == "BuildNotBegun"
    assert re.search(says, answer["cause"])
    # a fetch that CodeBuild did not begin is recorded without a diagnosis of its own
    assert re.search(says, record(context, failure=failure)["cause"])


def test_a_failed_fetch_is_recorded_in_words(context: Any, announced: Any) -> None:
    failure = {"Error": "States.TaskFailed", "Cause": json.dumps({"Build": finished("FAILED")})}
    assert record(context, failure=failure)["cause"] == "exit status 1"


@pytest.fixture
def announced(script: Script) -> Iterator[Any]:
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    yield lambda: [
        json.loads(request["Entries"][0]["Detail"])["state"]
        for request in script.requests("PutEvents")
    ]


def record(context: Any, **given: Any) -> Any:
    request = {
        "input": event(),
        "release": None,
        "build": None,
        "diagnosis": None,
        "failure": None,
        "execution": EXECUTION,
        "startedAt": NOW.isoformat(),
    }
    return record_build.handler({**request, **given}, context)  # type: ignore[typeddict-item]


def test_a_build_that_pushed_is_recorded_and_gives_its_turn_up(
    context: Any, announced: Any
) -> None:
    result = opened()
    exported = {"VERSION": "1.0", "TAG": "1.0", "DIGEST": "sha256:0", "COMMIT": "e0f9"}
    answer = record(context, release=result, build=finished("SUCCEEDED", **exported))
    assert answer["outcome"] == "SUCCEEDED"
    kept: Any = releases.find(result["service"], result["id"])
    assert (kept["version"], kept["digest"], kept["commit"]) == ("1.0", "sha256:0", "e0f9")
    assert kept["durations"] == {"INSTALL": 30, "BUILD": 60}
    assert locks.queue(result["service"]).holder is None
    assert announced() == ["SUCCEEDED"]


def test_a_failed_build_is_recorded_with_its_diagnosis(context: Any, announced: Any) -> None:
    created, failure = opened(), {"Error": "States.TaskFailed", "Cause": "{}"}
    result = image_build.diagnose(finished("FAILED"), ["main.go:1:1: syntax error"])
    answer = record(
        context, release=created, build=finished("FAILED"), diagnosis=result, failure=failure
    )
    assert answer == {
        "outcome": "FAILED",
        "error": "BuildFailed",
        "cause": "exit status 1. main.go:1:1: syntax error",
    }
    kept: Any = releases.find(created["service"], created["id"])
    assert kept["diagnosis"]["lines"] == ["main.go:1:1: syntax error"]
    assert announced() == ["FAILED"]


def test_a_build_stopped_for_a_newer_one_is_superseded_else_failed(
    context: Any, announced: Any
) -> None:
    created, failure = opened(), {"Error": "States.TaskFailed", "Cause": "{}"}
    result = image_build.diagnose(finished("STOPPED"), [])
    newer = mine(20, ANOTHER_EXECUTION)
    releases.open_release(newer)
    answer = record(
        context, release=created, build=finished("STOPPED"), diagnosis=result, failure=failure
    )
    assert answer["outcome"] == "SUPERSEDED"
    kept: Any = releases.find(created["service"], created["id"])
    assert kept["by"] == newer["id"]
    alone = record(
        context, release=newer, build=finished("STOPPED"), diagnosis=result, failure=failure
    )
    assert (alone["outcome"], alone["error"]) == ("FAILED", "BuildStopped")


def test_a_failure_before_anything_was_known_is_recorded_too(context: Any, announced: Any) -> None:
    cause = json.dumps({"errorMessage": "no service spec names service 'coder'"})
    answer = record(context, failure={"Error": "ServiceUnknown", "Cause": cause})
    assert answer["error"] == "ServiceUnknown"
    assert answer["cause"] == "no service spec names service 'coder'"
    (kept,) = boto3.resource("dynamodb").Table("releases").scan()["Items"]
    assert (kept["service"], kept["outcome"]) == ("build:coder", "FAILED")
