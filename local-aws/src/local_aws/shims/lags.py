"""What AWS documents as eventually consistent, as faults; off unless the server's environment says.

READ_LAG_SECONDS
    DescribeExecution does not know an execution that started within so many seconds, and shows one
    that ended within them as running
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
    DescribeImages does not show an image pushed within them (AWS documents no bound).
    DescribeServices lags in `ecs`.
WRITE_CONFLICTS=1
    Each write of one item first meets another request's transaction
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html).
"""

import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import dynamodb, ecr, stepfunctions

from local_aws.shims import Shim

Data = dict[str, Any]
Call = Callable[..., Any]

_READ_LAG = float(os.environ.get("READ_LAG_SECONDS", "0"))

_log = logging.getLogger("lags")
_met: set[str] = set()  # the writes that were refused and may now be made
_reads, _writes = Shim(), Shim()


def install() -> None:
    if _READ_LAG:
        _reads.install()
    if os.environ.get("WRITE_CONFLICTS") == "1":
        _writes.install()


@_reads.wraps(stepfunctions, "_describe_execution", "data")
def _describe_execution(original: Call, data: Data) -> Any:
    execution = stepfunctions._executions.get(data.get("executionArn"))
    if execution and _young(execution["startDate"]):
        _log.info("DescribeExecution does not show %s yet", execution["executionArn"])
        return error_response_json("ExecutionDoesNotExist", "Execution Does Not Exist", 400)
    answer = original(data)
    if execution and execution["stopDate"] and _young(execution["stopDate"]):
        shown = json.loads(answer[2]) | {"status": "RUNNING"}
        ended = ("stopDate", "output", "error", "cause")
        return json_response({name: shown[name] for name in shown if name not in ended})
    return answer


@_reads.wraps(ecr, "_describe_images", "data")
def _describe_images(original: Call, data: Data) -> Any:
    answer = original(data)
    details = json.loads(answer[2]).get("imageDetails", ()) if answer[0] == 200 else ()
    late = [d["imageDigest"] for d in details if time.time() - d["imagePushedAt"] < _READ_LAG]
    if not late:
        return answer
    _log.info("DescribeImages does not show %s yet", ", ".join(late))
    if data.get("imageIds"):
        message = "The image with imageId {imageDigest:'%s', imageTag:'null'} does not exist"
        return error_response_json("ImageNotFoundException", message % late[0], 400)
    shown = [detail for detail in details if detail["imageDigest"] not in late]
    return json_response(json.loads(answer[2]) | {"imageDetails": shown})


def _young(iso: str) -> bool:
    return bool(time.time() - stepfunctions._iso_to_epoch_ms(iso) / 1000 < _READ_LAG)


def _conflicting(original: Call, data: Data) -> Any:
    write = json.dumps(data, sort_keys=True)
    if write in _met:
        _met.remove(write)
        return original(data)
    _met.add(write)
    _log.info("a write of %s meets a transaction", data.get("TableName"))
    message = "Transaction is ongoing for the item"
    return error_response_json("TransactionConflictException", message, 400)


for _name in ("_put_item", "_update_item", "_delete_item"):
    _writes.wraps(dynamodb, _name, "data")(_conflicting)
