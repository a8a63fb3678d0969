"""Read manifests and configs of a repository: is a digest an image that the service can run?

Imports nothing of the deployer.

Media types: https://github.com/opencontainers/image-spec/blob/main/media-types.md and
https://docs.docker.com/reference/api/registry/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
VERSION_LABEL = "org.opencontainers.image.version"
REVISION_LABEL = "org.opencontainers.image.revision"
SOURCE_LABEL = "org.opencontainers.image.source"
SCHEMA_NUMBER_LABEL = "deployer.schema.number"
SCHEMA_HASH_LABEL = "deployer.schema.hash"

type Document = Mapping[str, Any]
_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")  # of SHA-1 or SHA-256
_SOURCE = re.compile(r"(https://[\w.-]+(?::\d+)?/[\w./~-]{1,200}?)(\.git)?/?")
_ATTESTATION = "unknown/unknown"  # the platform of what buildx adds to an index


class Schema(TypedDict):
    """The database schema that a release migrates to: its number, and a hash of its migrations."""

    number: int
    hash: str | None


class Commit(TypedDict):
    """What an image was built from: a commit's hash, and the URL of its repository or None."""

    revision: str
    source: str | None


def shown(schema: Schema | None) -> str:
    """Return a schema in words: its number, with the beginning of its hash."""
    if schema is None:
        return "unknown"
    return f"{schema['number']} ({schema['hash'][:8]})" if schema["hash"] else f"{schema['number']}"


@dataclass(frozen=True)
class Image:
    """A digest as the registry describes it."""

    digest: str
    uri: str
    tags: tuple[str, ...]
    pushed_at: datetime
    active: bool
    refers_to: str | None
    manifest: Document

    @property
    def is_index(self) -> bool:
        return media_type(self.manifest) in INDEXES


def media_type(manifest: Document) -> str:
    """Return the manifest's media type; without one, as OCI allows, deduce it from the fields."""
    declared = manifest.get("mediaType")
    if isinstance(declared, str):
        return declared
    return INDEXES[0] if "manifests" in manifest else MANIFESTS[0]


def child_for(index: Document, platform: str | None) -> str | None:
    """Return the digest of an index's image for a platform such as `linux/amd64`, or None.

    Without a platform, that of its first image.
    """
    for entry in index.get("manifests", ()):
        runs_on = entry.get("platform", {})
        built_for = f"{runs_on.get('os')}/{runs_on.get('architecture')}"
        if built_for == platform or (platform is None and built_for != _ATTESTATION):
            return str(entry["digest"])
    return None


def not_an_image(image: Image) -> str | None:
    """Return why a task cannot run this digest, or None if the manifest allows it."""
    kind = media_type(image.manifest)
    if image.refers_to:
        return f"it is a signature, attestation or SBOM of {image.refers_to}"
    if not image.active:
        return "the image is archived; activate it in ECR to deploy it"
    if kind in INDEXES:
        return None
    if kind not in MANIFESTS:
        return f"it is not an image: its manifest is {kind}"
    artifact = image.manifest.get("artifactType")
    config = image.manifest.get("config", {}).get("mediaType")
    if artifact or config not in CONFIGS:
        return f"it is an artifact, not an image: {artifact or config}"
    return None


def wrong_platform(config: Document, platform: str | None) -> str | None:
    """Return why an image with this config can't run on the platform; None if it can."""
    built_for = f"{config.get('os')}/{config.get('architecture')}"
    if platform and built_for != platform:
        return f"the image is for {built_for} and the service runs on {platform}"
    return None


def labels(config: Document) -> Mapping[str, str]:
    """Return the labels of an image's config."""
    return (config.get("config") or {}).get("Labels") or {}


def schema(config: Document) -> Schema | None:
    """Return the schema in the image's labels; None if they have none."""
    image_labels = labels(config)
    number = image_labels.get(SCHEMA_NUMBER_LABEL, "")
    if not number.isdecimal():
        return None
    return {"number": int(number), "hash": image_labels.get(SCHEMA_HASH_LABEL)}


def commit(config: Document) -> Commit | None:
    """Return the commit in the image's labels; None if they have none, or no whole hash.

    https://github.com/opencontainers/image-spec/blob/main/annotations.md
    """
    image_labels = labels(config)
    revision = image_labels.get(REVISION_LABEL, "")
    if not _REVISION.fullmatch(revision):
        return None
    source = _SOURCE.fullmatch(image_labels.get(SOURCE_LABEL, ""))
    return {"revision": revision, "source": source[1] if source else None}
