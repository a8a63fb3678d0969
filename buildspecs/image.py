"""Build a service's image from its source archive and push it to ECR.

    python3 image.py fetch      download the archive, check it and unpack it
    python3 image.py restore    restore the nix store from the cache
    python3 image.py identify   find the version, and check whether ECR has it already
    python3 image.py build      compile, and build the image
    python3 image.py push       label the image and push it

buildspecs/image.yaml runs these commands in CodeBuild, one after the other in one directory, and
lists the environment variables that control them. They need Python 3.11, boto3 and git, as in
CodeBuild's standard images; docker if the image is built with it; nix in mode nix.

A failure ends with one line on standard error, `image: <Kind>: <cause>`, for the record of the
build. SourcesRejected and VersionRefused are for the uploader to fix, the lines above explain a
BuildFailed, and PushInterrupted can be retried.
"""

import base64
import contextlib
import fnmatch
import gzip
import hashlib
import json
import lzma
import os
import re
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

MAX_FILES = 1_000_000
MAX_BYTES = 20 * 1024**3  # unpacked
PART = 10 * 1024**2  # bytes; ECR takes 20 MiB at most
PATIENCE = 10  # seconds
TRIES = 5  # of the push; botocore tries each request three times

# Raised by the libraries for broken or encrypted archives, or unsupported compression.
UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(OSError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
MAX_LINK = 4096  # bytes

TREE, CACHE, LAYOUT, VARIABLES = Path("tree"), Path("cache"), Path("layout"), Path("variables")
# The characters of a tag, and `+`, which becomes `-`. No `_`: Make splits Coder's file names there.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,127}")
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONTENT_LABEL = "deployer.source"
SCHEMA_NUMBER_LABEL = "deployer.schema.number"
SCHEMA_HASH_LABEL = "deployer.schema.hash"

Json = dict[str, Any]


class Failed(Exception):
    """The build failed; `kind` is for the state machine, the cause for a person."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(f"{kind}: {cause}")


def client(service: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service, config=Config(retries={"mode": "standard", "total_max_attempts": 3})
    )


# fetch -------------------------------------------------------------------------------------------


def fetch() -> None:
    key, archive = os.environ["SOURCE_KEY"], Path("archive")
    request = {"Bucket": os.environ["SOURCE_BUCKET"], "Key": key}
    if os.environ["SOURCE_VERSION"]:
        request["VersionId"] = os.environ["SOURCE_VERSION"]
    with archive.open("wb") as file:
        shutil.copyfileobj(client("s3").get_object(**request)["Body"], file)
    print(f"{key}: {archive.stat().st_size / 1e6:.1f} MB")
    scratch = Path("unpacked")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        unpack(archive, scratch, key)
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise Failed("SourcesRejected", f"{key} cannot be read as an archive: {reason}") from None
    archive.unlink()
    entries = list(scratch.iterdir())
    if not entries:
        raise Failed("SourcesRejected", f"{key} is empty: it holds no file")
    top = entries[0] if len(entries) == 1 and entries[0].is_dir() else scratch
    if top.name == ".git":
        top = scratch
    shutil.rmtree(TREE, ignore_errors=True)
    top.rename(TREE)
    # make rebuilds files older than their sources, but an archive's times are those of a checkout.
    # With the same time on all files, make keeps generated files that are checked in.
    now = time.time()
    for path in TREE.rglob("*"):
        if path.parts[1] != ".git":
            os.utime(path, (now, now), follow_symlinks=False)


def unpack(archive: Path, target: Path, name: str) -> None:
    """Unpack an untrusted .zip or .tar.gz.

    Raises:
        Failed: the archive is unsafe or too large.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            _bound(name, len(entries), sum(entry.file_size for entry in entries))
            for entry in entries:
                if not left_out(path := entry_name(entry)):
                    _unzip(zipped, entry, _inside(target, path, "", name), target, name)
        return
    size = 0
    with tarfile.open(archive, "r:*") as tar:
        for number, member in enumerate(tar, 1):
            _bound(name, number, size := size + member.size)
            if left_out(member.name):
                continue
            if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
                kind = "is neither a file nor a folder nor a link"
                raise Failed("SourcesRejected", f"{name}: {member.name!r} {kind}")
            link = member.linkname if member.issym() else ""
            destination = _inside(target, member.name, link, name)
            if member.islnk():
                _inside(target, member.linkname, "", name)
            _once(destination, member.isdir(), name)
            try:
                tar.extract(member, target, filter="data")
            except tarfile.FilterError as error:
                raise Failed("SourcesRejected", f"{name}: {error}") from None


def left_out(path: str) -> bool:
    """Return whether an entry is macOS metadata and not part of the project.

    `__MACOSX/` and `._*` hold file attributes, `.DS_Store` a folder's view. deployer.docs.sources
    leaves out the same entries of a site's archive.
    """
    parts = PurePosixPath(path).parts
    return "__MACOSX" in parts or any(p == ".DS_Store" or p.startswith("._") for p in parts)


def entry_name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name, with `/` between folders.

    macOS writes UTF-8 without saying so, and old tools of Windows write backslashes.
    """
    path = entry.filename
    if not entry.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            path = path.encode("cp437").decode()
    return path.replace("\\", "/")


def _unzip(
    zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, target: Path, name: str
) -> None:
    shown, mode = f"{name}: {entry.filename[:200]!r}", entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise Failed("SourcesRejected", f"{shown} is neither a file nor a folder nor a link")
    if entry.flag_bits & 1:
        raise Failed("SourcesRejected", f"{shown} is encrypted")
    if entry.compress_type not in PACKED:
        how = "deflate64" if entry.compress_type == 9 else f"method {entry.compress_type}"
        raise Failed("SourcesRejected", f"{shown} is packed with {how}: upload a .tar.gz instead")
    folder = entry.filename.endswith(("/", "\\"))
    _once(path, folder, name)
    # an earlier entry may be a link, so check the real path of the folder
    root = os.path.realpath(target)
    if not _below(root, os.path.realpath(path.parent)):
        raise Failed("SourcesRejected", f"{shown} climbs out of the archive over a link")
    if folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode):
        if entry.file_size > MAX_LINK:
            raise Failed("SourcesRejected", f"{shown} is a link with too long a name")
        link = os.fsdecode(zipped.read(entry))
        points = os.path.realpath(Path(os.path.realpath(path.parent)) / link)
        if not link or "\0" in link or link.startswith("/") or not _below(root, points):
            message = f"{shown} is a link to {link[:200]!r}, outside the archive"
            raise Failed("SourcesRejected", message)
        path.symlink_to(link)
        return
    with zipped.open(entry) as content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
    if mode:
        path.chmod(0o755 if mode & 0o100 else 0o644)


def _below(root: str, path: str) -> bool:
    return path == root or path.startswith(f"{root}{os.sep}")


def _once(path: Path, folder: bool, name: str) -> None:
    """Refuse a duplicate entry; a folder may be repeated."""
    if os.path.lexists(path) and not (folder and path.is_dir() and not path.is_symlink()):
        raise Failed("SourcesRejected", f"{name} holds {str(path.name)[:200]!r} twice")


def _bound(name: str, files: int, size: int) -> None:
    if files > MAX_FILES or size > MAX_BYTES:
        raise Failed(
            "SourcesRejected",
            f"{name} is too large: unpacked, more than {MAX_FILES} files or"
            f" {MAX_BYTES // 1024**3} GiB; leave out what the image is not built from",
        )


def _inside(target: Path, path: str, link: str, name: str) -> Path:
    """Return the path of an entry, which (and whose link target) must be below `target`."""
    parts = PurePosixPath(path).parts
    if not parts and path.strip("./"):
        raise Failed("SourcesRejected", f"{name}: {path[:200]!r} is not a name for a file")
    if "\0" in path or path.startswith("/") or ".." in parts or re.match("[A-Za-z]:/", path):
        raise Failed("SourcesRejected", f"{name}: {path[:200]!r} climbs out of the archive")
    if link:
        points = os.path.normpath(PurePosixPath(path).parent / link)
        if link.startswith("/") or points.startswith(".."):
            shown = f"{path[:200]!r} is a link to {link[:200]!r}, outside the archive"
            raise Failed("SourcesRejected", f"{name}: {shown}")
    return target / path


# identify ----------------------------------------------------------------------------------------


def identify() -> None:
    commit, content = source()
    version = find_version()
    tag = version.replace("+", "-")
    if not deploys(tag):
        raise Failed(
            "VersionRefused",
            f"{os.environ['SERVICE']} deploys tags {os.environ['TAGS']}, which do not match {tag}:"
            " a push of it would deploy nothing; change the version or `tags` in the service spec",
        )
    existing = labels_in_ecr(os.environ["REPOSITORY"], tag)
    facts = {"VERSION": version, "TAG": tag, "COMMIT": commit, "CONTENT": content}
    if existing is None:
        print(f"version {version}, tag {tag}, commit {commit or 'unknown'}, {content}")
    elif existing["labels"].get(CONTENT_LABEL) == content:
        facts |= {"OUTCOME": "SKIPPED", "DIGEST": existing["digest"]}
        print(f"{tag} is in {os.environ['REPOSITORY']} already, built from the same content")
    else:
        other = existing["labels"].get("org.opencontainers.image.revision") or "unknown"
        raise Failed(
            "VersionRefused",
            f"{tag} is in {os.environ['REPOSITORY']} already, built from other content (commit"
            f" {other}): commit the change, so that it has a version of its own",
        )
    tell(facts)


def deploys(tag: str) -> bool:
    """Return whether `tags` of the service spec matches, with a time limit for slow patterns."""

    def too_long(*_: object) -> None:
        raise Failed("VersionRefused", f"tags {os.environ['TAGS']} takes too long to match {tag}")

    previous_handler = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(PATIENCE)
    try:
        return re.fullmatch(os.environ["TAGS"], tag) is not None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous_handler)


def source() -> tuple[str, str]:
    """Return the commit ("" without history), and a fingerprint of the content."""
    if not (TREE / ".git").exists():
        digest = hashlib.sha256()
        for path in sorted(TREE.rglob("*")):
            if path.is_symlink():
                content, kind = os.fsencode(path.readlink()), "link"
            elif path.is_file():
                runs = path.stat().st_mode & stat.S_IXUSR
                content, kind = path.read_bytes(), "program" if runs else "file"
            else:
                continue
            digest.update(os.fsencode(path) + f"\0{kind}\0{len(content)}\0".encode() + content)
        return "", f"sha256:{digest.hexdigest()}"
    commit = git("rev-parse", "HEAD")
    # include uncommitted files, in a separate index
    git("add", "--all", index="index")
    return commit, f"git:{git('write-tree', index='index')}"


def git(*arguments: str, index: str = "") -> str:
    extra = {"GIT_INDEX_FILE": str(Path(index).absolute())} if index else {}
    command = ["git", "-c", "safe.directory=*", "-C", str(TREE), *arguments]
    process = subprocess.run(
        command, env={**os.environ, **extra}, capture_output=True, text=True, check=False
    )
    if process.returncode:
        message = (process.stderr.strip().splitlines() or ["no output"])[-1]
        raise Failed(
            "SourcesRejected", f"the archive's .git is not usable: git {arguments[0]}: {message}"
        )
    return process.stdout.strip()


def find_version() -> str:
    command = os.environ["VERSION_COMMAND"]
    # fixed abbreviations: the same commit has the same version in every clone
    abbrev = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.abbrev",
        "GIT_CONFIG_VALUE_0": "12",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    output = run("version", command, abbrev, capture=True)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        raise Failed("VersionRefused", f"{command} printed no version; it must print one line")
    version = lines[-1].removeprefix("v")  # nix-shell's own output comes first
    if not VERSION.fullmatch(version):
        raise Failed(
            "VersionRefused",
            f"{version[:150]!r}, printed by {command}, is not a valid version for a tag: use at"
            " most 128 letters, digits, '.', '-' and '+', such as 2.0.0-devel+e0f93fb88",
        )
    return version


def labels_in_ecr(repository: str, tag: str) -> Json | None:
    """Return the digest and the labels of the image with a tag, or None."""
    ecr = client("ecr")
    response = ecr.batch_get_image(
        repositoryName=repository,
        imageIds=[{"imageTag": tag}],
        acceptedMediaTypes=[MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"],
    )
    if not response["images"]:
        return None
    image = response["images"][0]
    config = json.loads(image["imageManifest"]).get("config")
    if config is None:  # an index: not built by this program, so from other content
        return {"digest": image["imageId"]["imageDigest"], "labels": {}}
    link = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=config["digest"])
    with urllib.request.urlopen(link["downloadUrl"], timeout=60) as content:
        labels = (json.load(content).get("config") or {}).get("Labels") or {}
    return {"digest": image["imageId"]["imageDigest"], "labels": labels}


# build -------------------------------------------------------------------------------------------


def build() -> None:
    if os.environ.get("OUTCOME") == "SKIPPED":
        return
    if os.environ["BUILD_COMMAND"]:
        run("build", os.environ["BUILD_COMMAND"])
    shutil.rmtree(LAYOUT, ignore_errors=True)
    login()
    run("image", os.environ["IMAGE_COMMAND"])
    if (LAYOUT / "index.json").exists():
        print("image: OCI layout, built without docker")
    else:
        print("image: built with docker")
        save()
    manifest, config = opened()
    platform = f"{config.get('os')}/{config.get('architecture')}"
    if platform != f"linux/{os.environ['ARCHITECTURE']}":
        raise Failed(
            "BuildFailed",
            f"the image is for {platform}, and the service runs on linux/"
            f"{os.environ['ARCHITECTURE']}: correct IMAGE_COMMAND, or `platform` in the spec",
        )
    print(f"image: {len(manifest['layers'])} layer(s) for {platform}")
    keep()


def image_name() -> str:
    """Return the image's name in docker: the service's repository and the tag."""
    return f"{os.environ['REPOSITORY']}:{os.environ['TAG']}"


def login() -> None:
    """Log docker in to the base image's registry, if it is in ECR."""
    registry = os.environ["BASE_IMAGE"].partition("/")[0]
    if ".dkr.ecr." not in registry:
        return
    token = client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    command = ["docker", "login", "--username", user, "--password-stdin", registry]
    if not shutil.which("docker"):
        raise Failed("BuildFailed", f"no docker in the build's image to pull from {registry}")
    process = subprocess.run(
        command, input=password, text=True, check=False, stdout=subprocess.DEVNULL
    )
    if process.returncode:
        raise Failed("BuildFailed", f"docker cannot log in to {registry}, where baseImage is")


def save() -> None:
    """Save docker's image as an OCI layout, which docker supports since version 25."""
    LAYOUT.mkdir()
    saved = subprocess.Popen(["docker", "save", image_name()], stdout=subprocess.PIPE)
    assert saved.stdout is not None
    try:
        with tarfile.open(fileobj=saved.stdout, mode="r|") as tar:
            tar.extractall(LAYOUT, filter="data")
    except tarfile.TarError:
        pass
    if saved.wait() or not (LAYOUT / "index.json").exists():
        raise Failed(
            "BuildFailed",
            f"image {image_name()} does not exist: the image command must build it with the name in"
            " $IMAGE, or write an OCI layout into $LAYOUT; `docker save` needs version 25",
        )


def opened() -> tuple[Json, Json]:
    """Return the layout's manifest and config for the service's architecture."""
    manifest = json.loads((LAYOUT / "index.json").read_text())
    while "manifests" in manifest:
        matches = [
            entry
            for entry in manifest["manifests"]
            if (entry.get("platform") or {}).get("architecture", os.environ["ARCHITECTURE"])
            == os.environ["ARCHITECTURE"]
        ]
        if not matches:
            platforms = [entry.get("platform") or {} for entry in manifest["manifests"]]
            built_for = ", ".join({str(platform.get("architecture")) for platform in platforms})
            raise Failed(
                "BuildFailed",
                f"the image is for {built_for}, and the service runs on linux/"
                f"{os.environ['ARCHITECTURE']}",
            )
        manifest = json.loads(blob(matches[0]["digest"]).read_text())
    return manifest, json.loads(blob(manifest["config"]["digest"]).read_text())


def blob(digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    return LAYOUT / "blobs" / algorithm / name


def run(
    what: str, command: str, extra: Mapping[str, str] | None = None, *, capture: bool = False
) -> str:
    """Run one of the tree's commands in its top folder, inside nix-shell in mode nix."""
    nix = os.environ["MODE"] == "nix"
    if nix and not any((TREE / name).exists() for name in ("shell.nix", "default.nix")):
        raise Failed("SourcesRejected", "mode nix needs a shell.nix in the archive's top folder")
    script = shlex.split(command)[0] if command else ""
    if script.startswith("./") and not (TREE / script).exists():
        raise Failed(
            "SourcesRejected", f"the archive has no {script}, which the {what} command runs"
        )
    wrapped = ["nix-shell", "--run", command] if nix else ["bash", "-c", command]
    print(f"{what} ({os.environ['MODE']}): {command}", flush=True)
    process = subprocess.run(
        wrapped,
        cwd=TREE,
        env={**environment(), **(extra or {})},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if process.returncode:
        raise Failed("BuildFailed", f"the {what} command failed ({process.returncode}): {command}")
    return process.stdout or ""


def environment() -> dict[str, str]:
    """Return the environment variables of the tree's commands."""
    # With CI set, Coder's make uses zstd's highest level (slow, and tens of GB of memory). Its pnpm
    # script needs CI only to freeze the lock file, which the first variable below does too.
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    cache = CACHE.absolute()
    variables |= {
        "npm_config_frozen_lockfile": "true",
        "npm_config_store_dir": str(cache / "pnpm"),
        "GOCACHE": str(cache / "go-build"),
        "GOMODCACHE": str(cache / "go-mod"),
        "LAYOUT": str(LAYOUT.absolute()),
        # otherwise nix-shell searches <nixpkgs> for a shell, and no channel is installed
        "NIX_BUILD_SHELL": shutil.which("bash") or "bash",
    }
    if "VERSION" in os.environ:
        variables |= {"CODER_FORCE_VERSION": os.environ["VERSION"], "IMAGE": image_name()}
    if os.environ["BASE_IMAGE"]:
        variables["CODER_BASE_IMAGE_TAG"] = os.environ["BASE_IMAGE"]
    return variables


# The cache: Go's and pnpm's directories, and the development shell's part of the nix store.
# -------------------------------------------------------------------------------------------------


def restore() -> None:
    CACHE.mkdir(exist_ok=True)
    export = CACHE / "nix.export"
    if os.environ["MODE"] == "nix" and export.exists():
        began = time.monotonic()
        with export.open("rb") as file:
            process = subprocess.run(
                ["nix-store", "--import"], stdin=file, stdout=subprocess.DEVNULL, check=False
            )
        size = export.stat().st_size / 1e6
        print(f"nix store: {size:.0f} MB restored in {time.monotonic() - began:.1f} s")
        if process.returncode:  # a broken cache is not a failure
            export.unlink()


def keep() -> None:
    """Export the store paths of the development shell to the cache, unless they are unchanged."""
    if os.environ["MODE"] != "nix":
        return
    file = next(name for name in ("shell.nix", "default.nix") if (TREE / name).exists())
    process = subprocess.run(
        ["nix-instantiate", file], cwd=TREE, capture_output=True, text=True, check=False
    )
    derivation = process.stdout.strip()
    record = CACHE / "nix.derivation"
    if process.returncode or (record.exists() and record.read_text() == derivation):
        return
    query = ["nix-store", "--query", "--requisites", "--include-outputs", derivation]
    paths = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    existing = [path for path in paths if Path(path).exists()]
    with (CACHE / "nix.export").open("wb") as export:
        if not subprocess.run(
            ["nix-store", "--export", *existing], stdout=export, check=False
        ).returncode:
            record.write_text(derivation)


# push --------------------------------------------------------------------------------------------


def push() -> None:
    if os.environ.get("OUTCOME") == "SKIPPED":
        return
    manifest, config = opened()
    config.setdefault("config", {})["Labels"] = {
        **(config["config"].get("Labels") or {}),
        **labels(),
    }
    layers = [compressed(layer) for layer in manifest["layers"]]
    content = json.dumps(config, separators=(",", ":")).encode()
    (LAYOUT / "config").write_bytes(content)
    descriptor = {"mediaType": CONFIG, "digest": sha256(content), "size": len(content)}
    body: Json = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor}
    body["layers"] = [described for described, _ in layers]
    files: dict[str, Path] = {sha256(content): LAYOUT / "config"}
    files |= {described["digest"]: path for described, path in layers}
    digest = send(json.dumps(body, separators=(",", ":")), files)
    tell({"OUTCOME": "PUSHED", "DIGEST": digest})
    print(f"{os.environ['REPOSITORY']}:{os.environ['TAG']}@{digest}")


def labels() -> dict[str, str]:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md, and the deployer's."""
    created = git("log", "-1", "--format=%cI") if os.environ["COMMIT"] else ""
    annotations = {
        "org.opencontainers.image.title": os.environ["SERVICE"],
        "org.opencontainers.image.version": os.environ["VERSION"],
        "org.opencontainers.image.revision": os.environ["COMMIT"],
        "org.opencontainers.image.created": created,
        CONTENT_LABEL: os.environ["CONTENT"],
        **schema(),
    }
    return {name: value for name, value in annotations.items() if value}


def schema() -> dict[str, str]:
    """Return the number of the last migration and a hash of all; {} without migrations."""
    pattern = os.environ["MIGRATIONS"]
    folder, _, name = pattern.rpartition("/")
    migrations = sorted(
        path for path in (TREE / folder).glob("*") if fnmatch.fnmatch(path.name, name)
    )
    numbers = [int(match[0]) for path in migrations if (match := re.match(r"\d+", path.name))]
    if not numbers:
        return {}
    digest = hashlib.sha256(b"".join(os.fsencode(p.name) + p.read_bytes() for p in migrations))
    return {SCHEMA_NUMBER_LABEL: str(max(numbers)), SCHEMA_HASH_LABEL: digest.hexdigest()}


def compressed(layer: Json) -> tuple[Json, Path]:
    """Return a layer compressed, reproducibly: docker saves layers uncompressed."""
    path = blob(layer["digest"])
    if not layer["mediaType"].endswith(("tar", "rootfs.diff.tar")):
        return layer, path
    packed, digest = path.with_name(f"{path.name}.gz"), hashlib.sha256()
    with (
        path.open("rb") as plain,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
    ):
        shutil.copyfileobj(plain, zipped, PART)
    with packed.open("rb") as file:
        while chunk := file.read(PART):
            digest.update(chunk)
    described = {
        "mediaType": f"{LAYER}+gzip",
        "digest": f"sha256:{digest.hexdigest()}",
        "size": packed.stat().st_size,
    }
    return described, packed


def send(manifest: str, files: Mapping[str, Path]) -> str:
    """Push the missing layers, then the manifest, and return its digest. Retry if interrupted.

    ECR identifies layers by their content, so a retry sends only layers that are still missing.
    """
    repository, tag = os.environ["REPOSITORY"], os.environ["TAG"]
    ecr = client("ecr")
    for tries_left in reversed(range(TRIES)):
        try:
            for digest in missing(ecr, repository, list(files)):
                upload(ecr, repository, digest, files[digest])
            response = ecr.put_image(
                repositoryName=repository,
                imageManifest=manifest,
                imageManifestMediaType=MANIFEST,
                imageTag=tag,
            )
            return str(response["image"]["imageId"]["imageDigest"])
        except ecr.exceptions.ImageAlreadyExistsException:  # an earlier try's response was lost
            return sha256(manifest.encode())
        except ecr.exceptions.ImageTagAlreadyExistsException as error:
            raise Failed("VersionRefused", f"{tag} was pushed meanwhile: {error}") from None
        except (ClientError, BotoCoreError, urllib.error.URLError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in ("AccessDeniedException", "RepositoryNotFoundException"):
                raise Failed("PushRefused", str(error)) from None
            print(f"push interrupted, {tries_left} tries left: {error}", flush=True)
            if not tries_left:
                raise Failed("PushInterrupted", f"ECR did not take the image: {error}") from None
            time.sleep(2 ** (TRIES - tries_left - 1))
    raise AssertionError("unreachable")


def missing(ecr: Any, repository: str, digests: Sequence[str]) -> list[str]:
    """Return the digests that the repository does not have."""
    absent: list[str] = []
    for begin in range(0, len(digests), 100):
        batch = list(digests[begin : begin + 100])
        response = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=batch)
        available = {
            layer["layerDigest"]
            for layer in response["layers"]
            if layer["layerAvailability"] == "AVAILABLE"
        }
        absent += [digest for digest in batch if digest not in available]
    return absent


def upload(ecr: Any, repository: str, digest: str, path: Path) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html"""
    session = ecr.initiate_layer_upload(repositoryName=repository)
    target = {"repositoryName": repository, "uploadId": session["uploadId"]}
    with path.open("rb") as file:
        first = 0
        while chunk := file.read(min(PART, int(session.get("partSize") or PART))):
            last = first + len(chunk) - 1
            ecr.upload_layer_part(
                **target, partFirstByte=first, partLastByte=last, layerPartBlob=chunk
            )
            first = last + 1
    with contextlib.suppress(ecr.exceptions.LayerAlreadyExistsException):
        ecr.complete_layer_upload(**target, layerDigests=[digest])
    print(f"pushed {digest[:19]} {path.stat().st_size / 1e6:.1f} MB", flush=True)


# -------------------------------------------------------------------------------------------------


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tell(facts: Mapping[str, str]) -> None:
    """Write variables for the later commands, which source them."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in facts.items()]
    VARIABLES.write_text("\n".join(lines) + "\n")


COMMANDS = {c.__name__: c for c in (fetch, restore, identify, build, push)}


def main(arguments: Sequence[str]) -> int:
    try:
        COMMANDS[arguments[0]]()
    except Failed as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as error:
        print(f"image: AwsUnavailable: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
