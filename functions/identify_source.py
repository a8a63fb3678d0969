"""Identify the source: which archive, of which service, and whether to build it."""

import os
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any, Literal, NotRequired, TypedDict, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3, ssm
from deployer.build import image_build
from deployer.build.image_build import Build, Fetch, Source, Upload
from deployer.deploy.spec import for_service
from deployer.errors import RequestRejected, SourcesRejected
from deployer.log import Logger
from deployer.store import builds, releases

logger = Logger()

# CodeBuild's source: the buildspec and the program that it runs.
_TOOLS = ("image.yaml", "image.py")


class Request(TypedDict):
    input: Any
    execution: str
    startedAt: str


class Identified(TypedDict):
    """The decision: BUILD an archive, FETCH a commit, or do NOTHING."""

    decision: Literal["BUILD", "FETCH", "NOTHING"]
    reason: str
    release: Build | None
    variables: list[image_build.Variable]
    tools: str
    project: NotRequired[str]
    commit: NotRequired[str]


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Identified:
    request = image_build.parse(event["input"])
    if isinstance(request, Fetch):
        identified = _handle_fetch(request)
    else:
        now = datetime.fromisoformat(event["startedAt"])
        identified = _handle_upload(request, event["execution"], now)
    logger.info("source identified", decision=identified["decision"], reason=identified["reason"])
    return identified


def _handle_fetch(request: Fetch) -> Identified:
    project, service = os.environ["FETCH_PROJECT"], os.environ["FETCH_SERVICE"]
    if not project or service != request.service:
        raise RequestRejected(
            f"no repository of {request.service} is connected: set SourceRepository and"
            " SourceConnectionArn in the deployer's stack, or upload an archive"
        )
    identified = _result("FETCH", f"fetching commit {request.commit}", None, [], "")
    return {**identified, "project": project, "commit": request.commit}


def _handle_upload(upload: Upload, execution: str, now: datetime) -> Identified:
    bucket = os.environ["SOURCES"]
    earlier = builds.of_execution(execution)
    # keep the archive of an earlier try: it may have been overwritten since
    source = earlier["source"] if earlier else _source(bucket, upload)
    build = image_build.entry(upload, source, execution, now)
    refusal = image_build.refusal(source)
    if refusal:
        raise SourcesRejected(refusal)
    spec, _ = for_service(ssm.service_specs(), upload.service)
    recorded = builds.open_build(build)
    if recorded:
        return _result("NOTHING", f"this upload is build {recorded['id']}", build, [], "")
    reason = _existing_image(build)
    if reason:
        releases.close_release(build, "IGNORED", {"reason": reason, "endedAt": now.isoformat()})
        return _result("NOTHING", reason, build, [], "")
    variables = image_build.variables(spec, source, bucket, execution)
    return _result("BUILD", "", build, variables, _upload_tools(bucket))


def _source(bucket: str, upload: Upload) -> Source:
    stored = s3.describe(bucket, upload.key, upload.version)
    if stored is None:
        raise SourcesRejected(f"{upload.key} is not in the bucket {bucket}; upload it again")
    return cast(Source, stored)


def _existing_image(build: Build) -> str | None:
    """Claim the archive's content for this build, also from a build that failed.

    Returns:
        None, or why the content need not be built.
    """
    replaced = ""
    while holder := builds.claim(build, replaced):
        earlier = builds.find(build["service"], holder)
        if earlier and (
            reason := image_build.already_built(earlier, build, builds.history(build["service"]))
        ):
            return reason
        replaced = holder
    return None


def _upload_tools(bucket: str) -> str:
    """Upload the tools as CodeBuild's source, into one folder per version of the tools."""
    tools: Mapping[str, bytes] = {
        name: (files("buildspecs") / name).read_bytes() for name in _TOOLS
    }
    folder = f"tools/{image_build.fingerprint(tools)}/"
    for name, content in tools.items():
        s3.upload(bucket, f"{folder}{name}", content)
    return f"{bucket}/{folder}"


def _result(
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
