"""A release: its id, its version, and the way back from it."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deploy import release as releases
from deployer.deploy.image import Schema
from tests.unit.samples import (
    ANOTHER_EXECUTION,
    DIGEST,
    EXECUTION,
    OTHER_DIGEST,
    push_event,
)

PUSHED = datetime(2026, 11, 23, 14, 25, 2, tzinfo=UTC)


# ids


def test_a_pushs_release_id_tells_when_and_what() -> None:
    assert releases.release_id(PUSHED, DIGEST) == "20261123T142502Z-abababababab"


def test_a_push_has_the_same_id_whoever_reads_it_and_where() -> None:
    elsewhere = PUSHED.astimezone(timezone(timedelta(hours=9)))
    assert releases.release_id(elsewhere, DIGEST) == releases.release_id(PUSHED, DIGEST)


def test_an_order_has_an_id_of_its_own_each_time() -> None:
    ids = {
        releases.release_id(PUSHED, DIGEST),
        releases.release_id(PUSHED, DIGEST, EXECUTION),
        releases.release_id(PUSHED, DIGEST, ANOTHER_EXECUTION),
    }
    assert len(ids) == 3
    again = releases.release_id(PUSHED, DIGEST, EXECUTION)
    assert again in ids


moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)


@given(moments, moments, digests, digests, st.none() | st.just(EXECUTION))
def test_release_ids_sort_by_time(
    one: datetime, other: datetime, digest: str, digest_2: str, execution: str | None
) -> None:
    early, late = sorted((one, other))
    first = releases.release_id(early, digest, execution)
    second = releases.release_id(late, digest_2)
    assert (first < second) or early == late


# versions


@pytest.mark.parametrize(
    ("tag", "label", "expected"),
    [
        ("2.1.0", None, "2.1.0"),
        ("v2.1.0", None, "v2.1.0"),
        ("2.0.0-devel-abc", "2.0.0-devel+abc", "2.0.0-devel+abc"),
        ("v2.0.0-devel-abc", "2.0.0-devel+abc", "2.0.0-devel+abc"),
        ("2.0.0-devel-abc", "2.0.0-devel-abc", "2.0.0-devel-abc"),
        ("2.1.0", "2.0.0", "2.1.0"),
        ("latest", "2.0.0+abc", "2.0.0+abc"),
        ("latest", None, "latest"),
        ("2.1.0", "", "2.1.0"),
        (None, "2.1.0+abc", "2.1.0+abc"),
        (None, None, "abababababab"),
        (None, "", "abababababab"),
    ],
)
def test_the_version_is_the_tag_or_the_label_that_says_the_same_in_full(
    tag: str | None, label: str | None, expected: str
) -> None:
    labels = {} if label is None else {"version": label}
    assert releases.version_of(tag, labels, "version", DIGEST) == expected


@given(st.from_regex(r"[0-9]\.[0-9]\.[0-9](-[a-z]{1,5})?(\+[a-z0-9]{1,7})?", fullmatch=True))
def test_a_version_survives_its_way_through_a_tag(version: str) -> None:
    tag = releases.as_tag(version)
    assert re.fullmatch(r"[\w.-]+", tag)
    assert releases.version_of(tag, {"version": version}, "version", DIGEST) == version


# schemas


SCHEMA: Schema = {"number": 3, "hash": "a"}


@pytest.mark.parametrize(
    ("before", "after", "grew"),
    [
        (None, None, False),
        (SCHEMA, SCHEMA, False),
        (SCHEMA, {"number": 3, "hash": "b"}, True),
        (SCHEMA, {"number": 4, "hash": "a"}, True),
        (SCHEMA, {"number": 2, "hash": "a"}, True),
        (None, SCHEMA, True),
        (SCHEMA, None, True),
    ],
)
def test_going_back_is_safe_only_on_the_very_same_schema(
    before: Schema | None, after: Schema | None, grew: bool
) -> None:
    assert releases.schema_grew(before, after) == grew
    unknown = before is None or after is None
    assert releases.schema_grew(before, after, database=False) == (grew and not unknown)


# inputs that could not be read


def test_an_input_that_could_not_be_read_is_filed_under_what_can_be_told() -> None:
    result = releases.unidentified(push_event(), EXECUTION, "2026-11-23T14:25:04.123Z")
    assert result["service"] == "repository:coder"
    assert result["digest"] == DIGEST
    assert result["execution"] == EXECUTION
    assert result["id"].startswith("20261123T142502Z-abababababab-"), "by the time of the push"
    later = releases.unidentified(push_event(), ANOTHER_EXECUTION, "2026-11-23T15:25:04.123Z")
    assert later["id"] != result["id"], "each try has a record"


def test_two_inputs_that_could_not_be_read_have_two_records() -> None:
    one = releases.unidentified("?", EXECUTION, "2026-11-23T14:25:04Z")
    other = releases.unidentified("?", ANOTHER_EXECUTION, "2026-11-23T14:25:04Z")
    assert one["service"] == other["service"] == "unknown"
    assert one["id"] != other["id"]
    assert OTHER_DIGEST not in one["id"]
