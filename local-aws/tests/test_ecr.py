"""ECR: events, image details, tags and the login, through boto3 and a registry client."""

import base64
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import oras.client
import oras.provider
import pytest
from botocore.exceptions import ClientError

from local_aws.aws import LocalAws
from support import Json

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


class Repository:
    """A repository, pushed to over HTTP as a registry client does."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws, self.name, self.ecr = aws, name, aws.client("ecr")
        self.ecr.create_repository(repositoryName=name)
        data = self.ecr.get_authorization_token()["authorizationData"][0]
        self.authorization = f"Basic {data['authorizationToken']}"

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        named = {"Authorization": self.authorization} | {
            key.replace("_", "-"): value for key, value in headers.items()
        }
        url = path if path.startswith("http") else f"{self.aws.endpoint}/v2/{self.name}/{path}"
        return urllib.request.urlopen(
            urllib.request.Request(url, data=body or None, method=method, headers=named), timeout=60
        )

    def blob(self, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.request("POST", f"blobs/uploads/?digest={digest}", content).close()
        return {"digest": digest, "size": len(content)}

    def image(self, tag: str | None, content: str = "layer", **more: Any) -> str:
        """Push a small image, by tag or by digest; its digest."""
        config = {"mediaType": OCI_CONFIG} | self.blob(json.dumps({"made": content}).encode())
        layer = {"mediaType": "application/octet-stream"} | self.blob(content.encode())
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config}
        return self.manifest(tag, manifest | {"layers": [layer]} | more)

    def manifest(self, tag: str | None, manifest: dict[str, Any]) -> str:
        body = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        media_type = manifest["mediaType"]
        self.request("PUT", f"manifests/{tag or digest}", body, Content_Type=media_type).close()
        return digest

    def describe(self, **image_id: str) -> dict[str, Any]:
        response = self.ecr.describe_images(repositoryName=self.name, imageIds=[image_id])
        return dict(response["imageDetails"][0])


@pytest.fixture
def repository(aws: LocalAws, name: str) -> Repository:
    return Repository(aws, name)


Events = Callable[[int], list[Json]]


@pytest.fixture
def events(repository: Repository, listen: Callable[[Json], Events]) -> Events:
    """Call with a number: that many ECR events of the repository, untagged ones first."""
    receive = listen({"source": ["aws.ecr"], "detail": {"repository-name": [repository.name]}})
    return lambda count: sorted(receive(count), key=lambda event: event["detail"]["image-tag"])


def error(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")


def test_a_push_emits_the_event_that_aws_documents(
    aws: LocalAws, repository: Repository, events: Events
) -> None:
    digest = repository.image("v1")
    (event,) = events(1)
    assert event == {
        "version": "0",
        "id": event["id"],
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": aws.account,
        "time": event["time"],
        "region": aws.region,
        "resources": [],
        "detail": {
            "result": "SUCCESS",
            "repository-name": repository.name,
            "image-digest": digest,
            "action-type": "PUSH",
            "image-tag": "v1",
            "manifest-media-type": OCI_MANIFEST,
            "artifact-media-type": OCI_CONFIG,
        },
    }
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")


def test_an_index_emits_one_event_each_for_itself_and_its_untagged_manifests(
    repository: Repository, events: Events
) -> None:
    children = [repository.image(None, architecture) for architecture in ("amd64", "arm64")]
    manifests = [{"mediaType": OCI_MANIFEST, "digest": c, "size": 1} for c in children]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    digest = repository.manifest("multi", index)
    first, second, tagged = (event["detail"] for event in events(3))
    assert {first["image-digest"], second["image-digest"]} == set(children)
    assert first["image-tag"] == second["image-tag"] == ""
    assert (tagged["image-digest"], tagged["image-tag"]) == (digest, "multi")
    assert "artifact-media-type" not in tagged
    described = repository.describe(imageTag="multi")
    assert described["imageManifestMediaType"] == OCI_INDEX
    assert "artifactMediaType" not in described
    assert "imageTags" not in repository.describe(imageDigest=children[0])


def test_tagging_a_pushed_image_again_is_another_push(
    repository: Repository, events: Events
) -> None:
    digest = repository.image("v1")
    ecr, named = repository.ecr, {"repositoryName": repository.name}
    (result,) = ecr.batch_get_image(**named, imageIds=[{"imageTag": "v1"}])["images"]
    assert result["imageId"] == {"imageDigest": digest, "imageTag": "v1"}
    ecr.put_image(**named, imageManifest=result["imageManifest"], imageTag="stable")
    assert [e["detail"]["image-tag"] for e in events(2)] == ["stable", "v1"]
    assert sorted(repository.describe(imageDigest=digest)["imageTags"]) == ["stable", "v1"]
    with error("ImageAlreadyExistsException"):
        ecr.put_image(**named, imageManifest=result["imageManifest"], imageTag="v1")


def test_a_tag_moves_to_the_newest_image(repository: Repository) -> None:
    first, second = repository.image("latest", "one"), repository.image("latest", "two")
    assert repository.describe(imageTag="latest")["imageDigest"] == second
    assert "imageTags" not in repository.describe(imageDigest=first)


def test_an_immutable_tag_stays(repository: Repository) -> None:
    repository.ecr.put_image_tag_mutability(
        repositoryName=repository.name, imageTagMutability="IMMUTABLE"
    )
    repository.image("v1", "one")
    repository.image("v1", "one")  # the same image again is fine
    with pytest.raises(urllib.error.HTTPError, match="400"):
        repository.image("v1", "two")


def test_details_of_an_image(repository: Repository) -> None:
    digest = repository.image("v1", "twelve bytes")
    for wanted in ({"imageTag": "v1"}, {"imageDigest": digest}):
        described = repository.describe(**wanted)
        assert described["imageDigest"] == digest
        assert described["imageTags"] == ["v1"]
        assert described["artifactMediaType"] == OCI_CONFIG
        assert described["imageManifestMediaType"] == OCI_MANIFEST
        assert described["imageSizeInBytes"] == len(b"twelve bytes") + len(
            '{"made": "twelve bytes"}'
        )
        assert described["imageStatus"] == "ACTIVE"
        assert abs(described["imagePushedAt"].timestamp() - time.time()) < 60


def test_a_signature_names_its_subject_and_is_no_image(repository: Repository) -> None:
    subject = repository.image("v1")
    described = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    kind = "application/vnd.dev.cosign.artifact.sig.v1+json"
    digest = repository.image(None, "signature", subject=described, artifactType=kind)
    described = repository.describe(imageDigest=digest)
    assert described["subjectManifestDigest"] == subject
    assert described["artifactMediaType"] == kind


def test_what_is_not_there(repository: Repository) -> None:
    repository.image("v1")
    other = f"sha256:{'0' * 64}"
    for image_id in (
        {"imageTag": "v2"},
        {"imageDigest": other},
    ):
        with error("ImageNotFoundException"):
            repository.describe(**image_id)
        answer = repository.ecr.batch_get_image(repositoryName=repository.name, imageIds=[image_id])
        assert answer["images"] == []
        assert answer["failures"][0]["failureCode"] == "ImageNotFound"
    with error("RepositoryNotFoundException"):
        repository.ecr.describe_images(repositoryName="nowhere")


def test_pages_and_filters(repository: Repository) -> None:
    tagged = {repository.image(f"v{n}", str(n)) for n in range(3)}
    repository.image(None, "none")
    ecr, named = repository.ecr, {"repositoryName": repository.name}
    pages = ecr.get_paginator("describe_images").paginate(
        **named, PaginationConfig={"PageSize": 2}, filter={"tagStatus": "TAGGED"}
    )
    matches = [[image["imageDigest"] for image in page["imageDetails"]] for page in pages]
    assert [len(page) for page in matches] == [2, 1]
    assert {digest for page in matches for digest in page} == tagged


def test_deleting_a_tag_and_then_the_image(repository: Repository) -> None:
    digest = repository.image("a")
    repository.image("b")
    ecr, named = repository.ecr, {"repositoryName": repository.name}
    ecr.batch_delete_image(**named, imageIds=[{"imageTag": "a"}])
    assert repository.describe(imageDigest=digest)["imageTags"] == ["b"]
    ecr.batch_delete_image(**named, imageIds=[{"imageDigest": digest}])
    with error("ImageNotFoundException"):
        repository.describe(imageDigest=digest)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        repository.request("GET", f"manifests/{digest}")


def test_the_config_is_fetched_without_credentials_by_its_link_only(
    aws: LocalAws, repository: Repository
) -> None:
    digest = repository.image("v1")
    (result,) = repository.ecr.batch_get_image(
        repositoryName=repository.name, imageIds=[{"imageDigest": digest}]
    )["images"]
    config = json.loads(result["imageManifest"])["config"]["digest"]
    url = repository.ecr.get_download_url_for_layer(
        repositoryName=repository.name, layerDigest=config
    )["downloadUrl"]
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert json.load(answer) == {"made": "layer"}
    for refused in (url.partition("?")[0], f"{url}0"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(refused, timeout=60)


def test_the_registry_asks_who_pushes(repository: Repository) -> None:
    wrong = base64.b64encode(b"AWS:guess").decode()
    for authorization in (f"Basic {wrong}", "Bearer x"):
        with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
            repository.request("GET", f"{repository.aws.endpoint}/v2/", Authorization=authorization)
        with refusal.value as answer:
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert repository.request("GET", f"{repository.aws.endpoint}/v2/").status == 200


def test_a_registry_client_logs_in_and_pushes(
    aws: LocalAws, repository: Repository, events: Events, tmp_path: Any
) -> None:
    data = repository.ecr.get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == f"http://{aws.registry}"
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert user == "AWS"
    client = oras.client.OrasClient(hostname=aws.registry, insecure=True, auth_backend="basic")
    client.auth.set_basic_auth(user, password)
    file = tmp_path / "content"
    file.write_text("pushed by oras")
    target = f"{aws.registry}/{repository.name}:oras"
    client.push(target=target, files=[str(file)], disable_path_validation=True)
    client.session.close()
    (event,) = events(1)
    assert event["detail"]["image-tag"] == "oras"
    digest = repository.describe(imageTag="oras")["imageDigest"]
    assert digest == event["detail"]["image-digest"]


def test_a_push_succeeds_although_a_rule_cannot_deliver(
    aws: LocalAws, repository: Repository
) -> None:
    bus, name = aws.client("events"), repository.name
    bus.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.ecr"]}))
    gone = f"arn:aws:states:{aws.region}:{aws.account}:stateMachine:gone"
    bus.put_targets(Rule=name, Targets=[{"Id": "gone", "Arn": gone}])
    digest = repository.image("v1")
    assert repository.describe(imageTag="v1")["imageDigest"] == digest
    bus.remove_targets(Rule=name, Ids=["gone"])
    bus.delete_rule(Name=name)


# Layers over the API


def test_a_layer_is_uploaded_in_parts_and_found_again(aws: LocalAws, name: str) -> None:
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName=name)
    parts, where = [b"one", b"two"], {"repositoryName": name}
    digest = f"sha256:{hashlib.sha256(b''.join(parts)).hexdigest()}"

    def availability() -> str:
        result = ecr.batch_check_layer_availability(**where, layerDigests=[digest])
        return str(result["layers"][0]["layerAvailability"])

    assert availability() == "UNAVAILABLE"
    upload = where | {"uploadId": ecr.initiate_layer_upload(**where)["uploadId"]}
    for first, part in ((0, parts[0]), (0, parts[0]), (3, parts[1])):  # one is sent again
        ecr.upload_layer_part(
            **upload, partFirstByte=first, partLastByte=first + 2, layerPartBlob=part
        )
    ecr.complete_layer_upload(**upload, layerDigests=[digest])
    assert availability() == "AVAILABLE"
    link = ecr.get_download_url_for_layer(**where, layerDigest=digest)["downloadUrl"]
    with urllib.request.urlopen(link) as content:
        assert content.read() == b"onetwo"
