"""buildspecs/image.py by itself: archives, versions and what is sent to ECR."""

import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from buildspecs import image
from buildspecs.image import Failed
from deployer.deploy.image import SCHEMA_HASH_LABEL, SCHEMA_NUMBER_LABEL

VARIABLES = {
    "SERVICE": "coder",
    "REPOSITORY": "coder",
    "ARCHITECTURE": "amd64",
    "TAGS": r"[0-9.]+.*",
    "MODE": "plain",
    "VERSION_COMMAND": "cat VERSION",
    "BASE_IMAGE": "",
    "MIGRATIONS": "db/*.up.sql",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a build, with its variables and an empty tree."""
    monkeypatch.chdir(tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tree").mkdir()
    return tmp_path


def tar(*members: tuple[str, str, str]) -> Path:
    """An archive of (path, kind, content or target)."""
    with tarfile.open("archive", "w:gz") as packed:
        for path, kind, text in members:
            member = tarfile.TarInfo(path)
            if kind == "file":
                member.size, member.mode = len(text), 0o755
                packed.addfile(member, io.BytesIO(text.encode()))
                continue
            member.type = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}.get(
                kind, kind.encode()
            )
            member.linkname = text
            packed.addfile(member)
    return Path("archive")


def zipped(*members: tuple[str, int, str]) -> Path:
    with zipfile.ZipFile("archive", "w") as packed:
        for path, mode, text in members:
            info = zipfile.ZipInfo(path)
            info.external_attr = mode << 16
            packed.writestr(info, text)
    return Path("archive")


def test_files_modes_and_links_inside_are_kept(here: Path) -> None:
    archive = tar(("a/run.sh", "file", "run"), ("a/b/link", "link", "../run.sh"))
    image.unpack(archive, here / "tree", "x.tar.gz")
    assert (here / "tree/a/run.sh").stat().st_mode & stat.S_IXUSR
    assert (here / "tree/a/b/link").read_text() == "run"
    archive = zipped(("z/run.sh", 0o100755, "run"), ("z/link", 0o120777, "run.sh"))
    image.unpack(archive, here / "tree", "x.zip")
    assert (here / "tree/z/run.sh").stat().st_mode & stat.S_IXUSR
    assert (here / "tree/z/link").read_text() == "run"


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (("../b", "file", "x"), "'../b' climbs out of the archive"),
        (("/b", "file", "x"), "'/b' climbs out of the archive"),
        (("a", "link", "/etc"), "'a' is a link to '/etc', outside the archive"),
        (("a/b", "link", "../../etc"), "is a link to '../../etc', outside"),
        (("a", "hard", "../b"), "'../b' climbs out of the archive"),
        (("a", "3", ""), "'a' is neither a file nor a folder nor a link"),
    ],
)
def test_what_would_leave_the_tree_is_rejected(
    here: Path, member: tuple[str, str, str], why: str
) -> None:
    with pytest.raises(Failed, match="SourcesRejected: x") as raised:
        image.unpack(tar(member), here / "tree", "x.tar.gz")
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (("../b", 0o100644, "x"), "climbs out"),
        (("a", 0o120777, "../../etc"), "is a link to '../../etc', outside"),
    ],
)
def test_a_zip_is_looked_at_alike(here: Path, member: tuple[str, int, str], why: str) -> None:
    with pytest.raises(Failed, match="SourcesRejected") as raised:
        image.unpack(zipped(member), here / "tree", "x.zip")
    assert why in str(raised.value)


def test_a_bomb_is_not_unpacked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_BYTES", 10)
    with pytest.raises(Failed, match="is too large: unpacked"):
        image.unpack(tar(("a", "file", "12345678901")), here / "tree", "x")
    with pytest.raises(Failed, match="is too large: unpacked"):
        image.unpack(zipped(("a", 0o100644, "12345678901")), here / "tree", "x")
    assert list((here / "tree").iterdir()) == []


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("1.2.0", "1.2.0"),
        ("v1.2.0\n\n", "1.2.0"),
        ("evaluating…\n2.0.0-devel+e0f93fb88\n", "2.0.0-devel+e0f93fb88"),
    ],
)
def test_the_version_is_the_last_line(here: Path, printed: str, version: str) -> None:
    (here / "tree/VERSION").write_text(printed)
    assert image.find_version() == version


@pytest.mark.parametrize("printed", ["", "\n", "1.0_0", "1 0", "+1", "x" * 129])
def test_what_no_tag_can_carry_is_no_version(here: Path, printed: str) -> None:
    (here / "tree/VERSION").write_text(printed)
    with pytest.raises(Failed, match="VersionRefused"):
        image.find_version()


def test_the_commands_see_one_version_no_ci_and_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("VERSION", "1.0")
    monkeypatch.setenv("TAG", "1.0")
    monkeypatch.setenv("BASE_IMAGE", "base@sha256:0")
    output = image.environment()
    assert "CI" not in output
    assert (output["CODER_FORCE_VERSION"], output["IMAGE"]) == ("1.0", "coder:1.0")
    assert output["CODER_BASE_IMAGE_TAG"] == "base@sha256:0"
    assert output["GOCACHE"].endswith("/cache/go-build")


def test_the_schema_is_counted_from_the_migrations(here: Path) -> None:
    assert image.schema() == {}
    (here / "tree/db").mkdir()
    (here / "tree/db/000001_a.up.sql").write_text("one")
    first = image.schema()
    (here / "tree/db/000012_b.up.sql").write_text("two")
    (here / "tree/db/000012_b.down.sql").write_text("back")
    second = image.schema()
    assert (first[SCHEMA_NUMBER_LABEL], second[SCHEMA_NUMBER_LABEL]) == ("1", "12")
    assert first[SCHEMA_HASH_LABEL] != second[SCHEMA_HASH_LABEL]


def test_the_same_tree_has_the_same_name_whatever_packed_it(here: Path) -> None:
    (here / "tree/a").write_text("x")
    before = image.source()
    (here / "tree/a").touch()
    assert image.source() == before
    (here / "tree/a").write_text("y")
    assert image.source() != before


@pytest.mark.parametrize("change", ["text", "name", "mode", "link", "moved"])
def test_other_content_has_another_name(here: Path, change: str) -> None:
    tree = here / "tree"
    for name in ("a", "b"):
        (tree / name).write_text(name)
    (tree / "l").symlink_to("a")
    before = image.source()
    match change:
        case "text":
            (tree / "a").write_text("c")
        case "name":
            (tree / "a").rename(tree / "c")
        case "mode":
            (tree / "a").chmod(0o755)
        case "link":
            (tree / "l").unlink()
            (tree / "l").symlink_to("b")
        case _:  # from one file to the next
            (tree / "a").write_text("")
            (tree / "b").write_text("ab")
    assert image.source() != before


@pytest.mark.parametrize(
    ("there", "outcome"),
    [
        (None, ""),
        ("the same", "SKIPPED"),
        ("other", "refused"),
        ("no label", "refused"),
    ],
)
def test_only_the_same_content_counts_as_built(
    here: Path, monkeypatch: pytest.MonkeyPatch, there: str | None, outcome: str
) -> None:
    (here / "VERSION").write_text("1.1.0")
    (here / "tree/VERSION").write_text("1.1.0")
    name = {"the same": image.source()[1], "other": "sha256:0"}.get(there or "")
    matches = {"digest": "sha256:1", "labels": {image.CONTENT_LABEL: name} if name else {}}
    monkeypatch.setattr(image, "labels_in_ecr", lambda *_: matches if there else None)
    if outcome == "refused":
        with pytest.raises(Failed, match="built from other content"):
            image.identify()
        return
    image.identify()
    assert ("OUTCOME" in Path("variables").read_text()) == bool(outcome)


def layout(here: Path, architecture: str) -> None:
    blobs = here / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / "c").write_text(json.dumps({"os": "linux", "architecture": architecture}))
    (blobs / "l").write_bytes(b"layer")
    config = {"digest": "sha256:c", "size": 1, "mediaType": image.CONFIG}
    layer = {"digest": "sha256:l", "size": 5, "mediaType": image.LAYER}
    (blobs / "m").write_text(json.dumps({"config": config, "layers": [layer]}))
    platform = {"os": "linux", "architecture": architecture}
    index: dict[str, Any] = {"manifests": [{"digest": "sha256:m", "platform": platform}]}
    (here / "layout/index.json").write_text(json.dumps(index))


def test_an_image_for_another_architecture_is_refused(here: Path) -> None:
    layout(here, "arm64")
    with pytest.raises(Failed, match="the image is for arm64, and the service runs on linux/amd64"):
        image.opened()


def test_layers_are_packed_alike_each_time(here: Path) -> None:
    layout(here, "amd64")
    manifest, _ = image.opened()
    once, path = image.compressed(manifest["layers"][0])
    again, _ = image.compressed(manifest["layers"][0])
    assert once == again
    assert once["size"] == path.stat().st_size
    packed = {**once, "mediaType": f"{image.LAYER}+gzip"}
    assert image.compressed({**packed, "digest": "sha256:l"})[0]["digest"] == "sha256:l"


def test_facts_survive_the_shell(here: Path) -> None:
    image.tell({"A": "it's $HOME; `x`"})
    assert (here / "variables").read_text() == "export A='it'\"'\"'s $HOME; `x`'\n"


def test_tags_that_take_years_to_match_end_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "PATIENCE", 1)
    monkeypatch.setenv("TAGS", "(a+)+b")
    with pytest.raises(Failed, match=r"VersionRefused: tags .* takes too long"):
        image.deploys("a" * 64)
    monkeypatch.setenv("TAGS", "a+")
    assert image.deploys("aa")
    assert not image.deploys("ab")
