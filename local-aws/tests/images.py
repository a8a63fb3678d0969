"""Images for the tests, put into a repository over ECR's API."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def tar(files: Mapping[str, bytes]) -> bytes:
    """Executable files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.lstrip("/"))
            info.mode, info.size = 0o755, len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def push(
    ecr: Any,
    repository: str,
    files: Mapping[str, bytes],
    entrypoint: Sequence[str],
    tag: str | None = None,
    *,
    architecture: str = "amd64",
    **run: Any,
) -> str:
    """An image of files; its digest. `run` is more of its configuration, such as Env."""
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), **run},
    }
    layer = gzip.compress(tar(files), mtime=0)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(ecr, repository, CONFIG, json.dumps(config).encode()),
        "layers": [blob(ecr, repository, LAYER, layer)],
    }
    return put(ecr, repository, document, tag)


def put(ecr: Any, repository: str, manifest: Mapping[str, Any], tag: str | None = None) -> str:
    """A manifest; its digest."""
    named = {"imageTag": tag} if tag else {}
    text = json.dumps(manifest)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    with contextlib.suppress(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(repositoryName=repository, imageManifest=text, **named)
    return digest


def blob(ecr: Any, repository: str, media_type: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    where = {"repositoryName": repository}
    result = ecr.batch_check_layer_availability(**where, layerDigests=[digest])["layers"]
    if result[0]["layerAvailability"] != "AVAILABLE":
        upload = ecr.initiate_layer_upload(**where)["uploadId"]
        last = len(content) - 1
        part = {"partFirstByte": 0, "partLastByte": last, "layerPartBlob": content}
        ecr.upload_layer_part(**where, uploadId=upload, **part)
        ecr.complete_layer_upload(**where, uploadId=upload, layerDigests=[digest])
    return {"mediaType": media_type, "size": len(content), "digest": digest}
