"""The releases table in DynamoDB.

    service                  id                      holds
    <service's name>         <release id>            a release and its outcome
    repository:<name>        <release id>            a push that no service spec names
    rollout:<deployment id>  token                   the token of the execution that waits for it

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from deployer.aws import client
from deployer.release import Outcome, Recorded, Release, Unidentified

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_TOKEN_LIFE = 24 * 3600  # seconds; longer than any execution may run

_to_item = TypeSerializer().serialize
_from_item = TypeDeserializer().deserialize


def _table() -> str:
    return os.environ["RELEASES_TABLE"]


def _dynamodb() -> "DynamoDBClient":
    return client("dynamodb")  # type: ignore[no-any-return]


def _item(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _to_item(value) for name, value in values.items()}


def _values(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(_from_item(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    """DynamoDB's numbers come as Decimal, which JSON does not know; ours are whole."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if hasattr(value, "as_integer_ratio") else value


def open_release(release: Release) -> Recorded | None:
    """Write down that a release is in flight; the same execution may do so again.

    Returns:
        None, or the record that this push already has from another execution. A push recorded
        as IGNORED (untagged, or under another tag) is open to the tag that deploys it.
    """
    return _put(release, or_outcome="IGNORED")


def ignore_release(release: Release, reason: str) -> Recorded | None:
    """Write down that a push deploys nothing, unless it has a record from another execution."""
    ended = {"outcome": "IGNORED", "reason": reason, "endedAt": release["startedAt"]}
    return _put({**release, **ended}, or_outcome="")


def _put(record: Mapping[str, Any], or_outcome: str) -> Recorded | None:
    try:
        _dynamodb().put_item(
            TableName=_table(),
            Item=_item(record),
            ConditionExpression="attribute_not_exists(id) OR #execution = :me OR #outcome = :other",
            ExpressionAttributeNames={"#execution": "execution", "#outcome": "outcome"},
            ExpressionAttributeValues=_item({":me": record["execution"], ":other": or_outcome}),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except _dynamodb().exceptions.ConditionalCheckFailedException as error:
        refused: dict[str, Any] = dict(error.response)
        return cast(Recorded, _values(refused["Item"]))
    return None


def close_release(
    release: Release | Unidentified, outcome: Outcome, details: Mapping[str, Any]
) -> bool:
    """Give a release its one outcome; it makes the record where there is none.

    Returns:
        False if the release has an outcome already, which then stays.
    """
    key = {"service": release["service"], "id": release["id"]}
    fields = {**release, "outcome": outcome, **details}
    fields = {name: value for name, value in fields.items() if name not in key}
    try:
        _dynamodb().update_item(
            TableName=_table(),
            Key=_item(key),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
            ConditionExpression="attribute_not_exists(#outcome)",
            ExpressionAttributeNames={f"#{name}": name for name in fields},
            ExpressionAttributeValues=_item({f":{name}": value for name, value in fields.items()}),
        )
    except _dynamodb().exceptions.ConditionalCheckFailedException:
        return False
    return True


def history(service: str, limit: int = 100) -> list[Recorded]:
    """A service's newest releases, newest first."""
    found = _dynamodb().query(
        TableName=_table(),
        KeyConditionExpression="service = :service",
        ExpressionAttributeValues=_item({":service": service}),
        ScanIndexForward=False,
        ConsistentRead=True,
        Limit=limit,
    )
    return [cast(Recorded, _values(item)) for item in found["Items"]]


def remember_token(rollout_id: str, token: str) -> None:
    """Keep the token of the execution that waits for a rollout; the newest counts."""
    item = {
        "service": f"rollout:{rollout_id}",
        "id": "token",
        "token": token,
        "expiresAt": int(time.time()) + _TOKEN_LIFE,
    }
    _dynamodb().put_item(TableName=_table(), Item=_item(item))


def token(rollout_id: str) -> str | None:
    """The token of the execution that waits for a rollout; None if none does."""
    found = _dynamodb().get_item(
        TableName=_table(),
        Key=_item({"service": f"rollout:{rollout_id}", "id": "token"}),
        ConsistentRead=True,
    )
    return str(_values(found["Item"])["token"]) if "Item" in found else None
