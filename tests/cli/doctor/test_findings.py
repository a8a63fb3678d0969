"""What `deployer doctor` says of what it found; the surroundings have their own tests."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from cli.doctor import findings
from deployer.check import FAILED, OK, WARNING, Check
from deployer.deploy import task_definitions
from deployer.deploy.verification import Answer
from deployer.presets import named
from tests.unit.samples import (
    DIGEST,
    IMAGE,
    NOW,
    OLD_REVISION,
    REVISION,
    config,
    crashed,
    document,
    image,
    manifest,
    ours,
    recorded,
    service,
    spec,
)

CODER, NONE = named("coder"), named(None)
WANTED = document(one__image=IMAGE)["taskDefinition"]


def states(described: Iterable[Check]) -> list[str]:
    checks = list(described)
    for check in checks:
        assert check.state != FAILED or (check.fix and check.finding), check
    return [check.state for check in checks]


FLYING = {key: value for key, value in recorded().items() if key != "outcome"}


@pytest.mark.parametrize(
    ("described", "past", "expected"),
    [
        (None, [], OK),
        (None, [recorded()], FAILED),
        (service(ours(), desiredCount=0, runningCount=0), [], WARNING),
        (service(ours()), [recorded()], OK),
        (service(ours(), runningCount=0), [recorded()], FAILED),
        (service(ours(rolloutState="IN_PROGRESS"), runningCount=0), [FLYING], WARNING),
        (service(ours(rolloutState="IN_PROGRESS"), runningCount=0), [recorded()], FAILED),
    ],
    ids=[
        *("never deployed", "deleted", "scaled to zero", "runs", "does not run"),
        *("a release on its way", "tasks replaced for no release"),
    ],
)
def test_the_service_runs_its_tasks(described: Any, past: Any, expected: str) -> None:
    assert states(findings.service(spec(), described, past)) == [expected]


def test_tasks_that_failed_say_why_as_a_failed_release_does() -> None:
    log = ["error: connect to postgres failed: dial tcp 10.0.1.5:5432: i/o timeout"]
    (check,) = findings.tasks(service(ours(), runningCount=0), [crashed()], log, NOW, CODER)
    assert (check.state, check.evidence) == (FAILED, tuple(log))
    assert "database-unreachable" in check.finding and "5432" in check.fix[0]


def test_tasks_that_failed_while_others_run() -> None:
    assert states(findings.tasks(service(ours()), [], [], NOW, CODER)) == [OK]
    just_now, long_ago = crashed(), crashed(stoppedAt=NOW - timedelta(minutes=20))
    assert states(findings.tasks(service(ours()), [long_ago, just_now], [], NOW, CODER)) == [FAILED]
    assert states(findings.tasks(service(ours()), [long_ago], [], NOW, CODER)) == [WARNING]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("serving", OK),
        ("Using built-in PostgreSQL (/x)", FAILED),
        ("Opening tunnel so workspaces can connect", FAILED),
        ("pq: dial tcp 10.0.1.5:5432: i/o timeout", WARNING),
    ],
)
def test_the_log_of_what_runs(line: str, expected: str) -> None:
    assert states(findings.log([line], CODER)) == [expected]


def test_no_credential_is_told_with_a_log_line() -> None:
    (check,) = findings.log(["postgres://app:hunter2@db:5432/app: i/o timeout"], CODER)
    assert "hunter2" not in str(check)


# answers


def answer(body: str = "OK", status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, body.encode())


def told(**changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "/healthz": answer(),
        "/api/v2/buildinfo": answer(json.dumps({"version": "v2.1.0", "deployment_id": "d1"})),
        "/api/v2/users/first": answer(),
    }
    return result | changes


BEFORE = {"/api/v2/buildinfo#deployment_id": "d1", "/api/v2/users/first": "200"}
OTHER = answer(json.dumps({"version": "v2.1.0", "deployment_id": "d2"}))
OLDER = answer(json.dumps({"version": "v1.0.0", "deployment_id": "d1"}))


@pytest.mark.parametrize(
    ("requested", "before", "expected"),
    [
        (told(), BEFORE, [OK]),
        (told(**{"/healthz": None}), BEFORE, [FAILED]),
        (told(**{"/healthz": answer(status=503)}), BEFORE, [FAILED]),
        (told(**{"/api/v2/buildinfo": OLDER}), BEFORE, [FAILED]),
        (told(**{"/api/v2/buildinfo": OTHER}), BEFORE, [FAILED]),
        (told(**{"/api/v2/users/first": answer(status=404)}), BEFORE, [FAILED, OK]),
        (told(**{"/api/v2/users/first": answer(status=404)}), {}, [WARNING, OK]),
        (told(**{"/api/v2/users/first": answer(status=500)}), BEFORE, [OK]),
    ],
    ids=[
        *("right", "silent", "unhealthy", "another version", "other data"),
        *("users are gone", "no user yet", "a probe that fails for now"),
    ],
)
def test_the_service_answers_as_it_was_verified(
    requested: Any, before: Any, expected: list[str]
) -> None:
    verify = spec().verify
    assert verify
    assert states(findings.answers(verify, "2.1.0", before, requested, CODER)) == expected


def target(state: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"TargetHealth": {"State": state, "Reason": reason, "Description": message}}


@pytest.mark.parametrize(
    ("described", "expected", "fix"),
    [
        ([target("healthy")], OK, ""),
        ([target("initial")], OK, ""),
        ([target("unhealthy", "Target.ResponseCodeMismatch")], FAILED, "--health-check-path"),
        ([target("unhealthy", "Target.Timeout")], FAILED, "security group"),
        ([target("unhealthy", "Target.FailedHealthChecks")], FAILED, "traffic-port"),
        ([target("healthy"), target("unhealthy", "Target.Timeout")], WARNING, "security group"),
    ],
)
def test_what_the_load_balancer_says(described: Any, expected: str, fix: str) -> None:
    (check,) = findings.targets(described, "  modify")
    assert check.state == expected
    assert fix in str(check.fix)


# what is recorded

DIAGNOSIS = {"kind": "crash", "cause": "3 new tasks failed", "advice": "See.", "log": ["panic"]}


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ([], [OK]),
        ([recorded()], [OK]),
        ([FLYING, recorded()], [OK]),
        ([recorded(outcome="FAILED_ROLLED_BACK", diagnosis=DIAGNOSIS), recorded()], [FAILED]),
        ([recorded(), recorded(outcome="FAILED")], [OK]),
        ([recorded(outcome="SUPERSEDED"), recorded(outcome="FAILED")], [FAILED]),
        ([recorded(outcome="IGNORED", reason="the tag"), recorded()], [WARNING, OK]),
        ([recorded(), recorded(outcome="IGNORED")], [OK]),
        ([recorded(outcome="IGNORED", tag=None), recorded()], [OK]),
    ],
    ids=[
        *("none", "good", "in flight", "rolled back", "mended since", "superseded"),
        *("deployed nothing", "deployed nothing, once", "a child of an index"),
    ],
)
def test_what_became_of_the_last_release(past: Any, expected: list[str]) -> None:
    assert states(findings.last_release(past)) == expected


def build(outcome: str, **diagnosis: Any) -> Any:
    return {**recorded(outcome=outcome), "diagnosis": {"lines": [], "cause": "", **diagnosis}}


@pytest.mark.parametrize(
    ("past", "fix"),
    [
        ([build("FAILED", error="BuildTimedOut", cause="45 minutes")], "BuildTimeoutMinutes"),
        (
            [build("FAILED", error="BuildFailed", lines=["push: TLS handshake timeout"])],
            "again",
        ),
        (
            [build("FAILED", error="BuildFailed", cause='invalid reference format: "a:1+2"')],
            "`-`",
        ),
        ([build("FAILED", error="BuildFailed", lines=["error: x"])], "sources"),
    ],
)
def test_what_became_of_the_last_build(past: Any, fix: str) -> None:
    (check,) = findings.last_build(past)
    assert check.state == FAILED
    assert fix in str(check.fix)


def test_a_build_that_succeeded_since_is_well() -> None:
    assert states(findings.last_build([])) == []
    assert states(
        findings.last_build([build("SUCCEEDED"), build("FAILED", error="BuildFailed")])
    ) == [OK]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (image(), OK),
        (None, FAILED),
        (image(active=False), FAILED),
        (image(manifest=manifest(artifactType="application/spdx+json")), FAILED),
    ],
)
def test_the_image_can_be_pulled(described: Any, expected: str) -> None:
    check = findings.image("2.1.0", DIGEST, described, config(), "linux/amd64")
    assert check.state == expected


def test_the_image_is_for_the_services_platform() -> None:
    check = findings.image("2.1.0", DIGEST, image(), config(), "linux/arm64")
    assert (check.state, "linux/amd64" in check.finding) == (FAILED, True)
    check = findings.image("2.1.0", DIGEST, image(), None, "linux/arm64")
    assert (check.state, "linux/arm64" in check.finding) == (FAILED, True)


def drift(running: dict[str, Any], content: str | None, expected: str | None = REVISION) -> Any:
    hashed = task_definitions.content_hash(WANTED)
    stored = hashed if content == "same" else content
    return list(findings.drift(running, stored, WANTED, hashed, expected, DIGEST))


def running(**changes: Any) -> dict[str, Any]:
    """The task definition as ECS describes it, with what it fills in."""
    rendered = document(one__image=IMAGE)["taskDefinition"]
    (container,) = rendered["containerDefinitions"]
    container["portMappings"][0]["hostPort"] = 3000
    container |= {"cpu": 0, "mountPoints": []} | changes.pop("container", {})
    return {**rendered, "taskDefinitionArn": REVISION, "revision": 7, **changes}


def test_what_runs_is_as_the_spec_says() -> None:
    assert states(drift(running(), "same")) == [OK]
    assert states(drift(running(), None, None)) == [OK]


def test_a_spec_that_changed_since_is_no_failure() -> None:
    (check,) = drift(running(memory="4096"), "other")
    assert (check.state, "memory" in check.finding) == (WARNING, True)


def test_a_task_definition_of_somebody_elses_is_a_failure() -> None:
    environment = [{"name": "CODER_POSTGRES_URL", "value": "hunter2"}]
    (check,) = drift(running(container={"environment": environment}), None, OLD_REVISION)
    assert check.state == FAILED
    assert "environment CODER_POSTGRES_URL" in check.finding
    assert "hunter2" not in str(check)
    assert check.fix[-1].endswith(DIGEST)


# variables

GOOD = ["CODER_HTTP_ADDRESS", "CODER_PG_CONNECTION_URL"]
FORK = [*GOOD, "WORKBENCH_ACCESS_URL", "CODER_DOCS_URL"]


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        (GOOD, [], [OK]),
        (GOOD[:1], [], [FAILED]),
        ([*GOOD, "CODER_POSTGRES_URL"], [], [FAILED]),
        ([*GOOD, "DATABASE_URL"], [], [FAILED]),
        ([*GOOD, "CODER_ACESS_URL"], [], [WARNING]),
        ([*GOOD, "CODER_EXTERNAL_AUTH_0_ID"], [], [OK]),
        ([*GOOD, "CODER_ACCESS_URL"], FORK, [FAILED]),
        ([*GOOD, "CODER_ACCESS_URL", "WORKBENCH_ACCESS_URL"], FORK, [OK]),
        ([*GOOD, "CODER_DOC_URL"], FORK, [FAILED]),
        ([*GOOD, "CODER_QUITE_DIFFERENT"], FORK, [OK]),
        ([*GOOD, "CODER_URL"], [*FORK, "CODER_URL"], [OK]),
    ],
)
def test_coder_knows_its_variables(names: list[str], known: list[str], expected: list[str]) -> None:
    assert states(CODER.variables(names, known)) == expected


def test_the_names_of_a_fork_are_read_from_its_sources() -> None:
    help_text = "      --access-url url, $WORKBENCH_ACCESS_URL\n    --http, $CODER_HTTP_ADDRESS (x)"
    code = 'Env: "CODER_PG_CONNECTION_URL",'
    assert CODER.names_in(f"{help_text}\n{code}") == {
        *("WORKBENCH_ACCESS_URL", "CODER_HTTP_ADDRESS", "CODER_PG_CONNECTION_URL")
    }


@pytest.mark.parametrize(
    ("value", "host", "whole", "expected"),
    [
        ("postgresql://app:hunter2@db.example:5432/app?sslmode=require", "db.example", True, OK),
        ("postgres://app:hunter2@db.example/app", None, True, OK),
        ("file:///data/hunter2.db", None, True, OK),
        ('{"url": "hunter2"}', None, True, FAILED),
        ('{"url": "hunter2"}', None, False, OK),
        ("postgres://app:hunter2@db.example/app\n", None, True, FAILED),
        ("postgres://app:hunter2@db.example:5432:5432/app", None, True, FAILED),
        ("hunter2", None, True, FAILED),
        ("", None, True, FAILED),
        ("postgres://app:hunter2@other.example/app", "db.example", True, WARNING),
        ("postgres://app:hunter2@db.example/app?sslmode=disable", None, True, WARNING),
        ("postgres://app:hunter2/x@db.example/app", None, True, FAILED),
        ("postgres://app:hunter2#x@db.example/app", None, True, FAILED),
    ],
)
def test_a_connection_url(value: str, host: str | None, whole: bool, expected: str) -> None:
    check = findings.connection_url(value, host, "arn:secret", whole=whole)
    assert check.state == expected
    assert "hunter2" not in str(check)


# what is around it


@pytest.mark.parametrize(
    ("resolved", "record", "expected"),
    [
        ({"192.0.2.1"}, None, OK),
        (set(), None, FAILED),
        ({"192.0.2.9"}, None, FAILED),
        (set(), "dualstack.LB.example.", WARNING),
        ({"192.0.2.9"}, "lb.example", WARNING),
        (set(), "other.example", FAILED),
    ],
)
def test_a_name_leads_to_the_load_balancer(
    resolved: set[str], record: str | None, expected: str
) -> None:
    check = findings.domain("c.example.com", "lb.example", resolved, {"192.0.2.1"}, record)
    assert check.state == expected


def test_what_is_left_open_and_undelivered_can_be_repaired() -> None:
    assert findings.lock([]).state == findings.undelivered(0, "q").state == OK
    for check in (findings.lock(["2.1.0 holds the lock"]), findings.undelivered(2, "q")):
        assert check.state == FAILED and check.repair


def test_a_hold_is_told() -> None:
    assert states(findings.hold(None)) == []
    (check,) = findings.hold({"by": "ada", "at": "2026-11-23", "reason": "a freeze"})
    assert check.state == WARNING and "ada" in check.finding


@pytest.mark.parametrize(
    ("known", "content", "message"),
    [
        (None, None, "other than the deployer"),
        (None, "hash", "deployer registered"),
        (recorded(version="1.4.0", outcome="FAILED"), "hash", "1.4.0"),
        (recorded(version="1.3.0"), "hash", "verified earlier"),
    ],
)
def test_who_put_in_place_what_runs_is_told_by_the_records(
    known: Any, content: str | None, message: str
) -> None:
    (check,) = findings.drift(running(), content, WANTED, "x", OLD_REVISION, DIGEST, known)
    assert message in check.why


def test_an_application_without_a_preset_gets_no_checks_of_coders() -> None:
    verify = spec().verify
    assert verify
    request = told(**{"/api/v2/users/first": answer(status=404)})
    assert states(findings.answers(verify, "2.1.0", {}, request, NONE)) == [OK]
    tunnel = ["Opening tunnel so workspaces can connect"]
    assert states(findings.log(tunnel, NONE)) == [OK]
    assert states(findings.log(tunnel, CODER)) == [FAILED]
    assert states(NONE.variables(["CODER_SESSION_TOKEN", "DATABASE_URL"], ())) == []


@pytest.mark.parametrize(
    ("changes", "tags", "expected"),
    [
        ({"tags": r"v.*"}, ["v1.0.0", "main"], [FAILED]),
        ({"tags": r"b-.*"}, ["v1.0.0", "b-1"], []),
        ({}, [], [FAILED]),
        ({"tags": r"v.*"}, [], [FAILED]),
        ({"tags": r"rc-.*"}, [], []),
        ({"repository": "another"}, ["1.0.0"], []),
    ],
)
def test_tag_patterns_that_overlap_are_found(
    changes: Any, tags: list[str], expected: list[str]
) -> None:
    other = spec(service="other", **changes)
    assert states(findings.overlaps(spec(), [spec(), other], tags)) == expected


def test_a_failed_execution_without_a_record_is_found() -> None:
    arn = "arn:aws:states:us-east-1:123456789012:execution:Deploy:one"
    (check,) = findings.unrecorded([(arn, "RequestRejected")])
    assert check.state == WARNING and arn in check.fix[-1]


@pytest.mark.parametrize(
    ("alarm", "mend", "state"),
    [
        (None, None, OK),
        ("1.4.0 serves, and is not verified", "  deployer rollback 1", FAILED),
        ("1.4.0 serves, and no release was ever verified", None, WARNING),
    ],
)
def test_what_serves_unverified_has_the_command_that_mends_it(
    alarm: str | None, mend: str | None, state: str
) -> None:
    verified = {"release": "1", "version": "1.1.0"}
    checks = findings.serves({"alarm": alarm, "mend": mend, "verified": verified})
    assert checks.state == state
    assert (alarm or "1.1.0") in checks.finding
    assert checks.fix[-1:] == ((mend,) if mend else ())
