"""CloudFront's edge: its cache, its functions with their key value stores, and its address.

MiniStack answers a distribution's viewers, runs its functions in Node and asks the bucket's policy.
What is missing for a site with a switch is added here: the module `cloudfront` in a function (AWS
CloudFront developer guide, Helper methods for key value stores), a cache with the path as the
functions leave it for its key (Understand the cache key; Manage how long content stays in the
cache; Invalidate files), S3's 404 for a missing key where the policy allows to list the bucket
(AmazonS3 API reference, GetObject), and Step Functions' calls of the store, in the state machine's
role.

A distribution is at http://<label>.cloudfront.localhost:<port>. There is no TLS here: what arrives
is taken for HTTPS unless X-Forwarded-Proto says http, and the functions' requests to https://…localhost
are made in the clear (`lambda_worker`).
"""

import json
import os
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ministack import app
from ministack.core import cloudfront_js
from ministack.services import cloudfront, cloudfront_keyvaluestore, s3, stepfunctions

from local_aws.shims import Shim, roles, step_functions

Json = dict[str, Any]
Call = Callable[..., Any]

_SERVICE = "cloudfrontkeyvaluestore"
_STORES = f"arn:aws:states:::aws-sdk:{_SERVICE}:"
_IMPORT = re.compile(rb"^\s*import\s+(\w+)\s+from\s+['\"]cloudfront['\"];?[ \t]*$", re.MULTILINE)
# One line, so that what a function throws names its own lines.
_MODULE = (
    "const NAME = { kvs: () => { const held = ITEMS[0];"
    " if (!held) throw new Error('no key value store is associated');"
    " return { exists: async (key) => key in held, get: async (key, options) => {"
    " if (!(key in held)) throw new Error('KeyNotFound');"
    " return options && options.format === 'json' ? JSON.parse(held[key]) : held[key]; } }; } };"
)
_AGE = re.compile(r"(?:^|[\s,])(s-maxage|max-age)=(\d+)")
_MOST_KEPT = 500

shim = Shim()
# (distribution, path) to when it goes stale and the origin's answer
_cache: dict[tuple[str, str], tuple[float, tuple[Any, ...]]] = {}


def install() -> None:
    stepfunctions._AWS_SDK_ERROR_PREFIX[_SERVICE] = "CloudFrontKeyValueStore"
    shim.install()


# The address
# -------------------------------------------------------------------------------------------------


@shim.wraps(cloudfront, "_cloudfront_domain", "")
def _cloudfront_domain(original: Call) -> str:
    label = original().partition(".")[0]
    return f"{label}.cloudfront.localhost:{os.environ['GATEWAY_PORT']}"


@shim.replaces(cloudfront, "find_distribution_for_label", "label")
def find_distribution_for_label(label: str) -> Json | None:
    matching = (
        d for d in cloudfront._distributions.values() if d["DomainName"].startswith(f"{label}.")
    )
    return next(matching, None)


@shim.wraps(
    cloudfront,
    "handle_viewer_request",
    "dist method path raw_uri raw_query_string headers body query_params client_ip",
)
async def handle_viewer_request(
    original: Call,
    dist: Json,
    method: str,
    path: str,
    raw_uri: str,
    raw_query_string: str,
    headers: Json,
    *rest: Any,
) -> Any:
    headers = {"x-forwarded-proto": "https", **headers}
    return await original(dist, method, path, raw_uri, raw_query_string, headers, *rest)


# The functions
# -------------------------------------------------------------------------------------------------


@shim.wraps(cloudfront, "_run_function", "function_arn event")
async def _run_function(original: Call, function_arn: str, event: Json) -> Any:
    """Give a function that imports `cloudfront` what its stores hold at this moment."""
    code = cloudfront.live_function_code(function_arn)
    named = _IMPORT.search(code or b"")
    if not named:
        return await original(function_arn, event)
    function = cloudfront._functions.get(function_arn.rsplit("/", 1)[-1])
    items = [_items(arn) for arn in function["kvs_arns"]]
    script = _MODULE.replace("NAME", named[1].decode()).replace("ITEMS", json.dumps(items))
    whole = script.encode() + _IMPORT.sub(b"", code)
    try:
        return await cloudfront.run_offloop(cloudfront_js.evaluate, whole, event)
    except cloudfront_js.CloudFrontFunctionError as error:
        raise cloudfront.CloudFrontFunctionError(str(error)) from error


def _items(arn: str) -> dict[str, str]:
    store, _ = cloudfront_keyvaluestore._get_store(arn)
    return dict(store["items"]) if store else {}


# The cache
# -------------------------------------------------------------------------------------------------


@shim.wraps(
    cloudfront,
    "_fetch_from_origin",
    "origin method uri query_string headers body viewer_is_https client_ip viewer_xff dist_arn",
)
async def _fetch_from_origin(
    original: Call, origin: Json, method: str, uri: str, query: str, headers: Json, *rest: Any
) -> Any:
    key, now = (rest[-1], uri), time.time()
    conditional = any(name.startswith(("if-", "range")) for name in headers)
    if method != "GET" or conditional:
        return await original(origin, method, uri, query, headers, *rest)
    stale, answer = _cache.get(key, (0.0, ()))
    if stale <= now:
        answer = await original(origin, method, uri, query, headers, *rest)
        if len(_cache) >= _MOST_KEPT:
            _cache.clear()
        _cache[key] = (now + _lifetime(answer), answer)
    status, reason, answered, body = answer
    return status, reason, dict(answered), body


def _lifetime(answer: tuple[Any, ...]) -> float:
    """Seconds; a distribution's error pages are asked for again and again here, so none is kept."""
    status, _, headers, _ = answer
    if status != 200:
        return 0.0
    ages = dict(_AGE.findall(str(headers.get("cache-control", ""))))
    return float(ages.get("s-maxage") or ages.get("max-age") or 86400)


@shim.wraps(cloudfront, "_create_invalidation", "dist_id body")
def _create_invalidation(original: Call, dist_id: str, body: bytes) -> Any:
    answer = original(dist_id, body)
    if answer[0] < 400:
        distribution = cloudfront._distributions.get(dist_id)["ARN"]
        for path in re.findall(r"<Path>(.*?)</Path>", body.decode()):
            matches = re.compile(re.escape(path).replace(r"\*", ".*") + "$").match
            for key in [key for key in _cache if key[0] == distribution and matches(key[1])]:
                del _cache[key]
    return answer


# The bucket
# -------------------------------------------------------------------------------------------------


@shim.wraps(s3, "serve_cloudfront_origin_fetch", "bucket_name key method headers source_arn oai_id")
def serve_cloudfront_origin_fetch(
    original: Call,
    bucket_name: str,
    key: str,
    method: str,
    headers: Json,
    source_arn: str = "",
    oai_id: str = "",
) -> Any:
    bucket = s3._ensure_bucket(bucket_name)
    if bucket and key not in bucket["objects"] and _may_list(bucket_name, source_arn):
        return s3._error("NoSuchKey", "The specified key does not exist.", 404, f"/{key}")
    return original(bucket_name, key, method, headers, source_arn=source_arn, oai_id=oai_id)


def _may_list(bucket: str, source_arn: str) -> bool:
    policy = s3._bucket_policies.get_scoped(s3._bucket_owner_account(bucket), None, bucket)
    if not policy or not source_arn:
        return False
    edge, resource = "cloudfront.amazonaws.com", f"arn:aws:s3:::{bucket}"
    return roles.lets_in(policy, edge, "s3:ListBucket", resource, source=source_arn)


# The store, as Step Functions calls it:
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
# -------------------------------------------------------------------------------------------------


@shim.wraps(stepfunctions, "_invoke_aws_sdk_integration", "resource input_data")
def _invoke_aws_sdk_integration(original: Call, resource: str, input_data: Json) -> Any:
    if not resource.startswith(_STORES):
        return original(resource, input_data)
    action, arn = resource.removeprefix(_STORES), input_data["KvsARN"]
    step_functions._allow(
        f"cloudfront-keyvaluestore:{action[0].upper()}{action[1:]}",
        arn,
        "CloudFrontKeyValueStore.AccessDeniedException",
    )
    key = quote(input_data.get("Key", ""), safe="")
    method, path, sent = {
        "describeKeyValueStore": ("GET", "", ()),
        "getKey": ("GET", f"/keys/{key}", ()),
        "putKey": ("PUT", f"/keys/{key}", ("Value",)),
        "updateKeys": ("POST", "/keys", ("Puts", "Deletes")),
    }[action]
    headers = {"if-match": input_data["IfMatch"]} if "IfMatch" in input_data else {}
    content = {name: input_data[name] for name in sent if name in input_data}
    body = json.dumps(content).encode() if sent else b""
    status, answered, content = app.call_service_handler_sync(
        cloudfront_keyvaluestore.handle_request,
        method,
        f"/key-value-stores/{arn}{path}",
        headers,
        body,
        {},
    )
    answer: Json = json.loads(content)
    if status >= 400:
        raise stepfunctions._ExecutionError(
            f"CloudFrontKeyValueStore.{answer['__type']}", answer["Message"]
        )
    return {**answer, **({"ETag": answered["ETag"]} if "ETag" in answered else {})}
