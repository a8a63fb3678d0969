"""Containers without Docker and without root: images of the local ECR run as host processes.

An image is fetched by digest, verified, unpacked once, and copied for each container. One with a
system of its own (a shell, a dynamic linker, a Nix store) has its copy as `/` and sees no file of
the host (`container_init.enter`). One without borrows the host's: what the words of its command
line name is looked up in its copy first and on the host then. Each task has a loopback address of
its own (Linux: all of 127.0.0.0/8 is loopback), so that two tasks can listen on one port: a program
that listens on 0.0.0.0 listens there (`container_init`), and `0.0.0.0` in its environment and
command becomes that address, for where the kernel cannot do that.
"""

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Protocol

import zstandard

_INIT = Path(__file__).with_name("container_init.py")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}
_REFERENCE = re.compile(
    r"(?:(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com|localhost:\d+|"
    r"127\.0\.0\.1:\d+)/(?P<repository>[a-z0-9][a-z0-9._/-]*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_EVERYWHERE = "0.0.0.0"
# What programs of an image need that do not come with the host's: one of these is in it.
_SYSTEM = ("bin/sh", "lib/ld-*", "lib64/ld-*", "usr/lib/ld-*", "usr/lib64/ld-*", "nix/store/*")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A health check speaks to the container's own loopback, which here is the task's address.
_LOOPBACK = re.compile(r"\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0)\b")
_MAX_SYMLINKS = 40
_CHUNK = 1 << 20
_BROKEN = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError)


class PullError(Exception):
    """The image cannot be had; the message is what follows `CannotPullContainerError: ` on AWS."""


class StartError(Exception):
    """The command cannot be run; the message follows `CannotStartContainerError: ` on AWS."""


@dataclass(frozen=True)
class Reference:
    """An image of an ECR registry. `account` and `region` are None where only a port was given."""

    account: str | None
    region: str | None
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, image: str) -> "Reference":
        """Raises PullError for an image that is not in ECR: nothing is fetched from elsewhere."""
        match = _REFERENCE.fullmatch(image)
        if match is None:
            raise PullError(_unresolved(image, "not found"))
        tag = match["tag"] or (None if match["digest"] else "latest")
        return cls(match["account"], match["region"], match["repository"], tag, match["digest"])


class Registry(Protocol):
    """Where images come from. Both raise PullError."""

    def manifest(self, reference: Reference) -> bytes: ...

    def blob(self, reference: Reference, digest: str) -> BinaryIO: ...


@dataclass(frozen=True)
class Image:
    """An unpacked image. `digest` is the one that was asked for (of the index, if it is one)."""

    digest: str
    root: Path
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str


class Images:
    """The images unpacked so far, each once, in a directory that `close` removes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._images: dict[tuple[str, str], Image] = {}
        self._lock = threading.Lock()

    def pull(self, image: str, architecture: str, registry: Registry) -> Image:
        """The image for a task's `runtimePlatform.cpuArchitecture`; PullError says why not.

        The manifest is always asked for, as on Fargate, which keeps no cache: an image that
        was deleted cannot be started again. Layers that are unpacked already are not fetched.
        """
        reference = Reference.parse(image)
        manifest = registry.manifest(reference)
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        if reference.digest not in (None, digest):
            raise PullError(_unresolved(image, f"unexpected manifest digest {digest}"))
        wanted = _ARCHITECTURES[architecture]
        content = json.loads(manifest)
        if content.get("mediaType") in _INDEXES or "manifests" in content:
            child = _choose(content["manifests"], wanted, image)
            content = json.loads(registry.manifest(replace(reference, tag=None, digest=child)))
        with self._lock:
            if (digest, wanted) not in self._images:
                self._images[digest, wanted] = self._unpack(digest, content, reference, registry)
            return self._images[digest, wanted]

    def _unpack(
        self, digest: str, manifest: dict[str, Any], reference: Reference, registry: Registry
    ) -> Image:
        with tempfile.TemporaryFile() as file:
            _fetch(registry, reference, manifest["config"]["digest"], file)
            config = json.load(file)
        root = Path(tempfile.mkdtemp(prefix="image-", dir=self.directory))
        try:
            for layer in manifest["layers"]:
                with tempfile.TemporaryFile() as file:
                    _fetch(registry, reference, layer["digest"], file)
                    apply(file, root)
        except BaseException as error:
            shutil.rmtree(root, ignore_errors=True)
            if isinstance(error, (*_BROKEN, UnsafeLayer)):
                raise PullError(f"ref pull has been retried 1 time(s): {error}") from error
            raise
        runtime = config.get("config") or {}
        return Image(
            digest=digest,
            root=root,
            entrypoint=tuple(runtime.get("Entrypoint") or ()),
            command=tuple(runtime.get("Cmd") or ()),
            environment=dict(pair.split("=", 1) for pair in runtime.get("Env") or ()),
            directory=runtime.get("WorkingDir") or "/",
        )


def _choose(children: Sequence[dict[str, Any]], architecture: str, image: str) -> str:
    for child in children:
        platform = child.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            return child["digest"]
    raise PullError(
        f"image Manifest does not contain descriptor matching platform 'linux/{architecture}'"
        f" ({image})"
    )


def _fetch(registry: Registry, reference: Reference, digest: str, file: IO[bytes]) -> None:
    """Write a blob into a file, verified."""
    hasher = hashlib.sha256()
    with registry.blob(reference, digest) as blob:
        while chunk := blob.read(_CHUNK):
            hasher.update(chunk)
            file.write(chunk)
    if digest != f"sha256:{hasher.hexdigest()}":
        raise PullError(
            f"ref pull has been retried 1 time(s): failed to copy: unexpected commit digest "
            f"sha256:{hasher.hexdigest()}, expected {digest}: failed precondition"
        )
    file.seek(0)


def _unresolved(image: str, why: str) -> str:
    # The wording: https://github.com/usdigitalresponse/usdr-gost/pull/4036
    return (
        "pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {image}: {image}: {why}"
    )


def not_found(image: str) -> PullError:
    """What AWS says when the registry has no such repository, tag or digest."""
    return PullError(_unresolved(image, "not found"))


class UnsafeLayer(Exception):
    """A layer that would write outside the image."""


def _decompress(layer: IO[bytes], plain: IO[bytes]) -> None:
    """Write a layer's tar archive, with the padding at its end that some tools leave out."""
    magic = layer.read(4)
    layer.seek(0)
    source: Any = layer
    if magic.startswith(b"\x1f\x8b"):
        source = gzip.GzipFile(fileobj=layer)
    elif magic == b"\x28\xb5\x2f\xfd":
        source = zstandard.ZstdDecompressor().stream_reader(layer, read_across_frames=True)
    shutil.copyfileobj(source, plain, _CHUNK)
    plain.write(bytes(-plain.tell() % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE))
    plain.seek(0)


def apply(layer: IO[bytes], root: Path) -> None:
    """Unpack a layer over `root`, whiteouts included (OCI image-spec layer.md), never outside it.

    Owners, set-id bits and device files are left out: they would need root.
    """
    with tempfile.TemporaryFile() as plain, contextlib.ExitStack() as opened:
        _decompress(layer, plain)
        archive = opened.enter_context(tarfile.open(fileobj=plain, mode="r:"))
        for member in archive:
            path = PurePosixPath("/", member.name)
            if ".." in path.parts:
                raise UnsafeLayer(f"layer entry {member.name!r} climbs out of the image")
            if path == PurePosixPath("/"):
                continue
            parent = inside(root, path.parent)
            parent.mkdir(parents=True, exist_ok=True)
            if path.name == ".wh..wh..opq":
                for entry in list(parent.iterdir()):
                    _remove(entry)
            elif path.name.startswith(".wh."):
                _remove(parent / path.name.removeprefix(".wh."))
            else:
                _place(archive, member, parent / path.name, root)


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, root: Path) -> None:
    if not (member.isdir() and target.is_dir() and not target.is_symlink()):
        _remove(target)
    if member.isdir():
        target.mkdir(exist_ok=True)
        target.chmod(member.mode & 0o777 | 0o700)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        path = PurePosixPath("/", member.linkname)
        source = inside(root, path.parent) / path.name
        if ".." in path.parts or not source.exists(follow_symlinks=False):
            raise UnsafeLayer(f"layer entry {member.name!r} links to nothing in the image")
        os.link(source, target, follow_symlinks=False)
    elif member.isreg() and (content := archive.extractfile(member)):
        with target.open("xb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(member.mode & 0o777 | 0o600)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def inside(root: Path, path: PurePosixPath | str) -> Path:
    """Where an absolute path of the image is, its symbolic links followed within the image."""
    place = root
    pending = list(PurePosixPath(path).parts)[::-1]
    hops = 0
    while pending:
        part = pending.pop()
        if part == "/":
            place = root
        elif part == "..":
            place = place.parent if place != root else root
        elif (place / part).is_symlink():
            hops += 1
            if hops > _MAX_SYMLINKS:
                raise UnsafeLayer(f"too many levels of symbolic links in {path}")
            pending += PurePosixPath((place / part).readlink()).parts[::-1]
        else:
            place = place / part
    return place


class Container:
    """One running container. Its output goes line by line to `write`, its end to `ended`.

    `ended(exit code)` is called once, from a thread of its own, after the last line.
    """

    def __init__(
        self,
        image: Image,
        *,
        address: str,
        entrypoint: Sequence[str] | None,
        command: Sequence[str] | None,
        working_directory: str | None,
        environment: Mapping[str, str],
        write: Callable[[str], None],
        ended: Callable[[int], None],
    ) -> None:
        """Raises StartError. An entry point of the task definition replaces the image's command
        too, as in Docker."""
        self.id = uuid.uuid4().hex
        self.address = address
        self.exit_code: int | None = None
        self._image = image
        self._root = Path(tempfile.mkdtemp(prefix="container-", dir=image.root.parent))
        self._stopped = threading.Event()
        self._has_system = any(next(image.root.glob(name), None) for name in _SYSTEM)
        try:
            shutil.copytree(image.root, self._root, symlinks=True, dirs_exist_ok=True)
            self._directory = inside(self._root, working_directory or image.directory)
            self._directory.mkdir(parents=True, exist_ok=True)
            self._environment = self._environ(environment)
            words = [*(entrypoint or image.entrypoint)]
            words += (command or ()) if entrypoint else (command or image.command)
            self._process, self._lifeline = self._spawn(self._located(words), subprocess.PIPE)
        except BaseException:
            shutil.rmtree(self._root, ignore_errors=True)
            raise
        name = f"container-{self.id[:8]}"
        threading.Thread(target=self._follow, args=(write, ended), name=name, daemon=True).start()

    def stop(self, timeout: float) -> None:
        """SIGTERM, then SIGKILL after `timeout` seconds. Waits."""
        if not self._stopped.is_set():
            self._process.terminate()
            if not self._stopped.wait(timeout):
                self._close()
                self._stopped.wait()

    def run(self, command: Sequence[str], timeout: float) -> int:
        """Run a health check's command in this container: CMD or CMD-SHELL and the words.

        The exit code; 137 after `timeout` seconds; 126 for a command that cannot be run.
        """
        kind, *words = command
        if kind == "CMD-SHELL":
            words = ["/bin/sh", "-c", *words]
        try:
            located = self._located([_LOOPBACK.sub(self.address, word) for word in words])
            process, lifeline = self._spawn(located, subprocess.DEVNULL)
        except (StartError, OSError):  # OSError: the container has just ended
            return 126
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return 128 + signal.SIGKILL
        finally:
            os.close(lifeline)
            process.wait()

    def _environ(self, own: Mapping[str, str]) -> dict[str, str]:
        host = f"ip-{self.address.replace('.', '-')}"
        merged = {"HOME": "/root", "HOSTNAME": host, **self._image.environment, **own}
        if self._has_system:
            self._furnish(host)
            default = {"PATH": _SYSTEM_PATH}
            return default | {name: self._here(value) for name, value in merged.items()}
        path = [str(inside(self._root, entry)) for entry in merged.get("PATH", "").split(":")]
        temporary = inside(self._root, "/tmp")
        temporary.mkdir(exist_ok=True)
        home = inside(self._root, merged["HOME"])
        return {name: self._here(value) for name, value in merged.items()} | {
            "PATH": ":".join([*path, os.environ.get("PATH", os.defpath)]),
            "HOME": str(home) if home.exists() else str(self._root),
            "TMPDIR": str(temporary),
        }

    def _furnish(self, host: str) -> None:
        """Add what Docker adds: the host's names, and the task itself as localhost."""
        for name in ("dev", "proc", "sys", "etc"):
            inside(self._root, f"/{name}").mkdir(exist_ok=True)
        etc = inside(self._root, "/etc")
        for name in ("hosts", "resolv.conf"):
            _remove(etc / name)
        (etc / "hosts").write_text(f"{self.address} localhost {host}\n")
        with contextlib.suppress(OSError):
            shutil.copyfile("/etc/resolv.conf", etc / "resolv.conf")

    def _located(self, words: Sequence[str]) -> list[str]:
        """The command with what it names in the image replaced by where that is on the host."""
        if not words:
            raise StartError("no command specified")
        program = words[0]
        if self._has_system:
            return [self._in_system(program), *map(self._here, words[1:])]
        if "/" not in program:
            executable = shutil.which(program, path=self._environment["PATH"])
        else:
            candidate = inside(self._root, program) if program.startswith("/") else None
            candidate = candidate if candidate and candidate.exists() else self._directory / program
            executable = shutil.which(candidate)
            if candidate.exists() and not executable:
                raise _unstartable(program, "permission denied")
        if executable is None:
            raise _unstartable(program)
        return [
            *self._interpreter(Path(executable)),
            executable,
            *(self._argument(w) for w in words[1:]),
        ]

    def _in_system(self, program: str) -> str:
        """Where the image has a program, by its own names."""
        directory = PurePosixPath("/", self._directory.relative_to(self._root))
        folders = ["."] if "/" in program else self._environment["PATH"].split(":")
        paths = [directory / folder / program for folder in folders]
        there = next((path for path in paths if inside(self._root, path).is_file()), None)
        if there is None:
            raise _unstartable(program)
        if not os.access(inside(self._root, there), os.X_OK):
            raise _unstartable(program, "permission denied")
        return str(there)

    def _argument(self, word: str) -> str:
        if word.startswith("/") and word != "/":
            with contextlib.suppress(OSError, UnsafeLayer):
                if (inner := inside(self._root, word)).exists():
                    return str(inner)
        return self._here(word)

    def _interpreter(self, program: Path) -> list[str]:
        """The interpreter of a script, where the image brings it: the kernel would look outside."""
        first = b""
        with contextlib.suppress(PermissionError), program.open("rb") as file:
            first = file.readline(256)
        if first.startswith(b"#!"):
            words = first[2:].decode(errors="replace").split()
            if words and (interpreter := inside(self._root, words[0])).exists():
                return [str(interpreter), *words[1:]]
        return []

    def _here(self, word: str) -> str:
        return word.replace(_EVERYWHERE, self.address)

    def _spawn(self, command: Sequence[str], output: int) -> tuple[subprocess.Popen[bytes], int]:
        root = str(self._root) if self._has_system else ""
        return spawn(command, self._environment, self._directory, self.address, output, root)

    def _follow(self, write: Callable[[str], None], ended: Callable[[int], None]) -> None:
        for line in output(self._process):
            write(line)
        self.exit_code = self._process.wait()
        self._close()
        shutil.rmtree(self._root, ignore_errors=True)
        self._stopped.set()
        ended(self.exit_code)

    def _close(self) -> None:
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)


def output(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines that a process writes, until it ends."""
    assert process.stdout is not None
    with process.stdout as written:
        for line in written:
            yield line.decode(errors="replace").rstrip("\r\n")


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    address: str = "",
    stdout: int = subprocess.PIPE,
    root: str = "",
) -> tuple[subprocess.Popen[bytes], int]:
    """Run a command below a process 1 of its own (`container_init`), and what ends it when it is
    closed."""
    watched, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_INIT), str(watched), address, root, *command],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            pass_fds=(watched,),
            start_new_session=True,
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(watched)
    return process, lifeline


def _unstartable(program: str, why: str = "") -> StartError:
    """Fargate's wording for a command that runc cannot run (from memory)."""
    missing = (
        "no such file or directory" if "/" in program else "executable file not found in $PATH"
    )
    return StartError(
        "ResourceInitializationError: failed to create new container runtime task: failed to "
        "create shim task: OCI runtime create failed: runc create failed: unable to start "
        f'container process: exec: "{program}": {why or missing}: unknown'
    )


images: Images


def install() -> None:
    """Nothing of MiniStack is wrapped: `ecs` runs its tasks with these instead of with Docker."""
    global images
    images = Images(Path(tempfile.mkdtemp(prefix="containers-")))
