"""The releases table in DynamoDB: its items as plain values.

service                  id                     holds
<service's name>         <release id>           a release and its outcome
                         #lock                  who holds the lock
                         #waiting#<release id>  a request for the lock
                         #hold                  who holds pushes back, since when and why
                         #database              the instance that a restoration made
ignored:<service's name> <release id>           a push that deploys nothing
tag:<service's name>     <digest>#<tag>         the release of the push of that tag and digest
repository:<name>        <release id>           a push for which no service was found
execution:<ARN>          release                the release that an execution carries out
                         hold                   the hold that an execution ended
build:<service's name>   <build id>             a build of the service's image; #… as for releases
content:build:<name>     <entity tag or commit> the build that an archive's content has
reconcile                next                   the service or site that the next round starts with
                         specs                  the service and repository of each spec, if many
rollout:<deployment id>  token                  the token of the execution that waits for it

The index Standing sorts the releases of a service by what they mean for later ones; see `releases`.
"""

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from deployer.aws import client
from deployer.errors import AwsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Values = Mapping[str, Any]

_CONFLICT_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds after each try; a transaction takes less

_to_item = TypeSerializer().serialize
_from_item = TypeDeserializer().deserialize


def _dynamodb() -> "DynamoDBClient":
    return client("dynamodb")  # type: ignore[no-any-return]


def _name() -> str:
    return os.environ["RELEASES_TABLE"]


def _item(values: Values) -> dict[str, Any]:
    return {name: _to_item(value) for name, value in values.items()}


def _values(item: Values) -> dict[str, Any]:
    return {name: _plain(_from_item(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    """Convert DynamoDB's Decimal numbers to int: JSON has no Decimal, and all numbers are whole."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, Decimal) else value


def get(service: str, name: str) -> dict[str, Any] | None:
    """Return an item, read consistently, or None if it does not exist."""
    key = _item({"service": service, "id": name})
    response = _dynamodb().get_item(TableName=_name(), Key=key, ConsistentRead=True)
    return _values(response["Item"]) if "Item" in response else None


def put(values: Values) -> None:
    """Write an item, replacing an existing one."""
    _write(lambda: _dynamodb().put_item(TableName=_name(), Item=_item(values)))


def put_if(values: Values, condition: str, **compared: Any) -> dict[str, Any] | None:
    """Write an item if a condition on the existing item holds.

    Args:
        condition: an expression in which `#x` stands for attribute x and `:x` for `compared[x]`.
    Returns:
        None if it was written; otherwise the existing item ({} if there is none).
    """
    try:
        _write(
            lambda: _dynamodb().put_item(
                TableName=_name(),
                Item=_item(values),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_condition(condition, compared),
            )
        )
    except _dynamodb().exceptions.ConditionalCheckFailedException as error:
        return _current(error.response)
    return None


def _write(write: Callable[[], object]) -> None:
    """Write one item; retry while a transaction has it locked, which botocore does not retry.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html

    Raises:
        AwsUnavailable: the item stays locked.
    """
    for pause in _CONFLICT_PAUSES:
        try:
            write()
            return
        except _dynamodb().exceptions.TransactionConflictException:
            time.sleep(pause)
    raise AwsUnavailable(f"other transactions keep an item of {_name()} locked")


def _current(refusal: Values) -> dict[str, Any]:
    return _values(refusal.get("Item", {}))


def put_without(values: Values, absent: str, condition: str, **compared: Any) -> bool:
    """Write an item if a condition on the existing one holds and the service has no item `absent`.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html

    Returns:
        False if either does not hold, or another request wrote one of the two at the same time.
    Raises:
        AwsUnavailable: DynamoDB cancelled the transaction for another reason.
    """
    absence = _check(values["service"], absent, "attribute_not_exists(#id)")
    return _transact(_put(values, condition, compared), absence)


def put_both(values: Values, new: Values, condition: str, **compared: Any) -> bool:
    """Write an item if a condition on the existing one holds, together with a new item.

    Returns:
        False if either does not hold, or another request wrote one of the two at the same time.
    Raises:
        AwsUnavailable: DynamoDB cancelled the transaction for another reason.
    """
    return _transact(_put(values, condition, compared), _put(new, "attribute_not_exists(#id)", {}))


def update_with(
    service: str, name: str, values: Values, condition: str, present: str, **compared: Any
) -> bool:
    """Set attributes of an item if a condition on it holds and the service has an item `present`.

    Returns:
        False if either does not hold, or another request wrote one of the two at the same time.
    Raises:
        AwsUnavailable: DynamoDB cancelled the transaction for another reason.
    """
    update = {"TableName": _name(), **_update(service, name, values, condition, compared)}
    return _transact({"Update": update}, _check(service, present, "attribute_exists(#id)"))


def _check(service: str, name: str, condition: str) -> dict[str, Any]:
    key = _item({"service": service, "id": name})
    return {"ConditionCheck": {"TableName": _name(), "Key": key, **_condition(condition, {})}}


def _put(values: Values, condition: str, compared: Values) -> dict[str, Any]:
    item = _item(values)
    return {"Put": {"TableName": _name(), "Item": item, **_condition(condition, compared)}}


def _transact(*writes: dict[str, Any]) -> bool:
    try:
        _dynamodb().transact_write_items(TransactItems=writes)  # type: ignore[arg-type]
    except _dynamodb().exceptions.TransactionCanceledException as error:
        reasons = {reason["Code"] for reason in error.response["CancellationReasons"]}
        if reasons & {"ConditionalCheckFailed", "TransactionConflict"}:
            return False
        raise AwsUnavailable(f"TransactWriteItems: {', '.join(sorted(reasons))}") from error
    return True


def update_if(
    service: str, name: str, values: Values, condition: str, **compared: Any
) -> dict[str, Any] | None:
    """Set attributes of an item if a condition on it holds; returns as `put_if` does."""
    try:
        _write(
            lambda: _dynamodb().update_item(
                TableName=_name(),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_update(service, name, values, condition, compared),
            )
        )
    except _dynamodb().exceptions.ConditionalCheckFailedException as error:
        return _current(error.response)
    return None


def _update(
    service: str, name: str, values: Values, condition: str, compared: Values
) -> dict[str, Any]:
    conditional = _condition(condition, compared)
    conditional["ExpressionAttributeNames"] |= {f"#{key}": key for key in values}
    conditional["ExpressionAttributeValues"] = {
        **conditional.get("ExpressionAttributeValues", {}),
        **_item({f":{key}": value for key, value in values.items()}),
    }
    return {
        "Key": _item({"service": service, "id": name}),
        "UpdateExpression": "SET " + ", ".join(f"#{key} = :{key}" for key in values),
        **conditional,
    }


def delete_if(service: str, name: str, condition: str, **compared: Any) -> bool:
    """Delete an item if a condition on it holds; return False if it does not."""
    try:
        _write(
            lambda: _dynamodb().delete_item(
                TableName=_name(),
                Key=_item({"service": service, "id": name}),
                **_condition(condition, compared),
            )
        )
    except _dynamodb().exceptions.ConditionalCheckFailedException:
        return False
    return True


def _condition(condition: str, compared: Values) -> dict[str, Any]:
    words = condition.replace("(", " ").replace(")", " ").replace(",", " ").split()
    names = {word: word[1:] for word in words if word.startswith("#")}
    request: dict[str, Any] = {"ConditionExpression": condition, "ExpressionAttributeNames": names}
    if compared:
        request["ExpressionAttributeValues"] = _item({f":{k}": v for k, v in compared.items()})
    return request


def query(
    service: str,
    condition: str,
    limit: int | None = None,
    by: Literal["id", "standing"] = "id",
    **compared: Any,
) -> list[Any]:
    """Return the items of a service whose sort key meets a condition, the highest first.

    Args:
        condition: on `#id`, or on `#standing`.
        by: the sort key of the table or of the index, whose reads are consistent too:
            https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LSI.html
    """
    request: dict[str, Any] = {
        "TableName": _name(),
        **({"IndexName": "Standing"} if by == "standing" else {}),
        "KeyConditionExpression": f"#service = :service AND {condition}",
        "ExpressionAttributeNames": {"#service": "service", f"#{by}": by},
        "ExpressionAttributeValues": _item(
            {":service": service, **{f":{name}": value for name, value in compared.items()}}
        ),
        "ScanIndexForward": False,
        "ConsistentRead": True,
    }
    paging: Any = {"MaxItems": limit, "PageSize": limit} if limit else {}
    # a page ends at 1 MB, whatever the limit
    pages = _dynamodb().get_paginator("query").paginate(**request, PaginationConfig=paging)
    return [_values(item) for page in pages for item in page["Items"]]


def created() -> datetime:
    """Return when the table was created: pushes before that cannot have been missed."""
    return _dynamodb().describe_table(TableName=_name())["Table"]["CreationDateTime"]
