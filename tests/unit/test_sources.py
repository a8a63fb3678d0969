"""Archives of sources: what is refused, what links lead to, and what goes on to the build."""

import io
import json
import tarfile
import zipfile

import pytest

from demo.site import tar_gz, zipped
from deployer.docs import sources
from deployer.docs.builders import Plan
from deployer.docs.site import Build
from deployer.errors import SourcesRejected

DETECTED = Build("", "", "")
PACKAGE = json.dumps({"scripts": {"build": "next build", "export": "pnpm copy && next build"}})
SITE = {"package.json": PACKAGE, "pnpm-lock.yaml": "", "pages/index.md": "Hello"}


def repacked(archive: bytes, name: str, build: Build = DETECTED) -> tuple[Plan, dict[str, bytes]]:
    into = io.BytesIO()
    plan, _ = sources.repack(io.BytesIO(archive), name, into, build)
    with zipfile.ZipFile(into) as packed:
        return plan, {path: packed.read(path) for path in packed.namelist()}


def linked(links: dict[str, str], files: dict[str, str]) -> bytes:
    """An archive with links; those come first, as in a sorted one."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, target in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o755 if path.endswith(".sh") else 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.mark.parametrize(("pack", "name"), [(tar_gz, "a.tar.gz"), (zipped, "a.zip")])
def test_plain_files_go_on_under_their_names(pack: object, name: str) -> None:
    files = {**SITE, ".git/config": "x", "node_modules/a/index.js": "x", "./docs/a.md": "y"}
    plan, packed = repacked(pack(files), name)  # type: ignore[operator]
    assert sorted(packed) == ["docs/a.md", "package.json", "pages/index.md", "pnpm-lock.yaml"]
    assert (plan.directory, plan.build[-1]) == (".", "pnpm run export")


def test_a_script_may_still_be_run() -> None:
    into = io.BytesIO()
    sources.repack(io.BytesIO(linked({}, {**SITE, "a.sh": "x"})), "a.tar.gz", into, DETECTED)
    with zipfile.ZipFile(into) as packed:
        modes = {entry.filename: entry.external_attr >> 16 for entry in packed.infolist()}
    assert (modes["a.sh"] & 0o777, modes["package.json"] & 0o777) == (0o755, 0o644)


def test_gits_history_goes_on_where_the_generator_reads_it() -> None:
    dated = {"mkdocs.yml": "plugins: [git-revision-date]", "requirements.txt": "mkdocs"}
    history = {".git/HEAD": "ref: refs/heads/main"}
    _, packed = repacked(tar_gz({**history, **dated}), "a.tar.gz")
    assert ".git/HEAD" in packed
    plan, _ = repacked(tar_gz(dated), "a.tar.gz")
    assert any("without git's history" in warning for warning in plan.warnings)


def test_of_a_built_site_only_the_site_goes_on() -> None:
    files = {"a.md": "x", "public/index.html": "x", "public/a/b.css": "y"}
    plan, packed = repacked(tar_gz(files), "a.tar.gz", Build("public", "", ""))
    assert plan.is_built
    assert packed == {"index.html": b"x", "a/b.css": b"y"}


def test_what_is_built_is_the_same_only_if_every_file_is() -> None:
    def content(files: dict[str, str], pack: object = tar_gz, name: str = "a.tar.gz") -> str:
        archive = io.BytesIO(pack(files))  # type: ignore[operator]
        return sources.repack(archive, name, io.BytesIO(), DETECTED).content

    first = content(SITE)
    assert first == content(dict(reversed(SITE.items()))) == content(SITE, zipped, "b.zip")
    assert first != content({**SITE, "pages/index.md": "Hallo"})
    assert first != content({**SITE, "pages/other.md": ""})


# Links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ({"readme.md": "pages/index.md"}, {"readme.md": b"Hello"}),
        ({"docs/a.md": "../pages/index.md"}, {"docs/a.md": b"Hello"}),
        ({"docs": "pages"}, {"docs/index.md": b"Hello"}),
        ({"a": "b", "b": "c", "c": "pages"}, dict.fromkeys(
            ("a/index.md", "b/index.md", "c/index.md"), b"Hello")),
        # a link within a linked folder
        ({"docs": "pages", "pages/x.md": "index.md"}, {
            "docs/index.md": b"Hello", "docs/x.md": b"Hello", "pages/x.md": b"Hello"}),
        # to a folder whose name begins like the linked one's
        ({"docs": "pages-de", "pages-de/en": "../pages"}, {
            "docs/en/index.md": b"Hello", "pages-de/en/index.md": b"Hello"}),
    ],
)  # fmt: skip
def test_links_that_stay_inside_become_files(
    links: dict[str, str], found: dict[str, bytes]
) -> None:
    plan, packed = repacked(linked(links, SITE), "a.tar.gz")
    plain = {path: text.encode() for path, text in SITE.items()}
    assert packed == plain | found
    assert plan.warnings == ()


@pytest.mark.parametrize(
    "links",
    [
        {"a": "nowhere.md"},
        {"a": "node_modules/b"},
        {"a": "b", "b": "a"},
        {"pages/up": ".."},  # it would hold itself
    ],
)
def test_links_to_nothing_are_left_out_and_told(links: dict[str, str]) -> None:
    plan, packed = repacked(linked(links, {**SITE, "node_modules/b": "x"}), "a.tar.gz")
    assert sorted(packed) == sorted(SITE)
    (warning,) = plan.warnings
    assert all(f"{path} -> {target}" in warning for path, target in links.items())


def test_links_that_lead_out_are_refused_all_of_them() -> None:
    links = {"a": "/etc/passwd", "b/c": "../../x", "node_modules/.bin/d": "/usr/bin/d"}
    with pytest.raises(SourcesRejected) as refused:
        repacked(linked(links, SITE), "a.tar.gz")
    assert "a -> /etc/passwd" in str(refused.value)
    assert "b/c -> ../../x" in str(refused.value)
    assert "node_modules" not in str(refused.value)


# What is refused ----------------------------------------------------------------------------------


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


def test_a_link_that_leads_out_is_named_also_where_it_appears_through_another() -> None:
    with pytest.raises(SourcesRejected, match="has the link sub/out -> /etc, out of it"):
        repacked(linked({"dir": "sub", "sub/out": "/etc"}, {**SITE, "sub/a.md": "x"}), "a.tar.gz")


@pytest.mark.parametrize("files", [{"d40/a.md": "x"}, {}])
def test_links_that_multiply_are_refused(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 1000)
    links = {f"d{level}/{name}": f"../d{level + 1}" for level in range(40) for name in "xy"}
    with pytest.raises(SourcesRejected, match="with what its 80 links lead to, it has more than"):
        repacked(linked(links, {**SITE, **files}), "a.tar.gz")


def test_a_file_that_links_copy_too_often_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1000)
    links = {f"{number}.bin": "big.bin" for number in range(9)}
    with pytest.raises(SourcesRejected, match="the files that its links lead to"):
        repacked(linked(links, {**SITE, "big.bin": "x" * 100}), "a.tar.gz")


def test_an_archive_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 2)
    with pytest.raises(SourcesRejected, match="too large"):
        repacked(tar_gz(SITE), "a.tar.gz")
