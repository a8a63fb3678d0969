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

# An image's config is a few KB; the limit protects against a hostile one.
_CONFIG_LIMIT = 4 * 1024 * 1024
# How long DescribeImages may lag behind a push; ECR documents no bound.
_READ_LAG = timedelta(seconds=30)
_READ_PAUSE = 2.0  # seconds
_NO_SUCH_IMAGE = ("ImageNotFoundException", "RepositoryNotFoundException")


def _ecr() -> "ECRClient":
    return client("ecr")  # type: ignore[no-any-return]


def find(repository: str, reference: str) -> Image | None:
    """Return the image with a tag or digest, or None if the repository does not have it."""
    image_id: ImageIdentifierTypeDef = (
        {"imageDigest": reference} if reference.startswith("sha256:") else {"imageTag": reference}
    )
    try:
        details = _ecr().describe_images(repositoryName=repository, imageIds=[image_id])
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

    A missing repository, or one without permission to read it, has none.
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
    """Return an image that was just pushed, or None. Retry while reads may lag behind the push.

    Args:
        at: the time of the push event.
    """
    image = find(repository, digest)
    while image is None and datetime.now(UTC) - at < _READ_LAG:
        time.sleep(_READ_PAUSE)
        image = find(repository, digest)
    return image


def config(repository: str, digest: str) -> Document:
    """Return the config of a single-platform image: platform, entrypoint and labels."""
    manifest = _manifest(repository, digest)
    if manifest is None:
        return {}
    download = _ecr().get_download_url_for_layer(
        repositoryName=repository, layerDigest=manifest["config"]["digest"]
    )
    try:
        with urllib.request.urlopen(download["downloadUrl"], timeout=10) as response:
            image_config: Document = json.loads(response.read(_CONFIG_LIMIT))
    except (OSError, HTTPException) as error:
        raise AwsUnavailable(f"the image's config cannot be downloaded: {error}") from error
    return image_config


def _manifest(repository: str, digest: str) -> Document | None:
    images = _ecr().batch_get_image(
        repositoryName=repository,
        imageIds=[{"imageDigest": digest}],
        acceptedMediaTypes=[*MANIFESTS, *INDEXES],
    )["images"]
    if not images:
        return None
    manifest: dict[str, Any] = json.loads(images[0]["imageManifest"])
    return manifest


def _subject(manifest: Document) -> str | None:
    subject = manifest.get("subject")
    return str(subject["digest"]) if subject else None
