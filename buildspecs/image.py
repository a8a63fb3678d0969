"""Builds a service's image from its source archive and pushes it to ECR.

    python3 image.py fetch      get the archive, check it and unpack it
    python3 image.py restore    put the nix store's part of the cache back
    python3 image.py identify   which version it is, and whether that is in ECR already
    python3 image.py build      compile, and make the image
    python3 image.py push       label the image and push it

buildspecs/image.yaml runs these in CodeBuild, one after the other in one directory, and says which
variables tell what to do. It needs what CodeBuild's standard images have: Python 3.11, boto3 and
git. `docker` is used if the image is made with it; nix if that is asked for.

What goes wrong ends as one line on standard error, `image: <Kind>: <cause>`, for the record of the
build: SourcesRejected and VersionRefused are for the person who uploaded, BuildFailed has its
reason in the lines above, and PushInterrupted is worth another try.
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
TRIES = 5  # of the push, each of whose requests botocore tries three times

# What the libraries raise for archives that are broken, encrypted, or packed in a way they lack.
UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(OSError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
MAX_LINK = 4096  # bytes

TREE, CACHE, LAYOUT, VARIABLES = Path("tree"), Path("cache"), Path("layout"), Path("variables")
# A tag's characters, and of a version what becomes them (`+` becomes `-`). Make splits Coder's file
# names at `_`.
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
    """What ends the build; `kind` is for the state machine, the text for a person."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(f"{kind}: {cause}")


def client(service: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service, config=Config(retries={"mode": "standard", "total_max_attempts": 3})
    )


# fetch -------------------------------------------------------------------------------------------


def fetch() -> None:
    key, archive = os.environ["SOURCE_KEY"], Path("archive")
    asked = {"Bucket": os.environ["SOURCE_BUCKET"], "Key": key}
    if os.environ["SOURCE_VERSION"]:
        asked["VersionId"] = os.environ["SOURCE_VERSION"]
    with archive.open("wb") as file:
        shutil.copyfileobj(client("s3").get_object(**asked)["Body"], file)
    print(f"{key}: {archive.stat().st_size / 1e6:.1f} MB")
    scratch = Path("unpacked")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        unpack(archive, scratch, key)
    except UNREADABLE as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise Failed("SourcesRejected", f"{key} cannot be read as an archive: {why}") from None
    archive.unlink()
    inside = list(scratch.iterdir())
    if not inside:
        raise Failed("SourcesRejected", f"{key} is empty: it holds no file")
    top = inside[0] if len(inside) == 1 and inside[0].is_dir() else scratch
    if top.name == ".git":
        top = scratch
    shutil.rmtree(TREE, ignore_errors=True)
    top.rename(TREE)
    # To make, what is older than what it is made of is out of date. An archive's times say when
    # somebody checked it out; with one time for all, generated files that are checked in stay.
    now = time.time()
    for path in TREE.rglob("*"):
        if path.parts[1] != ".git":
            os.utime(path, (now, now), follow_symlinks=False)


def unpack(archive: Path, target: Path, name: str) -> None:
    """Unpack a .zip or .tar.gz that may hold anything. Raises Failed."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            _bound(name, len(entries), sum(entry.file_size for entry in entries))
            for entry in entries:
                if not left_out(path := entry_name(entry)):
                    _unzip(zipped, entry, _inside(target, path, "", name), target, name)
        return
    seen = 0
    with tarfile.open(archive, "r:*") as tar:
        for number, member in enumerate(tar, 1):
            _bound(name, number, seen := seen + member.size)
            if left_out(member.name):
                continue
            if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
                kind = "is neither a file nor a folder nor a link"
                raise Failed("SourcesRejected", f"{name}: {member.name!r} {kind}")
            there = _inside(target, member.name, member.linkname if member.issym() else "", name)
            if member.islnk():
                _inside(target, member.linkname, "", name)
            _once(there, member.isdir(), name)
            try:
                tar.extract(member, target, filter="data")
            except tarfile.FilterError as error:
                raise Failed("SourcesRejected", f"{name}: {error}") from None


def left_out(path: str) -> bool:
    """Return whether macOS put an entry into the archive: it belongs to no project.

    `__MACOSX/` and `._*` hold what macOS keeps of a file beside its content, `.DS_Store` how a
    folder is shown. deployer.sources leaves the same out of a site's archive.
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
    # an earlier entry may be a link: where the folder is counts, not how it is called
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
    """Refuse an entry that is there already; a folder may be named again."""
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
    """Where an entry goes, if that (and where it points, if it is a link) is below `target`."""
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
            f"{os.environ['SERVICE']} deploys tags {os.environ['TAGS']}, which {tag} is none of: a"
            " push of it would deploy nothing; change the version or `tags` in the service spec",
        )
    found = labels_in_ecr(os.environ["REPOSITORY"], tag)
    facts = {"VERSION": version, "TAG": tag, "COMMIT": commit, "CONTENT": content}
    if found is None:
        print(f"version {version}, tag {tag}, commit {commit or 'unknown'}, {content}")
    elif found["labels"].get(CONTENT_LABEL) == content:
        facts |= {"OUTCOME": "SKIPPED", "DIGEST": found["digest"]}
        print(f"{tag} is in {os.environ['REPOSITORY']} already, built from the same content")
    else:
        other = found["labels"].get("org.opencontainers.image.revision") or "unknown"
        raise Failed(
            "VersionRefused",
            f"{tag} is in {os.environ['REPOSITORY']} already, built from other content (commit"
            f" {other}): commit the change, so that it has a version of its own",
        )
    tell(facts)


def deploys(tag: str) -> bool:
    """Return whether `tags` of the service spec matches. It may be a pattern that takes years."""

    def too_long(*_: object) -> None:
        raise Failed("VersionRefused", f"tags {os.environ['TAGS']} takes too long to match {tag}")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(PATIENCE)
    try:
        return re.fullmatch(os.environ["TAGS"], tag) is not None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def source() -> tuple[str, str]:
    """The commit ("" without history), and a name that the same content always has."""
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
    # What is there counts, committed or not: an index of our own holds it.
    git("add", "--all", index="index")
    return commit, f"git:{git('write-tree', index='index')}"


def git(*arguments: str, index: str = "") -> str:
    extra = {"GIT_INDEX_FILE": str(Path(index).absolute())} if index else {}
    command = ["git", "-c", "safe.directory=*", "-C", str(TREE), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **extra}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Failed(
            "SourcesRejected", f"the archive's .git is not usable: git {arguments[0]}: {said}"
        )
    return done.stdout.strip()


def find_version() -> str:
    command = os.environ["VERSION_COMMAND"]
    # The same commit has the same version in every clone, however many objects that has.
    abbrev = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.abbrev",
        "GIT_CONFIG_VALUE_0": "12",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    said = run("version", command, abbrev, capture=True)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        raise Failed("VersionRefused", f"{command} printed no version; it must print one line")
    version = lines[-1].removeprefix("v")  # what nix-shell itself prints comes first
    if not VERSION.fullmatch(version):
        raise Failed(
            "VersionRefused",
            f"{version[:150]!r}, printed by {command}, is no version that a tag can carry: letters,"
            " digits, '.', '-' and '+', such as 2.0.0-devel+e0f93fb88, 128 at most",
        )
    return version


def labels_in_ecr(repository: str, tag: str) -> Json | None:
    """The digest and the labels of the image under a tag; None if there is none."""
    ecr = client("ecr")
    answer = ecr.batch_get_image(
        repositoryName=repository,
        imageIds=[{"imageTag": tag}],
        acceptedMediaTypes=[MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"],
    )
    if not answer["images"]:
        return None
    image = answer["images"][0]
    config = json.loads(image["imageManifest"]).get("config")
    if config is None:  # an index: not ours, so from other content
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
        print("image: an OCI layout, made without docker")
    else:
        print("image: made with docker")
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
    """Under which name docker has the image: the service's repository and the tag."""
    return f"{os.environ['REPOSITORY']}:{os.environ['TAG']}"


def login() -> None:
    """Let docker pull the base image, if that is kept in ECR."""
    registry = os.environ["BASE_IMAGE"].partition("/")[0]
    if ".dkr.ecr." not in registry:
        return
    token = client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    command = ["docker", "login", "--username", user, "--password-stdin", registry]
    if not shutil.which("docker"):
        raise Failed("BuildFailed", f"docker is not in the build's image: it pulls from {registry}")
    done = subprocess.run(
        command, input=password, text=True, check=False, stdout=subprocess.DEVNULL
    )
    if done.returncode:
        raise Failed("BuildFailed", f"docker cannot log in to {registry}, where baseImage is")


def save() -> None:
    """Take the image out of docker, which saves an OCI layout since version 25."""
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
            f"there is no image {image_name()}: the image command must make it under the name in"
            " $IMAGE, or write an OCI layout into $LAYOUT; `docker save` needs version 25",
        )


def opened() -> tuple[Json, Json]:
    """The manifest and the config in the layout, of the one architecture that is asked for."""
    manifest = json.loads((LAYOUT / "index.json").read_text())
    while "manifests" in manifest:
        wanted = [
            entry
            for entry in manifest["manifests"]
            if (entry.get("platform") or {}).get("architecture", os.environ["ARCHITECTURE"])
            == os.environ["ARCHITECTURE"]
        ]
        if not wanted:
            known = {(e.get("platform") or {}).get("architecture") for e in manifest["manifests"]}
            raise Failed(
                "BuildFailed",
                f"the image is for {', '.join(map(str, known))}, and the service runs on linux/"
                f"{os.environ['ARCHITECTURE']}",
            )
        manifest = json.loads(blob(wanted[0]["digest"]).read_text())
    return manifest, json.loads(blob(manifest["config"]["digest"]).read_text())


def blob(digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    return LAYOUT / "blobs" / algorithm / name


def run(
    what: str, command: str, extra: Mapping[str, str] | None = None, *, capture: bool = False
) -> str:
    """Run one of the tree's commands in its top folder, in nix-shell where that is asked for."""
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
    done = subprocess.run(
        wrapped,
        cwd=TREE,
        env={**environment(), **(extra or {})},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed("BuildFailed", f"the {what} command failed ({done.returncode}): {command}")
    return done.stdout or ""


def environment() -> dict[str, str]:
    """What the tree's commands see."""
    # With CI set, Coder's make compresses with all that zstd has (slow, and tens of GB), but its
    # pnpm script needs it to keep to the lock file, which pnpm takes from here too.
    mine = {name: value for name, value in os.environ.items() if name != "CI"}
    cache = CACHE.absolute()
    mine |= {
        "npm_config_frozen_lockfile": "true",
        "npm_config_store_dir": str(cache / "pnpm"),
        "GOCACHE": str(cache / "go-build"),
        "GOMODCACHE": str(cache / "go-mod"),
        "LAYOUT": str(LAYOUT.absolute()),
        # nix-shell would look for one in <nixpkgs>, of which no channel is installed
        "NIX_BUILD_SHELL": shutil.which("bash") or "bash",
    }
    if "VERSION" in os.environ:
        mine |= {"CODER_FORCE_VERSION": os.environ["VERSION"], "IMAGE": image_name()}
    if os.environ["BASE_IMAGE"]:
        mine["CODER_BASE_IMAGE_TAG"] = os.environ["BASE_IMAGE"]
    return mine


# The cache: Go's and pnpm's directories as they are; of the nix store, what the shell needs.
# -------------------------------------------------------------------------------------------------


def restore() -> None:
    CACHE.mkdir(exist_ok=True)
    export = CACHE / "nix.export"
    if os.environ["MODE"] == "nix" and export.exists():
        began = time.monotonic()
        with export.open("rb") as kept:
            done = subprocess.run(
                ["nix-store", "--import"], stdin=kept, stdout=subprocess.DEVNULL, check=False
            )
        size = export.stat().st_size / 1e6
        print(f"nix store: {size:.0f} MB restored in {time.monotonic() - began:.1f} s")
        if done.returncode:  # a cache is only that
            export.unlink()


def keep() -> None:
    """Export the store paths of the development shell, if they are not in the cache as they are."""
    if os.environ["MODE"] != "nix":
        return
    file = next(name for name in ("shell.nix", "default.nix") if (TREE / name).exists())
    made = subprocess.run(
        ["nix-instantiate", file], cwd=TREE, capture_output=True, text=True, check=False
    )
    derivation = made.stdout.strip()
    known = CACHE / "nix.derivation"
    if made.returncode or (known.exists() and known.read_text() == derivation):
        return
    query = ["nix-store", "--query", "--requisites", "--include-outputs", derivation]
    paths = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    there = [path for path in paths if Path(path).exists()]
    with (CACHE / "nix.export").open("wb") as export:
        if not subprocess.run(
            ["nix-store", "--export", *there], stdout=export, check=False
        ).returncode:
            known.write_text(derivation)


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
    found = {
        "org.opencontainers.image.title": os.environ["SERVICE"],
        "org.opencontainers.image.version": os.environ["VERSION"],
        "org.opencontainers.image.revision": os.environ["COMMIT"],
        "org.opencontainers.image.created": created,
        CONTENT_LABEL: os.environ["CONTENT"],
        **schema(),
    }
    return {name: value for name, value in found.items() if value}


def schema() -> dict[str, str]:
    """The number of the last migration and a hash of them all; nothing if there are none."""
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
    """A layer as it is pushed: docker saves them plain, and the same bytes are the same layer."""
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
    """Push what ECR does not have, then the manifest; again where it was interrupted. Its digest.

    A layer is found by its content, so a second try sends what the first did not get through.
    """
    repository, tag = os.environ["REPOSITORY"], os.environ["TAG"]
    ecr = client("ecr")
    for left in reversed(range(TRIES)):
        try:
            for digest in missing(ecr, repository, list(files)):
                upload(ecr, repository, digest, files[digest])
            answer = ecr.put_image(
                repositoryName=repository,
                imageManifest=manifest,
                imageManifestMediaType=MANIFEST,
                imageTag=tag,
            )
            return str(answer["image"]["imageId"]["imageDigest"])
        except (
            ecr.exceptions.ImageAlreadyExistsException
        ):  # of an earlier try, whose answer was lost
            return sha256(manifest.encode())
        except ecr.exceptions.ImageTagAlreadyExistsException as error:
            raise Failed("VersionRefused", f"{tag} was pushed meanwhile: {error}") from None
        except (ClientError, BotoCoreError, urllib.error.URLError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in ("AccessDeniedException", "RepositoryNotFoundException"):
                raise Failed("PushRefused", str(error)) from None
            print(f"push interrupted, {left} tries left: {error}", flush=True)
            if not left:
                raise Failed("PushInterrupted", f"ECR did not take the image: {error}") from None
            time.sleep(2 ** (TRIES - left - 1))
    raise AssertionError("unreachable")


def missing(ecr: Any, repository: str, digests: Sequence[str]) -> list[str]:
    """Those that the repository does not have."""
    absent: list[str] = []
    for begin in range(0, len(digests), 100):
        asked = list(digests[begin : begin + 100])
        answer = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=asked)
        there = {
            layer["layerDigest"]
            for layer in answer["layers"]
            if layer["layerAvailability"] == "AVAILABLE"
        }
        absent += [digest for digest in asked if digest not in there]
    return absent


def upload(ecr: Any, repository: str, digest: str, path: Path) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html"""
    begun = ecr.initiate_layer_upload(repositoryName=repository)
    where = {"repositoryName": repository, "uploadId": begun["uploadId"]}
    with path.open("rb") as file:
        first = 0
        while chunk := file.read(min(PART, int(begun.get("partSize") or PART))):
            last = first + len(chunk) - 1
            ecr.upload_layer_part(
                **where, partFirstByte=first, partLastByte=last, layerPartBlob=chunk
            )
            first = last + 1
    with contextlib.suppress(ecr.exceptions.LayerAlreadyExistsException):
        ecr.complete_layer_upload(**where, layerDigests=[digest])
    print(f"pushed {digest[:19]} {path.stat().st_size / 1e6:.1f} MB", flush=True)


# -------------------------------------------------------------------------------------------------


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tell(facts: Mapping[str, str]) -> None:
    """Facts for the commands that follow, which source them."""
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
