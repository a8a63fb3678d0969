"""Prepare the sources of a documentation site: what is sent, how it is built, and the archive.

All of it is found out before anything is uploaded, as the deployer finds it out again afterwards.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cli.errors import WRONG, CommandFailed
from cli.sources import ARCHIVES, Archive
from deployer.docs import sources
from deployer.docs.builders import Plan
from deployer.docs.site import Build
from deployer.docs.sources import Tree
from deployer.errors import SourcesRejected

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class DocsSources:
    """The sources of a site, checked.

    Attributes:
        source: a directory, or an archive.
        plan: how they are built.
        files: the paths to send of a directory; none of an archive, which is sent as it is.
        count, size: the number of files, and their bytes.
        warnings: what is left out, or may not be as intended.
        is_git: whether a directory is part of a git repository.
        has_history: whether git has a commit of it.
    """

    source: Path
    plan: Plan
    files: Sequence[str]
    count: int
    size: int
    warnings: Sequence[str]
    is_git: bool = False
    has_history: bool = False

    @contextlib.contextmanager
    def packed(self) -> Iterator[Archive]:
        """Yield the archive to upload; that of a directory is temporary."""
        if self.source.is_file():
            suffix = ".zip" if self.source.name.endswith(".zip") else ".tar.gz"
            yield Archive(self.source, suffix, self.source.name)
            return
        with (
            tempfile.NamedTemporaryFile(suffix=".tar.gz") as file,
            tempfile.TemporaryDirectory() as history,
        ):
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
                for path in self.files:
                    tar.add(self.source / path, path, recursive=False)
                if self.plan.history and self.has_history:
                    _write_history(self.source, self.files, Path(history))
                    tar.add(history, ".git")
            file.flush()
            yield Archive(Path(file.name), ".tar.gz", self._label)

    @property
    def _label(self) -> str:
        name = self.source.resolve().name
        if not self.is_git:
            return name
        with contextlib.suppress(CommandFailed):
            return _git(self.source, "describe", "--always", "--tags", "--dirty").strip()
        return name


def examine(source: Path, build: Build) -> DocsSources:
    """Check the sources of a site, and plan their build; nothing is sent yet.

    Args:
        source: a directory, or an archive.
        build: the site's build settings; empty fields are detected.
    Raises:
        CommandFailed: they cannot be built.
    """
    try:
        if source.is_dir():
            return _examine_directory(source, build)
        if not source.name.endswith(ARCHIVES):
            raise CommandFailed(
                WRONG,
                f"{source} is not an archive: its name must end in {', '.join(ARCHIVES)}",
                ["Give such an archive, or a directory, which is packed for you."],
            )
        with source.open("rb") as archive:
            tree = sources.survey(archive, source.name)
        plan, _ = tree.check(build)
    except SourcesRejected as error:
        raise CommandFailed(WRONG, str(error), list(_advice(source, build))) from None
    except OSError as error:
        raise CommandFailed(WRONG, f"{source} can't be read: {error}") from None
    return DocsSources(source, plan, (), len(tree.files), tree.size, plan.warnings)


def _advice(source: Path, build: Build) -> Iterator[str]:
    """Yield how to give the repository instead of a folder of it."""
    if source.is_dir() and _is_tracked(source):
        top = Path(_git(source, "rev-parse", "--show-toplevel").strip())
        if top != source.resolve():
            folder = source.resolve().relative_to(top) / build.directory
            yield "If the site needs files from elsewhere in its repository:"
            command = [os.path.relpath(top), "--folder", folder.as_posix()]
            yield f"  deployer docs {shlex.join(command)}"


def _examine_directory(source: Path, build: Build) -> DocsSources:
    is_git = _is_tracked(source)
    listed = _Listed()
    if is_git:
        _list_tracked(source, "", listed)
    else:
        _list_all(source, listed)
    tree = Tree(str(source))
    for path in sorted(listed.files):
        sources.safe_path(path, tree.name)
        file = source / path
        if file.is_symlink():
            tree.link(path, str(file.readlink()))
        else:
            with file.open("rb") as content:
                tree.add(path, file.stat().st_size, iter(lambda: content.read(_CHUNK), b""))
    tree.has_history = is_git and bool(_run(source, "log", "-1", "--format=%H", "--", ".").stdout)
    plan, resolved = tree.check(build)
    warnings = [*plan.warnings, *listed.notes]
    if plan.history and tree.has_history:
        shallow = _git(source, "rev-parse", "--is-shallow-repository").strip() == "true"
        if shallow:
            warnings.append(
                "the site shows when a page changed, and this clone has not all of git's history,"
                f" so the dates are wrong; get it with: git -C {shlex.quote(str(source))} fetch"
                " --unshallow"
            )
    files = [path for path in sorted(listed.files) if path not in resolved.missing]
    return DocsSources(
        source, plan, files, len(files), tree.size, warnings, is_git, tree.has_history
    )


# Which files --------------------------------------------------------------------------------------


@dataclass
class _Listed:
    files: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def _list_all(source: Path, listed: _Listed) -> None:
    """List the files of a directory that git does not track."""
    for folder, folders, files in os.walk(source):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        paths = [(here / name).relative_to(source).as_posix() for name in (*files, *links)]
        listed.files.update(
            path
            for path in paths
            if not sources.left_out(path)
            and ((source / path).is_symlink() or (source / path).is_file())
        )
        folders[:] = [name for name in folders if not sources.left_out(name) and name not in links]


def _list_tracked(source: Path, below: str, listed: _Listed) -> None:
    """List the files of a directory that git tracks or does not ignore, with its submodules'."""
    top = source / below
    known = _names(top, "--cached")
    for name in known | _names(top, "--others", "--exclude-standard"):
        path, file = below + name.rstrip("/"), top / name.rstrip("/")
        if sources.left_out(path):
            continue
        if file.is_symlink() or file.is_file():
            listed.files.add(path)
        elif file.is_dir() and (file / ".git").exists() and name in known:
            _list_tracked(source, f"{path}/", listed)
        elif file.is_dir() and name in known:
            listed.notes.append(
                f"{path} is a submodule that is not checked out: the site is built without it."
                f" Check it out with: git -C {shlex.quote(str(top))} submodule update --init"
                f" {shlex.quote(name)}"
            )
        elif file.is_dir():
            listed.notes.append(f"left out {path}, a repository of its own")


def _names(top: Path, *which: str) -> set[str]:
    return set(_git(top, "ls-files", "-z", *which).split("\0")) - {""}


def _is_tracked(source: Path) -> bool:
    """Return whether a directory is part of a git repository, which does not ignore it."""
    here = source.resolve()
    top = next((path for path in (here, *here.parents) if (path / ".git").exists()), None)
    if top is None or top == here:
        return top == here
    return _run(source, "check-ignore", "--quiet", ".").returncode != 0


# Git's history ------------------------------------------------------------------------------------

_FIELDS = "%x01%an%x02%ae%x02%at%x02%cn%x02%ce%x02%ct%x02%s"


def _write_history(source: Path, files: Sequence[str], into: Path) -> None:
    """Write a repository that has of each file its last commit, and nothing else of the history.

    Generators ask git for the time and the author of a page's last change. A shallow clone would
    say the same of all pages, and a whole one may have hundreds of megabytes.
    """
    commits = list(_last_commits(source, set(files)))
    _run_in(into, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", ".")
    _run_in(into, "config", "core.bare", "false")
    origin = _run(source, "config", "remote.origin.url").stdout.strip()
    if origin:
        _run_in(into, "config", "remote.origin.url", re.sub(r"//[^/@]+@", "//", origin))
    stream = bytearray()
    for fields, paths in reversed(commits):
        author, email, at, committer, mail, when, subject = fields
        message = subject.encode(errors="surrogateescape")
        stream += b"commit refs/heads/main\n"
        stream += _person("author", author, email, at) + _person("committer", committer, mail, when)
        stream += b"data %d\n%s\n" % (len(message), message)
        for path in paths:
            stream += _file(source / path, path)
    _run_in(into, "fast-import", "--quiet", input=bytes(stream))
    if commits:
        _run_in(into, "read-tree", "HEAD")


def _last_commits(source: Path, wanted: set[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the commits that were the last of a file, with those files, newest first."""
    command = [
        *("git", "-C", str(source), "log", "-z", "--name-only", "--no-renames", "--relative"),
        *(f"--format={_FIELDS}", "--", "."),
    ]
    fields: list[str] = []
    paths: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as log:
        assert log.stdout is not None
        for name in _split(log.stdout):
            if name.startswith("\x01"):
                if paths:
                    yield fields, paths
                fields, paths = name[1:].split("\x02"), []
                if not wanted:
                    log.kill()
                    return
            elif name in wanted:
                wanted.remove(name)
                paths.append(name)
    if paths:
        yield fields, paths


def _split(stream: IO[bytes]) -> Iterator[str]:
    rest = b""
    while chunk := stream.read(65536):
        *parts, rest = (rest + chunk).split(b"\0")
        yield from (part.lstrip(b"\n").decode(errors="surrogateescape") for part in parts)
    if rest.strip():
        yield rest.lstrip(b"\n").decode(errors="surrogateescape")


def _person(role: str, name: str, email: str, when: str) -> bytes:
    clean = re.sub(r"[<>\n]", "", name), re.sub(r"[<>\n]", "", email)
    return f"{role} {clean[0]} <{clean[1]}> {when} +0000\n".encode(errors="surrogateescape")


def _file(file: Path, path: str) -> bytes:
    """Return the line of a file for git fast-import, with its content."""
    if file.is_symlink():
        mode, content = b"120000", os.fsencode(file.readlink())
    else:
        content = file.read_bytes()
        mode = b"100755" if file.stat().st_mode & 0o100 else b"100644"
    escaped = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'M %s inline "%s"\ndata %d\n%s\n' % (mode, escaped, len(content), content)


def _git(source: Path, *arguments: str) -> str:
    process = _run(source, *arguments)
    if process.returncode:
        raise CommandFailed(WRONG, f"git in {source}: {process.stderr.strip()}")
    return process.stdout


def _run(source: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("git") is None:
        raise CommandFailed(WRONG, f"{source} is a git checkout, but `git` is not installed")
    return subprocess.run(
        ["git", "-C", str(source), *arguments],
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="surrogateescape",
    )


def _run_in(directory: Path, *arguments: str, input: bytes = b"") -> None:
    command = ["git", f"--git-dir={directory}", *arguments]
    process = subprocess.run(command, cwd=directory, input=input, capture_output=True, check=False)
    if process.returncode:
        why = process.stderr.decode(errors="replace").strip()
        raise CommandFailed(WRONG, f"git's history could not be packed: {why}")


def words(size: float) -> str:
    """Return a size in bytes in words."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def readable(commands: Sequence[str]) -> list[str]:
    """Return the commands of a build without those that only prepare it; paths are the sources'."""
    shown, here = list[str](), "cd ."
    for line in commands:
        if line.startswith(("export ", "case ")):
            continue
        plain = re.sub(r'"?\$CODEBUILD_SRC_DIR"?/?', "./", line).replace('"', "")
        plain = re.sub(r"\./(?=\s|$)", ".", plain)
        if plain != here:
            shown.append(plain)
        if plain.startswith("cd "):
            here = plain
    return shown


def described(examined: DocsSources, packed: int, site_url: str) -> Mapping[str, object]:
    """Return what is sent and built, as --json prints it."""
    plan = examined.plan
    return {
        "summary": plan.summary,
        "directory": plan.directory,
        "files": examined.count,
        "bytes": examined.size,
        "packed": packed,
        "commands": [*plan.install, *plan.build],
        "outputs": list(plan.outputs),
        "history": plan.history,
        "warnings": list(examined.warnings),
        "url": site_url,
    }
