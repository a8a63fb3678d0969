"""Missed pushes and uploads, and recoveries."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import requests
from deployer.deploy import identification, reconciliation
from deployer.deploy.reconciliation import GRACE, PushedImage
from deployer.deploy.release import release_id, unidentified
from deployer.requests import Push
from tests.unit.samples import (
    DIGEST,
    EXECUTION,
    NOW,
    OTHER_DIGEST,
    config,
    image,
    push_event,
    recorded,
    spec,
)

PUSHED = PushedImage(DIGEST, ("2.1.0",), NOW - timedelta(minutes=5))
SINCE = NOW - timedelta(days=7)


def missed(*images: PushedImage, past: Any = (), undecided: Any = (), now: Any = NOW) -> Any:
    return reconciliation.missed(spec(), images or (PUSHED,), past, undecided, SINCE, now)


def failed(at: datetime, tried: datetime, digest: str = DIGEST) -> Any:
    """What is kept of a push that could not be read as a release."""
    event = push_event(**{"image-digest": digest}) | {"time": at.isoformat()}
    return unidentified(event, EXECUTION, tried.isoformat())


def test_a_missed_push_is_started_with_the_event_that_should_have_told_of_it() -> None:
    (result,) = missed()
    request = requests.parse(json.loads(json.dumps(result.event)))
    assert request == Push("coder", DIGEST, "2.1.0", PUSHED.pushed_at, reconciled=True)
    created = identification.pushed(request, "coder", image(), config(), EXECUTION, NOW)
    assert created["id"] == result.id


@pytest.mark.parametrize("tags", [("latest",), (), ("2.1.0-arm64",), (f"sha256-{'ab' * 32}.sig",)])
def test_what_does_not_deploy_was_not_missed(tags: Any) -> None:
    assert missed(PushedImage(DIGEST, tags, PUSHED.pushed_at)) == []


def test_a_push_that_has_a_record_was_not_missed() -> None:
    assert missed(past=[recorded()]) == []
    assert missed(past=[recorded(digest=OTHER_DIGEST, tag="2.0.0")])
    assert missed(past=[recorded(repository="other")])


@pytest.mark.parametrize(("late", "started"), [(-1, False), (0, True), (1, True)])
def test_an_event_has_time_to_arrive(late: int, started: bool) -> None:
    now = PUSHED.pushed_at + GRACE + timedelta(seconds=late)
    assert bool(missed(now=now)) == started


def test_each_tag_is_a_push_of_its_own_and_the_oldest_come_first() -> None:
    both = PushedImage(DIGEST, ("2.1.0", "v2.1.0"), PUSHED.pushed_at)
    older = PushedImage(OTHER_DIGEST, ("2.0.0",), PUSHED.pushed_at - timedelta(hours=1))
    assert [push.tag for push in missed(both, older)] == ["2.0.0", "2.1.0", "v2.1.0"]


def test_a_tag_that_moved_to_an_image_of_old_was_put_there_after_it_was_on_the_other() -> None:
    old = PushedImage(DIGEST, ("2.1.0",), NOW - timedelta(days=90))
    assert missed(old) == [], "since when it is there, nobody knows"
    on_it = recorded(pushedAt=(NOW - timedelta(days=80)).isoformat())
    moved = recorded(
        digest=OTHER_DIGEST, pushedAt=(NOW - timedelta(hours=1)).isoformat(), id="20261123-later"
    )
    for past in ([moved], [moved, on_it]):
        (result,) = missed(old, past=past)
        assert result.at == NOW - timedelta(hours=1) + timedelta(seconds=1)
        push = requests.push(result.event)
        assert push and push.until == result.at, "a later event is a push of its own"


@pytest.mark.parametrize(
    ("tags", "past"),
    [(("2.1.0", "prod"), []), (("prod",), [recorded(tag="2.1.0")])],
    ids=["both events were lost", "the first is recorded"],
)
def test_a_later_event_of_a_tag_that_was_added_to_an_image_is_a_push_of_its_own(
    tags: Any, past: Any
) -> None:
    service = replace(spec(), tags="prod|[0-9.]+")
    image_ = PushedImage(DIGEST, tags, PUSHED.pushed_at)
    found = reconciliation.missed(service, [image_], past, (), SINCE, NOW)
    assert [push.tag for push in found] == list(tags)
    for one in found:
        push = requests.push(one.event)
        assert push and push.until == one.at, "only its own time says what came before it"


@pytest.mark.parametrize(
    ("age", "since", "again"),
    [(1, 4, False), (1, 6, True), (60, 50, False), (60, 61, True)],
    ids=["a moment", "five minutes", "less than it was old", "twice as old"],
)
def test_a_push_that_could_not_be_decided_is_tried_again_less_and_less_often(
    age: float, since: float, again: bool
) -> None:
    tried = NOW - timedelta(minutes=since)
    at = tried - timedelta(minutes=age)
    image_ = PushedImage(DIGEST, ("2.1.0",), NOW - timedelta(days=30))
    result = missed(image_, undecided=[failed(at - timedelta(hours=1), at), failed(at, tried)])
    assert bool(result) == again
    if again:
        request = requests.parse(result[0].event)
        assert request == Push("coder", DIGEST, "2.1.0", at), "its own event's time orders it"


def test_a_tag_that_was_put_back_on_an_image_and_not_decided_was_missed() -> None:
    before = recorded(pushedAt=(NOW - timedelta(hours=2)).isoformat())
    put_back = NOW - timedelta(hours=1)
    (result,) = missed(past=[before], undecided=[failed(put_back, put_back)])
    assert result.at == put_back
    after = recorded(pushedAt=put_back.isoformat())
    assert missed(past=[before, after], undecided=[failed(put_back, put_back)]) == []


# what executions leave


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"action": "hold"}', {"action": "hold"}),
        ("[]", []),
        ("null", None),
        ("", None),
        ("{", None),
        (DEEP, None),
        (None, None),
        ({"action": "hold"}, None),
    ],
    ids=["order", "list", "null", "empty", "broken", "deep", "left out", "no text"],
)
def test_an_executions_input_is_read_as_far_as_it_can_be(text: Any, expected: Any) -> None:
    assert reconciliation.document(text) == expected


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (json.dumps(push_event()), True),
        ('{"source": "aws.s3"}', True),
        ('{"source": "aws.ecs"}', False),
        ('{"action": "deploy"}', False),
        ('["aws.ecr"]', False),
        ('"aws.ecr"', False),
        (DEEP, False),
        (None, False),
        (7, False),
    ],
    ids=["push", "upload", "another event", "order", "list", "text", "deep", "none", "number"],
)
def test_a_push_or_an_upload_is_known_by_its_source(text: Any, event: bool) -> None:
    assert reconciliation.is_event(text) == event


@given(st.text() | st.binary() | st.none() | st.integers() | st.dictionaries(st.text(), st.text()))
def test_no_input_does_worse_than_not_being_read(text: Any) -> None:
    assert reconciliation.is_event(text) is False
    reconciliation.document(text)


def test_an_execution_began_when_its_status_change_says() -> None:
    assert (
        reconciliation.began({"startDate": 1_795_444_202_123}) == "2026-11-23T14:30:02.123000+00:00"
    )


# names of executions

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
VALID_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
moments = st.datetimes(datetime(2020, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))


@given(moments, st.sampled_from([None, EXECUTION]), st.text())
def test_a_recoverys_name_is_one_that_step_functions_takes(
    moment: datetime, execution: str | None, ended: str
) -> None:
    name = reconciliation.recovery_name(release_id(moment, DIGEST, execution), ended)
    assert VALID_NAME.fullmatch(f"{name}-999")
    assert VALID_NAME.fullmatch(f"push-{release_id(moment, DIGEST)}-999")


def test_what_an_execution_left_is_recovered_from_under_one_name() -> None:
    names = [reconciliation.recovery_name("a-release", ended) for ended in ("one", "one", "other")]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("owner", "whose"),
    [("coder", {"service": "coder"}), ("docs:coder", {"site": "coder"})],
)
def test_the_order_to_recover_names_the_service_or_the_site(
    owner: str, whose: dict[str, str]
) -> None:
    record = recorded(service=owner)
    command = {"action": "recover", "release": record["id"], **whose}
    assert reconciliation.recovery(record) == command
