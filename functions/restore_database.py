"""Restore the database from a snapshot into a new instance, and point the secret at it.

The old instance stays until somebody deletes it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, cloudformation, ecs, rds, secrets
from deployer.deploy import database, database_settings, rollout
from deployer.deploy.database import Done, Request
from deployer.deploy.release import Release, Restoration
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import DatabaseFailed
from deployer.log import Logger
from deployer.store import locks, releases

logger = Logger()
_TIME_TO_STOP = timedelta(minutes=10)  # of an instance that was available only just in time


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Done:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        done = _restore(spec, event["release"], event["since"])
    logger.info("database restored", done=done)
    return done


def _restore(spec: ServiceSpec, release: Release, since: str) -> Done:
    snapshot = release.get("restore")
    assert spec.database and spec.database.secret and snapshot
    name = database.instance_name(spec.database.instance, release)
    record = releases.find(spec.service, release["id"])
    if record and record.get("databaseInstance") == name:
        return {"done": True, "name": name}  # the rollout may have begun since an earlier try
    current = releases.database_instance(spec.service, spec.database.instance)
    restored = rds.instance(name)
    if restored is None:
        rds.restore(
            snapshot, name, database_settings.restored_settings(rds.instance(current) or {})
        )
        return {"done": False, "name": name}
    status = restored["DBInstanceStatus"]
    late = database.late(since, datetime.now(UTC))
    if late and status != "available":
        raise DatabaseFailed(f"instance {name} is still {status}")
    if "failed" in status or "incompatible" in status:
        raise DatabaseFailed(f"instance {name} is {status}")
    if status != "available" or not (late or _apply_settings(current, name, restored)):
        return {"done": False, "name": name}
    host = restored["Endpoint"]["Address"]
    restoration = _record_restoration(spec, release, name, host)
    if not _stop_failing_services(spec, release, restoration):
        if database.late(since, datetime.now(UTC) - _TIME_TO_STOP):
            raise DatabaseFailed("the service's tasks did not stop; its secret was not changed")
        return {"done": False, "name": name}
    _switch(spec.service, release, restoration)
    return {"done": True, "name": name}


def _apply_settings(current: str, name: str, restored: Mapping[str, Any]) -> bool:
    """Apply the settings that RestoreDBInstanceFromDBSnapshot does not accept.

    Returns:
        Whether the instance has them, or RDS refuses them, which must not block the restoration.
    """
    settings = database_settings.remaining_settings(rds.instance(current) or restored, restored)
    if not settings or database_settings.overdue(restored, datetime.now(UTC)):
        return True
    refusal = rds.modify(name, settings)
    if refusal is None:
        return False
    logger.warning("settings refused", instance=name, settings=settings, why=refusal)
    settings = database_settings.without_others(settings)
    return not settings or rds.modify(name, settings) is not None


def _record_restoration(spec: ServiceSpec, release: Release, name: str, host: str) -> Restoration:
    """Record what is about to change, so that a failure can be undone.

    An earlier try may have recorded it already, and changed the secret since.
    """
    assert spec.database and spec.database.secret
    record = releases.find(spec.service, release["id"])
    if record and "restoration" in record:
        return record["restoration"]
    url = secrets.value(spec.database.secret)
    database.moved(url, host)  # raises, before anything changes, if the value is not usable
    restoration: Restoration = {
        "secret": spec.database.secret,
        "replaces": spec.database.instance,
        "before": {
            "instance": releases.database_instance(spec.service, spec.database.instance),
            "host": database.host_of(url) or "",
        },
        "after": {"instance": name, "host": host},
    }
    releases.note(release, restoration=restoration)
    return restoration


def _stop_failing_services(spec: ServiceSpec, release: Release, restoration: Restoration) -> bool:
    """Stop the services in which ECS keeps starting tasks, and record how many each ran.

    Usually the release that cannot be rolled back without the restoration keeps failing there, and
    its next task would migrate the restored database. The rollout of the target release starts them
    again, and so does its rollback. A steady service goes on serving.

    Returns:
        Whether their tasks are gone, so that the secret may change.
    """
    counts, gone = dict(restoration.get("stopped", {})), True
    for part in spec.parts:
        live = ecs.service(part.cluster, part.service)
        if live is None or not (part.service in counts or rollout.keeps_starting(live)):
            continue
        if part.service not in counts:
            counts[part.service] = live["desiredCount"]
            releases.note(release, restoration={**restoration, "stopped": counts})
        if live["desiredCount"]:
            ecs.scale(part.cluster, part.service, 0)
        gone = gone and rollout.stopped(live)
    return gone


def _switch(service: str, release: Release, restoration: Restoration) -> None:
    """Point the secret and the alarms at the restored instance."""
    _protect_secret(restoration["secret"])
    url, after = secrets.value(restoration["secret"]), restoration["after"]
    if database.host_of(url) != after["host"]:
        secrets.replace(restoration["secret"], database.moved(url, after["host"]))
    releases.remember_database_instance(service, after["instance"], restoration["replaces"])
    old_instances = {restoration["replaces"], restoration["before"]["instance"]}
    alarms_moved = alarms.follow(service, old_instances, after["instance"])
    logger.info("alarms", instance=after["instance"], followed=alarms_moved)
    releases.note(release, databaseInstance=after["instance"])


def _protect_secret(secret: str) -> None:
    """Block updates of the secret's stack that would reset it to the old host."""
    if origin := secrets.created_by(secret):
        stack, resource = origin
        protected = cloudformation.change_policy(
            stack, partial(database.keeping, resource=resource)
        )
        logger.info("stack policy", stack=stack, resource=resource, kept=protected)
