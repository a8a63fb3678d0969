"""The spec of a push is found by few calls among many, and a new or changed one still counts."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployer.aws import client
from deployer.errors import ServiceUnknown
from deployer.store import specs
from deployer.usecases import find_spec
from tests.unit.samples import document

pytestmark = pytest.mark.usefixtures("releases_table")
PATH, MANY = "/deployer/services", 11
NOW = datetime.now(UTC)


def write(service: str, **fields: Any) -> None:
    text = json.dumps(document(service=service, repository=service, **fields))
    write_text(service, text)


def write_text(service: str, text: str) -> None:
    client("ssm").put_parameter(Name=f"{PATH}/{service}", Value=text, Type="String", Overwrite=True)


@pytest.fixture
def calls(releases_table: None) -> Iterator[Counter[str]]:
    """What Parameter Store is asked: there are more specs than a page, and an index of them."""
    for number in range(MANY):
        write(f"s{number:02}")
    find_spec.all_specs()
    counted, events = Counter[str](), client("ssm").meta.events

    def count(model: Any, **_: Any) -> None:
        counted[model.name] += model.name.startswith("Get")

    events.register("before-call.ssm", count)
    yield counted
    events.unregister("before-call.ssm", count)


def grow_older(**age: float) -> None:
    """The index was written a while ago."""
    index = {
        f"{PATH}/s{n:02}": {"service": f"s{n:02}", "repository": f"s{n:02}"} for n in range(MANY)
    }
    specs.keep_index(index, datetime.now(UTC) - timedelta(**age))


def matched(repository: str, tag: str | None = "2.1.0") -> list[str]:
    matches, invalid = find_spec.for_push(repository, tag)
    return [spec.service for spec, _ in matches] + [entry.service for entry in invalid]


FEW = {"GetParametersByPath": 1, "GetParameters": 1}
ALL = {"GetParametersByPath": 3}  # the first page, then both


@pytest.mark.parametrize("tag", ["2.1.0", None, "latest"])
def test_one_of_many_is_read_by_its_name(calls: Counter[str], tag: str | None) -> None:
    assert (matched("s10", tag), +calls) == (["s10"], FEW)


def test_few_are_read_at_once_without_an_index(releases_table: None) -> None:
    for number in range(10):
        write(f"s{number}")
    find_spec.all_specs()
    assert specs.names_with("service", "s9", NOW)[0] == []
    assert matched("s9") == ["s9"]
    assert find_spec.for_service("s3")[0].service == "s3"


def test_a_changed_spec_counts_at_once(calls: Counter[str]) -> None:
    write("s07", timeout=77)
    ((spec, _),), _ = find_spec.for_push("s07", "2.1.0")
    assert (spec.timeout, +calls) == (77, FEW)


def test_a_new_service_of_a_new_repository_counts_at_once(calls: Counter[str]) -> None:
    write("new")
    assert matched("new") == ["new"]
    assert +calls == ALL
    assert matched("new") == ["new"]  # the index was written again
    assert +calls == ALL | {"GetParametersByPath": 4, "GetParameters": 1}


def test_a_service_that_is_gone_or_has_another_repository_is_not_taken_for_it(
    calls: Counter[str],
) -> None:
    client("ssm").delete_parameter(Name=f"{PATH}/s01")
    write_text("s02", json.dumps(document(service="s02", repository="moved")))
    for repository in ("s01", "s02"):
        with pytest.raises(ServiceUnknown):
            find_spec.for_push(repository, "2.1.0")
    assert matched("moved") == ["s02"]


def test_a_second_service_of_a_repository_counts_within_a_minute(calls: Counter[str]) -> None:
    other = document(service="other", repository="s03", tags="nightly")
    write_text("other", json.dumps(other))
    assert matched("s03", "nightly") == ["s03"]  # whose tags do not name it: it is ignored
    grow_older(minutes=1)
    assert matched("s03", "nightly") == ["other"]
    assert matched("s03", "2.1.0") == ["s03"]


def test_an_invalid_spec_or_two_that_fit_are_found_as_without_an_index(
    calls: Counter[str],
) -> None:
    write("s04", timeout=1)
    assert matched("s04") == ["s04"]
    write_text("twin", json.dumps(document(service="twin", repository="s05")))
    find_spec.all_specs()
    assert sorted(matched("s05")) == ["s05", "twin"]


def test_an_index_of_long_ago_is_not_trusted(calls: Counter[str]) -> None:
    grow_older(minutes=16)
    assert (matched("s06"), +calls) == (["s06"], ALL)


def test_a_request_finds_its_service_among_many(calls: Counter[str]) -> None:
    assert find_spec.for_service("s09")[0].service == "s09"
    assert +calls == FEW
    with pytest.raises(ServiceUnknown):
        find_spec.for_service("nobody")


def test_more_specs_than_an_item_holds_have_no_index(releases_table: None) -> None:
    names = [f"{PATH}/{n:0200}" for n in range(2000)]
    specs.keep_index({name: {"service": "s", "repository": "r"} for name in names}, NOW)
    assert specs.names_with("service", "s", NOW)[0] == []
    specs.keep_index({name: {"service": "s", "repository": "r"} for name in names[:1000]}, NOW)
    assert sorted(specs.names_with("service", "s", NOW)[0]) == names[:1000]
