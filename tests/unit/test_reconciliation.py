"""What was left open or missed, as far as it can be told without asking AWS."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import identification, reconciliation, request
from deployer.reconciliation import GRACE, PushedImage
from deployer.release import release_id
from deployer.request import Push
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

PUSHED = PushedImage(DIGEST, ("latest", "2.1.0"), NOW - timedelta(minutes=5))


def missed(found: PushedImage = PUSHED, refused: Any = (), now: datetime = NOW) -> Any:
    return reconciliation.missed(spec(), found, refused, now)


def test_a_missed_push_is_started_with_the_event_that_should_have_told_of_it() -> None:
    asked = request.parse(missed())
    assert asked == Push("coder", DIGEST, "2.1.0", PUSHED.pushed_at)
    assert json.loads(json.dumps(missed())) == missed()


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (PushedImage(DIGEST, ("latest",), PUSHED.pushed_at), ()),
        (PushedImage(DIGEST, (), PUSHED.pushed_at), ()),
        (PUSHED, {DIGEST}),
    ],
    ids=["no tag of the service", "no tag", "refused before"],
)
def test_what_does_not_deploy_was_not_missed(found: PushedImage, refused: Any) -> None:
    assert missed(found, refused) is None


def test_what_was_refused_under_another_digest_says_nothing() -> None:
    assert missed(refused={OTHER_DIGEST})


@pytest.mark.parametrize(("late", "started"), [(-1, False), (0, True), (1, True)])
def test_an_event_has_time_to_arrive(late: int, started: bool) -> None:
    now = PUSHED.pushed_at + GRACE + timedelta(seconds=late)
    assert bool(missed(now=now)) == started


def test_a_missed_push_is_the_release_that_its_event_would_have_made() -> None:
    found = PushedImage(DIGEST, ("2.1.0",), image().pushed_at)
    push = Push("coder", DIGEST, "2.1.0", NOW)
    made = identification.pushed(push, spec(), image(), config(), EXECUTION, NOW)
    assert reconciliation.push_id(found) == made["id"]


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
    ("text", "push"),
    [
        (json.dumps(push_event()), True),
        ('{"source": "aws.ecs"}', False),
        ('{"action": "deploy"}', False),
        ('["aws.ecr"]', False),
        ('"aws.ecr"', False),
        (DEEP, False),
        (None, False),
        (7, False),
    ],
    ids=["push", "another event", "order", "list", "text", "deep", "none", "number"],
)
def test_a_push_is_known_by_its_source(text: Any, push: bool) -> None:
    assert reconciliation.is_push(text) == push


@given(st.text() | st.binary() | st.none() | st.integers() | st.dictionaries(st.text(), st.text()))
def test_no_input_does_worse_than_not_being_read(text: Any) -> None:
    assert reconciliation.is_push(text) is False
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
    order = {"action": "recover", "release": record["id"], **whose}
    assert reconciliation.recovery(record) == order
