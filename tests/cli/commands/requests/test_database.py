"""Going back over a newer schema: refused, and with the database only where that is agreed to."""

from collections.abc import Iterator

import pytest

from demo.stage import Stage
from tests.cli.commands.conftest import Operator
from tests.cli.commands.requests.conftest import at
from tests.workflow.test_database import Instance

pytestmark = pytest.mark.slow


@pytest.fixture
def migrated(deployer: Stage, session: dict[str, str]) -> Iterator[Operator]:
    """An operator of a service whose 1.1.0 brought a newer schema to its database."""
    unused = Stage(deployer.aws, "test-op-backed", deployer.cluster, deployer.stack)
    instance = Instance(unused)
    stage = deployer.beside("test-op-backed", DatabaseInstance=instance.name)
    operator = Operator(stage, session)
    assert stage.deployed("1.0.0", schema=1).status == "SUCCEEDED"
    digest = stage.release("1.1.0", schema=2)
    planned = stage.started_by(digest)
    assert stage.ended(planned).status == "SUCCEEDED"
    yield operator
    stage.end()
    instance.remove()


def test_what_is_lost_must_be_agreed_to(migrated: Operator) -> None:
    snapshot = migrated.stage.records()[-1]["snapshot"]
    refused = migrated.run("rollback", "1.0.0")
    assert refused.returncode == 6
    assert snapshot in refused.stderr
    again = f"deployer rollback --service {migrated.stage.service} 1.0.0 --restore-database"
    assert again in refused.stderr
    before = migrated.stage.own_executions()
    unasked = migrated.run("rollback", "1.0.0", "--restore-database")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (4, True)
    with at(migrated, "rollback", "1.0.0", "--restore-database") as shown:
        shown.expect(snapshot)
        shown.answer("Restore it? [y/N]", "n")
        assert shown.ended() == 4
    planned = migrated.output("rollback", "1.0.0", "--restore-database", "--dry-run")
    assert (planned["database"], planned["restore"]) == ("RESTORE", snapshot)
    assert migrated.stage.own_executions() == before

    assert migrated.run("hold").returncode == 0
    newer = migrated.stage.release("1.2.0", schema=3)
    migrated.stage.ended(migrated.stage.started_by(newer))
    brings = migrated.output("deploy", newer, "--dry-run")
    assert brings["database"] == "BACK_UP"
    assert not brings["automaticRollback"]
    assert brings["schema"]["applied"] != brings["schema"]["brings"]

    output = migrated.output("rollback", "1.0.0", "--restore-database", "--yes")
    assert (output["outcome"], output["version"]) == ("SUCCEEDED", "1.0.0")
