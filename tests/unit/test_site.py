"""A documentation site: its spec, what is asked for it, and its releases."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.deploy import diagnosis, history
from deployer.docs import site
from deployer.docs.addresses import Pair
from deployer.docs.site import Upload
from deployer.errors import RequestRejected, SiteUnknown, SpecInvalid
from deployer.requests import Publish, Rollback

NOW = datetime(2026, 11, 25, 2, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/coder-docs-build"
SPEC: dict[str, Any] = {
    "site": "coder",
    "url": "https://docs.example.com",
    "bucket": "coder-docs-123456789012",
    "distribution": "E1234567890ABC",
    "store": "arn:aws:cloudfront::123456789012:key-value-store/0b1c",
    "build": {"directory": "", "script": "", "output": "", "role": ROLE},
    "keepReleases": 5,
    "mayShrinkTo": 50,
    "trailingSlash": "",
}
UPLOAD = Upload("coder", "sources", "docs/coder/v1.tar.gz", "version-1", NOW)


def event(**stored: Any) -> dict[str, Any]:
    matches = {"key": "docs/coder/v1.tar.gz", "version-id": "version-1", **stored}
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-25T02:00:00Z",
        "detail": {"bucket": {"name": "sources"}, "object": matches},
    }


def test_an_upload_is_read_from_its_event() -> None:
    assert site.parse(event()) == UPLOAD


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "neither an upload's event nor a request"),
        ({"source": "aws.ecr"}, "neither"),
        (event(key="docs/coder/v1.rar"), "docs/<site>/<any name>.tar.gz"),
        (event(key="docs/Coder/v1.zip"), "docs/<site>/"),
        (event(**{"version-id": None}), "version-id"),
        ({"action": "deploy", "image": "1"}, "unknown action 'deploy'"),
        ({"action": "rollback", "to": "v1", "restoreDatabase": True}, "no database"),
    ],
)
def test_what_publishes_nothing_is_refused(document: object, message: str) -> None:
    with pytest.raises(RequestRejected, match=message):
        site.parse(document)


def test_orders_name_a_site() -> None:
    assert site.parse({"action": "publish", "site": "coder"}) == Publish("coder", None)
    command = {"action": "rollback", "site": "coder", "to": "previous", "by": "ann"}
    assert site.parse(command) == Rollback("previous", "coder", "ann", True, None, False)


def test_the_spec_of_a_site_is_found_by_its_name() -> None:
    parameters = {"/deployer/docs/coder": json.dumps(SPEC), "/deployer/docs/other": "{"}
    spec, document = site.from_parameters(parameters, "coder")
    assert (spec.site, spec.timeout, document) == ("coder", 180, SPEC)
    with pytest.raises(SiteUnknown, match="nobody; available: /deployer/docs/coder"):
        site.from_parameters(parameters, "nobody")
    with pytest.raises(RequestRejected, match="name the site"):
        site.from_parameters(parameters, None)
    with pytest.raises(SpecInvalid, match="is not valid JSON"):
        site.from_parameters(parameters, "other")


def test_every_wrong_field_of_a_spec_is_named() -> None:
    wrong = {**SPEC, "keepReleases": 1, "colour": "blue", "build": {"directory": "../x"}}
    with pytest.raises(SpecInvalid) as refused:
        site.from_document(wrong)
    for path in ("keepReleases", "colour", "build.directory"):
        assert path in str(refused.value)


def test_one_upload_is_one_release_however_often_it_is_told_of() -> None:
    one, other = (site.uploaded(UPLOAD, execution, NOW) for execution in ("e1", "e2"))
    assert one["id"] == other["id"] == one["folder"]
    assert (one["service"], one["version"], one["trigger"]) == ("docs:coder", "v1", "push")
    assert (
        site.requested(UPLOAD, None, "e1", NOW)["id"]
        != site.requested(UPLOAD, None, "e2", NOW)["id"]
    )


def live(folder: str) -> Any:
    release = {**site.uploaded(UPLOAD, folder, NOW), "id": folder, "folder": folder}
    return {**release, "outcome": "SUCCEEDED"}


def test_the_live_release_comes_first_and_each_folder_once() -> None:
    past = [live("r2"), live("r3"), live("r2"), live("r1")]
    assert site.kept(past, 2) == ["r2", "r3"]
    assert site.kept(past, 5, live="r4") == ["r4", "r2", "r3", "r1"]
    switch = site.switch(site.kept(past, 5, live="r1"))
    assert switch == [{"Key": "releases", "Value": "r1,r2,r3;0"}]
    assert site.switch([]) == []
    assert site.switch(["r1"], slash=True) == [{"Key": "releases", "Value": "r1;0;/"}]
    assert site.switch(["r1"], None) == [{"Key": "releases", "Value": "r1"}]


def test_a_switch_says_how_much_the_store_holds_for_missing_pages() -> None:
    pairs: list[Pair] = [{"Key": "rules", "Value": "[]"}, {"Key": "0", "Value": "-"}]
    switch = site.switch(["r2", "r1"], pairs)
    assert switch == [{"Key": "releases", "Value": "r2,r1;1"}, *pairs]
    assert site.switched(switch) == ["r2", "r1"]
    assert site.kept([], 5) == []


def test_a_site_rebuilt_from_the_same_sources_is_rolled_back_from() -> None:
    past = [live("r2"), live("r1")]
    assert past[0]["digest"] == past[1]["digest"]
    assert history.target(past, "previous")["id"] == "r1"
    assert history.target(past, "r1")["id"] == "r1"


def test_a_name_that_several_builds_share_rolls_back_to_none_of_them() -> None:
    past = [live("r2"), live("r1")]
    with pytest.raises(RequestRejected, match=r"several releases.*\(r2,.*\(r1,"):
        history.target(past, past[0]["version"])
    back: Any = {**live("r3"), "trigger": "rollback", "folder": "r1", "to": "r1"}
    assert history.target([back, past[1]], past[1]["version"])["folder"] == "r1"


def test_a_rollback_leaves_what_was_built_of_the_same_sources_since() -> None:
    """Also where the release in `to` was left by a rollback before."""
    back: Any = {**live("r3"), "trigger": "rollback", "folder": "r1", "to": "r1"}
    again = {**back, "id": "r5", "execution": "r5"}
    past = [again, live("r4"), back, live("r2"), live("r1")]
    assert [entry["id"] for entry in history.lineage(past)] == ["r5"]


def test_a_rollback_keeps_the_folder_and_a_resumption_gets_its_own() -> None:
    back = site.again(live("r1"), "rollback", "ann", "e", NOW)
    assert (back["folder"], back["to"]) == ("r1", "r1")
    resumed = site.again(live("r1"), "resume", "ann", "e", NOW)
    assert resumed["folder"] == resumed["id"] != "r1"


def test_a_failed_builds_cause_has_the_phase_and_the_lines_that_tell() -> None:
    build = {
        "Logs": {"GroupName": "builds", "StreamName": "1"},
        "Phases": [
            {"PhaseType": "INSTALL", "PhaseStatus": "SUCCEEDED"},
            {
                "PhaseType": "BUILD",
                "PhaseStatus": "FAILED",
                "Contexts": [{"Message": "Error while executing command: pnpm run export"}],
            },
        ],
    }
    failure: diagnosis.Failure = {"Error": "States.TaskFailed", "Cause": json.dumps(build)}
    assert diagnosis.build_log(failure) == ("builds", "1")
    log = ["SyntaxError: Unexpected token", "    at Module._compile", "[Container] failed"]
    result = diagnosis.diagnose_docs_build(failure, log)
    assert result["error"] == "BuildFailed"
    assert result["cause"].startswith("BUILD: Error while executing command: pnpm run export")
    assert "SyntaxError" in result["cause"] and "Module" not in result["cause"]
    other: diagnosis.Failure = {"Error": "CodeBuild.AccessDeniedException", "Cause": "no"}
    assert diagnosis.build_log(other) is None
    result = diagnosis.diagnose_docs_build(other, [])
    assert (result["error"], result["cause"]) == (
        "BuildNotBegun",
        "CodeBuild did not begin a build: no",
    )


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (
            ["> site@1.0.0 postinstall", "> node fail.js", "libvips 8.1 is missing",
             "npm error code 3", "npm error path /codebuild/src", "npm error command failed",
             "npm error command sh -c node fail.js", "npm error A complete log of this run is in"],
            "libvips 8.1 is missing",
        ),
        (
            [". postinstall$ node fail.js", ". postinstall: libvips 8.1 is missing",
             ". postinstall: Failed", " ELIFECYCLE  Command failed with exit code 3."],
            "libvips 8.1 is missing",
        ),
        (
            ["ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with frozen-lockfile", "Note that in CI",
             "  Failure reason:", "  specifiers do not match:", "* 1 was added", "* 1 went"],
            "ERR_PNPM_OUTDATED_LOCKFILE",
        ),
    ],
)  # fmt: skip
def test_a_package_that_is_not_installed_says_why_in_its_own_words(
    log: list[str], told: str
) -> None:
    message = "Error while executing command: npm ci. Reason: exit status 3"
    phase = {"PhaseType": "PRE_BUILD", "PhaseStatus": "FAILED", "Contexts": [{"Message": message}]}
    build = {"Id": "b:1", "BuildStatus": "FAILED", "Phases": [phase]}
    failure: diagnosis.Failure = {
        "Error": "States.TaskFailed",
        "Cause": json.dumps({"Build": build}),
    }
    cause = diagnosis.diagnose_docs_build(failure, log)["cause"]
    assert told in cause
    assert "A complete log" not in cause


def test_a_site_gets_only_secrets_of_its_own() -> None:
    def secrets(named: str) -> object:
        return site.from_document({**SPEC, "build": {"secrets": named}}).build.secrets

    both = {"A": "docs/coder/a:token", "B": "docs/coder/b"}
    assert secrets("A=docs/coder/a:token,B=docs/coder/b") == both
    for wrong in ("A=docs/other/a", "A=coder/database-url", "A", "A=docs/coder/a,"):
        with pytest.raises(SpecInvalid, match="secrets"):
            secrets(wrong)


def test_a_sites_builds_run_in_its_own_role_only() -> None:
    assert site.build_role(site.from_document(SPEC)) == ROLE
    for wrong in ("coder", ROLE.replace("coder", "shop"), f"{ROLE}-2"):
        with pytest.raises(SpecInvalid, match=r"build\.role"):
            site.from_document({**SPEC, "build": {"role": wrong}})
    with pytest.raises(SpecInvalid, match="site coder has no role for its builds"):
        site.build_role(site.from_document({**SPEC, "build": {}}))
