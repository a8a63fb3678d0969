"""The database around a release: when it is backed up, and what going back in time takes."""

import json
import re
import traceback
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import requests
from deployer.deploy import database
from deployer.deploy.database import Snapshot
from deployer.deploy.release import release_id
from deployer.errors import DatabaseFailed, RequestRejected
from deployer.requests import Rollback
from tests.unit.samples import DIGEST, EXECUTION, NOW, previous, recorded, release, spec

OLD, NEW = {"number": 12, "hash": "f00"}, {"number": 13, "hash": "f01"}
DATABASE = {"instance": "coder-db"}
BY_HAND = release(id=release_id(NOW, DIGEST, EXECUTION))


@pytest.mark.parametrize(
    ("named", "coming", "before", "expected"),
    [
        (DATABASE, release(schema=NEW), previous(schema=OLD), "BACK_UP"),
        (DATABASE, release(schema=OLD), previous(schema=NEW), "BACK_UP"),
        (DATABASE, release(schema=OLD), previous(schema=OLD), "NONE"),
        (DATABASE, release(schema=None), previous(schema=None), "BACK_UP"),
        (DATABASE, release(schema=None), previous(schema=OLD), "BACK_UP"),
        (DATABASE, release(schema=OLD), previous(schema=None), "BACK_UP"),
        (DATABASE, release(schema=NEW), None, "NONE"),
        (None, release(schema=NEW), previous(schema=OLD), "NONE"),
        (DATABASE, release(schema=OLD, restore="a-snapshot"), previous(schema=NEW), "RESTORE"),
        (DATABASE, release(schema=OLD, restore=None), previous(schema=OLD), "NONE"),
    ],
    ids=[
        "the schema grew",
        "it is another",
        "it is the same",
        "neither is known",
        "the new one is not known",
        "the old one is not known",
        "a first release",
        "no database",
        "a snapshot is to be restored",
        "none is",
    ],
)
def test_what_is_to_be_done_with_the_database(
    named: Any, coming: Any, before: Any, expected: str
) -> None:
    assert database.work(spec(database=named), coming, before) == expected


# names

# letters, digits and single hyphens, a letter first, no hyphen last; RDS makes capitals small
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
RDS_NAME = re.compile(r"[a-z](-?[a-z0-9])*")
services = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}", fullmatch=True)
instances = st.from_regex(r"[a-zA-Z](-?[a-zA-Z0-9]){0,31}", fullmatch=True)
anyones = st.sampled_from([release(), BY_HAND])


@given(services | st.sampled_from(["a--b_", "A_-_B", "0", "a" + "_" * 254, "x" * 255]), anyones)
def test_a_snapshots_name_is_one_that_rds_takes(service: str, of: Any) -> None:
    name = database.snapshot_name(of | {"service": service})
    assert RDS_NAME.fullmatch(name)
    assert len(name) <= 255
    assert name.startswith(database.prefix(service))


@given(services, services)
def test_no_service_takes_anothers_snapshots_for_its_own(one: str, other: str) -> None:
    theirs = database.snapshot_name(release(service=other))
    assert theirs.startswith(database.prefix(one)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [("coder", "coder-db"), ("a-b", "a_b"), ("a", "A"), ("x" * 150, "x" * 151)]
)
def test_services_with_names_alike_have_snapshots_of_their_own(one: str, other: str) -> None:
    names = [database.snapshot_name(release(service=name)) for name in (one, other)]
    assert not names[0].startswith(database.prefix(other))
    assert not names[1].startswith(database.prefix(one))


def test_a_snapshots_name_can_be_read_and_is_the_same_each_time() -> None:
    name = database.snapshot_name(release())
    assert name == database.snapshot_name(release())
    assert name.startswith("deployer-coder-")
    assert name.endswith("-20261123t142502z-abababababab")


@given(instances | st.sampled_from(["a" * 63, "a" * 29 + "-" + "b" * 9]), anyones)
def test_an_instances_name_is_one_that_rds_takes(instance: str, of: Any) -> None:
    name = database.instance_name(instance, of)
    assert RDS_NAME.fullmatch(name.lower())
    assert len(name) <= 63
    assert of["id"].lower()[:29] in name


def test_each_restoration_has_an_instance_of_its_own() -> None:
    names = {
        database.instance_name("a" * 63, release(id=release_id(NOW, DIGEST, f"execution-{number}")))
        for number in range(9)
    }
    assert len(names) == 9


# retention


def snapshot(name: str, minutes: int | None, status: str = "available") -> Snapshot:
    return Snapshot(name, status, None if minutes is None else NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("keep", "gone"), [(1, ["b", "a", "z"]), (2, ["a", "z"]), (3, ["z"]), (4, [])]
)
def test_the_snapshots_made_last_are_kept(keep: int, gone: list[str]) -> None:
    result = [snapshot("a", 2), snapshot("z", 1), snapshot("b", 3), snapshot("c", 4)]
    assert database.expendable(result, keep) == gone


def test_what_is_not_complete_is_neither_kept_nor_pruned() -> None:
    result = [
        snapshot("a", 1),
        snapshot("b", 2, "creating"),
        snapshot("c", 3, "failed"),
        snapshot("d", None, "available"),
    ]
    assert database.expendable(result, 1) == []


# going back in time


def test_the_snapshot_to_restore_is_the_newest_of_a_database_that_the_target_knows() -> None:
    grew = {"schema": NEW, "previous": previous(schema=OLD, databaseSchema=OLD)}
    # taken after a migration that failed: the release that ran was of the old schema still
    migrated = {"schema": NEW, "previous": previous(schema=OLD, databaseSchema=NEW)}
    history = [
        recorded(id="6", **migrated, snapshot="s6"),
        recorded(id="5", **grew),
        recorded(id="4", **grew, snapshot="s4", outcome="FAILED"),
        recorded(id="3", **grew, snapshot="s3"),
        recorded(id="2", schema=OLD, previous=None, snapshot="s2"),
        recorded(id="1", schema=OLD),
    ]
    assert database.to_restore(history, recorded(schema=OLD))["id"] == "4"
    assert database.to_restore(history, recorded(schema=NEW))["id"] == "6"
    with pytest.raises(RequestRejected, match=r"no snapshot was taken that fits 2\.1\.0"):
        database.to_restore(history, recorded(schema={"number": 1, "hash": None}))
    with pytest.raises(RequestRejected):
        database.to_restore([], recorded(schema=OLD))


def test_without_schemas_it_is_the_first_snapshot_since_the_target_ran() -> None:
    def taken(name: str, after: str) -> Any:
        return recorded(id=name, schema=None, snapshot=name, previous=unnamed | {"release": after})

    unnamed = previous(schema=None, databaseSchema=None)
    history = [taken("4", "3"), taken("3", "1"), taken("2", "1"), recorded(id="1", schema=None)]
    assert database.to_restore(history, recorded(id="1", schema=None))["id"] == "2"
    assert database.to_restore(history, recorded(id="3", schema=None))["id"] == "4"
    with pytest.raises(RequestRejected):
        database.to_restore(history, recorded(id="4", schema=None))


def test_the_way_to_restore_is_told_as_an_order_that_is_taken() -> None:
    output = database.how_to_restore("coder", "2.0.0", "snapshot-1", "2.1.0")
    assert (
        "Snapshot snapshot-1" in output and "before 2.1.0" in output and "would be lost" in output
    )
    command = requests.parse(json.loads(output[output.index("{") :]))
    assert command == Rollback("2.0.0", "coder", None, True, None, restore_database=True)


def test_without_a_snapshot_no_order_is_told() -> None:
    assert "No snapshot exists" in database.how_to_restore("coder", "2.0.0", None, "2.1.0")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@old:5432/db", "postgres://u:p@new:5432/db"),
        ("postgres://old:6432/db", "postgres://new:6432/db"),
        ("postgres://u:p@old/db", "postgres://u:p@new/db"),
        ("postgres://u@old", "postgres://u@new"),
        ("postgres://u:p%40%2F%3A%23@old:6432/db", "postgres://u:p%40%2F%3A%23@new:6432/db"),
        ("postgres://u:p@ss@old:6432/db", "postgres://u:p@ss@new:6432/db"),
        ("postgres://u:p@[::1]:6432/db", "postgres://u:p@new:6432/db"),
        ("postgres://[fe80::1%25eth0]/db", "postgres://new/db"),
        (
            "postgresql+psycopg://u:p@old:6432/db?sslmode=verify-full&host=a#x",
            "postgresql+psycopg://u:p@new:6432/db?sslmode=verify-full&host=a#x",
        ),
    ],
)
def test_a_connection_url_leads_to_the_other_host(url: str, expected: str) -> None:
    assert database.moved(url, "new") == expected
    assert database.moved(expected, "new") == expected
    host = database.host_of(url)
    assert host and database.moved(expected, host) == url
    assert database.host_of(expected) == "new"


userinfo = st.from_regex(
    r"([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-F]{2})+(:([a-z!]|%[0-9A-F]{2})*)?@", fullmatch=True
)


@given(
    st.just("") | userinfo,
    st.sampled_from(["old", "old.example.com", "192.0.2.1", "[2001:db8::1]"]),
    st.sampled_from(["", ":5432", ":1"]),
    st.sampled_from(["", "/db", "/db?sslmode=require", "/d%2Fb#x"]),
)
def test_nothing_but_the_host_changes(who: str, host: str, port: str, rest: str) -> None:
    assert database.moved(f"postgres://{who}{host}{port}{rest}", "new.example.com") == (
        f"postgres://{who}new.example.com{port}{rest}"
    )


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2",
        "host=old user=u password=hunter2",
        '{"host": "old", "password": "hunter2"}',
        "postgres://u:hunter2/db@old/db",
        "postgres://u:hunter2@one:1,two:2/db",
        "postgres://u:hunter2@[old/db",
    ],
)
def test_what_is_no_connection_url_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(DatabaseFailed, match="the database's secret") as caught:
        database.moved(secret, "new")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
