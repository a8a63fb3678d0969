"""A snapshot before a release that may change the schema, awaited; the oldest of ours go."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import back_up_database
from deployer.aws import client
from deployer.deploy import database
from deployer.errors import DatabaseFailed
from deployer.store import releases
from tests.unit.conftest import Script
from tests.unit.samples import document, payload, release

pytestmark = pytest.mark.usefixtures("lock_held")

SPEC = document(database={"instance": "coder-db", "snapshots": 2})
NAME = database.snapshot_name(release())
MADE = datetime(2026, 11, 23, 14, 26, tzinfo=UTC)


def snapshot(name: str = NAME, status: str = "available", days: int = 0) -> dict[str, Any]:
    matches: dict[str, Any] = {"DBSnapshotIdentifier": name, "Status": status}
    return matches | {"SnapshotCreateTime": MADE - timedelta(days=days)}


@pytest.fixture
def rds(script: Script) -> Any:
    """RDS with snapshots, each look shows others."""
    script("rds", "CreateDBSnapshot", {})
    script("rds", "DeleteDBSnapshot", {})

    def shows(*looks: list[dict[str, Any]]) -> Script:
        script("rds", "DescribeDBSnapshots", *({"DBSnapshots": look} for look in looks))
        return script

    return shows


def back_up(context: Any, minutes: float = 0) -> Any:
    """As if it had begun some minutes ago."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    return back_up_database.handler(payload(spec=SPEC, since=since.isoformat()), context)


def record() -> Any:
    (found,) = releases.history("coder")
    return found


def test_a_snapshot_is_begun_and_waited_for(rds: Any, context: Any) -> None:
    script = rds([], [snapshot(status="creating")], [snapshot()])
    releases.open_release(release())
    for _ in range(2):
        assert back_up(context) == {"done": False, "name": NAME}
        assert "snapshot" not in record()
    assert back_up(context) == {"done": True, "name": NAME}
    assert record()["snapshot"] == NAME
    assert {request["DBSnapshotIdentifier"] for request in script.requests("CreateDBSnapshot")} == {
        NAME
    }
    assert {request["DBInstanceIdentifier"] for request in script.requests("CreateDBSnapshot")} == {
        "coder-db"
    }
    assert script.requests("DeleteDBSnapshot") == []


def test_once_it_is_complete_the_oldest_of_ours_go(rds: Any, context: Any) -> None:
    prefix = database.prefix("coder")
    older = [snapshot(f"{prefix}{days}", days=days) for days in (1, 2, 3)]
    other = snapshot(f"{database.prefix('coder-db')}9", days=9)
    script = rds([*older, other, snapshot(status="creating")], [*older, other, snapshot()])
    assert not back_up(context)["done"]
    assert script.requests("DeleteDBSnapshot") == [], "nothing goes before the new one is complete"
    assert back_up(context)["done"]
    gone = [request["DBSnapshotIdentifier"] for request in script.requests("DeleteDBSnapshot")]
    assert gone == [f"{prefix}2", f"{prefix}3"]


def test_after_a_restoration_the_restored_instance_is_backed_up(rds: Any, context: Any) -> None:
    releases.remember_database_instance("coder", "restored", "coder-db")
    script = rds([snapshot()])
    back_up(context)
    for operation in ("CreateDBSnapshot", "DescribeDBSnapshots"):
        assert script.requests(operation)[0]["DBInstanceIdentifier"] == "restored"


def test_a_snapshot_that_fails_stops_the_deployment(rds: Any, context: Any) -> None:
    rds([snapshot(status="failed")])
    with pytest.raises(DatabaseFailed, match=rf"{NAME} of coder-db is failed"):
        back_up(context)


def test_a_snapshot_has_a_time_to_be_complete(rds: Any, context: Any) -> None:
    patience = database.PATIENCE.total_seconds() / 60
    rds([snapshot(status="creating")])
    assert not back_up(context, patience - 1)["done"]
    with pytest.raises(DatabaseFailed, match="still creating"):
        back_up(context, patience + 1)
    rds([snapshot()])
    assert back_up(context, patience + 1)["done"], "it is there"


def test_on_a_real_instance(script: Script, context: Any) -> None:
    client("rds").create_db_instance(
        DBInstanceIdentifier="coder-db", Engine="postgres", DBInstanceClass="db.t4g.micro"
    )
    releases.open_release(release())
    for _ in range(2):
        assert back_up(context) == {"done": True, "name": NAME}
    response = client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert [one["DBSnapshotIdentifier"] for one in response] == [NAME]
