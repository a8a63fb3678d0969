"""Builds as values: what an input asks for, which build it is, and why one failed."""

from datetime import timedelta
from typing import Any

import pytest

from deployer.build import image_build
from deployer.build.image_build import Fetch, Source, Upload
from deployer.errors import RequestRejected
from tests.unit.samples import ANOTHER_EXECUTION, EXECUTION, NOW, spec

KEY = "image/coder/source.tar.gz"
SOURCE: Source = {
    "key": KEY,
    "version": "v1",
    "etag": "ab" * 16,
    "size": 1000,
    "at": NOW.isoformat(),
}


def event(key: str = KEY, **matches: Any) -> dict[str, Any]:
    matches = {"key": key, "size": 1000, "etag": "ab" * 16, "version-id": "v1"} | matches
    return {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {"bucket": {"name": "sources"}, "object": matches},
    }


def entry(**source: Any) -> image_build.Build:
    return image_build.entry(Upload("coder", KEY, "v1", None), {**SOURCE, **source}, EXECUTION, NOW)  # type: ignore[typeddict-item]


# what an input asks for


def test_an_upload_names_its_service_by_its_folder() -> None:
    assert image_build.parse(event()) == Upload("coder", KEY, "v1", None)
    unversioned = event()
    del unversioned["detail"]["object"]["version-id"]
    assert image_build.parse(unversioned) == Upload("coder", KEY, None, None)


def test_an_order_names_an_archive_or_a_commit() -> None:
    command = {"action": "build", "service": "coder"}
    assert image_build.parse({**command, "key": KEY}) == Upload("coder", KEY, None, "operator")
    assert image_build.parse({**command, "key": KEY, "by": "ada"}) == Upload(
        "coder", KEY, None, "ada"
    )
    assert image_build.parse({**command, "commit": "e0f93fb88"}) == Fetch("coder", "e0f93fb88")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("image/coder/x.zip", "must be an object, not str"),
        ({}, "neither S3's 'Object Created' nor a request"),
        ({"detail-type": "Object Created", "detail": {}}, "has no object"),
        (event("image/x.zip"), "upload to image/<service>/<archive>"),
        (event("image/coder/deep/x.zip"), "upload to image/<service>/<archive>"),
        ({"action": "deploy", "service": "coder", "key": KEY}, "a request to build is"),
        ({"action": "build", "service": "coder"}, "a request to build is"),
        ({"action": "build", "service": "a", "key": KEY, "commit": "e0f93fb"}, "a request to"),
        ({"action": "build", "service": "a", "key": KEY, "force": True}, "a request to"),
        ({"action": "build", "service": "other", "key": KEY}, "is not an archive of other"),
        ({"action": "build", "service": "coder", "commit": "main"}, "7 to 40 hex digits"),
    ],
)
def test_what_asks_for_nothing_is_refused_with_an_example(document: Any, why: str) -> None:
    with pytest.raises(RequestRejected, match=why):
        image_build.parse(document)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"key": "image/coder/notes.txt"}, "must end in .tar.gz"),
        ({"size": 0}, "is empty"),
        ({"size": 6 * 1024**3}, "6.0 GiB; the limit is 5 GiB"),
    ],
)
def test_what_is_no_archive_is_refused_before_a_build_is_paid_for(change: Any, why: str) -> None:
    assert why in str(image_build.refusal({**SOURCE, **change}))
    assert image_build.refusal(SOURCE) is None


# which build it is


def test_the_same_upload_is_the_same_build_and_an_order_is_a_new_one() -> None:
    again = image_build.entry(Upload("coder", KEY, "v1", None), SOURCE, ANOTHER_EXECUTION, NOW)
    requested = image_build.entry(Upload("coder", KEY, None, "ada"), SOURCE, EXECUTION, NOW)
    assert entry()["id"] == again["id"] != requested["id"]
    assert (entry()["service"], entry()["trigger"]) == ("build:coder", "push")
    assert (requested["trigger"], requested["startedBy"]) == ("deploy", "ada")


def test_the_content_is_the_commit_that_the_archive_is_named_after_or_its_tag() -> None:
    commit = "e0f93fb88" + "0" * 31
    named = Upload("coder", f"image/coder/{commit}.tar.gz", None, None)
    assert image_build.entry(named, SOURCE, EXECUTION, NOW)["content"] == commit
    assert entry()["content"] == SOURCE["etag"]


@pytest.mark.parametrize(
    ("outcome", "known"),
    [({"outcome": "SUCCEEDED"}, "was built before"), ({}, "is being built"), (None, None)],
)
def test_content_is_built_once_unless_that_failed(outcome: Any, known: str | None) -> None:
    earlier: Any = {**entry(), **(outcome if outcome is not None else {"outcome": "FAILED"})}
    output = image_build.already_built(earlier, entry(), [earlier])
    assert output is None if known is None else known in str(output)
    assert image_build.already_built(earlier, {**entry(), "trigger": "deploy"}, [earlier]) is None


def test_content_that_is_being_built_is_built_again_after_other_content() -> None:
    """The first build is stopped for the second upload, and then the third would be missing."""
    first, second, third = (
        {**entry(at=(NOW + timedelta(seconds=n)).isoformat()), "id": str(n)} for n in range(3)
    )
    history: Any = [third, first]
    assert image_build.already_built(history[1], third, history)  # type: ignore[arg-type]
    history.insert(1, second)
    assert image_build.already_built(history[2], third, history) is None  # type: ignore[arg-type]


def test_only_a_newer_upload_overtakes() -> None:
    later = entry(at=(NOW + timedelta(seconds=1)).isoformat())
    assert image_build.overtakes(later, entry())
    assert not image_build.overtakes(entry(), later)
    assert not image_build.overtakes(later, {**entry(), "trigger": "deploy"})
    record: Any = later
    ignored: Any = {**later, "outcome": "IGNORED"}
    assert image_build.newer(entry(), [ignored]) is None
    assert image_build.newer(entry(), [record]) == record


@pytest.mark.parametrize(
    ("phases", "may"),
    [(["BUILD"], True), (["BUILD", "POST_BUILD"], False), ([], True)],
)
def test_a_build_may_be_stopped_until_it_pushes(phases: list[str], may: bool) -> None:
    begun = [{"phaseType": phase} for phase in phases]
    current = phases[-1] if phases else "QUEUED"
    assert image_build.may_be_stopped({"phases": begun, "currentPhase": current}) is may


def test_the_tools_have_a_name_for_each_version_of_them() -> None:
    one, other = {"a": b"1", "b": b"2"}, {"a": b"12", "b": b""}
    assert image_build.fingerprint(one) == image_build.fingerprint(dict(reversed(one.items())))
    assert image_build.fingerprint(one) != image_build.fingerprint(other)


def test_the_buildspec_is_told_by_the_service_spec() -> None:
    coder = spec(preset="coder")
    output = {
        v["Name"]: v["Value"] for v in image_build.variables(coder, SOURCE, "bucket", EXECUTION)
    }
    assert output["REPOSITORY"] == "coder"
    assert output["ARCHITECTURE"] == "amd64"
    assert output["MODE"] == "nix"
    assert output["BUILD_COMMAND"] == "make build/coder_linux_$ARCHITECTURE"
    assert output["SOURCE_KEY"] == KEY
    docker = {"mode": "docker", "version": "cat VERSION", "baseImage": f"base@sha256:{'0' * 64}"}
    output = {
        v["Name"]: v["Value"]
        for v in image_build.variables(spec(build=docker), SOURCE, "bucket", EXECUTION)
    }
    assert (output["VERSION_COMMAND"], output["BUILD_COMMAND"]) == ("cat VERSION", "")
    assert output["IMAGE_COMMAND"].startswith("docker build")
    assert output["BASE_IMAGE"] == docker["baseImage"]


@pytest.mark.parametrize(
    ("changes", "architecture"),
    [
        ({}, "amd64"),
        ({"definition__runtimePlatform__cpuArchitecture": "ARM64"}, "arm64"),
        ({"build": {"platform": "linux/arm64"}}, "arm64"),
        ({"taskDefinition": "coder"}, "amd64"),
        ({"taskDefinition": "coder", "build": {"platform": "linux/arm64"}}, "arm64"),
    ],
)
def test_an_image_is_built_for_the_platform_that_the_spec_says(
    changes: dict[str, Any], architecture: str
) -> None:
    variables = image_build.variables(spec(**changes), SOURCE, "bucket", EXECUTION)
    output = {one["Name"]: one["Value"] for one in variables}
    assert output["ARCHITECTURE"] == architecture


# what became of it


def finished(status: str, phase: str = "BUILD", **exported: str) -> dict[str, Any]:
    context = {"StatusCode": "COMMAND_EXECUTION_ERROR", "Message": "exit status 1"}
    return {
        "Arn": "arn:aws:codebuild:us-east-1:123456789012:build/p:1",
        "BuildStatus": status,
        "TimeoutInMinutes": 90,
        "Logs": {"DeepLink": "https://console"},
        "ExportedEnvironmentVariables": [
            {"Name": name, "Value": value} for name, value in exported.items()
        ],
        "Phases": [
            {"PhaseType": "INSTALL", "PhaseStatus": "SUCCEEDED", "DurationInSeconds": 30},
            {
                "PhaseType": phase,
                "PhaseStatus": "SUCCEEDED" if status == "SUCCEEDED" else "FAILED",
                "DurationInSeconds": 60,
                "Contexts": [context],
            },
            {"PhaseType": "COMPLETED"},
        ],
    }


def test_what_was_made_is_what_the_build_exported() -> None:
    exported = {"VERSION": "1.0", "TAG": "1.0", "DIGEST": "sha256:0", "COMMIT": "e0f93fb88"}
    result = image_build.result(finished("SUCCEEDED", **exported, OUTCOME="PUSHED"))
    assert result["durations"] == {"INSTALL": 30, "BUILD": 60}
    assert (result["version"], result["digest"], result["log"]) == (
        "1.0",
        "sha256:0",
        "https://console",
    )
    assert (
        image_build.summary("coder", result)
        == "coder 1.0 was built from e0f93fb88 and pushed in 90 s"
    )
    skipped = image_build.result(finished("SUCCEEDED", **exported, OUTCOME="SKIPPED"))
    assert (
        image_build.summary("coder", skipped)
        == "coder 1.0 is in ECR already, built from the same content"
    )


LOG = [
    "[Container] Running command python3 image.py build",
    "downloading modules",
    "server/main.go:12:5: syntax error: unexpected newline",
    "make: *** [Makefile:3: build/coder_linux_amd64] Error 2",
    "image: BuildFailed: the build command failed (2): make build/coder_linux_amd64",
]


def test_a_compile_error_is_told_by_its_line_and_not_tried_again() -> None:
    result = image_build.diagnose(finished("FAILED"), LOG)
    assert (result["error"], result["again"]) == ("BuildFailed", False)
    assert result["lines"] == LOG[2:4]
    assert image_build.reason(result) == (
        "the build command failed (2): make build/coder_linux_amd64. "
        "server/main.go:12:5: syntax error: unexpected newline"
    )


def test_where_no_line_speaks_of_an_error_the_last_one_tells() -> None:
    log = ["INFO: no tags here", "make: *** No rule to make target 'server.py'.  Stop.", LOG[-1]]
    assert image_build.reason(image_build.diagnose(finished("FAILED"), log)) == (
        "the build command failed (2): make build/coder_linux_amd64. "
        "make: *** No rule to make target 'server.py'.  Stop."
    )


@pytest.mark.parametrize(
    ("status", "phase", "lines", "error", "again"),
    [
        ("FAILED", "POST_BUILD", ["image: PushInterrupted: gone"], "PushInterrupted", True),
        ("FAILED", "INSTALL", ["image: AwsUnavailable: 503"], "AwsUnavailable", True),
        ("FAILED", "PROVISIONING", [], "BuildNotBegun", True),
        ("FAULT", "BUILD", [], "BuildNotBegun", True),
        ("FAILED", "PRE_BUILD", ["image: VersionRefused: used"], "VersionRefused", False),
        ("FAILED", "INSTALL", ["curl: (6) no such host"], "BuildFailed", False),
        ("TIMED_OUT", "BUILD", ["still linking"], "BuildTimedOut", False),
        ("STOPPED", "BUILD", [], "BuildStopped", False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(
    status: str, phase: str, lines: list[str], error: str, again: bool
) -> None:
    result = image_build.diagnose(finished(status, phase), lines)
    assert (result["error"], result["again"]) == (error, again)


def test_lines_that_matter_are_few_short_and_without_credentials() -> None:
    log = [f"step {n}" for n in range(50)]
    assert image_build.telling(log) == log[-12:]
    output = image_build.telling(
        [*log, "fatal: https://ada:hunter2@github.com/x not found", "x" * 1000]
    )
    assert output == ["fatal: https://ada:***@github.com/x not found"]
    assert len(image_build.telling(["error " + "x" * 1000])[0]) == 300


def test_an_input_that_cannot_be_read_is_filed_under_its_service() -> None:
    filed = image_build.unidentified(event(), EXECUTION, NOW.isoformat())
    assert filed["service"] == "build:coder"
    assert image_build.unidentified([], EXECUTION, NOW.isoformat())["service"] == "build:unknown"
