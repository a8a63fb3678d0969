"""Check the uploaded sources, and repack them as a zip of plain files for the build."""

import tempfile
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3
from deployer.docs import site, sources
from deployer.docs.site import DocsRelease
from deployer.docs.sources import Plan
from deployer.errors import SourcesRejected
from deployer.log import Logger

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: DocsRelease
    execution: str


class Checked(Plan):
    """The build plan, the repacked zip as `bucket/key` (CodeBuild's source format), and the
    buildspec that builds it."""

    archive: str
    buildspec: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Checked:
    spec, release = site.from_document(event["spec"]), event["release"]
    bucket, _, key = release["source"].partition("/")
    target = f"checked/{release['id']}.zip"
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as repacked:
        if not s3.download(bucket, key, archive, release["sourceVersion"]):
            raise SourcesRejected(f"s3://{bucket}/{key} is gone; upload it again")
        archive.seek(0)
        plan = sources.repack(archive, key.rsplit("/", 1)[-1], repacked, spec.build)
        repacked.seek(0)
        s3.upload(bucket, target, repacked)
    logger.info("sources checked", plan=plan)
    buildspec = (files("buildspecs") / "docs.yaml").read_text()
    return {**plan, "archive": f"{bucket}/{target}", "buildspec": buildspec}
