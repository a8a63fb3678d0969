"""Back up the database before a release that may change its schema."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import database
from deployer.aws import rds, releases, turns
from deployer.database import Done
from deployer.errors import DatabaseFailed
from deployer.release import Release
from deployer.spec import Database, from_document

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    since: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Done:
    spec = from_document(event["spec"], "the service spec")
    assert spec.database
    turns.confirm(spec.service, event["execution"])
    release, prefix = event["release"], database.prefix(spec.service)
    instance = releases.database_instance(spec.service) or spec.database.instance
    name = database.snapshot_name(release)
    rds.take_snapshot(instance, name)
    ours = rds.snapshots(instance, prefix)
    status = next((s.status for s in ours if s.name == name), "creating")
    if status not in ("creating", "available"):
        raise DatabaseFailed(f"snapshot {name} of {instance} is {status}")
    if database.late(event["since"], datetime.now(UTC)) and status != "available":
        raise DatabaseFailed(f"snapshot {name} of {instance} is still {status}")
    if status == "available":
        releases.note(release, snapshot=name)
        _prune(ours, spec.database)
    logger.info("database backed up", snapshot=name, status=status)
    return {"done": status == "available", "name": name}


def _prune(ours: list[database.Snapshot], kept: Database) -> None:
    for name in database.expendable(ours, kept.snapshots):
        rds.delete_snapshot(name)
