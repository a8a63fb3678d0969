"""An execution that is redriven after a recovery changes nothing: it has lost the lock.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

from typing import Any

import pytest

import acquire_lock
import back_up_database
import publish_docs
import record_success
import register_task_definition
import restore_database
import roll_back
import run_task
import update_service
from deployer.errors import LockLost
from deployer.store import locks, releases
from tests.unit.conftest import Script, refusal
from tests.unit.samples import ANOTHER_EXECUTION, document, lock_request, payload, release
from tests.unit.test_site import SPEC

pytestmark = pytest.mark.usefixtures("releases_table")

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:coder-db-AbCdEf"
DATABASE = {
    "spec": document(database={"instance": "coder-db", "secret": SECRET}),
    "release": release(restore="deployer-coder-1"),
}
CHANGES = (
    ("ecs", "UpdateService"),
    ("ecs", "CreateService"),
    ("ecs", "RegisterTaskDefinition"),
    ("ecs", "RunTask"),
    ("rds", "CreateDBSnapshot"),
    ("rds", "RestoreDBInstanceFromDBSnapshot"),
    ("s3", "PutObject"),
)
ANOTHERS = lock_request(release="another", execution=ANOTHER_EXECUTION)


@pytest.mark.parametrize("holder", [None, ANOTHERS], ids=["nobody has it", "another has it"])
@pytest.mark.parametrize(
    ("function", "changes"),
    [
        (back_up_database, DATABASE),
        (restore_database, DATABASE),
        (register_task_definition, {}),
        (run_task, {"spec": document(before={"command": ["migrate"]})}),
        (update_service, {}),
        (roll_back, {}),
        (record_success, {}),
        (publish_docs, {"spec": SPEC}),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_who_lost_the_turn_changes_nothing(
    function: Any, changes: Any, holder: Any, script: Script, context: Any
) -> None:
    for service, change in CHANGES:
        script(service, change, refusal("MustNotBeAsked"))
    releases.open_release(release())
    if holder:
        locks.acquire("coder", holder)
    with pytest.raises(LockLost, match="instead of redriving"):
        function.handler(payload(**changes), context)
    assert script.calls == []
    assert "outcome" not in (releases.find("coder", release()["id"]) or {})


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED", "FAILED_ROLLED_BACK"])
def test_who_asks_for_a_turn_although_the_release_has_its_outcome_stands_aside(
    outcome: Any, script: Script, context: Any
) -> None:
    script("stepfunctions", "SendTaskSuccess", {})
    script("events", "PutEvents", {"FailedEntryCount": 0, "Entries": []})
    releases.open_release(release())
    releases.close_release(release(), outcome, {"reason": "as it came"})
    before = releases.find("coder", release()["id"])
    decision = acquire_lock.handler(payload(), context)
    assert decision["action"] == "CLOSED" and outcome in decision["reason"]
    assert releases.find("coder", release()["id"]) == before
    assert locks.queue("coder").holder is None and locks.queue("coder").waiting == []
    assert script.requests("PutEvents") == []
