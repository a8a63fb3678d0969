"""ECR as AWS has it: push events, image details, layers, a registry that asks who pushes.

Follows the Amazon ECR user guide (Amazon ECR events and EventBridge; Private registry
authentication) and API reference (DescribeImages, BatchDeleteImage, GetDownloadUrlForLayer).
"""

import base64
import hashlib
import hmac
import json
import secrets
import tempfile
import time
from collections.abc import Callable
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

_password = secrets.token_urlsafe(32)
_login = f"AWS:{_password}".encode()

shim = Shim()
install = shim.install


# Events: https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
# -------------------------------------------------------------------------------------------------


def _pushed(repository: str, digest: str, tag: str | None) -> None:
    """Deliver one `ECR Image Action`; in the background, so that it can neither delay nor fail
    the push. An image without a tag has the empty one, as seen in events from AWS."""
    image = ecr._find_image(repository, {"imageDigest": digest})
    detail = {
        "result": "SUCCESS",
        "repository-name": repository,
        "image-digest": digest,
        "action-type": "PUSH",
        "image-tag": tag or "",
        "manifest-media-type": image["imageManifestMediaType"],
    }
    if artifact := _artifact_media_type(json.loads(image["imageManifest"])):
        detail["artifact-media-type"] = artifact
    entry = {
        "Source": "aws.ecr",
        "DetailType": "ECR Image Action",
        "Detail": json.dumps(detail),
        "Resources": [],
    }
    spawn_background(
        eventbridge._put_events,
        {"Entries": [entry]},
        allow_aws_source=True,
        thread_name="ecr-image-action",
    )


@shim.wraps(ecr, "_put_image", "data")
def _put_image(original: Call, data: Data) -> Response:
    manifest = data.get("imageManifest", "")
    if "imageManifestMediaType" not in data and (named := json.loads(manifest).get("mediaType")):
        data = {**data, "imageManifestMediaType": named}
    repository, tag = data.get("repositoryName", ""), data.get("imageTag")
    existing = ecr._find_image(repository, {"imageDigest": ecr._image_digest(manifest)})
    if existing and tag and tag in existing.get("imageTags", []):
        return _refuse(
            "ImageAlreadyExistsException",
            f"Image with digest '{existing['imageDigest']}' and tag '{tag}' already exists in the "
            f"repository with name '{repository}' in registry with id '{get_account_id()}'",
        )
    response = original(data)
    if response[0] == 200:
        digest = json.loads(response[2])["image"]["imageId"]["imageDigest"]
        # A manifest is pulled from where the registry looks for it, however it came.
        ecr._manifest_blobs.setdefault(repository, {})[digest] = manifest.encode()
        _pushed(repository, digest, tag)
    return response


@shim.wraps(ecr, "_v2_put_manifest", "name ref headers body")
def _v2_put_manifest(
    original: Call, name: str, ref: str, headers: dict[str, str], body: bytes
) -> Response:
    response = original(name, ref, headers, body)
    if response[0] == 201:
        digest = response[1]["Docker-Content-Digest"]
        _pushed(name, digest, None if ref.startswith("sha256:") else ref)
    return response


# Images: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html
# -------------------------------------------------------------------------------------------------


@shim.wraps(ecr, "_describe_images", "data")
def _describe_images(original: Call, data: Data) -> Response:
    name = data.get("repositoryName", "")
    if name not in ecr._repositories:
        return original(data)
    tagged = data.get("filter", {}).get("tagStatus") == "TAGGED"
    images = [i for i in ecr._images[name] if i["imageTags"] or not tagged]
    if wanted := data.get("imageIds"):
        images = [ecr._find_image(name, identifier) for identifier in wanted]
        if None in images:
            missing = wanted[images.index(None)]
            digest, tag = missing.get("imageDigest", "null"), missing.get("imageTag", "null")
            return _refuse(
                "ImageNotFoundException",
                f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not "
                f"exist within the repository with name '{name}' in the registry with id "
                f"'{get_account_id()}'",
            )
    start = int(data.get("nextToken") or 0)
    end = start + int(data.get("maxResults") or 100)
    answer: Data = {"imageDetails": [_detail(name, image) for image in images[start:end]]}
    return json_response(answer | ({"nextToken": str(end)} if end < len(images) else {}))


def _detail(name: str, image: Image) -> Data:
    manifest = json.loads(image["imageManifest"])
    blobs = [manifest.get("config", {}), *manifest.get("layers", [])]
    detail: Data = {
        "registryId": get_account_id(),
        "repositoryName": name,
        "imageDigest": image["imageDigest"],
        "imageSizeInBytes": sum(blob.get("size", 0) for blob in blobs),
        "imagePushedAt": image["imagePushedAt"],
        "imageManifestMediaType": image["imageManifestMediaType"],
        "imageStatus": "ACTIVE",
    }
    if image["imageTags"]:
        detail["imageTags"] = list(image["imageTags"])
    if artifact := _artifact_media_type(manifest):
        detail["artifactMediaType"] = artifact
    if subject := manifest.get("subject"):
        detail["subjectManifestDigest"] = subject["digest"]
    return detail


def _artifact_media_type(manifest: Data) -> str | None:
    """What the manifest is about: the type it declares, else its config's. An index has none."""
    return manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")


@shim.wraps(ecr, "_batch_delete_image", "data")
def _batch_delete_image(original: Call, data: Data) -> Response:
    """By digest the image goes, by tag only the tag, and with its last tag the image."""
    name = data.get("repositoryName", "")
    for wanted in data.get("imageIds", []):
        image = ecr._find_image(name, wanted)
        if image and "imageDigest" not in wanted and len(image["imageTags"]) > 1:
            image["imageTags"].remove(wanted["imageTag"])
            data = {**data, "imageIds": [each for each in data["imageIds"] if each != wanted]}
        elif image:
            ecr._manifest_blobs.get(name, {}).pop(image["imageDigest"], None)
    return original(data)


# Layers, pushed over the registry or the API
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
# -------------------------------------------------------------------------------------------------


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


@shim.wraps(ecr, "_batch_check_layer_availability", "data")
def _batch_check_layer_availability(original: Call, data: Data) -> Response:
    status, headers, body = original(data)
    answer = json.loads(body)
    for layer in answer.get("layers", []):
        if layer["layerDigest"] in ecr._layer_blobs[data["repositoryName"]]:
            layer["layerAvailability"] = "AVAILABLE"
    return status, headers, json.dumps(answer).encode()


@shim.wraps(ecr, "_upload_layer_part", "data")
def _upload_layer_part(original: Call, data: Data) -> Response:
    """A part may be sent again, when the answer to the first time was lost."""
    uploads = ecr._uploads.setdefault(data["repositoryName"], {})
    received = uploads.setdefault(data["uploadId"], bytearray())
    received[data["partFirstByte"] :] = base64.b64decode(data["layerPartBlob"])
    return original(data)


@shim.wraps(ecr, "_complete_layer_upload", "data")
def _complete_layer_upload(original: Call, data: Data) -> Response:
    received = ecr._uploads[data["repositoryName"]].pop(data["uploadId"])
    digest = f"sha256:{hashlib.sha256(received).hexdigest()}"
    if digest not in data["layerDigests"]:
        message = f"Layer digest {digest} is not the one that was sent"
        return _refuse("InvalidLayerException", message)
    ecr._layer_blobs[data["repositoryName"]][digest] = received
    return original(data)


def _refuse(code: str, message: str) -> Response:
    return error_response_json(code, message, 400)


# Who may push and pull
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
# -------------------------------------------------------------------------------------------------


@shim.replaces(ecr, "_get_authorization_token", "data")
def _get_authorization_token(data: Data) -> Response:
    """User AWS and a password for twelve hours, for the registry that answers here."""
    given = {
        "authorizationToken": base64.b64encode(_login).decode(),
        "expiresAt": int(time.time()) + 43200,
        "proxyEndpoint": f"http://localhost:{app._MINISTACK_PORT}",
    }
    return json_response({"authorizationData": [given]})


@shim.wraps(ecr, "_get_download_url_for_layer", "data")
def _get_download_url_for_layer(original: Call, data: Data) -> Response:
    """A link that needs no credentials, as S3's presigned ones on AWS."""
    name, digest = data.get("repositoryName", ""), data.get("layerDigest", "")
    if name not in ecr._repositories:
        return original(data)
    path = f"/v2/{name}/blobs/{digest}"
    link = f"http://127.0.0.1:{app._MINISTACK_PORT}{path}?signature={_signature(path)}"
    return json_response({"downloadUrl": link, "layerDigest": digest})


@shim.wraps(ecr, "handle_registry_request", "method path headers body query_params")
async def _handle_registry_request(
    original: Any, method: str, path: str, headers: Data, body: bytes, query_params: Data
) -> Response:
    given = query_params.get("signature", [""])[0]
    signed = method == "GET" and hmac.compare_digest(given, _signature(path))
    if not signed and not _logged_in(headers):
        status, answer, content = ecr._registry_error(
            401, "UNAUTHORIZED", "authentication required", None
        )
        realm = f"http://localhost:{app._MINISTACK_PORT}/"
        asks = {"WWW-Authenticate": f'Basic realm="{realm}",service="ecr.amazonaws.com"'}
        return status, answer | asks, content
    return await original(method, path, headers, body, query_params)


def _logged_in(headers: Data) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    expected = base64.b64encode(_login).decode()
    return scheme.lower() == "basic" and hmac.compare_digest(given.strip(), expected)


def _signature(path: str) -> str:
    return hmac.new(_login, path.encode(), hashlib.sha256).hexdigest()
