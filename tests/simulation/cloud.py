"""The services around ECS: the releases table, images, databases, and what a preflight looks at."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from tests.simulation.application import App, Database
from tests.simulation.ecs import ACCOUNT, REGION, moment
from tests.simulation.errors import AwsError

if TYPE_CHECKING:
    from tests.simulation.world import World

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
SECRET = "hunter2hunter2"
SECRET_ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:coder/database-url"
CONNECTION = f"postgres://coder:{SECRET}@coder-db.example:5432/coder"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
READ_LAG = 1.0  # seconds for which a read of the table that is not consistent shows what was before
IMAGE_LAG = 10.0  # seconds for which a read that is stale does not show an image
SNAPSHOT_SECONDS, RESTORE_SECONDS = 100.0, 400.0

INDEXES = {"Standing": "standing"}  # of the table, with their sort keys

_plain = TypeDeserializer().deserialize


class Item(dict[str, Any]):
    """An item of the table. It is never changed, another takes its place; so what was made of it
    once is kept with it: its values, and what `runtime` found out about it."""

    __slots__ = ("read", "right", "values_")

    read: bytes

    def __init__(self, values: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(values)
        self.right = False

    def __reduce__(self) -> Any:
        return Item, (dict(self),)

    @property
    def plain(self) -> Mapping[str, Any]:
        """The item's values, to be looked at only."""
        if not hasattr(self, "values_"):
            self.values_ = {name: _plain(value) for name, value in self.items()}
        return self.values_


NOTHING = Item()


# DynamoDB -------------------------------------------------------------------------------------


@cache
def condition(expression: str) -> Callable[[Item, Mapping[str, str], Mapping[str, Any]], bool]:
    """A condition or key condition expression, as far as the deployer writes them.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
    """
    either = [[_term(t) for t in part.split(" AND ")] for part in expression.split(" OR ")]
    return lambda item, names, values: any(
        all(term(item, names, values) for term in terms) for terms in either
    )


def _term(text: str) -> Callable[[Item, Mapping[str, str], Mapping[str, Any]], bool]:
    if match := re.fullmatch(r"\s*attribute_(not_)?exists\((#\w+)\)\s*", text):
        absent, name = bool(match[1]), match[2]
        return lambda item, names, values: (names[name] in item) != absent
    if match := re.fullmatch(r"\s*begins_with\((#\w+), (:\w+)\)\s*", text):
        name, value = match[1], match[2]
        return lambda item, names, values: str(item[names[name]]["S"]).startswith(
            values[value]["S"]
        )
    if match := re.fullmatch(r"\s*(#\w+) (<=?) (:\w+)\s*", text):  # of numbers; ours are whole
        name, equal, value = match[1], match[2] == "<=", match[3]
        return lambda item, names, values: (
            names[name] in item
            and int(item[names[name]]["N"]) < int(values[value]["N"]) + int(equal)
        )
    if match := re.fullmatch(r"\s*(#\w+) (=|>=) (:\w+)\s*", text):
        name, sign, value = match[1], match[2], match[3]
        if sign == "=":
            return lambda item, names, values: item.get(names[name]) == values[value]
        return lambda item, names, values: item[names[name]]["S"] >= values[value]["S"]
    raise NotImplementedError(f"a condition {text!r}")


class Table:
    """The releases table."""

    def __init__(self, world: "World", document: float) -> None:
        self.world, self.made = world, document
        self.items: dict[str, dict[str, Item]] = {}
        self.replaced: dict[tuple[str, str], tuple[float, Item]] = {}  # when, and what was there

    def describe_table(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"Table": {"TableName": request["TableName"], "CreationDateTime": moment(self.made)}}

    def get_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        service, name = request["Key"]["service"]["S"], request["Key"]["id"]["S"]
        result = self._shown(service, request).get(name)
        return {"Item": result} if result else {}

    def _shown(self, service: str, request: Mapping[str, Any]) -> dict[str, Item]:
        """What a read shows of a service: a consistent one all, another not the last second's.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html
        """
        there = self.items.get(service, {})
        if request.get("ConsistentRead"):
            return there
        since = self.world.engine.now - READ_LAG
        old = {
            name: item
            for (owner, name), (at, item) in self.replaced.items()
            if owner == service and at > since
        }
        return {name: item for name, item in {**there, **old}.items() if item}

    def put_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        item = request["Item"]
        before = self._at(item)
        self._hold(request, before)
        self._write(item, before, Item(item))
        return {}

    def transact_write_items(self, request: Mapping[str, Any]) -> dict[str, Any]:
        reasons = []
        for part in request["TransactItems"]:
            ((_, member),) = part.items()
            fits = self._fits(member, self._at(member.get("Item") or member["Key"]))
            reasons.append({"Code": "None" if fits else "ConditionalCheckFailed"})
        if any(reason["Code"] != "None" for reason in reasons):
            raise AwsError(
                "TransactionCanceledException",
                "Transaction cancelled, please refer cancellation reasons for specific reasons",
                CancellationReasons=reasons,
            )
        for part in request["TransactItems"]:
            if "Put" in part:
                item = part["Put"]["Item"]
                self._write(item, self._at(item), Item(item))
            if "Update" in part:
                self._set(part["Update"])
        return {}

    def update_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._hold(request, self._at(request["Key"]))
        self._set(request)
        return {}

    def _set(self, request: Mapping[str, Any]) -> None:
        before = self._at(request["Key"])
        after = Item(request["Key"] | before)
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        for part in request["UpdateExpression"].removeprefix("SET ").split(", "):
            name, value = part.split(" = ")
            after[names[name]] = values[value]
        self._write(request["Key"], before, after)

    def delete_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        before = self._at(request["Key"])
        self._hold(request, before)
        self._replace(request["Key"], before)
        self.items.get(request["Key"]["service"]["S"], {}).pop(request["Key"]["id"]["S"], None)
        return {}

    def query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        meets = condition(request["KeyConditionExpression"])
        within = self._shown(values[":service"]["S"], request)
        sort = INDEXES[request["IndexName"]] if "IndexName" in request else "id"
        there = [item for item in within.values() if sort in item]
        there.sort(key=lambda item: item[sort]["S"], reverse=not request["ScanIndexForward"])
        matches = [item for item in there if meets(item, names, values)]
        if start := request.get("ExclusiveStartKey"):
            matches = [item for item in matches if item[sort]["S"] < start[sort]["S"]]
        limit = min(request.get("Limit", len(matches) or 1), self.world.page or len(matches))
        answer: dict[str, Any] = {"Items": matches[:limit]}
        if len(matches) > limit:
            last = matches[limit - 1]
            answer["LastEvaluatedKey"] = {name: last[name] for name in ("service", "id", sort)}
        return answer

    def _at(self, key: Mapping[str, Any]) -> Item:
        return self.items.get(key["service"]["S"], {}).get(key["id"]["S"], NOTHING)

    def _hold(self, request: Mapping[str, Any], before: Item) -> None:
        if not self._fits(request, before):
            old = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and before
            members: dict[str, Any] = {"Item": before} if old else {}
            raise AwsError(
                "ConditionalCheckFailedException", "The conditional request failed", **members
            )

    def _fits(self, request: Mapping[str, Any], before: Item) -> bool:
        expression = request.get("ConditionExpression")
        names = request.get("ExpressionAttributeNames", {})
        values = request.get("ExpressionAttributeValues", {})
        return expression is None or condition(expression)(before, names, values)

    def _replace(self, key: Mapping[str, Any], before: Item) -> None:
        self.replaced[key["service"]["S"], key["id"]["S"]] = self.world.engine.now, before

    def _write(self, key: Mapping[str, Any], before: Item, after: Item) -> None:
        self._replace(key, before)
        self.items.setdefault(key["service"]["S"], {})[key["id"]["S"]] = after
        self.world.invariants.written(before, after)


# EventBridge Scheduler --------------------------------------------------------------------------


class Scheduler:
    """Schedules by group and name."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.groups: dict[str, dict[str, dict[str, Any]]] = {}
        self.refuses: set[str] = set()  # schedules that it refuses to change
        self._created: Any = None  # by which call, for botocore's second try with the same token

    def create_schedule_group(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["Name"] in self.groups:
            raise AwsError("ConflictException", f"{request['Name']} already exists", 409)
        self.groups[request["Name"]] = {}
        return {"ScheduleGroupArn": _schedule_arn("schedule-group", request["Name"])}

    def list_schedules(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(request)
        page, following = self.world.paged(
            [{"Name": name, "GroupName": request["GroupName"]} for name in group],
            request.get("NextToken"),
        )
        return {"Schedules": page, **({"NextToken": following} if following else {})}

    def get_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        schedule = self._group(request).get(request["Name"])
        if schedule is None:
            raise self._missing(request["Name"])
        times = {name: moment(self.world.engine.now) for name in _SCHEDULE_TIMES}
        return {**request, **schedule, **times, "ActionAfterCompletion": "NONE"}

    def create_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group, name, call = self._group(request), request["Name"], (self.world.calls, request)
        if name in group and self._created != call:
            raise AwsError("ConflictException", f"Schedule {name} already exists.", 409)
        self._created = call
        return self._put(group, request)

    def update_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Set all of a schedule: what the request leaves out gets its default."""
        group = self._group(request)
        if request["Name"] not in group:
            raise self._missing(request["Name"])
        return self._put(group, request)

    def _put(self, group: dict[str, dict[str, Any]], request: Mapping[str, Any]) -> dict[str, Any]:
        name, target = request["Name"], request["Target"]["EcsParameters"]["TaskDefinitionArn"]
        if name in self.refuses:
            raise AwsError("ValidationException", f"{name} is refused")
        if target not in self.world.ecs.revisions:
            raise AwsError("ValidationException", f"{target} does not exist")
        fields = {n: v for n, v in request.items() if n not in ("Name", "GroupName")}
        group[name] = json.loads(json.dumps(fields))
        return {"ScheduleArn": _schedule_arn("schedule", f"{request['GroupName']}/{name}")}

    def delete_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._group(request).pop(request["Name"], None) is None:
            raise self._missing(request["Name"])
        return {}

    def _group(self, request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        if request["GroupName"] not in self.groups:
            raise self._missing(request["GroupName"])
        return self.groups[request["GroupName"]]

    def _missing(self, name: str) -> AwsError:
        return AwsError("ResourceNotFoundException", f"{name} does not exist.", 404)

    def revisions(self) -> dict[str, str]:
        """The revision that each schedule runs, by the schedule's name."""
        return {
            name: schedule["Target"]["EcsParameters"]["TaskDefinitionArn"]
            for group in self.groups.values()
            for name, schedule in group.items()
        }


_SCHEDULE_TIMES = ("CreationDate", "LastModificationDate")


def _schedule_arn(kind: str, name: str) -> str:
    return f"arn:aws:scheduler:{REGION}:{ACCOUNT}:{kind}/{name}"


# ECR ------------------------------------------------------------------------------------------


@dataclass
class Stored:
    """A manifest in the repository."""

    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    pushed: float
    tags: list[str] = field(default_factory=list)
    active: bool = True


def digest_of(content: object) -> str:
    return "sha256:" + sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Ecr:
    """The one repository."""

    def __init__(self, world: "World", repository: str) -> None:
        self.world, self.repository = world, repository
        self.stored: dict[str, Stored] = {}
        self.apps: dict[str, App] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}

    def push(self, app: App, tag: str | None, architecture: str = "amd64") -> str:
        """Push an image; ECR tells push times in whole seconds."""
        labels = {"org.opencontainers.image.version": app.version, "fault": str(app)}
        if app.schema is not None:
            labels |= {"deployer.schema.number": str(app.schema), "deployer.schema.hash": "h"}
        config = {"os": "linux", "architecture": architecture, "config": {"Labels": labels}}
        blob = digest_of(config)
        manifest = {"mediaType": MANIFEST, "config": {"mediaType": CONFIG, "digest": blob}}
        digest = digest_of(manifest)
        self.configs[blob] = config
        self.apps[digest] = app
        self._put(digest, Stored(manifest, config, float(int(self.world.engine.now))), tag)
        return digest

    def push_index(self, children: list[str], tag: str) -> str:
        """Push a multi-architecture index of images that are there."""
        platform = {"os": "linux", "architecture": "amd64"}
        entries = [{"digest": child, "platform": platform} for child in children]
        manifest = {"mediaType": INDEX, "manifests": entries}
        digest = digest_of(manifest)
        self.apps[digest] = self.apps[children[0]]
        self._put(digest, Stored(manifest, {}, float(int(self.world.engine.now))), tag)
        return digest

    def tag(self, digest: str, tag: str) -> bool:
        """Put a tag on an image that is there; ECR refuses one that it has already."""
        if tag in self.stored[digest].tags:
            return False
        self._put(digest, self.stored[digest], tag)
        return True

    def _put(self, digest: str, stored: Stored, tag: str | None) -> None:
        for other in self.stored.values():
            if tag in other.tags:
                other.tags.remove(tag)
        stored = self.stored.setdefault(digest, stored)
        if tag:
            stored.tags.append(tag)

    def describe_images(self, request: Mapping[str, Any], stale: bool = False) -> dict[str, Any]:
        now = self.world.engine.now
        if "imageIds" in request:
            wanted = request["imageIds"][0]
            matches = [
                (digest, stored)
                for digest, stored in self.stored.items()
                if digest == wanted.get("imageDigest") or wanted.get("imageTag") in stored.tags
            ]
            matches = [(d, s) for d, s in matches if not stale or now - s.pushed > IMAGE_LAG]
            if not matches:
                raise AwsError("ImageNotFoundException", "The image does not exist")
        else:
            matches = [(d, s) for d, s in self.stored.items() if s.tags and s.active]
        details = [self._detail(digest, stored) for digest, stored in matches]
        if "imageIds" in request:
            return {"imageDetails": details}
        page, following = self.world.paged(details, request.get("nextToken"))
        return {"imageDetails": page, **({"nextToken": following} if following else {})}

    def _detail(self, digest: str, stored: Stored) -> dict[str, Any]:
        detail = {
            "imageDigest": digest,
            "imagePushedAt": moment(stored.pushed),
            "imageStatus": "ACTIVE" if stored.active else "ARCHIVED",
        }
        return {**detail, "imageTags": list(stored.tags)} if stored.tags else detail

    def batch_get_image(self, request: Mapping[str, Any]) -> dict[str, Any]:
        digest = request["imageIds"][0]["imageDigest"]
        stored = self.stored.get(digest)
        images = [{"imageManifest": json.dumps(stored.manifest)}] if stored else []
        return {"images": images, "failures": []}

    def describe_repositories(self, request: Mapping[str, Any]) -> dict[str, Any]:
        uri = f"{REGISTRY}/{self.repository}"
        return {"repositories": [{"repositoryName": self.repository, "repositoryUri": uri}]}

    def get_download_url_for_layer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"downloadUrl": f"https://layers.example/{request['layerDigest']}"}


# RDS and the connection secret ----------------------------------------------------------------


class Rds:
    """Instances and their snapshots."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.instances: dict[str, dict[str, Any]] = {"coder-db": _instance("coder-db", "available")}
        self.databases: dict[str, Database] = {"coder-db": Database()}
        self.schemas: dict[str, tuple[int, str]] = {}
        self.restored_from: dict[str, str] = {}
        self.failing = False
        self.secret = CONNECTION
        self.watched = "coder-db"  # by the alarm of the monitoring stack

    def create_db_snapshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["DBSnapshotIdentifier"]
        if name in self.snapshots:
            raise AwsError("DBSnapshotAlreadyExists", name)
        if any(s["Status"] == "creating" for s in self.snapshots.values()):
            raise AwsError("InvalidDBInstanceState", "the instance is backing up")
        now = self.world.engine.now
        self.snapshots[name] = {
            "DBSnapshotIdentifier": name,
            "DBInstanceIdentifier": request["DBInstanceIdentifier"],
            "Status": "creating",
            "SnapshotCreateTime": moment(now),
        }
        database = self.databases[request["DBInstanceIdentifier"]]
        self.schemas[name] = database.schema, database.data
        ended = "failed" if self.failing else "available"
        self.world.engine.after(SNAPSHOT_SECONDS, self._become, self.snapshots, name, ended)
        return {"DBSnapshot": dict(self.snapshots[name])}

    def _become(self, things: dict[str, dict[str, Any]], name: str, status: str) -> None:
        key = "Status" if things is self.snapshots else "DBInstanceStatus"
        if name in things:
            things[name][key] = status

    def describe_db_snapshots(self, request: Mapping[str, Any]) -> dict[str, Any]:
        instance = request["DBInstanceIdentifier"]
        matches = [s for s in self.snapshots.values() if s["DBInstanceIdentifier"] == instance]
        page, following = self.world.paged([dict(s) for s in matches], request.get("Marker"))
        return {"DBSnapshots": page, **({"Marker": following} if following else {})}

    def delete_db_snapshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self.snapshots.pop(request["DBSnapshotIdentifier"], None) is None:
            raise AwsError("DBSnapshotNotFound", request["DBSnapshotIdentifier"], 404)
        return {}

    def describe_db_instances(self, request: Mapping[str, Any]) -> dict[str, Any]:
        result = self.instances.get(request["DBInstanceIdentifier"])
        if result is None:
            raise AwsError("DBInstanceNotFound", request["DBInstanceIdentifier"], 404)
        return {"DBInstances": [dict(result)]}

    def restore_db_instance_from_db_snapshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, snapshot = request["DBInstanceIdentifier"], request["DBSnapshotIdentifier"]
        if name in self.instances:
            raise AwsError("DBInstanceAlreadyExists", name)
        if self.snapshots.get(snapshot, {}).get("Status") != "available":
            raise AwsError("InvalidDBSnapshotState", snapshot)
        self.instances[name], self.restored_from[name] = _instance(name, "creating"), snapshot
        self.databases[name] = Database(*self.schemas[snapshot])
        self.world.engine.after(RESTORE_SECONDS, self._become, self.instances, name, "available")
        return {"DBInstance": dict(self.instances[name])}

    def get_secret_value(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"ARN": SECRET_ARN, "Name": "coder/database-url", "SecretString": self.secret}

    def describe_secret(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"ARN": request["SecretId"], "Name": "coder/database-url"}

    def put_secret_value(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.secret = request["SecretString"]
        return {"ARN": SECRET_ARN}

    def describe_alarms(self, request: Mapping[str, Any]) -> dict[str, Any]:
        dimension = {"Name": "DBInstanceIdentifier", "Value": self.watched}
        alarm = {
            "AlarmName": f"{request['AlarmNamePrefix']}DatabaseIsBusy-1",
            "Namespace": "AWS/RDS",
            "MetricName": "CPUUtilization",
            "EvaluationPeriods": 3,
            "ComparisonOperator": "GreaterThanThreshold",
            "Dimensions": [dimension],
        }
        page, following = self.world.paged([alarm], request.get("NextToken"))
        return {"MetricAlarms": page, **({"NextToken": following} if following else {})}

    def put_metric_alarm(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.watched = request["Dimensions"][0]["Value"]
        return {}

    @property
    def leads_to(self) -> str:
        """The instance to which the secret leads: what starts from now on runs on its data."""
        return self.secret.partition("@")[2].partition(".")[0]


def _instance(name: str, status: str) -> dict[str, Any]:
    return {
        "DBInstanceIdentifier": name,
        "DBInstanceStatus": status,
        "DBInstanceClass": "db.t3.micro",
        "Endpoint": {"Address": f"{name}.example", "Port": 5432},
    }
