"""Back up the database before a release that may change its schema."""

from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import rds
from deployer.deploy import database
from deployer.deploy.database import Done, Request
from deployer.deploy.release import Release
from deployer.deploy.spec import Database, ServiceSpec, from_document
from deployer.errors import DatabaseFailed
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Done:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        done = _back_up(spec, event["release"], event["since"])
    logger.info("database backed up", done=done)
    return done


def _back_up(spec: ServiceSpec, release: Release, since: str) -> Done:
    assert spec.database
    prefix = database.prefix(spec.service)
    instance = releases.database_instance(spec.service, spec.database.instance)
    name = database.snapshot_name(release)
    rds.take_snapshot(instance, name)
    snapshots = rds.snapshots(instance, prefix)
    status = next((s.status for s in snapshots if s.name == name), "creating")
    if status not in ("creating", "available"):
        raise DatabaseFailed(f"snapshot {name} of {instance} is {status}")
    if database.late(since, datetime.now(UTC)) and status != "available":
        raise DatabaseFailed(f"snapshot {name} of {instance} is still {status}")
    if status == "available":
        releases.note(release, snapshot=name)
        _prune(snapshots, spec.database)
    return {"done": status == "available", "name": name}


def _prune(snapshots: list[database.Snapshot], settings: Database) -> None:
    for name in database.expendable(snapshots, settings.snapshots):
        rds.delete_snapshot(name)
