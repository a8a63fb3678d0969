"""Identify the source: which archive, of which service, and whether it is built."""

import os
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any, Literal, NotRequired, TypedDict, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3, ssm
from deployer.aws.log import Logger
from deployer.build import image_build
from deployer.build.image_build import Build, Fetch, Source, Upload
from deployer.deploy.spec import for_service
from deployer.errors import RequestRejected, SourcesRejected
from deployer.store import builds, releases

logger = Logger()

# What CodeBuild takes as its own source: the buildspec and the program that it calls.
_TOOLS = ("image.yaml", "image.py")


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """What is to be done: BUILD an archive, FETCH a commit, or NOTHING."""

    decision: Literal["BUILD", "FETCH", "NOTHING"]
    reason: str
    release: Build | None
    variables: list[image_build.Variable]
    tools: str
    project: NotRequired[str]
    commit: NotRequired[str]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    asked = image_build.parse(event["input"])
    if isinstance(asked, Fetch):
        identified = _fetched(asked)
    else:
        now = datetime.fromisoformat(event["startedAt"])
        identified = _uploaded(asked, event["execution"], now)
    logger.info("source identified", decision=identified["decision"], reason=identified["reason"])
    return identified


def _fetched(request: Fetch) -> Identified:
    project, service = os.environ["FETCH_PROJECT"], os.environ["FETCH_SERVICE"]
    if not project or service != request.service:
        raise RequestRejected(
            f"no repository of {request.service} is connected: give the deployer's stack"
            " SourceRepository and SourceConnectionArn, or upload an archive"
        )
    identified = _identified("FETCH", f"commit {request.commit} is fetched", None, [], "")
    return {**identified, "project": project, "commit": request.commit}


def _uploaded(upload: Upload, execution: str, now: datetime) -> Identified:
    bucket = os.environ["SOURCES"]
    earlier = cast(Build | None, releases.of_execution(execution))
    # an earlier try has found the archive already, and another may lie there since
    source = earlier["source"] if earlier else _source(bucket, upload)
    mine = image_build.entry(upload, source, execution, now)
    refusal = image_build.refusal(source)
    if refusal:
        raise SourcesRejected(refusal)
    spec, _ = for_service(ssm.service_specs(), upload.service)
    already = releases.open_release(mine)
    if already:
        return _identified("NOTHING", f"this upload is build {already['id']}", mine, [], "")
    known = _known(mine)
    if known:
        releases.close_release(mine, "IGNORED", {"reason": known, "endedAt": now.isoformat()})
        return _identified("NOTHING", known, mine, [], "")
    variables = image_build.variables(spec, source, bucket, execution)
    return _identified("BUILD", "", mine, variables, _publish(bucket))


def _source(bucket: str, upload: Upload) -> Source:
    found = s3.describe(bucket, upload.key, upload.version)
    if found is None:
        raise SourcesRejected(f"{upload.key} is not in the bucket {bucket} (any more)")
    return cast(Source, found)


def _known(mine: Build) -> str | None:
    """Take the content for this build, from one that failed too; else why it need not be built."""
    replaced = ""
    while holder := builds.claim(mine, replaced):
        earlier = releases.find(mine["service"], holder)
        if earlier and (
            known := image_build.known(earlier, mine, releases.history(mine["service"]))
        ):
            return known
        replaced = holder
    return None


def _publish(bucket: str) -> str:
    """Put the tools where CodeBuild finds them as its source: a folder for each version of them."""
    tools: Mapping[str, bytes] = {
        name: (files("buildspecs") / name).read_bytes() for name in _TOOLS
    }
    folder = f"tools/{image_build.fingerprint(tools)}/"
    for name, content in tools.items():
        s3.upload(bucket, f"{folder}{name}", content)
    return f"{bucket}/{folder}"


def _identified(
    decision: Literal["BUILD", "FETCH", "NOTHING"],
    reason: str,
    release: Build | None,
    variables: list[image_build.Variable],
    tools: str,
) -> Identified:
    return {
        "decision": decision,
        "reason": reason,
        "release": release,
        "variables": variables,
        "tools": tools,
    }
