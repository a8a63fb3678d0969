"""The records of releases, builds and docs, as the deployer keeps them in its table."""

from typing import Any

from boto3.dynamodb.types import TypeDeserializer


def items(dynamodb: Any, table: str, service: str) -> list[dict[str, Any]]:
    """All items of a service, in the order of their ids: releases, and what else is kept of it
    under names with `#`. `dynamodb`: a client."""
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="service = :service",
        ExpressionAttributeValues={":service": {"S": service}},
        ConsistentRead=True,
    )
    value = TypeDeserializer().deserialize
    return [
        {name: value(entry) for name, entry in item.items()}
        for page in pages
        for item in page["Items"]
    ]


def of_execution(dynamodb: Any, table: str, service: str, arn: str) -> dict[str, Any]:
    """The record that an execution wrote; {} if there is none."""
    return next((r for r in items(dynamodb, table, service) if r.get("execution") == arn), {})
