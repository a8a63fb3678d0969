"""Archives of sources: what is refused, and how what is in them is built."""

import io
import json
import zipfile

import pytest

from demo.site import tar_gz, zipped
from deployer.docs import sources
from deployer.docs.site import Build
from deployer.errors import SourcesRejected

FOUND = Build("", "", "")
PACKAGE = json.dumps({"scripts": {"build": "next build", "export": "pnpm copy && next build"}})
SITE = {"package.json": PACKAGE, "pnpm-lock.yaml": "", "pages/index.md": "Hello"}


def repacked(archive: bytes, name: str, build: Build = FOUND) -> tuple[sources.Plan, list[str]]:
    into = io.BytesIO()
    plan = sources.repack(io.BytesIO(archive), name, into, build)
    return plan, zipfile.ZipFile(into).namelist()


@pytest.mark.parametrize(("pack", "name"), [(tar_gz, "a.tar.gz"), (zipped, "a.zip")])
def test_plain_files_go_on_under_their_names(pack: object, name: str) -> None:
    files = {**SITE, ".git/config": "x", "node_modules/a/index.js": "x", "./docs/a.md": "y"}
    plan, names = repacked(pack(files), name)  # type: ignore[operator]
    assert sorted(names) == ["docs/a.md", "package.json", "pages/index.md", "pnpm-lock.yaml"]
    assert plan == {"directory": ".", "script": "export", "output": "", "pnpm": "pnpm@10"}


@pytest.mark.parametrize(
    ("files", "build", "directory"),
    [
        ({f"offlinedocs/{k}": v for k, v in SITE.items()}, FOUND, "offlinedocs"),
        (
            {f"repo-1a2b/offlinedocs/{k}": v for k, v in SITE.items()},
            FOUND,
            "repo-1a2b/offlinedocs",
        ),
        ({f"some/where/{k}": v for k, v in SITE.items()}, FOUND, "some/where"),
        ({**SITE, "web/package.json": PACKAGE}, Build("web", "", ""), "web"),
        ({**SITE, "offlinedocs/package.json": PACKAGE}, FOUND, "offlinedocs"),
    ],
)
def test_the_folder_of_the_package_is_found(
    files: dict[str, str], build: Build, directory: str
) -> None:
    assert repacked(tar_gz(files), "a.tar.gz", build)[0]["directory"] == directory


def test_the_package_says_which_pnpm() -> None:
    package = json.dumps({"scripts": {"build": "x"}, "packageManager": "pnpm@9.14.4+sha512.abc"})
    plan, _ = repacked(tar_gz({**SITE, "package.json": package}), "a.tar.gz")
    assert (plan["pnpm"], plan["script"]) == ("pnpm@9.14.4", "build")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../a", "climbs out"),
        ("a/../../b", "climbs out"),
        ("/etc/passwd", "climbs out"),
        ("..\\a", "climbs out"),
        ("C:/a", "climbs out"),
        ("a\nb", "is not a name"),
        ("a" * 2000, "is not a name"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(path: str, message: str) -> None:
    with pytest.raises(SourcesRejected, match=message):
        repacked(tar_gz({**SITE, path: "x"}), "a.tar.gz")


def test_a_file_may_be_in_the_archive_once() -> None:
    with pytest.raises(SourcesRejected, match="twice"):
        repacked(tar_gz({**SITE, "./package.json": PACKAGE}), "a.tar.gz")


def test_an_archive_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 2)
    with pytest.raises(SourcesRejected, match="too large"):
        repacked(tar_gz(SITE), "a.tar.gz")


@pytest.mark.parametrize(
    ("files", "build", "message"),
    [
        ({"a.md": "x"}, FOUND, "has no package.json"),
        ({"a/package.json": "{}", "b/package.json": "{}"}, FOUND, "set DocsDirectory to one"),
        (SITE, Build("web", "", ""), "has no package.json in web"),
        (SITE, Build("", "docs", ""), "has no script docs; it has build, export"),
        ({**SITE, "package.json": "[]"}, FOUND, "has no script export or build; it has none"),
        ({"package.json": PACKAGE}, FOUND, "has no pnpm-lock.yaml"),
    ],
)
def test_what_a_build_needs_is_missed_by_name(
    files: dict[str, str], build: Build, message: str
) -> None:
    with pytest.raises(SourcesRejected, match=message):
        repacked(tar_gz(files), "a.tar.gz", build)
