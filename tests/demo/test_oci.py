"""Images as the OCI specifications describe them, and as the local registry has them then."""

import gzip
import hashlib
import json
import os
import random
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.oci import (
    Blob,
    File,
    Image,
    ImageError,
    Index,
    Layer,
    Link,
    Manifest,
    PushRefused,
    attestation,
    cosign_tag,
    ecr_login,
    push,
    sbom,
    signature,
)
from local_aws.aws import LocalAws
from tests.demo.conftest import members

PROGRAM: dict[str, bytes | File | Link] = {
    "/app/run": File(b"#!/bin/sh\nexec sleep 60\n", executable=True),
    "/app/readme.txt": b"hello\n",
    "/app/current": Link("run"),
    "/app/cache/": b"",
}


def release(version: str, platform: str = "linux/amd64") -> Image:
    """A program and, in a layer of its own, the version that it says."""
    return Image.build(
        Layer.of(PROGRAM),
        Layer.of({"/app/version": version.encode()}),
        entrypoint=["/app/run"],
        labels={"org.opencontainers.image.version": version},
        platform=platform,
    )


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# The image


def test_the_manifest_describes_its_blobs() -> None:
    image = Image.from_files(PROGRAM, entrypoint=["/app/run"])

    config, layer = image.blobs

    assert image.manifest == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": sha256(config.content),
            "size": len(config.content),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": sha256(layer.content),
                "size": len(layer.content),
            }
        ],
    }
    assert image.digest == sha256(image.blob.content)
    assert json.loads(image.blob.content) == image.manifest


def test_the_config_says_how_to_run_it() -> None:
    image = Image.from_files(
        PROGRAM,
        entrypoint=["/app/run"],
        command=["--now"],
        env={"MODE": "demo", "EMPTY": ""},
        labels={"b": "2", "a": "1"},
        working_dir="/app",
        ports=[3000],
        platform="linux/arm64/v8",
    )

    config = json.loads(image.blobs[0].content)

    assert config["config"] == {
        "Env": ["MODE=demo", "EMPTY="],
        "Entrypoint": ["/app/run"],
        "Cmd": ["--now"],
        "WorkingDir": "/app",
        "ExposedPorts": {"3000/tcp": {}},
        "Labels": {"a": "1", "b": "2"},
    }
    platform = (config["os"], config["architecture"], config["variant"])
    assert platform == ("linux", "arm64", "v8")


def test_layers_are_named_by_what_they_unpack_to() -> None:
    image = release("1.0.0")
    config, *layers = image.blobs
    content = json.loads(config.content)

    unpacked = [sha256(gzip.decompress(layer.content)) for layer in layers]
    dated = {layer.content[4:8] for layer in layers}  # MTIME, RFC 1952 section 2.3.1

    assert content["rootfs"] == {"type": "layers", "diff_ids": unpacked}
    assert dated == {bytes(4)}
    # One step for each layer, in order, and steps without a layer marked as such.
    steps = [step for step in content["history"] if not step.get("empty_layer")]
    assert len(steps) == len(layers) == 2


def test_files_keep_what_matters_about_them() -> None:
    result = members(Image.from_files(PROGRAM))

    kinds = {name: (member.type, member.mode) for name, member in result.items()}
    assert kinds == {
        "app": (tarfile.DIRTYPE, 0o755),
        "app/cache": (tarfile.DIRTYPE, 0o755),
        "app/current": (tarfile.SYMTYPE, 0o777),
        "app/readme.txt": (tarfile.REGTYPE, 0o644),
        "app/run": (tarfile.REGTYPE, 0o755),
    }
    assert result["app/current"].linkname == "run"
    assert {(m.uid, m.gid, m.uname, m.mtime) for m in result.values()} == {(0, 0, "", 0)}


def test_the_order_of_the_files_does_not_change_the_digest() -> None:
    shuffled = random.Random(1).sample(list(PROGRAM.items()), len(PROGRAM))

    assert Image.from_files(dict(shuffled)).digest == Image.from_files(PROGRAM).digest


def test_a_directory_gives_the_same_digest_whenever_it_was_written(tmp_path: Path) -> None:
    images = []
    for number, umask in enumerate((0o022, 0o077)):
        directory = tmp_path / str(number)
        before = os.umask(umask)
        try:
            (directory / "lib" / "__pycache__").mkdir(parents=True)
            (directory / ".git").mkdir()
            (directory / "empty").mkdir()
            (directory / "lib" / "__pycache__" / f"{number}.pyc").write_bytes(b"cached")
            (directory / ".git" / "HEAD").write_text(str(number))
            (directory / "lib" / "data.txt").write_text("data")
            (directory / "run").write_text("#!/bin/sh\n")
            (directory / "run").chmod(0o700)
            (directory / "latest").symlink_to("lib")
        finally:
            os.umask(before)
        os.utime(directory / "run", (number, number))
        images.append(Image.from_directory(directory, entrypoint=["./run"]))

    assert images[0].digest == images[1].digest
    assert images[0].config["config"]["WorkingDir"] == "/app"
    assert {name: oct(member.mode) for name, member in members(images[0]).items()} == {
        "app": "0o755",
        "app/empty": "0o755",
        "app/latest": "0o777",
        "app/lib": "0o755",
        "app/lib/data.txt": "0o644",
        "app/run": "0o755",
    }


@pytest.mark.parametrize("path", ["../escape", "/", "", "a/../../b"])
def test_a_path_outside_the_image_is_refused(path: str) -> None:
    with pytest.raises(ImageError, match="no path in an image"):
        Image.from_files({path: b""})


def test_a_file_under_a_file_is_refused() -> None:
    with pytest.raises(ImageError, match="'app/run/more' lies under"):
        Image.from_files({"/app/run": b"", "/app/run/more": b""})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ImageError, match="pipe is neither a file nor a directory nor a link"):
        Image.from_directory(tmp_path)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Image.from_directory(tmp_path / "missing")


@pytest.mark.parametrize("platform", ["linux", "/amd64", ""])
def test_a_malformed_platform_is_refused(platform: str) -> None:
    with pytest.raises(ImageError, match="is not os/architecture"):
        Image.from_files(PROGRAM, platform=platform)


# Indexes and artifacts


def test_an_index_lists_its_platforms_and_attestations() -> None:
    images = [release("1.0.0", platform=f"linux/{name}") for name in ("amd64", "arm64")]
    index = Index((*images, *map(attestation, images)))

    manifest = json.loads(index.blob.content)

    assert manifest["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [(entry["platform"], entry.get("annotations")) for entry in manifest["manifests"]] == [
        ({"architecture": "amd64", "os": "linux"}, None),
        ({"architecture": "arm64", "os": "linux"}, None),
        *[
            (
                {"architecture": "unknown", "os": "unknown"},
                {
                    "vnd.docker.reference.digest": image.digest,
                    "vnd.docker.reference.type": "attestation-manifest",
                },
            )
            for image in images
        ],
    ]
    assert [entry["digest"] for entry in manifest["manifests"]] == [
        child.digest for child in index.children
    ]


def test_a_signature_is_kept_under_the_tag_of_cosign() -> None:
    image = release("1.0.0")

    (layer,) = signature(image).manifest["layers"]

    assert cosign_tag(image.digest) == f"sha256-{image.digest[7:]}.sig"
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert layer["annotations"].keys() == {"dev.cosignproject.cosign/signature"}
    payload = json.loads(signature(image).layers[0].content)
    assert payload["critical"]["image"]["docker-manifest-digest"] == image.digest


def test_an_sbom_refers_to_its_image() -> None:
    image = release("1.0.0")

    manifest = sbom(image).manifest

    assert manifest["artifactType"] == "application/spdx+json"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    # The empty descriptor that the specification gives, word for word.
    assert manifest["config"]["digest"] == (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    assert manifest["subject"] == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": image.digest,
        "size": len(image.blob.content),
    }


# The registry


class Repository:
    """A repository of the local registry, and what was pushed to it."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws, self.name = aws, name
        self.uri = f"{aws.registry}/{name}"
        self.login = ecr_login(aws.client("ecr"))
        self.progress: list[tuple[Blob, bool]] = []

    def push(self, what: Manifest, tag: str | None = None) -> str:
        self.progress = []
        username, password = self.login
        return push(
            what,
            self.uri,
            tag,
            username=username,
            password=password,
            progress=lambda blob, existed: self.progress.append((blob, existed)),
        )

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.aws.endpoint}/v2/{self.name}/{path}"
            return session.get(url, auth=self.login, timeout=60)

    def images(self) -> dict[str, dict[str, Any]]:
        response = self.aws.client("ecr").describe_images(repositoryName=self.name)["imageDetails"]
        return {image["imageDigest"]: image for image in response}


@pytest.fixture
def repository(aws: LocalAws, name: str) -> Repository:
    aws.client("ecr").create_repository(repositoryName=name)
    return Repository(aws, name)


def test_what_was_pushed_can_be_pulled(repository: Repository) -> None:
    image = release("2.0.0-devel+e0f93fb88")

    digest = repository.push(image, "2.0.0-devel-e0f93fb88")

    for reference in ("2.0.0-devel-e0f93fb88", digest):
        pulled = repository.get(f"manifests/{reference}")
        assert pulled.content == image.blob.content
        assert pulled.headers["Content-Type"] == image.manifest["mediaType"]
        assert pulled.headers["Docker-Content-Digest"] == digest == image.digest
    for blob in image.blobs:
        assert repository.get(f"blobs/{blob.digest}").content == blob.content
    assert repository.images()[digest]["imageTags"] == ["2.0.0-devel-e0f93fb88"]


def test_only_what_is_new_is_sent(repository: Repository) -> None:
    repository.push(release("1.0.0"), "1.0.0")
    assert [existed for _, existed in repository.progress] == [False] * 4

    second = release("1.1.0")
    repository.push(second, "1.1.0")

    config, program, version = second.blobs
    assert repository.progress == [
        (config, False),
        (program, True),
        (version, False),
        (second.blob, False),
    ]


def test_pushing_again_gives_the_image_one_more_tag(repository: Repository) -> None:
    image = release("1.0.0")

    repository.push(image, "1.0.0")
    repository.push(image, "latest")

    assert [existed for _, existed in repository.progress] == [True, True, True, False]
    assert list(repository.images()) == [image.digest]
    assert repository.images()[image.digest]["imageTags"] == ["1.0.0", "latest"]


def test_the_children_of_an_index_are_pushed_before_it_and_by_digest(
    repository: Repository,
) -> None:
    images = [release("1.0.0", platform=f"linux/{name}") for name in ("amd64", "arm64")]
    children = (*images, attestation(images[0]))
    index = Index(children)

    digest = repository.push(index, "1.0.0")

    pushed = [blob.digest for blob, existed in repository.progress if not existed]
    manifests = [one for one in pushed if one in {m.digest for m in (*children, index)}]
    assert manifests == [*(child.digest for child in children), digest]
    result = repository.images()
    assert result[digest]["imageTags"] == ["1.0.0"]
    assert result[digest]["imageManifestMediaType"] == "application/vnd.oci.image.index.v1+json"
    assert not any(result[child.digest].get("imageTags") for child in children)
    assert repository.get("manifests/1.0.0").json() == index.manifest


def test_an_image_of_an_index_is_not_pushed_twice(repository: Repository) -> None:
    image = release("1.0.0")
    repository.push(image, "1.0.0-amd64")

    repository.push(Index((image,)), "1.0.0")

    assert (image.blob, True) in repository.progress


def test_artifacts_lie_beside_their_image(repository: Repository) -> None:
    image = release("1.0.0")
    signed, listed = signature(image), sbom(image)

    repository.push(image, "1.0.0")
    repository.push(signed, cosign_tag(image.digest))
    repository.push(listed)

    result = repository.images()
    assert result.keys() == {image.digest, signed.digest, listed.digest}
    assert result[signed.digest]["imageTags"] == [f"sha256-{image.digest[7:]}.sig"]
    assert not result[listed.digest].get("imageTags")
    pulled = repository.get(f"manifests/{listed.digest}").json()
    assert pulled["subject"]["digest"] == image.digest


# What a registry refuses


def test_a_repository_that_is_not_there_is_named(aws: LocalAws, name: str) -> None:
    with pytest.raises(PushRefused, match=f"repository name not known to registry: {name}"):
        Repository(aws, name).push(release("1.0.0"), "1.0.0")


def test_an_immutable_tag_is_not_moved(aws: LocalAws, name: str) -> None:
    aws.client("ecr").create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    repository = Repository(aws, name)
    repository.push(release("1.0.0"), "1.0.0")

    with pytest.raises(PushRefused, match=r"was answered 400: .*is immutable"):
        repository.push(release("1.1.0"), "1.0.0")


@pytest.mark.parametrize("tag", ["2.0.0+abc", "", "-x", "a" * 129])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(PushRefused, match="is no tag"):
        push(release("1.0.0"), "localhost:1/demo", tag, username="AWS", password="x")


def test_a_registry_that_is_not_there_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    with pytest.raises(PushRefused, match=f"no registry answers at 127.0.0.1:{port}"):
        push(release("1.0.0"), f"127.0.0.1:{port}/demo", username="AWS", password="x")


def test_a_wrong_password_is_refused(repository: Repository) -> None:
    with pytest.raises(PushRefused, match="was answered 401"):
        push(release("1.0.0"), repository.uri, "1.0.0", username="AWS", password="wrong")
