"""ECR as AWS has it: push and delete events, image details, tags, a registry that asks who pushes.

Follows the Amazon ECR user guide (Amazon ECR events and EventBridge; Private registry
authentication) and API reference (DescribeImages, BatchDeleteImage, GetDownloadUrlForLayer).
"""

import base64
import hashlib
import hmac
import json
import logging
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core.concurrency import spawn_background
from ministack.core.responses import error_response_json, get_account_id, json_response
from ministack.services import ecr, eventbridge

from local_aws.shims import Shim

Data = dict[str, Any]
Image = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]
Call = Callable[..., Response]

_log = logging.getLogger("ecr")
_LINK_SECONDS = 3600
_link_key = secrets.token_bytes(32)
_password = secrets.token_urlsafe(32)


shim = Shim()


install = shim.install


# Events: https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
# -------------------------------------------------------------------------------------------------


def _emit(action: str, repository: str, image: Image, tag: str | None) -> None:
    """Deliver one `ECR Image Action`; in the background, so that it can neither delay nor fail
    the push. An image without a tag has the empty one, as seen in events from AWS."""
    detail = {
        "result": "SUCCESS",
        "repository-name": repository,
        "image-digest": image["imageDigest"],
        "action-type": action,
        "image-tag": tag or "",
        "manifest-media-type": image["imageManifestMediaType"],
    }
    if artifact := _artifact_media_type(image):
        detail["artifact-media-type"] = artifact
    entry = {
        "Source": "aws.ecr",
        "DetailType": "ECR Image Action",
        "Detail": json.dumps(detail),
        "Resources": [],
    }
    try:
        spawn_background(
            eventbridge._put_events,
            {"Entries": [entry]},
            allow_aws_source=True,
            thread_name="ecr-image-action",
        )
    except RuntimeError:  # no more threads: the event is lost, which ECR's may be
        _log.exception("the ECR Image Action of %s was lost", image["imageDigest"])


@shim.wraps(ecr, "_put_image", "data")
def _put_image(original: Call, data: Data) -> Response:
    manifest = data.get("imageManifest", "")
    if "imageManifestMediaType" not in data and (named := _content(manifest).get("mediaType")):
        data = {**data, "imageManifestMediaType": named}
    repository, tag = data.get("repositoryName", ""), data.get("imageTag")
    there = _find_image(repository, {"imageDigest": ecr._image_digest(manifest)})
    if there and tag and tag in there.get("imageTags", []):
        return _refuse(
            "ImageAlreadyExistsException",
            f"Image with digest '{there['imageDigest']}' and tag '{tag}' already exists in the "
            f"repository with name '{repository}' in registry with id '{get_account_id()}'",
        )
    response = original(data)
    if response[0] == 200:
        digest = json.loads(response[2])["image"]["imageId"]["imageDigest"]
        # A manifest is pulled from where the registry looks for it, however it came.
        ecr._manifest_blobs.setdefault(repository, {})[digest] = manifest.encode()
        _emit("PUSH", repository, _find_image(repository, {"imageDigest": digest}) or {}, tag)
    return response


@shim.wraps(ecr, "_v2_put_manifest", "name ref headers body")
def _v2_put_manifest(
    original: Call, name: str, ref: str, headers: dict[str, str], body: bytes
) -> Response:
    response = original(name, ref, headers, body)
    if response[0] == 201:
        digest = response[1]["Docker-Content-Digest"]
        image = _find_image(name, {"imageDigest": digest})
        if image:
            _emit("PUSH", name, image, None if ref.startswith("sha256:") else ref)
    return response


@shim.wraps(ecr, "_v2_delete_manifest", "name ref")
def _v2_delete_manifest(original: Call, name: str, ref: str) -> Response:
    image = _find_image(name, {"imageDigest": ref})
    response = original(name, ref)
    if response[0] == 202 and image:
        _emit("DELETE", name, image, None)
    return response


@shim.replaces(ecr, "_batch_delete_image", "data")
def _batch_delete_image(data: Data) -> Response:
    """By digest the image goes, by tag only the tag, and with its last tag the image."""
    name = data.get("repositoryName", "")
    if missing := _repository_missing(name):
        return missing
    deleted: list[Data] = []
    failures: list[Data] = []
    for wanted in data.get("imageIds", []):
        image = _find_image(name, wanted)
        if image is None:
            failures.append(_not_found(wanted))
            continue
        tags = image.get("imageTags", [])
        tag = None if "imageDigest" in wanted else wanted["imageTag"]
        gone = [tag] if tag else list(tags)
        image["imageTags"] = [kept for kept in tags if kept not in gone]
        if not image["imageTags"]:
            ecr._images[name].remove(image)
            ecr._manifest_blobs.get(name, {}).pop(image["imageDigest"], None)
            _emit("DELETE", name, image, tag or (gone[0] if gone else None))
        deleted += _identifiers({**image, "imageTags": gone})
    return _answer({"imageIds": deleted, "failures": failures})


@shim.wraps(ecr, "_create_repository", "data")
def _create_repository(original: Call, data: Data) -> Response:
    response = original(data)
    if response[0] == 200:
        ecr._layer_blobs[data["repositoryName"]] = _Files()
        ecr._manifest_blobs.pop(data["repositoryName"], None)
    return response


class _Files(dict[str, Any]):
    """Layers by digest, each in a file: images are as large as the memory of this machine."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = Path(tempfile.mkdtemp(prefix="layers-"))

    def __setitem__(self, digest: str, content: bytes) -> None:
        path = self._directory / digest
        path.write_bytes(content)
        super().__setitem__(digest, path)

    def __getitem__(self, digest: str) -> bytes:
        path: Path = super().__getitem__(digest)
        return path.read_bytes()

    def get(self, digest: str, default: Any = None) -> Any:
        try:
            return self[digest]
        except KeyError:
            return default


# What there is to know about an image
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html
# -------------------------------------------------------------------------------------------------


@shim.replaces(ecr, "_describe_images", "data")
def _describe_images(data: Data) -> Response:
    name = data.get("repositoryName", "")
    if missing := _repository_missing(name):
        return missing
    wanted = data.get("imageIds")
    images: list[Image] = []
    for identifier in wanted or []:
        image = _find_image(name, identifier)
        if image is None:
            digest, tag = identifier.get("imageDigest", "null"), identifier.get("imageTag", "null")
            return _refuse(
                "ImageNotFoundException",
                f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not "
                f"exist within the repository with name '{name}' in the registry with id "
                f"'{get_account_id()}'",
            )
        if image not in images:
            images.append(image)
    if not wanted:
        images = [i for i in ecr._images.get(name, []) if _passes(i, data.get("filter", {}))]
    page, following = _page(images, data)
    return _answer({"imageDetails": [_detail(name, image) for image in page]} | following)


def _detail(name: str, image: Image) -> Data:
    detail: Data = {
        "registryId": get_account_id(),
        "repositoryName": name,
        "imageDigest": image["imageDigest"],
        "imageSizeInBytes": _size(name, image),
        "imagePushedAt": image["imagePushedAt"],
        "imageManifestMediaType": image["imageManifestMediaType"],
        "imageStatus": "ACTIVE",
    }
    if image.get("imageTags"):
        detail["imageTags"] = list(image["imageTags"])
    if artifact := _artifact_media_type(image):
        detail["artifactMediaType"] = artifact
    if subject := _content(image["imageManifest"]).get("subject"):
        detail["subjectManifestDigest"] = subject["digest"]
    return detail


def _artifact_media_type(image: Image) -> str | None:
    """What the manifest is about: the type it declares, else its config's. An index has none."""
    manifest = _content(image["imageManifest"])
    declared = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")
    return declared if isinstance(declared, str) else None


def _size(name: str, image: Image) -> int:
    """Bytes of config and layers; of an index those of its largest manifest."""
    manifest = _content(image["imageManifest"])
    if "manifests" in manifest:
        children = (_find_image(name, {"imageDigest": c["digest"]}) for c in manifest["manifests"])
        return max((_size(name, child) for child in children if child), default=0)
    return sum(blob.get("size", 0) for blob in [manifest.get("config", {}), *_layers(manifest)])


def _layers(manifest: Data) -> list[Data]:
    return manifest.get("layers") or manifest.get("blobs") or []


def _content(manifest: str) -> Data:
    try:
        content = json.loads(manifest)
    except json.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


@shim.replaces(ecr, "_list_images", "data")
def _list_images(data: Data) -> Response:
    """One entry for each tag, and one for each image without."""
    name = data.get("repositoryName", "")
    if missing := _repository_missing(name):
        return missing
    images = [i for i in ecr._images.get(name, []) if _passes(i, data.get("filter", {}))]
    page, following = _page([i for image in images for i in _identifiers(image)], data)
    return _answer({"imageIds": page} | following)


@shim.replaces(ecr, "_batch_get_image", "data")
def _batch_get_image(data: Data) -> Response:
    name = data.get("repositoryName", "")
    if missing := _repository_missing(name):
        return missing
    images, failures = [], []
    for wanted in data.get("imageIds", []):
        image = _find_image(name, wanted)
        if image is None:
            failures.append(_not_found(wanted))
            continue
        images.append(
            {
                "registryId": get_account_id(),
                "repositoryName": name,
                "imageId": {**wanted, "imageDigest": image["imageDigest"]},
                "imageManifest": image["imageManifest"],
                "imageManifestMediaType": image["imageManifestMediaType"],
            }
        )
    return _answer({"images": images, "failures": failures})


@shim.replaces(ecr, "_find_image", "repo_name image_id")
def _find_image(repo_name: str, image_id: Data) -> Image | None:
    """The image of a digest, of a tag, or of both where both are given and agree."""
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    if not digest and not tag:
        return None
    for image in ecr._images.get(repo_name, []):
        right = not digest or image["imageDigest"] == digest
        if right and (not tag or tag in image.get("imageTags", [])):
            return image  # type: ignore[no-any-return]
    return None


def _passes(image: Image, wanted: Data) -> bool:
    status = wanted.get("tagStatus", "ANY")
    if wanted.get("imageStatus", "ACTIVE") not in ("ACTIVE", "ANY"):
        return False
    return bool(status == "ANY" or (status == "TAGGED") == bool(image.get("imageTags")))


def _identifiers(image: Image) -> Iterator[Data]:
    tags = image.get("imageTags", [])
    yield from ({"imageDigest": image["imageDigest"], "imageTag": tag} for tag in tags)
    if not tags:
        yield {"imageDigest": image["imageDigest"]}


def _page(found: list[Data], data: Data) -> tuple[list[Data], Data]:
    start = int(data.get("nextToken") or 0)
    end = start + int(data.get("maxResults") or 100)
    return found[start:end], {"nextToken": str(end)} if end < len(found) else {}


def _not_found(wanted: Data) -> Data:
    return {
        "imageId": wanted,
        "failureCode": "ImageNotFound",
        "failureReason": "Requested image not found",
    }


def _repository_missing(name: str) -> Response | None:
    if name in ecr._repositories:
        return None
    return _refuse(
        "RepositoryNotFoundException",
        f"The repository with name '{name}' does not exist in the registry with id "
        f"'{get_account_id()}'",
    )


def _answer(content: Data) -> Response:
    return json_response(content)  # type: ignore[no-any-return]


# Layers that are pushed over the API and not the registry
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
# -------------------------------------------------------------------------------------------------


@shim.replaces(ecr, "_batch_check_layer_availability", "data")
def _batch_check_layer_availability(data: Data) -> Response:
    if missing := _repository_missing(data.get("repositoryName", "")):
        return missing
    blobs = ecr._layer_blobs.get(data["repositoryName"], {})
    layers = [
        {
            "layerDigest": digest,
            "layerAvailability": "AVAILABLE" if digest in blobs else "UNAVAILABLE",
            "layerSize": len(blobs.get(digest, b"")),
        }
        for digest in data.get("layerDigests", [])
    ]
    return _answer({"layers": layers, "failures": []})


@shim.wraps(ecr, "_initiate_layer_upload", "data")
def _initiate_layer_upload(original: Call, data: Data) -> Response:
    response = original(data)
    if response[0] == 200:
        upload = json.loads(response[2])["uploadId"]
        ecr._uploads.setdefault(data["repositoryName"], {})[upload] = bytearray()
    return response


@shim.replaces(ecr, "_upload_layer_part", "data")
def _upload_layer_part(data: Data) -> Response:
    name, upload = data.get("repositoryName", ""), data.get("uploadId", "")
    received = ecr._uploads.get(name, {}).get(upload)
    if received is None:
        return _no_upload(name, upload)
    part = base64.b64decode(data["layerPartBlob"])
    first, last = data["partFirstByte"], data["partLastByte"]
    # A part may be sent again, when the answer to the first time was lost.
    if first > len(received) or last - first + 1 != len(part):
        return _refuse(
            "InvalidLayerPartException",
            f"Layer part with first byte {first} cannot be uploaded: the next is {len(received)}",
        )
    received[first:] = part
    about = {"registryId": get_account_id(), "repositoryName": name, "uploadId": upload}
    return _answer({**about, "lastByteReceived": last})


@shim.replaces(ecr, "_complete_layer_upload", "data")
def _complete_layer_upload(data: Data) -> Response:
    name, upload = data.get("repositoryName", ""), data.get("uploadId", "")
    received = ecr._uploads.get(name, {}).get(upload)
    if received is None:
        return _no_upload(name, upload)
    digest = f"sha256:{hashlib.sha256(received).hexdigest()}"
    if digest not in data["layerDigests"]:
        return _refuse(
            "InvalidLayerException", f"Layer digest {digest} is not the one that was sent"
        )
    blobs = ecr._layer_blobs.setdefault(name, {})
    if digest in blobs:
        return _refuse(
            "LayerAlreadyExistsException", f"Layer with digest '{digest}' exists already"
        )
    blobs[digest] = bytes(received)
    del ecr._uploads[name][upload]
    about = {"registryId": get_account_id(), "repositoryName": name, "uploadId": upload}
    return _answer({**about, "layerDigest": digest})


def _no_upload(name: str, upload: str) -> Response:
    return _refuse(
        "UploadNotFoundException", f"The upload {upload} of repository {name} does not exist"
    )


def _refuse(code: str, message: str) -> Response:
    return error_response_json(code, message, 400)  # type: ignore[no-any-return]


# Who may push and pull
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
# -------------------------------------------------------------------------------------------------


@shim.replaces(ecr, "_get_authorization_token", "data")
def _get_authorization_token(data: Data) -> Response:
    """User AWS and a password for twelve hours, for the registry that answers here."""
    return _answer(
        {
            "authorizationData": [
                {
                    "authorizationToken": base64.b64encode(f"AWS:{_password}".encode()).decode(),
                    "expiresAt": int(time.time()) + 43200,
                    "proxyEndpoint": f"http://localhost:{_port()}",
                }
            ]
        }
    )


@shim.replaces(ecr, "_get_download_url_for_layer", "data")
def _get_download_url_for_layer(data: Data) -> Response:
    """A link that needs no credentials for an hour, as S3's presigned ones on AWS."""
    name, digest = data.get("repositoryName", ""), data.get("layerDigest", "")
    if missing := _repository_missing(name):
        return missing
    if digest not in ecr._layer_blobs.get(name, {}):
        return _refuse(
            "LayersNotFoundException",
            f"The layer with digest '{digest}' does not exist in the repository with name "
            f"'{name}' in the registry with id '{get_account_id()}'",
        )
    path, expires = f"/v2/{name}/blobs/{digest}", int(time.time()) + _LINK_SECONDS
    query = f"expires={expires}&signature={_signature(path, expires)}"
    url = f"http://127.0.0.1:{_port()}{path}?{query}"
    return _answer({"downloadUrl": url, "layerDigest": digest})


@shim.wraps(ecr, "handle_registry_request", "method path headers body query_params")
async def _handle_registry_request(
    original: Any, method: str, path: str, headers: Data, body: bytes, query_params: Data
) -> Response:
    if not _signed(method, path, query_params) and not _logged_in(headers):
        status, answer, content = ecr._registry_error(
            401, "UNAUTHORIZED", "authentication required", None
        )
        realm = f'Basic realm="http://localhost:{_port()}/",service="ecr.amazonaws.com"'
        return status, {**answer, "WWW-Authenticate": realm}, content
    response: Response = await original(method, path, headers, body, query_params)
    return response


def _logged_in(headers: Data) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    expected = base64.b64encode(f"AWS:{_password}".encode()).decode()
    return scheme.lower() == "basic" and hmac.compare_digest(given.strip(), expected)


def _signed(method: str, path: str, query: Data) -> bool:
    expires, signature = (query.get(key, [""])[0] for key in ("expires", "signature"))
    return (
        method == "GET"
        and expires.isdigit()
        and int(expires) > time.time()
        and hmac.compare_digest(signature, _signature(path, int(expires)))
    )


def _signature(path: str, expires: int) -> str:
    return hmac.new(_link_key, f"{path}?{expires}".encode(), hashlib.sha256).hexdigest()


def _port() -> str:
    return str(app._MINISTACK_PORT)
