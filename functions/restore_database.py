"""Restore the database from a snapshot, beside the old instance, and point the secret at it.

The old instance stays until a person deletes it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import alarms, cloudformation, rds, secrets
from deployer.aws.log import Logger
from deployer.deploy import database, database_settings
from deployer.deploy.database import Done
from deployer.deploy.release import Release, Restoration
from deployer.deploy.spec import ServiceSpec, from_document
from deployer.errors import DatabaseFailed
from deployer.store import locks, releases

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    since: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Done:
    spec = from_document(event["spec"], "the service spec")
    with locks.lease(spec.service, event["execution"]):
        done = _restored(spec, event["release"], event["since"])
    logger.info("database restored", done=done)
    return done


def _restored(spec: ServiceSpec, release: Release, since: str) -> Done:
    snapshot = release.get("restore")
    assert spec.database and spec.database.secret and snapshot
    name = database.instance_name(spec.database.instance, release)
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
    if status != "available" or not (late or _is_like(current, name, restored)):
        return {"done": False, "name": name}
    _switch(spec.service, release, _noted(spec, release, name, restored["Endpoint"]["Address"]))
    return {"done": True, "name": name}


def _is_like(current: str, name: str, restored: Mapping[str, Any]) -> bool:
    """Give the restored instance the settings that a restoration does not take. Return whether it
    has them, or cannot have them: what RDS refuses must not hold up the data."""
    settings = database_settings.remaining_settings(rds.instance(current) or restored, restored)
    if not settings or database_settings.overdue(restored, datetime.now(UTC)):
        return True
    why = rds.modify(name, settings)
    if why is None:
        return False
    logger.warning("settings refused", instance=name, settings=settings, why=why)
    settings = database_settings.without_others(settings)
    return not settings or rds.modify(name, settings) is not None


def _noted(spec: ServiceSpec, release: Release, name: str, host: str) -> Restoration:
    """Write down what is about to change, so that a failure can be undone; an earlier try may have
    done so, and have changed it."""
    assert spec.database and spec.database.secret
    record = releases.find(spec.service, release["id"])
    if record and "restoration" in record:
        return record["restoration"]
    url = secrets.value(spec.database.secret)
    database.moved(url, host)  # which says what is wrong with it, before anything changes
    noted: Restoration = {
        "secret": spec.database.secret,
        "replaces": spec.database.instance,
        "before": {
            "instance": releases.database_instance(spec.service, spec.database.instance),
            "host": database.host_of(url) or "",
        },
        "after": {"instance": name, "host": host},
    }
    releases.note(release, restoration=noted)
    return noted


def _switch(service: str, release: Release, noted: Restoration) -> None:
    """Point the secret at the restored instance, and let the alarms watch it."""
    _keep(noted["secret"])
    url, after = secrets.value(noted["secret"]), noted["after"]
    if database.host_of(url) != after["host"]:
        secrets.replace(noted["secret"], database.moved(url, after["host"]))
    releases.remember_database_instance(service, after["instance"], noted["replaces"])
    watched = {noted["replaces"], noted["before"]["instance"]}
    followed = alarms.follow(service, watched, after["instance"])
    logger.info("alarms", instance=after["instance"], followed=followed)
    releases.note(release, databaseInstance=after["instance"])


def _keep(secret: str) -> None:
    """Refuse updates of the secret's stack that would put the old host back into it."""
    if made := secrets.made_by(secret):
        stack, resource = made
        kept = cloudformation.change_policy(stack, partial(database.keeping, resource=resource))
        logger.info("stack policy", stack=stack, resource=resource, kept=kept)
