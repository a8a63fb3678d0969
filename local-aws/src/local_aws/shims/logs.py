"""FilterLogEvents finds streams by how their names begin, and gives its answer in pages.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
"""

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import json_response
from ministack.services import cloudwatch_logs

from local_aws.shims import Shim

_EVENTS = 10_000
_BYTES = 1024 * 1024

shim = Shim()


@shim.wraps(cloudwatch_logs, "_filter_log_events", "data")
def _filter_log_events(original: Callable[[Any], Any], data: dict[str, Any]) -> Any:
    """ "As many log events as can fit in 1 MB (up to 10,000)"; the token is the time from which to
    go on, and how many lines of that time were sent."""
    prefix, request = data.get("logStreamNamePrefix"), dict(data)
    if prefix:
        group = cloudwatch_logs._resolve_log_group_name(data)
        streams = cloudwatch_logs._log_groups.get(group, {}).get("streams", {})
        matching = [name for name in list(streams) if name.startswith(prefix)]
        request["logStreamNames"] = matching or [f"{prefix}*"]  # which no stream may be called
    skip = 0
    if token := data.get("nextToken"):
        time, returned = token.split("-")
        request["startTime"], skip = int(time), int(returned)
    status, headers, body = original(request | {"limit": _EVENTS})
    if status != 200:
        return status, headers, body
    events = json.loads(body)["events"][skip:]
    page: list[Any] = []
    size = 0
    for event in events:
        size += len(event["message"].encode()) + 26
        if page and (size > _BYTES or len(page) == data.get("limit", _EVENTS)):
            break
        page.append(event)
    answer: dict[str, Any] = {"events": page, "searchedLogStreams": []}
    if len(page) < len(events) or len(events) + skip == _EVENTS:
        last = page[-1]["timestamp"]
        same = sum(event["timestamp"] == last for event in page)
        before = skip if last == request.get("startTime") else 0
        answer["nextToken"] = f"{last}-{same + before}"
    return json_response(answer)


install = shim.install
