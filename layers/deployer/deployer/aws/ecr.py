"""Images in ECR."""

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deployer.aws import client, refused
from deployer.deploy.image import INDEXES, MANIFESTS, Document, Image
from deployer.deploy.reconciliation import PushedImage
from deployer.errors import AwsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

# An image's config is a few KB; this bounds what a hostile one may make us read.
_CONFIG_LIMIT = 4 * 1024 * 1024
# How long after a push DescribeImages may not show it; ECR documents no bound.
_READ_LAG = timedelta(seconds=30)
_BETWEEN_LOOKS = 2.0  # seconds
_NO_SUCH_IMAGE = ("ImageNotFoundException", "RepositoryNotFoundException")


def _ecr() -> "ECRClient":
    return client("ecr")  # type: ignore[no-any-return]


def find(repository: str, reference: str) -> Image | None:
    """The image under a tag or a digest; None if the repository has none such."""
    wanted: ImageIdentifierTypeDef = (
        {"imageDigest": reference} if reference.startswith("sha256:") else {"imageTag": reference}
    )
    try:
        details = _ecr().describe_images(repositoryName=repository, imageIds=[wanted])
    except ClientError as error:
        if error.response["Error"]["Code"] in _NO_SUCH_IMAGE:
            return None
        raise
    detail = details["imageDetails"][0]
    digest = detail["imageDigest"]
    manifest = _manifest(repository, digest)
    if manifest is None:
        return None
    registry = _ecr().describe_repositories(repositoryNames=[repository])["repositories"][0]
    return Image(
        digest=digest,
        uri=f"{registry['repositoryUri']}@{digest}",
        tags=tuple(detail.get("imageTags", ())),
        pushed_at=detail["imagePushedAt"],
        active=detail.get("imageStatus", "ACTIVE") == "ACTIVE",
        refers_to=detail.get("subjectManifestDigest") or _subject(manifest),
        manifest=manifest,
    )


def tagged(repository: str) -> list[PushedImage]:
    """Return a repository's tagged images.

    A repository that is not there, or not ours to read, has none.
    """
    pages = (
        _ecr()
        .get_paginator("describe_images")
        .paginate(
            repositoryName=repository,
            filter={"tagStatus": "TAGGED"},
            PaginationConfig={"PageSize": 1000},  # the most; there may be tens of thousands
        )
    )
    try:
        details = [detail for page in pages for detail in page["imageDetails"]]
    except ClientError as error:
        if error.response["Error"]["Code"] in _NO_SUCH_IMAGE or refused(error):
            return []
        raise
    return [
        PushedImage(detail["imageDigest"], tuple(detail["imageTags"]), detail["imagePushedAt"])
        for detail in details
    ]


def find_pushed(repository: str, digest: str, at: datetime) -> Image | None:
    """Return the image that was just pushed: looked for again for as long as reads may lag behind
    the push; None if it is not there.

    Args:
        at: when the push was told of.
    """
    found = find(repository, digest)
    while found is None and datetime.now(UTC) - at < _READ_LAG:
        time.sleep(_BETWEEN_LOOKS)
        found = find(repository, digest)
    return found


def config(repository: str, digest: str) -> Document:
    """The config of a single-platform image: its platform, entrypoint and labels."""
    manifest = _manifest(repository, digest)
    if manifest is None:
        return {}
    where = _ecr().get_download_url_for_layer(
        repositoryName=repository, layerDigest=manifest["config"]["digest"]
    )
    try:
        with urllib.request.urlopen(where["downloadUrl"], timeout=10) as answer:
            parsed: Document = json.loads(answer.read(_CONFIG_LIMIT))
    except (OSError, HTTPException) as error:
        raise AwsUnavailable(f"the image's config can't be downloaded: {error}") from error
    return parsed


def _manifest(repository: str, digest: str) -> Document | None:
    found = _ecr().batch_get_image(
        repositoryName=repository,
        imageIds=[{"imageDigest": digest}],
        acceptedMediaTypes=[*MANIFESTS, *INDEXES],
    )["images"]
    if not found:
        return None
    manifest: dict[str, Any] = json.loads(found[0]["imageManifest"])
    return manifest


def _subject(manifest: Document) -> str | None:
    subject = manifest.get("subject")
    return str(subject["digest"]) if subject else None
