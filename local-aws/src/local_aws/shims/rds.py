"""RDS for PostgreSQL with a database in it: each instance is a server, each snapshot its copy.

MiniStack keeps the records and answers the reads; whichever engine is asked for, the server is
PostgreSQL's. What AWS does in the background is done in the background here, one thing after the
other for each instance, with the status that AWS shows meanwhile:
https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html

An instance for which no PostgreSQL can run fails, and the log says why.
"""

import contextvars
import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ministack.services import rds, secretsmanager
from ministack.services.cloudformation import provisioners, stacks

from local_aws.shims import Shim, postgres

Record = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

_log = logging.getLogger("rds")
shim = Shim()


class Database:
    """The server of an instance, and what is done with it, one thing after the other."""

    def __init__(self, instance: Record, server: postgres.Server) -> None:
        self.server = server
        self._instance = instance
        self._worker = ThreadPoolExecutor(1, "rds")

    def do(
        self, work: Callable[[], None], status: str | None = None, then: str = "available"
    ) -> Future[None]:
        """Do this after what was begun before. The instance has `status` at once and `then` when
        it is done, unless something else was begun meanwhile; None leaves its status alone."""
        if status:
            self._instance["DBInstanceStatus"] = status

        def run() -> None:
            try:
                work()
            except Exception:
                _log.exception("RDS: %s failed", self._instance["DBInstanceIdentifier"])
                self._instance["DBInstanceStatus"] = "failed"
            else:
                if self._instance["DBInstanceStatus"] == status:
                    self._instance["DBInstanceStatus"] = then

        return self._worker.submit(contextvars.copy_context().run, run)

    def end(self, work: Callable[[], None]) -> Future[None]:
        """Do this as the last thing."""
        done = self.do(work, "deleting", "deleted")
        self._worker.shutdown(wait=False)
        return done


_databases: dict[str, Database] = {}
"""By DbiResourceId, which no two instances ever share."""
_copies: dict[str, Path] = {}
"""The data of snapshots, by ARN."""


def install() -> None:
    shim.install()
    # Both tables hold the functions themselves.
    for owner, table in (
        (rds, rds._ACTION_MAP),
        (provisioners, provisioners._RESOURCE_HANDLERS["AWS::RDS::DBInstance"]),
    ):
        for name, function in table.items():
            table[name] = getattr(owner, getattr(function, "__name__", ""), function)


@shim.replaces(rds, "_get_docker", "")
def _get_docker() -> None:
    """The same with Docker on this machine as without."""


# Instances ---------------------------------------------------------------------------------------


def _database(instance: Record) -> Database:
    return _databases[instance["DbiResourceId"]]


def _stand_up(instance: Record, fill: Callable[[postgres.Server], None]) -> Future[None]:
    """Begin to make the server of an instance."""
    server = postgres.Server(int(instance["Endpoint"]["Port"]))
    instance["Endpoint"]["Address"] = server.address
    database = _databases[instance["DbiResourceId"]] = Database(instance, server)
    return database.do(partial(fill, server), "creating")


def _filled(instance: Record, name: str) -> Callable[[postgres.Server], None]:
    """How a new instance's server is filled."""
    instance["DBName"] = name
    user = instance["MasterUsername"]
    password = instance["_MasterUserPassword"]
    return lambda server: server.create(user, password, name)


@shim.wraps(rds, "_create_db_instance", "p")
def _create_db_instance(original: Callable[..., Response], p: Record) -> Response:
    answer = original(p)
    if answer[0] != 200:
        return answer
    instance = rds._instances[rds._p(p, "DBInstanceIdentifier")]
    _stand_up(instance, _filled(instance, rds._p(p, "DBName")))
    return _answer("CreateDBInstance", instance)


def _answer(action: str, instance: Record) -> Response:
    return rds._single_instance_response(f"{action}Response", f"{action}Result", instance)


@shim.replaces(rds, "_rotate_instance_password", "instance old_pass new_pass")
def _rotate_instance_password(instance: Record, old_pass: str, new_pass: str) -> None:
    database = _database(instance)
    change = partial(database.server.set_password, instance["MasterUsername"], new_pass)
    database.do(change).result()


def _refusal(code: str, message: str, status: int = 400) -> Response:
    return rds._error(code, message, status)


# The end of an instance --------------------------------------------------------------------------

# https://repost.aws/knowledge-center/rds-delete-instance-deletion-protection
PROTECTED = "Cannot delete protected DB Instance, please disable deletion protection and try again."


@shim.wraps(rds, "_delete_db_instance", "p")
def _delete_db_instance(original: Callable[..., Response], p: Record) -> Response:
    instance = rds._resolve_instance(rds._p(p, "DBInstanceIdentifier"))
    if not instance:
        return original(p)
    if instance.get("DeletionProtection"):
        return _refusal("InvalidParameterCombination", PROTECTED)
    if final := rds._p(p, "FinalDBSnapshotIdentifier"):
        rds._create_snapshot_internal(final, instance)
    _remove(instance)
    return _answer("DeleteDBInstance", instance)


def _remove(instance: Record) -> Future[None]:
    """Begin to end an instance, when its snapshots are taken. It is gone when this is done."""
    database = _database(instance)

    def remove() -> None:
        database.server.remove()
        rds._tags.pop(instance["DBInstanceArn"], None)
        rds._instances.pop(instance["DBInstanceIdentifier"], None)
        del _databases[instance["DbiResourceId"]]

    return database.end(remove)


# Snapshots ---------------------------------------------------------------------------------------


@shim.wraps(rds, "_create_snapshot_internal", "snap_id instance")
def _create_snapshot_internal(
    original: Callable[..., Record], snap_id: str, instance: Record
) -> Record:
    """The record at once; the copy when the instance's turn has come."""
    snapshot = original(snap_id, instance)
    snapshot |= {
        "Status": "creating",
        "PercentProgress": 0,
        "_MasterUserPassword": instance["_MasterUserPassword"],
    }
    database = _database(instance)

    def copy() -> None:
        try:
            _copies[snapshot["DBSnapshotArn"]] = database.server.copy()
        except postgres.ServerFailed as why:
            _log.error("RDS: snapshot %s failed: %s", snap_id, why)
            snapshot["Status"] = "failed"
        else:
            snapshot.update(Status="available", PercentProgress=100)

    database.do(copy, "backing-up")
    return snapshot


@shim.wraps(rds, "_delete_db_snapshot", "p")
def _delete_db_snapshot(original: Callable[..., Response], p: Record) -> Response:
    snapshot = rds._snapshots.get(rds._p(p, "DBSnapshotIdentifier"))
    answer = original(p)
    if snapshot and (copy := _copies.pop(snapshot["DBSnapshotArn"], None)):
        shutil.rmtree(copy.parent, ignore_errors=True)
    return answer


@shim.wraps(rds, "_restore_from_snapshot", "p")
def _restore_from_snapshot(original: Callable[..., Response], p: Record) -> Response:
    """What is not asked for is as by default, not as the instance was that the snapshot is of:
    API_RestoreDBInstanceFromDBSnapshot.html. The port and the credentials are the snapshot's."""
    snapshot = rds._snapshots.get(rds._p(p, "DBSnapshotIdentifier"))
    answer = original(p)
    if answer[0] != 200:
        return answer
    assert snapshot
    instance = rds._instances[rds._p(p, "DBInstanceIdentifier")]
    instance["Endpoint"]["Port"] = int(rds._p(p, "Port") or snapshot["Port"])
    instance["DeletionProtection"] = rds._p(p, "DeletionProtection") == "true"
    groups = rds._parse_member_list(p, "VpcSecurityGroupIds")
    instance["VpcSecurityGroups"] = [
        {"VpcSecurityGroupId": group, "Status": "active"} for group in groups
    ]
    if name := rds._p(p, "DBParameterGroupName"):
        instance["DBParameterGroups"][0]["DBParameterGroupName"] = name
    if subnets := rds._subnet_groups.get(rds._p(p, "DBSubnetGroupName")):
        instance["DBSubnetGroup"] = subnets
    if tags := rds._parse_tags(p):
        instance["TagList"] = rds._tags[instance["DBInstanceArn"]] = tags
    _stand_up(instance, _restored(instance, snapshot))
    return _answer("RestoreDBInstanceFromDBSnapshot", instance)


def _restored(instance: Record, snapshot: Record) -> Callable[[postgres.Server], None]:
    """How an instance's server is filled from a snapshot, whose credentials become its own."""
    copy = _copies[snapshot["DBSnapshotArn"]]
    instance |= {key: snapshot[key] for key in ("MasterUsername", "_MasterUserPassword", "DBName")}
    return lambda server: server.restore(copy)


# CloudFormation ----------------------------------------------------------------------------------


@shim.wraps(stacks, "_runs_on_worker_thread", "resource_type")
def _runs_on_worker_thread(original: Callable[[str], bool], resource_type: str) -> bool:
    """A stack waits for its database, and the server goes on meanwhile."""
    return resource_type == "AWS::RDS::DBInstance" or original(resource_type)


@shim.wraps(provisioners, "_rds_db_instance_create", "logical_id props stack_name")
def _stack_creates(
    original: Callable[..., Any], logical_id: str, props: Record, stack_name: str
) -> tuple[str, Record]:
    source = props.get("DBSnapshotIdentifier")
    snapshot = rds._snapshots[source] if source else None
    physical, _ = original(logical_id, props, stack_name)
    instance = rds._instances[physical]
    name = props.get("DBName", "")
    _stand_up(
        instance, _restored(instance, snapshot) if snapshot else _filled(instance, name)
    ).result()
    if instance["DBInstanceStatus"] == "failed":
        _remove(instance).result()
        raise ValueError(f"DB instance {physical} failed; the log of the local AWS says why")
    return physical, provisioners._rds_db_instance_attrs(instance)


@shim.wraps(provisioners, "_rds_db_instance_delete", "physical_id props")
def _stack_deletes(original: Callable[..., None], physical_id: str, props: Record) -> None:
    instance = rds._instances.get(physical_id)
    if instance:
        _remove(instance).result()
    original(physical_id, props)


@shim.wraps(provisioners, "_sm_secret_string", "props")
def _secret_string(original: Callable[[Record], str], props: Record) -> str:
    """A password without the characters that it is to be without: they would end up in a URL.

    AWSCloudFormation/latest/UserGuide/aws-properties-secretsmanager-secret-generatesecretstring.html
    """
    generate = props.get("GenerateSecretString")
    if not generate or props.get("SecretString"):
        return original(props)
    wanted: Record = {
        name: value if name == "ExcludeCharacters" else str(value).lower() == "true"
        for name, value in generate.items()
        if name.startswith(("Exclude", "Include", "Require"))
    }
    length = int(generate.get("PasswordLength", 32))
    status, _, body = secretsmanager._get_random_password(wanted | {"PasswordLength": length})
    answer = json.loads(body)
    if status != 200:
        raise ValueError(answer["message"])
    password: str = answer["RandomPassword"]
    if not (template := generate.get("SecretStringTemplate")):
        return password
    return json.dumps(json.loads(template) | {generate["GenerateStringKey"]: password})
