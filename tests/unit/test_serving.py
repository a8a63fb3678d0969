"""The last verified release, and what serves now: two facts."""

from typing import Any

import pytest

from deployer.deploy import serving
from deployer.errors import RequestRejected
from tests.unit.samples import OLD_REVISION, REVISION, before, recorded, service, spec

VERIFIED = recorded(id="1", version="1.1.0")
LATER = recorded(id="2", version="1.4.0", outcome="FAILED", taskDefinition=REVISION)
PAST = [LATER, VERIFIED]


@pytest.mark.parametrize(
    ("past", "revisions", "verified", "what"),
    [
        (PAST, [OLD_REVISION], True, "1.1.0"),
        (PAST, [REVISION], False, "1.4.0"),
        (PAST, [OLD_REVISION, REVISION], True, "1.1.0, 1.4.0"),
        (PAST, [], False, "nothing"),
        (PAST, ["arn:aws:ecs:us-east-1:1:task-definition/theirs:3"], False, "theirs:3"),
        (PAST, None, None, "nothing"),
        ([LATER], [REVISION], False, "1.4.0"),
    ],
)
def test_what_serves_is_told_apart_from_what_was_verified(
    past: Any, revisions: Any, verified: bool | None, what: str
) -> None:
    result = serving.of(past, revisions)
    assert (result.verified, result.what) == (verified, what)


def described(revision: str, **changes: Any) -> dict[str, Any]:
    primary = before(status="PRIMARY", taskDefinition=revision)
    return service(primary, **changes)


@pytest.mark.parametrize(
    ("now", "revisions", "command"),
    [
        (described(OLD_REVISION), [OLD_REVISION], None),
        (described(REVISION), None, None),
        (described(REVISION), [REVISION], "deployer rollback 1"),
        (described(OLD_REVISION), [], "deployer doctor"),
        (described(REVISION, desiredCount=0), [], "--desired-count 1"),
        (None, [], f"deployer deploy {VERIFIED['digest']}"),
    ],
)
def test_one_command_brings_the_verified_release_back(
    now: Any, revisions: Any, command: str | None
) -> None:
    result = serving.mend(spec(), now, serving.of(PAST, revisions))
    assert result is None if command is None else command in str(result)


def test_without_a_verified_release_there_is_none_to_bring_back() -> None:
    assert serving.mend(spec(), described(REVISION), serving.of([LATER], [REVISION])) is None


@pytest.mark.parametrize(
    ("now", "named", "already"),
    [
        (before(rolloutState="COMPLETED", runningCount=1), VERIFIED, True),
        (before(rolloutState="COMPLETED", runningCount=1), LATER, False),
        (before(rolloutState="COMPLETED", runningCount=0), VERIFIED, False),
        (before(rolloutState="IN_PROGRESS", runningCount=1), VERIFIED, False),
        (before(rolloutState="COMPLETED", runningCount=1, taskDefinition=REVISION), LATER, False),
        (None, VERIFIED, False),
    ],
    ids=["steady", "another", "no task", "it rolls", "unverified", "no service"],
)
def test_only_a_verified_release_that_is_steady_serves_already(
    now: Any, named: Any, already: bool
) -> None:
    """Whatever else is named may change something, so no rollback to it is refused for that."""
    result = service({**now, "status": "PRIMARY"}) if now else None
    assert serving.serves_already(PAST, result, named) is already


@pytest.mark.parametrize(
    ("past", "revisions", "in_flight", "message"),
    [
        (PAST, [OLD_REVISION], False, None),
        (PAST, None, False, None),
        ([], [], False, None),
        (
            PAST,
            [REVISION],
            False,
            "1.4.0 serves, and is not verified; the last verified release is 1.1.0.",
        ),
        (
            PAST,
            [REVISION],
            True,
            "1.4.0 serves; the last verified release is 1.1.0. A deployment is running.",
        ),
        (PAST, [], False, "Nothing serves; the last verified release is 1.1.0."),
        ([LATER], [REVISION], False, "1.4.0 serves, and no release was ever verified."),
    ],
)
def test_what_serves_unverified_is_an_alarm(
    past: Any, revisions: Any, in_flight: bool, message: str | None
) -> None:
    output = serving.summary(spec(), described(REVISION), serving.of(past, revisions), in_flight)
    assert output["alarm"] == message
    mended = "not verified; the" in str(message) or "Nothing" in str(message)
    assert (output["mend"] is not None) == mended


def test_what_runs_is_counted_by_deployment() -> None:
    old = before(runningCount=2)
    new = before(status="PRIMARY", taskDefinition=REVISION, runningCount=0)
    assert serving.running(service(new, old)) == {OLD_REVISION}
    assert serving.running(None) == set()


def test_earlier_releases_are_those_that_were_live_each_once_without_the_one_that_serves() -> None:
    again = recorded(id="5", version="1.1.0")  # what VERIFIED is, once more
    newer = recorded(id="4", version="1.2.0", taskDefinition=REVISION)
    past = [again, newer, LATER, VERIFIED]
    running = service(before(status="PRIMARY", runningCount=1))
    assert [entry["id"] for entry in serving.earlier(past, running)] == ["4"]
    assert [entry["id"] for entry in serving.earlier(past, None)] == ["5", "4"]
    with pytest.raises(RequestRejected, match=r"1\.1\.0 \(5\) serves already"):
        serving.refuse_what_serves(past, running, again)
    serving.refuse_what_serves(past, running, newer)
