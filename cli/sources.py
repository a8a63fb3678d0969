"""Sources on their way to be built: a directory packed into an archive, or an archive as it is."""

import contextlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.errors import WRONG, CommandFailed

_ARCHIVES = (".tar.gz", ".tgz", ".zip")


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
    """What is to be uploaded for a directory or an archive; a packed one is gone afterwards.

    Raises CommandFailed.
    """
    if source.is_file():
        suffix = next((s for s in _ARCHIVES if source.name.endswith(s)), None)
        if suffix is None:
            raise CommandFailed(
                WRONG,
                f"{source} is no archive: its name must end in {', '.join(_ARCHIVES)}",
                ["Give such an archive, or a directory, which is packed for you."],
            )
        yield Archive(source, ".zip" if suffix == ".zip" else ".tar.gz", source.name)
        return
    if not source.is_dir():
        raise CommandFailed(WRONG, f"there is no file or directory {source}")
    with tempfile.NamedTemporaryFile(suffix=".tar.gz") as made:
        with tarfile.open(fileobj=made, mode="w:gz") as packed:
            for path in files(source):
                packed.add(path, path.relative_to(source).as_posix(), recursive=False)
        made.flush()
        yield Archive(Path(made.name), ".tar.gz", revision(source) or source.resolve().name)


def files(source: Path) -> Iterator[Path]:
    """What is packed of a directory: all of it; of a git checkout what git does not ignore,
    changed or not, and .git itself, from which builds tell their version."""
    if not (source / ".git").exists():
        yield from sorted(path for path in source.rglob("*") if path.is_symlink() or path.is_file())
        return
    listed = _git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in sorted(set(listed.split("\0")) - {""}):
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
    """The revision of a git checkout, with -dirty if it has changes; "" if it is none."""
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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(WRONG, f"git in {source}: {done.stderr.strip()}")
    return done.stdout
