"""The releases table: items as plain values, written under conditions."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from deployer.aws import client
from deployer.errors import AwsUnavailable
from deployer.store import table
from tests.unit.conftest import Script, items, refusal

pytestmark = pytest.mark.usefixtures("releases_table")

ITEM = {"service": "coder", "id": "1", "execution": "one"}
FREE = "attribute_not_exists(#id) OR #execution = :me"


def item(name: str = "1") -> Any:
    return table.get("coder", name)


def test_an_item_comes_back_as_what_json_can_say() -> None:
    nested = {"n": 3, "list": [1, {"m": 2}], "none": None, "yes": True, "text": "", "empty": {}}
    table.put(ITEM | nested)
    assert item() == ITEM | nested
    assert type(item()["n"]) is type(item()["list"][0]) is int
    assert items("coder")[0]["n"] == Decimal(3)
    assert item("2") is None


# conditions


def test_an_item_is_written_where_there_is_none_or_an_own_one() -> None:
    assert table.put_if(ITEM, FREE, me="one") is None
    assert table.put_if(ITEM | {"more": 1}, FREE, me="one") is None
    assert item() == ITEM | {"more": 1}


def test_an_item_that_is_anothers_stays_and_is_shown() -> None:
    table.put(ITEM | {"n": 3})
    assert table.put_if(ITEM | {"execution": "two"}, FREE, me="two") == ITEM | {"n": 3}
    assert item() == ITEM | {"n": 3}


def test_what_is_missing_meets_no_condition_but_that_it_is_missing() -> None:
    assert table.put_if(ITEM, "#execution = :me", me="one") == {}
    assert item() is None


def test_an_item_is_updated_where_the_condition_holds() -> None:
    table.put(ITEM)
    closed = {"outcome": "FAILED", "execution": "two"}
    assert table.update_if("coder", "1", closed, "#execution = :me", me="one") is None
    assert item() == ITEM | closed
    other = {"outcome": "OTHER"}
    assert table.update_if("coder", "1", other, "#execution = :me", me="one") == ITEM | closed
    assert table.update_if("coder", "1", other, "attribute_not_exists(#outcome)") == ITEM | closed
    assert table.update_if("coder", "2", other, "attribute_exists(#id)") == {}
    assert item() == ITEM | closed


def test_words_that_dynamodb_keeps_for_itself_can_be_attributes() -> None:
    reserved = {"name": 1, "status": 2, "by": 3, "timestamp": 4}
    assert table.update_if("coder", "1", reserved, "attribute_not_exists(#status)") is None
    assert item() == {"service": "coder", "id": "1"} | reserved


def test_an_item_is_deleted_where_the_condition_holds() -> None:
    table.put(ITEM)
    assert not table.delete_if("coder", "1", "#execution = :me", me="two")
    assert item() == ITEM
    assert table.delete_if("coder", "1", "#execution = :me", me="one")
    assert item() is None
    assert not table.delete_if("coder", "1", "attribute_exists(#id)")


# queries


def named(*names: str) -> None:
    for name in names:
        table.put({"service": "coder", "id": name})


def ids(described: list[Any]) -> list[str]:
    return [entry["id"] for entry in described]


def test_releases_and_what_begins_with_a_hash_are_told_apart() -> None:
    named("#lock", "#waiting#2026", "#hold", "20261123", "20261124", "99991231")
    table.put({"service": "other", "id": "20261125"})
    assert ids(table.query("coder", "#id >= :first", first="0")) == [
        "99991231",
        "20261124",
        "20261123",
    ]
    assert ids(table.query("coder", "begins_with(#id, :hash)", hash="#")) == [
        "#waiting#2026",
        "#lock",
        "#hold",
    ]
    assert table.query("nobody", "#id >= :first", first="0") == []


def test_a_limit_leaves_the_lowest_out() -> None:
    named("1", "2", "3", "4")
    assert ids(table.query("coder", "#id >= :first", 3, first="0")) == ["4", "3", "2"]
    assert ids(table.query("coder", "#id >= :first", 9, first="0")) == ["4", "3", "2", "1"]


@pytest.mark.parametrize("limit", [None, 4, 9])
def test_items_that_fill_more_than_a_page_all_come(limit: int | None) -> None:
    """A page ends at 1 MB (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html)."""
    for name in "12345":
        table.put({"service": "coder", "id": name, "log": "x" * 390_000})
    result = table.query("coder", "#id >= :first", limit, first="0")
    assert ids(result) == ["5", "4", "3", "2", "1"][:limit]


def test_the_table_tells_when_it_was_made() -> None:
    assert abs((datetime.now(UTC) - table.created()).total_seconds()) < 60


def test_an_error_that_is_no_condition_is_not_taken_for_one() -> None:
    client("dynamodb").delete_table(TableName="releases")
    for write in (
        lambda: table.put_if(ITEM, FREE, me="one"),
        lambda: table.update_if("coder", "1", {"a": 1}, "attribute_not_exists(#a)"),
        lambda: table.delete_if("coder", "1", "attribute_exists(#id)"),
    ):
        with pytest.raises(client("dynamodb").exceptions.ResourceNotFoundException):
            write()


# other transactions

WRITES = {
    "PutItem": (lambda: table.put(ITEM), lambda: table.put_if(ITEM, FREE, me="one")),
    "UpdateItem": (lambda: table.update_if("coder", "1", {"n": 1}, FREE, me="one"),),
    "DeleteItem": (lambda: table.delete_if("coder", "1", FREE, me="one"),),
}


@pytest.mark.parametrize(
    ("operation", "write"), [(name, write) for name, writes in WRITES.items() for write in writes]
)
def test_a_write_is_tried_again_while_a_transaction_has_the_item(
    script: Script, monkeypatch: pytest.MonkeyPatch, operation: str, write: Callable[[], object]
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    conflict = refusal("TransactionConflictException")
    script("dynamodb", operation, conflict, conflict, {})
    write()
    assert len(script.requests(operation)) == 3
    script("dynamodb", operation, conflict)
    with pytest.raises(AwsUnavailable, match="transactions"):
        write()
    assert len(script.requests(operation)) > 6
