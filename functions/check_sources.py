"""Check the uploaded sources, and repack them as a zip of plain files for the build."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.typing import LambdaContext

from deployer.aws import s3
from deployer.docs import builders, site, sources
from deployer.docs.site import DocsRelease
from deployer.errors import SourcesRejected
from deployer.log import Logger

logger = Logger()


class Request(TypedDict):
    spec: Mapping[str, Any]
    release: DocsRelease
    execution: str


class Variable(TypedDict):
    """A variable of the build with a secret's value, as StartBuild takes it."""

    Name: str
    Value: str
    Type: str


class Checked(TypedDict):
    """What to build, and how.

    Attributes:
        built: the ARN of the built site's zip, if these sources were built before or are a built
            site; empty if they must be built.
        archive: the repacked sources as `bucket/key`, CodeBuild's source format.
        buildspec: the commands that build them.
        cache: where the site's packages are cached, as `bucket/folder`.
        bucket, folder, name: where the build puts the built site's zip.
        role: the ARN of the role that the build runs in; empty if nothing is built.
        secrets: the registries' credentials, for the build only.
        reason: what was found, and what may not be as intended.
    """

    built: str
    archive: str
    buildspec: str
    cache: str
    bucket: str
    folder: str
    name: str
    role: str
    secrets: list[Variable]
    reason: str


@logger.inject_lambda_context(correlation_id_path="execution")
def handler(event: Request, context: LambdaContext) -> Checked:
    spec, release = site.from_document(event["spec"]), event["release"]
    bucket, _, key = release["source"].partition("/")
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as repacked:
        if not s3.download(bucket, key, archive, release["sourceVersion"]):
            raise SourcesRejected(f"s3://{bucket}/{key} is gone; upload it again")
        named = s3.metadata(bucket, key, release["sourceVersion"]).get(site.FOLDER)
        build = replace(spec.build, directory=named) if named else spec.build
        plan, content = sources.repack(archive, key.rsplit("/", 1)[-1], repacked, build)
        buildspec = builders.buildspec((files("buildspecs") / "docs.yaml").read_text(), plan)
        name = hashlib.sha256(f"{content}\n{buildspec}".encode()).hexdigest() + ".zip"
        folder, target = f"built/{spec.site}", f"checked/{spec.site}/{release['id']}.zip"
        was_built = release["trigger"] != "deploy" and s3.describe(bucket, f"{folder}/{name}")
        role = "" if was_built or plan.is_built else site.build_role(spec)
        if plan.is_built:
            target = f"{folder}/{name}"
        if not was_built:
            repacked.seek(0)
            s3.upload(bucket, target, repacked)
    logger.info("sources checked", plan=asdict(plan), built=bool(was_built))
    before = ["built before from the same sources"] if was_built else []
    return {
        "built": f"arn:aws:s3:::{bucket}/{folder}/{name}" if was_built or plan.is_built else "",
        "archive": f"{bucket}/{target}",
        "buildspec": buildspec,
        "cache": f"{bucket}/docs-cache/{spec.site}",
        "bucket": bucket,
        "folder": folder,
        "name": name,
        "role": role,
        "secrets": [
            {"Name": variable, "Value": secret, "Type": "SECRETS_MANAGER"}
            for variable, secret in spec.build.secrets.items()
        ],
        "reason": "; ".join([plan.summary, *before, *plan.warnings]),
    }
