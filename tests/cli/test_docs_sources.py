"""What `deployer docs` sends of a directory, and what it says before it sends anything."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from cli import docs_sources
from cli.docs_sources import DocsSources
from cli.errors import CommandFailed
from deployer.docs import sources
from deployer.docs.site import Build
from tests.cli.test_sources import git

PACKAGE = json.dumps(
    {"scripts": {"build": "vitepress build"}, "devDependencies": {"vitepress": "1.6.3"}}
)
DETECTED = Build("", "", "")


def write(top: Path, **files: str) -> Path:
    for path, text in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return top


def site(top: Path, folder: str = "") -> Path:
    """A site that git tracks, with what git does not."""
    git(top, "init", "--quiet")
    at = f"{folder}/" if folder else ""
    files = {"package.json": PACKAGE, "pnpm-lock.yaml": "", "index.md": "# Hello\n"}
    write(top, **{at + path: text for path, text in files.items()})
    write(top, **{".gitignore": "node_modules\ndist\n", f"{at}node_modules/big.js": "x"})
    write(top, **{f"{at}._index.md": "x", f"{at}.DS_Store": "x", f"{at}dist/a.html": "x"})
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "-m", "first")
    return top


def packed(examined: DocsSources) -> list[str]:
    with examined.packed() as archive, tarfile.open(archive.path) as tar:
        return sorted(entry.name for entry in tar if not entry.isdir())


def test_only_what_git_does_not_ignore_is_sent_without_its_history(tmp_path: Path) -> None:
    examined = docs_sources.examine(site(tmp_path), DETECTED)
    assert packed(examined) == [".gitignore", "index.md", "package.json", "pnpm-lock.yaml"]
    assert examined.plan.summary.startswith("VitePress (1.6.3), pnpm")
    assert (examined.count, examined.warnings) == (4, [])


def test_of_a_repositorys_folder_only_that_is_sent(tmp_path: Path) -> None:
    top = write(site(tmp_path, "docs"), **{"app/main.py": "x", "docs/new.md": "not added yet"})
    examined = docs_sources.examine(top / "docs", DETECTED)
    assert packed(examined) == ["index.md", "new.md", "package.json", "pnpm-lock.yaml"]


def test_a_directory_without_git_is_sent_without_what_no_site_needs(tmp_path: Path) -> None:
    write(tmp_path, **{"index.html": "x", "__MACOSX/a": "x", "a/.DS_Store": "x", "a/b.css": "x"})
    write(tmp_path, **{"node_modules/a.js": "x", "._index.html": "x"})
    assert packed(docs_sources.examine(tmp_path, DETECTED)) == ["a/b.css", "index.html"]


def test_a_folder_of_built_html_is_sent_though_git_ignores_it(tmp_path: Path) -> None:
    write(site(tmp_path), **{"dist/index.html": "x"})
    examined = docs_sources.examine(tmp_path / "dist", DETECTED)
    assert examined.plan.is_built
    assert packed(examined) == ["a.html", "index.html"]


def test_submodules_are_sent_or_named_as_missing(tmp_path: Path) -> None:
    theme = write(tmp_path / "theme", **{"theme.css": "x"})
    git(theme, "init", "--quiet")
    git(theme, "add", ".")
    git(theme, "commit", "--quiet", "-m", "first")
    (tmp_path / "app").mkdir()
    top = site(tmp_path / "app")
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(theme), "theme")
    assert "theme/theme.css" in packed(docs_sources.examine(top, DETECTED))
    git(top, "submodule", "deinit", "--force", "theme")
    examined = docs_sources.examine(top, DETECTED)
    assert "theme/theme.css" not in packed(examined)
    (warning,) = examined.warnings
    assert "submodule update --init theme" in warning


def test_pages_keep_the_dates_of_their_last_changes(tmp_path: Path) -> None:
    write(tmp_path, **{".vitepress/config.js": "export default { lastUpdated: true }"})
    top = site(tmp_path)
    for year, page in ((2020, "a b.md"), (2021, "index.md"), (2022, 'ä"c.md')):
        write(top, **{page: f"{year}\n"})
        git(top, "add", ".")
        git(top, "commit", "--quiet", "-m", "x" * 9000, f"--date={year}-01-01T00:00:00Z")
    examined = docs_sources.examine(top, DETECTED)
    unpacked = tmp_path / "dist/unpacked"  # which git ignores
    with examined.packed() as archive, tarfile.open(archive.path) as tar:
        tar.extractall(unpacked, filter="data")

    def changed(page: str) -> str:
        log = ("log", "-1", "--format=%ad", "--date=format:%Y", "--", page)
        return subprocess.run(["git", "-C", str(unpacked), *log], stdout=-1, text=True).stdout[:4]

    assert [changed(page) for page in ("a b.md", "index.md", 'ä"c.md')] == ["2020", "2021", "2022"]
    status = ["git", "-C", str(unpacked), "status", "--porcelain"]
    assert subprocess.check_output(status, text=True) == ""

    def content() -> str:
        with examined.packed() as archive, archive.path.open("rb") as file:
            return sources.repack(file, "a.tar.gz", io.BytesIO(), DETECTED).content

    first = content()
    assert content() == first, "the same tree is not built twice"
    git(top, "commit", "--quiet", "--allow-empty", "-m", "elsewhere")
    assert content() == first
    write(top, **{"a b.md": "2023\n"})
    git(top, "commit", "--quiet", "--all", "-m", "changed")
    write(top, **{"a b.md": "2020\n"})
    git(top, "commit", "--quiet", "--all", "-m", "and back")
    assert content() != first, "its date has changed"


def test_a_clone_without_all_of_the_history_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write(whole, **{".vitepress/config.js": "export default { lastUpdated: true }"})
    git(site(whole), "commit", "--quiet", "--allow-empty", "-m", "second")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", whole.as_uri(), str(shallow))
    (warning,) = docs_sources.examine(shallow, DETECTED).warnings
    assert f"git -C {shallow} fetch --unshallow" in warning


def test_links_are_checked_before_anything_is_sent(tmp_path: Path) -> None:
    top = site(tmp_path, "docs")
    write(top, **{"README.md": "# App\n"})
    (top / "docs/readme.md").symlink_to("../README.md")
    (top / "docs/again.md").symlink_to("index.md")
    (top / "docs/gone.md").symlink_to("nowhere.md")
    with pytest.raises(CommandFailed) as refused:
        docs_sources.examine(top / "docs", DETECTED)
    assert "readme.md -> ../README.md" in refused.value.message
    assert refused.value.advice[-1].endswith("--folder docs")
    examined = docs_sources.examine(top, Build("docs", "", ""))
    (warning,) = examined.warnings
    assert "docs/gone.md -> nowhere.md" in warning
    assert {"docs/readme.md", "docs/again.md"} <= set(packed(examined))
    assert "docs/gone.md" not in packed(examined)


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.rar", "its name must end in .tar.gz, .tgz, .zip"), ("a.zip", "can't be read as an")],
)
def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(CommandFailed, match=told):
        docs_sources.examine(tmp_path / name, DETECTED)


def test_the_commands_of_a_build_are_shown_as_one_would_type_them(tmp_path: Path) -> None:
    write(tmp_path, **{"mkdocs.yml": "", "docs/requirements.txt": "mkdocs"})
    plan = docs_sources.examine(tmp_path, DETECTED).plan
    assert docs_sources.readable([*plan.install, *plan.build]) == [
        "cd ./docs",
        "python3 -m venv ./.tools",
        "pip install --quiet --cache-dir ./.packages --requirement requirements.txt",
        "cd .",
        "mkdocs build --site-dir site",
    ]
