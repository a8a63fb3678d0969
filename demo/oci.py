"""Build OCI images without Docker, and push them over the registry API.

    image = Image.from_files({"/app/run": File(script, executable=True)}, entrypoint=["/app/run"])
    push(image, "127.0.0.1:4566/demo", "1.2.0", username="AWS", password=token)

The same input gives the same bytes, and so the same digest, for one version of zlib. Formats follow
the OCI image specification 1.1 (https://github.com/opencontainers/image-spec), the registry API
the OCI distribution specification 1.1 (https://github.com/opencontainers/distribution-spec).
"""

import base64
import functools
import gzip
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, Self, TypedDict, Unpack

import oras.container
import oras.provider
import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

CREATED = "2026-01-01T00:00:00Z"
"""When every image says it was made, so that its digest depends on its content alone."""

_ANSWER_WITHIN = 30.0  # seconds for the registry to answer one request
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

type Document = dict[str, Any]


class ImageError(ValueError):
    """This cannot be made into an image; the message names the path."""


class PushRefused(Exception):
    """The registry did not take it; the message says what was asked and what it answered."""


# What a registry keeps ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Blob:
    """Bytes that a registry keeps under their digest."""

    media_type: str
    content: bytes
    annotations: Mapping[str, str] | None = None

    @cached_property
    def digest(self) -> str:
        return _sha256(self.content)

    @property
    def descriptor(self) -> Document:
        described = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.content),
        }
        return described | ({"annotations": dict(self.annotations)} if self.annotations else {})


class Manifest(ABC):
    """What a registry lists as an image: a document that names blobs or other manifests."""

    @property
    @abstractmethod
    def manifest(self) -> Document: ...

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """What the registry must have before it takes this."""
        return ()

    @property
    def children(self) -> "tuple[Manifest, ...]":
        """The manifests that the registry must have before it takes this."""
        return ()

    @cached_property
    def blob(self) -> Blob:
        """The manifest as it is sent."""
        document = self.manifest
        return Blob(document["mediaType"], _json(document))

    @property
    def digest(self) -> str:
        return self.blob.digest

    @property
    def entry(self) -> Document:
        """How an index names it."""
        return self.blob.descriptor


# Layers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


type Files = Mapping[str, bytes | File | Link]
"""Path in the image to content. A path that ends with a slash is an empty directory."""


@dataclass(frozen=True)
class Layer:
    """Files that are added to an image, as a tar archive."""

    tar: bytes
    made_by: str

    @classmethod
    def of(cls, files: Files, made_by: str = "COPY . /") -> Self:
        """Owned by root, dated 1970 and sorted, whoever builds them and when."""
        return cls(_tar(files), made_by)

    @property
    def diff_id(self) -> str:
        return _sha256(self.tar)

    @cached_property
    def blob(self) -> Blob:
        return Blob(LAYER, gzip.compress(self.tar, compresslevel=9, mtime=0))


def read_directory(directory: Path, at: str = "/") -> dict[str, bytes | File | Link]:
    """The files under `directory` as they should appear under `at` in an image.

    Without `.git` and `__pycache__`. Raises ImageError for what is no file, directory or link, and
    OSError for what cannot be read.
    """

    def fail(error: OSError) -> NoReturn:
        raise error

    files: dict[str, bytes | File | Link] = {}
    for parent, names, leaves in os.walk(directory, onerror=fail):
        names[:] = [name for name in names if name not in {".git", "__pycache__"}]
        links = [name for name in names if (Path(parent) / name).is_symlink()]
        base = PurePosixPath(at) / Path(parent).relative_to(directory).as_posix()
        if not (names or leaves):
            files[f"{base}/"] = b""
        for name in [*leaves, *links]:
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                files[f"{base / name}"] = Link(str(path.readlink()))
            elif stat.S_ISREG(mode):
                files[f"{base / name}"] = File(path.read_bytes(), bool(mode & stat.S_IXUSR))
            else:
                raise ImageError(f"{path} is neither a file nor a directory nor a link")
    return files


def _tar(files: Files) -> bytes:
    entries: dict[tuple[str, ...], bytes | File | Link | None] = {}
    for name, given in files.items():
        path = PurePosixPath("/", name)
        if path.parts == ("/",) or ".." in path.parts:
            raise ImageError(f"{name!r} is no path in an image")
        for parent in path.parents:
            entries.setdefault(parent.parts[1:], None)
        entries[path.parts[1:]] = None if name.endswith("/") else given
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for parts, content in sorted(entries.items(), key=lambda item: item[0]):
            if not parts:
                continue
            if any(entries[parts[:end]] is not None for end in range(1, len(parts))):
                raise ImageError(f"{'/'.join(parts)!r} lies under something that is no directory")
            info = tarfile.TarInfo("/".join(parts))
            match content:
                case None:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
                case Link(target):
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
                    archive.addfile(info)
                case bytes() | File():
                    file = content if isinstance(content, File) else File(content)
                    info.size, info.mode = len(file.content), 0o755 if file.executable else 0o644
                    archive.addfile(info, io.BytesIO(file.content))
    return packed.getvalue()


# Images ------------------------------------------------------------------------------------------


class Settings(TypedDict, total=False):
    """What an image says about how to run it."""

    entrypoint: Sequence[str]
    command: Sequence[str]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    working_dir: str
    ports: Sequence[int]
    platform: str  # os/architecture[/variant], linux/amd64 by default


@dataclass(frozen=True)
class Image(Manifest):
    """An image for one platform: its layers, and the configuration that runs them."""

    layers: tuple[Layer, ...]
    config: Document

    @classmethod
    def build(cls, *layers: Layer, **settings: Unpack[Settings]) -> Self:
        os_name, _, rest = settings.get("platform", "linux/amd64").partition("/")
        architecture, _, variant = rest.partition("/")
        if not (os_name and architecture):
            raise ImageError(f"platform {settings.get('platform')!r} is not os/architecture")
        entrypoint = list(settings.get("entrypoint", ()))
        run = {
            "Env": [f"{name}={value}" for name, value in settings.get("env", {}).items()],
            "Entrypoint": entrypoint,
            "Cmd": list(settings.get("command", ())),
            "WorkingDir": settings.get("working_dir", "/"),
            "ExposedPorts": {f"{port}/tcp": {} for port in settings.get("ports", ())},
            "Labels": dict(sorted(settings.get("labels", {}).items())),
        }
        steps = [{"created": CREATED, "created_by": layer.made_by} for layer in layers]
        last = {"created": CREATED, "created_by": f"ENTRYPOINT {json.dumps(entrypoint)}"}
        config = {
            "created": CREATED,
            "architecture": architecture,
            "os": os_name,
            **({"variant": variant} if variant else {}),
            "config": {key: value for key, value in run.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [*steps, {**last, "empty_layer": True}],
        }
        return cls(layers, config)

    @classmethod
    def from_files(cls, files: Files, **settings: Unpack[Settings]) -> Self:
        """An image with one layer. Raises ImageError."""
        return cls.build(Layer.of(files), **settings)

    @classmethod
    def from_directory(
        cls, directory: Path, at: str = "/app", **settings: Unpack[Settings]
    ) -> Self:
        """An image with the files of a directory under `at`, started from there.

        Raises ImageError, and OSError where the directory cannot be read.
        """
        files = read_directory(directory, at)
        settings.setdefault("working_dir", at)
        return cls.build(Layer.of(files, made_by=f"COPY . {at}"), **settings)

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (Blob(CONFIG, _json(self.config)), *(layer.blob for layer in self.layers))

    @property
    def manifest(self) -> Document:
        config, *layers = self.blobs
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor,
            "layers": [layer.descriptor for layer in layers],
        }

    @property
    def entry(self) -> Document:
        keys = ("architecture", "os", "variant")
        platform = {key: self.config[key] for key in keys if key in self.config}
        return self.blob.descriptor | {"platform": platform}


@dataclass(frozen=True)
class Artifact(Manifest):
    """What is pushed beside images and cannot be run: a signature, an attestation, an SBOM."""

    layers: tuple[Blob, ...]
    config: Blob = Blob(EMPTY, b"{}")
    artifact_type: str | None = None
    subject: Manifest | None = None
    """The manifest that this refers to, as OCI 1.1 has it."""
    attests: Manifest | None = None
    """The manifest that this attests to as its neighbour in an index, as BuildKit has it."""

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (self.config, *self.layers)

    @property
    def manifest(self) -> Document:
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            **({"artifactType": self.artifact_type} if self.artifact_type else {}),
            "config": self.config.descriptor,
            "layers": [layer.descriptor for layer in self.layers],
            **({"subject": self.subject.blob.descriptor} if self.subject else {}),
        }

    @property
    def entry(self) -> Document:
        if self.attests is None:
            return super().entry
        return self.blob.descriptor | {
            "annotations": {
                "vnd.docker.reference.digest": self.attests.digest,
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        }


@dataclass(frozen=True)
class Index(Manifest):
    """Images for several platforms under one name, and what attests to them."""

    members: tuple[Manifest, ...]

    @property
    def children(self) -> tuple[Manifest, ...]:
        return self.members

    @property
    def manifest(self) -> Document:
        entries = [member.entry for member in self.members]
        return {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}


def attestation(image: Image) -> Artifact:
    """The provenance that `docker buildx build` puts beside an image into its index.

    https://docs.docker.com/build/metadata/attestations/attestation-storage/
    """
    predicate = "https://slsa.dev/provenance/v0.2"
    statement = _json(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": predicate,
            "subject": [{"name": "image", "digest": {"sha256": _hex(image.digest)}}],
            "predicate": {"buildType": "https://mobyproject.org/buildkit@v1"},
        }
    )
    config = {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [_sha256(statement)]},
    }
    note = {"in-toto.io/predicate-type": predicate}
    layer = Blob("application/vnd.in-toto+json", statement, note)
    return Artifact((layer,), Blob(CONFIG, _json(config)), attests=image)


def signature(image: Manifest, repository: str = "demo") -> Artifact:
    """What `cosign sign` pushes, in form: nobody's key has signed it. Its tag: `cosign_tag`.

    https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
    """
    payload = _json(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": image.digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    unsigned = base64.b64encode(hashlib.sha256(payload).digest()).decode()
    note = {"dev.cosignproject.cosign/signature": unsigned}
    layer = Blob("application/vnd.dev.cosign.simplesigning.v1+json", payload, note)
    rootfs = {"type": "layers", "diff_ids": [layer.digest]}
    config = {"architecture": "", "os": "", "config": {}, "rootfs": rootfs}
    return Artifact((layer,), Blob(CONFIG, _json(config)))


def cosign_tag(digest: str, kind: str = "sig") -> str:
    """The tag under which cosign keeps what it says of an image: kind is sig, att or sbom."""
    return f"sha256-{_hex(digest)}.{kind}"


def sbom(image: Manifest) -> Artifact:
    """A bill of materials that refers to the image, as `oras attach` pushes it: without a tag."""
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image.digest,
        "documentNamespace": f"https://example.com/sbom/{_hex(image.digest)}",
        "creationInfo": {"created": CREATED, "creators": ["Tool: demo"]},
        "packages": [],
    }
    layer = Blob("application/spdx+json", _json(document))
    return Artifact((layer,), artifact_type="application/spdx+json", subject=image)


def _json(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


# Pushing -----------------------------------------------------------------------------------------

type Progress = Callable[[Blob, bool], None]
"""Called for every blob and manifest that the registry has now, with whether it had it before."""


def push(
    what: Manifest,
    repository: str,
    tag: str | None = None,
    *,
    username: str,
    password: str,
    insecure: bool = True,
    progress: Progress = lambda blob, existed: None,
) -> str:
    """Push to `host:port/name`, and return the digest.

    Blobs come first, then the manifests that an index names, by digest, then the manifest itself,
    under its tag or its digest; what the registry has is not sent again. `insecure` is plain HTTP.
    Raises PushRefused.
    """
    if tag is not None and not _TAG.fullmatch(tag):
        raise PushRefused(f"{tag!r} is no tag: letters, digits, '_', '.' and '-', 128 at most")
    container = oras.container.Container(repository)
    registry = oras.provider.Registry(container.registry, insecure, auth_backend="basic")
    registry.auth.set_basic_auth(username, password)
    # The registry is on this machine: no proxy, and no two minutes of retries if it is not there.
    registry.session.trust_env = False
    registry.session.request = functools.partial(registry.session.request, timeout=_ANSWER_WITHIN)
    registry.do_request = functools.partial(type(registry).do_request.__wrapped__, registry)
    try:
        _send(registry, container, what, tag, progress)
    except requests.ConnectionError as error:
        raise PushRefused(f"no registry answers at {container.registry}: {error}") from error
    except requests.RequestException as error:
        raise PushRefused(f"pushing to {repository} failed: {error}") from error
    return what.digest


def _send(
    registry: Any, container: Any, what: Manifest, tag: str | None, progress: Progress
) -> None:
    for child in what.children:
        _send(registry, container, child, None, progress)
    for blob in what.blobs:
        existed = _has(registry, container.get_blob_url(blob.digest), "*/*")
        if not existed:
            _send_blob(registry, container, blob)
        progress(blob, existed)
    # Not upload_manifest: it serialises again, and sends everything as the manifest of an image.
    url = container.manifest_url(tag or what.digest)
    kind = {"Content-Type": what.blob.media_type}
    existed = tag is None and _has(registry, url, what.blob.media_type)
    if not existed:
        answer = registry.do_request(f"{registry.prefix}://{url}", "PUT", what.blob.content, kind)
        _expect(answer, 201)
    progress(what.blob, existed)


def _has(registry: Any, url: str, media_type: str) -> bool:
    accept = {"Accept": media_type}
    answer = registry.do_request(f"{registry.prefix}://{url}", "HEAD", headers=accept)
    _expect(answer, 200, 404)
    return bool(answer.status_code == 200)


def _send_blob(registry: Any, container: Any, blob: Blob) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(blob.content)
        file.flush()
        try:
            answer = registry.put_upload(file.name, container, blob.descriptor)
        except requests.RequestException:
            raise
        except ValueError as error:  # oras's word for an upload that the registry does not begin
            raise PushRefused(f"{container.api_prefix}: {error}") from error
        _expect(answer, 201)


def _expect(answer: requests.Response, *codes: int) -> None:
    if answer.status_code not in codes:
        failure = f"{answer.request.method} {answer.url} was answered {answer.status_code}"
        raise PushRefused(f"{failure}: {answer.text.strip()}")


def ecr_login(ecr: Any) -> tuple[str, str]:
    """User name and password for the registry, from a boto3 client of ECR."""
    answer = ecr.get_authorization_token()["authorizationData"][0]
    username, _, password = base64.b64decode(answer["authorizationToken"]).decode().partition(":")
    return username, password
