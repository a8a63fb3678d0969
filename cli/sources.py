"""Prepare sources for a build: pack a directory into an archive, or take an archive as it is."""

import contextlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.errors import WRONG, CommandFailed

ARCHIVES = (".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True)
class Archive:
    """An archive to upload; `suffix` is .tar.gz or .zip, `label` says what it is of."""

    path: Path
    suffix: str
    label: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size


@contextlib.contextmanager
def archive(source: Path) -> Iterator[Archive]:
    """Yield the archive to upload for a directory or an archive; a packed one is temporary.

    Raises:
        CommandFailed: the source is neither.
    """
    if source.is_file():
        suffix = next((s for s in ARCHIVES if source.name.endswith(s)), None)
        if suffix is None:
            raise CommandFailed(
                WRONG,
                f"{source} is no archive: its name must end in {', '.join(ARCHIVES)}",
                ["Give such an archive, or a directory, which is packed for you."],
            )
        yield Archive(source, ".zip" if suffix == ".zip" else ".tar.gz", source.name)
        return
    if not source.is_dir():
        raise CommandFailed(WRONG, f"there is no file or directory {source}")
    with tempfile.NamedTemporaryFile(suffix=".tar.gz") as file:
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for path in files(source):
                tar.add(path, path.relative_to(source).as_posix(), recursive=False)
        file.flush()
        yield Archive(Path(file.name), ".tar.gz", revision(source) or source.resolve().name)


def files(source: Path) -> Iterator[Path]:
    """Yield the files to pack of a directory.

    Of a git checkout, these are the files that git does not ignore, and .git itself, from which
    builds derive their version.
    """
    if not (source / ".git").exists():
        yield from sorted(path for path in source.rglob("*") if path.is_symlink() or path.is_file())
        return
    names = _git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in sorted(set(names.split("\0")) - {""}):
        if (source / name).is_symlink() or (
            source / name
        ).is_file():  # else deleted, or a submodule
            yield source / name
    if not (source / ".git").is_dir():
        raise CommandFailed(
            WRONG,
            f"{source} is a linked worktree of git, whose .git lies elsewhere",
            ["Make a clone to deploy from:", f"  git clone {source} /tmp/sources"],
        )
    yield from sorted(path for path in (source / ".git").rglob("*") if path.is_file())


def revision(source: Path) -> str:
    """Return the revision of a git checkout, with -dirty if it has changes; "" without git."""
    if not (source / ".git").exists():
        return ""
    with contextlib.suppress(CommandFailed):
        return _git(source, "describe", "--always", "--tags", "--dirty").strip()
    return ""


def _git(source: Path, *arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise CommandFailed(WRONG, f"{source} is a git checkout, but `git` is not installed")
    command = [git, "-C", str(source), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise CommandFailed(WRONG, f"git in {source}: {process.stderr.strip()}")
    return process.stdout
