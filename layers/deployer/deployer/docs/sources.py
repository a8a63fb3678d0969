"""Check the archive with a site's sources, plan its build, and repack it for the build.

Archives are not trusted. Every entry is checked before anything is unpacked; the build gets a zip
of plain files with plain names. Imports decisions only, no AWS.
"""

import contextlib
import hashlib
import json
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from deployer.docs import builders, links
from deployer.docs.builders import Plan
from deployer.docs.links import Links
from deployer.docs.site import Build
from deployer.errors import SourcesRejected

MAX_FILES = 100_000
MAX_BYTES = 4 * 1024**3
_CHUNK = 1024 * 1024
_MAX_NAME = 1024  # bytes, the limit of S3's keys and of file systems
_MAX_DOCUMENT = 16 * 1024**2
_MAX_DOCUMENTS = 128 * 1024**2  # all that a build is planned from
# The libraries' exceptions for archives that are broken, encrypted or in an unsupported format.
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_HISTORY = ".git"
# What names the commits: how git packs them is another each time
_COMMITS = re.compile(r"\.git/(HEAD|packed-refs|refs/.+)$")
_LEFT_OUT = {_HISTORY, "node_modules", "__MACOSX", ".DS_Store"}


class Checked(NamedTuple):
    """How to build sources, and what their links lead to."""

    plan: Plan
    links: Links


@dataclass
class Tree:
    """The names in a site's sources, and the content of those that say how to build.

    Attributes:
        name: what the sources are called in messages: an archive's or a directory's name.
        files: the content of documents; nothing of other files.
        linked: the target of each symbolic link.
        size: of all files, in bytes.
        has_history: whether git's history is among the sources.
    """

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    linked: dict[str, str] = field(default_factory=dict)
    size: int = 0
    has_history: bool = False
    _kept: int = 0

    def add(self, path: str, size: int, content: Iterator[bytes]) -> None:
        """Add a file.

        Raises:
            SourcesRejected: it is there already, or one too many.
        """
        self._check_once(path)
        self.size += size
        self._check_number()
        self.files[path] = b""
        fits = size <= _MAX_DOCUMENT and self._kept + size <= _MAX_DOCUMENTS
        if builders.is_document(path) and fits:
            self.files[path] = b"".join(content)
            self._kept += size

    def _check_number(self) -> None:
        if len(self.files) + len(self.linked) >= MAX_FILES or self.size > MAX_BYTES:
            raise SourcesRejected(
                f"{self.name} is too large: more than {MAX_FILES} files or"
                f" {MAX_BYTES // 1024**3} GiB; leave out what the site does not need"
            )

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._check_once(path)
        self._check_number()
        self.linked[path] = target

    def _check_once(self, path: str) -> None:
        if path in self.files or path in self.linked:
            raise SourcesRejected(f"{self.name} contains {path!r} twice")

    def check(self, build: Build) -> Checked:
        """Resolve the links, and plan the build.

        Raises:
            SourcesRejected: the message names every link that leads out, or what a build misses.
        """
        for path in self.files:
            for parent in PurePosixPath(path).parents:
                if self.linked and str(parent) in self.linked:
                    raise SourcesRejected(f"{self.name}: {path!r} lies below the link {parent}")
        try:
            resolved = links.resolve(self.linked, self.files, MAX_FILES - len(self.files))
        except links.TooMany:
            raise SourcesRejected(
                f"{self.name} is too large: with what its {len(self.linked)} links lead to, it has"
                f" more than {MAX_FILES} files. Leave out links to folders"
            ) from None
        if resolved.outside:
            raise SourcesRejected(
                f"{self.name} has {links.words(resolved.outside)}, out of it. Put the files"
                " themselves there; or give the folder that holds both, and name the site's with"
                " --folder or DocsDirectory"
            )
        if not self.files:
            raise SourcesRejected(f"{self.name} is empty: it has no files")
        appear = {path: self.files[file] for path, file in resolved.copies.items()}
        plan = builders.plan(self.files | appear, self.name, build)
        warnings = list(plan.warnings)
        if resolved.missing:
            warnings.append(f"left out {links.words(resolved.missing)}, to no file of the sources")
        if plan.history and not self.has_history:
            warnings.append(
                "the site shows when a page changed, but its sources are without git's history"
            )
        return Checked(replace(plan, warnings=tuple(warnings)), resolved)


class Repacked(NamedTuple):
    """The plan of a build, and the hash of the files that go into it."""

    plan: Plan
    content: str


class _Entry(NamedTuple):
    """An entry of an archive: a file with its content, or a link with its target."""

    path: str
    size: int
    executable: bool
    content: IO[bytes] | None
    target: str = ""

    @property
    def is_history(self) -> bool:
        return _HISTORY in self.path.split("/")


def survey(archive: IO[bytes], name: str) -> Tree:
    """Read an archive's names and documents, and check every entry.

    Args:
        archive: a .zip or .tar.gz; `name` says which, and appears in messages.
    Raises:
        SourcesRejected: the message names the entry and the problem.
    """
    tree = Tree(name)
    with _readable(name):
        for entry in _entries(archive, name):
            if entry.is_history:
                tree.has_history = True
            if left_out(entry.path):
                continue
            if entry.content is None:
                tree.link(entry.path, entry.target)
            else:
                tree.add(entry.path, entry.size, _chunks(entry, name))
    return tree


def repack(archive: IO[bytes], name: str, into: IO[bytes], build: Build) -> Repacked:
    """Check an archive, and write its files into a zip; of a built site, the site's alone.

    Args:
        build: the site spec's build settings; empty fields are detected.
    Raises:
        SourcesRejected: the message names the entry and the problem.
    """
    tree = survey(archive, name)
    plan, resolved = tree.check(build)
    shown: dict[str, list[str]] = {path: [path] for path in tree.files}
    for path, file in resolved.copies.items():
        shown[file].append(path)
    digests: dict[str, tuple[str, bool]] = {}
    left = MAX_BYTES
    packing = zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with _readable(name), packing as packed:
        for entry in _entries(archive, name):
            own = [entry.path] if plan.history and entry.is_history else []
            paths = shown.get(entry.path, own)
            if plan.is_built and plan.directory != ".":
                top = f"{plan.directory}/"
                paths = [path.removeprefix(top) for path in paths if path.startswith(top)]
            if entry.content is not None and paths:
                left -= entry.size * len(paths)
                if left < 0:
                    raise SourcesRejected(
                        f"{name} is too large: with the files that its links lead to, it has more"
                        f" than {MAX_BYTES // 1024**3} GiB"
                    )
                digest = _write(entry, name, packed, paths)
                if not entry.is_history or _COMMITS.search(entry.path):
                    digests |= dict.fromkeys(paths, (digest, entry.executable))
    content = json.dumps(sorted(digests.items()))
    return Repacked(plan, hashlib.sha256(content.encode()).hexdigest())


def _write(entry: _Entry, name: str, packed: zipfile.ZipFile, paths: Sequence[str]) -> str:
    """Write a file under all its paths, and return the SHA-256 of its content."""
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(_MAX_DOCUMENT) as copied:
        for index, path in enumerate(paths):
            info = zipfile.ZipInfo(path)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if entry.executable else 0o100644) << 16
            with packed.open(info, "w", force_zip64=True) as target:
                if index:
                    copied.seek(0)
                    shutil.copyfileobj(copied, target)
                    continue
                for chunk in _chunks(entry, name):
                    digest.update(chunk)
                    target.write(chunk)
                    if len(paths) > 1:
                        copied.write(chunk)
    return digest.hexdigest()


def _chunks(entry: _Entry, name: str) -> Iterator[bytes]:
    assert entry.content is not None
    left = entry.size
    while chunk := entry.content.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise SourcesRejected(f"{entry.path!r} in {name} is larger than declared")
        yield chunk


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourcesRejected(f"{name} can't be read as an archive: {why}") from None


def _entries(archive: IO[bytes], name: str) -> Iterator[_Entry]:
    archive.seek(0)
    yield from (_zip if name.endswith(".zip") else _tar)(archive, name)


def _tar(archive: IO[bytes], name: str) -> Iterator[_Entry]:
    with tarfile.open(fileobj=archive, mode="r|gz") as tar:
        for entry in tar:
            path = safe_path(entry.name, name)
            if entry.islnk():
                message = f"{name}: {path!r} is a hard link; put the file itself there"
                raise SourcesRejected(message)
            if entry.issym():
                yield _Entry(path, 0, False, None, entry.linkname)
            elif entry.isfile():
                content = tar.extractfile(entry)
                yield _Entry(path, entry.size, bool(entry.mode & 0o100), content)
            elif not entry.isdir():
                raise SourcesRejected(f"{name}: {path!r} is neither a file nor a folder")


def _zip(archive: IO[bytes], name: str) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            path, mode = safe_path(_name(entry), name), entry.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise SourcesRejected(f"{name}: {path!r} is neither a file nor a folder")
            if entry.flag_bits & 1:
                raise SourcesRejected(f"{name}: {path!r} is encrypted")
            if entry.compress_type not in _PACKED:
                how = "deflate64" if entry.compress_type == 9 else f"method {entry.compress_type}"
                message = f"{name}: {path!r} is packed with {how}: upload a .tar.gz instead"
                raise SourcesRejected(message)
            if entry.is_dir():
                continue
            with packed.open(entry) as content:
                if kind == stat.S_IFLNK:
                    target = content.read(_MAX_NAME).decode(errors="replace")
                    yield _Entry(path, 0, False, None, target)
                else:
                    yield _Entry(path, entry.file_size, bool(mode & 0o100), content)


def left_out(path: str) -> bool:
    """Return whether to leave an entry out: installed packages, history, or macOS's additions."""
    parts = path.split("/")
    return bool(_LEFT_OUT.intersection(parts)) or any(part.startswith("._") for part in parts)


def _name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name: macOS writes UTF-8 without the flag for it."""
    if not entry.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            return entry.filename.encode("cp437").decode()
    return entry.filename


def safe_path(path: str, archive: str) -> str:
    """Return the path of an entry, if it stays inside the folder it is unpacked to.

    Raises:
        SourcesRejected: it does not, or is not a name for a file.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not path or path.startswith(("/", "\\")) or ".." in parts or ":" in (parts or ("",))[0]:
        raise SourcesRejected(f"{archive}: {path[:200]!r} climbs out of it")
    if "\0" in path or "\n" in path or len(path.encode(errors="replace")) > _MAX_NAME:
        raise SourcesRejected(f"{archive}: {path[:200]!r} is not a name for a file")
    try:
        path.encode()
    except UnicodeError:
        message = f"{archive}: the name {path[:200]!r} is not UTF-8; rename the file"
        raise SourcesRejected(message) from None
    return "/".join(parts) or "."
