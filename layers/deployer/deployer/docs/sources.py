"""Check the archive with a site's sources, and plan its build.

Archives are not trusted. Every entry is checked before anything is unpacked; the build gets a zip
of plain files with plain names. Imports decisions only, no AWS.
"""

import contextlib
import json
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TypedDict

from deployer.docs.site import Build
from deployer.errors import SourcesRejected

MAX_FILES = 100_000
MAX_BYTES = 4 * 1024**3
_CHUNK = 1024 * 1024
_MAX_NAME = 1024  # bytes, the limit of S3's keys and of file systems
_MAX_DOCUMENT = 1024 * 1024
# The libraries' exceptions for archives that are broken, encrypted or in an unsupported format.
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_LEFT_OUT = {".git", "node_modules", "__MACOSX", ".DS_Store"}
# Scripts that build a site, in order of preference: some sites have both, and `export`
# copies images too
_SCRIPTS = ("export", "build")
_USUAL = "offlinedocs"
_DOCUMENTS = ("package.json", "pnpm-lock.yaml")


class Plan(TypedDict):
    """How to build the sources: the folder, the script of package.json and the version of pnpm."""

    directory: str
    script: str
    output: str
    pnpm: str


@dataclass
class _Seen:
    """The entries read so far: size in bytes, files, and the documents' content."""

    size: int
    files: dict[str, bytes]


def repack(archive: IO[bytes], name: str, into: IO[bytes], build: Build) -> Plan:
    """Check an archive entry by entry, and write its files into a zip.

    Args:
        archive: a .zip or .tar.gz; `name` says which, and appears in messages.
        build: the site spec's build settings; empty fields are detected.
    Raises:
        SourcesRejected: the message names the entry and the problem.
    """
    seen = _Seen(0, {})
    entries = _zip if name.endswith(".zip") else _tar
    try:
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for path, size, content in entries(archive, name):
                _take(path, size, content, name, packed, seen)
    except _UNREADABLE as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourcesRejected(f"{name} can't be read as an archive: {why}") from None
    if not seen.files:
        raise SourcesRejected(f"{name} is empty: it has no files")
    return plan(seen.files, name, build)


def _take(
    path: str,
    size: int,
    content: IO[bytes],
    archive: str,
    packed: zipfile.ZipFile,
    seen: _Seen,
) -> None:
    if path in seen.files:
        raise SourcesRejected(f"{archive} contains {path!r} twice")
    seen.size += size
    if len(seen.files) >= MAX_FILES or seen.size > MAX_BYTES:
        raise SourcesRejected(
            f"{archive} is too large: more than {MAX_FILES} files or {MAX_BYTES // 1024**3} GiB;"
            " leave out what the site does not need"
        )
    document = path.rsplit("/", 1)[-1] in _DOCUMENTS and size <= _MAX_DOCUMENT
    kept = b""
    with packed.open(zipfile.ZipInfo(path), "w", force_zip64=True) as target:
        while chunk := content.read(_CHUNK):
            size -= len(chunk)
            if size < 0:
                raise SourcesRejected(f"{path!r} in {archive} is larger than declared")
            target.write(chunk)
            kept += chunk if document else b""
    seen.files[path] = kept


def _tar(archive: IO[bytes], name: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(fileobj=archive, mode="r|gz") as tar:
        for entry in tar:
            path = _safe(entry.name, name)
            if entry.issym() or entry.islnk():
                raise SourcesRejected(
                    f"{name}: {path!r} is a link to {entry.linkname[:200]!r};"
                    " put the file itself there"
                )
            if not entry.isfile() and not entry.isdir():
                raise SourcesRejected(f"{name}: {path!r} is neither a file nor a folder")
            content = tar.extractfile(entry) if entry.isfile() else None
            if content and not left_out(path):
                yield path, entry.size, content


def _zip(archive: IO[bytes], name: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            path = _safe(_name(entry), name)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind == stat.S_IFLNK:
                raise SourcesRejected(f"{name}: {path!r} is a link; put the file itself there")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise SourcesRejected(f"{name}: {path!r} is neither a file nor a folder")
            if entry.flag_bits & 1:
                raise SourcesRejected(f"{name}: {path!r} is encrypted")
            if entry.compress_type not in _PACKED:
                how = "deflate64" if entry.compress_type == 9 else f"method {entry.compress_type}"
                message = f"{name}: {path!r} is packed with {how}: upload a .tar.gz instead"
                raise SourcesRejected(message)
            if not entry.is_dir() and not left_out(path):
                with packed.open(entry) as content:
                    yield path, entry.file_size, content


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


def _safe(path: str, archive: str) -> str:
    """Return the path of an entry, if it stays inside the folder it is unpacked to."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not path or path.startswith(("/", "\\")) or ".." in parts or ":" in (parts or ("",))[0]:
        raise SourcesRejected(f"{archive}: {path[:200]!r} climbs out of the archive")
    if "\0" in path or "\n" in path or len(path.encode(errors="replace")) > _MAX_NAME:
        raise SourcesRejected(f"{archive}: {path[:200]!r} is not a name for a file")
    try:
        path.encode()
    except UnicodeError:
        message = f"{archive}: the name {path[:200]!r} is not UTF-8; rename the file"
        raise SourcesRejected(message) from None
    return "/".join(parts) or "."


def plan(files: Mapping[str, bytes], archive: str, build: Build) -> Plan:
    """Plan how to build the sources.

    Args:
        files: every file of the archive, with the content of each package.json and lock file.
        build: the site spec's build settings; empty fields are detected.
    """
    directory = _directory(files, archive, build.directory)
    where = _in(directory, "package.json")
    try:
        package = json.loads(files[where])
    except (ValueError, RecursionError) as error:
        raise SourcesRejected(f"{archive}: {where} is not valid JSON: {error}") from None
    scripts = package.get("scripts") if isinstance(package, dict) else None
    scripts = scripts if isinstance(scripts, dict) else {}
    script = build.script or next((name for name in _SCRIPTS if name in scripts), "")
    if script not in scripts:
        expected = build.script or " or ".join(_SCRIPTS)
        available = ", ".join(map(str, scripts)) or "none"
        raise SourcesRejected(
            f"{archive}: {where} has no script {expected}; it has {available[:300]}"
        )
    above = [directory, *map(str, PurePosixPath(directory).parents)]
    if not any(_in(folder, "pnpm-lock.yaml") in files for folder in above):
        raise SourcesRejected(
            f"{archive} has no pnpm-lock.yaml beside {where}: `pnpm install --frozen-lockfile`"
            " installs what it names"
        )
    manager = package.get("packageManager")
    has_pnpm = isinstance(manager, str) and manager.startswith("pnpm@")
    return {
        "directory": directory,
        "script": script,
        "output": build.output,
        "pnpm": str(manager).split("+")[0] if has_pnpm else "pnpm@10",
    }


def _directory(files: Mapping[str, bytes], archive: str, configured: str) -> str:
    """Return the folder of the site's package.json, also inside a single top folder."""
    tops = {path.split("/", 1)[0] for path in files}
    root = tops.pop() if len(tops) == 1 and not any("/" not in path for path in files) else "."
    folders = [configured] if configured else [_USUAL, "."]
    for folder in [name for one in folders for name in (one, _in(root, one))]:
        if _in(folder, "package.json") in files:
            return folder
    packages = sorted(path for path in files if path.rsplit("/", 1)[-1] == "package.json")
    if not configured and len(packages) == 1:
        return str(PurePosixPath(packages[0]).parent)
    hint = (
        f"it has {', '.join(packages[:10])}; set DocsDirectory to one of them"
        if packages
        else "none"
    )
    raise SourcesRejected(
        f"{archive} has no package.json in {' or '.join(dict.fromkeys(folders))}: {hint}"
    )


def _in(folder: str, name: str) -> str:
    return str(PurePosixPath(folder) / name)
