"""Restore the database from a snapshot, beside the old instance, and point the secret at it.

The old instance stays until a person deletes it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer import database
from deployer.aws import rds, releases, secrets, turns
from deployer.database import Done
from deployer.errors import DatabaseFailed
from deployer.release import Release, Restoration
from deployer.spec import ServiceSpec, from_document

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: Release
    since: str
    execution: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Done:
    spec = from_document(event["spec"], "the service spec")
    with turns.change(spec.service, event["execution"]):
        done = _restored(spec, event["release"], event["since"])
    logger.info("database restored", done=done)
    return done


def _restored(spec: ServiceSpec, release: Release, since: str) -> Done:
    snapshot = release.get("restore")
    assert spec.database and spec.database.secret and snapshot
    name = database.instance_name(spec.database.instance, release)
    restored = rds.instance(name)
    if restored is None:
        current = releases.database_instance(spec.service, spec.database.instance)
        rds.restore(snapshot, name, rds.instance(current) or {})
        return {"done": False, "name": name}
    status = restored["DBInstanceStatus"]
    if database.late(since, datetime.now(UTC)) and status != "available":
        raise DatabaseFailed(f"instance {name} is still {status}")
    if "failed" in status or "incompatible" in status:
        raise DatabaseFailed(f"instance {name} is {status}")
    if status == "available":
        _switch(spec.service, release, _noted(spec, release, name, restored["Endpoint"]["Address"]))
    return {"done": status == "available", "name": name}


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
    """Point the secret at the restored instance."""
    url, after = secrets.value(noted["secret"]), noted["after"]
    if database.host_of(url) != after["host"]:
        secrets.replace(noted["secret"], database.moved(url, after["host"]))
    releases.remember_database_instance(service, after["instance"], noted["replaces"])
    releases.note(release, databaseInstance=after["instance"])
