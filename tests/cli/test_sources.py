"""What is uploaded of a directory, a git checkout and an archive."""

import subprocess
import tarfile
from pathlib import Path

import pytest

from cli.errors import CommandFailed
from cli.sources import archive


def names(source: Path) -> list[str]:
    with archive(source) as resource, tarfile.open(resource.path) as packed:
        assert resource.suffix == ".tar.gz"
        return sorted(packed.getnames())


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True
    )


def test_a_directory_is_packed_whole(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Hello\n")
    (tmp_path / "link").symlink_to("docs/index.md")
    assert names(tmp_path) == ["docs/index.md", "link"]


def test_a_checkout_is_packed_with_its_history_and_without_what_git_ignores(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("node_modules\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "big.js").write_text("x")
    (tmp_path / "gone.txt").write_text("x")
    (tmp_path / "ä b.txt").write_text("x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    git(tmp_path, "tag", "v1.2.0")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "new.txt").write_text("x")
    result = names(tmp_path)
    assert ".git/HEAD" in result
    assert [name for name in result if not name.startswith(".git/")] == [
        ".gitignore",
        "new.txt",
        "ä b.txt",
    ]
    with archive(tmp_path) as resource:
        assert resource.label == "v1.2.0-dirty"
    assert not resource.path.exists()


def test_an_archive_is_taken_as_it_is(tmp_path: Path) -> None:
    given = tmp_path / "source.zip"
    given.write_bytes(b"PK")
    with archive(given) as resource:
        assert (resource.path, resource.suffix, resource.label, resource.size) == (
            given,
            ".zip",
            given.name,
            2,
        )
    assert given.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.rar", "its name must end in .tar.gz, .tgz, .zip"), ("none", "there is no file or direc")],
)
def test_what_is_no_source_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.rar").touch()
    with pytest.raises(CommandFailed, match=message), archive(tmp_path / name):
        pass


def test_a_linked_worktree_has_no_history_of_its_own(tmp_path: Path) -> None:
    first, linked = tmp_path / "first", tmp_path / "linked"
    first.mkdir()
    git(first, "init", "--quiet")
    git(first, "commit", "--quiet", "--allow-empty", "-m", "first")
    git(first, "worktree", "add", "--quiet", str(linked))
    with pytest.raises(CommandFailed, match="linked worktree") as refused, archive(linked):
        pass
    assert any("git clone" in line for line in refused.value.advice)
