"""The lags and refusals that the local AWS has if its settings say so; see local/shims/lags.py."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws.aws import LocalAws
from support import Machines, succeed

_LAG = 1.0


@pytest.fixture(scope="module")
def lagging() -> Iterator[LocalAws]:
    settings = {"READ_LAG_SECONDS": f"{_LAG}", "WRITE_CONFLICTS": "1"}
    with LocalAws.start(settings=settings) as aws:
        yield aws


def shown(read: Callable[[], Any], refusal: str) -> Any:
    """What a read shows at last, refused before."""
    refused, deadline = False, time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = read()
        except ClientError as error:
            assert error.response["Error"]["Code"] == refusal
            refused = True
        else:
            assert refused, "it was shown at once"
            return answer
    raise AssertionError(f"{refusal} to the end")


def test_an_execution_is_shown_late_and_so_is_its_end(lagging: LocalAws) -> None:
    machines = Machines(lagging)
    execution = machines.start({"End": succeed()})

    def describe() -> Any:
        return machines.sfn.describe_execution(executionArn=execution)

    seen = shown(describe, "ExecutionDoesNotExist")
    waits = {"Wait": {"Type": "Wait", "Seconds": 2, "Next": "End"}, "End": succeed()}
    execution = machines.start(waits)
    machines.until(lambda: "ExecutionSucceeded" in machines.types(execution))
    seen = describe()
    assert seen["status"] == "RUNNING" and "stopDate" not in seen
    assert machines.ended(execution)["status"] == "SUCCEEDED"


def test_an_image_is_shown_late(lagging: LocalAws, name: str) -> None:
    ecr = lagging.client("ecr")
    ecr.create_repository(repositoryName=name)
    manifest = '{"mediaType": "application/vnd.oci.image.manifest.v1+json"}'
    pushed = ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag="1")["image"]
    assert ecr.describe_images(repositoryName=name)["imageDetails"] == []
    (detail,) = shown(
        lambda: ecr.describe_images(repositoryName=name, imageIds=[pushed["imageId"]]),
        "ImageNotFoundException",
    )["imageDetails"]
    assert detail["imageTags"] == ["1"]


def test_a_write_of_one_item_meets_a_transaction_first(lagging: LocalAws, name: str) -> None:
    table = lagging.client("dynamodb")
    table.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    key = {"id": {"S": "one"}}
    change = {
        "UpdateExpression": "SET n = :n",
        "ExpressionAttributeValues": {":n": {"N": "1"}},
    }
    for write, given in (
        (table.put_item, {"Item": key}),
        (table.update_item, {"Key": key, **change}),
        (table.delete_item, {"Key": key}),
    ):
        shown(partial(write, TableName=name, **given), "TransactionConflictException")
    assert "Item" not in table.get_item(TableName=name, Key=key)
